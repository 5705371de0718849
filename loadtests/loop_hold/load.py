"""The load: predictions for all routes in turn, at a steady rate, over connections that are kept. A process of its own.

Open loop: what is due is sent when it is due, as long as a connection is free; what finds none is owed. Any answer but 200, and
any connection that breaks, is counted. The tally is written to standard output as JSON when the process is told to end.
"""

import argparse
import asyncio
import json
import signal
from collections import Counter, deque
from typing import Any

import httptools
import uvloop

from loadtests.common import loopback
from loadtests.fleet import Fleet

TICK = 0.001
MOST_OWED = 1000
"""Requests that may be due and not sent; more are given up, and told."""


class Connection(asyncio.Protocol):
    """One kept connection with at most one request on it."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._parser: Any = httptools.HttpResponseParser(self)
        self._transport: Any = None

    def ask(self, request: bytes) -> None:
        self._transport.write(request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._load.free.append(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._load.answered[self._parser.get_status_code()] += 1
        self._load.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        if not self._load.ended.is_set():
            self._load.broken += 1
            self._load.ended.set()


class Load:
    """All connections, and their tally."""

    def __init__(self, requests: list[bytes], rate: float) -> None:
        self.free: deque[Connection] = deque()
        self.answered: Counter[int] = Counter()
        self.broken = 0
        self.given_up = 0
        self.ended = asyncio.Event()
        self._requests = requests
        self._rate = rate
        self._next = 0

    async def run(self, address: tuple[str, int], connections: int) -> None:
        """Until told to end, or until a connection breaks."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.ended.set)
        for _ in range(connections):
            await loop.create_connection(lambda: Connection(self), *address)
        began, sent = loop.time(), 0
        while not self.ended.is_set():
            owed = int((loop.time() - began) * self._rate) - sent
            if owed > MOST_OWED:
                self.given_up += owed - MOST_OWED
                sent += owed - MOST_OWED
                owed = MOST_OWED
            sent += self._send(owed)
            await asyncio.sleep(TICK)

    def _send(self, owed: int) -> int:
        count = min(owed, len(self.free))
        for _ in range(count):
            self.free.popleft().ask(self._requests[self._next])
            self._next = (self._next + 1) % len(self._requests)
        return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--routes", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--connections", type=int)
    options = parser.parse_args()
    requests = [Fleet.request(number) for number in range(options.routes)]
    load = Load(requests, options.rate)
    uvloop.run(load.run(loopback(options.address), options.connections))
    told = {"answered": load.answered, "broken": load.broken, "given_up": load.given_up}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
