"""From Backends to beats: what changed since the last one, and a nudge for what cannot wait.

Core: told the time. Keeps the last readings per Backend; an idle Backend costs one comparison and is left out.
`server` makes a beat each second, `admin` streams them, the autoscaler's collector adds them up.
"""

from collections.abc import Iterable

from gateway.backend import Backend
from gateway.stats import Beat, Stat

Reading = tuple[float, float, int, int, int, float]


class BeatMaker:
    """The beats of one gateway."""

    def __init__(self, gateway: str, now: float) -> None:
        self.gateway = gateway
        self.seq = 0
        self._last = now
        self._readings: dict[str, Reading] = {}
        # Of the beat that is being made
        self._duration = 0.0
        self._before: dict[str, Reading] = {}
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
        old = self._before.get(backend.name, (0.0, 0.0, 0, 0, 0, 0.0))
        self._readings[backend.name] = new
        if new == old and not backend.in_flight and not backend.breaker.queued:
            return None
        in_flight, queued, begun, ended, waits, wait_seconds = (b - a for a, b in zip(old, new, strict=True))
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
        )

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


def _busy(backend: Backend) -> dict[str, int]:
    return {endpoint.uid: endpoint.in_flight for endpoint in backend.endpoints.values() if endpoint.in_flight}
