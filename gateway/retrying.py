"""When a request that a pod failed is tried again: the part of an Exchange that keeps what was sent, and sends the request back.

Core. What may be tried again is for `retries` to say; this notes each failure there, keeps the request's body for as long as it may have to
be sent once more, and puts the Exchange in front of its Backend's queue. The deadline of the whole goes on over all tries.
`bodies` holds the bytes, `queueing` waits; `exchange` is the rest of an Exchange, and fills the attributes: an object less per request.
"""

from math import inf
from typing import TYPE_CHECKING

from gateway.breaker import Waiter
from gateway.errors import CONNECT_FAILED, UPSTREAM_RESET, GatewayError
from gateway.queueing import Queueing
from gateway.retries import Failure, Tries

if TYPE_CHECKING:
    from gateway.backend import Backend
    from gateway.breaker import Endpoint
    from gateway.errors import Reason
    from gateway.streams import PodStream


class Retrying(Queueing):
    """The part of an Exchange that gives a request another try."""

    __slots__ = ("_endpoint", "_kept", "_pod", "_tries")

    _endpoint: "Endpoint | None"
    _pod: "PodStream | None"
    _kept: bool
    """All of the body that was sent is still held."""
    _tries: Tries | None
    """Those that failed."""

    # -- the pod's stream calls

    def on_lost(self, error: GatewayError, failure: Failure = Failure.BROKEN) -> None:
        """The pod's connection broke, or what it said makes no sense."""
        self._pod = None
        if self._over:
            return
        backend, endpoint, tries = self._backend, self._endpoint, self._tried()
        if backend is None or endpoint is None:
            self.fail(error)
        elif tries is not None and tries.lost(endpoint, failure, self._head.method):
            if tries.dying:
                self._gateway.suspect(backend, endpoint)
            if failure is Failure.RESET:
                self._note(UPSTREAM_RESET.status)
            self._try_again(failure)
        else:
            if failure.doubtful:
                # A process that dies closes its connections a moment before its listener. Who waits would get the slot now, and be lost too.
                self._gateway.suspect(backend, endpoint)
            self.fail(error)

    # -- other failures

    def _on_refused(self, endpoint: "Endpoint", failure: Failure, why: str) -> None:
        """No connection came about; the Endpoint gets nothing new until it accepts again."""
        backend, tries = self._backend, self._tried()
        if self._over or backend is None:
            return
        self._gateway.suspect(backend, endpoint, why)
        if tries is not None and tries.connect(endpoint, failure):
            self._try_again(failure)
        else:
            others = [pod.address for pod in tries.failed if pod is not endpoint] if tries else []
            before = f"; {', '.join(others)} refused or lost it before" if others else ""
            self.fail(GatewayError(CONNECT_FAILED, f"{endpoint.address}: {why}{before}"))

    def _ask_another(self, status: int, *, ended: bool) -> bool:
        """A pod answers 5xx: drop that, and ask another pod, where that may help."""
        pod, endpoint, tries = self._pod, self._endpoint, self._tried()
        if pod is None or endpoint is None or tries is None:
            return False
        if not tries.answered(endpoint, status, self._head.method):
            return False
        self._pod = None
        if not ended:
            pod.reset()
        self._try_again(str(status))
        return True

    # -- inside

    def _note(self, status: int, *, begun: bool = False) -> None:
        """Its pod has answered, or failed to, for those who judge pods by that. `begun`: the answer broke off."""
        backend, endpoint = self._backend, self._endpoint
        if backend is not None and endpoint is not None and endpoint.record is not None:
            self._gateway.answered(backend, endpoint, status, begun=begun)

    def _note_end(
        self, backend: "Backend", endpoint: "Endpoint", reason: "Reason | None", now: float
    ) -> None:
        """It has come to its end at a pod, for those who judge pods, and those who judge how long an answer takes."""
        if reason is None and endpoint.record is not None:
            backend.ejections.whole(endpoint)
        if self._total_due < inf:
            self._note_time(backend.patience, reason, now)

    def _tried(self) -> Tries | None:
        """The failed tries, to note one more; None when no other may follow: nobody listens, or what was sent is not kept."""
        ref = self._ref
        if ref is None or self._client is None or not self._kept:
            return None
        if self._tries is None:
            self._tries = Tries(ref.backend, ref.retries)
        return self._tries

    def _try_again(self, why: str) -> None:
        backend, endpoint, tries = self._backend, self._endpoint, self._tries
        assert backend is not None  # noqa: S101  # it had an Endpoint of it, which failed
        assert endpoint is not None  # noqa: S101
        assert tries is not None  # noqa: S101
        now = self._gateway.now()
        waiter = Waiter(self, now, tries.failed, self._key, standing=self.standing, size=self._held_bytes)
        try:
            granted = backend.again(waiter, endpoint, now)
        except GatewayError as error:
            self.fail(error)
            return
        retries = backend.stats.retries
        retries[why] = retries.get(why, 0) + 1
        self._endpoint = None
        self._waiter = waiter
        self._due = inf
        self._gateway.hand_out(granted, now)
        self._waits(backend, now)

    def _mind_client(self) -> None:
        """A client that does not read what the pod before sent (1xx) has said so to that pod alone: the next one pauses as well."""
        if self._pod is not None and self._client is not None and self._client.choked:
            self._pod.pause()

    # -- what was sent

    def _repeats(self) -> bool:
        """Whether the request may be sent again on the policy's word: on a new connection there is no other reason."""
        return self._ref is not None and self._ref.retries.repeats(self._head.method)

    def _keep(self, data: bytes) -> None:
        """More was sent: keep that too, as long as there is room for it."""
        self._held.append(data)
        self._held_bytes += len(data)
        more = self._held_bytes - self._weighed
        if self._gateway.buffered.hold(more):
            self._weighed = self._held_bytes
            self._limit_kept()
        else:
            self._let_go()

    def _limit_kept(self) -> None:
        if self._ref is not None and self._held_bytes > self._ref.retries.body_limit:
            self._let_go()

    def _let_go(self) -> None:
        """Keep nothing of what was sent: it is not sent again."""
        super()._let_go()
        self._kept = False
