"""What transports do not tell or do: how a connection ends while its reading is paused, what waits in the kernel, a reset.

Edge. A loop tells nothing of a paused connection, neither a FIN nor a reset, so the Lookout asks the kernel: a slice of the connections per tick and
each about twice a second, all of a slice in one call. What a connection makes of the news is its own affair. Where the system cannot
tell (a FIN outside Linux), nothing is told. `downstream` and `upstream` put themselves there when they pause; `gateway` turns it.
"""

import fcntl
import select
import socket
import struct
import termios
from array import array
from math import inf
from typing import Any, Protocol

SLICES = 10
"""A connection is looked at every so many ticks."""
_FIN: int = getattr(select, "POLLRDHUP", 0)
_RESET = struct.pack("ii", 1, 0)
_ENDED = _FIN | select.POLLHUP | select.POLLERR


class Watched(Protocol):
    """A connection that can pause."""

    transport: Any

    @property
    def paused(self) -> bool:
        """Its transport does not read, and has not been closed."""

    def on_end(self, *, reset: bool) -> None:
        """The other side has ended the connection, or at least its own half; maybe what it sent before is still unread."""


class Lookout:
    """The connections that are paused; or were, at the last look."""

    __slots__ = ("_next", "_now", "_slices")

    def __init__(self) -> None:
        self._slices: list[set[Watched]] = [set() for _ in range(SLICES)]
        self._next = 0
        """Where the next connection goes: in turn, so that a thousand that pause at once are not looked at at once."""
        self._now = 0

    def watch(self, connection: Watched) -> None:
        """Look at it until it reads again."""
        self._next = (self._next + 1) % SLICES
        self._slices[self._next].add(connection)

    def turn(self) -> None:
        """Look at the next slice."""
        self._now = (self._now + 1) % SLICES
        if self._slices[self._now]:
            self._look(self._slices[self._now])

    def _look(self, connections: set[Watched]) -> None:
        poll = select.poll()
        by_number: dict[int, Watched] = {}
        for connection in list(connections):
            number = _number(connection.transport) if connection.paused else -1
            if number < 0:
                connections.discard(connection)
            else:
                by_number[number] = connection
                poll.register(number, _FIN)
        for number, events in poll.poll(0):
            connection = by_number[number]
            # An earlier one's end may have set this one going.
            if events & _ENDED and connection.paused:
                connection.on_end(reset=bool(events & select.POLLERR))

    def __repr__(self) -> str:
        return f"<Lookout of {len(set().union(*self._slices))} connections>"


def _number(transport: Any) -> int:  # noqa: ANN401  # uvloop's is no subclass of asyncio's
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())


def unread(transport: Any) -> float:  # noqa: ANN401
    """Bytes that wait in the kernel; no end of them where they are encrypted, since that says nothing of what is in them."""
    number = _number(transport)
    if number < 0 or transport.get_extra_info("ssl_object") is not None:
        return inf
    size = array("i", [0])
    fcntl.ioctl(number, termios.FIONREAD, size)
    return size[0]


def reset_connection(transport: Any) -> None:  # noqa: ANN401
    """Break a connection so that the other side cannot take what it has for the whole: a reset, not an end."""
    if not transport.is_closing() or transport.get_write_buffer_size():
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
