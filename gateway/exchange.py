"""One request's life: match, get an Endpoint or wait for one, send, relay, try again where that is safe, release once.

An Exchange stands between two streams and knows neither parser nor transport. The client's stream calls `start`, `on_body`
and `on_gone`; the pod's stream calls `on_head`, `on_data` and `on_lost`. However it ends, it ends in `_finish`, once: slot,
gauges and timer are released there. Past the response head a failure aborts the client's connection: a cut answer must never look
whole. `downstream` makes Exchanges, `upstream` serves them, `gateway` (the state they share) hands out what is freed.
"""

from math import inf
from typing import TYPE_CHECKING

from gateway.breaker import Endpoint, Waiter
from gateway.errors import (
    BODY_TIMEOUT,
    CLIENT_CLOSED,
    CONNECT_FAILED,
    IDLE_TIMEOUT,
    METHOD_NOT_ALLOWED,
    NO_ROUTE,
    REQUEST_TIMEOUT,
    RESPONSE_TIMEOUT,
    UPSTREAM_RESET,
    GatewayError,
    Reason,
)
from gateway.gateway import Gateway, ModelBackend, Seeker
from gateway.http1 import RequestHead, ResponseHead, problem
from gateway.streams import ClientStream, PodStream

if TYPE_CHECKING:
    import asyncio

    from gateway.stats import Traffic

HELD_MOST = 65536
"""Bytes of a request's body that are kept while it waits; then the client is asked to pause."""
REFUSED_MOST = 3
"""Endpoints that may refuse one request before it is answered 502."""


class Exchange:
    """One request on its way, from its complete head to its last byte or its failure."""

    __slots__ = (
        "_backend", "_begun", "_client", "_cold", "_counted", "_dialling", "_due", "_endpoint", "_expose",
        "_failed", "_fresh", "_gateway", "_head", "_held", "_held_bytes", "_late", "_over", "_pod",
        "_refused", "_request_done", "_reset_once", "_responded", "_status", "_timeouts", "_total_due",
        "_traffic", "_trailers", "_waiter", "scheduled",
    )  # fmt: skip

    def __init__(self, gateway: Gateway, client: ClientStream, head: RequestHead) -> None:
        self.scheduled = inf
        self._gateway = gateway
        self._client: ClientStream | None = client
        self._head = head
        self._begun = gateway.now()
        self._timeouts = gateway.timeouts
        self._traffic: Traffic = gateway.unrouted
        self._backend: ModelBackend | None = None
        self._expose = False
        # The request's body
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._trailers: list[bytes] = []
        self._request_done = False
        # Where it stands: waiting, dialling or sent
        self._waiter: Waiter[Seeker] | None = None
        self._endpoint: Endpoint | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._pod: PodStream | None = None
        self._cold: float | None = None
        # Earlier tries
        self._failed: list[Endpoint] = []
        self._refused = 0
        self._reset_once = False
        self._fresh = False
        # The end
        self._responded = False
        self._status = 0
        self._counted = False
        self._over = False
        self._due = inf
        self._total_due = inf
        self._late: Reason = REQUEST_TIMEOUT
        if head.request_id is None:
            head.request_id = gateway.new_request_id()

    # -- the client's stream calls

    def start(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Go, with what there is of the body."""
        head = self._head
        gateway = self._gateway
        self._request_done = ended
        self._trailers = trailers
        if data:
            self._hold(data)
        if head.target == b"*" or head.method == b"CONNECT":
            self._answer_ourselves()
            return
        route = gateway.table.match(head.host or b"", head.target)
        if route is None:
            self.fail(GatewayError(NO_ROUTE, f"no route matches {_where(head)}"))
            return
        self._backend = backend = route.choose()
        self._traffic = backend.traffic_of(route.name)
        self._expose = route.expose_backend
        self._timeouts = timeouts = route.timeouts[backend.name]
        if timeouts.request:
            self._total_due = self._begun + timeouts.request
            self._arm(self._total_due)
        endpoint = backend.enter(self._begun)
        if endpoint is None:
            self._wait(backend, self._begun)
        else:
            self._bind(endpoint, self._begun)

    def on_body(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """More of the request's body has come."""
        if self._over:
            return
        self._request_done = ended
        self._trailers = trailers
        if self._pod is None:
            self._hold(data)
            return
        self._pod.send(data, trailers, ended=ended)
        self._expect_progress()

    def on_gone(self) -> None:
        """The client has left."""
        client, self._client = self._client, None
        if self._over or client is None:
            return
        now = self._gateway.now()
        hold = self._backend is not None and self._backend.limits.hold
        if hold and self._pod is not None and self._request_done:
            # The server computes on whether or not anybody listens: its slot is taken until it has answered.
            self._count(CLIENT_CLOSED.status, CLIENT_CLOSED, now)
            self._gateway.wheel.arm(self, self._next())
            self._pod.resume()
            return
        self._finish(CLIENT_CLOSED.status, CLIENT_CLOSED, now)

    def on_blocked(self) -> None:
        """The client reads more slowly than the pod writes."""
        if self._pod is not None:
            self._pod.pause()

    def on_writable(self) -> None:
        if self._pod is not None:
            self._pod.resume()

    def on_time(self, now: float) -> float:
        """The wheel asks: is something overdue? Returns the next time to ask."""
        if self._over:
            return inf
        if now >= self._total_due:
            self.fail(GatewayError(REQUEST_TIMEOUT, f"took longer than {self._timeouts.request:g} s in all"))
        elif now >= self._due:
            self.fail(GatewayError(self._late, f"nothing came for {self._patience():g} s"))
        return self._next()

    def fail(self, error: GatewayError) -> None:
        """End early: with an answer of our own, or, past the response head, with a broken connection."""
        if self._over:
            return
        now = self._gateway.now()
        client, reason = self._client, error.reason
        status = self._status if self._responded else reason.status
        self._finish(status, reason, now)
        if client is None:
            return
        if self._responded:
            client.reset()
        else:
            head, body = problem(error, self._head.request_id or b"")
            client.respond(head, body, [], self._extra(), ended=True)

    # -- the breaker's side

    def granted(self, endpoint: Endpoint, now: float) -> None:
        """A slot came free while this waited."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and waiter.cold:
            self._cold = now - self._begun
        self._bind(endpoint, now)

    def refused(self, error: GatewayError) -> None:
        """Waited in vain; the Backend has let go of it already."""
        self._waiter = None
        self.fail(error)

    # -- the pod's stream calls

    def on_interim(self, head: ResponseHead) -> None:
        """100 and 103 go through as they come."""
        if not self._over and self._client is not None:
            self._client.interim(head)

    def on_head(self, head: ResponseHead, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """The pod answers."""
        if self._over:
            return
        now = self._gateway.now()
        self._responded = True
        self._status = head.status
        client = self._client
        if client is not None:
            self._traffic.response_start.observe(now - self._begun)
        if ended:
            self._pod = None
            self._finish(head.status, None, now)
        else:
            self._expect(now, self._timeouts.idle, IDLE_TIMEOUT)
        if client is not None:
            client.respond(head, data, trailers, self._extra(), ended=ended)

    def on_data(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """More of the pod's answer, or its end."""
        if self._over:
            return
        now = self._gateway.now()
        if ended:
            self._pod = None
            self._finish(self._status, None, now)
        elif self._timeouts.idle:
            self._due = now + self._timeouts.idle
        if self._client is not None:
            self._client.send(data, trailers, ended=ended)

    def on_lost(self, error: GatewayError) -> None:
        """The pod's connection broke, or what it said makes no sense."""
        self._pod = None
        if self._over:
            return
        head = self._head
        safe = head.method in {b"GET", b"HEAD"} and not head.has_body
        if (
            error.reason is UPSTREAM_RESET
            and safe
            and not (self._responded or self._reset_once or self._client is None)
        ):
            # Nothing of an answer has come and asking again changes nothing: one more try, on a connection of its own.
            self._reset_once = self._fresh = True
            self._try_again("reset")
        else:
            self.fail(error)

    def on_pod_blocked(self) -> None:
        """The pod reads more slowly than the client sends."""
        if self._client is not None:
            self._client.pause()

    def on_pod_writable(self) -> None:
        if self._client is not None:
            self._client.resume()

    # -- inside

    def _answer_ourselves(self) -> None:
        """OPTIONS * asks about the gateway itself; CONNECT would make it an open proxy."""
        if self._head.method == b"CONNECT":
            self.fail(GatewayError(METHOD_NOT_ALLOWED, "CONNECT is not supported: this is no forward proxy"))
            return
        client, now = self._client, self._gateway.now()
        head = ResponseHead(200)
        head.content_length = 0
        head.fields += (b"allow", b": ", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", b"\r\n")
        self._finish(200, None, now)
        if client is not None:
            client.respond(head, b"", [], self._extra(), ended=True)

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_MOST and self._client is not None:
            self._client.pause()

    def _wait(self, backend: ModelBackend, now: float) -> None:
        self._waiter = waiter = Waiter[Seeker](self, now)
        try:
            backend.wait(waiter, now)
        except GatewayError as error:
            self._waiter = None
            self.fail(error)
        else:
            self._gateway.waits(backend)

    def _bind(self, endpoint: Endpoint, now: float) -> None:
        self._endpoint = endpoint
        pool = endpoint.pool or self._gateway.pool(endpoint)
        pod = None if self._fresh else pool.take(now)
        if pod is None:
            self._dialling = self._gateway.loop.create_task(self._dial(endpoint))
        else:
            self._send(pod, now)

    async def _dial(self, endpoint: Endpoint) -> None:
        try:
            pod = await endpoint.pool.dial(self._timeouts.connect)
        except (OSError, TimeoutError) as failure:
            self._dialling = None
            self._on_refused(endpoint, str(failure) or f"no connection within {self._timeouts.connect:g} s")
        else:
            self._dialling = None
            self._send(pod, self._gateway.now())

    def _on_refused(self, endpoint: Endpoint, why: str) -> None:
        """Nothing was sent, so that any request may go elsewhere; the Endpoint gets nothing new until it accepts again."""
        self._refused += 1
        backend = self._backend
        if self._over or backend is None:
            return
        self._gateway.suspect(backend, endpoint)
        if self._refused < REFUSED_MOST:
            self._try_again("connect")
        else:
            self.fail(GatewayError(CONNECT_FAILED, f"{endpoint.host}:{endpoint.port}: {why}"))

    def _try_again(self, why: str) -> None:
        backend, endpoint = self._backend, self._endpoint
        assert backend is not None  # noqa: S101  # it had an Endpoint of it
        assert endpoint is not None  # noqa: S101
        now = self._gateway.now()
        retries = backend.stats.retries
        retries[why] = retries.get(why, 0) + 1
        self._endpoint = None
        self._due = inf
        self._failed.append(endpoint)
        self._waiter = Waiter[Seeker](self, now, self._failed)
        self._gateway.hand_out(backend.again(self._waiter, endpoint, now), now)
        self._gateway.waits(backend)

    def _send(self, pod: PodStream, now: float) -> None:
        client = self._client
        self._pod = pod
        held = self._held
        data = held[0] if len(held) == 1 else b"".join(held)
        forwarded = client.forwarded if client is not None else b""
        pod.request(self, self._head, forwarded, data, self._trailers, ended=self._request_done)
        if self._held_bytes > HELD_MOST and client is not None:
            client.resume()
        if self._head.has_body:
            # What was sent cannot be sent again; a request without a body needs nothing kept.
            self._held = []
            self._held_bytes = 0
        self._expect_progress(now)

    def _extra(self) -> list[bytes]:
        extra = [b"x-request-id: ", self._head.request_id or b"", b"\r\n"]
        if self._cold is not None:
            extra.append(b"x-tidegate-cold-start: %.3f\r\n" % self._cold)
        if self._expose and self._backend is not None:
            extra.append(b"x-tidegate-backend: %b\r\n" % self._backend.name.encode())
        return extra

    def _count(self, status: int, reason: Reason | None, now: float) -> None:
        """Once per request: what the client saw, or would have seen."""
        if self._counted:
            return
        self._counted = True
        self._traffic.count(status)
        self._traffic.duration.observe(now - self._begun)
        if reason is not None:
            reasons = self._traffic.reasons
            reasons[reason.slug] = reasons.get(reason.slug, 0) + 1

    def _finish(self, status: int, reason: Reason | None, now: float) -> None:
        """Release everything, once. Whoever gets the slot is told last: it may act at once."""
        self._over = True
        self._count(status, reason, now)
        pod, self._pod = self._pod, None
        if pod is not None:
            pod.reset()
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        backend, endpoint, waiter = self._backend, self._endpoint, self._waiter
        self._endpoint = self._waiter = None
        if backend is None:
            return
        if waiter is not None:
            backend.give_up(waiter, now)
        elif endpoint is not None:
            granted = backend.leave(endpoint, now)
            if granted:
                self._gateway.hand_out(granted, now)

    # -- deadlines

    def _expect_progress(self, now: float | None = None) -> None:
        """A body that comes must go on coming; once it is all there, the pod must answer."""
        now = self._gateway.now() if now is None else now
        if self._responded or not self._request_done:
            self._expect(now, self._timeouts.idle, IDLE_TIMEOUT if self._responded else BODY_TIMEOUT)
        else:
            self._expect(now, self._timeouts.response, RESPONSE_TIMEOUT)

    def _expect(self, now: float, seconds: float, late: Reason) -> None:
        self._late = late
        self._due = now + seconds if seconds else inf
        self._arm(self._due)

    def _arm(self, due: float) -> None:
        client = self._client
        if client is not None and due < client.scheduled:
            self._gateway.wheel.arm(client, due)

    def _next(self) -> float:
        return self._total_due if self._total_due < self._due else self._due

    def _patience(self) -> float:
        return self._timeouts.response if self._late is RESPONSE_TIMEOUT else self._timeouts.idle

    def __repr__(self) -> str:
        if self._over:
            state = "over"
        elif self._waiter is not None:
            state = "waiting"
        elif self._dialling is not None:
            state = "dialling"
        else:
            state = "responding" if self._responded else "sent"
        return f"<Exchange {_where(self._head)} {state}>"


def _where(head: RequestHead) -> str:
    return f"host {(head.host or b'').decode('latin-1')!r} and path {head.target.partition(b'?')[0].decode('latin-1')!r}"
