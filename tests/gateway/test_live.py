"""What a person sees: the table's text, the terminal around it, and the lines without one."""

import asyncio
import io
import logging
import os
import pty
import shlex
import subprocess
import sys
import time

import pytest
from rich.console import Console, ConsoleDimensions

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.breaker import Waiter
from gateway.live import Decisions, LiveTable, PlainLog, curl_lines, draw
from gateway.routing import PathRule, Route, RouteTable
from gateway.splits import Split
from gateway.state import Rates, Snapshot, Status, snapshot
from tests.eventually import eventually

REASON = "concurrency 9.0 over 60 s / target 1.4 = 6.4, up to 7, bounded by max 5"


class World:
    """A small gateway: one route over two Backends."""

    def __init__(self, *names: str) -> None:
        self.backends: dict[str, Backend] = {
            name: Backend(name, Limits(2), 0.0) for name in names or ("iris-v1", "iris-v2")
        }
        weights = {name: 90 if n == 0 else 10 for n, name in enumerate(self.backends)}
        route = Route("iris", Split(self.backends, weights), paths=(PathRule("prefix", b"/v1/models/iris"),))
        self.status = Status("gw-1", "1.2.3", 0.0, "demo.yaml", listen=("0.0.0.0:8080",))
        self.status.took_over({"iris": route}, 0.0)
        self.decisions: Decisions = {}
        self.now = 0.0

    def pods(self, name: str, *draining: bool) -> None:
        infos = [
            EndpointInfo(f"{name}-{n}", "127.0.0.1", 9000 + n, True, each) for n, each in enumerate(draining)
        ]
        self.backends[name].update(Endpoints(tuple(infos)), self.now)

    def answer(self, name: str, count: int, seconds: float = 0.2) -> None:
        for _ in range(count):
            self.backends[name].traffic_of("iris").duration.observe(seconds)

    def snapshot(self) -> Snapshot:
        return snapshot(self.status, self.backends, self.now)

    def lines(self, width: int = 80, height: int = 24, rates: Rates | None = None) -> list[str]:
        size = ConsoleDimensions(width, height)
        return [str(line) for line in draw(self.snapshot(), rates or Rates(), self.decisions, size)]


# -- the table's text


def test_the_table_shows_a_backend_in_two_lines() -> None:
    """Its numbers, and below them the last decision and its reason."""
    world, rates = World(), Rates()
    world.pods("iris-v1", False, False)
    rates.add(world.snapshot())
    world.answer("iris-v1", 50)
    world.backends["iris-v1"].enter(0.0)
    world.now = 10.0
    rates.add(world.snapshot())
    world.decisions = {"iris-v1": (5, REASON)}
    assert world.lines(rates=rates) == [
        "Tidegate  0.0.0.0:8080  ready  up 0 min",
        "",
        "backend                     route    pods in flight queued   req/s    p50    p99",
        "iris-v1                   iris 90     2/5         1      0     5.0  175ms  200ms",
        f"  wants 5: {REASON[:68]}…" if len(REASON) > 69 else f"  wants 5: {REASON}",
        "iris-v2                   iris 10     0/-         0      0     0.0      -      -",
        "  no decision yet",
        "",
        "curl http://127.0.0.1:8080/v1/models/iris",
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Whatever the names and the reasons; wide characters count twice."""
    world = World("a" * 60, "模型" * 30)
    world.decisions = dict.fromkeys(world.backends, (1234, REASON * 5))
    console = Console(record=True, width=width, file=io.StringIO())
    for line in draw(world.snapshot(), Rates(), world.decisions, ConsoleDimensions(width, 24)):
        assert line.cell_len <= width
        console.print(line)
    assert "…" in console.export_text()


def test_a_wide_terminal_shows_more_of_names_and_reasons() -> None:
    """At 120 cells the reason is whole."""
    world = World("a-backend-with-quite-a-long-name")
    world.decisions = {"a-backend-with-quite-a-long-name": (5, REASON + " and some more")}
    narrow, wide = "\n".join(world.lines(80)), "\n".join(world.lines(120))
    assert "some more" not in narrow
    assert "some more" in wide
    assert "a-backend-with-quite-a-long-name " in wide


def test_what_does_not_fit_is_counted() -> None:
    """The curl lines stay in sight, and a line stays free for the cursor."""
    world = World(*(f"b{n}" for n in range(60)))
    lines = world.lines(height=24)
    assert len(lines) <= 23
    assert lines[-3:] == [
        "and 52 more backends: see /v1/state",
        "",
        "curl http://127.0.0.1:8080/v1/models/iris",
    ]


def test_a_start_and_what_drains_come_before_the_reason() -> None:
    """They are what is happening now."""
    world = World("iris-v1")
    world.backends["iris-v1"].wait(Waiter("first", 0.0), 0.0)
    world.now = 3.4
    world.pods("iris-v1", True)
    world.decisions = {"iris-v1": (1, "a request\nwaits")}
    assert "  starting for 3 s; 1 draining; wants 1: a request waits" in world.lines()


def test_why_a_backend_cannot_start_takes_the_place_of_the_reason() -> None:
    """In one line, however many it came in."""
    world = World("iris-v1")
    world.backends["iris-v1"].update(Endpoints(cannot_start="exit code 1:\n  no module named iris"), 0.0)
    world.decisions = {"iris-v1": (1, "a request waits")}
    assert "  cannot start: exit code 1: no module named iris" in world.lines()


def test_a_gateway_that_drains_says_so() -> None:
    """In the first line; one that does not listen yet has no curl lines."""
    world = World()
    world.status.draining = True
    world.status.listen = ()
    world.now = 3900.0
    lines = world.lines()
    assert lines[0] == "Tidegate  not listening  draining  up 1 h 5 min"
    assert not any("curl" in line for line in lines)


def test_more_routes_than_fit_are_counted() -> None:
    """Five curl lines are enough."""
    world = World()
    route = next(iter(world.status.routes.values()))
    world.status.routes = {str(n): route for n in range(8)}
    assert world.lines()[-1] == "and 3 more routes"


# -- curl lines


def curl(path: PathRule, *hosts: bytes, listen: str = "0.0.0.0:8080") -> str:
    backends: dict[str, Backend] = {"b": Backend("b", Limits(), 0.0)}
    ((name, line),) = curl_lines([Route("r", Split(backends, {"b": 1}), hosts, (path,))], listen)
    assert name == "r"
    return line


def test_a_gateway_with_tls_is_called_by_https() -> None:
    """Its certificate is hardly for 127.0.0.1, so curl does not look at it."""
    backends: dict[str, Backend] = {"b": Backend("b", Limits(), 0.0)}
    route = Route("r", Split(backends, {"b": 1}), (), (MODEL,))
    ((_, line),) = curl_lines([route], "0.0.0.0:8443", secure=True)
    assert line == "curl -k https://127.0.0.1:8443/v1/models/iris"


MODEL = PathRule("prefix", b"/v1/models/iris")


@pytest.mark.parametrize(
    ("listen", "origin"),
    [
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "'http://[::1]:8080"),
        ("[fe80::1]:80", "'http://[fe80::1]:80"),
        ("127.0.0.2:80", "http://127.0.0.2:80"),
        ("localhost:80", "http://localhost:80"),
        (":80", "http://127.0.0.1:80"),
    ],
)
def test_a_curl_line_goes_to_an_address_that_can_be_reached(listen: str, origin: str) -> None:
    """Nobody connects to 0.0.0.0; brackets are quoted for the shell."""
    assert curl(MODEL, listen=listen).startswith(f"curl {origin}/v1/models/iris")


def test_a_curl_line_names_the_host() -> None:
    """A wildcard gets a name in its place."""
    assert curl(MODEL, b"iris.example.com").startswith("curl -H 'Host: iris.example.com' http://")
    assert curl(MODEL, b"*.example.com").startswith("curl -H 'Host: any.example.com' http://")


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        (PathRule("prefix", b"/"), "/"),
        (PathRule("exact", b"/v2/models/iris/infer"), "/v2/models/iris/infer"),
        (PathRule("regex", b"/v1/models/[^/]+:predict"), "/v1/models/x:predict"),
        (PathRule("regex", rb"^/v\d+/(iris|rose)\.json$"), "/v1/iris.json"),
        (PathRule("regex", b"/m/[a-z]+/v[0-9]"), "/m/x/v1"),
        (PathRule("regex", b"/a{2}b"), None),
        (PathRule("regex", rb"/v\d/models/(?P<name>\w+)/.*"), "/v1/models/x/x"),
        (PathRule("prefix", b"/with space"), "/with%20space"),
    ],
)
def test_a_curl_line_has_a_path_that_the_route_takes(rule: PathRule, path: str | None) -> None:
    """The path itself, or a guess for a regex; when the guess is wrong, the line says what to put in."""
    line = curl(rule)
    if path is None:
        assert line.endswith(f"  # put in a path that matches {rule}")
    else:
        assert line == f"curl http://127.0.0.1:8080{path}"


def test_what_curl_lines_ask_for_is_routed() -> None:
    """The table itself finds the route by the line's host and path."""
    backends: dict[str, Backend] = {"b": Backend("b", Limits(), 0.0)}
    split = Split(backends, {"b": 1})
    routes = [
        Route("plain", split, (), (MODEL,)),
        Route("wild", split, (b"*.example.com",), (PathRule("regex", b"/m/[a-z]+/v[0-9]"),)),
        Route("exact", split, (b"a.example.com",), (PathRule("exact", b"/x;y"),)),
    ]
    table = RouteTable(routes)
    for name, line in curl_lines(routes, "127.0.0.1:80"):
        words = shlex.split(line)
        host = words[2].removeprefix("Host: ") if "-H" in words else ""
        found = table.match(host.encode(), words[-1].removeprefix("http://127.0.0.1:80").encode())
        assert found is not None
        assert found.name == name


# -- the terminal


async def test_log_lines_appear_above_the_table() -> None:
    """Written by the terminal's thread; afterwards the root logger writes where it wrote before."""
    world, file = World(), io.StringIO()
    console = Console(
        file=file, width=80, height=24, force_terminal=True, color_system=None, legacy_windows=False
    )
    before = logging.getLogger().handlers
    with LiveTable(console, world.snapshot, lambda: world.decisions) as table:
        assert repr(table).startswith("<LiveTable shown")
        table.refresh()
        await eventually(lambda: "iris-v2" in file.getvalue())
        logging.getLogger("gateway").warning("a pod %s", "died")
        await eventually(lambda: "a pod died" in file.getvalue())
        written = file.getvalue()
    assert written.rindex("a pod died") < written.rindex("Tidegate  0.0.0.0:8080")
    assert logging.getLogger().handlers is before
    assert repr(table) == "<LiveTable not shown, 0 waiting>"


async def test_the_cursor_comes_back_after_an_exception() -> None:
    """Whatever ends the session."""
    world, file = World(), io.StringIO()
    console = Console(file=file, width=80, height=24, force_terminal=True, legacy_windows=False)

    def session() -> None:
        with LiveTable(console, world.snapshot, lambda: world.decisions) as table:
            table.refresh()
            raise KeyError

    with pytest.raises(KeyError):
        session()
    assert file.getvalue().count("\x1b[?25l") == file.getvalue().count("\x1b[?25h") == 1


async def test_an_unchanged_table_is_not_written_again() -> None:
    """An idle terminal gets not a byte: no flicker, and nothing for a remote one to carry."""
    world, file = World(), io.StringIO()
    console = Console(file=file, width=80, height=24, force_terminal=True, legacy_windows=False)
    with LiveTable(console, world.snapshot, lambda: world.decisions) as table:
        for _ in range(5):
            world.now += 1.0
            table.refresh()
            await eventually(lambda: not table._drawing)
        # Once at first, once more when the rates are known.
        assert file.getvalue().count("Tidegate") == 2


class Stuck(io.StringIO):
    """A terminal that stands still, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.going = asyncio.Event()

    def flush(self) -> None:
        while not self.going.is_set():
            time.sleep(0.001)


async def test_a_terminal_that_stands_still_does_not_hold_the_loop() -> None:
    """Snapshots stop coming, log lines are dropped once too many wait, and the loop goes on."""
    world, file = World(), Stuck()
    console = Console(file=file, width=80, height=24, force_terminal=True, legacy_windows=False)
    taken = 0

    def count() -> Snapshot:
        nonlocal taken
        taken += 1
        return world.snapshot()

    with LiveTable(console, count, lambda: world.decisions) as table:
        for _ in range(3000):
            logging.getLogger("gateway").warning("noise")
            table.refresh()
        assert taken <= 2
        file.going.set()


@pytest.mark.looptime
async def test_the_table_is_refreshed_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is cancelled."""
    world, refreshed = World(), []
    table = LiveTable(Console(file=io.StringIO()), world.snapshot, lambda: world.decisions)
    monkeypatch.setattr(table, "refresh", lambda: refreshed.append(asyncio.get_running_loop().time()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.2):
            await table.run()
    assert refreshed == [0.0, 0.5, 1.0, 1.5, 2.0]


PROGRAM = """
import asyncio, logging, sys
from rich.console import Console
from gateway.live import LiveTable
from gateway.state import Status, snapshot

status = Status("gw-1", "1.2.3", 0.0, "demo.yaml", listen=("127.0.0.1:80",))

async def main():
    with LiveTable(Console(), lambda: snapshot(status, {}, 0.0), dict) as table:
        task = asyncio.create_task(table.run())
        await asyncio.sleep(0.2)
        logging.getLogger().error("said")
        await asyncio.sleep(0.1)
        raise SystemExit(3)

asyncio.run(main())
"""


def test_a_real_terminal_is_left_as_it_was() -> None:
    """The table and the log line are on it, and its cursor is back when the program has gone."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}) as process:  # fmt: skip
        os.close(theirs)
        seen = b""
        while True:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # the last one on the other side has gone
                break
    os.close(ours)
    assert process.returncode == 3
    assert b"Tidegate" in seen
    assert b"said" in seen
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")


# -- without a terminal


def news(log: PlainLog, world: World, seconds: float = 0.5) -> list[str]:
    world.now += seconds
    return log.news(world.snapshot(), world.decisions)


def plain() -> tuple[PlainLog, World]:
    """One that has said what there is to say at first."""
    world = World()
    log = PlainLog(world.snapshot, lambda: world.decisions)
    assert news(log, world) == ["route iris: curl http://127.0.0.1:8080/v1/models/iris"]
    return log, world


def test_an_idle_gateway_logs_nothing() -> None:
    """Nor does a decision to leave things as they are, however its reason changes."""
    log, world = plain()
    world.decisions = {"iris-v1": (0, "nothing to do")}
    assert news(log, world) == ["iris-v1: 0 of 0 pods ready (nothing to do)"]
    world.decisions = {"iris-v1": (0, "nothing to do for 2 s")}
    assert [line for _ in range(100) for line in news(log, world)] == []
    assert repr(log) == "<PlainLog of 2 backends>"


def test_each_change_of_replicas_or_decision_is_a_line() -> None:
    """Once."""
    log, world = plain()
    world.decisions = {"iris-v1": (5, REASON)}
    assert news(log, world) == [f"iris-v1: 0 of 5 pods ready ({REASON})"]
    world.pods("iris-v1", False, False)
    assert news(log, world) == [f"iris-v1: 2 of 5 pods ready ({REASON})"]
    assert news(log, world) == []
    world.pods("iris-v2", False)
    assert news(log, world) == ["iris-v2: 1 pods ready"]


def test_a_backend_that_cannot_start_is_a_line() -> None:
    """With the reason, once."""
    log, world = plain()
    world.backends["iris-v1"].update(Endpoints(cannot_start="exit code 1"), 0.0)
    assert news(log, world) == ["iris-v1: 0 pods ready, cannot start: exit code 1"]
    assert news(log, world) == []


def test_traffic_is_summed_up_each_ten_seconds() -> None:
    """As long as there is some, and only for those that have it."""
    log, world = plain()
    lines: list[tuple[float, str]] = []
    for _ in range(50):
        world.answer("iris-v1", 5)
        lines += [(world.now, line) for line in news(log, world)]
    assert [at for at, _ in lines] == [1.0, 11.0, 21.0]
    assert lines[1][1] == "iris-v1 10.0 req/s, 0 in flight, 0 queued, p50 175ms, p99 200ms"
    later = [line for _ in range(100) for line in news(log, world)]
    assert len(later) == 1


def test_new_routes_are_told_again() -> None:
    """After a reload that changes them."""
    log, world = plain()
    world.status.listen = ("127.0.0.1:90",)
    assert news(log, world) == ["route iris: curl http://127.0.0.1:90/v1/models/iris"]
    world.status.listen = ()
    assert news(log, world) == []


@pytest.mark.looptime
async def test_plain_lines_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """At info level, until it is cancelled."""
    world = World()
    log = PlainLog(world.snapshot, lambda: world.decisions)
    with caplog.at_level(logging.INFO, "gateway.live"), pytest.raises(TimeoutError):
        async with asyncio.timeout(1.2):
            await log.run()
    assert caplog.messages == ["route iris: curl http://127.0.0.1:8080/v1/models/iris"]
