"""Local pods without processes: counting deaths, ports, logs, and what LocalPods decides, in virtual time."""

import asyncio
import logging
import os
import random
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.plan import Milestones
from autoscaler.processes import LocalPods, PodTemplate, Ports, tether
from autoscaler.processes.logs import KEPT, last_lines, open_log
from autoscaler.processes.ports import outside
from autoscaler.processes.restarts import LONGEST_DELAY, STEADY, Restarts
from autoscaler.processes.spawn import Launch
from gateway.endpoints import Endpoints, Feed


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - ports are no secret


# Counting deaths.


def test_delays_double_up_to_ten_seconds() -> None:
    """Pods that die as soon as they are started wait 0.1 s, 0.2 s, 0.4 s … 10 s, each time from the death."""
    restarts, now, waits = Restarts(), 0.0, []
    for _ in range(9):
        restarts.died(now, started=now, ready_at=None)
        waits.append(restarts.wait(now))
        now += waits[-1]
        assert restarts.wait(now) == 0
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])


def test_a_pod_that_ran_well_is_replaced_at_once() -> None:
    """A death after a good while of being ready is no habit."""
    restarts = Restarts()
    restarts.ready(1.0)
    restarts.died(1.0 + STEADY, started=0.0, ready_at=1.0)
    assert restarts.wait(1.0 + STEADY) == 0
    assert restarts.failures == 0


def test_a_short_life_is_a_death_but_no_failure_to_start() -> None:
    """A pod that gets ready and dies soon is held back, yet its command can start."""
    restarts = Restarts()
    for at in (0.0, 20.0, 40.0, 60.0):
        restarts.ready(at)
        restarts.died(at + 1, started=at, ready_at=at)
    assert restarts.wait(61.0) == pytest.approx(0.8)
    assert not restarts.hopeless


def test_a_steady_pod_ends_the_streak() -> None:
    """After ten quiet seconds with a ready pod the next failure counts as the first."""
    restarts = Restarts()
    for at in range(5):
        restarts.died(float(at), started=float(at), ready_at=None)
    restarts.ready(6.0)
    restarts.died(6.0 + STEADY, started=10.0, ready_at=None)
    assert restarts.wait(6.0 + STEADY) == pytest.approx(0.1)
    assert repr(restarts) == "<Restarts: 1 deaths, 1 failures to start in a row>"


def test_three_failures_in_a_row_are_hopeless_until_a_success() -> None:
    """Hopeless from the third on; one pod that gets ready takes it back."""
    restarts, hopeless = Restarts(), []
    for at in range(4):
        restarts.died(float(at), started=float(at), ready_at=None)
        hopeless.append(restarts.hopeless)
    restarts.ready(5.0)
    assert (hopeless, restarts.hopeless) == ([False, False, True, True], False)


def test_pods_that_die_together_count_once() -> None:
    """Five pods that were started together and crash together are one failure, with the delay of one."""
    restarts = Restarts()
    for index in range(5):
        restarts.died(1.0 + index / 100, started=0.0, ready_at=None)
    assert restarts.failures == 1
    assert restarts.wait(1.0) == pytest.approx(0.1)


@given(st.lists(st.tuples(st.floats(0, 30), st.one_of(st.none(), st.floats(0, 30)))))
def test_no_wait_is_longer_than_the_longest(lives: list[tuple[float, float | None]]) -> None:
    """Whatever pods do, the next start is at most ten seconds away, and a wait that was kept is over."""
    restarts, now = Restarts(), 0.0
    for loading, life in lives:
        started, ready_at = now, None
        now += loading
        if life is not None:
            restarts.ready(ready_at := now)
            now += life
        restarts.died(now, started, ready_at)
        wait = restarts.wait(now)
        assert 0 <= wait <= LONGEST_DELAY + 1e-9
        now += wait + 1e-6
        assert restarts.wait(now) == 0


# Ports.


@given(st.integers(1, 65_535), st.integers(1, 65_535))
def test_ports_lie_outside_of_the_ephemeral_range(one: int, other: int) -> None:
    """No outgoing connection can take a pod's port, unless the range leaves none."""
    low, high = sorted((one, other))
    ports = outside(low, high)
    assert len(ports) > 0
    assert 1024 <= ports[0] <= ports[-1] <= 65_535
    if low > 10_000 or high < 65_535:
        assert ports[-1] < low or ports[0] > high


def test_a_held_port_is_not_given_twice() -> None:
    """Ports are distinct until they are freed."""
    ports = Ports(chance(7))
    ports._choices = range(20_000, 20_400)
    taken = [ports.take() for _ in range(100)]
    assert len(set(taken)) == 100
    for port in taken:
        ports.free(port)
    assert repr(ports) == "<Ports 20000-20399: held []>"


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    """Only what can be bound now is given, whoever has the rest; when nothing is left, the error says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        busy = listener.getsockname()[1]
        ports = Ports(chance(7))
        ports._choices = range(busy, busy + 1)
        with pytest.raises(OSError, match=f"no free port for a pod: 1000 tries between {busy} and {busy}"):
            ports.take()


def test_the_same_chance_gives_the_same_ports() -> None:
    """Chance is injected."""
    one, other = Ports(chance(11)), Ports(chance(11))
    first = [one.take() for _ in range(5)]
    for port in first:
        one.free(port)
    assert [other.take() for _ in range(5)] == first


# Logs.


def test_the_last_lines_are_read_and_no_more(tmp_path: Path) -> None:
    """Five lines of what was written last, on one line, without control characters."""
    file = tmp_path / "pod.log"
    file.write_bytes(
        b"early\n" * 10_000 + b"\xff\n\n" + b"".join(b"line %d \x1b[0m\r\n" % n for n in range(5))
    )
    assert last_lines(file) == "line 0 [0m | line 1 [0m | line 2 [0m | line 3 [0m | line 4 [0m"


def test_a_log_that_is_not_there_has_no_last_lines(tmp_path: Path) -> None:
    """A pod that never started wrote nothing."""
    assert last_lines(tmp_path / "none.log") == ""


def test_the_logs_of_the_last_pods_are_kept(tmp_path: Path) -> None:
    """The newest files stay, and those of living pods however old they are."""
    folder = tmp_path / "iris"
    folder.mkdir()
    old = [folder / f"iris-{n}.log" for n in range(15)]
    for age, file in enumerate(reversed(old)):
        file.touch()
        os.utime(file, (1_000_000 - age, 1_000_000 - age))
    new = folder / "iris-15.log"
    os.close(open_log(new, {old[0]}))
    assert set(folder.iterdir()) == {old[0], *old[-KEPT:], new}


# Dying with the parent.


def test_a_child_whose_parent_is_gone_does_not_become_the_command() -> None:
    """The launcher looks whether the parent died before the signal was asked for: here, another parent is named."""
    launcher = tether._launcher()
    if not launcher:
        pytest.skip("no setpriv --pdeathsig here")
    ours = subprocess.run([*launcher, str(os.getpid()), "echo", "on"], capture_output=True, check=False)
    orphan = subprocess.run([*launcher, "1", "echo", "on"], capture_output=True, check=False)
    assert (ours.stdout, orphan.stdout) == (b"on\n", b"")


@pytest.mark.parametrize("program", ["no-such-program", "./no-such-program", "/no/such/program"])
def test_a_program_that_is_not_there_is_told_apart(tmp_path: Path, program: str) -> None:
    """The error names what was looked for before any process is started."""
    if not tether._launcher():
        pytest.skip("no setpriv --pdeathsig here")
    with pytest.raises(FileNotFoundError, match=f"no program '{program}'; looked in"):
        tether.tethered([program], tmp_path, os.environ)


def test_a_relative_program_starts_from_the_directory(tmp_path: Path) -> None:
    """`./serve` is the file beside the configuration, wherever Tidegate was started."""
    (tmp_path / "serve").touch(0o755)
    argv, _ = tether.tethered(["./serve", "--fast"], tmp_path, os.environ)
    assert argv[-2:] == ["./serve", "--fast"]


# What LocalPods decides. Processes and probes are played by the test.


class FakeProcess:
    """A process whose start, readiness and end the test decides."""

    def __init__(self, launch: Launch, on_start: Callable[[], None], on_exit: Callable[[str], None]) -> None:
        self.launch, self.on_start, self.exit = launch, on_start, on_exit
        self.pid: int | None = None
        self.port = int(launch.env["PORT"])
        self.signals: list[signal.Signals] = []

    def signal(self, number: signal.Signals) -> None:
        self.signals.append(number)


class World:
    """LocalPods over fakes: `await world.ready(0)` lets the first process get ready."""

    def __init__(self, tmp_path: Path, *, busy: set[str]) -> None:
        self.processes: list[FakeProcess] = []
        self.ready_ports: set[int] = set()
        self.feed = Feed("iris")
        self.news: list[Endpoints] = []
        self.feed.subscribe(self.news.append)
        self.template = PodTemplate(("serve", "--port={port}"), tmp_path, {"A": "b{port}"}, "/ready")
        self.busy = busy
        self.pods = LocalPods(
            "iris",
            self.template,
            self.feed,
            spawner=self,  # type: ignore[arg-type]
            ports=Ports(chance(3)),
            chance=chance(3),
            idle=lambda uid: uid not in busy,
            log_dir=tmp_path,
        )

    def spawn(
        self, launch: Launch, on_start: Callable[[], None], on_exit: Callable[[str], None]
    ) -> FakeProcess:
        self.processes.append(FakeProcess(launch, on_start, on_exit))
        return self.processes[-1]

    async def probe(self, _host: str, port: int, _path: str | None, _timeout: float) -> bool:
        return port in self.ready_ports

    async def ready(self, *indices: int) -> None:
        for index in indices:
            self.ready_ports.add(self.processes[index].port)
            self.processes[index].on_start()
        await asyncio.sleep(1)

    def uid(self, index: int) -> str:
        return self.processes[index].launch.log.stem

    def ended(self) -> list[int]:
        return [index for index, process in enumerate(self.processes) if process.signals]

    def observed(self) -> list[str]:
        return [
            f"{pod.uid.split('-')[1]} {'ready' if pod.ready else 'starting'}{' draining' if pod.draining else ''}"
            for pod in self.pods.observe().pods
        ]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path, busy=set())
    monkeypatch.setattr("autoscaler.processes.pod.probe", world.probe)
    return world


virtual = pytest.mark.looptime


@virtual
async def test_a_pod_gets_its_port_and_its_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`{port}` is put in, PORT and the configured variables are set over Tidegate's own."""
    monkeypatch.setenv("INHERITED", "yes")
    world.pods.start(1)
    launch = world.processes[0].launch
    assert launch.argv == ["serve", f"--port={launch.env['PORT']}"]
    assert (launch.env["A"], launch.env["INHERITED"]) == (f"b{launch.env['PORT']}", "yes")
    assert launch.log == world.pods._log_dir / "iris" / f"{world.uid(0)}.log"


@virtual
async def test_readiness_is_published_when_the_probe_succeeds(world: World) -> None:
    """A pod is not ready before, and ready in the very turn in which its probe succeeded."""
    world.pods.start(1)
    assert [pod.ready for pod in world.feed.latest.pods] == [False]
    await world.ready(0)
    assert [pod.ready for pod in world.feed.latest.pods] == [True]
    assert world.observed() == ["1 ready"]
    assert repr(world.pods) == "<LocalPods iris: 1 wanted, 1 ready>"


@virtual
async def test_a_dead_pod_leaves_the_feed_in_the_same_turn(world: World) -> None:
    """No request can be sent to a pod whose death was noticed."""
    world.pods.start(2)
    await world.ready(0, 1)
    world.processes[0].exit("was ended by SIGKILL")
    assert world.uid(0) not in {pod.uid for pod in world.feed.latest.pods}


@virtual
async def test_a_dead_pod_is_replaced_when_the_backoff_is_over(world: World) -> None:
    """A crash at the start is followed by another start 0.1 s later, under another name."""
    world.pods.start(1)
    world.processes[0].exit("exited with status 1")
    assert world.pods.pods == ()
    await asyncio.sleep(0.09)
    assert len(world.processes) == 1
    await asyncio.sleep(0.02)
    assert world.observed() == ["2 starting"]


async def crash(world: World, times: int) -> None:
    """Let the last process crash again and again."""
    for _ in range(times):
        count = len(world.processes)
        world.processes[-1].exit("exited with status 1")
        await asyncio.sleep(LONGEST_DELAY)
        assert len(world.processes) == count + 1


@virtual
async def test_three_failures_are_published_with_their_reason(world: World) -> None:
    """The feed says why nothing starts, the pods are tried on, and a success takes it back."""
    world.pods.start(1)
    await crash(world, 2)
    assert world.feed.latest.cannot_start is None
    world.processes[-1].launch.log.parent.mkdir()
    world.processes[-1].launch.log.write_text("no GPU\n")
    await crash(world, 1)
    expected = "iris: the command exited with status 1 three times; last lines of its output: no GPU"
    assert world.feed.latest.cannot_start == expected
    await world.ready(-1)
    assert world.feed.latest.cannot_start is None


@virtual
async def test_zero_takes_cannot_start_back(world: World) -> None:
    """Once nothing is wanted the next request may try anew, without waiting for the backoff."""
    world.pods.start(1)
    await crash(world, 5)
    assert (
        world.feed.latest.cannot_start == "iris: the command exited with status 1 5 times; it wrote nothing"
    )
    await world.pods.scale(0, ())
    world.processes[-1].exit("was ended by SIGTERM")
    assert world.feed.latest == Endpoints()
    count = len(world.processes)
    await world.pods.scale(1, ())
    assert len(world.processes) == count + 1


@virtual
async def test_failures_beside_a_ready_pod_are_no_reason_to_refuse(world: World) -> None:
    """While one pod serves, others that crash are tried again without a word to callers; once it is gone, there is."""
    world.pods.start(2)
    await world.ready(0)
    await crash(world, 4)
    assert world.feed.latest.cannot_start is None
    world.processes[0].exit("was ended by SIGKILL")
    assert "exited with status 1 4 times" in str(world.feed.latest.cannot_start)


@virtual
async def test_a_lower_count_ends_exactly_the_named_pods(world: World) -> None:
    """SIGTERM to the pod in `remove`, which stays in the feed as draining until it is gone."""
    world.pods.start(3)
    await world.ready(0, 1, 2)
    await world.pods.drain([world.uid(1)])
    assert world.observed() == ["1 ready", "2 ready draining", "3 ready"]
    await world.pods.scale(2, [world.uid(1)])
    assert world.ended() == [1]
    assert world.observed() == ["1 ready", "3 ready"]
    assert [pod.draining for pod in world.feed.latest.pods] == [False, True, False]
    world.processes[1].exit("was ended by SIGTERM")
    assert len(world.processes) == 3


@virtual
async def test_a_mark_can_be_taken_back(world: World) -> None:
    """An undrained pod gets requests again."""
    world.pods.start(1)
    await world.ready(0)
    await world.pods.drain([world.uid(0)])
    await world.pods.undrain([world.uid(0), "of-another-time"])
    assert [pod.draining for pod in world.feed.latest.pods] == [False]


@virtual
async def test_starting_pods_go_first_the_newest_before_the_others(world: World) -> None:
    """When `remove` is short, pods that serve nobody yet make up for it."""
    world.pods.start(4)
    await world.ready(0)
    await world.pods.scale(2, ())
    assert world.ended() == [2, 3]


@virtual
async def test_a_ready_pod_that_is_not_named_stays(world: World) -> None:
    """More ready pods than the new count leaves room for: none is ended unasked, and the count tells."""
    world.pods.start(3)
    await world.ready(0, 1, 2)
    await world.pods.scale(1, [world.uid(0)])
    assert world.ended() == [0]
    assert world.pods.observe().replicas == 2


@virtual
async def test_a_named_pod_that_died_costs_no_other(world: World) -> None:
    """Its place is gone with it: the count ends where it was meant to, and its replacement goes."""
    world.pods.start(3)
    await world.ready(0, 1, 2)
    await asyncio.sleep(STEADY)
    world.processes[1].exit("was ended by SIGKILL")
    assert world.observed() == ["1 ready", "3 ready", "4 starting"]
    await world.pods.scale(2, [world.uid(1)])
    assert world.ended() == [3]
    assert world.observed() == ["1 ready", "3 ready"]


@virtual
async def test_sigkill_follows_sigterm_after_the_grace(world: World) -> None:
    """A pod has ten seconds to end by itself."""
    world.pods.start(1)
    await world.ready(0)
    await world.pods.scale(0, [world.uid(0)])
    await asyncio.sleep(9.9)
    assert world.processes[0].signals == [signal.SIGTERM]
    await asyncio.sleep(0.2)
    assert world.processes[0].signals == [signal.SIGTERM, signal.SIGKILL]


@virtual
async def test_an_old_pod_retires_once_its_replacement_is_ready_and_it_is_idle(world: World) -> None:
    """A new command starts one pod beside the old; the old one drains, finishes what it has, and is ended."""
    world.pods.start(1)
    await world.ready(0)
    world.busy.add(world.uid(0))
    world.pods.reconfigure(PodTemplate(("serve2",), Path("/"), {}, None))
    assert world.processes[1].launch.argv == ["serve2"]
    assert world.observed() == ["1 ready"]
    await world.ready(1)
    assert world.observed() == ["2 ready"]
    assert [pod.draining for pod in world.feed.latest.pods] == [True, False]
    await asyncio.sleep(60)
    assert world.ended() == []
    world.busy.clear()
    await asyncio.sleep(1)
    assert world.ended() == [0]


@virtual
async def test_a_new_command_that_cannot_start_costs_no_pod(world: World) -> None:
    """The old pods serve on as long as no new one gets ready, and callers hear nothing of it."""
    world.pods.start(2)
    await world.ready(0, 1)
    world.pods.reconfigure(PodTemplate(("broken",), Path("/"), {}, None))
    await crash(world, 5)
    assert world.observed() == ["1 ready", "2 ready"]
    assert world.ended() == []
    assert world.feed.latest.cannot_start is None


@virtual
async def test_a_new_command_replaces_starting_pods_at_once(world: World) -> None:
    """A pod that serves nobody need not be waited for, and old failures are not held against the new command."""
    world.pods.start(1)
    await crash(world, 4)
    world.pods.reconfigure(PodTemplate(("serve2",), Path("/"), {}, None))
    assert world.feed.latest.cannot_start is None
    assert world.ended() == [4]
    assert world.processes[5].launch.argv == ["serve2"]


@virtual
async def test_the_same_command_again_changes_nothing(world: World) -> None:
    """A reload that leaves the target as it was leaves its pods as they are."""
    world.pods.start(1)
    world.pods.reconfigure(
        PodTemplate(("serve", "--port={port}"), world.template.cwd, {"A": "b{port}"}, "/ready")
    )
    assert len(world.processes) == 1
    assert world.ended() == []


@virtual
async def test_stop_ends_all_and_waits_for_them(world: World) -> None:
    """It returns when the last process is reaped, and nothing is started afterwards."""
    world.pods.start(2)
    await world.ready(0)
    stopping = asyncio.create_task(world.pods.stop())
    await asyncio.sleep(1)
    assert world.ended() == [0, 1]
    world.processes[1].exit("was ended by SIGTERM")
    await asyncio.sleep(1)
    assert not stopping.done()
    assert repr(world.pods) == "<LocalPods iris: 0 wanted, 1 ending, stopping>"
    world.processes[0].exit("was ended by SIGTERM")
    await stopping
    await world.pods.scale(3, ())
    assert world.feed.latest == Endpoints()
    assert len(world.processes) == 2


@virtual
async def test_a_cancelled_stop_kills(world: World) -> None:
    """Whoever cannot wait for the grace kills."""
    world.pods.start(1)
    stopping = asyncio.create_task(world.pods.stop())
    await asyncio.sleep(1)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert world.processes[0].signals == [signal.SIGTERM, signal.SIGKILL]


@virtual
async def test_a_death_is_logged_with_its_last_words(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The line names backend, uid, pid and port, and quotes the output."""
    world.pods.start(1)
    process = world.processes[0]
    process.pid = 4711
    process.launch.log.parent.mkdir()
    process.launch.log.write_text("Traceback\nMemoryError\n")
    with caplog.at_level(logging.WARNING, "tidegate.pods"):
        process.exit("exited with status 1")
    assert caplog.messages == [
        f"backend=iris uid={world.uid(0)} pid=4711 port={process.port} exited with status 1 unasked; last lines of its output: Traceback | MemoryError"
    ]


@virtual
async def test_how_a_pod_came_up_is_told(world: World) -> None:
    """When it was made and when its process ran; of one that is not there, nothing."""
    world.pods.start(1)
    await asyncio.sleep(0.5)
    assert world.pods.milestones(world.uid(0)) == Milestones(created=0.5)
    await world.ready(0)
    assert world.pods.milestones(world.uid(0)) == Milestones(created=1.5, started=1.0)
    assert world.pods.milestones("another") is None
