"""Who gets which pod, and who waits: the concurrency limit per Endpoint and the Backend's bounded queue.

Laws, held by property tests:
- an Endpoint never has more requests open than the limit (a lowered limit only stops new grants);
- a waiter waits only while no slot is free, so nobody waits behind a busy pod while another idles;
- nobody overtakes: a newcomer is served only when nobody waits, and those who wait go in the queue's order (`queues`);
- each waiter leaves exactly once: granted, withdrawn, or taken out as expired or pushed out.

They hold for every policy of `picking`, which chooses among the Endpoints that have a free slot, with every discipline of `queues`. An Endpoint that is
out, and shall show by one request whether it is well again, is on trial: it gets that one before others are asked, and nothing more until that
has ended. `backend` owns a Breaker, `patience` keeps the clocks.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator

from gateway.endpoint import TRIAL_DUE, TRIAL_UNDER_WAY, Endpoint
from gateway.picking import ConsistentHash, FirstAvailable, LeastRequests, Picker, Picking, RoundRobin
from gateway.queues import Discipline, FairQueue
from gateway.waiter import Seeker, Waiter
from gateway.warmpicking import WarmLeastRequests

__all__ = ["Breaker", "Endpoint", "Seeker", "Waiter", "picker_of"]


class Breaker:
    """Slots per Endpoint and one queue for all of them."""

    def __init__(self, limit: int, depth: int, picking: Picking | None = None) -> None:
        self.depth = depth
        self.bytes_limit = 0
        """Bytes that may wait at once; 0: no limit."""
        self.bytes = 0
        """Those that wait."""
        self.waiting: OrderedDict[Waiter, None] = OrderedDict()
        """All who wait, in the order in which they came; those that were put back are in front."""
        self.fair: FairQueue | None = None
        """Who goes next, if not the first of them."""
        self.picking = picking or Picking()
        self.picker = picker_of(self.picking, limit)
        self.available = 0
        """Endpoints that a request may get, once they have a free slot."""
        self._listed = 0
        self._trials: dict[Endpoint, None] = {}
        """They wait for their one request."""
        self._plain = False
        """Any request may have any Endpoint of the picker's, and there is one: the usual case."""
        self._seen = 0

    @property
    def limit(self) -> int:
        """Requests open to one Endpoint at once; 0: no limit."""
        return self.picker.limit

    @limit.setter
    def limit(self, limit: int) -> None:
        if limit != self.picker.limit:
            self.picker.relimit(limit)

    # -- slots

    def acquire(self, key: int | None = None) -> Endpoint | None:
        """Take a slot now, or None when there is none or others were first."""
        if self.waiting:
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
        self.available = self._listed + len(self._trials)
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
        return len(self.waiting)

    @property
    def full(self) -> bool:
        return len(self.waiting) >= self.depth

    @property
    def discipline(self) -> Discipline:
        return "fifo" if self.fair is None else self.fair.discipline

    def enqueue(self, waiter: Waiter, now: float, *, first: bool = False) -> None:
        """Let it wait, behind the others or, when it has waited before, in front of them. Minding `full` is the caller's."""
        self.waiting[waiter] = None
        if first:
            self.waiting.move_to_end(waiter, last=False)
        if self.fair is not None:
            self.fair.add(waiter, now, first=first)
        self.bytes += waiter.size

    def withdraw(self, waiter: Waiter) -> bool:
        """Take a waiter out; False when it had left already."""
        try:
            del self.waiting[waiter]
        except KeyError:
            return False
        if self.fair is not None:
            self.fair.remove(waiter)
        self.bytes -= waiter.size
        return True

    def grow(self, waiter: Waiter, size: int) -> None:
        """More of what it brings waits with it."""
        waiter.size += size
        self.bytes += size

    def first(self) -> Waiter | None:
        """The one that waits longest."""
        return next(iter(self.waiting), None)

    def grants(self, now: float) -> list[tuple[Waiter, Endpoint]]:
        """Give free slots to waiters, the best first, until either runs out."""
        granted: list[tuple[Waiter, Endpoint]] = []
        waiting, fair = self.waiting, self.fair
        while waiting:
            waiter = next(iter(waiting)) if fair is None else fair.best(now)
            if self._plain:
                endpoint = self.picker.take(waiter.avoid, waiter.key)
            else:
                endpoint = self._take(waiter.avoid, waiter.key)
            if endpoint is None:
                break
            del waiting[waiter]
            if fair is not None:
                fair.serve(waiter, now)
            self.bytes -= waiter.size
            granted.append((waiter, endpoint))
        return granted

    def ahead(self, waiter: Waiter) -> int:
        """How many will be served before a newcomer in any case."""
        return len(self.waiting) if self.fair is None else self.fair.ahead(waiter)

    def newest_ahead(self, waiter: Waiter) -> Waiter | None:
        """The last of those that have no higher priority."""
        return next(reversed(self.waiting), None) if self.fair is None else self.fair.newest_ahead(waiter)

    def worse(self, priority: int) -> Iterator[Waiter]:
        """Those with a lower priority: the lowest first, and of those the newest."""
        if self.fair is not None:
            return self.fair.worse(priority)
        # All are the same here, whatever they say.
        return iter(()) if priority <= 0 else reversed(self.waiting)

    def room_for(self, waiter: Waiter, places: int, size: int) -> list[Waiter] | None:
        """Who has to be pushed out for so many more places and bytes; None when that would not do either."""
        places = places if self.full else 0
        excess = self.bytes + size - self.bytes_limit if self.bytes_limit else 0
        pushed: list[Waiter] = []
        others = iter(()) if self.fair is None else self.fair.gives_way(waiter)
        while places > 0 or excess > 0:
            victim = next(others, None)
            if victim is None:
                return None
            pushed.append(victim)
            places -= 1
            excess -= victim.size
        return pushed

    def requeue(self, discipline: Discipline, now: float) -> None:
        """Wait in another discipline from now on."""
        if discipline == self.discipline:
            return
        self.fair = fair = None if discipline == "fifo" else FairQueue(discipline)
        if fair is not None:
            for waiter in self.waiting:
                fair.add(waiter, now, first=False)

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
