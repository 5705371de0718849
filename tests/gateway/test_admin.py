"""The admin pages over real sockets, and the hub behind the stream of beats."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from gateway.admin import BACKLOG, StatsHub, make_app
from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.metrics import GatewayCollector, Sources
from gateway.mirrors import Mirrors
from gateway.state import Status
from gateway.stats import Beat, Histogram, Stat, Traffic
from tests.eventually import eventually


def beat(seq: int = 1) -> Beat:
    return Beat("gw-1", seq, 1.0, {"iris-v1": Stat(begun=seq)})


class Admin:
    """A gateway's admin side, served on a port of its own."""

    def __init__(self) -> None:
        self.status = Status("gw-1", "1.2.3", 0.0, "config/demo.yaml")
        self.hub = StatsHub()
        self.wanted = {"iris-v1": 5}
        backend: Backend = Backend("iris-v1", Limits(), 0.0)
        backend.update(Endpoints((EndpointInfo("pod", "127.0.0.1", 9000, ready=True),)), 0.0)
        self.backends = {"iris-v1": backend}
        registry = CollectorRegistry()
        sources = Sources(
            self.backends,
            {"": Traffic("", "")},
            Mirrors(),
            lambda: 3,
            {},
            lambda: 0,
            self.status.reloads,
            Histogram(),
            self.status.tls,
            "1.2.3",
        )
        registry.register(GatewayCollector(sources))
        self.app = make_app(self.status, self.backends, registry, self.hub, lambda: self.wanted)
        self.port = 0

    async def get(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        """Status, content type, body."""
        async with ClientSession() as session, session.request(method, self.url(path)) as response:
            return response.status, response.content_type, await response.text()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator["Admin"]:
        runner = web.AppRunner(self.app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            yield self
        finally:
            await runner.cleanup()


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with Admin().served() as served:
        yield served


# -- pages


async def test_a_gateway_is_alive_while_its_loop_turns(admin: Admin) -> None:
    """Ready or not: what is restarted for not being ready never gets ready."""
    assert (await admin.get("/livez"))[0] == 200


async def test_readiness_gives_its_reason(admin: Admin) -> None:
    """503 until a configuration is loaded, and again while draining."""
    status, _, text = await admin.get("/readyz")
    assert (status, text) == (503, "configuration not loaded\n")
    admin.status.took_over({}, 0.0)
    assert (await admin.get("/readyz"))[::2] == (200, "ready\n")
    admin.status.draining = True
    assert (await admin.get("/readyz"))[::2] == (503, "draining\n")


async def test_metrics_are_prometheus_text(admin: Admin) -> None:
    """Whole, and of the content type that Prometheus expects."""
    async with ClientSession() as session, session.get(admin.url("/metrics")) as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = {family.name: family for family in text_string_to_metric_families(await response.text())}
    assert families["tidegate_connections"].samples[0].value == 3
    assert "process_open_fds" in families


async def test_the_state_is_one_json_document(admin: Admin) -> None:
    """With what the autoscaler wants, when it runs in the same process."""
    status, content_type, text = await admin.get("/v1/state")
    assert (status, content_type) == (200, "application/json")
    assert json.loads(text)["backends"]["iris-v1"]["replicas"] == {"ready": 1, "wanted": 5}


async def test_an_unknown_path_says_which_there_are(admin: Admin) -> None:
    """In JSON."""
    status, content_type, text = await admin.get("/v1/sate")
    assert (status, content_type) == (404, "application/problem+json")
    problem = json.loads(text)
    assert problem["status"] == 404
    assert problem["detail"] == (
        "there is no /v1/sate here; there is /livez, /metrics, /readyz, /v1/state, /v1/stats"
    )


async def test_a_method_that_is_not_taken_says_which_is(admin: Admin) -> None:
    """In JSON, with Allow."""
    async with ClientSession() as session, session.post(admin.url("/v1/state")) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET")
        assert (await response.json(content_type="application/problem+json"))[
            "detail"
        ] == "/v1/state takes GET"


async def test_what_others_refuse_is_a_problem_too() -> None:
    """With the words that they gave."""
    admin = Admin()

    async def decide(_: web.Request) -> web.Response:
        raise web.HTTPBadRequest(text="say which backend")

    admin.app.router.add_get("/v1/decide", decide)
    async with admin.served():
        status, content_type, text = await admin.get("/v1/decide")
    assert (status, content_type) == (400, "application/problem+json")
    assert json.loads(text) == {"status": 400, "title": "Bad Request", "detail": "say which backend"}


async def test_others_add_their_pages() -> None:
    """As `tidegate up` does with the autoscaler's."""
    admin = Admin()

    async def decisions(_: web.Request) -> web.Response:
        return web.json_response({})

    admin.app.router.add_get("/v1/decisions", decisions)
    async with admin.served():
        assert await admin.get("/v1/decisions") == (200, "application/json", "{}")
        assert "/v1/decisions" in (await admin.get("/"))[2]


# -- the stream


async def test_a_stream_begins_with_the_next_beat(admin: Admin) -> None:
    """Nothing historical; the answer's head comes at once, so that a reader knows that it is connected."""
    admin.hub.publish(beat(1))
    async with ClientSession() as session, session.get(admin.url("/v1/stats")) as response:
        assert (response.status, response.content_type) == (200, "application/x-ndjson")
        for seq in (2, 3):
            admin.hub.publish(beat(seq))
            assert Beat.decode(await response.content.readline()) == beat(seq)


async def test_a_reader_that_was_away_is_told_what_it_missed(admin: Admin) -> None:
    """When it asks: the last beats with their ages, then the next; nudges are of their moment and not told again."""
    async with ClientSession() as session:
        async with session.get(admin.url("/v1/stats")):
            for seq in (1, 2, 3):
                admin.hub.publish(beat(seq))
            admin.hub.publish(replace(beat(4), nudge=True))
        async with session.get(admin.url("/v1/stats?last=2")) as response:
            admin.hub.publish(beat(4))
            told = [Beat.decode(await response.content.readline()) for _ in range(3)]
    assert [each.seq for each in told] == [2, 3, 4]
    assert told[2] == beat(4)
    assert 0 < told[1].age < 60


@pytest.mark.parametrize("last", ["-1", "x", "1e9", "1234567", ""])
async def test_a_number_of_last_beats_that_is_none_is_refused(admin: Admin, last: str) -> None:
    """In words."""
    status, _, body = await admin.get(f"/v1/stats?last={last}")
    assert status == 400
    assert "`last` is how many of the last beats to begin with" in body


async def test_a_reader_that_leaves_is_forgotten(admin: Admin) -> None:
    """Found out at the next beats."""
    async with ClientSession() as session:
        response = await session.get(admin.url("/v1/stats"))
        await eventually(lambda: repr(admin.hub) == "<StatsHub 1 streams, 0 listeners>")
        response.close()

    def told() -> bool:
        admin.hub.publish(beat())
        return repr(admin.hub) == "<StatsHub 0 streams, 0 listeners>"

    await eventually(told)


async def test_a_reader_that_does_not_read_is_cut_off(admin: Admin, caplog: pytest.LogCaptureFixture) -> None:
    """Once the sockets' buffers are full its beats wait, and not for ever."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", admin.port))
    reader.sendall(b"GET /v1/stats HTTP/1.1\r\nHost: x\r\n\r\n")
    await eventually(lambda: repr(admin.hub) == "<StatsHub 1 streams, 0 listeners>")
    large = Beat("gw" * 50_000, 1, 1.0, {})

    def dropped() -> bool:
        admin.hub.publish(large)
        return repr(admin.hub) == "<StatsHub 0 streams, 0 listeners>"

    with caplog.at_level(logging.WARNING, "gateway.admin"):
        await eventually(dropped)
    assert f"stats reader 127.0.0.1 was {BACKLOG} beats behind and is cut off" in caplog.text
    assert not (await _rest(reader)).endswith(b"0\r\n\r\n"), "the answer looks complete"


async def _rest(reader: socket.socket) -> bytes:
    """All that comes until the connection ends, however it ends."""
    loop, seen = asyncio.get_running_loop(), b""
    reader.setblocking(False)
    with reader, contextlib.suppress(ConnectionResetError):
        while data := await loop.sock_recv(reader, 1 << 20):
            seen += data
    return seen


async def test_stopping_ends_the_streams() -> None:
    """A reader that waits for the next beat does not hold up the stop: its answer ends, complete."""
    admin = Admin()
    async with ClientSession() as session:
        async with admin.served():
            response = await session.get(admin.url("/v1/stats"))
            admin.hub.publish(beat())
            first = await response.content.readline()
        assert Beat.decode(first) == beat()
        assert await response.content.readline() == b""
    assert repr(admin.hub) == "<StatsHub 0 streams, 0 listeners, closed>"


# -- the hub


class Cut:
    """Stands for the reader's connection."""

    def __init__(self) -> None:
        self.cut = False

    def __call__(self) -> None:
        self.cut = True


async def test_a_beat_is_encoded_once_for_all() -> None:
    """Every reader gets the same line."""
    hub = StatsHub()
    readers = [aiter(hub.subscribe(name, Cut())) for name in "abc"]
    hub.publish(beat())
    lines = [await anext(reader) for reader in readers]
    assert lines[0] is lines[1] is lines[2]


async def test_only_the_slow_reader_is_dropped() -> None:
    """At the beat that finds no room; the others miss nothing."""
    hub, cut = StatsHub(), Cut()
    slow, fast = hub.subscribe("slow", cut), hub.subscribe("fast", Cut())
    lines = aiter(fast)
    for seq in range(BACKLOG):
        hub.publish(beat(seq))
        await anext(lines)
    assert (cut.cut, repr(slow)) == (False, f"<Subscription of slow, {BACKLOG} behind>")
    hub.publish(beat(99))
    assert (cut.cut, repr(slow)) == (True, "<Subscription of slow, 0 behind, ended>")
    assert Beat.decode(await anext(lines)).seq == 99
    assert [line async for line in slow] == []
    assert repr(hub) == "<StatsHub 1 streams, 0 listeners>"


async def test_what_came_before_the_end_is_still_read() -> None:
    """Closing loses no beat; whoever comes afterwards is done at once."""
    hub = StatsHub()
    subscription = hub.subscribe("reader", Cut())
    hub.publish(beat())
    hub.close()
    assert [Beat.decode(line) async for line in subscription] == [beat()]
    assert [line async for line in hub.subscribe("late", Cut())] == []


def test_a_listener_hears_in_the_same_turn() -> None:
    """The beat itself, with nothing encoded; until it ends that."""
    hub, heard = StatsHub(), list[Beat]()
    leave = hub.listen(heard.append)
    first = beat()
    hub.publish(first)
    leave()
    hub.publish(beat(2))
    assert heard == [first]
    assert heard[0] is first
    leave()


def test_a_listener_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the others hear the beat."""
    hub, heard = StatsHub(), list[Beat]()

    def fail(_: Beat) -> None:
        raise RuntimeError("no")

    hub.listen(fail)
    hub.listen(heard.append)
    hub.publish(beat(7))
    assert len(heard) == 1
    assert "a listener failed on beat 7" in caplog.text
