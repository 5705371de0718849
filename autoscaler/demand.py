"""What the metrics ask for: each one a number of pods, the largest of which counts, and the words that say so.

An amount (requests, cores) is shared among the pods: 7 in flight at target 2 are 4 pods, whoever is there now. A level (a wait) is what the
pods that are ready bring about together: at twice its target it asks for twice as many, and within a tenth of the target it is left alone,
as a HorizontalPodAutoscaler does, or one pod more and one less would take turns.

Core. Asked by `kpa`. Words are made when somebody reads them: ten thousand Backends decide every two seconds, and few are looked at.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autoscaler.spec import MetricSpec, ScalingSpec

TOLERANCE = 0.1
MOST_PODS = 1_000_000
"""That anything asks for: as many as `max` can be. A value may be as large as a float, and what it asks for has to stay a number."""
_SIZES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


@dataclass(slots=True)
class Reading:
    """What is known of one metric: its averages (of latencies: percentiles) over both windows."""

    stable: float | None
    """None without data."""
    panic: float | None
    missing: str = ""
    """Which samples are missing and since when, as in "cpu since 20 s (no answer)". What only gateways tell has it in Observed."""


@dataclass(slots=True)
class Demand:
    """The largest number of pods that a metric asks for over one window. As text: `3.2 in flight over 60 s want 5 at target 0.7`."""

    pods: int
    metric: MetricSpec
    value: float
    window: Literal["stable", "panic"]
    seconds: float

    def __str__(self) -> str:
        metric, value, over = self.metric, number(self.value), f"over {self.seconds:g} s"
        if metric.type == "concurrency":
            return f"{value} in flight {over} want {self.pods} at target {metric.target:g}"
        if metric.type == "rps":
            return f"{value} requests/s {over} want {self.pods} at target {metric.target:g}"
        near = ", which is near enough" if metric.relative and _near(self.value / metric.target) else ""
        value, target = in_unit(metric, self.value), in_unit(metric, metric.target)
        return f"{metric.name} of {value} {over} wants {self.pods} at target {target}{near}"


def asked(metric: MetricSpec, value: float, ready: int, replicas: int = 0) -> int:
    """Pods that one metric wants for this value.

    `replicas`: the count that is set. A level over a minute is not the work of the pods that happen to be ready now: were two of five ready, and the
    level as it should be, three would be taken away. So what is set is what it would keep or lessen, and what is ready what it would multiply.
    """
    times = value / metric.target
    if not metric.relative:
        return whole(times)
    there = max(1, ready)
    kept = max(there, replicas)
    if _near(times):
        return kept
    return whole(kept * times) if times < 1 else max(kept, whole(there * times))


def whole(pods: float) -> int:
    """Rounded up, and no more than there can be."""
    return math.ceil(min(max(pods, 0.0), MOST_PODS))


def _near(times: float) -> bool:
    return abs(times - 1) <= TOLERANCE


def most_for(metric: MetricSpec, pods: int, ready: int, replicas: int = 0) -> float:
    """The value up to which the metric wants no more than so many pods: `asked` the other way round."""
    if not metric.relative:
        return pods * metric.target
    there = max(1, ready)
    kept = max(there, replicas)
    if pods < kept:
        return min(pods / kept, 1 - TOLERANCE) * metric.target
    return max(pods / there, 1 + TOLERANCE) * metric.target  # within the tolerance it wants what is set


def demands(
    spec: ScalingSpec, readings: Sequence[Reading], ready: int, replicas: int = 0, *, quiet: bool = False
) -> tuple[Demand, Demand] | None:
    """The demands that count over the stable and over the panic window: of equal ones the first; None when no metric has data.

    `quiet`: no request has come for a while. Then cpu and memory, which a pod uses even while it idles, hold no pod by themselves.
    """
    calm: Demand | None = None
    surge: Demand | None = None
    for metric, reading in zip(spec.metrics, readings, strict=True):
        stable, panic = reading.stable, reading.panic
        if stable is None or panic is None:
            continue
        pods = asked(metric, stable, ready, replicas)
        if calm is None or pods > calm.pods:
            calm = Demand(pods, metric, stable, "stable", spec.stable_window)
        pods = asked(metric, panic, ready)  # pods that are to come are no reason for panic
        if surge is None or pods > surge.pods:
            surge = Demand(pods, metric, panic, "panic", spec.panic_window)
    if calm is None or surge is None:
        return None
    if quiet and all(
        metric.resource or not _asks(metric, reading)
        for metric, reading in zip(spec.metrics, readings, strict=True)
    ):
        calm.pods = surge.pods = 0
    return calm, surge


def _asks(metric: MetricSpec, reading: Reading) -> bool:
    return any(value is not None and asked(metric, value, 1) for value in (reading.stable, reading.panic))


def others(
    deciding: Demand,
    metrics: Sequence[MetricSpec],
    readings: Sequence[Reading],
    ready: int,
    replicas: int = 0,
) -> str:
    """`; rps wants 2; cpu wants 1`: what the other metrics ask for over the same window."""
    found = []
    for metric, reading in zip(metrics, readings, strict=True):
        stable = deciding.window == "stable"
        value = reading.stable if stable else reading.panic
        if metric is not deciding.metric and value is not None:
            found.append(f"; {metric.name} wants {asked(metric, value, ready, replicas if stable else 0)}")
    return "".join(found)


def in_unit(metric: MetricSpec, value: float) -> str:
    """A value as a person would write it."""
    if metric.share:
        return f"{number(value * 100)} %"
    if metric.type == "memory":
        size, unit = next(((size, unit) for size, unit in _SIZES if abs(value) >= size), (1, "bytes"))
        return f"{number(value / size)} {unit}"
    unit = {"queue_wait": " s", "response_time": " s", "cpu": " cores"}.get(metric.type, "")
    return f"{number(value)}{unit}"


def number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
