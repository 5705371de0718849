"""One request's life: match, get an Endpoint or wait for one, send, relay, release once.

An Exchange stands between two streams and knows neither parser nor transport. The client's stream calls `start`, `on_body`
and `on_gone`; the pod's stream calls `on_head`, `on_data` and `on_lost`. However it ends, it ends in `_finish`, once: slot,
gauges and timer are released there. Past the response head a failure aborts the client's connection: a cut answer must never look
whole. `downstream` makes Exchanges, `upstream` serves them, `gateway` (the state they share) hands out what is freed. Parts of
an Exchange stand in modules of their own: `deadlines`, how long it may take, `retrying`, when it is tried again, `inspection`, what
must be known of a request before its Backend is, `fallingback`, when another one serves it, `answering`, what it says itself, and
`mirroring`, its copy.
"""

import errno
from math import inf
from typing import TYPE_CHECKING

from gateway.bodies import HELD_MOST
from gateway.breaker import Endpoint, Waiter
from gateway.errors import (
    AGAINST_PODS,
    CLIENT_CLOSED,
    IDLE_TIMEOUT,
    NO_ROUTE,
    OVERLOADED,
    REQUEST_TIMEOUT,
    GatewayError,
    Reason,
)
from gateway.gateway import Gateway
from gateway.http1 import RequestHead, ResponseHead, problem
from gateway.mirroring import Mirroring
from gateway.pool import ConnectionPool
from gateway.retries import Failure
from gateway.streams import ClientStream, PodStream

if TYPE_CHECKING:
    import asyncio

    from gateway.backend import Backend
    from gateway.stats import Traffic
    from gateway.terms import BackendRef


class Exchange(Mirroring):
    """One request on its way, from its complete head to its last byte or its failure."""

    __slots__ = ("_dialling", "_status")

    def __init__(self, gateway: Gateway, client: ClientStream, head: RequestHead) -> None:
        self.scheduled = inf
        self._gateway = gateway
        self._client = client
        self._head = head
        self._begun = gateway.now()
        self._timeouts = gateway.timeouts
        self._traffic: Traffic = gateway.unrouted
        self._backend: Backend | None = None
        self._ref: BackendRef | None = None
        # The request's body
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._weighed = 0
        self._body_left = inf
        self._kept = True
        self._trailers: list[bytes] = []
        self._request_done = False
        # Where it stands: waiting, dialling, or sent
        self._waiter: Waiter | None = None
        self._endpoint: Endpoint | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._pod: PodStream | None = None
        self._pod_blocked = False
        self._cold: float | None = None
        self._tries = None
        # The way to its Backend, where host and path are not enough
        self._search = None
        self._look = 0
        # The end
        self._responded = False
        self._status = 0
        self._counted = False
        self._over = False
        self._due = inf
        self._total_due = inf
        self._bound = 0.0
        self._late = REQUEST_TIMEOUT
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
        if head.target == b"*":
            self._answer_ourselves()
            return
        route = gateway.table.match(head.host or b"", head.target)
        if route is None:
            self.fail(GatewayError(NO_ROUTE, f"no route matches {head.place}"))
            return
        ref = route.choose() if route.steering is None else self._steer(route)
        if ref is not None:
            self._set_out(ref, len(data), self._begun)

    def _set_out(self, ref: "BackendRef", size: int, now: float) -> None:
        self._ref = ref
        self._backend = backend = ref.backend
        self._traffic = ref.traffic or ref.meet()
        self._timeouts = timeouts = ref.timeouts
        if ref.body_limit and not self._bound_body(ref.body_limit, size):
            return
        if timeouts.request:
            self._total_due = self._begun + timeouts.request
            self._arm(self._total_due)
        search = self._search
        if search is None:
            endpoint = backend.enter(now)
        else:
            # A body may take long to look into, a fallback long to come; its table may be an old one by then.
            endpoint = None if backend.removed else backend.enter(now, search.key)
        if endpoint is None:
            self._wait(backend, now)
        else:
            if search is not None:
                backend.begins(self.standing, now)
            self._bind(endpoint, now)

    def on_body(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """More of the request's body has come."""
        if self._over:
            return
        self._request_done = ended
        self._trailers = trailers
        ref = self._ref
        if ref is not None and not self._fits(len(data), ref.body_limit):
            return
        if self._pod is None:
            if self._look:
                self._gather(data)
                return
            self._hold(data)
            self._more_waits(len(data))
            return
        self._pod.send(data, trailers, ended=ended)
        if self._search is not None and self._search.copy is not None:
            self._search.copy.more(data, trailers, ended=ended)
        if self._kept and data:
            self._keep(data)
        self._expect_progress()

    def on_gone(self, *, broken: bool = False) -> None:  # noqa: ARG002  # to an Exchange it is the same
        """The client has left, in good order or by breaking its connection."""
        client, self._client = self._client, None
        if self._over or client is None:
            return
        now = self._gateway.now()
        hold = self._backend is not None and self._backend.limits.hold
        if hold and self._pod is not None and self._request_done:
            # The server computes on whether or not anybody listens: its slot is taken until it has answered.
            self._count(CLIENT_CLOSED.status, CLIENT_CLOSED, now)
            self._arm(self._next())
            self._pod.resume()
            return
        self._finish(CLIENT_CLOSED.status, CLIENT_CLOSED, now)

    @property
    def switched(self) -> bool:
        """It is a tunnel now: its end is in order whenever it comes."""
        return False

    @property
    def half_close(self) -> bool:
        """A client that closes its own side still wants the answer."""
        if self._ref is not None:
            return self._ref.half_close
        return self._search is not None and any(ref.half_close for ref in self._search.upcoming())

    def on_blocked(self) -> None:
        """The client reads more slowly than the pod writes."""
        if self._pod is not None:
            self._pod.pause()

    def on_writable(self) -> None:
        if self._pod is not None:
            self._pod.resume()

    def fail(self, error: GatewayError) -> None:
        """End early: with an answer of our own, or, past the response head, with a broken connection."""
        if self._over:
            return
        now = self._gateway.now()
        client, reason = self._client, error.reason
        status = self._status if self._responded else reason.status
        if reason in AGAINST_PODS:
            self._note(reason.status, begun=self._responded)
        if self._search is not None and self._falls_back(error):
            return
        self._finish(status, reason, now)
        self._gateway.report(error, self._traffic.backend, self._head.request_id or b"")
        if client is not None and self._responded:
            client.reset()
        elif client is not None:
            head, body = problem(error, self._head.request_id or b"", details=self._gateway.details)
            client.respond(head, body, [], self._extra(), ended=True)

    # -- the breaker's side

    def granted(self, endpoint: Endpoint, now: float) -> None:
        """A slot came free while this waited."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and waiter.cold and self._backend is not None:
            self._cold = self._backend.patience.starved(waiter, now)
        if self._search is not None:
            self._due = inf
        self._bind(endpoint, now)
        if self._tries is not None:
            self._mind_client()

    # -- the pod's stream calls

    def on_interim(self, head: ResponseHead) -> None:
        """100 and 103 go through as they come."""
        if not self._over and self._client is not None:
            self._client.interim(head)

    def on_head(self, head: ResponseHead, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """The pod answers."""
        if self._over:
            return
        endpoint = self._endpoint
        if endpoint is not None and endpoint.record is not None:
            self._note(head.status)
        if head.status >= 500 and self._ask_another(head.status, ended=ended):
            return
        now = self._gateway.now()
        self._responded = True
        self._status = head.status
        client, search = self._client, self._search
        if search is not None and search.copy is not None:
            search.copy.answered(head, data, now, ended=ended)
        if client is not None:
            self._traffic.response_start.observe(now - self._begun)
            if self._cold is not None:
                self._note_start(now)
        if ended:
            self._pod = None
            self._finish(head.status, None, now)
        else:
            self._let_go()
            self._expect(now, self._timeouts.idle, IDLE_TIMEOUT)
        if client is not None:
            if search is not None:
                self._edit(head)
            client.respond(head, data, trailers, self._extra(), ended=ended)

    def on_data(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """More of the pod's answer, or its end."""
        if self._over:
            return
        now = self._gateway.now()
        if self._search is not None and self._search.copy is not None:
            self._search.copy.went_on(data, ended=ended)
        if ended:
            self._pod = None
            self._finish(self._status, None, now)
        elif self._timeouts.idle:
            self._due = now + self._timeouts.idle
        if self._client is not None:
            self._client.send(data, trailers, ended=ended)

    def on_pod_blocked(self) -> None:
        """The pod reads more slowly than the client sends."""
        self._pod_blocked = True
        if self._client is not None:
            self._client.pause()

    def on_pod_writable(self) -> None:
        self._pod_blocked = False
        if not self._over:
            self._expect_progress()
        if self._client is not None:
            self._client.resume()

    # -- inside

    def _bind(self, endpoint: Endpoint, now: float) -> None:
        self._endpoint = endpoint
        self._bound = now
        pool = endpoint.pool or self._gateway.pool(endpoint)
        tries = self._tries
        pod = None if tries is not None and tries.fresh else pool.take(now)
        if pod is None:
            if not self._weigh():
                return
            self._dialling = self._gateway.loop.create_task(self._dial(endpoint, pool))
        else:
            self._send(pod, now, reused=True)

    async def _dial(self, endpoint: Endpoint, pool: ConnectionPool) -> None:
        try:
            pod = await pool.dial(self._timeouts.connect)
        except (OSError, TimeoutError) as error:
            self._dialling = None
            if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
                # That says nothing of the pod.
                self.fail(GatewayError(OVERLOADED, f"no connection to a pod can be opened: {error}", 1.0))
                return
            failure = Failure.LATE if isinstance(error, TimeoutError) else Failure.REFUSED
            why = str(error) or f"no connection within {self._timeouts.connect:g} s"
            self._on_refused(endpoint, failure, why)
        else:
            self._dialling = None
            self._send(pod, self._gateway.now(), reused=False)
            if self._tries is not None:
                self._mind_client()

    def _send(self, pod: PodStream, now: float, *, reused: bool) -> None:
        client = self._client
        self._pod = pod
        held = self._held
        if len(held) > 1:
            self._held = held = [b"".join(held)]
        data = held[0] if held else b""
        forwarded = client.origin.lines(self._head) if client is not None else b""
        if client is not None and (self._held_bytes > HELD_MOST or self._pod_blocked):
            # Before anything is written: the pod may ask to pause again.
            self._pod_blocked = False
            client.resume()
        pod.request(self, self._head, forwarded, data, self._trailers, ended=self._request_done)
        if not reused and not self._repeats():
            self._let_go()
        elif data:
            self._limit_kept()
        self._expect_progress(now)
        if self._search is not None:
            self._copy(self._search, forwarded, data, now)

    def _finish(self, status: int, reason: Reason | None, now: float) -> None:
        """Release everything, once. Whoever gets the slot is told last: it may act at once."""
        self._over = True
        self._count(status, reason, now)
        if self.scheduled < inf:
            self._gateway.wheel.disarm(self)
        if self._weighed:
            self._let_go()
        if self._pod is not None:
            self._pod.reset()
            self._pod = None
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        if self._tries is not None:
            self._tries.over()
        search = self._search
        if search is not None and search.copy is not None:
            search.copy.over()
        backend, endpoint, waiter = self._backend, self._endpoint, self._waiter
        self._endpoint = self._waiter = None
        if backend is None:
            return
        if waiter is not None:
            backend.give_up(waiter, now)
        elif endpoint is not None:
            if search is not None:
                backend.ends(self.standing, now)
            if endpoint.record is not None or self._total_due < inf:
                self._note_end(backend, endpoint, reason, now)
            granted = backend.leave(endpoint, now)
            if granted:
                self._gateway.hand_out(granted, now)

    def __repr__(self) -> str:
        if self._over:
            state = "over"
        elif self._waiter is not None:
            state = "waiting"
        elif self._dialling is not None:
            state = "dialling"
        else:
            state = "responding" if self._responded else "sent"
        return f"<Exchange {self._head.place} {state}>"
