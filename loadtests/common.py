"""What the load tests share: processes of their own, Tidegate as one of them, and results as JSON with the machine.

Everything runs on 127.0.0.1, on ports that were free; what addresses anything else is refused. Only processes that were
started here are ended, by their ids. Needs nothing but Tidegate's own dependencies.
"""

import http.client
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
DEMO_SERVER = ROOT / "deploy" / "demo" / "server.py"
HOST = "127.0.0.1"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


# -- where things are


def loopback(address: str) -> tuple[str, int]:
    """Host and port of `host:port`. Exits when the host is not in 127.0.0.0/8: load goes to this machine only."""
    host, _, port = address.rpartition(":")
    try:
        ours = ip_address(host).is_loopback
    except ValueError:
        ours = False
    if not ours:
        sys.exit(f"{address} is not on this machine: the load tests send nothing beyond 127.0.0.0/8")
    return host, int(port)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def look_for(name: str, *folders: Path) -> str | None:
    """The path of a program on PATH, where Debian keeps daemons, or in these folders."""
    places = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", *map(str, folders)]
    return shutil.which(name, path=os.pathsep.join(places))


def find_tool(name: str, package: str) -> str:
    """The path of a program; exits and says what to install when there is none."""
    found = look_for(name)
    if found is None:
        sys.exit(f"{name} is missing; on Debian: apt-get install {package}")
    return found


def get_json(address: str, path: str) -> Any:  # noqa: ANN401 (whatever the document is)
    """The document that `GET path` answers at `host:port`. Raises OSError, also for any status but 200."""
    return json.loads(get_text(address, path))


def get_text(address: str, path: str) -> str:
    """What `GET path` answers at `host:port`. Raises OSError, also for any status but 200."""
    connection = http.client.HTTPConnection(*loopback(address), timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{address}{path}: {error!r}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise ConnectionError(f"{address}{path} answered {response.status}: {body[:200]!r}")
    return body.decode()


# -- processes


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was started here, in a session of its own, with its output in a file."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def check(self) -> None:
        """Exit, with its last words, when it has ended."""
        if self.process.poll() is not None:
            last = "\n".join(self.output().splitlines()[-15:])
            sys.exit(f"{self.name} ended with code {self.process.returncode}; its last words:\n{last}")

    def cpu_seconds(self) -> float:
        """CPU time that it and its living children have used, in user and system mode."""
        return sum(_cpu_seconds(pid) for pid in descendants(self.process.pid))

    def end(self, patience: float = 40.0) -> int:
        """SIGTERM, after `patience` seconds SIGKILL; returns the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Children:
    """Starts processes, and ends them all, the youngest first, however the block is left."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-loadtest-"))
        """For configurations and logs; removed at the end unless the block is left by an error."""
        self._children: list[Child] = []
        self._kept = False

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, _leave)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for child in reversed(self._children):
            child.end()
        if kind is None and not self._kept:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"configurations and logs are kept in {self.folder}", file=sys.stderr)

    def keep(self) -> None:
        """Leave configurations and logs where they are, for somebody to look at."""
        self._kept = True

    def start(self, name: str, command: Sequence[str | Path], core: int | None = None) -> Child:
        """Start a process, on one core if that is given."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as output, on_core(core):
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def tidegate(self, command: str, config: Path, *options: str, core: int | None = None) -> Child:
        """`tidegate COMMAND CONFIG`, as users run it: the one that is installed beside this Python."""
        program = Path(sys.executable).with_name("tidegate")
        if not program.exists():
            sys.exit(f"{program} is missing: install Tidegate with {sys.executable} -m pip install -e {ROOT}")
        return self.start(f"tidegate-{command}", [program, command, config, *options], core)


def _leave(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started within inherits the core."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def wait_until(holds: Callable[[], object], timeout: float, what: str, *, pause: float = 0.05) -> None:
    """Look every `pause` seconds; exits when it took longer than `timeout`. An OSError is a no."""
    give_up = time.monotonic() + timeout
    while time.monotonic() < give_up:
        try:
            if holds():
                return
        except OSError:
            pass
        time.sleep(pause)
    sys.exit(f"waited {timeout:g} s in vain until {what}")


def wait_ready(child: Child, admin: str, timeout: float = 20.0) -> None:
    """Until the Tidegate whose admin side is at `admin` says that it is ready."""

    def ready() -> bool:
        child.check()
        connection = http.client.HTTPConnection(*loopback(admin), timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        finally:
            connection.close()

    wait_until(ready, timeout, f"{child.name} was ready")


def wait_listening(child: Child, port: int, timeout: float = 10.0) -> None:
    """Until something accepts connections there."""

    def accepts() -> bool:
        child.check()
        with socket.create_connection((HOST, port), timeout=1):
            return True

    wait_until(accepts, timeout, f"{child.name} listened on {HOST}:{port}")


def descendants(pid: int) -> list[int]:
    """A process and all processes below it that are there now."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(map(int, children.read_text().split()))
            except OSError:
                continue  # the thread has ended
    return found


def alive(pid: int) -> bool:
    """Whether there is such a process; one that ended and was not waited for is none."""
    return _stat(pid)[0] not in "ZX"


def memory(pid: int) -> int:
    """What a process has resident, in bytes."""
    return _status_bytes(pid, "VmRSS")


def peak_memory(pid: int) -> int:
    """The most that it has had resident since it began, or since `forget_peak`."""
    return _status_bytes(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Begin anew with its peak, from what it has resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status_bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    sys.exit(f"/proc/{pid}/status tells no {field}")


def _cpu_seconds(pid: int) -> float:
    _, *fields = _stat(pid)
    return (int(fields[10]) + int(fields[11])) / TICKS_PER_SECOND


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat from its third field, the state, on; `X` and zeros when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["X", *["0"] * 50]


# -- results


def is_compiled() -> bool:
    """Whether the gateway beside this Python was installed by `make compiled`."""
    spec = find_spec("gateway.exchange")
    return spec is not None and not str(spec.origin).endswith(".py")


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in cpus.splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("tidegate", "uvloop", "httptools", "aiohttp")},
        "compiled": is_compiled(),
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """The middle, the 95th and 99th of a hundred, and the greatest; zeros when there are none."""
    order = sorted(values) or [0.0]
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(order[min(int(share * len(order)), len(order) - 1)], 4) for name, share in at.items()}


def write_result(path: Path, at: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Write a result as JSON: `at` is the machine as it was at the start."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    whole = {"when": now, "command": " ".join(["python", *sys.argv]), "machine": at, **result}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they need to be: the first flush left, the others flush right."""
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )
