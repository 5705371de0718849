"""Two pods that stream server-sent events, one every 20 ms to each client, as a language model does its tokens.

`POST …?events=N` gets N events and the end of the response. Streams do not beat together: each has its own place within
the 20 ms, spread evenly by the golden ratio, and a timerfd rings at each. An event is numbered and carries the sender's monotonic
clock, which all processes of a machine share: who receives it sees what is lost and how long it took. An event that is late
moves none that come after it.
"""

import argparse
import asyncio
import heapq
import re
import time
from typing import Final, cast

import uvloop

from loadtests.alarm import Alarm
from loadtests.common import HOST
from loadtests.open_loop import message_length

PERIOD: Final = 0.02
GOLDEN: Final = 0.618034
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"n":%6d,"at":%20d,"text":" token"}\n\n'
"""Some 60 bytes, of always the same length."""
SIZE: Final = len(EVENT % (0, 0))
CHUNK = b"%x\r\n%s\r\n" % (SIZE, EVENT)
END = b"0\r\n\r\n"
_EVENTS = re.compile(rb"^POST [^ ]*\?events=(\d+) HTTP/1\.1\r\n")


class Beat:
    """All streams by when their next event is due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = Alarm()
        self._due: list[tuple[float, int, Pod]] = []
        self._begun = 0
        loop.add_reader(self._alarm, self._ring)

    def __repr__(self) -> str:
        return f"Beat({len(self._due)} streams)"

    def add(self, pod: "Pod") -> None:
        """The first event comes within 20 ms, at the stream's own place in them."""
        self._begun += 1
        now = time.monotonic()
        first = now - now % PERIOD + self._begun * GOLDEN % 1 * PERIOD
        heapq.heappush(self._due, (first if first > now else first + PERIOD, self._begun, pod))
        self._alarm.set(self._due[0][0])

    def _ring(self) -> None:
        now = time.monotonic()
        due = self._due
        while due and due[0][0] <= now:
            at, number, pod = due[0]
            if pod.send():
                heapq.heapreplace(due, (at + PERIOD, number, pod))
            else:
                heapq.heappop(due)
        self._alarm.set(due[0][0] if due else None)


class Pod(asyncio.Protocol):
    """One connection, with one stream at a time."""

    def __init__(self, beat: Beat) -> None:
        self._beat = beat
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._sent = self._events = 0

    def __repr__(self) -> str:
        return f"Pod({self._sent} of {self._events} sent)"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        length = message_length(self._buffer)
        if length is None or len(self._buffer) < length:
            return
        asked = _EVENTS.match(bytes(self._buffer))
        self._buffer.clear()
        if asked is None:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        self._sent, self._events = 0, int(asked[1])
        self._transport.write(HEAD)
        self._beat.add(self)

    def send(self) -> bool:
        """The next event, after the last one the end; returns whether there are more."""
        if self._transport.is_closing():
            return False
        self._transport.write(CHUNK % (self._sent, time.monotonic_ns()))
        self._sent += 1
        if self._sent < self._events:
            return True
        self._transport.write(END)
        return False


async def serve(ports: list[int]) -> None:
    loop = asyncio.get_running_loop()
    beat = Beat(loop)
    for port in ports:
        await loop.create_server(lambda: Pod(beat), HOST, port, backlog=4096)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", type=int, nargs="+", required=True)
    uvloop.run(serve(parser.parse_args().ports))


if __name__ == "__main__":
    main()
