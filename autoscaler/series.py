"""All windows of one Backend, by metric: from what gateways tell and what is sampled to the Readings that `kpa` decides on.

What gateways tell falls into buckets of a second, in a stable and a panic window per metric: averages of concurrency and rps, percentiles of
latencies. These windows exist only while the Backend is or was lately busy; an idle one costs a few numbers. Samples are kept as they are.

Core. `collector` keeps one of these per Backend and tells it the buckets that are complete.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from autoscaler.demand import Reading
from autoscaler.percentiles import HistogramWindow, PackedHistograms
from autoscaler.samples import PackedSamples, Samples
from autoscaler.spec import MetricSpec, MetricType, ScalingSpec
from autoscaler.window import PackedWindow, Window, smoothing
from gateway.stats import Stat

BUCKET = 1.0
_NONE: Mapping[int, int] = {}
_NO_SAMPLES: Mapping[str, Samples] = {}
"""Of the many that scale on what gateways tell; a dictionary of its own each takes 64 bytes."""
_UNTOLD = Reading(None, None)
_IDLE = Reading(0.0, 0.0)


class PackedMeasured(NamedTuple):
    """A Measured as plain values."""

    concurrency: float
    rps: float
    waits: Mapping[int, int]
    durations: Mapping[int, int]


class Measured:
    """What happened in one bucket, summed over gateways."""

    __slots__ = ("concurrency", "durations", "rps", "waits")

    def __init__(
        self,
        concurrency: float = 0.0,
        rps: float = 0.0,
        waits: Mapping[int, int] = _NONE,
        durations: Mapping[int, int] = _NONE,
    ) -> None:
        self.concurrency = concurrency
        self.rps = rps
        self.waits = waits
        self.durations = durations

    @classmethod
    def of(cls, stat: Stat, seconds: float) -> "Measured":
        """What one gateway tells of so many seconds, per second."""
        concurrency = (stat.in_flight_seconds + stat.queued_seconds) / seconds
        return cls(concurrency, stat.begun / seconds, stat.wait_counts, stat.duration_counts)

    def packed(self) -> PackedMeasured:
        """As plain values, for a snapshot."""
        return PackedMeasured(self.concurrency, self.rps, self.waits, self.durations)

    def rates(self) -> "Measured":
        """The same without counts, which belong to one bucket only, when it stands for several."""
        return Measured(self.concurrency, self.rps)

    def plus(self, other: "Measured") -> "Measured":
        return Measured(
            self.concurrency + other.concurrency,
            self.rps + other.rps,
            _merged(self.waits, other.waits),
            _merged(self.durations, other.durations),
        )

    def __bool__(self) -> bool:
        return bool(self.concurrency or self.rps or self.waits or self.durations)

    def __repr__(self) -> str:
        return f"<Measured {self.concurrency:g} in flight, {self.rps:g} requests/s>"


NOTHING = Measured()


def _merged(one: Mapping[int, int], other: Mapping[int, int]) -> Mapping[int, int]:
    if not one or not other:
        return one or other
    return {index: one.get(index, 0) + other.get(index, 0) for index in one.keys() | other.keys()}


class _Averages(NamedTuple):
    """Of concurrency or rps."""

    rps: bool
    stable: Window
    panic: Window

    def record(self, bucket: int, measured: Measured) -> None:
        value = measured.rps if self.rps else measured.concurrency
        self.stable.record(bucket, value)
        self.panic.record(bucket, value)

    def resize(self, bucket: int, stable: float, panic: float) -> None:
        self.stable.resize(bucket, stable)
        self.panic.resize(bucket, panic)


class _Percentiles(NamedTuple):
    """Of waits or durations."""

    waits: bool
    stable: HistogramWindow
    panic: HistogramWindow

    def record(self, bucket: int, measured: Measured) -> None:
        counts = measured.waits if self.waits else measured.durations
        self.stable.record(bucket, counts)
        self.panic.record(bucket, counts)

    def resize(self, bucket: int, stable: float, panic: float) -> None:
        self.stable.resize(bucket, stable)
        self.panic.resize(bucket, panic)


_Windows = _Averages | _Percentiles


class PackedSeries(NamedTuple):
    """A Series as plain values, for a snapshot."""

    since: int | None
    busy_at: int
    averages: dict[MetricType, tuple[PackedWindow, PackedWindow]] | None
    """Stable and panic window, by metric; None: the Backend idles."""
    percentiles: dict[MetricType, tuple[PackedHistograms, PackedHistograms]]
    samples: dict[str, PackedSamples]
    """By the metric's name."""


class Series:
    """One Backend's windows and samples."""

    __slots__ = ("_busy_at", "_new", "_samples", "_since", "_windows", "name", "spec")

    def __init__(self, name: str, spec: ScalingSpec) -> None:
        self.name = name
        self.spec = spec
        self._since: int | None = None
        """The bucket from which on absence has meant zero; None: the next value begins the windows."""
        self._busy_at = 0
        self._windows: dict[MetricType, _Windows] | None = None
        self._new: frozenset[MetricType] = frozenset()
        """What is measured since a reload of which no bucket has told yet."""
        self._samples = self._sampled(_NO_SAMPLES)

    @property
    def open(self) -> bool:
        """It is or was lately busy: absence has to be recorded, too."""
        return self._windows is not None

    # -- what gateways tell

    def record(self, bucket: int, measured: Measured) -> None:
        """What a bucket holds; of an idle Backend nothing need be recorded."""
        busy = bool(measured)
        if self._windows is None:
            if not busy:
                return
            self._windows = self._begin(bucket)
        for windows in self._windows.values():
            windows.record(bucket, measured)
        self._new = frozenset()
        if busy:
            self._busy_at = max(self._busy_at, bucket)
        elif bucket - self._busy_at > max(self.spec.stable_window, self.spec.panic_window):
            self._windows = None

    def note_pods(self, replicas: int, bucket: int) -> None:
        """At zero pods nothing is measured, as in Knative: what comes first is not averaged with the time before."""
        if self._windows is None:
            self._since = (bucket if self._since is None else self._since) if replicas else None

    def _begin(self, bucket: int) -> dict[MetricType, _Windows]:
        """New windows, holding the zeros that nobody wrote down while the Backend idled."""
        if self._since is None:
            self._since = bucket
        made = {metric.type: self._make(metric.type) for metric in self.spec.metrics if not metric.sampled}
        for windows in made.values():
            if isinstance(windows, _Averages):
                lengths = (self.spec.stable_window, self.spec.panic_window)
                for window, length in zip(windows[1:], lengths, strict=True):
                    first = max(min(self._since, bucket), bucket + 1 - math.ceil(length / BUCKET))
                    window.record(first, 0.0)
        return made

    def _make(self, kind: MetricType) -> _Windows:
        stable, panic = self.spec.stable_window, self.spec.panic_window
        if kind in {"concurrency", "rps"}:
            return _Averages(kind == "rps", Window(stable, BUCKET), Window(panic, BUCKET))
        return _Percentiles(kind == "queue_wait", HistogramWindow(stable), HistogramWindow(panic))

    # -- what is sampled

    def sample(self, metric: str, value: float, now: float) -> None:
        """A value of a sampled metric; of one that the Backend does not scale on (any more) it is left out."""
        samples = self._samples.get(metric)
        if samples is not None and math.isfinite(value):
            samples.put(value, now)
        elif samples is not None:
            samples.failed(f"the value is {value}", now)

    def failed(self, metric: str, reason: str, now: float) -> None:
        """There was nothing to be had."""
        samples = self._samples.get(metric)
        if samples is not None:
            samples.failed(reason, now)

    def renew(self, metric: str) -> None:
        """Forget what there was."""
        if metric in self._samples:
            self._samples = self._sampled(
                {name: each for name, each in self._samples.items() if name != metric}
            )

    def _sampled(self, before: Mapping[str, Samples]) -> Mapping[str, Samples]:
        made: dict[str, Samples] = {}
        for metric in self.spec.metrics:
            if metric.sampled:
                window = max(self.spec.stable_window, self.spec.panic_window)
                made[metric.name] = before.get(metric.name) or Samples(window, metric.interval)
                made[metric.name].resize(window, metric.interval)
        return made or _NO_SAMPLES

    # -- what is known

    def readings(self, bucket: int, now: float, *, heard: bool, ready: int) -> tuple[Reading, ...]:
        """One per metric. `heard`: some gateway has told something yet; `ready`: pods that samples can be taken of."""
        return tuple(
            [
                self._of_samples(metric, now, ready)
                if metric.interval
                else self._told(metric, bucket)
                if heard
                else _UNTOLD
                for metric in self.spec.metrics
            ]
        )

    def _told(self, metric: MetricSpec, bucket: int) -> Reading:
        if self._windows is None:
            return _IDLE
        if metric.type in self._new:
            return Reading(None, None, f"{metric.name} yet")
        windows = self._windows[metric.type]
        if isinstance(windows, _Percentiles):
            percent = metric.percentile
            return Reading(
                windows.stable.percentile(bucket, percent), windows.panic.percentile(bucket, percent)
            )
        if self.spec.averaging == "linear":
            return Reading(windows.stable.average(bucket), windows.panic.average(bucket))
        return Reading(windows.stable.weighted_average(bucket), windows.panic.weighted_average(bucket))

    def _of_samples(self, metric: MetricSpec, now: float, ready: int) -> Reading:
        samples = self._samples[metric.name]
        if not samples.fresh(now):
            if metric.of_pods and not ready:
                return _IDLE
            return Reading(None, None, f"{metric.name} {samples.missing(now)}")
        stable, panic = (
            samples.average(now, seconds, self._fading(metric, seconds))
            for seconds in (self.spec.stable_window, self.spec.panic_window)
        )
        return Reading(stable, panic)

    def _fading(self, metric: MetricSpec, seconds: float) -> float:
        weighted = self.spec.averaging == "weighted_exponential" and not metric.relative
        return smoothing(math.ceil(seconds / BUCKET)) if weighted else 0.0

    # -- reloads

    def respec(self, spec: ScalingSpec, bucket: int) -> None:
        """Measure otherwise from now on. Data are kept, but for those of metrics that are gone.

        A metric that is new while the Backend is busy has no data until the next bucket: that it reads nothing does not say that there is nothing.
        """
        self.spec = spec
        self._samples = self._sampled(self._samples)
        if self._windows is None:
            return
        before, self._windows = self._windows, {}
        for metric in spec.metrics:
            if metric.sampled or metric.type in self._windows:
                continue
            windows = before.get(metric.type) or self._make(metric.type)
            windows.resize(bucket, spec.stable_window, spec.panic_window)
            self._windows[metric.type] = windows
        self._new = (self._new | self._windows.keys() - before.keys()) & self._windows.keys()

    # -- snapshots

    def packed(self) -> PackedSeries:
        """What it holds, to be unpacked elsewhere."""
        averages: dict[MetricType, tuple[PackedWindow, PackedWindow]] = {}
        percentiles: dict[MetricType, tuple[PackedHistograms, PackedHistograms]] = {}
        for kind, windows in (self._windows or {}).items():
            if kind in self._new:
                continue
            if isinstance(windows, _Averages):
                averages[kind] = windows.stable.packed(), windows.panic.packed()
            else:
                percentiles[kind] = windows.stable.packed(), windows.panic.packed()
        samples = {name: samples.packed() for name, samples in self._samples.items()}
        told = averages if self.open else None
        return PackedSeries(self._since, self._busy_at, told, percentiles, samples)

    @classmethod
    def unpacked(cls, packed: PackedSeries, name: str, spec: ScalingSpec, bucket: int) -> "Series":
        """The same data again, measured as `spec` says: what it has that was not measured then is new."""
        made = cls(name, spec)
        made._since, made._busy_at = packed.since, packed.busy_at
        made._samples = {name: Samples.unpacked(samples) for name, samples in packed.samples.items()}
        if packed.averages is not None:
            made._windows = {}
            for kind, (stable, panic) in packed.averages.items():
                windows = Window.unpacked(stable, BUCKET), Window.unpacked(panic, BUCKET)
                made._windows[kind] = _Averages(kind == "rps", *windows)
            for kind, (stable_counts, panic_counts) in packed.percentiles.items():
                counts = HistogramWindow.unpacked(stable_counts), HistogramWindow.unpacked(panic_counts)
                made._windows[kind] = _Percentiles(kind == "queue_wait", *counts)
        made.respec(spec, bucket)
        return made

    def __repr__(self) -> str:
        names = ", ".join(metric.name for metric in self.spec.metrics)
        windows = "idle" if self._windows is None else list(self._windows.values())
        return f"<Series {self.name} by {names}: {windows}{f' {list(self._samples.values())}' if self._samples else ''}>"
