"""Who gets which pod, and who waits: the concurrency limit per Endpoint and the Backend's bounded queue.

Laws, held by property tests:
- an Endpoint never has more requests open than the limit (a lowered limit only stops new grants);
- a waiter waits only while no slot is free, so nobody waits behind a busy pod while another idles;
- nobody overtakes: a newcomer is served only when nobody waits;
- each waiter leaves exactly once: granted, withdrawn, or taken out as expired.

They hold for every policy of `picking`, which chooses among the Endpoints that have a free slot. An Endpoint that is out, and shall
show by one request whether it is well again, is on trial: it gets that one before others are asked, and nothing more until that has ended.
`backend` owns a Breaker and keeps the clocks.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import Protocol

from gateway.endpoint import TRIAL_DUE, TRIAL_UNDER_WAY, Endpoint
from gateway.errors import GatewayError
from gateway.picking import ConsistentHash, FirstAvailable, LeastRequests, Picker, Picking, RoundRobin
from gateway.warmpicking import WarmLeastRequests

__all__ = ["Breaker", "Endpoint", "Seeker", "Waiter", "picker_of"]


class Seeker(Protocol):
    """Who wants an Endpoint: an Exchange."""

    def granted(self, endpoint: Endpoint, now: float) -> None: ...
    def refused(self, error: GatewayError) -> None: ...


class Waiter:
    """A queued request, as the queue needs to know it."""

    __slots__ = ("avoid", "cold", "key", "request", "served_at", "since", "starved_at")

    def __init__(
        self, request: Seeker, since: float, avoid: Collection[Endpoint] = (), key: int | None = None
    ) -> None:
        self.request = request
        """Whom the grant is for; handed back untouched."""
        self.since = since
        self.avoid = avoid
        """Endpoints it would rather not get: those that failed it."""
        self.key = key
        """What it has in common with others that should meet the same Endpoint."""
        self.served_at = 0.0
        """The Backend's clocks as it began to wait: one runs while a pod is available, the other while none is."""
        self.starved_at = 0.0
        self.cold = False
        """It came when nothing was ready, so that it waits for a start."""

    def __repr__(self) -> str:
        return f"<Waiter {self.request!r} since={self.since:.3f}{' cold' if self.cold else ''}>"


class Breaker:
    """Slots per Endpoint and one queue for all of them."""

    def __init__(self, limit: int, depth: int, picking: Picking | None = None) -> None:
        self.depth = depth
        self.picking = picking or Picking()
        self.picker = picker_of(self.picking, limit)
        self._listed = 0
        self._trials: dict[Endpoint, None] = {}
        """They wait for their one request."""
        self._plain = False
        """Any request may have any Endpoint of the picker's, and there is one: the usual case."""
        self._seen = 0
        self._queue: OrderedDict[Waiter, None] = OrderedDict()

    @property
    def limit(self) -> int:
        """Requests open to one Endpoint at once; 0: no limit."""
        return self.picker.limit

    @limit.setter
    def limit(self, limit: int) -> None:
        if limit != self.picker.limit:
            self.picker.relimit(limit)

    @property
    def available(self) -> int:
        """Endpoints that a request may get, once they have a free slot."""
        return self._listed + len(self._trials)

    # -- slots

    def acquire(self, key: int | None = None) -> Endpoint | None:
        """Take a slot now, or None when there is none or others were first."""
        if self._queue:
            return None
        return self.picker.take((), key) if self._plain else self._take((), key)

    def release(self, endpoint: Endpoint) -> None:
        """Give a slot back. Call `grants` next: somebody may have waited for it."""
        if endpoint.listed:
            self.picker.give_back(endpoint)
            return
        endpoint.in_flight -= 1
        if endpoint.trial == TRIAL_UNDER_WAY:
            # It ended without a verdict: another one is to be tried.
            endpoint.trial = TRIAL_DUE
            self.update(endpoint)

    def update(self, endpoint: Endpoint) -> None:
        """Look at an Endpoint again after its state changed; one that was never seen is thereby added."""
        if endpoint.available != endpoint.listed:
            endpoint.listed = endpoint.available
            if endpoint.listed:
                self._listed += 1
                if endpoint.number < 0:
                    endpoint.number = self._seen
                    self._seen += 1
                self.picker.add(endpoint)
            else:
                self._listed -= 1
                self.picker.remove(endpoint)
        if endpoint.triable:
            self._trials[endpoint] = None
        else:
            self._trials.pop(endpoint, None)
        self._plain = self._listed > 0 and not self._trials

    def rewarm(self, endpoint: Endpoint, warmth: float) -> None:
        """It gets another share of what the others do."""
        self.picker.rewarm(endpoint, warmth)

    def repick(self, picking: Picking, endpoints: Collection[Endpoint]) -> None:
        """Pick in another way from now on; `endpoints` are all that it was told of and that are not gone."""
        self.picking = picking
        self.picker = picker_of(picking, self.limit)
        for endpoint in endpoints:
            if endpoint.listed:
                self.picker.add(endpoint)

    def spare(self, avoid: Collection[Endpoint]) -> bool:
        """Whether there is a free slot now on an Endpoint outside of `avoid`; those on trial are not asked for that."""
        return self._listed > 0 and self.picker.spare(avoid)

    # -- the queue

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        return len(self._queue) >= self.depth

    def enqueue(self, waiter: Waiter, *, first: bool = False) -> None:
        """Let it wait, behind the others or, when it has waited before, in front of them. Minding `full` is the caller's."""
        self._queue[waiter] = None
        if first:
            self._queue.move_to_end(waiter, last=False)

    def withdraw(self, waiter: Waiter) -> bool:
        """Take a waiter out; False when it had left already."""
        try:
            del self._queue[waiter]
        except KeyError:
            return False
        return True

    def first(self) -> Waiter | None:
        """The one that waits longest."""
        return next(iter(self._queue), None)

    def waiters(self) -> Iterator[Waiter]:
        return iter(self._queue)

    def grants(self) -> list[tuple[Waiter, Endpoint]]:
        """Give free slots to waiters, first come first served, until either runs out."""
        granted: list[tuple[Waiter, Endpoint]] = []
        while self._queue:
            waiter = next(iter(self._queue))
            endpoint = self._take(waiter.avoid, waiter.key)
            if endpoint is None:
                break
            del self._queue[waiter]
            granted.append((waiter, endpoint))
        return granted

    # -- inside

    def _take(self, avoid: Collection[Endpoint], key: int | None) -> Endpoint | None:
        """A request that has failed already is no trial as long as there is another Endpoint."""
        endpoint = None
        if self._trials and not avoid:
            endpoint = self._try()
        if endpoint is None and self._listed:
            endpoint = self.picker.take(avoid, key)
        if endpoint is None and avoid:
            endpoint = self._try()
        return endpoint

    def _try(self) -> Endpoint | None:
        limit = self.picker.limit
        for endpoint in self._trials:
            if not 0 < limit <= endpoint.in_flight:
                endpoint.in_flight += 1
                endpoint.trial = TRIAL_UNDER_WAY
                self.update(endpoint)
                return endpoint
        return None

    def __repr__(self) -> str:
        return f"<Breaker limit={self.limit} available={self.available} queued={self.queued}/{self.depth}>"


def picker_of(picking: Picking, limit: int) -> Picker:
    """A Picker for what the configuration says."""
    if picking.policy == "consistent_hash":
        return ConsistentHash(limit, picking.bound)
    if picking.policy == "round_robin":
        return RoundRobin(limit)
    if picking.policy == "first_available":
        return FirstAvailable(limit)
    return WarmLeastRequests(limit) if picking.warm else LeastRequests(limit)
