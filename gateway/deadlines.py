"""How long an Exchange may take: for each step of its life, and in all.

Times are the gateway's monotonic seconds. One deadline is of the step (the body goes on coming, the pod answers, the answer goes
on coming), the other is the Route's bound on everything. Neither has a timer of its own: the client's stream rides on the wheel and
asks; an Exchange whose client has left rides there itself. `exchange` moves the step's deadline and acts on what is overdue.
"""

from math import inf
from typing import TYPE_CHECKING

from gateway.errors import BODY_TIMEOUT, IDLE_TIMEOUT, REQUEST_TIMEOUT, RESPONSE_TIMEOUT, GatewayError, Reason

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from gateway.patience import Patience
    from gateway.streams import ClientStream
    from gateway.terms import Timeouts


class Deadlines:
    """The part of an Exchange that knows when it is late. `Exchange` fills the attributes: one call less per request."""

    __slots__ = (
        "_bound", "_client", "_due", "_gateway", "_late", "_over", "_pod_blocked", "_request_done", "_responded", "_timeouts",
        "_total_due", "scheduled",
    )  # fmt: skip

    scheduled: float
    _gateway: "Gateway"
    _client: "ClientStream | None"
    _timeouts: "Timeouts"
    _bound: float
    """Since when it has its slot."""
    _due: float
    _total_due: float
    _late: Reason
    """What it means when `_due` has passed."""
    _over: bool
    _request_done: bool
    _responded: bool
    _pod_blocked: bool

    def fail(self, error: GatewayError) -> None:
        """End early."""
        raise NotImplementedError

    def on_time(self, now: float) -> float:
        """The wheel asks: is something overdue? Returns the next time to ask."""
        error = None if self._over else self._overdue(now)
        if error is not None:
            self.fail(error)
        return inf if self._over else self._next()

    def _overdue(self, now: float) -> GatewayError | None:
        if now >= self._total_due:
            return GatewayError(REQUEST_TIMEOUT, f"took longer than {self._timeouts.request:g} s in all")
        if now >= self._due:
            patience = self._timeouts.response if self._late is RESPONSE_TIMEOUT else self._timeouts.idle
            return GatewayError(self._late, f"nothing came for {patience:g} s")
        return None

    def _expect_progress(self, now: float | None = None) -> None:
        """A body that comes must go on coming; once it is all there, or the pod takes no more of it, the pod must act."""
        now = self._gateway.now() if now is None else now
        timeouts = self._timeouts
        if self._responded:
            self._expect(now, timeouts.idle, IDLE_TIMEOUT)
        elif self._request_done or self._pod_blocked:
            self._expect(now, timeouts.response, RESPONSE_TIMEOUT)
        else:
            self._expect(now, timeouts.idle, BODY_TIMEOUT)

    def _expect(self, now: float, seconds: float, late: Reason) -> None:
        self._late = late
        if not seconds:
            self._due = inf
            return
        self._due = due = now + seconds
        timed = self._client or self
        if due < timed.scheduled:
            self._gateway.wheel.arm(timed, due)

    def _arm(self, due: float) -> None:
        timed = self._client or self
        if due < timed.scheduled:
            self._gateway.wheel.arm(timed, due)

    def _note_time(self, patience: "Patience", reason: Reason | None, now: float) -> None:
        """How much of its time a request that has such a bound was at a pod."""
        if reason is None:
            patience.answered(now - self._bound)
        elif reason is REQUEST_TIMEOUT:
            patience.missed(now - self._bound, self._timeouts.request)

    def _next(self) -> float:
        return self._total_due if self._total_due < self._due else self._due
