"""Starts that requests waited for, from the moment that a gateway asked to the first byte of an answer, by phase.

Several tell of one start, in any order: this autoscaler when it first decided, a gateway when it asked, when the pod was ready to it and
when it answered, whoever runs the pod what came in between. What nobody tells leaves its phase out, and the time counts for the next
one. Phases are never negative: a cluster tells whole seconds of a clock of its own, so that what is told is held within what is known better.

Core. Times are those of the controller's clock. Memory: the last start of each Backend that had one, its histograms, and a bounded
number of starts that somebody may yet tell of. `controller` calls, `metrics` and `admin` show.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from autoscaler.plan import Milestones
from gateway.stats import Histogram

PHASES = ("decided", "created", "scheduled", "initialized", "pulled", "started", "ready", "first_byte")
"""Each named by what ends it, in their order. Init containers, which may load a model, run before the image of the others is pulled."""
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds in seconds."""
PATIENCE = 10.0
"""Seconds after the first byte for which a start may be told more of: a kubelet's status and Events take a while."""
MOST_OPEN = 200
"""Starts that are waited for; of more the oldest are taken as they are."""
_SAME_WAKING = 5.0
"""Seconds without a decision to wake after which the next one belongs to another start; decisions come every two."""

_ON_THE_WAY = 1.0
"""Seconds that a beat may take: gateways tell how long ago a start was asked for, so that it seems to be later than it was, if only by
milliseconds, and the decision to come before it.
"""


@dataclass(slots=True)
class ColdStart:
    """One start of one Backend."""

    pod: str
    """The uid of the pod that answered first."""
    asked: float
    """When a gateway first had a request for which no pod was ready."""
    ready: float
    """When that gateway could send it to the pod."""
    first_byte: float
    decided: float | None = None
    milestones: tuple[float | None, ...] = (None,) * len(Milestones._fields)
    """When, in the order of Milestones."""

    @property
    def seconds(self) -> float:
        return max(0.0, self.first_byte - self.asked)

    def learn(self, known: Milestones, now: float) -> None:
        """What was known before stays; the pod may be gone by now."""
        pairs = zip(self.milestones, known, strict=True)
        self.milestones = tuple(now - ago if at is None and ago is not None else at for at, ago in pairs)

    def phases(self) -> dict[str, float]:
        """Seconds by phase, in their order; they add up to the whole."""
        found: dict[str, float] = {}
        last, ready = self.asked, max(self.asked, self.ready)
        times = (self.decided, *self.milestones, self.ready, max(self.ready, self.first_byte))
        for phase, told in zip(PHASES, times, strict=True):
            if told is not None:
                at = max(last, told if phase == "first_byte" else min(told, ready))
                found[phase], last = at - last, at
        return found


@dataclass(slots=True)
class _Waking:
    since: float
    last: float


class ColdStarts:
    """Of all Backends."""

    def __init__(self) -> None:
        self._waking: dict[str, _Waking] = {}
        self._open: dict[tuple[str, str], ColdStart] = {}
        """By Backend and pod, oldest first."""
        self._last: dict[str, ColdStart] = {}
        self._seconds: dict[str, dict[str, Histogram]] = {}
        """By Backend and phase."""

    def decided(self, backend: str, now: float) -> None:
        """It was decided that there shall be pods, while requests wait and none is ready. Told with each such decision."""
        waking = self._waking.get(backend)
        if waking is None or now - waking.last > _SAME_WAKING:
            self._waking[backend] = _Waking(now, now)
        else:
            waking.last = now

    def answered(self, backend: str, start: ColdStart) -> None:
        """A gateway has had the first byte. Of several that waited at the same time, the first to tell counts."""
        last = self._last.get(backend)
        if last is not None and start.asked <= last.first_byte:
            return
        waking = self._waking.pop(backend, None)
        if waking is not None and waking.last >= start.asked - _ON_THE_WAY:
            start.decided = waking.since
        self._open[backend, start.pod] = start
        self._last[backend] = start

    def look(self, find: Callable[[str, str], Milestones | None], now: float, *, counts: bool) -> None:
        """Take in what `find` knows by now of the pods (Backend, uid) that are waited for; `counts`: those that are done enter the histograms."""
        crowded = len(self._open) - MOST_OPEN
        for index, ((backend, pod), start) in enumerate(list(self._open.items())):
            known = find(backend, pod) or Milestones()
            start.learn(known, now)
            if known.whole or now - start.first_byte > PATIENCE or index < crowded:
                del self._open[backend, pod]
                if counts:
                    self._count(backend, start.phases())

    def last(self, backend: str) -> ColdStart | None:
        """The latest; more may yet become known of it."""
        return self._last.get(backend)

    def seconds(self) -> Iterator[tuple[str, Mapping[str, Histogram]]]:
        """By Backend the histograms by phase."""
        yield from list(self._seconds.items())

    def drop(self, backend: str) -> None:
        """It is controlled no longer."""
        for known in (self._waking, self._last, self._seconds):
            known.pop(backend, None)
        for key in [key for key in self._open if key[0] == backend]:
            del self._open[key]

    def _count(self, backend: str, phases: Mapping[str, float]) -> None:
        histograms = self._seconds.setdefault(backend, {})
        for phase, seconds in phases.items():
            histograms.setdefault(phase, Histogram(BOUNDS)).observe(seconds)

    def __repr__(self) -> str:
        return (
            f"<ColdStarts of {len(self._last)} backends, {len(self._waking)} waking, {len(self._open)} open>"
        )
