"""Local pods with real processes, on asyncio and on uvloop."""

import asyncio
import functools
import inspect
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from autoscaler.processes import LocalPods, PodTemplate, Ports, Spawner
from gateway.endpoints import Endpoints, Feed
from tests.eventually import eventually

HERE = Path(__file__).parent
SERVER = (sys.executable, "-S", str(HERE / "pod_server.py"))


def template(*flags: str, command: tuple[str, ...] = SERVER, **env: str) -> PodTemplate:
    return PodTemplate((*command, *flags), HERE, env, "/ready")


class Factory:
    """Makes LocalPods, and afterwards ends them and sees that neither a process, a descriptor nor a thread remains."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.made: list[LocalPods] = []
        self.chance = random.Random()  # noqa: S311 - ports are no secret
        self.spawner = Spawner()
        self.ports = Ports(self.chance)

    def __call__(self, pod: PodTemplate, grace: float = 10.0) -> LocalPods:
        pods = LocalPods(
            "iris",
            pod,
            Feed("iris"),
            spawner=self.spawner,
            ports=self.ports,
            chance=self.chance,
            idle=lambda _uid: True,
            log_dir=self.log_dir,
            grace=grace,
        )
        self.made.append(pods)
        return pods

    async def run(self, test: Awaitable[None]) -> None:
        try:
            await test
        finally:
            await asyncio.gather(*(pods.stop() for pods in self.made))
        assert psutil.Process().children() == []
        assert repr(self.spawner) == "<Spawner: 0 processes>"
        assert repr(self.ports).endswith("held []>")
        await eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith("pod ")])


@pytest.fixture
def make(tmp_path: Path) -> Factory:
    return Factory(tmp_path)


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a coroutine test that takes `make` on asyncio's loop and on uvloop's."""
    takes = inspect.signature(test)
    new_loop = inspect.Parameter("new_loop", inspect.Parameter.KEYWORD_ONLY)

    @functools.wraps(test)
    def run(*, new_loop: Callable[[], asyncio.AbstractEventLoop], **fixtures: Any) -> None:
        new_loop().close()  # uvloop keeps descriptors of the process from its first loop on
        before = descriptors()
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(fixtures["make"].run(test(**fixtures)))
        # Compared outside the loop, because uvloop keeps one in reserve from a loop's first socket on.
        assert descriptors() == before

    run.__signature__ = takes.replace(parameters=[*takes.parameters.values(), new_loop])
    loops = [asyncio.new_event_loop, uvloop.new_event_loop]
    return pytest.mark.parametrize("new_loop", loops, ids=["asyncio", "uvloop"])(run)


def descriptors() -> dict[str, str]:
    """What this process has open: number and kind."""
    return {
        file.name: str(file.readlink()).split(":")[0]
        for file in Path("/proc/self/fd").iterdir()
        if file.exists()
    }


def endpoints(pods: LocalPods) -> Endpoints:
    return pods._feed.latest


def all_ready(pods: LocalPods, count: int) -> Callable[[], bool]:
    return lambda: [pod.ready for pod in endpoints(pods).pods] == [True] * count


def exists(pid: int) -> bool:
    """Whether a process runs; one that only its new parent has yet to reap does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@on_both_loops
async def test_a_pod_that_loads_gets_ready_and_then_serves(make: Factory) -> None:
    """A pod is in the feed as not ready while it loads, and as ready once its readiness path answers."""
    pods = make(template("--load", "0.1"))
    seen: list[bool] = []
    pods._feed.subscribe(lambda news: seen.extend(pod.ready for pod in news.pods))
    pods.start(1)
    await eventually(all_ready(pods, 1))
    assert seen == [False, True]
    assert repr(pods) == "<LocalPods iris: 1 wanted, 1 ready>"
    pod = endpoints(pods).pods[0]
    reader, writer = await asyncio.open_connection(pod.host, pod.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
    writer.close()
    await reader.read()


@on_both_loops
async def test_a_pod_that_answers_503_stays_starting(make: Factory) -> None:
    """Only 2xx and 3xx are ready; a process that lives and is not ready is neither restarted nor given up."""
    pods = make(template("--unready"))
    pods.start(1)
    pod = pods.pods[0]
    await eventually(lambda: pod.pid is not None)
    await asyncio.sleep(0.3)
    assert pods.pods == (pod,)
    assert not pod.ready
    assert endpoints(pods).cannot_start is None


@on_both_loops
async def test_a_killed_pod_is_replaced_under_a_new_name(make: Factory) -> None:
    """After kill -9 the uid is gone from the feed, and another process takes its place."""
    pods = make(template())
    pods.start(2)
    await eventually(all_ready(pods, 2))
    victim, other = pods.pods
    os.kill(victim.pid, signal.SIGKILL)
    await eventually(lambda: victim.uid not in {pod.uid for pod in endpoints(pods).pods})
    await eventually(all_ready(pods, 2))
    assert {pod.uid for pod in pods.pods} > {other.uid}


@on_both_loops
async def test_a_command_that_crashes_cannot_start_and_says_why(make: Factory) -> None:
    """After three failures in a row the feed carries the exit status and the end of the output."""
    crash = (sys.executable, "-S", "-c", "import sys; print('no such model: tulip'); sys.exit(3)")
    pods = make(template(command=crash))
    pods.start(1)
    await eventually(lambda: endpoints(pods).cannot_start)
    assert endpoints(pods).cannot_start == (
        "iris: the command exited with status 3 three times; last lines of its output: no such model: tulip"
    )


@on_both_loops
async def test_a_command_that_does_not_exist_cannot_start(make: Factory) -> None:
    """A program that is not there is a failure to start like any other, and says what was looked for."""
    pods = make(template(command=("tidegate-no-such-program",)))
    pods.start(1)
    await eventually(lambda: endpoints(pods).cannot_start)
    assert endpoints(pods).cannot_start == (
        "iris: the command could not be started (no program 'tidegate-no-such-program'; looked in PATH) three times;"
        " it wrote nothing"
    )


@on_both_loops
async def test_the_next_success_clears_cannot_start(make: Factory, tmp_path: Path) -> None:
    """The pods are tried again and again; when one gets ready, the reason is gone."""
    model = tmp_path / "model"
    server = f"import os; os.path.exists({str(model)!r}) or os._exit(1); exec(open({str(HERE / 'pod_server.py')!r}).read())"
    pods = make(template(command=(sys.executable, "-S", "-c", server)))
    pods.start(1)
    await eventually(lambda: endpoints(pods).cannot_start)
    model.touch()
    await eventually(all_ready(pods, 1))
    assert endpoints(pods).cannot_start is None


@on_both_loops
async def test_a_pod_that_dies_later_is_started_again(make: Factory) -> None:
    """A pod that was ready and exits by itself comes back."""
    pods = make(template("--die-after", "0.3"))
    pods.start(1)
    first = pods.pods[0].uid
    await eventually(lambda: any(pod.ready and pod.uid != first for pod in pods.pods))


@on_both_loops
async def test_a_lower_count_ends_the_named_pod(make: Factory) -> None:
    """SIGTERM goes to the pod in `remove` and to no other."""
    pods = make(template())
    pods.start(3)
    await eventually(all_ready(pods, 3))
    first, second, third = pods.pods
    await pods.drain([second.uid])
    assert [pod.draining for pod in endpoints(pods).pods] == [False, True, False]
    await pods.scale(2, [second.uid])
    await eventually(lambda: pods.pods == (first, third))
    assert not exists(second.pid)


@on_both_loops
async def test_a_pod_that_ignores_sigterm_is_killed_after_the_grace(make: Factory) -> None:
    """SIGKILL follows SIGTERM."""
    pods = make(template("--ignore-term"), grace=0.2)
    pods.start(1)
    await eventually(all_ready(pods, 1))
    await pods.scale(0, [pods.pods[0].uid])
    assert repr(pods) == "<LocalPods iris: 0 wanted, 1 ending>"
    await eventually(lambda: not pods.pods)


@on_both_loops
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
async def test_what_a_pod_started_ends_with_it(make: Factory, tmp_path: Path, how: str) -> None:
    """The whole process group goes, also when the pod itself is killed from outside."""
    file = tmp_path / "child"
    pods = make(template("--child", str(file)))
    pods.start(1)
    await eventually(file.exists)
    child = int(file.read_text())
    assert exists(child)
    if how == "SIGTERM":
        await pods.scale(0, [pods.pods[0].uid])
    else:
        pods._wanted = 0
        os.kill(pods.pods[0].pid, signal.SIGKILL)
    await eventually(lambda: not exists(child))


@on_both_loops
async def test_output_environment_and_port_reach_the_pod(make: Factory, tmp_path: Path) -> None:
    """Configured variables and PORT are in its environment, and what it prints is in its log file."""
    pods = make(template("--env", "GREETING", **{"GREETING": "moin", "odd.name": "a=b c", "EMPTY": ""}))
    pods.start(1)
    await eventually(all_ready(pods, 1))
    pod = pods.pods[0]
    expected = {"PORT": str(pod.port), "GREETING": "moin", "odd.name": "a=b c", "EMPTY": ""}
    assert psutil.Process(pod.pid).environ().items() >= expected.items()
    assert (tmp_path / "iris" / f"{pod.uid}.log").read_text() == "GREETING moin\n"


@on_both_loops
async def test_a_pod_has_no_descriptors_of_ours_and_a_session_of_its_own(make: Factory) -> None:
    """It cannot hold a listener of ours open, and no signal from the terminal reaches it."""
    with open("/etc/hostname") as held:  # noqa: ASYNC230, PTH123
        pods = make(template())
        pods.start(1)
        await eventually(all_ready(pods, 1))
        pid = pods.pods[0].pid
        assert held.name not in {file.path for file in psutil.Process(pid).open_files()}
        assert os.getsid(pid) == os.getpgid(pid) == pid


@on_both_loops
async def test_a_new_command_rolls_through_without_a_gap(make: Factory) -> None:
    """While pods with the new command replace the old ones, as many as wanted are ready and not draining."""
    pods = make(template("--load", "0.05"))
    pods.start(2)
    await eventually(all_ready(pods, 2))
    fewest: list[int] = []
    pods._feed.subscribe(lambda news: fewest.append(sum(pod.ready and not pod.draining for pod in news.pods)))
    new = template()
    pods.reconfigure(new)
    await eventually(lambda: [pod.template for pod in pods.pods] == [new, new] and all_ready(pods, 2)())
    assert min(fewest) == 2


@on_both_loops
async def test_stop_is_safe_while_pods_start(make: Factory) -> None:
    """Pods whose processes are being forked are ended like all others."""
    pods = make(template("--load", "60"))
    pods.start(5)
    await pods.stop()
    assert pods.pods == ()
    assert endpoints(pods).pods == ()


@on_both_loops
async def test_a_cancelled_stop_kills_at_once(make: Factory) -> None:
    """Whoever does not wait for the grace gets SIGKILL instead, and still no orphans."""
    pods = make(template("--ignore-term"), grace=60.0)
    pods.start(1)
    await eventually(all_ready(pods, 1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await pods.stop()
    await eventually(lambda: not pods.pods)


@on_both_loops
async def test_a_second_stop_may_be_shorter(make: Factory) -> None:
    """A person who insists is heard: the earlier SIGKILL counts."""
    pods = make(template("--ignore-term"), grace=60.0)
    pods.start(1)
    await eventually(all_ready(pods, 1))
    patient = asyncio.create_task(pods.stop())
    await asyncio.sleep(0)
    await pods.stop(grace=0.0)
    await patient


# A program of its own, which starts pods and is then done away with in one way or another.
PROGRAM = f"""
import asyncio, os, random, sys
from pathlib import Path
from autoscaler.processes import LocalPods, PodTemplate, Ports, Spawner
from gateway.endpoints import Feed
import uvloop

def pods(log_dir):
    template = PodTemplate({SERVER!r}, Path({str(HERE)!r}), {{}}, "/ready")
    return LocalPods("iris", template, Feed("iris"), spawner=Spawner(), ports=Ports(random.Random()),
                     chance=random.Random(), idle=lambda uid: True, log_dir=Path(log_dir))

async def main(end):
    local = pods(sys.argv[1])
    local.start(2)
    while not all(pod.ready for pod in local.pods):
        await asyncio.sleep(0.01)
    print(*(pod.pid for pod in local.pods), flush=True)
    await end(local)

async def live(local):
    await asyncio.sleep(60)

async def leave(local):
    pass

async def fail(local):
    raise SystemExit(4)

with asyncio.Runner(loop_factory={{"asyncio": None, "uvloop": uvloop.new_event_loop}}[sys.argv[2]]) as runner:
    runner.run(main(globals()[sys.argv[3]]))
"""


RunProgram = Callable[..., tuple[subprocess.Popen[str], list[int]]]


@pytest.fixture
def run_program(tmp_path: Path) -> Iterator[RunProgram]:
    """Starts it and tells its pods; ends it after the test, in case the test has not."""
    made: list[subprocess.Popen[str]] = []

    def run(loop: str, end: str, path: str | None = None) -> tuple[subprocess.Popen[str], list[int]]:
        program = subprocess.Popen(
            [sys.executable, "-X", "dev", "-c", PROGRAM, str(tmp_path), loop, end],
            cwd=HERE.parent.parent,
            env=dict(os.environ) if path is None else {**os.environ, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        made.append(program)
        assert program.stdout is not None
        return program, [int(pid) for pid in program.stdout.readline().split()]

    yield run
    for program in made:
        if program.poll() is None:
            program.kill()
            program.communicate()


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 15.0
    while any(map(exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [pid for pid in pids if exists(pid)] == []


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("path", [None, ""], ids=["with setpriv", "without setpriv"])
def test_pods_die_with_a_parent_that_is_killed(run_program: RunProgram, loop: str, path: str | None) -> None:
    """A kill -9 of Tidegate leaves no pod behind, whichever way pods are started."""
    program, pids = run_program(loop, "live", path)
    assert len(pids) == 2
    program.kill()
    program.communicate()
    wait_until_gone(pids)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(("end", "status"), [("leave", 0), ("fail", 4)])
def test_pods_die_with_a_parent_that_just_ends(
    run_program: RunProgram, end: str, status: int, loop: str
) -> None:
    """A program that ends without stop() leaves no pod behind, and its interpreter ends without a complaint."""
    program, pids = run_program(loop, end)
    _, errors = program.communicate(timeout=20)
    assert (program.returncode, errors) == (status, "")
    wait_until_gone(pids)


def test_ctrl_c_reaches_the_parent_alone(tmp_path: Path, run_program: RunProgram) -> None:
    """SIGINT to the parent's process group, as a terminal sends it, does not touch the pods."""
    program, pids = run_program("asyncio", "live")
    assert os.getpgid(program.pid) == program.pid
    assert all(os.getpgid(pid) == pid for pid in pids)
    os.killpg(program.pid, signal.SIGINT)
    program.communicate(timeout=20)
    wait_until_gone(pids)  # by the parent's end
    for log in (tmp_path / "iris").iterdir():
        assert "KeyboardInterrupt" not in log.read_text()
