"""In which order those who wait are served where that is not the order in which they came, and who has to give way when there is no room.

Core. Strict priorities, higher first; within one the tenants by `turns`; within a tenant the oldest, those that were put back in front. A full
queue lets a newcomer in for the newest of the lowest priority, never for an equal one but that of a tenant that has more than its share.
First come, first served needs nothing of this: a `breaker` then has no FairQueue, and serves the first of those that wait. Who is taken out,
and what they are told, is for `backend` to say.
"""

from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Literal

from gateway.turns import Accounts, LeastUse, RoundRobin

if TYPE_CHECKING:
    from gateway.waiter import Waiter

Discipline = Literal["fifo", "round_robin", "least_use"]

MOST_TENANTS = 1000
"""Of one priority that have turns of their own; more share one, so that whoever invents tenants gains no more than so many."""
_OTHERS = b"\0"
"""They. No header field holds a NUL."""


class Level:
    """Those of one priority that wait."""

    def __init__(self, turns: RoundRobin) -> None:
        self.line: OrderedDict[Waiter, bytes] = OrderedDict()
        """In the order in which they came, each with the tenant whose turns it shares."""
        self.tenants: dict[bytes, OrderedDict[Waiter, None]] = {}
        self._turns = turns

    def shared(self, tenant: bytes) -> bytes:
        """Whose turns a newcomer shares."""
        return tenant if tenant in self.tenants or len(self.tenants) < MOST_TENANTS else _OTHERS

    def add(self, waiter: "Waiter", now: float, *, first: bool) -> None:
        tenant = self.shared(waiter.standing.tenant)
        self.line[waiter] = tenant
        own = self.tenants.get(tenant)
        if own is None:
            own = self.tenants[tenant] = OrderedDict()
            self._turns.join(tenant, now, first=first)
        own[waiter] = None
        if first:
            self.line.move_to_end(waiter, last=False)
            own.move_to_end(waiter, last=False)

    def best(self, now: float) -> "Waiter":
        return next(iter(self.tenants[self._turns.next(now)]))

    def remove(self, waiter: "Waiter") -> bytes:
        """Take it out; the tenant whose turn it would have been."""
        tenant = self.line.pop(waiter)
        own = self.tenants[tenant]
        del own[waiter]
        if not own:
            del self.tenants[tenant]
            self._turns.leave(tenant)
        return tenant

    def serve(self, waiter: "Waiter", now: float) -> None:
        tenant = self.remove(waiter)
        if tenant in self.tenants:
            self._turns.served(tenant, now)

    def newest_of_the_greedy(self, tenant: bytes) -> "Waiter | None":
        """Of the tenant with the most: who gives way to one that has less than its share, the share of one more tenant if it has none."""
        own = len(self.tenants.get(self.shared(tenant), ()))
        if (own + 1) * (len(self.tenants) + (not own)) > len(self.line):
            return None
        greedy: OrderedDict[Waiter, None] = max(self.tenants.values(), key=len)
        return next(reversed(greedy))


class FairQueue:
    """Priorities, and fairness within each."""

    def __init__(self, discipline: Discipline) -> None:
        self.discipline = discipline
        self._accounts = Accounts() if discipline == "least_use" else None
        self._levels: dict[int, Level] = {}
        self._priorities: list[int] = []
        """Those with somebody waiting, the highest last."""

    def add(self, waiter: "Waiter", now: float, *, first: bool) -> None:
        """Let it wait, behind the others of its tenant or in front of them."""
        priority = waiter.standing.priority
        level = self._levels.get(priority)
        if level is None:
            accounts = self._accounts
            level = self._levels[priority] = Level(RoundRobin() if accounts is None else LeastUse(accounts))
            insort(self._priorities, priority)
        level.add(waiter, now, first=first)

    def remove(self, waiter: "Waiter") -> None:
        """Take it out, which waits here."""
        self._levels[waiter.standing.priority].remove(waiter)
        self._clear(waiter.standing.priority)

    def best(self, now: float) -> "Waiter":
        """Who goes next; there must be somebody."""
        return self._levels[self._priorities[-1]].best(now)

    def serve(self, waiter: "Waiter", now: float) -> None:
        """It, the best, goes now."""
        standing = waiter.standing
        if standing.metered:
            # Before the turn is over: what it has used decides when the next one comes.
            self.begin(standing.tenant, now)
        self._levels[standing.priority].serve(waiter, now)
        self._clear(standing.priority)

    def ahead(self, waiter: "Waiter") -> int:
        """How many will be served before a newcomer in any case: those with a higher priority, and of its own its own tenant's. Whoever else is
        served before it depends on what comes.
        """
        priority, tenant = waiter.standing.priority, waiter.standing.tenant
        higher = sum(len(self._levels[other].line) for other in self._priorities if other > priority)
        level = self._levels.get(priority)
        return higher if level is None else higher + len(level.tenants.get(level.shared(tenant), ()))

    def newest_ahead(self, waiter: "Waiter") -> "Waiter | None":
        """The last of its own tenant."""
        level = self._levels.get(waiter.standing.priority)
        own = None if level is None else level.tenants.get(level.shared(waiter.standing.tenant))
        return None if own is None else next(reversed(own))

    def worse(self, priority: int) -> "Iterator[Waiter]":
        """Those with a lower priority: the lowest first, and of those the newest."""
        lower = [self._levels[other] for other in self._priorities if other < priority]
        return chain.from_iterable(reversed(level.line) for level in lower)

    def gives_way(self, waiter: "Waiter") -> "Iterator[Waiter]":
        """Who may be pushed out for a newcomer, in that order."""
        priority = waiter.standing.priority
        yield from self.worse(priority)
        level = self._levels.get(priority)
        greedy = None if level is None else level.newest_of_the_greedy(waiter.standing.tenant)
        if greedy is not None:
            yield greedy

    # -- slots, where it counts what tenants use

    def begin(self, tenant: bytes, now: float) -> None:
        """A tenant's request has a slot."""
        if self._accounts is not None:
            self._accounts.begin(tenant, now)

    def end(self, tenant: bytes, now: float) -> None:
        """It has it no more."""
        if self._accounts is not None:
            self._accounts.end(tenant, now)

    def levels(self) -> Mapping[int, tuple[int, int]]:
        """Requests that wait and their tenants, by priority; empty where there are none."""
        return {
            priority: (len(self._levels[priority].line), len(self._levels[priority].tenants))
            for priority in reversed(self._priorities)
        }

    def _clear(self, priority: int) -> None:
        if not self._levels[priority].line:
            del self._levels[priority]
            self._priorities.remove(priority)

    def __repr__(self) -> str:
        return f"<FairQueue {self.discipline} {self.levels()}>"
