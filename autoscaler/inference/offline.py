"""What InferenceServices become where there is no cluster: as they are at first, and once all of their pods are ready.

A core: a cluster in which every pod starts at once is played through `wanted` until nothing changes any more.
Neighbours: `wanted`; `local`, which runs them as processes.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from autoscaler.inference.runtimes import Runtimes
from autoscaler.inference.shapes import (
    Credentials,
    Fault,
    Json,
    Observed,
    Settings,
    Use,
    Wanted,
    mapping,
    name_of,
)
from autoscaler.inference.wanted import wanted

_TURNS = 50
"""More than any rollout of one InferenceService with nothing before it takes."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one becomes."""

    first: Wanted
    """With nothing there yet."""
    settled: Wanted
    """Once all pods are ready."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        return self.first.faults

    @property
    def later(self) -> list[Json]:
        """The objects that are others once all is ready; that the autoscaler sets a Deployment's count then is no difference."""
        before = {_key(item): _uncounted(item) for item in self.first.objects}
        return [item for item in self.settled.objects if before.get(_key(item)) != _uncounted(item)]


def rendered(
    service: Mapping[str, Any],
    runtimes: Runtimes,
    settings: Settings,
    now: float,
    credentials: Mapping[Use, Credentials] | None = None,
) -> Rendered:
    """`now`: seconds since 1970, for the status."""
    item = deepcopy(dict(service))
    item.pop("status", None)  # of the cluster that it was taken from
    there: dict[tuple[str, str], Json] = {}
    first = last = wanted(item, runtimes, Observed(credentials=credentials or {}), settings, now)
    for _ in range(_TURNS):
        there = {_key(each): _made(each, there.get(_key(each))) for each in last.objects}
        item["status"] = deepcopy(last.status)
        seen = Observed(tuple(there.values()), credentials=credentials or {})
        answer = wanted(item, runtimes, seen, settings, now)
        settled = answer == last
        last = answer
        if settled:
            break
    return Rendered(first, last)


def _made(item: Json, before: Json | None) -> Json:
    """As the cluster has it after a moment: what runs is ready."""
    made = deepcopy(item)
    if item["kind"] == "Deployment":
        spec = made["spec"]
        if before is not None:
            spec["replicas"] = before["spec"]["replicas"]
        # One that may have no pods is started once, to show that it can be ready.
        count = spec["replicas"] = max(1, spec.get("replicas", 1))
        made["status"] = {"replicas": count, "readyReplicas": count}
    return made


def _key(item: Json) -> tuple[str, str]:
    return item["kind"], name_of(item)


def _uncounted(item: Json) -> Json:
    spec = mapping(item.get("spec"))
    return item | {"spec": {k: v for k, v in spec.items() if k != "replicas"}}
