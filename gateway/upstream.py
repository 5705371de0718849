"""The pod's side: one HTTP/1.1 connection to a pod.

A connection serves one Exchange at a time. What the parser finds is collected while it runs and acted on only when
`feed_data` has returned, since some faults show late. A finished connection is back in its pool before the Exchange hears of
the end, so that whoever gets the freed slot finds it. `pool` makes and keeps these, `exchange` drives them; nothing here knows the client.
"""

import asyncio
from typing import Any

import httptools

from gateway import quick
from gateway.errors import UPSTREAM_INVALID, UPSTREAM_RESET, GatewayError
from gateway.http1 import (
    KEEP,
    POD_LIMITS,
    RESPONSE_FIELDS,
    RequestHead,
    ResponseHead,
    chunk,
    field_line,
    last_chunk,
)
from gateway.retries import Failure
from gateway.sockets import Lookout, reset_connection, unread
from gateway.streams import Receiver
from gateway.tcpinfo import unseen
from gateway.tls import Trust, hold_back, said_goodbye

_VERSIONS = frozenset(("1.1", "1.0"))
NO_TRAILERS: list[bytes] = []


class Home:
    """What a connection asks of the pool that it belongs to."""

    name: str
    """Host and port, in words."""
    authority: bytes
    """The same for a Host field."""
    trust: Trust | None
    """What its connections are held to; None: they are plain."""
    lookout: Lookout

    def put(self, connection: "Upstream") -> None:
        """Take a connection back, or close it when there is no use for it."""
        raise NotImplementedError

    def forget(self, connection: "Upstream") -> None:
        """A connection was lost, maybe an idle one."""
        raise NotImplementedError


class Upstream:
    """One connection to a pod: an asyncio.Protocol in all but name (see `Downstream`)."""

    __slots__ = (
        "_before",
        "_blocked",
        "_body",
        "_chunked_request",
        "_complete",
        "_delivered",
        "_for_head",
        "_fresh",
        "_goodbye",
        "_got",
        "_head",
        "_interims",
        "_keep_alive",
        "_overhead",
        "_parser",
        "_parsing",
        "_paused",
        "_receiver",
        "_remaining",
        "_request_done",
        "_surplus",
        "_trailers",
        "_written",
        "idle_since",
        "pool",
        "transport",
    )  # fmt: skip

    def __init__(self, pool: Home) -> None:
        # For the connection
        self.pool = pool
        self.transport: Any = None
        """An asyncio.Transport from `connection_made` on; typed loosely, as uvloop's is no subclass of it."""
        self.idle_since = -1.0
        """When it last came back to the pool; below zero: never, so that it has served nobody yet."""
        self._written = 0
        self._parser: Any = httptools.HttpResponseParser(self)
        self._receiver: Receiver | None = None
        self._paused = False
        self._blocked = False
        """The pod has not yet taken what was written."""
        self._goodbye = pool.trust is None
        """Its end is the pod's own; over TLS only once that has said so, since anybody can cut a connection."""
        # For one request
        self._before = 0  # bytes written when it began
        self._chunked_request = False
        self._for_head = False
        self._request_done = False
        # For one response
        self._fresh = False
        """Nothing of it has come."""
        self._remaining = 0
        """Bytes still to come of the body of an answer of the usual shape; the parser sees none of them."""
        self._parsing: ResponseHead | None = None
        self._interims: list[ResponseHead] = []
        self._head: ResponseHead | None = None
        self._overhead = 0
        """Bytes read since the last answer, or since the body of this one last grew."""
        self._got = 0
        """Bytes of the body that the parser has found."""
        self._delivered = False
        self._body: list[bytes] = []
        self._trailers: list[bytes] = []
        self._complete = False
        self._keep_alive = False
        self._surplus = False

    # -- what an Exchange asks for

    def request(
        self,
        receiver: Receiver,
        head: RequestHead,
        forwarded: bytes,
        data: bytes,
        trailers: list[bytes],
        *,
        ended: bool,
    ) -> None:
        """Send a request's head and what there is of its body."""
        self._receiver = receiver
        self._chunked_request = head.chunked
        self._for_head = head.method == b"HEAD"
        self._request_done = ended
        self._fresh = True
        self._remaining = 0
        self._delivered = self._complete = self._surplus = False
        self._head = None
        if head.chunked:
            data = self._framed(data, trailers, ended=ended)
        rendered = head.render(self.pool.authority, forwarded, data)
        self._before = written = self._written
        self._written = written + len(rendered)
        self.transport.write(rendered)

    def send(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Send more of the request's body."""
        self._request_done = ended
        framed = self._framed(data, trailers, ended=ended)
        if framed:
            self._written += len(framed)
            self.transport.write(framed)

    def end(self) -> None:
        """Send what was written, then close our side; what the pod says and its own end are still told."""
        self.resume()
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def reset(self) -> None:
        """Drop the request: the pod sees its connection close, or, if it was switched, break."""
        self._receiver = None
        if isinstance(self._parser, _Bytes):
            reset_connection(self.transport)
        else:
            self.transport.abort()

    def abandon(self) -> None:
        """Close it if it was ever opened."""
        if self.transport is not None:
            self.transport.abort()

    def pause(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()
            self.pool.lookout.watch(self)

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _framed(self, data: bytes, trailers: list[bytes], *, ended: bool) -> bytes:
        if not self._chunked_request:
            return data
        return chunk(data) + last_chunk(trailers) if ended else chunk(data)

    # -- what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.pool.trust is not None:
            hold_back(transport)

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            # A pod that talks unasked, or goes on after its answer: nothing it says can be trusted.
            self.transport.abort()
            return
        if self._remaining:
            self._go_on(receiver, data)
            return
        if self._fresh:
            self._fresh = False
            found = None if self._for_head else quick.response(data)
            if found is not None:
                self._begin(receiver, data, *found)
                return
        error: GatewayError | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._on_switch(data[upgrade.args[0] :])
        except httptools.HttpParserError as failure:
            if not self._complete:
                error = GatewayError(UPSTREAM_INVALID, f"the pod's answer cannot be read: {failure}")
            self._surplus = True
        else:
            self._overhead = 0 if self._body or self._complete else self._overhead + len(data)
            if self._overhead > POD_LIMITS.size or len(self._trailers) > POD_LIMITS.fields:
                error = self._endless()
        self._deliver(error)

    def _begin(self, receiver: Receiver, data: bytes, head: ResponseHead, body: int) -> None:
        """An answer of the usual shape, whose body begins at `body` and has a known length."""
        missing = body + head.content_length - len(data)
        if missing:
            self._head = head
            self._delivered = True
            self._remaining = missing
            receiver.on_head(head, data[body:], NO_TRAILERS, ended=False)
        else:
            self._keep_alive = True
            self._finish()
            receiver.on_head(head, data[body:], NO_TRAILERS, ended=True)

    def _go_on(self, receiver: Receiver, data: bytes) -> None:
        """More of such a body: nothing in it needs to be looked at."""
        missing = self._remaining - len(data)
        if missing > 0:
            self._remaining = missing
            receiver.on_data(data, NO_TRAILERS, ended=False)
            return
        self._remaining = 0
        self._keep_alive = True
        self._surplus = missing < 0
        self._finish()
        receiver.on_data(data[:missing] if missing else data, NO_TRAILERS, ended=True)

    def _endless(self) -> GatewayError:
        """A pod may send what it likes of bodies, but heads, trailers and what stands between chunks are all kept."""
        detail = f"the pod's answer has more than {POD_LIMITS.size} bytes in a row that are no body, or more than {POD_LIMITS.fields} fields"
        return GatewayError(UPSTREAM_INVALID, detail)

    @property
    def paused(self) -> bool:
        return self._paused and self._receiver is not None and not self.transport.is_closing()

    def on_end(self, *, reset: bool) -> None:
        """The pod is gone. What it sent before is still read, if that can be the whole answer."""
        head, receiver = self._head, self._receiver
        if head is not None and head.content_length >= 0:
            lost = unread(self.transport) < (self._remaining or head.content_length - self._got)
        else:
            lost = reset
        if lost and receiver is not None:
            self.reset()
            receiver.on_lost(GatewayError(UPSTREAM_RESET, self._how_lost(None)), Failure.CUT)

    def connection_lost(self, exc: Exception | None) -> None:
        self.pool.forget(self)
        receiver, self._receiver = self._receiver, None
        self._parser = None  # the parser refers to this object
        if receiver is None:
            return
        head = self._head
        if (
            exc is None
            and self._goodbye
            and head is not None
            and self._delivered
            and not head.chunked
            and head.content_length < 0
        ):
            receiver.on_data(b"", [], ended=True)
        else:
            receiver.on_lost(GatewayError(UPSTREAM_RESET, self._how_lost(exc)), self._failure(exc))

    def eof_received(self) -> None:
        """Its loss follows at once."""
        if self.pool.trust is not None:
            self._goodbye = said_goodbye(self.transport)

    def pause_writing(self) -> None:
        self._blocked = True
        if self._receiver is not None:
            self._receiver.on_pod_blocked()

    def resume_writing(self) -> None:
        self._blocked = False
        if self._receiver is not None:
            self._receiver.on_pod_writable()

    def _how_lost(self, exc: Exception | None) -> str:
        when = "in the middle of its answer" if self._delivered else "before it answered"
        return f"{self.pool.name} closed the connection {when}{f' ({exc})' if exc else ''}"

    def _failure(self, exc: Exception | None) -> Failure:
        if self._delivered:
            return Failure.CUT
        if self.idle_since < 0 or not self._fresh:
            return Failure.RESET
        return Failure.UNSEEN if unseen(self.transport, self._before, exc) else Failure.STALE

    # -- what the parser finds

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is not None:
            if not self._complete and RESPONSE_FIELDS[name] == KEEP and name.lower() not in self._head.named:
                self._trailers.append(field_line(name, value.rstrip(b" \t")))
            return
        head = self._parsing
        if head is None:
            head = self._parsing = ResponseHead()
        action = RESPONSE_FIELDS[name]
        value = value.rstrip(b" \t")
        if action == KEEP:
            head.lines.append(field_line(name, value))
        else:
            head.note(action, value)

    def on_headers_complete(self) -> None:
        head = self._parsing or ResponseHead()
        self._parsing = None
        head.status = self._parser.get_status_code()
        if (
            len(head.lines) > POD_LIMITS.fields
            or self._overhead + sum(map(len, head.lines)) > POD_LIMITS.size
        ):
            head.blame(self._endless().detail)
        if head.connection is not None:
            head.drop_named()
        if self._head is not None:
            self._surplus = True
        elif self._parser.get_http_version() not in _VERSIONS:
            head.blame("the pod answered in another version than HTTP/1.1 and HTTP/1.0")
            self._head = head
        elif head.status < 100 or (head.status == 101 and not self._asked_to_switch(head)):
            head.blame(f"the pod answered with status {head.status}, which nobody asked for")
            self._head = head
        elif head.status < 200 and head.status != 101:
            self._interims.append(head)
        else:
            self._head = head

    def on_body(self, data: bytes) -> None:
        if self._complete:
            self._surplus = True
        else:
            self._body.append(data)
            self._got += len(data)

    def on_message_complete(self) -> None:
        if self._head is not None and not self._complete:
            self._complete = True
            # A coding in HTTP/1.0 is faulty framing (RFC 9112, 6.1).
            faulty = self._head.chunked and self._parser.get_http_version() == "1.0"
            self._keep_alive = self._parser.should_keep_alive() and not faulty
            self._overhead = self._got = 0

    def _asked_to_switch(self, head: ResponseHead) -> bool:
        wanted = self._receiver.switches_to if self._receiver is not None else b""
        return wanted != b"" and head.upgrade == wanted and bool(self._parser.should_upgrade())

    def _on_switch(self, rest: bytes) -> None:
        """The pod switches protocols. If it was asked to, what follows is an answer's body that ends with its connection."""
        head = self._head
        if head is None or head.status != 101 or head.fault is not None:
            self._surplus = True  # or a fault of the answer's head
            return
        head.content_length, head.chunked = -1, False
        self._complete = False
        self._parser = _Bytes(self)
        if rest:
            self._body.append(rest)

    def _deliver(self, error: GatewayError | None) -> None:
        """Hand over what one read brought, in the order in which it came."""
        receiver = self._receiver
        assert receiver is not None  # noqa: S101  # data_received has looked
        if self._interims:
            self._deliver_interims(receiver)
        head = self._head
        body = self._body
        data = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        if head is not None:
            if head.fault is not None:
                error = GatewayError(UPSTREAM_INVALID, head.fault)
            elif self._for_head and (data or not self._complete):
                self._end_without_body(head, data)
                data = b""
            ended = self._complete and error is None
            trailers = self._trailers
            if ended:
                self._finish()
            if not self._delivered:
                self._delivered = True
                if error is None:
                    receiver.on_head(head, data, trailers, ended=ended)
            elif error is None and (data or ended):
                receiver.on_data(data, trailers, ended=ended)
        if error is not None:
            self.reset()
            receiver.on_lost(error)

    def _deliver_interims(self, receiver: "Receiver") -> None:
        interims, self._interims = self._interims, []
        for head in interims:
            receiver.on_interim(head)

    def _end_without_body(self, head: ResponseHead, data: bytes) -> None:
        """An answer to HEAD ends at its head, whatever it says of a body; the parser would wait for one, so it is replaced."""
        self._complete = True
        self._surplus = self._surplus or bool(data)
        self._overhead = self._got = 0
        connection = head.connection or b""
        persists = self._parser.get_http_version() != "1.0" or b"keep-alive" in connection
        self._keep_alive = persists and b"close" not in connection
        self._parser = httptools.HttpResponseParser(self)

    def _finish(self) -> None:
        """The answer is whole: go back to the pool, or close."""
        self._receiver = None
        self._trailers = []
        if self._paused:
            self.resume()
        if not self._request_done or self._blocked:
            # The pod may never take the rest of the request, for which a close would wait.
            self.transport.abort()
        elif self._keep_alive and not self._surplus and not self.transport.is_closing():
            self.pool.put(self)
        else:
            self.transport.close()

    def __repr__(self) -> str:
        state = "idle" if self._receiver is None else "busy"
        return f"<Upstream {self.pool.name} {state}>"


class _Bytes:
    """Stands in for the parser where there is nothing to parse."""

    def __init__(self, connection: Upstream) -> None:
        self.feed_data = connection.on_body
