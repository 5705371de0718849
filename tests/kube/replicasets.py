"""The ReplicaSet controller: as many active pods as asked for, and the same ones lost on the way down as a real one loses. Pure, on a `Store`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kube.errors import ApiError
from tests.kube.podfacts import condition as condition_of
from tests.kube.podfacts import (
    is_active,
    is_available,
    is_ready,
    pod_from,
    pods_of,
    with_condition,
    without_condition,
)
from tests.kube.times import seconds_of

if TYPE_CHECKING:
    from tests.kube.history import Record
    from tests.kube.store import Store

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
RETRY = 1.0
"""Seconds until a refused creation is tried again."""
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def reconcile(store: Store, namespace: str, name: str) -> float | None:
    """Bring the pods of a ReplicaSet nearer to what it asks for. Returns when to look again, in seconds."""
    record = store.find("replicasets.apps", namespace, name)
    if record is None:
        return None
    failure = None
    if "deletionTimestamp" not in record.obj["metadata"]:
        failure = _manage(store, record)
    _report(store, record, failure)
    if failure is not None:
        return RETRY
    return record.obj["spec"].get("minReadySeconds") or None


def rank(pod: dict[str, Any]) -> tuple[Any, ...]:
    """The order in which pods are deleted, as the real controller's: unassigned, pending, not ready, cheap, not long ready, much restarted, young."""
    spec, status, metadata = pod["spec"], pod.get("status") or {}, pod["metadata"]
    ready = condition_of(pod, "Ready")
    since = seconds_of(ready["lastTransitionTime"]) if ready.get("status") == "True" else 0.0
    restarts = sum(each.get("restartCount", 0) for each in status.get("containerStatuses") or ())
    return (
        bool(spec.get("nodeName")),
        _PHASES.get(status.get("phase", "Pending"), 0),
        is_ready(pod),
        _cost(metadata),
        -since,
        -restarts,
        -seconds_of(metadata["creationTimestamp"]),
        -int(metadata["resourceVersion"]),
    )


def _cost(metadata: dict[str, Any]) -> int:
    try:
        return int((metadata.get("annotations") or {}).get(DELETION_COST, 0))
    except ValueError:
        return 0


def _manage(store: Store, record: Record) -> ApiError | None:
    active = [pod for pod in pods_of(store, record) if is_active(pod.obj)]
    wanted = record.obj["spec"]["replicas"]
    for pod in sorted(active, key=lambda each: rank(each.obj))[: max(0, len(active) - wanted)]:
        store.delete("pods", *pod.key)
    for _ in range(wanted - len(active)):
        metadata = {"generateName": f"{record.key[1]}-"}
        try:
            store.create("pods", pod_from(record, record.obj["spec"]["template"], **metadata))
        except ApiError as error:
            return error
    return None


def _report(store: Store, record: Record, failure: ApiError | None) -> None:
    current = store.find(record.resource, *record.key)
    if current is None:
        return
    spec, old = current.obj["spec"], current.obj.get("status") or {}
    pods = [pod.obj for pod in pods_of(store, current) if is_active(pod.obj)]
    available = sum(is_available(pod, spec.get("minReadySeconds", 0), store.clock()) for pod in pods)
    counts = {
        "fullyLabeledReplicas": len(pods),
        "readyReplicas": sum(map(is_ready, pods)),
        "availableReplicas": available,
        "observedGeneration": current.obj["metadata"]["generation"],
    }
    status: dict[str, Any] = {"replicas": len(pods), **{key: value for key, value in counts.items() if value}}
    conditions = without_condition(old.get("conditions") or [], "ReplicaFailure")
    if failure is not None:
        new = {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": failure.message,
        }
        conditions = with_condition(old.get("conditions") or [], new, store.now())
    if conditions:
        status["conditions"] = conditions
    store.set_status(current, status)
