"""The objects that are scaled: Deployments and StatefulSets from their own fields, anything else from its scale subresource.

A core. A Workload is what the object said last: the count that was set, whose pods are its own, and what keeps it from making
them. Writing the count is the autoscaler's (`autoscaler.cluster`).
"""

from dataclasses import dataclass
from typing import Any

from gateway.kube.objects import (
    Controller,
    Json,
    Selector,
    condition,
    metadata,
    parse_selector,
    selector_of,
    setter_of,
)


@dataclass(frozen=True, slots=True)
class Workload:
    """An object with a scale subresource, as last seen."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    path: str
    """Where the API server has it; its scale is below."""
    resource_version: str
    replicas: int
    """The count that was last set."""
    selector: Selector
    ordered: bool = False
    """A StatefulSet, which loses the pod with the highest ordinal."""
    first_ordinal: int = 0
    failure: str | None = None
    """Why it cannot even create pods, as with a quota."""
    setter: str = ""
    """Who has set the count; "" when that is not told."""

    def owns(self, controller: Controller | None) -> bool:
        """Whether a pod of this controller that the selector chooses is one of those that the count counts.

        A pod that nobody controls is taken for one. A ReplicaSet is called after its Deployment; looking at it would take another watch.
        """
        if controller is None or self.api_version != "apps/v1":
            return True
        if self.kind == "Deployment":
            return controller.kind == "ReplicaSet" and controller.name.rpartition("-")[0] == self.name
        return controller.uid == self.uid

    def __str__(self) -> str:
        return f"{self.kind.lower()} {self.namespace}/{self.name}"


def workload_of(item: Json, api_version: str, kind: str, path: str) -> Workload:
    """Of a Deployment, a StatefulSet, or what is built alike."""
    spec = item.get("spec") or {}
    failing = condition(item, "ReplicaFailure")
    failed = failing is not None and failing.get("status") == "True"
    return Workload(
        **_named(item, api_version, kind, path),
        resource_version=metadata(item)["resourceVersion"],
        replicas=1 if spec.get("replicas") is None else spec["replicas"],
        selector=selector_of(spec.get("selector")),
        ordered=kind == "StatefulSet",
        first_ordinal=(spec.get("ordinals") or {}).get("start") or 0,
        failure=(failing.get("message") or failing.get("reason")) if failing and failed else None,
        setter=setter_of(item),
    )


def workload_of_scale(item: Json, scale: Json, api_version: str, kind: str, path: str) -> Workload:
    """Of any object and its scale subresource (autoscaling/v1)."""
    return Workload(
        **_named(item, api_version, kind, path),
        resource_version=metadata(scale).get("resourceVersion") or metadata(item)["resourceVersion"],
        replicas=(scale.get("spec") or {}).get("replicas") or 0,
        selector=parse_selector((scale.get("status") or {}).get("selector") or ""),
        setter=setter_of(item),
    )


def _named(item: Json, api_version: str, kind: str, path: str) -> dict[str, Any]:
    """The fields that say which object it is."""
    meta = metadata(item)
    own = {key: meta[key] for key in ("namespace", "name", "uid")}
    return {"api_version": api_version, "kind": kind, "path": path, **own}
