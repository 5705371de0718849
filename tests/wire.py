"""Bytes in, bytes out: the ways to cut an input, and what came of it at the client and at the pods.

Nothing here knows how the gateway reads; h11 reads what it wrote. Used where a table of cases or a law is held to for every cut.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import h11

from gateway.backend import Limits
from tests.fakes import Answer, PodConnection, World, read_answers

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POSITIONS_MOST = 160
"""Two-piece cuts per input; a longer one is cut at as many places, evenly spread."""

OURS = frozenset(
    (
        b"x-request-id", b"via", b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port",
        b"x-forwarded-proto", b"x-real-ip",
    )
)  # fmt: skip
"""Fields that the gateway sets by its own lights, whatever the client said."""

Fields = list[tuple[bytes, bytes]]


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, places: Iterable[int] | None) -> list[bytes]:
    """`data` in pieces that end at `places`; None: everywhere."""
    if places is None:
        return bytewise(data)
    ends = sorted({place for place in places if 0 < place < len(data)})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


def ways(data: bytes, tail: bytes = b"") -> Iterator[list[bytes]]:
    """The whole, byte by byte, and in two at every position; the `tail` comes in one piece with what is before it."""
    yield [data + tail]
    yield bytewise(data + tail)
    for at in range(1, len(data) + bool(tail), -(-len(data) // POSITIONS_MOST)):
        yield [data[:at], data[at:] + tail]


@dataclass
class Got:
    """One request as a pod got it, by h11's reading."""

    method: bytes
    target: bytes
    fields: Fields
    """Without those in OURS; names in lower case."""
    ours: Fields
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    whole: bool = False

    @property
    def framing(self) -> Fields:
        return [(n, v) for n, v in self.fields if n in {b"content-length", b"transfer-encoding"}]

    @property
    def plain(self) -> Fields:
        """Fields that neither frame nor name the host."""
        return [(n, v) for n, v in self.fields if n not in {b"content-length", b"transfer-encoding", b"host"}]

    def value(self, name: bytes) -> bytes | None:
        """The field's value; None without it. Fails when it is there more than once."""
        values = [v for n, v in (*self.fields, *self.ours) if n == name]
        assert len(values) < 2, f"{name!r} more than once: {values}"
        return values[0] if values else None


class Reading:
    """What one connection to a pod has brought, read by h11. Fails when it is not HTTP, or more than one request at once."""

    def __init__(self, link: PodConnection) -> None:
        self.link = link
        self.requests: list[Got] = []
        self.raw = b""
        self._parser = h11.Connection(h11.SERVER)

    @property
    def partial(self) -> bool:
        """A request has begun and is not whole."""
        return bool(self.raw) and not (self.requests and self.requests[-1].whole)

    def look(self) -> bool:
        """Read on; True when a request has become whole, and has had no answer."""
        data = self.link.take()
        if not data:
            return False
        self.raw += data
        self._parser.receive_data(data)
        while True:
            event = self._parser.next_event()
            if isinstance(event, h11.Request):
                headers = list(event.headers)
                self.requests.append(
                    Got(
                        event.method,
                        event.target,
                        [(n, v) for n, v in headers if n not in OURS],
                        [(n, v) for n, v in headers if n in OURS],
                    )
                )
            elif isinstance(event, h11.Data):
                self.requests[-1].body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.requests[-1].trailers = list(event.headers)
                self.requests[-1].whole = True
                assert self._parser.trailing_data[0] == b"", "more than the request"
                self._parser = h11.Connection(h11.SERVER)
                return True
            else:
                return False


@dataclass
class Outcome:
    """What one client's bytes came to."""

    answers: list[Answer]
    requests: list[Got]
    """Whole or not, in the order in which they came to pods."""
    raw: bytes
    """Everything that any pod got."""
    cut_off: bool
    """Whatever a pod got of a request that never became whole, it has seen end."""
    closed: bool
    """The gateway takes no more requests here: the connection is closed, or its side of it is."""


def send(*pieces: bytes, methods: tuple[bytes, ...] = (b"GET",), answer: bytes = OK) -> Outcome:
    """Play a client that sends `pieces`, to a gateway whose pod answers each whole request with `answer`.

    `methods` are those of the requests that the client may believe to have sent; h11 needs them to read the answers.
    """
    world = World(limits=Limits(concurrency=2), idle=2)
    client = world.client()
    readings = [Reading(link) for link in world.pod.connections]
    order: list[Got] = []
    for piece in pieces:
        client.send(piece)
        busy = True
        while busy:
            busy = False
            for reading in readings:
                known = len(reading.requests)
                whole = reading.look()
                order += reading.requests[known:]
                if whole:
                    busy = True
                    reading.link.say(answer)
    closed = client.transport.is_closing() or client.transport.eof
    outcome = Outcome(
        read_answers(client.received, methods, closed=closed),
        order,
        b"".join(reading.raw for reading in readings),
        all(reading.link.transport.is_closing() for reading in readings if reading.partial),
        closed,
    )
    client.vanish()
    world.assert_at_rest()
    return outcome
