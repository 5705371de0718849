"""What one Backend asks of the autoscaler, in the units that the algorithm computes with.

Frozen and free of I/O: the configuration is read elsewhere (`gateway.config`) and turned into this once per reload.
Names and defaults are Knative's; where Tidegate departs, the field says so.
"""

from dataclasses import dataclass
from typing import Literal

Metric = Literal["concurrency", "rps"]


@dataclass(frozen=True, slots=True)
class ScalingSpec:
    """How one Backend scales. Times are seconds, rates are factors per decision."""

    min_scale: int = 0
    max_scale: int = 0
    """0: unlimited."""
    initial_scale: int = 0
    """Pods that a Backend starts with. Knative's default is 1; ours is 0: nothing runs until a request comes."""
    activation_scale: int = 0
    """Pods to start with when leaving zero; 0: unset (one is enough)."""
    metric: Metric = "concurrency"
    total: float = 100.0
    """The metric's value that one pod can carry at most."""
    target: float = 70.0
    """The metric's value per pod that is aimed at: max(0.01, total * utilization)."""
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
    reachable: bool = True
    """False: no Route names the Backend, so it may fall as fast as it likes."""
