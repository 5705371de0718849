"""What a decision is made of, and what it is: the values that `kpa.decide` takes and gives.

Core: plain values, that everybody may read who shows, counts or keeps decisions, without the algorithm. `demand` and `hands` have the parts.
"""

from dataclasses import dataclass
from typing import Literal

from autoscaler.demand import Demand, Reading, others
from autoscaler.hands import Change
from autoscaler.schedules import Bounds
from autoscaler.spec import MetricSpec

Rule = Literal[
    "stable",
    "panic",
    "max_scale_up_rate",
    "max_scale_down_rate",
    "activation_scale",
    "wake",
    "scale_down_delay",
    "no_data",
    "warming",
    "busy",
    "initial_scale",
    "min_scale",
    "schedule",
    "clock_set",
    "max_scale",
    "grace",
    "idle",
    "by_hpa",
    "paused",
    "fixed",
]
"""What had the last word in a Decision. `fixed` is said by `target`, of what others scale."""


# Reading, Observed and Decision are made for every decision and never changed. They are not frozen, since that would cost 5 us of the 20 that
# a decision may take.


@dataclass(slots=True)
class Observed:
    """What is known of a Backend at the moment of a decision, summed over all gateways."""

    readings: tuple[Reading, ...]
    """One for each of the spec's metrics, in their order."""
    ready: int
    """Pods that a request may go to: ready and not draining."""
    replicas: int
    """The count that was last set."""
    in_flight: int = 0
    """Requests at pods at this moment, unlike the averages, which lag."""
    waiting: int = 0
    """Requests queued at this moment."""
    missing: str = ""
    """Which gateway has not reported and since when, as in "gateway gw-1 since 6 s"; what they tell is then a lower bound."""
    quiet: bool = False
    """No request has come for a stable window, as far as gateways tell."""
    scheduled: Bounds | None = None
    """What the clock on the wall asks for; None without schedules."""
    changed: Change | None = None
    """Another hand has set the count since the last look."""

    @property
    def starving(self) -> bool:
        """Requests wait, and no pod is ready."""
        return self.waiting > 0 and not self.ready

    @property
    def absence(self) -> str:
        """Everything that is missing; empty when nothing is."""
        if not self.missing and not any(reading.stable is None for reading in self.readings):
            return ""
        said = [self.missing, *(reading.missing for reading in self.readings)]
        return f"no data from {', '.join(filter(None, said))}" if any(said) else "no data yet"


@dataclass(slots=True)
class Decision:
    """A count and how it came about."""

    desired: int
    wanted: int | None
    """What Knative's algorithm asks for, before holds, bounds and grace; None without data."""
    excess_burst_capacity: int | None
    """Requests that fit beyond the present ones and the target burst; None without data. -1 also says: unlimited burst."""
    panic: bool
    rule: Rule
    words: tuple[object, ...]
    """What `reason` is put together of."""
    observed: Observed
    at: float
    metrics: tuple[MetricSpec, ...]
    """Those whose readings are in `observed`."""
    demand: int | None = None
    """What requests, samples and schedules ask for within the bounds, whatever pods there are and whatever holds them; None without data."""

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        said = "".join(map(str, self.words))
        seen = self.observed
        what = self.metrics, seen.readings, seen.ready, seen.replicas
        return said + "".join(others(word, *what) for word in self.words if isinstance(word, Demand))
