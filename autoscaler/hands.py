"""Who else sets a target's count: what others did is seen, and stands; nobody is fought.

A count that is neither what was there nor what was written from here is another hand's: a person with kubectl, a HorizontalPodAutoscaler, an
applied manifest. It stands until the demand is another than it was by then; requests that wait at zero wake the target all the same. A hand
that does so three times within ten minutes contests the target: from then on nothing is set, but one pod for requests that wait at
zero, until that hand has kept off for ten minutes or the target's scaling is configured anew.

Core, told counts, names and times. `target` asks it before it acts. What another autoscaler of ours wrote is no other hand's, and a new leader
begins with what it finds.
"""

from dataclasses import dataclass

OURS = "tidegate"
"""The name that the API server keeps of our writes: it is the User-Agent's."""
CONTESTED_AFTER = 3
"""Changes by one hand."""
WITHIN = 600.0
"""Seconds."""
UNNAMED = "another hand"


@dataclass(frozen=True, slots=True)
class Change:
    """Another hand has set the count."""

    before: int
    after: int
    by: str
    """Who, as the API server names it."""
    at: float
    contests: bool = False
    """It was the third."""

    def __str__(self) -> str:
        upshot = "it contests the count, and nothing is set any more" if self.contests else "that stands"
        return f"{self.by} has set the count from {self.before} to {self.after}: {upshot}"


class Hands:
    """Of one target. Times are seconds of one clock."""

    __slots__ = (
        "_contester",
        "_demand",
        "_known_of",
        "_recent",
        "_there",
        "_written",
        "changes",
        "contested_until",
        "last",
        "standing",
    )

    def __init__(self) -> None:
        self.changes = 0
        """By other hands, so far."""
        self.last: Change | None = None
        self.standing = False
        """What another hand has set stands."""
        self._known_of = ""
        self._there: int | None = None
        """The count that is known; None: whatever is found is no news."""
        self._written: tuple[int, ...] = ()
        """What was to be written from here, of which nobody knows yet whether it was done."""
        self._recent: tuple[tuple[float, str], ...] = ()
        self._contester = ""
        self.contested_until = 0.0
        """As things are; past or 0 when nobody contests it."""
        self._demand: int | None = None
        """What was last asked for: while a count stands, the same as when it was set."""

    # -- what is told

    def forget(self) -> None:
        """Another autoscaler leads, or nothing is known: the next count is found, and no change."""
        self._there, self.standing = None, False
        self._written = ()

    def forgive(self) -> None:
        """The target's scaling was configured anew."""
        self.standing, self._contester = False, ""
        self._recent = ()

    def writing(self, count: int) -> None:
        """From here the count is about to be set to this."""
        if count not in self._written:
            self._written += (count,)
        self.standing = False

    def wrote(self, count: int) -> None:
        """That was done. It may have been seen by now, and others may have come since."""
        if count in self._written:
            self._there, self._written = count, ()

    def look(self, count: int, setter: str, known_of: str, now: float) -> Change | None:
        """What is there, and who has set it ("" when nobody knows); the change, if it is another hand's.

        `known_of`: of which object, as which leader; where that is another, the count is found, and no change.
        """
        if known_of != self._known_of:
            self.forget()
        self._known_of = known_of
        before = self._there
        if count == before:
            return None
        self._there = count
        if count in self._written:
            self._written = self._written[self._written.index(count) + 1 :]
            return None
        self._written = ()
        if before is None or setter == OURS:
            return None
        return self._changed(before, count, setter or UNNAMED, now)

    def decided(self, demand: int | None) -> None:
        """What is asked for now; None without data. A count stands no longer than that stays the same."""
        if demand is None:
            return
        if self._demand is not None and demand != self._demand:
            self.standing = False
        self._demand = demand

    def _changed(self, before: int, after: int, by: str, now: float) -> Change:
        self.changes += 1
        self.standing = True
        self._recent = (*((at, who) for at, who in self._recent if now - at < WITHIN), (now, by))
        contester = self.contested(now)
        contests = not contester and sum(who == by for _, who in self._recent) >= CONTESTED_AFTER
        if contests:
            self._contester = by
        if contests or by == contester:
            self.contested_until = now + WITHIN
        self.last = Change(before, after, by, now, contests)
        return self.last

    # -- what may be done

    def aim(self, there: int, desired: int, now: float, *, waiting: bool) -> int:
        """The count to go for while `there` is set and `desired` is decided. `waiting`: for a first pod."""
        woken = waiting and there == 0 and desired > 0
        if self.contested(now):
            return 1 if woken else there
        if self.standing or self._unseen(there):
            return desired if woken else there
        return desired

    def contested(self, now: float) -> str:
        """By whom; empty when nobody does."""
        return self._contester if now < self.contested_until else ""

    def _unseen(self, there: int) -> bool:
        """Set by somebody since the last look, which will tell by whom."""
        return self._there is not None and there != self._there and there not in self._written

    def __repr__(self) -> str:
        stands = f", {self.last.after} stands" if self.standing and self.last else ""
        return f"<Hands {self.changes} changes by others{stands}>"
