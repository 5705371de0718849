"""The autoscaler's Prometheus families: plain state of the controller's targets, read when scraped.

Register it in a registry of one's own, or in the gateway's when both run in one process; `gateway.metrics.render` writes both.
"""

from collections.abc import Callable, Iterator

from prometheus_client import Metric
from prometheus_client.registry import Collector

from autoscaler.coldstarts import PHASES
from autoscaler.controller import Controller
from autoscaler.decision import Decision
from autoscaler.target import Target
from gateway.metrics import Family, Row, configuration
from gateway.state import Reloads


class ConfigurationCollector(Collector):
    """Of an autoscaler that is a process of its own; within `up` it is the gateway that takes over configurations."""

    def __init__(self, reloads: Reloads) -> None:
        self._reloads = reloads

    def collect(self) -> Iterator[Metric]:
        return configuration(self._reloads)

    def __repr__(self) -> str:
        return f"<ConfigurationCollector {self._reloads}>"


class AutoscalerCollector(Collector):
    """One row per target; targets that have not decided yet have none of a decision's."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def collect(self) -> Iterator[Metric]:
        def decided(name: str, text: str, read: Callable[[Decision], float]) -> Family:
            def rows() -> Iterator[Row]:
                for target in self._targets():
                    if target.decision is not None:
                        yield (target.name,), read(target.decision)

            return Family(f"tidegate_autoscaler_{name}", text, "gauge", ("backend",), rows)

        def each(name: str, text: str, kind: str, read: Callable[[Target], float]) -> Family:
            def rows() -> Iterator[Row]:
                return (((target.name,), read(target)) for target in self._targets())

            return Family(f"tidegate_autoscaler_{name}", text, kind, ("backend",), rows)

        text = "1 on the autoscaler that acts, 0 on others."
        yield Family("tidegate_autoscaler_leading", text, "gauge", (), self._leading)
        yield decided("desired_replicas", "Pods that there shall be.", lambda decision: decision.desired)
        yield Family(
            "tidegate_autoscaler_wanted_replicas",
            "Pods that the metrics ask for, before bounds; none without data.",
            "gauge",
            ("backend",),
            self._wanted,
        )
        yield each("ready_replicas", "Pods that requests may go to.", "gauge", lambda target: target.ready)
        text = "A metric's average (of latencies: the percentile) over a window, as of the last decision; none without data."
        name, labels = "tidegate_autoscaler_observed", ("backend", "metric", "window")
        yield Family(name, text, "gauge", labels, self._observed)
        text = "The metric's value per pod that is aimed at."
        yield Family("tidegate_autoscaler_target", text, "gauge", ("backend", "metric"), self._aims)
        yield decided("panic", "1 while a burst holds the count up.", lambda decision: int(decision.panic))
        text = "Starts that requests waited for, by what ended the phase: the decision, the pod's steps, the first byte of an answer."
        name = "tidegate_cold_start_phase_seconds"
        yield Family(name, text, "histogram", ("backend", "phase"), self._starts)
        yield each("decisions", "Decisions made.", "counter", lambda target: target.decisions)
        text = "Counts that another hand has set."
        yield each("foreign_changes", text, "counter", lambda target: target.hands.changes)
        yield each(
            "scaling_errors", "Attempts to scale that failed.", "counter", lambda target: target.errors
        )

    def _leading(self) -> Iterator[Row]:
        yield (), int(self._controller.leads())

    def _wanted(self) -> Iterator[Row]:
        for target in self._targets():
            if target.decision is not None and target.decision.wanted is not None:
                yield (target.name,), target.decision.wanted

    def _observed(self) -> Iterator[Row]:
        for target in self._targets():
            if target.decision is not None:
                metrics, readings = target.decision.metrics, target.decision.observed.readings
                for metric, seen in zip(metrics, readings, strict=True):
                    for window, value in (("stable", seen.stable), ("panic", seen.panic)):
                        if value is not None:
                            yield (target.name, metric.name, window), value

    def _aims(self) -> Iterator[Row]:
        for target in self._targets():
            for metric in target.spec.metrics:
                yield (target.name, metric.name), metric.target

    def _starts(self) -> Iterator[Row]:
        for backend, phases in self._controller.starts.seconds():
            for phase in PHASES:
                if phase in phases:
                    yield (backend, phase), phases[phase]

    def _targets(self) -> list[Target]:
        """A copy: others run between two rows."""
        return list(self._controller.targets.values())

    def __repr__(self) -> str:
        return f"<AutoscalerCollector of {len(self._controller.targets)} targets>"
