"""A probe: small requests at a steady pace on one kept connection, each timed, and what of each time was nobody's doing.

Run as a process of its own on a core that the gateway does not have; `probing` starts one, ends it, and reads what it wrote.
A round trip also holds the time for which the probe itself, the pod or a thread of the gateway was ready to run and got no core, since
something else had it. Linux counts that per thread (/proc/PID/schedstat); it is taken off, so that `own` is what the gateway took. A
core that another of the gateway's threads had is the gateway's own doing, and is not taken off.
"""

import argparse
import gc
import os
import signal
import socket
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from loadtests.common import Child, Children, descendants, loopback
from loadtests.fleet import ANSWER, Fleet

END = ANSWER.encode()
TIMEOUT = 10.0
LOOK_FOR_THREADS = 0.05
"""Seconds after which the gateway is looked at for threads that are new."""


class Sample(NamedTuple):
    """One request. Milliseconds, but for `at`: when it was sent, in monotonic seconds."""

    at: float
    took: float
    own: float
    """What it took without what other programs' use of the cores cost it."""
    ran: float
    """For how long the gateway's threads ran meanwhile: well below `own`, it waited for something other than a core."""


class Waits:
    """The time for which one thread has run, and has been kept waiting for a core."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._last = 0, 0

    def read(self) -> tuple[int, int]:
        """Nanoseconds of both; the last that were known of a thread that has ended."""
        with suppress(OSError, ValueError):
            self._file.seek(0)
            ran, waited, _ = self._file.read(100).split()
            self._last = int(ran), int(waited)
        return self._last


class Process:
    """All threads of another process."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}/task")
        self._threads: dict[str, Waits] = {}
        self._look_at = 0.0
        self.look()

    def look(self) -> None:
        """Find threads that are new, once in a while."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_FOR_THREADS
        for name in os.listdir(self._folder):  # noqa: PTH208 (names are all that is wanted)
            if name not in self._threads:
                with suppress(OSError):
                    self._threads[name] = Waits(self._folder / name / "schedstat")

    def read(self) -> list[tuple[int, int]]:
        """For each thread, what it has run, and has been kept waiting."""
        return [waits.read() for waits in self._threads.values()]


def meanwhile(before: Sequence[tuple[int, int]], after: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """What a process's threads have run in all; and for how long one of them waited for a core that none of the others had.

    The latter is the longest of any thread, since the event loop waits for whichever has Python's lock.
    """
    changes = [
        (ran - ran_before, waited - waited_before)
        for (ran_before, waited_before), (ran, waited) in zip(before, after, strict=True)
    ]
    total = sum(ran for ran, _ in changes)
    return total, max(0, *(waited - (total - ran) for ran, waited in changes))


class Prober:
    """Asks, again and again."""

    def __init__(self, address: str, request: bytes, gateway: int, pods: int) -> None:
        self._socket = socket.create_connection(loopback(address), timeout=TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._gateway = Process(gateway)
        self._waits = (Waits(Path("/proc/self/schedstat")), Waits(Path(f"/proc/{pods}/schedstat")))
        self.samples = array("d")

    def ask(self) -> None:
        """One round trip. Exits when the answer is not the pod's."""
        self._gateway.look()
        elsewhere, gateway = self._elsewhere(), self._gateway.read()
        began = time.monotonic()
        self._socket.sendall(self._request)
        answer = self._socket.recv(65536)
        while not answer.endswith(END):
            more = self._socket.recv(65536)
            if not more:
                break
            answer += more
        took = time.monotonic() - began
        if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(END):
            sys.exit(f"the probe was answered {answer[:500]!r}")
        ran, kept = meanwhile(gateway, self._gateway.read())
        nobodys = kept + self._elsewhere() - elsewhere
        self.samples.extend((began, took * 1e3, max(0.0, took * 1e3 - nobodys / 1e6), ran / 1e6))

    def _elsewhere(self) -> int:
        return sum(waits.read()[1] for waits in self._waits)


def main() -> None:
    options = arguments()
    request = bytes.fromhex(options.request)
    prober = Prober(options.address, request, options.gateway, options.pods)
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    gc.disable()
    due = time.monotonic()
    while not ended:
        prober.ask()
        due += options.pace / 1000
        pause = due - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        else:
            due = time.monotonic()
    with options.out.open("wb") as file:
        prober.samples.tofile(file)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("out", type=Path)
    parser.add_argument("--request", help="in hexadecimal")
    parser.add_argument("--pace", type=float, help="milliseconds between two requests")
    parser.add_argument("--gateway", type=int, help="its process id")
    parser.add_argument("--pods", type=int, help="their process id")
    return parser.parse_args()


# -- for those who start it


@contextmanager
def probing(
    children: Children, fleet: Fleet, gateway: Child, pods: Child, core: int, *, pace: float
) -> Iterator[list[Sample]]:
    """Probe while the block runs; the list is filled when it has been left."""
    samples: list[Sample] = []
    out = fleet.folder / f"probe-{time.monotonic_ns()}.bin"
    command: list[str | Path] = [
        sys.executable, __file__, fleet.listen, out, "--request", fleet.request(fleet.size // 2).hex(),
        "--pace", str(pace), "--gateway", str(gateway.process.pid), "--pods", str(descendants(pods.process.pid)[-1]),
    ]  # fmt: skip
    child = children.start(out.stem, command, core)
    yield samples
    child.check()
    if child.end():
        sys.exit(f"the probe failed: {child.output()}")
    numbers = array("d")
    numbers.frombytes(out.read_bytes())
    size = len(Sample._fields)
    samples += (Sample(*numbers[at : at + size]) for at in range(0, len(numbers), size))


def quantile(sorted_values: Sequence[float], share: float) -> float:
    """The value below which `share` of them are."""
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


def steady(took: Sequence[float], pace: float) -> list[float]:
    """Sorted, with what requests would have waited that were not sent because one before them was still out.

    A round trip of 5 ms at a pace of 1 ms kept four more from being sent, which would have taken 4, 3, 2 and 1 ms.
    """
    whole = list(took)
    for value in took:
        late = value - pace
        while late > pace:
            whole.append(late)
            late -= pace
    return sorted(whole)


if __name__ == "__main__":
    main()
