"""Rings of time buckets: the averages that decisions are made from, and the maximum that delays a scale-down.

`Window` follows the rules of Knative's bucket aggregation, so that its averages agree to the last digit: times fall
into buckets aligned to the epoch, a gap counts as zeros, and a window that is only partly written is averaged over
the part that was. The stable and the panic window are two Windows that are told the same data.

Invariants: a ring never holds a bucket older than its length; reading changes nothing. `now` is in seconds whose
zero is the epoch, since the buckets are aligned to it. Told and read by `collector`; `kpa` keeps a MaxWindow.
"""

import math
from array import array
from dataclasses import dataclass, replace
from typing import NamedTuple

_DIGITS = 1e6
_LEAST_SMOOTHING = 0.2
_WEIGHT_LEFT_OUT = 0.0001  # the weights over one window add up to 0.9999


class PackedWindow(NamedTuple):
    """A Window as plain values, for a snapshot."""

    window: float
    first: int
    values: list[float]
    """By bucket, from the first one that counts on; empty: nothing was recorded."""


def _bucket(now: float, granularity: float) -> int:
    return math.floor(now / granularity)


def _round(value: float) -> float:
    """Six digits, halves away from zero: 2.5e-6 gives 3e-6, where Python's `round` would give 2e-6."""
    scaled = value * _DIGITS
    whole = math.trunc(scaled)
    if abs(scaled - whole) >= 0.5:
        whole += 1 if scaled > 0 else -1
    return whole / _DIGITS


def smoothing(buckets: int) -> float:
    """How much less each bucket weighs than the next newer one, when weights fall exponentially over a window of so many."""
    weight: float = 1 - _WEIGHT_LEFT_OUT ** (1 / buckets)
    return max(weight, _LEAST_SMOOTHING)


class Window:
    """Sums per bucket over the last `window` seconds, in buckets of `granularity` seconds."""

    __slots__ = ("_buckets", "_first", "_granularity", "_last", "_smoothing", "_total", "_window")

    def __init__(self, window: float, granularity: float) -> None:
        self._granularity = granularity
        # One ring; `_first` and `_last` number the buckets written first and last, in granularities since the epoch.
        self._first = 0
        self._last: int | None = None
        self._clear(window)

    def __repr__(self) -> str:
        written = (
            "empty" if self._last is None else f"buckets {self._first} to {self._last}, sum {self._total:g}"
        )
        return f"<Window {self._window:g} s by {self._granularity:g} s: {written}>"

    def record(self, now: float, value: float) -> None:
        """Add to the bucket of `now`. Buckets skipped since the last one hold zero; what is older than the window is ignored."""
        index = _bucket(now, self._granularity)
        size = len(self._buckets)
        if self._last is None or index - self._last >= size:
            self._clear(self._window)
            self._first = self._last = index
        elif index <= self._last - size:
            return
        for skipped in range(self._last + 1, index + 1):
            self._total -= self._buckets[skipped % size]
            self._buckets[skipped % size] = 0.0
        self._first = min(self._first, index)
        self._last = max(self._last, index)
        self._buckets[index % size] += value
        self._total += value

    def average(self, now: float) -> float:
        """The mean over the buckets that count, to six digits; 0 when nothing came for a window's length.

        Of a window of 60 s first written 6 s ago, 7 buckets count; of one last written 10 s ago, 50.
        """
        last, buckets = self._last, self._buckets
        size = len(buckets)
        silent = self._silent(now)
        if last is None or silent >= size:
            return 0.0
        total = self._total
        for outdated in range(last + 1, last + silent + 1):
            total -= buckets[outdated % size]
        return _round(total / min(last - self._first + 1, size - silent))

    def weighted_average(self, now: float) -> float:
        """The exponentially weighted mean: each bucket weighs (1 - smoothing) times the next newer one.

        A window that is only partly written reads low: what is missing weighs as zeros.
        """
        if self._last is None or self.is_empty(now):
            return 0.0
        size = len(self._buckets)
        silent = self._silent(now)
        weight = self._smoothing * (1 - self._smoothing) ** silent
        total = 0.0
        for age in range(size - silent):
            total += self._buckets[(self._last - age) % size] * weight
            weight *= 1 - self._smoothing
        return total

    def is_empty(self, now: float) -> bool:
        """Whether nothing was recorded for longer than the window."""
        return self._last is None or self._silent(now) * self._granularity > self._window

    def resize(self, now: float, window: float) -> None:
        """Change the length and keep the buckets that fit.

        Unlike Knative's, a window that was only partly written stays so: a reload five seconds after a start must not
        turn the average of five seconds into a twelfth of it.
        """
        if window == self._window:
            return
        old, last = self._buckets, self._last
        outlived = self.is_empty(now)
        self._clear(window)
        if last is None or outlived:
            self._last = None
            return
        size = len(self._buckets)
        kept = range(max(self._first, last - min(size, len(old)) + 1), last + 1)
        for index in kept:
            self._buckets[index % size] = old[index % len(old)]
        self._total = sum(self._buckets)
        self._first = kept.start

    def packed(self) -> PackedWindow:
        """What it holds, to be unpacked elsewhere."""
        if self._last is None:
            return PackedWindow(self._window, 0, [])
        size = len(self._buckets)
        start = (self._last + 1) % size
        counting = min(self._last - self._first + 1, size)
        values = (self._buckets[start:] + self._buckets[:start])[size - counting :]
        return PackedWindow(self._window, self._last - counting + 1, values.tolist())

    @classmethod
    def unpacked(cls, packed: PackedWindow, granularity: float) -> "Window":
        """The same window again."""
        made = cls(packed.window, granularity)
        size, last = len(made._buckets), packed.first + len(packed.values) - 1
        if packed.values:
            made._first, made._last, made._total = packed.first, last, sum(packed.values)
            for index, value in enumerate(packed.values, start=packed.first):
                made._buckets[index % size] = value
        return made

    def _clear(self, window: float) -> None:
        size = math.ceil(window / self._granularity)
        self._window = window
        self._buckets = array("d", bytes(8 * size))
        self._smoothing = smoothing(size)
        # Kept as a running sum, as Knative does: a fresh sum may differ in the last bit, and so in the sixth digit.
        self._total = 0.0

    def _silent(self, now: float) -> int:
        """Buckets begun since the last one written; all of them when none was."""
        last = self._last
        return len(self._buckets) if last is None else max(0, _bucket(now, self._granularity) - last)


@dataclass(frozen=True, slots=True)
class MaxWindow:
    """The largest of the whole numbers told over the last `window` seconds; a value, so that a State can hold it.

    Kept are only those that no later one exceeds, oldest first: each may still become the maximum.
    """

    window: float
    granularity: float
    falling: tuple[tuple[int, int], ...] = ()
    """(bucket, value), buckets rising and values falling."""

    @property
    def maximum(self) -> int:
        """0 when nothing was recorded yet."""
        return self.falling[0][1] if self.falling else 0

    @property
    def until(self) -> float:
        """When the maximum is forgotten, if something was recorded."""
        return (self.falling[0][0] + self._size) * self.granularity

    @property
    def _size(self) -> int:
        return math.ceil(self.window / self.granularity)

    def record(self, now: float, value: int) -> "MaxWindow":
        """The window after `value`; of several in one bucket the largest counts."""
        index, size = _bucket(now, self.granularity), self._size
        kept = tuple(old for old in self.falling if old[1] > value and index - old[0] < size)
        if kept and kept[-1][0] == index:
            return replace(self, falling=kept)
        return replace(self, falling=(*kept, (index, value)))

    def resize(self, window: float) -> "MaxWindow":
        """The same values under another length; those that it leaves out go with the next record."""
        return self if window == self.window else replace(self, window=window)
