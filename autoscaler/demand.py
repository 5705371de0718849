"""What the metrics ask for: each one a number of pods, the largest of which counts, and the words that say so.

An amount (requests, cores) is shared among the pods: 7 in flight at target 2 are 4 pods, whoever is there now. A level (a wait) is what the
pods that are ready bring about together: at twice its target it asks for twice as many, and within a tenth of the target it is left alone,
as a HorizontalPodAutoscaler does, or one pod more and one less would take turns.

Core. Asked by `kpa` for the stable and for the panic window.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from autoscaler.spec import MetricSpec

TOLERANCE = 0.1
_SIZES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


class Demand(NamedTuple):
    """The largest number of pods that a metric asks for over one window."""

    pods: int
    metric: MetricSpec
    value: float


def asked(metric: MetricSpec, value: float, ready: int) -> int:
    """Pods that one metric wants for this value."""
    if not metric.relative:
        return max(0, math.ceil(value / metric.target))
    times = value / metric.target
    there = max(1, ready)
    return there if abs(times - 1) <= TOLERANCE else max(0, math.ceil(there * times))


def largest(metrics: Sequence[MetricSpec], values: Sequence[float | None], ready: int) -> Demand | None:
    """The demand that counts: of equal ones the first; None when no metric has a value."""
    found: Demand | None = None
    for metric, value in zip(metrics, values, strict=True):
        if value is not None:
            pods = asked(metric, value, ready)
            if found is None or pods > found.pods:
                found = Demand(pods, metric, value)
    return found


def words(demand: Demand, seconds: float) -> str:
    """`3.2 in flight over 60 s want 5 at target 0.7`."""
    metric, over = demand.metric, f"over {seconds:g} s"
    if metric.type == "concurrency":
        return f"{number(demand.value)} in flight {over} want {demand.pods} at target {metric.target:g}"
    if metric.type == "rps":
        return f"{number(demand.value)} requests/s {over} want {demand.pods} at target {metric.target:g}"
    value, target = in_unit(metric, demand.value), in_unit(metric, metric.target)
    near = ""
    if metric.relative and abs(demand.value / metric.target - 1) <= TOLERANCE:
        near = ", which is near enough"
    return f"{metric.name} of {value} {over} wants {demand.pods} at target {target}{near}"


def others(metrics: Sequence[MetricSpec], values: Sequence[float | None], ready: int, but: MetricSpec) -> str:
    """`; rps wants 2; cpu wants 1`: what the metrics ask for that did not decide."""
    if len(metrics) == 1:
        return ""
    wants = (
        f"; {metric.name} wants {asked(metric, value, ready)}"
        for metric, value in zip(metrics, values, strict=True)
        if metric is not but and value is not None
    )
    return "".join(wants)


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
