"""The client's side: one HTTP/1.1 connection, its requests one after the other, and their answers.

What the parser finds is collected while it runs and acted on when `feed_data` has returned. A request is answered before the
next one begins; what a client sends ahead of that is kept unparsed, up to a bound, then reading pauses. A response is framed
here: with its length, in chunks, or, for HTTP/1.0, by the connection's end. An answer that breaks off resets the connection.
`exchange` gets each request and calls back; `server` makes one of these per connection.
"""

import asyncio
from math import inf
from typing import TYPE_CHECKING

from gateway.errors import HEAD_TIMEOUT, GatewayError
from gateway.exchange import Exchange
from gateway.gateway import Gateway
from gateway.http1 import BODYLESS, CHUNKED, SWITCH_LINES, ResponseHead, chunk, last_chunk
from gateway.intake import Intake
from gateway.reader import Incoming, RequestReader
from gateway.sockets import reset_connection
from gateway.tls import hurry
from gateway.tunnel import Tunnel
from gateway.turned_away import turn_away

if TYPE_CHECKING:
    from gateway.forwarded import Origin

KEEP_ALIVE_SECONDS = 75.0
"""An idle connection is closed after this long, as nginx does."""
LINGER_SECONDS = 5.0
"""How long a client whose request was not read to its end may take to notice the answer."""


class Downstream(Intake):
    """One client's connection: an asyncio.Protocol in all but name, as machine code has no classes of Python's above it."""

    __slots__ = (
        "_acting", "_choked", "_chunked", "_closing", "_current", "_due", "_exchange", "_in_head", "_keep", "_left", "_unsent",
        "origin", "scheduled",
    )  # fmt: skip

    def __init__(self, gateway: Gateway) -> None:
        # For the connection
        self._gateway = gateway
        self.transport = None
        self.origin: Origin
        """From `connection_made` on."""
        self.scheduled = inf
        self._due = inf
        self._reader = RequestReader(gateway.head_limits)
        self._closing = False
        """Nothing more is read from this client."""
        self._half_closed = False
        self._ahead = b""
        self._weighed = 0
        self._in_head = True
        """The next request's head has begun, and its deadline is set; the first one's begins with the connection."""
        self._reading = True
        self._blocked = False
        self._choked = False
        """The client has not yet taken what was written: no next request begins."""
        self._unsent = inf
        """Bytes that it had not taken at the last look."""
        self._left = 0
        """Requests that it may still send; 0: any number."""
        self._acting = False
        # For the request that is being answered
        self._current: Incoming | None = None
        self._exchange: Exchange | None = None
        self._keep = True
        self._chunked = False

    # -- what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        gateway, peer = self._gateway, transport.get_extra_info("peername")
        secure = transport.get_extra_info("ssl_object") is not None
        self.origin = origin = gateway.forwarding.origin(peer, secure=secure)
        refusal = gateway.admission.enter(origin.group)
        if refusal is not None:
            self._reader.close()
            turn_away(gateway, transport, refusal)
            return
        self._left = gateway.admission.limits.requests
        if origin.trusted:
            self._reader.trust()
        gateway.opened(self)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        current = self._current
        if self._ahead or (self._choked if current is None else current.complete):
            self._set_aside(data)
            return
        if current is None:
            incoming = self._reader.take(data)
            if incoming is not None:
                self._begin(incoming)
                return
        elif self._exchange is not None and self._reader.count(data):
            self._exchange.on_body(data, current.trailers, ended=current.complete)
            return
        self._ahead = self._reader.feed(data)
        self._act()

    def eof_received(self) -> bool:
        # A client that closes its side has gone, even after a whole request; nginx takes it so as well. A Route may know better.
        if self._awaits_answers():
            self._half_closed = True
            return True
        exchange = self._exchange
        if exchange is not None:
            switched = exchange.switched
            self._leave()
            if not switched:
                # What the client has of the answer may otherwise look whole, and one that does not read would keep a mere close waiting for good.
                reset_connection(self.transport)
        # Also for what it sent ahead: the last answer's way out may yet take a while.
        self._closing = True
        self._expect(self._gateway.now() + KEEP_ALIVE_SECONDS)
        return False

    def on_end(self, *, reset: bool) -> None:
        # A FIN while paused is one like any other: what was sent before it makes no difference to whether the client is there. But who
        # reads a half-closed client, or a tunnel, to its end finds the FIN there.
        if reset:
            self._leave(broken=True)
            self.transport.abort()
        elif not self._awaits_answers() and not (self._exchange is not None and self._exchange.switched):
            self.eof_received()
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._forget_ahead()
        self._gateway.admission.leave(self.origin.group)
        self._gateway.closed(self)
        self._gateway.wheel.disarm(self)
        self._leave(broken=exc is not None)
        self._reader.close()

    def pause_writing(self) -> None:
        self._choked = True
        self._unsent = inf
        if self._exchange is not None:
            self._exchange.on_blocked()

    def resume_writing(self) -> None:
        self._choked = False
        if self._exchange is not None:
            self._exchange.on_writable()
        else:
            self._act()

    @property
    def choked(self) -> bool:
        return self._choked

    def _leave(self, *, broken: bool = False) -> None:
        exchange, self._exchange = self._exchange, None
        self._current = None
        if exchange is not None:
            self._closing = True
            exchange.on_gone(broken=broken)

    def _awaits_answers(self) -> bool:
        """A client that has closed its side may still want what it asked for. TLS knows no such half of a connection."""
        exchange, current = self._exchange, self._current
        if self._closing or not self.transport.can_write_eof():
            return False
        if exchange is None or current is None:
            # What came behind the last answer, which the client has not taken yet, waits for its turn.
            return self._choked and bool(self._ahead or self._reader.inbox)
        return current.complete and exchange.half_close

    def _awaited(self, incoming: Incoming) -> bool:
        """The same of a request whose turn has come: only its Route knows, and it must be all there."""
        if self._ahead:
            self._ahead = self._reader.feed(self._ahead)
        head = incoming.head
        if not incoming.complete or incoming.error is not None:
            return False
        found = self._gateway.table.match(head.host or b"", head.target)
        return found is not None and any(ref.half_close for ref in found.upcoming())

    # -- from requests to Exchanges

    def _act(self) -> None:
        """Bring the running request forward; begin the next ones, until one has to wait for its answer."""
        if self._acting:
            return
        self._acting = True
        if self._exchange is not None and self._current is not None:
            self._continue(self._exchange, self._current)
        reader = self._reader
        while not self._closing:
            idle = self._exchange is None
            if idle and self._choked:
                break
            if idle and reader.inbox:
                incoming = reader.inbox.popleft()
                if self._half_closed and not self._awaited(incoming):
                    break
                self._begin(incoming)
            elif self._ahead and (idle or (reader.receiving and not reader.inbox)) and not reader.ended:
                self._read_ahead()
            else:
                break
        self._acting = False
        if self._half_closed and self._exchange is None and not (self._choked or self._closing):
            self._close(linger=False)
        if self._exchange is None and reader.partial and not self._in_head:
            self._in_head = True
            self._wait_for_head()
        if self._ahead or self._weighed:
            self._weigh_ahead()
        if self._ahead or self._blocked or not self._reading:
            self._govern_reading()

    def _read_ahead(self) -> None:
        self._ahead = self._reader.feed(self._ahead)
        if self._exchange is not None and self._current is not None:
            self._continue(self._exchange, self._current)

    def _continue(self, exchange: Exchange, current: Incoming) -> None:
        if current.error is not None:
            exchange.fail(current.error)
        elif current.body or current.complete:
            exchange.on_body(current.take(), current.trailers, ended=current.complete)

    def _begin(self, incoming: Incoming) -> None:
        head = incoming.head
        self._current = incoming
        self._keep = head.keep_alive
        if self._left:
            self._left -= 1
            self._keep = self._keep and self._left > 0
        if self.origin.trusted:
            self.origin.adopt(head)
        self._in_head = False
        self._due = inf
        offer = incoming is self._reader.offer
        exchange = Tunnel(self._gateway, self, head) if offer else Exchange(self._gateway, self, head)
        self._exchange = exchange
        if incoming.error is not None:
            exchange.fail(incoming.error)
        else:
            exchange.start(incoming.take(), incoming.trailers, ended=incoming.complete)

    # -- what the Exchange asks for

    def interim(self, head: ResponseHead) -> None:
        if self._current is not None and not self._current.head.http10:
            self.transport.write(head.render(b"", b""))

    def respond(
        self, head: ResponseHead, data: bytes, trailers: list[bytes], extra: bytes, *, ended: bool
    ) -> None:
        """Write a response's head and what there is of its body."""
        current = self._current
        if current is None:
            return
        request = current.head
        bodyless = head.status in BODYLESS or request.method == b"HEAD"
        reader = self._reader
        last = (reader.ended or self._half_closed) and not reader.inbox and not self._ahead
        if last or not current.complete or current.error is not None or self._gateway.draining:
            self._keep = False
        framing = head.framing(bodyless=bodyless, size=len(data) if ended and not trailers else -1)
        self._chunked = framing is CHUNKED and not request.http10
        if framing is CHUNKED and request.http10:
            framing = b""
            self._keep = False
        if not self._keep:
            framing += b"connection: close\r\n"
        elif request.http10:
            framing += b"connection: keep-alive\r\n"
        if bodyless:
            data = b""
        elif self._chunked:
            data = self._framed(data, trailers, ended=ended)
        self.transport.write(head.render(framing, extra, data))
        if ended:
            self._answered()

    def send(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Write more of a response's body."""
        payload = self._framed(data, trailers, ended=ended)
        if payload:
            self.transport.write(payload)
        if ended:
            self._answered()

    def _framed(self, data: bytes, trailers: list[bytes], *, ended: bool) -> bytes:
        if not self._chunked:
            return data
        return chunk(data) + last_chunk(trailers) if ended else chunk(data)

    def switch(self, head: ResponseHead, data: bytes, extra: bytes) -> None:
        """Write a 101 and what there is already in the other protocol."""
        self._chunked = False
        self.transport.write(head.render(SWITCH_LINES, extra, data))

    def end(self) -> None:
        """The tunnel is over."""
        self._exchange = self._current = None
        self._blocked = False
        # Over TLS there is no closing our side alone: a client that is not told would not notice.
        self._close(linger=self.transport.can_write_eof())

    def reset(self) -> None:
        """Break the connection so that the client cannot take what it has for the whole: a reset, not an end."""
        self._exchange = self._current = None
        self._closing = True
        reset_connection(self.transport)

    def _answered(self) -> None:
        """The response is whole: on to the next request, or close."""
        current = self._current
        self._exchange = self._current = None
        self._blocked = False
        gateway, reader = self._gateway, self._reader
        if self._keep and not gateway.draining:
            self._expect(gateway.now() + KEEP_ALIVE_SECONDS)
            if self._ahead or reader.inbox or reader.partial or self._half_closed or not self._reading:
                self._act()
        else:
            # It goes on sending: the rest of this request, or more of them, as it may since it did not ask for the end itself.
            more = bool(self._ahead or reader.inbox or reader.partial)
            goes_on = current is not None and (not current.complete or (more and current.head.keep_alive))
            self._close(linger=goes_on and not self._half_closed)

    def _close(self, *, linger: bool) -> None:
        self._closing = True
        self._forget_ahead()
        self._govern_reading()
        # A client that reads slowly has its time; one that does not read is not waited for without end.
        slow = self._choked or not linger
        self._expect(self._gateway.now() + (KEEP_ALIVE_SECONDS if slow else LINGER_SECONDS))
        # The client may still be sending. Closing now would reset the connection and could destroy the answer on its way,
        # so only our side is closed, and what comes is thrown away for a while. TLS says goodbye and does just that by itself.
        if linger and not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    # -- deadlines

    def _wait_for_head(self) -> None:
        seconds = self._gateway.head_timeout
        self._expect(self._gateway.now() + seconds if seconds else inf)

    def _expect(self, due: float) -> None:
        self._due = due
        if due < self.scheduled:
            self._gateway.wheel.arm(self, due)

    def on_time(self, now: float) -> float:
        """The wheel asks: is something overdue? Returns the next time to ask."""
        if self._exchange is not None:
            return self._exchange.on_time(now)
        if now < self._due:
            return self._due
        if self._reader.partial and not self._closing:
            detail = f"the head was not complete after {self._gateway.head_timeout:g} s"
            self._reader.give_up(GatewayError(HEAD_TIMEOUT, detail))
            self._act()
            return self._due
        if self._choked and self._takes():
            self._due = now + KEEP_ALIVE_SECONDS
            return self._due
        if self.transport.get_write_buffer_size():
            self.reset()
        self._closing = True
        self.transport.abort()
        return inf

    def _takes(self) -> bool:
        """The client goes on taking what was written, however slowly."""
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        return 0 < self._unsent < before

    def shut(self) -> None:
        """The gateway drains: an idle connection closes now, a busy one after its answer, a tunnel when it is quiet."""
        if isinstance(self._exchange, Tunnel) and not self._choked:
            self._exchange.on_drain()
        if self._exchange is None and not self._reader.inbox and not self._reader.partial:
            self._closing = True
            if self.transport.is_closing():
                hurry(self.transport)
            else:
                self.transport.close()

    def __repr__(self) -> str:
        state = "closing" if self._closing else "idle" if self._exchange is None else repr(self._exchange)
        return f"<Downstream {state}>"
