"""Percentiles of latencies over a sliding window: of merged counts, never averages of percentiles.

`HistogramWindow` is told, per second, how many latencies fell between which bounds (`gateway.stats.LATENCY_BOUNDS`), by however many
gateways, and keeps the sum over its window. Kept are only the counts that are not zero, packed into numbers of eight bytes: a minute of
four different latencies per second takes 2 KB. Reading changes nothing. Told and read by `series`.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import NamedTuple

from gateway.stats import LATENCY_BOUNDS, quantile

_COUNT_BITS = 27
_BUCKET_SHIFT = 32
_MOST = (1 << _COUNT_BITS) - 1
_BOUND_MASK = (1 << (_BUCKET_SHIFT - _COUNT_BITS)) - 1
_LAST = len(LATENCY_BOUNDS)


class PackedHistograms(NamedTuple):
    """A HistogramWindow as plain values, for a snapshot."""

    window: int
    entries: list[int]
    """As they are kept: second, bound and count in one number."""


class HistogramWindow:
    """Counts per bound over the last `window` seconds."""

    __slots__ = ("_counts", "_entries", "_window")

    def __init__(self, window: float) -> None:
        self._window = int(window)
        self._entries = array("Q")
        """Second, bound and count in one number, oldest first."""
        self._counts = [0] * (_LAST + 1)

    def record(self, second: int, counts: Mapping[int, int]) -> None:
        """Add to a second, and let go of what is older than the window; a second older than that is ignored."""
        newest = max(second, self._newest)
        self._forget(newest)
        if second <= newest - self._window:
            return
        for index, count in counts.items():
            bound, kept = min(max(index, 0), _LAST), min(count, _MOST)
            if kept > 0:
                insort(self._entries, second << _BUCKET_SHIFT | bound << _COUNT_BITS | kept)
                self._counts[bound] += kept

    def percentile(self, second: int, percent: float) -> float:
        """Seconds, as of `second`; 0 when nothing was counted within the window."""
        counts = self._counts
        outdated = self._outdated(second)
        if outdated:
            counts = list(counts)
            for entry in self._entries[:outdated]:
                counts[_bound(entry)] -= entry & _MOST
        return quantile(LATENCY_BOUNDS, counts, percent / 100) or 0.0

    def resize(self, second: int, window: float) -> None:
        """Change the length and keep what fits."""
        self._window = int(window)
        self._forget(second)

    def packed(self) -> PackedHistograms:
        """What it holds, to be unpacked elsewhere."""
        return PackedHistograms(self._window, self._entries.tolist())

    @classmethod
    def unpacked(cls, packed: PackedHistograms) -> "HistogramWindow":
        """The same counts again."""
        made = cls(packed.window)
        made._entries = array("Q", packed.entries)
        for entry in made._entries:
            made._counts[_bound(entry)] += entry & _MOST
        return made

    @property
    def _newest(self) -> int:
        return self._entries[-1] >> _BUCKET_SHIFT if self._entries else 0

    def _outdated(self, second: int) -> int:
        return bisect_left(self._entries, (second - self._window + 1) << _BUCKET_SHIFT)

    def _forget(self, second: int) -> None:
        outdated = self._outdated(second)
        for entry in self._entries[:outdated]:
            self._counts[_bound(entry)] -= entry & _MOST
        del self._entries[:outdated]

    def __repr__(self) -> str:
        return f"<HistogramWindow {self._window} s: {sum(self._counts)} counted>"


def _bound(entry: int) -> int:
    return entry >> _COUNT_BITS & _BOUND_MASK
