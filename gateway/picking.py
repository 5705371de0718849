"""Which of a Backend's Endpoints takes the next request: one Picker for each policy.

Core. Laws, held by property tests for each of them:
- an Endpoint is picked only while it has fewer requests open than the limit;
- as long as one has, somebody is picked: no policy lets a request wait for a better one.

A Breaker owns one Picker and tells it who may be picked; nothing else counts requests up or down. All are O(1) or O(log n) in the Endpoints.
`slowstart` has the one for pods that are new, `hashring` the ring behind ConsistentHash.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from itertools import islice
from math import ceil

from gateway.endpoint import Endpoint
from gateway.hashring import Ring

FARTHEST = 64
"""Points of the ring that are looked at for one request. With a bound of 125 % about sixteen pods in a row have their share, at the most."""
RINGED_AT_ONCE, FEW, RINGED_OF_FEW = 4, 100, 32
"""Pods that one request puts on the ring at most: 0.1 ms each while there are few, 0.8 ms of 5,000, which may come at once and must not hold the
loop. The others are met when the least busy is taken.
"""


@dataclass(frozen=True)
class Picking:
    """How a Backend's Endpoints are picked."""

    policy: str = "least_requests"
    """Or round_robin, first_available, consistent_hash."""
    bound: float = 1.25
    """For consistent_hash: what a pod may have open, as a multiple of the average."""
    warm: bool = False
    """Endpoints may be new, and get less."""


class Picker:
    """The Endpoints that may be picked, and what is open to each."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """Requests open to one Endpoint at once; 0: no limit."""

    def add(self, endpoint: Endpoint) -> None:
        """It may be picked from now on."""
        raise NotImplementedError

    def remove(self, endpoint: Endpoint) -> None:
        """It may not any more; what is open to it is no matter here."""
        raise NotImplementedError

    def take(self, avoid: Collection[Endpoint] = (), key: int | None = None) -> Endpoint | None:
        """Count one more on the Endpoint that is picked, rather not one of `avoid`; None: none has a free slot. There must be one that may be
        picked.
        """
        raise NotImplementedError

    def give_back(self, endpoint: Endpoint) -> None:
        """Count one less on an Endpoint that may be picked."""
        raise NotImplementedError

    def spare(self, avoid: Collection[Endpoint]) -> bool:
        """Whether an Endpoint outside of `avoid` has a free slot."""
        raise NotImplementedError

    def relimit(self, limit: int) -> None:
        self.limit = limit

    def rewarm(self, endpoint: Endpoint, warmth: float) -> None:
        """It gets another share of what the others do."""
        endpoint.warmth = warmth


class LeastRequests(Picker):
    """Exactly the least busy, in O(1): Endpoints stand in rows by their requests in flight, each row in the order in which they came into
    it, which makes ties round robin.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._rows: list[OrderedDict[Endpoint, None]] = [OrderedDict()]
        self._lowest = 0

    def add(self, endpoint: Endpoint) -> None:
        self._row(endpoint.in_flight)[endpoint] = None
        if endpoint.in_flight < self._lowest:
            self._lowest = endpoint.in_flight

    def remove(self, endpoint: Endpoint) -> None:
        del self._rows[endpoint.in_flight][endpoint]

    def take(self, avoid: Collection[Endpoint] = (), key: int | None = None) -> Endpoint | None:  # noqa: ARG002  # others ask for it
        # In one piece: this is every request's way.
        rows = self._rows
        lowest = self._lowest
        while not rows[lowest]:
            lowest += 1
        self._lowest = lowest
        if lowest >= self.limit > 0:
            return None
        if avoid:
            return self._up(self._other(avoid) or next(iter(rows[lowest])))
        endpoint, _ = rows[lowest].popitem(last=False)
        endpoint.in_flight = in_flight = lowest + 1
        if in_flight == len(rows):
            rows.append(OrderedDict())
        rows[in_flight][endpoint] = None
        return endpoint

    def give_back(self, endpoint: Endpoint) -> None:
        in_flight = endpoint.in_flight
        endpoint.in_flight = fewer = in_flight - 1
        rows = self._rows
        del rows[in_flight][endpoint]
        rows[fewer][endpoint] = None
        if fewer < self._lowest:
            self._lowest = fewer

    def spare(self, avoid: Collection[Endpoint]) -> bool:
        return self._other(avoid) is not None

    def _up(self, endpoint: Endpoint) -> Endpoint:
        del self._rows[endpoint.in_flight][endpoint]
        endpoint.in_flight += 1
        self._row(endpoint.in_flight)[endpoint] = None
        return endpoint

    def _other(self, avoid: Collection[Endpoint]) -> Endpoint | None:
        for row in self._rows[: self.limit or None]:
            for endpoint in row:
                if endpoint not in avoid:
                    return endpoint
        return None

    def _row(self, in_flight: int) -> OrderedDict[Endpoint, None]:
        rows = self._rows
        while len(rows) <= in_flight:
            rows.append(OrderedDict())
        return rows[in_flight]

    def __repr__(self) -> str:
        return f"<LeastRequests of {sum(map(len, self._rows))}>"


class ConsistentHash(LeastRequests):
    """The first from the key's place on a ring that has not more than its share, so that what belongs together meets the same pod's cache.

    A pod may have `bound` times the average open, this request included (consistent hashing with bounded loads). Nobody is over that
    when the least busy is taken, which is what happens without a key, and when nobody near has room.
    """

    def __init__(self, limit: int, bound: float) -> None:
        super().__init__(limit)
        self._bound = bound
        self._total = 0
        self._count = 0
        self._ring = Ring()
        self._waiting: OrderedDict[Endpoint, None] = OrderedDict()
        """Not on the ring yet."""

    def add(self, endpoint: Endpoint) -> None:
        super().add(endpoint)
        self._total += endpoint.in_flight
        self._count += 1
        self._waiting[endpoint] = None

    def remove(self, endpoint: Endpoint) -> None:
        super().remove(endpoint)
        self._total -= endpoint.in_flight
        self._count -= 1
        if endpoint in self._waiting:
            del self._waiting[endpoint]
        else:
            self._ring.remove(endpoint)

    def take(self, avoid: Collection[Endpoint] = (), key: int | None = None) -> Endpoint | None:
        endpoint = None if key is None else self._near(key, avoid)
        endpoint = super().take(avoid) if endpoint is None else self._up(endpoint)
        if endpoint is not None:
            self._total += 1
        return endpoint

    def give_back(self, endpoint: Endpoint) -> None:
        super().give_back(endpoint)
        self._total -= 1

    def _near(self, key: int, avoid: Collection[Endpoint]) -> Endpoint | None:
        once = RINGED_OF_FEW if self._count <= FEW else RINGED_AT_ONCE
        for _ in range(min(once, len(self._waiting))):
            self._ring.add(self._waiting.popitem(last=False)[0])
        most = ceil(self._bound * (self._total + 1) / self._count)
        if 0 < self.limit < most:
            most = self.limit
        for endpoint in islice(self._ring.walk(key), FARTHEST):
            if endpoint.in_flight < most and endpoint not in avoid:
                return endpoint
        return None

    def __repr__(self) -> str:
        return f"<ConsistentHash of {self._count} bound={self._bound:g}>"


class RoundRobin(Picker):
    """Each in its turn, in proportion to its warmth; who has no free slot gives its turn up until it has one.

    Turns are times of a clock that only turns move: an Endpoint's next one comes 1/warmth after its last.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._turns: list[tuple[float, int, Endpoint]] = []
        """A heap; those that no longer count are passed over when they come up."""
        self._entries: dict[Endpoint, tuple[float, int]] = {}
        """Each one's latest; its turn has come up again only if it is in the heap."""
        self._queued: set[Endpoint] = set()
        """Those that have a free slot, as far as is known: they have an entry in the heap that counts."""
        self._time = 0.0
        self._serial = 0

    def add(self, endpoint: Endpoint) -> None:
        # Behind the others: one that is out and back again after each request it fails would otherwise have every turn.
        self._entries[endpoint] = (self._time + 1.0 / endpoint.warmth, 0)
        self._enter(endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        del self._entries[endpoint]
        self._queued.discard(endpoint)

    def take(self, avoid: Collection[Endpoint] = (), key: int | None = None) -> Endpoint | None:  # noqa: ARG002  # as above
        turns = self._turns
        passed: list[tuple[float, int, Endpoint]] = []
        taken: Endpoint | None = None
        while (turn := self._first()) is not None:
            if turn[2] in avoid:
                passed.append(heappop(turns))
                continue
            taken = turn[2]
            break
        for turn in passed:
            heappush(turns, turn)
        if taken is None and passed:
            taken = passed[0][2]
        return None if taken is None else self._up(taken)

    def give_back(self, endpoint: Endpoint) -> None:
        endpoint.in_flight -= 1
        if endpoint not in self._queued:
            self._enter(endpoint)

    def spare(self, avoid: Collection[Endpoint]) -> bool:
        return len(self._queued) > sum(endpoint in self._queued for endpoint in set(avoid))

    def relimit(self, limit: int) -> None:
        self.limit = limit
        for endpoint in self._entries:
            if self._full(endpoint):
                self._queued.discard(endpoint)
            elif endpoint not in self._queued:
                self._enter(endpoint)

    def _enter(self, endpoint: Endpoint) -> None:
        if self._full(endpoint):
            return
        self._serial += 1
        due = max(self._time, self._entries[endpoint][0])
        self._entries[endpoint] = (due, self._serial)
        self._queued.add(endpoint)
        heappush(self._turns, (due, self._serial, endpoint))

    def _first(self) -> tuple[float, int, Endpoint] | None:
        turns = self._turns
        while turns:
            turn = turns[0]
            endpoint = turn[2]
            if endpoint in self._queued and self._entries[endpoint][1] == turn[1]:
                return turn
            heappop(turns)
        return None

    def _up(self, endpoint: Endpoint) -> Endpoint:
        due, serial = self._entries[endpoint]
        endpoint.in_flight += 1
        self._time = max(self._time, due)
        self._serial += 1
        later = (due + 1.0 / endpoint.warmth, self._serial)
        self._entries[endpoint] = later
        if self._full(endpoint):
            self._queued.discard(endpoint)
        elif self._turns[0][1] == serial:
            heapreplace(self._turns, (*later, endpoint))
        else:
            heappush(self._turns, (*later, endpoint))
        return endpoint

    def _full(self, endpoint: Endpoint) -> bool:
        return 0 < self.limit <= endpoint.in_flight

    def __repr__(self) -> str:
        return f"<RoundRobin of {len(self._entries)}>"


class FirstAvailable(Picker):
    """The one that came first of those that have a free slot: load is packed onto few, so that the others can go."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._heap: list[tuple[int, Endpoint]] = []
        self._heaped: set[Endpoint] = set()
        self._free: set[Endpoint] = set()
        """Those in the heap that count; the rest is passed over when it comes up."""
        self._listed: dict[Endpoint, None] = {}

    def add(self, endpoint: Endpoint) -> None:
        self._listed[endpoint] = None
        self._enter(endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        del self._listed[endpoint]
        self._free.discard(endpoint)

    def take(self, avoid: Collection[Endpoint] = (), key: int | None = None) -> Endpoint | None:  # noqa: ARG002  # as above
        heap = self._heap
        passed: list[tuple[int, Endpoint]] = []
        taken: Endpoint | None = None
        while heap:
            endpoint = heap[0][1]
            if endpoint not in self._free:
                self._heaped.discard(heappop(heap)[1])
            elif endpoint in avoid:
                passed.append(heappop(heap))
            else:
                taken = endpoint
                break
        for place in passed:
            heappush(heap, place)
        if taken is None and passed:
            taken = passed[0][1]
        if taken is not None:
            taken.in_flight += 1
            if 0 < self.limit <= taken.in_flight:
                self._free.discard(taken)
        return taken

    def give_back(self, endpoint: Endpoint) -> None:
        endpoint.in_flight -= 1
        if endpoint not in self._free:
            self._enter(endpoint)

    def spare(self, avoid: Collection[Endpoint]) -> bool:
        return len(self._free) > sum(endpoint in self._free for endpoint in set(avoid))

    def relimit(self, limit: int) -> None:
        self.limit = limit
        for endpoint in self._listed:
            if 0 < limit <= endpoint.in_flight:
                self._free.discard(endpoint)
            elif endpoint not in self._free:
                self._enter(endpoint)

    def _enter(self, endpoint: Endpoint) -> None:
        if 0 < self.limit <= endpoint.in_flight:
            return
        self._free.add(endpoint)
        if endpoint not in self._heaped:
            self._heaped.add(endpoint)
            heappush(self._heap, (endpoint.number, endpoint))

    def __repr__(self) -> str:
        return f"<FirstAvailable of {len(self._listed)}>"
