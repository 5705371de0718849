"""What controllers ask of pods, and how they make them. Pure."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from tests.kube.times import seconds_of

if TYPE_CHECKING:
    from tests.kube.history import Record
    from tests.kube.store import Store


def condition(obj: dict[str, Any], type_: str) -> dict[str, Any]:
    """A condition of an object's status, or an empty one."""
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((entry for entry in found if entry["type"] == type_), {})


def is_ready(pod: dict[str, Any]) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def is_active(pod: dict[str, Any]) -> bool:
    """Neither finished nor being deleted."""
    return not is_finished(pod) and "deletionTimestamp" not in pod["metadata"]


def is_finished(pod: dict[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def is_available(pod: dict[str, Any], min_ready: int, now: float) -> bool:
    """Ready for `min_ready` seconds."""
    if not is_ready(pod):
        return False
    return not min_ready or seconds_of(condition(pod, "Ready")["lastTransitionTime"]) + min_ready <= now


def with_condition(conditions: list[dict[str, Any]], new: dict[str, Any], now: str) -> list[dict[str, Any]]:
    """The conditions with one of them set; its transition time changes with its status alone."""
    old = next((entry for entry in conditions if entry["type"] == new["type"]), {})
    same = old.get("status") == new["status"]
    new = {**new, "lastTransitionTime": old["lastTransitionTime"] if same else now}
    return [*(entry for entry in conditions if entry["type"] != new["type"]), new]


def without_condition(conditions: list[dict[str, Any]], type_: str) -> list[dict[str, Any]]:
    return [entry for entry in conditions if entry["type"] != type_]


def controller_of(obj: dict[str, Any], kind: str) -> str:
    """The name of the owner of this kind that controls an object; "" if none does."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((owner["name"] for owner in owners if owner.get("controller") and owner["kind"] == kind), "")


def owned_by(record: Record) -> list[dict[str, Any]]:
    """The ownerReferences of something that a record controls."""
    reference = {
        "apiVersion": record.resource.api_version,
        "kind": record.resource.kind,
        "name": record.key[1],
    }
    return [
        {**reference, "uid": record.obj["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}
    ]


def pod_from(owner: Record, template: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """A pod of a template, controlled by `owner`."""
    given = copy.deepcopy(template.get("metadata") or {})
    kept = {key: given[key] for key in ("labels", "annotations", "finalizers") if given.get(key)}
    return {
        "metadata": {**kept, "namespace": owner.key[0], "ownerReferences": owned_by(owner), **metadata},
        "spec": copy.deepcopy(template["spec"]),
    }


def pods_of(store: Store, owner: Record) -> list[Record]:
    """The pods that an object controls."""
    return store.owned(owner.obj["metadata"]["uid"], "pods")
