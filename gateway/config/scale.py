"""The `scale` section: how one Backend scales, with Knative's names in snake_case, its defaults and its limits.

ScaleConfig is what people write; ResolvedScale what the autoscaler computes with, once the Backend's concurrency limit
and its kind of target have filled in what was left out. Ours, not Knative's: `initial_scale` 0, and `max` 10 for targets
that run a command. Ranges are those of Knative's annotations (pkg/apis/autoscaling) and of config-autoscaler.
Neighbours: `models` holds it in a Backend; the autoscaler makes its ScalingSpec of ResolvedScale, field by field.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Field, Strict, ValidationInfo, field_validator

from gateway.config.metrics import (
    LEAST_TARGET,
    MOST_TARGET,
    CountedMetric,
    CountedType,
    Metric,
    MetricType,
    ResolvedMetric,
    resolve,
)
from gateway.config.problems import KeyPath, fault, faults, show
from gateway.config.schedules import ResolvedSchedule, ScheduleConfig
from gateway.config.section import Section
from gateway.config.units import (
    Count,
    Delay,
    PanicThreshold,
    PanicWindow,
    PositiveDuration,
    Retention,
    Share,
    Window,
    default,
)

COMMAND_MAX = 10
"""Pods at most of a target that runs a command, when `max` is left out: a laptop has no cluster's quota."""
_UNLIMITED_BURST = -1
_LEAST_ACTIVATION = 2
_Lax = Strict(strict=False)  # YAML's lists become tuples

Averaging = Literal["linear", "weighted_exponential"]
Owner = Literal["tidegate", "hpa"]


@dataclass(frozen=True, slots=True)
class ResolvedScale:
    """A Backend's scaling with nothing left open. Times are seconds, rates are factors per decision."""

    min_scale: int
    max_scale: int
    """0: unlimited."""
    initial_scale: int
    activation_scale: int
    """0: not set."""
    metrics: tuple[ResolvedMetric, ...]
    """Never empty; the largest demand counts."""
    averaging: Averaging
    stable_window: float
    panic_window: float
    """Whole seconds and at least one, as Knative rounds it: averages are taken over buckets of a second."""
    panic_threshold: float
    max_scale_up_rate: float
    max_scale_down_rate: float
    scale_down_delay: float
    scale_to_zero_grace_period: float
    scale_to_zero_pod_retention_period: float
    target_burst_capacity: float
    by: Owner
    """Who sets the count from one pod on."""
    pause: bool
    schedules: tuple[ResolvedSchedule, ...]


class ScaleConfig(Section):
    """How the autoscaler chooses the number of pods; names and defaults are Knative's."""

    min: Count = 0
    """Pods at least."""
    max: Count | None = None
    """Pods at most; 0: unlimited. When left out: 10 for targets that run a command, else 0."""
    initial_scale: Count = 0
    """Pods to start with when the Backend is new."""
    activation_scale: Annotated[Count, Field(ge=_LEAST_ACTIVATION)] | None = None
    """Pods to start with when leaving zero; one when left out."""
    metric: CountedType | None = None
    """What is counted per pod: requests open at once, or requests per second. When left out, with `metrics` too: concurrency."""
    target: Annotated[float, Field(ge=LEAST_TARGET, le=MOST_TARGET)] | None = None
    """What one pod can carry at most. When left out: `concurrency`, else 100; for rps 200."""
    utilization: Share = default("70%")
    """How much of `target` is aimed at."""
    metrics: Annotated[tuple[Metric, ...], _Lax] | None = None
    """What to scale on, instead of `metric` and `target`; the largest demand counts."""
    averaging: Averaging = "linear"
    """How seconds of a window weigh: all alike, or the newer ones more, as in Knative."""
    stable_window: Window = default("60s")
    """The time over which decisions are averaged."""
    panic_window_percentage: PanicWindow = 10.0
    """The window that detects bursts, in percent of `stable_window`."""
    panic_threshold_percentage: PanicThreshold = 200.0
    """The panic window's need, in percent of the ready pods, from which bursts are answered at once."""
    max_scale_up_rate: Annotated[float, Field(gt=1)] = 1000.0
    """The ready pods may be multiplied by this in one decision."""
    max_scale_down_rate: Annotated[float, Field(gt=1)] = 2.0
    """The ready pods may be divided by this in one decision."""
    scale_down_delay: Delay = default("0s")
    """How long a lower need must last before it is followed."""
    scale_to_zero_grace_period: PositiveDuration = default("30s")
    """How long the last pod stays, at least, once zero was decided."""
    scale_to_zero_pod_retention_period: Retention = default("0s")
    """How long the last pod stays even when it has been idle for a stable window."""
    target_burst_capacity: Annotated[float, Field(le=MOST_TARGET)] = 211.0
    """Requests in a burst that must find room; -1: unlimited. Reported only: Tidegate is always in the path."""
    by: Owner = "tidegate"
    """hpa: a HorizontalPodAutoscaler sets the count from one pod on; Tidegate wakes from zero, and goes back there."""
    pause: bool = False
    """true: the count stays as it is."""
    schedules: Annotated[tuple[ScheduleConfig, ...], _Lax] = ()
    """Counts at hours of the clock. Of several at once the largest `min` holds, or the first `replicas`."""

    @field_validator("metric", mode="before")
    @classmethod
    def _short_for_two(cls, value: object) -> object:
        if value in get_args(MetricType) and value not in get_args(CountedType):
            raise fault(f"is short for concurrency or rps only: write `metrics: [{{type: {value}, …}}]`")
        if isinstance(value, str) and ":" in value:  # as model servers call theirs
            raise fault(
                f"is short for concurrency or rps only: write `metrics: [{{type: pod, metric: {show(value)}, …}}]`"
            )
        return value

    @field_validator("metrics")
    @classmethod
    def _one_of_a_kind(
        cls, value: tuple[Metric, ...] | None, info: ValidationInfo
    ) -> tuple[Metric, ...] | None:
        if value is None:
            return None
        found: list[tuple[KeyPath, str]] = [
            ((), f"cannot stand beside `{key}`: give that in `metrics`")
            for key in ("metric", "target")
            if info.data.get(key, "") is not None
        ]
        if not value:
            found.append(((), "must not be empty: leave it out for concurrency"))
        first: dict[str, int] = {}
        for i, metric in enumerate(value):
            name = resolve(metric, 0, 1.0).name
            if first.setdefault(name, i) != i:
                advice = ": give each a `name`" if metric.type == "prometheus" else ""
                found.append(((i,), f"{name} is metrics[{first[name]}] already{advice}"))
        if found:
            raise faults(found)
        return value

    @field_validator("max")
    @classmethod
    def _max_above_min(cls, value: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("min", 0)
        if value and value < least:
            raise fault(f"must not be below min, {least}, got {value} (0: unlimited)")
        return value

    @field_validator("initial_scale")
    @classmethod
    def _initial_within_max(cls, value: int, info: ValidationInfo) -> int:
        most = info.data.get("max")
        if most and value > most:
            raise fault(f"must not be above max, {most}, got {value}")
        return value

    @field_validator("activation_scale")
    @classmethod
    def _activation_within_bounds(cls, value: int | None, info: ValidationInfo) -> int | None:
        least, most = info.data.get("min", 0), info.data.get("max")
        if value is not None and (value < least or (most and value > most)):
            bound = f"below min, {least}" if value < least else f"above max, {most}"
            raise fault(f"must not be {bound}, got {value}")
        return value

    @field_validator("target_burst_capacity")
    @classmethod
    def _burst_is_not_negative(cls, value: float) -> float:
        if value < 0 and value != _UNLIMITED_BURST:
            raise fault(f"must be at least 0, or -1 for unlimited, got {value:g}")
        return value

    @field_validator("schedules")
    @classmethod
    def _schedules_within_max(
        cls, value: tuple[ScheduleConfig, ...], info: ValidationInfo
    ) -> tuple[ScheduleConfig, ...]:
        most = info.data.get("max")
        found: list[tuple[KeyPath, str]] = []
        for i, schedule in enumerate(value):
            for key, count in (("min", schedule.min), ("replicas", schedule.replicas)):
                if most and count and count > most:
                    found.append(((i, key), f"must not be above max, {most}, got {count}"))
        if value and info.data.get("by") == "hpa":
            found.append(
                ((), "cannot stand beside `by: hpa`, which leaves the count to another from one pod on")
            )
        if found:
            raise faults(found)
        return value

    @property
    def all_metrics(self) -> tuple[Metric, ...]:
        """Those of `metrics`, or the one that `metric` is short for."""
        if self.metrics is not None:
            return self.metrics
        return (CountedMetric(type=self.metric or "concurrency", target=self.target),)

    def most(self, *, runs_command: bool) -> int:
        """Pods at most, 0 for unlimited."""
        if self.max is not None:
            return self.max
        return COMMAND_MAX if runs_command else 0

    def resolve(self, concurrency: int, *, runs_command: bool) -> ResolvedScale:
        """Fill in what depends on the Backend: its concurrency limit (0: none), and whether commands are its pods."""
        return ResolvedScale(
            metrics=tuple(resolve(metric, concurrency, self.utilization) for metric in self.all_metrics),
            averaging=self.averaging,
            min_scale=self.min,
            max_scale=self.most(runs_command=runs_command),
            initial_scale=self.initial_scale,
            activation_scale=self.activation_scale or 0,
            stable_window=self.stable_window,
            panic_window=max(1.0, float(int(self.stable_window * self.panic_window_percentage / 100 + 0.5))),
            panic_threshold=self.panic_threshold_percentage / 100,
            max_scale_up_rate=self.max_scale_up_rate,
            max_scale_down_rate=self.max_scale_down_rate,
            scale_down_delay=self.scale_down_delay,
            scale_to_zero_grace_period=self.scale_to_zero_grace_period,
            scale_to_zero_pod_retention_period=self.scale_to_zero_pod_retention_period,
            target_burst_capacity=self.target_burst_capacity,
            by="tidegate" if runs_command else self.by,  # no HPA scales this machine's processes
            pause=self.pause,
            schedules=tuple(schedule.resolve() for schedule in self.schedules),
        )
