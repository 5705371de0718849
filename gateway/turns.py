"""Whose turn it is among the tenants of one priority: one each in turn, or whoever has used least lately.

Core. Both know tenants with somebody waiting, by `join` and `leave`, and name the next; what a tenant is matters to neither. An
Account-book keeps slot-seconds with a half-life of a minute, of requests that are still open as well, so that ten long requests count before the first
of them ends. Since all accounts decay alike, their order changes only by what is used: a heap finds the least in O(log n). `queues` asks.
"""

from collections import OrderedDict
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from math import exp, inf, log

HALF_LIFE = 60.0
"""Seconds after which a slot-second counts half."""
MOST_ACCOUNTS = 1000
"""Kept of tenants that have nothing open: of those with the most use."""
_DECAY = log(2) / HALF_LIFE
_STALE = 16
"""Entries of the heap that may be out of date before it is made anew, beside as many as there are tenants."""


class RoundRobin:
    """One each in turn; who comes new is last."""

    def __init__(self) -> None:
        self._order: OrderedDict[bytes, None] = OrderedDict()

    def join(self, tenant: bytes, now: float, *, first: bool) -> None:  # noqa: ARG002  # time matters to the other
        """Somebody of it waits; `first`: it had its turn, and got nothing for it."""
        self._order[tenant] = None
        if first:
            self._order.move_to_end(tenant, last=False)

    def leave(self, tenant: bytes) -> None:
        """Nobody of it waits any more."""
        del self._order[tenant]

    def next(self, now: float) -> bytes:  # noqa: ARG002
        """Whose turn it is; there must be somebody."""
        return next(iter(self._order))

    def served(self, tenant: bytes, now: float) -> None:  # noqa: ARG002
        """It has had its turn, and more of it wait."""
        self._order.move_to_end(tenant)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._order)} tenants>"


class Account:
    """One tenant's slot-seconds."""

    __slots__ = ("open", "since", "used")

    def __init__(self, now: float) -> None:
        self.used = 0.0
        """As of `since`."""
        self.open = 0
        """Slots that it has."""
        self.since = now

    def settle(self, now: float) -> None:
        self.used = self.at(now)
        self.since = now

    def at(self, now: float) -> float:
        """Its use, decayed: each open slot adds a second a second, and approaches 1 / decay, 87 s."""
        kept = exp(-_DECAY * (now - self.since))
        return self.used * kept + self.open * (1 - kept) / _DECAY


class Accounts:
    """Who has used how much lately."""

    def __init__(self) -> None:
        self._accounts: dict[bytes, Account] = {}

    def begin(self, tenant: bytes, now: float) -> None:
        """It has one more slot from now on."""
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = Account(now)
            if len(self._accounts) > 2 * MOST_ACCOUNTS:
                self._forget(now)
        account.settle(now)
        account.open += 1

    def end(self, tenant: bytes, now: float) -> None:
        """It has one less; nothing, if it had none that is known here."""
        account = self._accounts.get(tenant)
        if account is not None and account.open:
            account.settle(now)
            account.open -= 1

    def used(self, tenant: bytes, now: float) -> float:
        """Its slot-seconds, decayed until now."""
        account = self._accounts.get(tenant)
        return 0.0 if account is None else account.at(now)

    def _forget(self, now: float) -> None:
        known = sorted(self._accounts.items(), key=lambda item: (item[1].open, item[1].at(now)))
        idle = len(known) - MOST_ACCOUNTS
        self._accounts = dict([item for item in known[:idle] if item[1].open] + known[idle:])

    def __repr__(self) -> str:
        return f"<Accounts of {len(self._accounts)} tenants>"


class LeastUse(RoundRobin):
    """Whoever has used least lately; of equals whose last turn is longest ago."""

    def __init__(self, accounts: Accounts) -> None:
        super().__init__()
        self._accounts = accounts
        self._turns = count(1)
        self._valid: dict[bytes, int] = {}
        """By tenant that waits: the turn that its one entry in the heap has."""
        self._heap: list[tuple[float, int, bytes]] = []

    def join(self, tenant: bytes, now: float, *, first: bool) -> None:
        turn = next(self._turns)
        self._enter(tenant, -turn if first else turn, now)

    def leave(self, tenant: bytes) -> None:
        del self._valid[tenant]

    def next(self, now: float) -> bytes:
        heap, valid = self._heap, self._valid
        while True:
            key, turn, tenant = heap[0]
            if valid.get(tenant) != turn:
                heappop(heap)
                continue
            # What has an open slot has used more since; every other entry is at least what it was when it was put here.
            present = self._key(tenant, now)
            if present <= key:
                return tenant
            heapreplace(heap, (present, turn, tenant))

    def served(self, tenant: bytes, now: float) -> None:
        self._enter(tenant, next(self._turns), now)

    def _enter(self, tenant: bytes, turn: int, now: float) -> None:
        self._valid[tenant] = turn
        heappush(self._heap, (self._key(tenant, now), turn, tenant))
        if len(self._heap) > 2 * len(self._valid) + _STALE:
            self._heap = [entry for entry in self._heap if self._valid.get(entry[2]) == entry[1]]
            heapify(self._heap)

    def _key(self, tenant: bytes, now: float) -> float:
        """Use with its decay undone, as a logarithm: without an open slot it stays what it is for ever."""
        used = self._accounts.used(tenant, now)
        return log(used) + _DECAY * now if used > 0 else -inf

    def __repr__(self) -> str:
        return f"<LeastUse of {len(self._valid)} tenants>"
