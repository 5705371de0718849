"""Who gets which pod, and who waits: the concurrency limit per Endpoint and the Backend's bounded queue.

Laws, held by property tests:
- an Endpoint never has more requests open than the limit (a lowered limit only stops new grants);
- a waiter waits only while no slot is free, so nobody waits behind a busy pod while another idles;
- nobody overtakes: a newcomer is served only when nobody waits, and those who wait go in the queue's order (`queues`);
- each waiter leaves exactly once: granted, withdrawn, or taken out as expired or pushed out.

Picking is exact least-requests in O(1): available Endpoints stand in rows by their requests in flight, each row in the
order in which they came into it, which makes ties round robin. `backend` owns a Breaker, `patience` keeps the clocks.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from math import inf
from typing import Any, Protocol

from gateway.errors import GatewayError
from gateway.queues import Fifo
from gateway.standing import ANYONE, Standing


class Endpoint:
    """One pod of a Backend: its address, its state, and the requests open to it."""

    __slots__ = (
        "draining",
        "host",
        "in_flight",
        "listed",
        "pool",
        "port",
        "ready",
        "refusal",
        "suspect",
        "trust",
        "uid",
    )

    def __init__(self, uid: str, host: str, port: int) -> None:
        self.uid = uid
        self.host = host
        self.port = port
        self.in_flight = 0
        self.ready = False
        self.draining = False
        self.suspect = False
        """It refused a connection; nothing new goes there until a probe gets through."""
        self.refusal: str | None = None
        """Why it is suspect, in words, where there are any."""
        self.listed = False
        """It stands in the Breaker's rows: it may be picked."""
        self.pool: Any = None
        """Connections to it. Theirs who open them; nothing here looks inside."""
        self.trust: Any = None
        """What its connections are held to, for those who open them; None: they are plain."""

    @property
    def available(self) -> bool:
        return self.ready and not self.draining and not self.suspect

    def __repr__(self) -> str:
        marks = [mark for mark in ("ready", "draining", "suspect") if getattr(self, mark)]
        return f"<Endpoint {self.uid} {self.host}:{self.port} in_flight={self.in_flight} {'+'.join(marks) or 'not ready'}>"


class Seeker(Protocol):
    """Who wants an Endpoint: an Exchange."""

    @property
    def held(self) -> int:
        """Bytes of its body that count against the gateway's bound."""

    def granted(self, endpoint: Endpoint, now: float) -> None: ...
    def refused(self, error: GatewayError) -> None: ...


class Waiter:
    """A queued request, as the queue needs to know it."""

    __slots__ = ("avoid", "cold", "due", "request", "served_at", "since", "size", "standing", "starved_at")

    def __init__(
        self,
        request: Seeker,
        since: float,
        avoid: Collection[Endpoint] = (),
        *,
        standing: Standing = ANYONE,
        size: int = 0,
        due: float = inf,
    ) -> None:
        self.request = request
        """Whom the grant is for; handed back untouched."""
        self.since = since
        self.avoid = avoid
        """Endpoints it would rather not get: those that failed it."""
        self.standing = standing
        self.size = size
        """Bytes that wait with it: its head, and what there is of its body."""
        self.due = due
        """When its time is over, whoever has it."""
        self.served_at = 0.0
        """The Backend's clocks as it began to wait: one runs while a pod is available, the other while none is."""
        self.starved_at = 0.0
        self.cold = False
        """It came when nothing was ready, so that it waits for a start."""

    def __repr__(self) -> str:
        return f"<Waiter {self.request!r} since={self.since:.3f}{' cold' if self.cold else ''}>"


class Breaker:
    """Slots per Endpoint and one queue for all of them."""

    def __init__(self, limit: int, depth: int) -> None:
        self.limit = limit
        """Requests open to one Endpoint at once; 0: no limit."""
        self.depth = depth
        self.bytes_limit = 0
        """Bytes that may wait at once; 0: no limit."""
        self.available = 0
        self.queued = 0
        self.bytes = 0
        """Those that wait."""
        self.queue = Fifo()
        self._rows: list[OrderedDict[Endpoint, None]] = [OrderedDict()]
        self._lowest = 0

    # -- slots

    def acquire(self) -> Endpoint | None:
        """Take a slot now, or None when there is none or others were first."""
        if self.queued or not self.available:
            return None
        # As `_take` does, in one piece: this is every request's way.
        rows = self._rows
        lowest = self._lowest
        while not rows[lowest]:
            lowest += 1
        self._lowest = lowest
        if lowest >= self.limit > 0:
            return None
        endpoint, _ = rows[lowest].popitem(last=False)
        endpoint.in_flight = in_flight = lowest + 1
        if in_flight == len(rows):
            rows.append(OrderedDict())
        rows[in_flight][endpoint] = None
        return endpoint

    def release(self, endpoint: Endpoint) -> None:
        """Give a slot back. Call `grants` next: somebody may have waited for it."""
        in_flight = endpoint.in_flight
        endpoint.in_flight = fewer = in_flight - 1
        if endpoint.listed:
            rows = self._rows
            del rows[in_flight][endpoint]
            rows[fewer][endpoint] = None
            if fewer < self._lowest:
                self._lowest = fewer

    def update(self, endpoint: Endpoint) -> None:
        """Look at an Endpoint again after its state changed; one that was never seen is thereby added."""
        if endpoint.available == endpoint.listed:
            return
        endpoint.listed = endpoint.available
        if endpoint.listed:
            self.available += 1
            self._row(endpoint.in_flight)[endpoint] = None
            self._lowest = min(self._lowest, endpoint.in_flight)
        else:
            self.available -= 1
            del self._rows[endpoint.in_flight][endpoint]

    def spare(self, avoid: Collection[Endpoint]) -> bool:
        """Whether there is a free slot now on an Endpoint outside of `avoid`."""
        return self._other(avoid) is not None

    # -- the queue

    @property
    def full(self) -> bool:
        return self.queued >= self.depth

    def enqueue(self, waiter: Waiter, now: float, *, first: bool = False) -> None:
        """Let it wait, behind the others or, when it has waited before, in front of them. Minding `full` is the caller's."""
        self.queue.add(waiter, now, first=first)
        self.queued += 1
        self.bytes += waiter.size

    def withdraw(self, waiter: Waiter) -> bool:
        """Take a waiter out; False when it had left already."""
        if not self.queue.remove(waiter):
            return False
        self._forget(waiter)
        return True

    def grow(self, waiter: Waiter, size: int) -> None:
        """More of what it brings waits with it."""
        waiter.size += size
        self.bytes += size

    def first(self) -> Waiter | None:
        """The one that waits longest."""
        return next(iter(self.queue), None)

    def waiters(self) -> Iterator[Waiter]:
        return iter(self.queue)

    def grants(self, now: float) -> list[tuple[Waiter, Endpoint]]:
        """Give free slots to waiters, the best first, until either runs out."""
        granted: list[tuple[Waiter, Endpoint]] = []
        queue = self.queue
        while self.queued:
            waiter = queue.best(now)
            endpoint = self._take(waiter.avoid)
            if endpoint is None:
                break
            queue.serve(waiter, now)
            self._forget(waiter)
            granted.append((waiter, endpoint))
        return granted

    def room_for(self, waiter: Waiter, places: int, size: int) -> list[Waiter] | None:
        """Who has to be pushed out for so many more places and bytes; None when that would not do either."""
        places = places if self.full else 0
        excess = self.bytes + size - self.bytes_limit if self.bytes_limit else 0
        pushed: list[Waiter] = []
        others = self.queue.gives_way(waiter)
        while places > 0 or excess > 0:
            victim = next(others, None)
            if victim is None:
                return None
            pushed.append(victim)
            places -= 1
            excess -= victim.size
        return pushed

    def requeue(self, queue: Fifo, now: float) -> None:
        """Wait in another discipline from now on."""
        for waiter in self.queue:
            queue.add(waiter, now, first=False)
        self.queue = queue

    def _forget(self, waiter: Waiter) -> None:
        self.queued -= 1
        self.bytes -= waiter.size

    # -- rows

    def _take(self, avoid: Collection[Endpoint] = ()) -> Endpoint | None:
        if not self.available:
            return None
        rows = self._rows
        while not rows[self._lowest]:
            self._lowest += 1
        if self.limit and self._lowest >= self.limit:
            return None
        endpoint = next(iter(rows[self._lowest]))
        if avoid and endpoint in avoid:
            endpoint = self._other(avoid) or endpoint
        self._move(endpoint, endpoint.in_flight + 1)
        return endpoint

    def _other(self, avoid: Collection[Endpoint]) -> Endpoint | None:
        for row in self._rows[: self.limit or None]:
            for endpoint in row:
                if endpoint not in avoid:
                    return endpoint
        return None

    def _move(self, endpoint: Endpoint, in_flight: int) -> None:
        del self._rows[endpoint.in_flight][endpoint]
        endpoint.in_flight = in_flight
        self._row(in_flight)[endpoint] = None
        if in_flight < self._lowest:
            self._lowest = in_flight

    def _row(self, in_flight: int) -> OrderedDict[Endpoint, None]:
        rows = self._rows
        while len(rows) <= in_flight:
            rows.append(OrderedDict())
        return rows[in_flight]

    def __repr__(self) -> str:
        return f"<Breaker limit={self.limit} available={self.available} queued={self.queued}/{self.depth}>"
