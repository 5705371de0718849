"""May a request that a pod failed go to a pod once more? What a Route allows, and the record of one request's failed tries.

Core. What costs the pods nothing is always tried again: a connection that was refused, and a kept connection that its pod had closed.
Where that is not certain, a kept connection is given up for another once, if the method may be repeated. Everything else is asked of the
RetryPolicy, happens once per request, and takes from the Backend's budget, so that retries never feed an outage. `upstream` tells how a
connection was lost, `exchange` asks and acts; nothing here sends anything.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.backend import Backend
from gateway.breaker import Endpoint

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))
"""Asking twice is as good as asking once (RFC 9110, 9.2.2)."""
REFUSED_MOST = 3
"""Endpoints that may refuse one request before it is answered 502."""


class Failure(StrEnum):
    """How a try failed without an answer; the metric's label."""

    REFUSED = "connect"
    """No connection came about: nothing was sent."""
    LATE = "connect_timeout"
    """No connection came about in time: nothing was sent."""
    UNSEEN = "unseen"
    """The pod had closed a kept connection before anything of the request reached it."""
    STALE = "stale"
    """A kept connection was lost before a byte of the answer; the pod may have seen the request."""
    RESET = "reset"
    """A connection was lost before the answer's head was there; the pod may be at work on the request."""
    CUT = "cut"
    """A connection was lost past the answer's head."""
    BROKEN = "broken"
    """The answer makes no sense."""

    @property
    def doubtful(self) -> bool:
        """Whether the pod may be dying: it closed a connection with a request in hand."""
        return self in {Failure.STALE, Failure.RESET, Failure.CUT}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What a Route allows beyond what is always tried again."""

    on: frozenset[str | int] = frozenset(("connect", "reset", 502, 503, 504))
    """Among `connect` (no connection in time), `reset` (lost before the answer), and statuses from 500 on."""
    methods: frozenset[bytes] = IDEMPOTENT
    """Those that may be sent again although a pod may have seen them."""
    body_limit: int = 65536
    """Bytes of a sent body that are kept for another try; a request that has sent more has no other."""
    budget: float = 0.2
    """Retries under way at once, as a share of the Backend's other requests."""

    def repeats(self, method: bytes) -> bool:
        """Whether a request with this method may be sent again at all once a pod may have seen it."""
        return method in self.methods and not self.on <= {"connect"}


class Tries:
    """One request's failed tries, from the first on. Each method notes a failure, and says whether another try may follow."""

    __slots__ = (
        "_backend",
        "_budgeted",
        "_first",
        "_losses",
        "_policy",
        "_refusals",
        "_retried",
        "failed",
        "fresh",
    )

    def __init__(self, backend: Backend, policy: RetryPolicy) -> None:
        self._backend = backend
        self._policy = policy
        self.failed: list[Endpoint] = []
        """Whom another try would rather not get, in the order in which they failed."""
        self.fresh = False
        """A connection was lost: the next try takes a new one, since all kept ones may be as dead."""
        self._refusals = 0
        self._losses = 0
        self._first: Endpoint | None = None
        """The one that lost the request first, after it may have seen it."""
        self._retried = False
        self._budgeted = False

    def connect(self, endpoint: Endpoint, failure: Failure) -> bool:
        """No connection came about. Nothing was sent, so that the method does not matter. One that did not come in time has held a slot
        all that time, and counts as the one retry.
        """
        self._refusals += 1
        self.failed.append(endpoint)
        if self._refusals == REFUSED_MOST:
            return False
        return failure is Failure.REFUSED or (
            "connect" in self._policy.on and not self._retried and self._spend()
        )

    def lost(self, endpoint: Endpoint, failure: Failure, method: bytes) -> bool:
        """The connection was lost. Of two pods at most, so that a request which kills its pod does not kill them all."""
        self.failed.append(endpoint)
        self.fresh = True
        if failure is Failure.UNSEEN:
            return True
        if failure in {Failure.CUT, Failure.BROKEN} or method not in self._policy.methods:
            return False
        self._losses += 1
        if self._losses == 1:
            self._first = endpoint
        elif not self.dying:
            return False
        if failure is Failure.STALE:
            # Most likely closed for its idleness. A pod that dies under load looks the same: what it had goes to the others, once.
            return True
        # The same pod again is no other try: nobody had read the first one, or the second.
        return "reset" in self._policy.on and (self.dying or not self._retried) and self._spend()

    @property
    def dying(self) -> bool:
        """One pod has lost the request twice: a process that dies closes its connections before its listener, so that the second
        one was still accepted.
        """
        return self._losses == 2 and self.failed[-1] is self._first

    def answered(self, endpoint: Endpoint, status: int, method: bytes) -> bool:
        """A pod answered with a failure of its own, of which the client has seen nothing. Only another pod is asked, at once."""
        policy = self._policy
        if self._retried or status not in policy.on or method not in policy.methods:
            return False
        self.failed.append(endpoint)
        return self._backend.breaker.spare(self.failed) and self._spend()

    def over(self) -> None:
        """The request has ended: the budget has its part back."""
        if self._budgeted:
            self._budgeted = False
            self._backend.end_retry()

    def _spend(self) -> bool:
        """Make it the one retry."""
        self._retried = True
        if not self._budgeted:
            self._budgeted = self._backend.begin_retry(self._policy.budget)
        return self._budgeted

    def __repr__(self) -> str:
        return f"<Tries failed={[endpoint.uid for endpoint in self.failed]}{' on the budget' if self._budgeted else ''}>"
