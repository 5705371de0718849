"""A copy of a request, sent to another Backend for nobody to wait for: fire and forget.

Edge. A copy is made once its request has gone to a pod, from the bytes that went there, and is sent when these are whole; so a request that finds no
pod makes none. It takes a slot of its Backend if one is free at that moment, and never waits for one: it wakes nothing from zero and delays nobody. While it has a slot
it is load on that pod, and counts as such. Its answer is thrown away, or compared with that of the request, in small steps between other work.
Nothing that happens to a copy reaches its request: it shares no stream and no memory bound with it. `mirrors` says which requests, how many at
once, and counts; `mirroring` makes a copy, and tells it of its Exchange.
"""

import errno
import json
import logging
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from gateway.comparing import Comparison, Heard
from gateway.errors import RESPONSE_TIMEOUT, UPSTREAM_RESET
from gateway.http1 import RequestHead, field_line
from gateway.retries import Failure

if TYPE_CHECKING:
    import asyncio

    from gateway.endpoint import Endpoint
    from gateway.errors import GatewayError
    from gateway.gateway import Gateway
    from gateway.http1 import ResponseHead
    from gateway.mirrors import Mirror
    from gateway.pool import ConnectionPool
    from gateway.streams import PodStream

logger = logging.getLogger(__name__)

_NOTHING: list[bytes] = []


class Copy:
    """One copy on its way: a Receiver of what its pod says."""

    __slots__ = (
        "_body",
        "_dialling",
        "_due",
        "_ended",
        "_endpoint",
        "_first",
        "_first_over",
        "_forwarded",
        "_fresh",
        "_gateway",
        "_head",
        "_held",
        "_key",
        "_last",
        "_launched",
        "_mirror",
        "_over",
        "_pod",
        "_second",
        "_sent",
        "_sent_first",
        "_traffic",
        "_trailers",
        "scheduled",
    )  # fmt: skip

    switches_to = b""

    def __init__(
        self, gateway: "Gateway", mirror: "Mirror", head: RequestHead, forwarded: bytes, key: int | None
    ) -> None:
        self.scheduled = inf
        self._gateway = gateway
        self._mirror = mirror
        self._traffic = traffic = gateway.mirrors.of(mirror)
        self._head = _copied(head)
        self._forwarded = forwarded + field_line(b"x-tidegate-mirror", mirror.ref.route.encode())
        self._key = key
        self._body: list[bytes] = []
        self._trailers = _NOTHING
        self._held = 0
        self._launched = False
        self._fresh = False
        """Its connection is a new one."""
        self._endpoint: Endpoint | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._pod: PodStream | None = None
        self._due = self._last = inf
        self._sent = self._sent_first = 0.0
        self._first, self._second = Heard(), Heard()
        self._first_over = False
        self._ended = False
        """It is at its own end, however."""
        self._over = False
        traffic.in_flight += 1

    # -- what is told of the request that it is of

    def sent(self, data: bytes, trailers: list[bytes], now: float, *, ended: bool) -> None:
        """All that went to a pod so far: once more from the beginning, when another one is tried."""
        if self._launched or self._ended:
            return
        self._sent_first = now
        self._release()
        self._body = []
        self.more(data, trailers, ended=ended)

    def more(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """More of its body."""
        if self._launched or self._ended:
            return
        size = self._held + len(data)
        if size > self._mirror.body_limit:
            self._end("too_large")
        elif not self._gateway.mirrors.hold(len(data)):
            self._end("no_room")
        else:
            self._held = size
            self._body.append(data)
            if ended:
                self._trailers = trailers
                self._launch()

    def answered(self, head: "ResponseHead", data: bytes, now: float, *, ended: bool) -> None:
        """Its pod answers."""
        if self._mirror.compare is not None:
            self._first.begin(head, now - self._sent_first)
            self._first.add(data, ended=ended)

    def went_on(self, data: bytes, *, ended: bool) -> None:
        if self._mirror.compare is not None:
            self._first.add(data, ended=ended)

    def over(self) -> None:
        """It has ended, however."""
        self._first_over = True
        if not self._launched and not self._ended:
            self._end("cut")
        elif not self._ended:
            # An answer without an end has a slot until somebody leaves; here nobody does.
            timeouts = self._mirror.ref.timeouts
            self._bound(timeouts.response + timeouts.idle if timeouts.response and timeouts.idle else 0.0)
        self._conclude()

    # -- its own way

    def _launch(self) -> None:
        self._launched = True
        now = self._gateway.now()
        backend = self._mirror.ref.backend
        endpoint = None if backend.removed else backend.enter(now, self._key)
        if endpoint is None:
            self._end("no_slot")
            return
        self._endpoint = endpoint
        timeouts = self._mirror.ref.timeouts
        self._bound(timeouts.request)
        self._expect(now, timeouts.response)
        pool = endpoint.pool or self._gateway.pool(endpoint)
        pod = pool.take(now)
        if pod is None:
            self._dial(endpoint, pool)
        else:
            self._send(pod)

    def _dial(self, endpoint: "Endpoint", pool: "ConnectionPool") -> None:
        self._fresh = True
        self._dialling = self._gateway.loop.create_task(self._connect(endpoint, pool))

    async def _connect(self, endpoint: "Endpoint", pool: "ConnectionPool") -> None:
        try:
            pod = await pool.dial(self._mirror.ref.timeouts.connect)
        except (OSError, TimeoutError) as error:
            self._dialling = None
            if not (isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}):
                # Those would say nothing of the pod.
                why = str(error) or "no connection in time"
                self._gateway.suspect(self._mirror.ref.backend, endpoint, why)
            self._end("failed")
        else:
            self._dialling = None
            self._send(pod)

    def _send(self, pod: "PodStream") -> None:
        self._pod = pod
        self._sent = self._gateway.now()
        pod.request(self, self._head, self._forwarded, b"".join(self._body), self._trailers, ended=True)
        if self._fresh:
            self._release()

    def _expect(self, now: float, seconds: float) -> None:
        """One that hangs has a slot for as long as a request would."""
        self._due = now + seconds if seconds else inf
        self._gateway.wheel.arm(self, self._due)

    def _bound(self, seconds: float) -> None:
        """It has no more than this from now on, however it goes on."""
        if seconds:
            self._last = min(self._last, self._gateway.now() + seconds)
            self._gateway.wheel.arm(self, self._last)

    def on_time(self, now: float) -> float:
        """The wheel asks."""
        due = min(self._due, self._last)
        if not self._ended and now >= due:
            if now >= self._due:
                self._note(RESPONSE_TIMEOUT.status)
            self._end("timeout")
        return inf if self._ended else due

    # -- what its pod says

    def on_interim(self, head: "ResponseHead") -> None:
        """Nobody wants to know."""

    def on_head(self, head: "ResponseHead", data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        if self._ended:
            return
        now = self._gateway.now()
        self._release()
        self._note(head.status)
        self._second.begin(head, now - self._sent)
        self.on_data(data, trailers, ended=ended)

    def on_data(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:  # noqa: ARG002
        if self._ended:
            return
        if self._mirror.compare is not None:
            self._second.add(data, ended=ended)
        if ended:
            self._pod = None
            if self._endpoint is not None and self._endpoint.record is not None:
                self._mirror.ref.backend.ejections.whole(self._endpoint)
            self._end("answered")
        else:
            self._expect(self._gateway.now(), self._mirror.ref.timeouts.idle)

    def on_lost(self, error: "GatewayError", failure: Failure = Failure.BROKEN) -> None:  # noqa: ARG002
        self._pod = None
        endpoint = self._endpoint
        if self._ended or endpoint is None:
            return
        pool = endpoint.pool
        if failure in {Failure.UNSEEN, Failure.STALE} and not self._fresh and pool is not None:
            # Most likely closed for its idleness; not so where the pod is gone, and its pool with it.
            self._dial(endpoint, pool)
            return
        self._note(UPSTREAM_RESET.status)
        self._end("failed")

    def on_pod_blocked(self) -> None:
        """All of it is written already."""

    def on_pod_writable(self) -> None: ...

    def _note(self, status: int) -> None:
        """For those who judge pods by their answers: a trial may hang on it."""
        endpoint = self._endpoint
        if endpoint is not None and endpoint.record is not None:
            begun = self._second.status > 0
            self._gateway.answered(self._mirror.ref.backend, endpoint, status, begun=begun)

    # -- the end

    def _release(self) -> None:
        """Nobody needs its body any more."""
        self._gateway.mirrors.release(self._held)
        self._held = 0
        self._body = []

    def _end(self, outcome: str) -> None:
        """Give everything back, once."""
        self._ended = True
        self._traffic.count(outcome)
        self._release()
        gateway = self._gateway
        if self.scheduled < inf:
            gateway.wheel.disarm(self)
        if self._pod is not None:
            self._pod.reset()
            self._pod = None
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            now = gateway.now()
            gateway.hand_out(self._mirror.ref.backend.leave(endpoint, now), now)
        self._conclude()

    def _conclude(self) -> None:
        """When both are at their ends: compare, if that was asked for and there is something to compare."""
        compare = self._mirror.compare
        if self._over or not self._ended or (compare is not None and not self._first_over):
            return
        self._over = True
        if compare is None or not self._second.complete:
            self._traffic.in_flight -= 1
            return
        if self._first.status:
            self._traffic.difference.observe(self._second.began - self._first.began)
        comparison = Comparison(self._first, self._second, compare.tolerance)
        self._gateway.chores.add(partial(self._compare, comparison))

    def _compare(self, comparison: Comparison) -> None:
        if not comparison.step():
            self._gateway.chores.add(partial(self._compare, comparison))
            return
        traffic, result = self._traffic, comparison.result
        traffic.in_flight -= 1
        traffic.results[result] = traffic.results.get(result, 0) + 1
        compare = self._mirror.compare
        if result in {"status", "body"} and compare is not None and compare.log.take():
            logger.info("%s", self._told(comparison))

    def _told(self, comparison: Comparison) -> str:
        """One line of JSON."""
        first, second = comparison.first, comparison.second
        told = {
            "mirror": self._traffic.backend,
            "route": self._traffic.route,
            "request_id": (self._head.request_id or b"").decode("latin-1"),
            "target": self._head.target.decode("latin-1"),
            "status": [first.status, second.status],
            "seconds": [round(first.began, 6), round(second.began, 6)],
            "difference": comparison.difference,
        }
        return json.dumps(told)

    def __repr__(self) -> str:
        state = "ended" if self._ended else "launched" if self._launched else "gathering"
        return f"<Copy for {self._traffic.route} to {self._traffic.backend} {state}>"


def _copied(head: RequestHead) -> RequestHead:
    """The same request, but for one thing: its body is all there, so that nobody has to be asked whether it may come."""
    copy = RequestHead(head.method, head.target)
    copy.lines = [line for line in head.lines if line[:7].lower() != b"expect:"]
    copy.content_length, copy.chunked = head.content_length, head.chunked
    copy.host, copy.request_id = head.host, head.request_id
    return copy
