"""Many streams of server-sent events, read at once: are they whole, and how long did each event take?

Every stream must bring the events that were asked for, in order, each once, and then end as HTTP says. An event carries its
sender's monotonic clock, which is this process's as well, so its delay is read from it. `read` runs this file as a process.
"""

import argparse
import asyncio
import gc
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import httptools
import uvloop

from loadtests.common import HOST, loopback, on_core, quantiles

PATIENCE = 10.0
"""Seconds that streams may take longer than their events do."""
_EVENT = re.compile(rb'data: \{"n": *(\d+),"at": *(\d+),')


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the streams gave."""

    events: int
    """That arrived in their place."""
    seconds: float
    """From the first request to the last end."""
    lost: int
    """Events that did not arrive, or not in their place."""
    broken: int
    """Streams whose end did not come, or that brought anything but their events in order, each once."""
    failures: list[str]
    """What went wrong, for the first few streams."""
    delay: dict[str, float]
    """Milliseconds from an event's sending to its arrival: p50, p95, p99, max."""


def read(port: int, *, streams: int, events: int, seconds: float, host: str, path: str, core: int) -> Outcome:
    """Read from a process of its own on that core; `seconds` is what the events take if none is late."""
    command = [sys.executable, __file__, "--port", port, "--streams", streams, "--events", events]
    command += ["--seconds", seconds, "--host", host, "--path", path]
    with on_core(core):
        run = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"the client failed with {run.returncode}:\n{run.stdout}{run.stderr}")
    return Outcome(**json.loads(run.stdout))


@dataclass(slots=True)
class Tally:
    """What all streams bring."""

    open: int
    done: asyncio.Event
    events: int = 0
    broken: int = 0
    failures: list[str] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    def ended(self, failure: str | None) -> None:
        self.open -= 1
        if failure is not None:
            self.broken += 1
            self.failures.append(failure)
        if not self.open:
            self.done.set()


class Stream(asyncio.Protocol):
    """One connection with one response."""

    def __init__(self, tally: Tally, request: bytes) -> None:
        self._tally = tally
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._rest = b""
        self._next = 0
        self._whole = self._wrong = False

    def __repr__(self) -> str:
        return f"Stream({self._next} events, {'whole' if self._whole else 'open'})"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._complain(repr(error))
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        now = time.monotonic_ns()
        *events, self._rest = (self._rest + body).split(b"\n\n")
        for event in events:
            read = _EVENT.match(event)
            if read is None:
                self._complain(f"not an event: {event[:80]!r}")
            elif int(read[1]) != self._next:
                self._complain(f"event {int(read[1])} came where {self._next} was due")
                self._next = int(read[1]) + 1
            else:
                self._next += 1
                self._tally.events += 1
                self._tally.delays.append((now - int(read[2])) / 1e6)

    def on_message_complete(self) -> None:
        self._whole = self._parser.get_status_code() == 200 and not self._rest
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        right = self._whole and not self._wrong
        self._tally.ended(None if right else f"ended after event {self._next - 1}: {exc!r}")

    def _complain(self, what: str) -> None:
        self._wrong = True
        self._tally.failures.append(what)


async def run(options: argparse.Namespace) -> Outcome:
    loop = asyncio.get_running_loop()
    host, port = loopback(f"{HOST}:{options.port}")
    tally = Tally(options.streams, asyncio.Event())
    head = f"POST {options.path}?events={options.events} HTTP/1.1\r\nHost: {options.host}\r\nAccept: text/event-stream\r\n"
    request = f"{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    began = time.monotonic()
    for _ in range(options.streams):
        await loop.create_connection(lambda: Stream(tally, request), host, port)
    try:
        async with asyncio.timeout(options.seconds + PATIENCE):
            await tally.done.wait()
    except TimeoutError:
        tally.failures.append(f"{tally.open} streams still open after {options.seconds + PATIENCE:g} s")
    return Outcome(
        tally.events,
        time.monotonic() - began,
        options.streams * options.events - tally.events,
        tally.broken + tally.open,
        tally.failures[:5],
        quantiles(tally.delays),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--port", "--streams", "--events"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--path", required=True)
    options = parser.parse_args()
    gc.disable()
    outcome = uvloop.run(run(options))
    print(json.dumps({name: getattr(outcome, name) for name in Outcome.__slots__}))


if __name__ == "__main__":
    main()
