"""How a predictor is scaled: its fields and Knative's annotations to a Backend's `scale`, or to a HorizontalPodAutoscaler beside `by: hpa`.

Fields go before annotations, and a predictor's annotations before its InferenceService's. What Tidegate's configuration would refuse is found here and
left out, or refused where it would change what is served, so that the document always passes. A core.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from autoscaler.inference.resource import Predictor
from autoscaler.inference.shapes import Fault, Json, mapping, mappings, text, texts

KNATIVE = "autoscaling.knative.dev/"
_CLASS = "serving.kserve.io/autoscalerClass"
_METRIC = "serving.kserve.io/metrics"
_UTILIZATION = "serving.kserve.io/targetUtilizationPercentage"
_OWN = {_CLASS, _METRIC, _UTILIZATION}
_MOST = 1_000_000
_LONGEST_TIMEOUT = 365 * 24 * 3600
_CPU_UTILIZATION = 80
"""Percent: KServe's target when none is given."""
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
_IGNORED = {"class", "metric", "target"}
"""Read apart from the table."""
_READ = (
    "minReplicas",
    "maxReplicas",
    "scaleTarget",
    "scaleMetric",
    "scaleMetricType",
    "autoScaling",
    "containerConcurrency",
    "timeout",
)
_SAME_NAME = re.compile(r"(?<!^)(?=[A-Z])")
_HERE = {"rps", "concurrency"}
_RESOURCES = {"cpu", "memory"}


@dataclass(frozen=True, slots=True)
class Scaling:
    """What a predictor asks for."""

    least: int = 1
    most: int = 0
    """0: unlimited."""
    concurrency: int = 0
    timeout: int = 0
    """Seconds; 0: as the gateways' configuration says."""
    initial: int | None = None
    scale: Json = field(default_factory=dict)
    """Other keys of a Backend's `scale`."""
    metrics: tuple[Json, ...] = ()
    """Of a HorizontalPodAutoscaler; none: Tidegate scales."""
    behavior: Json = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    source: str = ""
    """What it was read from, for `scaling_again`; "": nothing was said."""

    def backend_scale(self, least: int, most: int) -> Json:
        """Within bounds; `most` 0: unlimited."""
        scale = {"min": least, **({"max": most} if most else {}), **self.scale}
        first = scale.get("activation_scale")
        if first is not None and (first < least or (most and first > most)):
            del scale["activation_scale"]
        return scale | ({"by": "hpa"} if self.metrics else {})


def scaling_of(predictor: Predictor, annotations: dict[str, str]) -> Scaling:
    """`annotations`: of the InferenceService."""
    given = {**annotations, **predictor.annotations}
    told = {key: value for key, value in given.items() if key in _OWN or key.startswith(KNATIVE)}
    spec = {key: predictor.extension[key] for key in _READ if key in predictor.extension}
    return _Reading(spec, told, predictor.path).scaling()


def scaling_again(source: str) -> Scaling:
    """Of the `source` of one; of anything else, as if nothing were said."""
    try:
        given = mapping(json.loads(source or "{}"))
    except (ValueError, RecursionError):
        given = {}
    return _Reading(mapping(given.get("spec")), texts(given.get("annotations")), "").scaling()


class _Reading:
    """One predictor's fields and annotations, with the faults found on the way."""

    def __init__(self, spec: Json, given: dict[str, str], path: str) -> None:
        self._spec = spec
        self._path = path
        said = {key: value for key, value in (("spec", spec), ("annotations", given)) if value}
        self._source = json.dumps(said, sort_keys=True, default=str) if said else ""
        self._class = given.get(_CLASS, "")
        self._resource_asked = given.get(_METRIC, "")
        self._utilization = given.get(_UTILIZATION)
        self._knative = {
            _SAME_NAME.sub("-", key.removeprefix(KNATIVE)).lower(): (key, value)
            for key, value in given.items()
            if key.startswith(KNATIVE)
        }
        self._faults: list[Fault] = []

    def scaling(self) -> Scaling:
        least, most = self._bounds()
        concurrency = self._count("containerConcurrency") or 0
        timeout = min(self._count("timeout", _LONGEST_TIMEOUT) or 0, _LONGEST_TIMEOUT)
        table = dict(self._annotated())
        initial = table.pop("initial_scale", None)
        metrics, behavior = self._hpa()
        scale = table if metrics else {**table, **self._metric(concurrency)}
        if self._class in {"external", "none"}:
            scale, metrics = {"pause": True}, ()
        elif self._class not in {"", "hpa", "kpa"}:
            self._report(_class_path(), f"{self._class} is not there: Tidegate scales it")
        faults = tuple(self._faults)
        return Scaling(
            least, most, concurrency, timeout, initial, scale, metrics, behavior, faults, self._source
        )

    def _bounds(self) -> tuple[int, int]:
        least, most = self._count("minReplicas"), self._count("maxReplicas")
        if least is None:
            least = self._taken("min-scale", _number(0, _MOST))
        if most is None:
            most = self._taken("max-scale", _number(0, _MOST))
        low, high = 1 if least is None else least, most or 0
        if high and low > high:
            if self._spec.get("minReplicas") is not None:
                self._refuse("minReplicas", f"must not be above the most, {high}, got {low}")
            elif least is not None:
                self._report(f"{self._path}.maxReplicas", f"is below min-scale, {low}, which gives way")
        return min(low, high or low), high

    def _annotated(self) -> Iterator[tuple[str, Any]]:
        for key in ("min-scale", "max-scale"):
            self._knative.pop(key, None)  # what a field goes before needs no word
        for key, (name, parse) in _TABLE.items():
            value = self._taken(key, parse)
            if value is not None:
                yield name, value
        for key, (name, _) in self._knative.items():
            if key not in _IGNORED:
                self._report(f"metadata.annotations[{name}]", "not looked at: it means nothing here")

    def _metric(self, concurrency: int) -> Json:
        """Concurrency or requests per second, by us."""
        metric = text(self._spec.get("scaleMetric"))
        if not metric and "metric" in self._knative:
            metric = self._knative["metric"][1]
        if metric and metric not in _HERE:
            self._refuse("scaleMetric", f"must be concurrency, rps, cpu or memory, got {metric}")
            metric = ""
        target: float | None = self._count("scaleTarget")
        if target is None:
            target = self._taken("target", _real(0.01, _MOST))
        chosen: Json = {"metric": metric} if metric else {}
        if target:
            limited = concurrency and metric in {"", "concurrency"}
            chosen["target"] = float(min(target, concurrency) if limited else target)
        return chosen

    def _hpa(self) -> tuple[tuple[Json, ...], Json]:
        asked = mapping(self._spec.get("autoScaling"))
        metrics = mappings(asked.get("metrics"))
        if metrics:
            return self._resources(metrics), mapping(asked.get("behavior"))
        metric = text(self._spec.get("scaleMetric"))
        if not metric and "metric" in self._knative:
            metric = self._knative["metric"][1]
        if not metric and self._resource_asked in _RESOURCES:
            metric = self._resource_asked
        by_hpa = self._class == "hpa" or self._knative.get("class", ("", ""))[1].startswith("hpa.")
        if metric in _RESOURCES or (by_hpa and metric not in _HERE):
            return (self._resource(metric or "cpu"),), mapping(asked.get("behavior"))
        if asked.get("behavior"):
            self._report(
                f"{self._path}.autoScaling.behavior", "not looked at: no HorizontalPodAutoscaler scales it"
            )
        return (), {}

    def _resource(self, name: str) -> Json:
        target = self._count("scaleTarget")
        if target is None:
            target = self._taken("target", _number(1, _MOST))
        if text(self._spec.get("scaleMetricType")) == "AverageValue":
            amount = f"{target or 1}Mi" if name == "memory" else str(target or 1)
            return _of_resource(name, {"type": "AverageValue", "averageValue": amount})
        if target is None and self._utilization is not None:
            target = _number(1, _MOST)(self._utilization)
            if target is None:
                says = f"{self._utilization[:40]!r} is not a value that it may have"
                self._report(f"metadata.annotations[{_UTILIZATION}]", says)
        return _of_resource(name, {"type": "Utilization", "averageUtilization": target or _CPU_UTILIZATION})

    def _resources(self, metrics: list[Json]) -> tuple[Json, ...]:
        found = []
        for i, metric in enumerate(metrics):
            resource = mapping(metric.get("resource"))
            if metric.get("type") != "Resource" or text(resource.get("name")) not in _RESOURCES:
                says = "must be of cpu or memory: scale on others by `metrics` of a backend in Tidegate's own configuration"
                self._refuse(f"autoScaling.metrics[{i}]", says)
                continue
            target = {k: v for k, v in mapping(resource.get("target")).items() if v is not None}
            if "averageUtilization" not in target and "averageValue" not in target:
                target = {"type": "Utilization", "averageUtilization": _CPU_UTILIZATION}
            found.append(_of_resource(text(resource.get("name")), target))
        return tuple(found)

    def _count(self, key: str, most: int = _MOST) -> int | None:
        value = self._spec.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
            return value
        self._refuse(key, f"must be a whole number from 0 to {most}")
        return None

    def _taken(self, key: str, parse: "Callable[[str], Any]") -> Any:  # noqa: ANN401 - as the table has it
        """An annotation's value; None when it is not there, or wrong."""
        name, value = self._knative.pop(key, ("", ""))
        if not name:
            return None
        parsed = parse(value)
        if parsed is None:
            self._report(f"metadata.annotations[{name}]", f"{value[:40]!r} is not a value that it may have")
        return parsed

    def _refuse(self, key: str, says: str) -> None:
        self._faults.append(Fault(f"{self._path}.{key}", says, refused=True))

    def _report(self, path: str, says: str) -> None:
        self._faults.append(Fault(path, says, refused=False))


def _class_path() -> str:
    return f"metadata.annotations[{_CLASS}]"


def _of_resource(name: str, target: Json) -> Json:
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def _real(low: float, high: float) -> Callable[[str], float | None]:
    def parse(value: str) -> float | None:
        try:
            number = float(value)
        except ValueError:
            return None
        return number if low <= number <= high else None

    return parse


def _number(low: int, high: int) -> Callable[[str], int | None]:
    def parse(value: str) -> int | None:
        digits = value.isascii() and value.isdigit() and len(value) < 12
        return int(value) if digits and low <= int(value) <= high else None

    return parse


def _seconds(low: float, high: float) -> Callable[[str], str | None]:
    """A duration as Go writes it, whole seconds, as our configuration takes it."""

    def parse(value: str) -> str | None:
        match = _DURATION.fullmatch(value) if len(value) < 20 else None
        if match is None or not value:
            return None
        hours, minutes, rest = (float(group or 0) for group in match.groups())
        seconds = hours * 3600 + minutes * 60 + rest
        return f"{int(seconds)}s" if low <= seconds <= high and not seconds % 1 else None

    return parse


def _share(value: str) -> float | None:
    """A percentage, 70 or 0.7, as a share."""
    number = _real(0.01, 100)(value)
    if number is None:
        return None
    return number / 100 if number >= 1 else number


def _burst(value: str) -> float | None:
    return -1.0 if value in {"-1", "-1.0"} else _real(0, 10_000_000)(value)


_TABLE: dict[str, tuple[str, Callable[[str], Any]]] = {
    "initial-scale": ("initial_scale", _number(0, _MOST)),
    "activation-scale": ("activation_scale", _number(2, _MOST)),
    "target-utilization-percentage": ("utilization", _share),
    "window": ("stable_window", _seconds(6, 3600)),
    "panic-window-percentage": ("panic_window_percentage", _real(1, 100)),
    "panic-threshold-percentage": ("panic_threshold_percentage", _real(110, 1000)),
    "scale-down-delay": ("scale_down_delay", _seconds(0, 3600)),
    "scale-to-zero-pod-retention-period": ("scale_to_zero_pod_retention_period", _seconds(0, 3600)),
    "target-burst-capacity": ("target_burst_capacity", _burst),
}
"""Knative's annotations, in the spelling with dashes, and the keys of `scale` that they are."""
