"""The StatefulSet controller: pods by ordinal, in order or all at once, the highest lost first. Pure, on a `Store`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kube.deployments import template_hash
from tests.kube.podfacts import is_active, is_available, is_finished, is_ready, pod_from, pods_of

if TYPE_CHECKING:
    from tests.kube.history import Record
    from tests.kube.store import Store

STATEFUL_SETS = "statefulsets.apps"
REVISION = "controller-revision-hash"


def reconcile(store: Store, namespace: str, name: str) -> float | None:
    """Move a StatefulSet one step on; its pods' changes bring the next. Returns when to look again, in seconds."""
    record = store.find(STATEFUL_SETS, namespace, name)
    if record is None:
        return None
    if "deletionTimestamp" not in record.obj["metadata"]:
        _manage(store, record)
    current = store.find(STATEFUL_SETS, namespace, name)
    if current is not None:
        _report(store, current)
    return record.obj["spec"].get("minReadySeconds") or None


def ordinal(record: Record) -> int:
    return int(record.key[1].rpartition("-")[2])


def _manage(store: Store, record: Record) -> None:
    spec = record.obj["spec"]
    first = (spec.get("ordinals") or {}).get("start", 0)
    wanted = range(first, first + spec["replicas"])
    ordered = spec["podManagementPolicy"] == "OrderedReady"
    pods = {ordinal(pod): pod for pod in pods_of(store, record)}
    for number in wanted:
        pod = pods.get(number)
        if pod is None:
            pod = _create(store, record, number)
        elif is_finished(pod.obj) and is_active({**pod.obj, "status": {}}):
            store.delete("pods", *pod.key)
        if ordered and not (
            is_active(pod.obj) and is_available(pod.obj, spec.get("minReadySeconds", 0), store.clock())
        ):
            return
    surplus = sorted((number for number in pods if number not in wanted), reverse=True)
    for number in surplus:
        if is_active(pods[number].obj):
            store.delete("pods", *pods[number].key)
        if ordered:
            return
    if not surplus:
        _update(store, record, [pods[number] for number in wanted if number in pods])


def _create(store: Store, record: Record, number: int) -> Record:
    name = f"{record.key[1]}-{number}"
    template = record.obj["spec"]["template"]
    pod = pod_from(record, template, name=name)
    pod["metadata"].setdefault("labels", {}).update(
        {
            "apps.kubernetes.io/pod-index": str(number),
            "statefulset.kubernetes.io/pod-name": name,
            REVISION: _revision(record),
        }
    )
    pod["spec"] |= {"hostname": name, "subdomain": record.obj["spec"].get("serviceName", "")}
    return store.create("pods", pod)


def _revision(record: Record) -> str:
    return f"{record.key[1]}-{template_hash(record.obj['spec']['template'])}"


def _update(store: Store, record: Record, pods: list[Record]) -> None:
    """Replace the highest pod of an older template, once all above it are well again."""
    strategy = record.obj["spec"]["updateStrategy"]
    if strategy["type"] != "RollingUpdate":
        return
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    for pod in reversed(pods):
        if ordinal(pod) < partition:
            return
        if pod.obj["metadata"]["labels"].get(REVISION) != _revision(record):
            if is_active(pod.obj):
                store.delete("pods", *pod.key)
            return
        if not is_ready(pod.obj):
            return


def _report(store: Store, record: Record) -> None:
    spec, revision = record.obj["spec"], _revision(record)
    before = record.obj.get("status") or {}
    pods = [pod.obj for pod in pods_of(store, record)]
    updated = [pod for pod in pods if pod["metadata"]["labels"].get(REVISION) == revision]
    min_ready = spec.get("minReadySeconds", 0)
    all_updated = len(updated) == len(pods)
    current = revision if all_updated else before.get("currentRevision", revision)
    status: dict[str, Any] = {
        "observedGeneration": record.obj["metadata"]["generation"],
        "replicas": len(pods),
        "availableReplicas": sum(
            is_available(pod, min_ready, store.clock()) for pod in pods if is_active(pod)
        ),
        "currentRevision": current,
        "updateRevision": revision,
        "collisionCount": 0,
    }
    counts = {
        "readyReplicas": sum(is_ready(pod) for pod in pods if is_active(pod)),
        "currentReplicas": len(pods) - (0 if all_updated else len(updated)),
        "updatedReplicas": len(updated),
    }
    store.set_status(record, {**status, **{key: value for key, value in counts.items() if value}})
