"""From a client's bytes to its requests, one after the other, judged as they come.

Core: bytes in, `Incoming` out; whole input and single bytes give the same. The usual request, whose head comes in one piece, is read by
`quick`; all others by the parser (llhttp), which finds most faults of form and some of them late, after it has announced the
head, so that nothing is to be acted on before `feed` has returned. Faults travel in the request that they belong to; after one,
nothing more is read. `downstream` feeds this and empties its inbox.
"""

import sys
from collections import deque
from typing import Any

import httptools

from gateway import quick
from gateway.errors import (
    BAD_REQUEST,
    HEADERS_TOO_LARGE,
    METHOD_NOT_ALLOWED,
    TARGET_TOO_LONG,
    VERSION_NOT_SUPPORTED,
    GatewayError,
)
from gateway.http1 import (
    KEEP,
    REQUEST_FIELDS,
    SWITCH_LINES,
    TRUSTED_FIELDS,
    WEBSOCKET,
    HeadLimits,
    RequestHead,
    field_line,
)

PIECE = 2048
"""Bytes given to the parser at a time: of a packet full of the smallest requests 80 are there at once, not 10,000."""
BODY_PIECE = 16384
"""The same in the middle of a body."""


class Incoming:
    """One request as it comes in."""

    __slots__ = ("body", "complete", "error", "head", "trailers")

    def __init__(self, head: RequestHead, *body: bytes) -> None:
        self.head = head
        self.body = [*body]
        self.trailers: list[bytes] = []
        self.complete = False
        self.error: GatewayError | None = None
        """Why it must not go on. May come after its head was acted on."""

    def take(self) -> bytes:
        """What of the body has come since the last time."""
        body = self.body
        data = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        return data

    def __repr__(self) -> str:
        state = "refused" if self.error else "complete" if self.complete else "coming"
        return f"<Incoming {self.head!r} {state}>"


class RequestReader:
    """The requests of one connection."""

    __slots__ = (
        "_begun", "_fields", "_incoming", "_limits", "_lines", "_overhead", "_parser", "_parsing", "_remaining", "_small",
        "ended", "inbox", "offer",
    )  # fmt: skip

    def __init__(self, limits: HeadLimits) -> None:
        self.inbox: deque[Incoming] = deque()
        """Requests whose heads are complete, for whoever answers them to take out."""
        self.ended = False
        """Nothing more will be read: a fault, or bytes that might be in another protocol."""
        self.offer: Incoming | None = None
        """The request that asks for a WebSocket. It is the last: whatever follows its head is a body without end."""
        self._limits = limits
        self._fields, self._lines = REQUEST_FIELDS, quick.REQUEST_LINES
        self._parser: Any = httptools.HttpRequestParser(self)
        self._begun = False
        """The parser stands in the middle of a message."""
        self._remaining = 0
        """Bytes still to come of the body of a request that `take` has read; the parser sees none of them."""
        self._parsing: RequestHead | None = None
        self._overhead = 0
        """Bytes read since the chunk in which a head began, or since a body last grew."""
        self._small = True
        """Whatever head is complete now is so small that nobody need count its bytes."""
        self._incoming: Incoming | None = None

    @property
    def partial(self) -> bool:
        """A head has begun and is not complete."""
        return self._parsing is not None

    @property
    def receiving(self) -> bool:
        """The last request's body is still to come."""
        return self._incoming is not None

    def trust(self) -> None:
        """The connection is a trusted proxy's: keep what it says of its client."""
        self._fields, self._lines = TRUSTED_FIELDS, quick.TRUSTED_LINES

    def take(self, data: bytes) -> Incoming | None:
        """The request that `data` begins, if it is of the usual shape and nothing before it is left to read; else feed it."""
        if self._begun or self._remaining or self.ended or self.inbox:
            return None
        found = quick.request(data, self._limits, self._lines)
        if found is None:
            return None
        head, begin = found
        incoming = Incoming(head, data[begin:]) if begin < len(data) else Incoming(head)
        missing = begin + head.content_length - len(data)
        if missing > 0 and head.content_length > 0:
            self._remaining = missing
            self._incoming = incoming
        else:
            incoming.complete = True
        return incoming

    def count(self, data: bytes) -> bool:
        """Whether `data` is body of known length and nothing else, which is to be handed on as it is; else feed it."""
        missing = self._remaining - len(data)
        incoming = self._incoming
        if missing < 0 or incoming is None or self.inbox or not self._remaining:
            return False
        self._remaining = missing
        if not missing:
            incoming.complete = True
            self._incoming = None
        return True

    def feed(self, data: bytes) -> bytes:
        """Read on; after the end, nothing. Returns what was left unread, since requests wait in the inbox already."""
        if self._remaining:
            data = self._go_on(data)
        while data and not self.ended:
            size = BODY_PIECE if self._incoming is not None else PIECE
            used = self._parse(data if len(data) <= size else data[:size])
            data = data[used:]
            if self.inbox:
                break
        return b"" if self.ended else data

    def _parse(self, data: bytes) -> int:
        """Have the parser read this; returns how many bytes of it are done with."""
        before = self._parsing
        self._small = before is None and len(data) <= self._limits.size
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self.ended:
                return len(data)
            self._on_offer()
            done: int = upgrade.args[0]
            return done
        except httptools.HttpParserError as failure:
            if not self.ended:
                self._on_unreadable(GatewayError(BAD_REQUEST, f"the request cannot be read: {failure}"))
        else:
            if self._parsing is not None:
                # What stands before a head in its first chunk belongs to the request before it.
                self._bound_head(self._parsing, len(data) if self._parsing is before else 0)
            elif self._incoming is not None:
                self._bound_framing(self._incoming, len(data))
        return len(data)

    def _go_on(self, data: bytes) -> bytes:
        """More of a body of known length; returns what stands behind it."""
        incoming = self._incoming
        assert incoming is not None  # noqa: S101  # it is what remains to be read
        size = self._remaining
        if len(data) < size:
            incoming.body.append(data)
            self._remaining -= len(data)
            return b""
        incoming.body.append(data if len(data) == size else data[:size])
        incoming.complete = True
        self._remaining, self._incoming = 0, None
        return data[size:]

    def give_up(self, error: GatewayError) -> None:
        """Refuse the request that has begun, or whatever comes next, and read no further."""
        incoming = self._incoming
        if incoming is None:
            incoming = Incoming(self._parsing or RequestHead())
            self.inbox.append(incoming)
        incoming.error = incoming.error or error
        self._end()

    def close(self) -> None:
        """Let go of the parser, which refers back to this."""
        self._end()
        self.inbox.clear()
        self._parser = None

    # -- what the parser finds

    def on_message_begin(self) -> None:
        self._begun = True

    def on_url(self, url: bytes) -> None:
        head = self._parsing
        if head is None:
            head = self._parsing = RequestHead()
            head.target = url
        else:
            head.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        head = self._parsing
        if head is None:
            self._on_trailer(name, value)
            return
        action = self._fields[name]
        value = value.rstrip(b" \t")
        if action == KEEP:
            head.lines.append(field_line(name, value))
        else:
            head.note(action, value)

    def on_headers_complete(self) -> None:
        head = self._parsing
        assert head is not None  # noqa: S101  # a request line came first
        self._parsing = None
        self._overhead = 0
        parser = self._parser
        head.method = parser.get_method()
        version = parser.get_http_version()
        head.http10 = version == "1.0"
        head.keep_alive = parser.should_keep_alive()
        head.settle()
        self._incoming = incoming = Incoming(head)
        plain = self._small and head.fault is None and version == "1.1" and head.method != b"CONNECT"
        limits = self._limits
        if not plain or len(head.lines) > limits.fields or len(head.target) > limits.target:
            incoming.error = self._judge(head, version)
        self.inbox.append(incoming)

    def on_body(self, data: bytes) -> None:
        if self._incoming is not None:
            self._incoming.body.append(data)

    def on_message_complete(self) -> None:
        self._begun = False
        if self._incoming is not None:
            self._incoming.complete = True
            self._incoming = None

    def on_last_complete(self) -> None:
        """The same, of a message after which nothing is read."""
        self.on_message_complete()
        self.ended = True

    def _on_trailer(self, name: bytes, value: bytes) -> None:
        incoming = self._incoming
        if incoming is not None and REQUEST_FIELDS[name] == KEEP and name.lower() not in incoming.head.named:
            incoming.trailers.append(field_line(name, value.rstrip(b" \t")))
            most = self._limits.fields
            if len(incoming.trailers) > most and incoming.error is None:
                incoming.error = GatewayError(HEADERS_TOO_LARGE, f"more than {most} trailer fields")

    # -- faults

    def _bound_head(self, head: RequestHead, size: int) -> None:
        """A head that comes in pieces must not grow for ever: the parser would keep it all.

        Twice the bound, since what counts in the end are the fields without the space around them and those that are dropped.
        """
        self._overhead += size
        if len(head.target) > self._limits.target:
            self.give_up(self._target_too_long())
        elif self._overhead > 2 * self._limits.size:
            self.give_up(self._head_too_large())
        elif len(head.lines) > 2 * self._limits.fields:
            self.give_up(self._too_many_fields(head))

    def _bound_framing(self, incoming: Incoming, size: int) -> None:
        """Nor may a body's chunk extensions and trailers."""
        self._overhead = 0 if incoming.body else self._overhead + size
        if self._overhead > self._limits.size and incoming.error is None:
            incoming.error = GatewayError(
                HEADERS_TOO_LARGE, f"{self._overhead} bytes of chunk extensions or trailers"
            )

    def _on_unreadable(self, error: GatewayError) -> None:
        incoming = self._incoming
        if incoming is not None:
            incoming.error = incoming.error or error
            self._end()
        elif self._parsing is None and self.inbox and not self.inbox[-1].head.keep_alive:
            # Bytes after a request that said close are nobody's; the request itself stands.
            self._end()
        elif self._parsing is not None and len(self._parsing.target) > self._limits.target:
            self.give_up(self._target_too_long())
        else:
            self.give_up(error)

    def _on_offer(self) -> None:
        """The client offers to switch protocols; the parser ended the message at its head. A body may still be to be read."""
        incoming = self.inbox[-1]
        head = incoming.head
        if incoming.error is not None:
            self._end()
        elif head.opens_websocket:
            self._take_up(incoming)
        elif head.has_body:
            head.keep_alive = False
            self._begun = True
            incoming.complete = False
            self._incoming = incoming
            self._parser = _body_parser(head, self)
        elif WEBSOCKET in (head.upgrade or b""):
            # Nor after an offer that is none by the book: its sender may take what follows for frames.
            head.keep_alive = False
            self._end()
        else:
            self._parser = httptools.HttpRequestParser(self)

    def _take_up(self, incoming: Incoming) -> None:
        """Whatever the pod will say to the offer: from here on nothing is parsed as a request."""
        self.offer = self._incoming = incoming
        incoming.complete = False
        incoming.head.lines.append(SWITCH_LINES)
        self._remaining = sys.maxsize

    def _judge(self, head: RequestHead, version: str) -> GatewayError | None:
        limits = self._limits
        if len(head.target) > limits.target:
            return self._target_too_long()
        if version not in {"1.1", "1.0"}:
            return GatewayError(VERSION_NOT_SUPPORTED, f"HTTP/{version} is not spoken here")
        if head.fault is not None:
            return GatewayError(BAD_REQUEST, head.fault)
        if head.method == b"CONNECT":
            return GatewayError(METHOD_NOT_ALLOWED, "CONNECT is not supported: this is no forward proxy")
        if len(head.lines) > limits.fields:
            return self._too_many_fields(head)
        return self._head_too_large() if sum(map(len, head.lines)) > limits.size else None

    def _target_too_long(self) -> GatewayError:
        return GatewayError(TARGET_TOO_LONG, f"the target is longer than {self._limits.target} bytes")

    def _too_many_fields(self, head: RequestHead) -> GatewayError:
        return GatewayError(
            HEADERS_TOO_LARGE, f"{len(head.lines)} fields; at most {self._limits.fields} are taken"
        )

    def _head_too_large(self) -> GatewayError:
        return GatewayError(HEADERS_TOO_LARGE, f"the head is larger than {self._limits.size} bytes")

    def _end(self) -> None:
        self.ended = True
        self._remaining = 0
        self._parsing = self._incoming = None

    def __repr__(self) -> str:
        state = (
            "ended"
            if self.ended
            else "switched"
            if self.offer
            else "in a head"
            if self.partial
            else "in a body"
            if self.receiving
            else "between requests"
        )
        return f"<RequestReader {state}, {len(self.inbox)} in the inbox>"


class _BodyOnly:
    """Hears of one body alone: the head it belongs to was read before, and what follows could be in another protocol."""

    def __init__(self, reader: RequestReader) -> None:
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_last_complete


def _body_parser(head: RequestHead, reader: RequestReader) -> Any:  # noqa: ANN401  # httptools has no types
    """A parser that stands where `head` ends."""
    parser = httptools.HttpRequestParser(_BodyOnly(reader))
    framing = b"transfer-encoding: chunked" if head.chunked else b"content-length: %d" % head.content_length
    parser.feed_data(b"POST / HTTP/1.1\r\nhost: -\r\n" + framing + b"\r\n\r\n")
    return parser
