"""Deadlines by the thousand on one coarse wheel, so that a request costs no timer of its own; a stopwatch for those that run at times.

Core: told the time. An item stands in at most one tick: the earliest it asked for. When that comes it is asked again and may
name a later time, so moving a deadline further away costs nothing: the usual case of a request that is in time.
`server` turns the wheel, `downstream` and `exchange` ride on it.
"""

from math import ceil, inf
from typing import Protocol

TICK = 0.05
"""Seconds between two turns of a gateway's wheel, and so between two looks at those who wait."""


class Timed(Protocol):
    """Something with a deadline."""

    scheduled: float
    """The time at which the wheel will ask next; the wheel writes it. Starts as infinity."""

    def on_time(self, now: float) -> float:
        """Do what is due; return the next time to ask, or infinity for none."""


class TimerWheel:
    """Items by tick. A deadline is kept to within one tick, and is never early."""

    def __init__(self, now: float, tick: float = TICK) -> None:
        self.tick = tick
        """Seconds."""
        self._slots: dict[int, set[Timed]] = {}
        self._turned = int(now / tick)

    def arm(self, item: Timed, when: float) -> None:
        """Ask `item` at `when` or sooner; nothing to do if it will be asked before that anyway."""
        if when >= item.scheduled:
            return
        if item.scheduled < inf:
            self.disarm(item)
        item.scheduled = when
        self._slots.setdefault(self._slot(when), set()).add(item)

    def disarm(self, item: Timed) -> None:
        """Forget an item whose life is over, so that the wheel does not keep it until its time would have come."""
        if item.scheduled < inf:
            at = self._slot(item.scheduled)
            items = self._slots.get(at, set())
            items.discard(item)
            if not items:
                self._slots.pop(at, None)
            item.scheduled = inf

    def turn(self, now: float) -> None:
        """Ask everything that is due by `now`."""
        due = int(now / self.tick)
        for slot in range(self._turned + 1, due + 1):
            self._turned = slot
            for item in self._slots.pop(slot, ()):
                # Whoever was asked before it may have disarmed it, or armed it anew.
                if item.scheduled < inf and ceil(item.scheduled / self.tick) <= slot:
                    item.scheduled = inf
                    self.arm(item, item.on_time(now))

    def _slot(self, when: float) -> int:
        """Where an item that asked for `when` stands; what was due already is asked at the next tick."""
        return max(ceil(when / self.tick), self._turned + 1)

    def __repr__(self) -> str:
        return f"<TimerWheel {sum(map(len, self._slots.values()))} items, {len(self._slots)} slots>"


class Stopwatch:
    """Seconds during which something was so."""

    __slots__ = ("_since", "_total")

    def __init__(self) -> None:
        self._total = 0.0
        self._since: float | None = None

    def set(self, *, running: bool, now: float) -> None:
        self._total = self.read(now)
        self._since = now if running else None

    def read(self, now: float) -> float:
        return self._total if self._since is None else self._total + now - self._since
