"""A load client whose requests have times of their own: an open loop, as many users who know nothing of each other are.

All times are drawn before the first request (exponential gaps, from a seed: every proxy gets the same ones). A request is sent
at its time, however slow the answers to others are, and its latency counts from that time: what a stall delays is counted as
delayed. That needs more connections than requests are ever in flight; a request that finds none idle waits for one, with its
clock running, and is told under `waited`. How late the client turned to them is told as well: it is its own error.

One thread, one epoll, plain sockets; a timerfd rings at each request's time. `load` runs this file as a process of its own.
"""

import argparse
import gc
import json
import random
import re
import select
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from loadtests.alarm import Alarm
from loadtests.common import HOST, loopback, on_core, quantiles

WARM_UP = 1.0
"""Seconds at the start whose requests are sent but not counted: first uses of connections."""
PATIENCE = 10.0
"""Seconds after the last request's time until what is unanswered has failed."""
LEAD = 0.1
"""Seconds between the last connection and the first request."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the client gave; times in milliseconds."""

    sent: int
    """Requests in all."""
    counted: int
    """Without those of the warm-up."""
    failed: int
    """Of all: an answer other than 200, a connection that broke, no answer."""
    failures: list[str]
    """What the first few of them were."""
    waited: int
    """Requests that found no idle connection."""
    latency: dict[str, float]
    """From a request's time to its answer's last byte: p50, p95, p99, max."""
    late: dict[str, float]
    """From a request's time until the client turned to it: its own error, without waiting for an idle connection."""


def load(
    port: int, *, rate: float, seconds: float, connections: int, host: str, path: str, seed: int, core: int
) -> Outcome:
    """Load from a process of its own on that core: JSON POSTs at `rate` a second for `seconds` after the warm-up."""
    command = [sys.executable, __file__, "--port", port, "--rate", rate, "--seconds", seconds]
    command += ["--connections", connections, "--host", host, "--path", path, "--seed", seed]
    with on_core(core):
        run = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"the load client failed with {run.returncode}:\n{run.stdout}{run.stderr}")
    return Outcome(**json.loads(run.stdout))


def message_length(buffer: bytes | bytearray) -> int | None:
    """How long the message at the buffer's start is, head and body; None while its head is not whole. Content-Length only."""
    head = buffer.find(b"\r\n\r\n")
    if head < 0:
        return None
    length = _LENGTH.search(buffer, 0, head + 2)
    return head + 4 + (int(length[1]) if length else 0)


def schedule(rate: float, seconds: float, seed: int) -> list[float]:
    """The requests' times, in seconds from the start: exponential gaps, as of users who know nothing of each other."""
    chance = random.Random(seed)
    times, at = [], 0.0
    while (at := at + chance.expovariate(rate)) < seconds:
        times.append(at)
    return times


@dataclass(slots=True, eq=False)
class Connection:
    """One to the server, with the request that it is busy with."""

    socket: socket.socket
    request: int | None = None
    buffer: bytearray = field(default_factory=bytearray)


class Client:
    """Sends what is due, reads what has come, until everything is answered or patience ends."""

    def __init__(self, port: int, connections: int, request: bytes, times: list[float]) -> None:
        self._address = loopback(f"{HOST}:{port}")
        self._request = request
        self._epoll = select.epoll()
        self._alarm = Alarm()
        self._epoll.register(self._alarm, select.EPOLLIN)
        self._by_fd: dict[int, Connection] = {}
        self._idle: deque[Connection] = deque()
        for _ in range(connections):
            self._connect()
        start = time.monotonic() + LEAD
        self._times = [start + at for at in times]
        self._next = 0
        self._due: deque[int] = deque()
        self._open = len(times)
        self.late = [0.0] * len(times)
        """How long after its time each was turned to."""
        self.taken = [0.0] * len(times)
        """From each one's time to its answer; zero for none."""
        self.waited = 0
        self.failures: list[str] = []

    def __repr__(self) -> str:
        return f"Client({self._next} of {len(self._times)} due, {self._open} open, {len(self._idle)} idle)"

    def run(self) -> None:
        give_up = self._times[-1] + PATIENCE
        self._alarm.set(self._times[0])
        alarm = self._alarm.fileno()
        while self._open and time.monotonic() < give_up:
            for fd, _ in self._epoll.poll(1.0):
                if fd == alarm:
                    self._ring()
                elif connection := self._by_fd.get(fd):  # else it was lost in this turn
                    self._read(connection)
        self.failures += ["no answer"] * self._open

    def _ring(self) -> None:
        now = time.monotonic()
        times, last = self._times, len(self._times)
        first = self._next
        while self._next < last and times[self._next] <= now:
            self._due.append(self._next)
            self.late[self._next] = now - times[self._next]
            self._next += 1
        self._alarm.set(times[self._next] if self._next < last else None)
        self._send()
        self.waited += min(len(self._due), self._next - first)

    def _send(self) -> None:
        while self._due and self._idle:
            connection = self._idle.popleft()
            connection.request = self._due.popleft()
            try:
                connection.socket.sendall(self._request)  # into an empty buffer: it never waits
            except OSError as error:
                self._lost(connection, repr(error))

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(connection, repr(error))
            self._send()
            return
        now = time.monotonic()
        if not data or connection.request is None:
            self._lost(connection, f"unasked: {data[:60]!r}" if data else "closed by the server")
            self._send()
            return
        connection.buffer += data
        length = message_length(connection.buffer)
        if length is None or len(connection.buffer) < length:
            return
        if not connection.buffer.startswith(b"HTTP/1.1 200 "):
            self.failures.append(connection.buffer[:200].decode("latin-1"))
        self.taken[connection.request] = now - self._times[connection.request]
        self._open -= 1
        connection.request = None
        connection.buffer.clear()
        self._idle.append(connection)
        if self._due:
            self._send()

    def _lost(self, connection: Connection, why: str) -> None:
        """Whatever it was busy with has failed; another connection takes its place."""
        self.failures.append(why)
        if connection.request is not None:
            self._open -= 1
        elif connection in self._idle:
            self._idle.remove(connection)
        del self._by_fd[connection.socket.fileno()]
        connection.socket.close()
        self._connect()

    def _connect(self) -> None:
        connection = Connection(socket.create_connection(self._address, timeout=PATIENCE))
        connection.socket.settimeout(0)
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._by_fd[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket, select.EPOLLIN)
        self._idle.append(connection)

    def outcome(self, skip: int) -> dict[str, Any]:
        """As an Outcome's fields, without the first `skip` requests in its figures."""
        return {
            "sent": len(self._times),
            "counted": len(self._times) - skip,
            "failed": len(self.failures),
            "failures": self.failures[:5],
            "waited": self.waited,
            "latency": quantiles([1000 * taken for taken in self.taken[skip:] if taken]),
            "late": quantiles([1000 * late for late in self.late[skip:]]),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--port", "--connections", "--seed"):
        parser.add_argument(name, type=int, required=True)
    for name in ("--rate", "--seconds"):
        parser.add_argument(name, type=float, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--path", required=True)
    options = parser.parse_args()
    body = b'{"instances": [[6.8, 2.8, 4.8, 1.4]]}'
    head = f"POST {options.path} HTTP/1.1\r\nHost: {options.host}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    times = schedule(options.rate, WARM_UP + options.seconds, options.seed)
    client = Client(options.port, options.connections, request, times)
    gc.collect()
    gc.disable()
    client.run()
    print(json.dumps(client.outcome(sum(at < WARM_UP for at in times))))


if __name__ == "__main__":
    main()
