"""A pod for the mirror's load test: answers every request after `--delay` milliseconds, or never; resets instead with `--reset`.

One process for each kind, so that the load on one does not slow another. HTTP/1.1 with Content-Length only.
"""

import argparse
import asyncio
import socket
import struct
from typing import cast

from loadtests.common import HOST
from loadtests.open_loop import message_length

BODY = b'{"predictions": [[0.1, 0.7, 0.2]]}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


class Pod(asyncio.Protocol):
    """One connection."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._delay = options.delay
        self._reset = options.reset
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        length = message_length(self._buffer)
        if length is None or len(self._buffer) < length:
            return
        del self._buffer[:length]
        if self._reset:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        elif self._delay == 0:
            self._transport.write(ANSWER)
        elif self._delay > 0:
            asyncio.get_running_loop().call_later(self._delay / 1000, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)

    def __repr__(self) -> str:
        return f"<Pod delay={self._delay}{' resets' if self._reset else ''}>"


async def serve(options: argparse.Namespace) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: Pod(options), HOST, options.port, backlog=1024
    )
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds; below zero: never")
    parser.add_argument("--reset", action="store_true")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
