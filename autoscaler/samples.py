"""Samples that somebody fetches now and then, and their average over time.

A sample holds until the next one, but for at most three intervals; after that nothing is known. So the average over a window is that of a
curve with steps, and where the curve has a hole, the average is over what is there: a scrape that failed is no zero.
Told and read by `series`. Times are seconds since the epoch.
"""

import math
from array import array
from typing import NamedTuple

HOLDS = 3
"""Intervals."""


class PackedSamples(NamedTuple):
    """Samples as plain values, for a snapshot."""

    window: float
    interval: float
    taken: list[tuple[float, float]]
    """When, and the value; times rise."""
    failure: str
    failed_at: float | None


class Samples:
    """The samples of one metric over a window."""

    __slots__ = ("_failed_at", "_failure", "_holds", "_times", "_values", "_window")

    def __init__(self, window: float, interval: float) -> None:
        self._window = window
        self._holds = HOLDS * interval
        self._times = array("d")
        self._values = array("d")
        self._failure = ""
        """Why the last attempt brought nothing; empty when it did."""
        self._failed_at: float | None = None
        """When the first attempt failed since the last that did not."""

    def put(self, value: float, now: float) -> None:
        """A sample, taken now."""
        self._failure, self._failed_at = "", None
        if self._times and now <= self._times[-1]:
            self._values[-1] = value
            return
        outlived = sum(time <= now - self._window for time in self._times[1:])
        del self._times[:outlived], self._values[:outlived]
        self._times.append(now)
        self._values.append(value)

    def failed(self, reason: str, now: float) -> None:
        """An attempt brought nothing."""
        self._failure = reason
        self._failed_at = now if self._failed_at is None else self._failed_at

    def fresh(self, now: float) -> bool:
        """Whether the last sample still holds."""
        return bool(self._times) and now - self._times[-1] <= self._holds

    def missing(self, now: float) -> str:
        """Since when nothing is known, and why; empty while something is."""
        if self.fresh(now):
            return ""
        why = f" ({self._failure})" if self._failure else ""
        since = self._times[-1] if self._times else self._failed_at
        return f"yet{why}" if since is None else f"since {now - since:.0f} s{why}"

    def average(self, now: float, seconds: float, fading: float = 0.0) -> float:
        """The mean of the last `seconds`; `fading`: a second weighs this share less than the next one. Of nothing at all it is 0."""
        total = weight = 0.0
        until = now
        for time, value in zip(reversed(self._times), reversed(self._values), strict=True):
            if until <= now - seconds:
                break
            start, end = max(time, now - seconds), min(until, time + self._holds, now)
            if end > start:
                share = _weight(now - end, now - start, fading)
                total += value * share
                weight += share
            until = time
        if weight:
            return total / weight
        return self._values[-1] if self._times else 0.0

    def packed(self) -> PackedSamples:
        """What it holds, to be unpacked elsewhere."""
        taken = list(zip(self._times, self._values, strict=True))
        return PackedSamples(self._window, self._holds / HOLDS, taken, self._failure, self._failed_at)

    @classmethod
    def unpacked(cls, packed: PackedSamples) -> "Samples":
        """The same samples again."""
        made = cls(packed.window, packed.interval)
        for time, value in packed.taken:
            made.put(value, time)
        made._failure, made._failed_at = packed.failure, packed.failed_at
        return made

    def resize(self, window: float, interval: float) -> None:
        """Keep what is there under another length or interval; what is too much goes with the next sample."""
        self._window, self._holds = window, HOLDS * interval

    def __repr__(self) -> str:
        return f"<Samples {len(self._times)} over {self._window:g} s{': ' + self._failure if self._failure else ''}>"


def _weight(youngest: float, oldest: float, fading: float) -> float:
    """Of the time between two ages: its length, or what is left of it when each second of age takes a share away."""
    if not fading:
        return oldest - youngest
    kept = math.log1p(-fading)
    return math.exp(kept * youngest) - math.exp(kept * oldest)
