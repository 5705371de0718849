"""Two pods that answer every POST a fixed time after its last byte, to the microsecond, and however many are open."""

import argparse
import asyncio
import time
from collections import deque
from typing import cast

import uvloop

from loadtests.alarm import Alarm
from loadtests.common import HOST
from loadtests.open_loop import message_length

BODY = b'{"model_name":"iris","model_version":"v1","predictions":[0,1,2]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


class Answers:
    """What is to be answered, the oldest first: with the same delay for all, that is also the order in which it is due."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay: float) -> None:
        self._delay = delay
        self._due: deque[tuple[float, asyncio.Transport]] = deque()
        self._alarm = Alarm()
        loop.add_reader(self._alarm, self._ring)

    def __repr__(self) -> str:
        return f"Answers({len(self._due)} due)"

    def add(self, transport: asyncio.Transport) -> None:
        self._due.append((time.monotonic() + self._delay, transport))
        if len(self._due) == 1:
            self._alarm.set(self._due[0][0])

    def _ring(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, transport = self._due.popleft()
            transport.write(ANSWER)
        self._alarm.set(self._due[0][0] if self._due else None)


class Pod(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._transport: asyncio.Transport
        self._buffer = bytearray()

    def __repr__(self) -> str:
        return f"Pod({len(self._buffer)} bytes)"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        length = message_length(self._buffer)
        if length is not None and len(self._buffer) >= length:
            self._buffer.clear()
            self._answers.add(self._transport)


async def serve(ports: list[int], delay: float) -> None:
    loop = asyncio.get_running_loop()
    answers = Answers(loop, delay)
    for port in ports:
        await loop.create_server(lambda: Pod(answers), HOST, port, backlog=4096)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", type=int, nargs="+", required=True)
    parser.add_argument("--delay", type=float, required=True, help="seconds")
    options = parser.parse_args()
    uvloop.run(serve(options.ports, options.delay))


if __name__ == "__main__":
    main()
