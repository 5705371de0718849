"""From Backends to beats: what changed since the last one, and a nudge for what cannot wait.

Core: told the time. Keeps the last readings per Backend; an idle Backend costs one comparison and is left out.
`server` makes a beat each second, `admin` streams them, the autoscaler's collector adds them up.
"""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import islice

from gateway.backend import Backend
from gateway.stats import LATENCY_BOUNDS, BackendStats, Beat, Stat

MOST_WAITERS = 1000
"""Of one Backend, whose waiting time a beat looks at: those in front, which have waited longest. They take 0.2 ms."""

Reading = tuple[float, float, int, int, int, float]
_NEW: Reading = (0.0, 0.0, 0, 0, 0, 0.0)
Counts = dict[str, list[int]]
"""By latency: how many there were within each of LATENCY_BOUNDS, since the Backend was made."""


class BeatMaker:
    """The beats of one gateway."""

    def __init__(self, gateway: str, now: float) -> None:
        self.gateway = gateway
        self.seq = 0
        self._last = now
        self._readings: dict[str, Reading] = {}
        self._counts: dict[str, Counts] = {}
        """Of Backends that scale on latencies, as of the last Stat."""
        # Of the beat that is being made
        self._duration = 0.0
        self._before: dict[str, Reading] = {}
        self._counts_before: dict[str, Counts] = {}
        self._stats: dict[str, Stat] = {}
        self._draining: dict[str, dict[str, int]] = {}

    def beat(self, backends: Iterable[Backend], now: float) -> Beat:
        """All busy Backends' Stats since the last beat, and every draining Endpoint, at once."""
        self.begin(now)
        self.add(backends, now)
        return self.end()

    def begin(self, now: float) -> None:
        """Start a beat, to be made in parts: a thousand busy Backends take 10 ms."""
        self._duration, self._last = now - self._last, now
        self._stats, self._draining = {}, {}
        # Readings of Backends that are gone go with them: one that comes back under the same name counts from zero.
        self._before, self._readings = self._readings, {}
        self._counts_before, self._counts = self._counts, {}

    def add(self, backends: Iterable[Backend], now: float) -> dict[str, Stat]:
        """Read some more of them. Each one's seconds run from its last reading to this one, so that sums over time stay exact."""
        part: dict[str, Stat] = {}
        for backend in backends:
            stat = self._stat(backend, now)
            if stat is not None:
                part[backend.name] = stat
            marked = {endpoint.uid: endpoint.in_flight for endpoint in backend.draining()}
            if marked:
                self._draining[backend.name] = marked
        self._stats.update(part)
        return part

    def end(self) -> Beat:
        """The beat that was begun."""
        self.seq += 1
        return Beat(self.gateway, self.seq, self._duration, self._stats, self._draining)

    def nudge(self, backend: Backend) -> Beat:
        """One Backend's counts of this moment, for a decision at once."""
        stat = Stat(in_flight=backend.in_flight, queued=backend.breaker.queued, endpoints=_busy(backend))
        return Beat(self.gateway, self.seq, 0.0, {backend.name: stat}, nudge=True)

    def _stat(self, backend: Backend, now: float) -> Stat | None:
        new = _read(backend, now)
        old = self._before.get(backend.name, _NEW)
        if new[2] < old[2] or new[3] < old[3]:  # taken out and in again within a second, it counts from zero
            old = _NEW
            self._counts_before.pop(backend.name, None)
        self._readings[backend.name] = new
        started = backend.activator.told(now)
        if new == old and not backend.in_flight and not backend.breaker.queued and not started:
            if backend.stats.tells and backend.name in self._counts_before:
                self._counts[backend.name] = self._counts_before[backend.name]
            return None
        latencies = self._latencies(backend, now) if backend.stats.tells else {}
        # No reader takes less than nothing, if only by a rounding.
        in_flight, queued, begun, ended, waits, wait_seconds = (
            max(0, b - a) for a, b in zip(old, new, strict=True)
        )
        return Stat(
            in_flight,
            queued,
            int(begun),
            int(ended),
            int(waits),
            wait_seconds,
            backend.in_flight,
            backend.breaker.queued,
            _busy(backend),
            latencies.get("queue_wait", {}),
            latencies.get("response_time", {}),
            started,
        )

    def _latencies(self, backend: Backend, now: float) -> dict[str, dict[int, int]]:
        """By latency: what has come since the last Stat; of waits also those of this moment."""
        name, kinds = backend.name, backend.stats.tells
        counts = self._counts[name] = {kind: _counts(backend, kind) for kind in kinds}
        # What a Backend did before it was told to count is not of this beat; one that is new has done nothing before.
        unknown = counts if name in self._before else {kind: [0] * len(counts[kind]) for kind in kinds}
        before = unknown | self._counts_before.get(name, {})
        found = {kind: _growth(before[kind], counts[kind]) for kind in kinds}
        if "queue_wait" in found:
            _add_waiting(found["queue_wait"], backend, now)
        return found

    def __repr__(self) -> str:
        return f"<BeatMaker {self.gateway} seq={self.seq}>"


def _read(backend: Backend, now: float) -> Reading:
    stats = backend.stats
    return (
        stats.in_flight.total(now),
        stats.queued.total(now),
        stats.begun,
        stats.ended,
        stats.waits,
        stats.wait_seconds,
    )


def _counts(backend: Backend, kind: str) -> list[int]:
    if kind == "response_time":
        each = [traffic.duration.counts for traffic in backend.traffic.values()]
        return [sum(counts) for counts in zip(*each, strict=True)] or [0] * (len(LATENCY_BOUNDS) + 1)
    counts = list(backend.stats.queue_wait.counts)
    counts[0] += _at_once(backend.stats)
    return counts


def _at_once(stats: BackendStats) -> int:
    """Requests that did not wait: a percentile is of all requests, or one that waits would be 100 % of those that do."""
    return stats.begun - stats.waits - stats.queued.value


def _growth(before: list[int], after: list[int]) -> dict[int, int]:
    grown = ((index, new - old) for index, (old, new) in enumerate(zip(before, after, strict=True)))
    return {index: count for index, count in grown if count > 0}


def _add_waiting(counts: dict[int, int], backend: Backend, now: float) -> None:
    for waiter in islice(backend.breaker.waiting, MOST_WAITERS):
        index = bisect_left(LATENCY_BOUNDS, now - waiter.since)
        counts[index] = counts.get(index, 0) + 1


def _busy(backend: Backend) -> dict[str, int]:
    return {endpoint.uid: endpoint.in_flight for endpoint in backend.endpoints.values() if endpoint.in_flight}
