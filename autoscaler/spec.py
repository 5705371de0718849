"""What one Backend asks of the autoscaler, in the units that the algorithm computes with.

Frozen and free of I/O: the configuration is read elsewhere (`gateway.config`) and turned into this once per reload.
Names and defaults are Knative's; where Tidegate departs, the field says so. A Backend scales on one metric or several: each asks for
pods, and the largest number counts (`demand`).
"""

from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal

MetricType = Literal[
    "concurrency", "rps", "queue_wait", "response_time", "pod", "prometheus", "cpu", "memory"
]
"""The first four are told by gateways, the others are samples that somebody fetches."""
Averaging = Literal["linear", "weighted_exponential"]
_TOLD = ("concurrency", "rps", "queue_wait", "response_time")
_RESOURCES = ("cpu", "memory")
_OF_PODS = ("pod", *_RESOURCES)


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One thing that a Backend scales on."""

    name: str
    """For people and for labels; one of a kind in its Backend."""
    type: MetricType
    total: float
    """The value that one pod can carry at most."""
    target: float
    """The value per pod that is aimed at, in the metric's unit: requests, requests/s, seconds, cores, bytes, or as scraped."""
    relative: bool = False
    """A level, which more pods lower (a wait, the largest of all pods), rather than an amount that is shared among them."""
    percentile: float = 0.0
    """Of latencies, in percent."""
    interval: float = 0.0
    """Seconds between two samples; 0 for what gateways tell."""
    share: bool = False
    """Cpu and memory in shares of what the pods request, not in cores and bytes."""

    @property
    def sampled(self) -> bool:
        """Somebody fetches it; gateways tell the others."""
        return self.type not in _TOLD

    @property
    def of_pods(self) -> bool:
        """Read off the pods, so that without pods there is nothing to read."""
        return self.type in _OF_PODS

    @property
    def resource(self) -> bool:
        """A pod uses some of it even while it has nothing to do."""
        return self.type in _RESOURCES


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """A number of pods from each `start` to the next `end`, by the clock of `zone`; one of `floor` and `fixed` is given."""

    start: str
    """As in cron: minute, hour, day of month, month, weekday."""
    end: str
    zone: tzinfo
    floor: int | None = None
    """Pods at least."""
    fixed: int | None = None
    """Pods exactly."""

    def __str__(self) -> str:
        return f"schedule {self.start} to {self.end} ({self.zone})"


CONCURRENCY = MetricSpec("concurrency", "concurrency", total=100.0, target=70.0)
"""What Knative scales on unless told otherwise: target = max(0.01, total * utilization)."""


@dataclass(frozen=True, slots=True)
class ScalingSpec:
    """How one Backend scales. Times are seconds, rates are factors per decision."""

    metrics: tuple[MetricSpec, ...] = (CONCURRENCY,)
    """Never empty."""
    averaging: Averaging = "linear"
    min_scale: int = 0
    max_scale: int = 0
    """0: unlimited."""
    initial_scale: int = 0
    """Pods that a Backend starts with. Knative's default is 1; ours is 0: nothing runs until a request comes."""
    activation_scale: int = 0
    """Pods to start with when leaving zero; 0: unset (one is enough)."""
    stable_window: float = 60.0
    panic_window: float = 6.0
    panic_threshold: float = 2.0
    """Panic when the panic window wants this many times the ready pods."""
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    scale_down_delay: float = 0.0
    scale_to_zero_grace_period: float = 30.0
    scale_to_zero_pod_retention_period: float = 0.0
    target_burst_capacity: float = 211.0
    """-1: unlimited. Reported as excess burst capacity; Tidegate is always in the path."""
    by: Literal["tidegate", "hpa"] = "tidegate"
    """hpa: another scaler has the count from one pod on, and the way from zero and to zero is ours."""
    pause: bool = False
    schedules: tuple[ScheduleSpec, ...] = ()
    reachable: bool = True
    """False: no Route names the Backend, so it may fall as fast as it likes."""

    @property
    def grace(self) -> float:
        """How long the last pod stays when nothing is wanted: the grace period, or the retention period if that is longer."""
        retention = self.scale_to_zero_pod_retention_period if self.reachable else 0.0
        return max(self.scale_to_zero_grace_period, retention)
