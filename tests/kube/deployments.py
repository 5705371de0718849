"""The Deployment controller: a ReplicaSet per template, rolled over within maxSurge and maxUnavailable. Pure, on a `Store`.

Scaling in the middle of a rollout changes the new ReplicaSet first, and is not spread over all of them, as a real one does.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

from tests.kube.podfacts import condition, is_finished, owned_by, pods_of, with_condition, without_condition
from tests.kube.store import LETTERS
from tests.kube.times import seconds_of

if TYPE_CHECKING:
    from tests.kube.history import Record
    from tests.kube.store import Store

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REPLICA_SETS = "replicasets.apps"


def reconcile(store: Store, namespace: str, name: str) -> float | None:
    """Move a Deployment one step on; its ReplicaSets' changes bring the next. Returns when to look again, in seconds."""
    record = store.find("deployments.apps", namespace, name)
    if record is None:
        return None
    if "deletionTimestamp" not in record.obj["metadata"]:
        _roll(store, record)
    current = store.find(record.resource, namespace, name)
    return _report(store, current) if current else None


def replica_sets(store: Store, record: Record) -> tuple[Record | None, list[Record]]:
    """The ReplicaSet of the current template, and the older ones, oldest first."""
    label = template_hash(record.obj["spec"]["template"])
    owned = store.owned(record.obj["metadata"]["uid"], REPLICA_SETS)
    old = [each for each in owned if each.obj["metadata"]["labels"].get(HASH) != label]
    new = next((each for each in owned if each not in old), None)
    return new, sorted(old, key=_revision)


def template_hash(template: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(LETTERS[byte % len(LETTERS)] for byte in digest[:10])


def bounds(spec: dict[str, Any]) -> tuple[int, int]:
    """Pods above and below the wanted number that a rollout may have."""
    rolling = spec["strategy"].get("rollingUpdate") or {}
    if spec["strategy"]["type"] != "RollingUpdate":
        return 0, 0
    surge = _amount(rolling.get("maxSurge", "25%"), spec["replicas"], math.ceil)
    unavailable = _amount(rolling.get("maxUnavailable", "25%"), spec["replicas"], math.floor)
    return surge, unavailable if surge or unavailable else 1


def _amount(value: int | str, replicas: int, rounded: Any) -> int:
    return int(rounded(int(value[:-1]) * replicas / 100)) if isinstance(value, str) else int(value)


def _roll(store: Store, record: Record) -> None:
    spec = record.obj["spec"]
    new, old = replica_sets(store, record)
    if spec.get("paused"):
        active = new or (old[-1] if old else None)
        if active:
            _scale(store, active, spec["replicas"])
        return
    if spec["strategy"]["type"] == "Recreate":
        _recreate(store, record, new, old)
        return
    if new is None:
        new = _create(store, record, old, 0)
    elif old and _revision(new) < _revision(old[-1]):
        new = _revise(store, record, new, str(_revision(old[-1]) + 1))
    new = _scale_new(store, record, new, old)
    _scale_old(store, record, new, old)
    _clean_up(store, record, old)


def _recreate(store: Store, record: Record, new: Record | None, old: list[Record]) -> None:
    for each in old:
        _scale(store, each, 0)
    running = [pod for each in old for pod in pods_of(store, each) if not is_finished(pod.obj)]
    if not running:
        new = new or _create(store, record, old, 0)
        _scale(store, new, record.obj["spec"]["replicas"])
        _clean_up(store, record, old)


def _create(store: Store, record: Record, old: list[Record], replicas: int) -> Record:
    spec = record.obj["spec"]
    label = template_hash(spec["template"])
    template = copy.deepcopy(spec["template"])
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH] = label
    selector = copy.deepcopy(spec["selector"])
    selector.setdefault("matchLabels", {})[HASH] = label
    revision = str(max((_revision(each) for each in old), default=0) + 1)
    metadata = {
        "name": f"{record.key[1]}-{label}",
        "namespace": record.key[0],
        "labels": template["metadata"]["labels"],
        "ownerReferences": owned_by(record),
    }
    made = {"replicas": replicas, "selector": selector, "template": template}
    if spec.get("minReadySeconds"):
        made["minReadySeconds"] = spec["minReadySeconds"]
    return _revise(store, record, store.create(REPLICA_SETS, {"metadata": metadata, "spec": made}), revision)


def _revise(store: Store, record: Record, new: Record, revision: str) -> Record:
    """Number the rollout, on the ReplicaSet (also one that is rolled back to) and on the Deployment."""
    for each in (store.record(record.resource, *record.key), new):
        annotations = each.obj["metadata"].get("annotations") or {}
        if annotations.get(REVISION) != revision:
            store.mark(each, annotations={**annotations, REVISION: revision})
    return store.record(REPLICA_SETS, *new.key)


def _revision(record: Record) -> int:
    return int((record.obj["metadata"].get("annotations") or {}).get(REVISION, 0))


def _scale(store: Store, record: Record, replicas: int) -> Record:
    spec = record.obj["spec"]
    if spec["replicas"] == replicas:
        return record
    generation = record.obj["metadata"]["generation"] + 1
    return store.mark(record, spec={**spec, "replicas": replicas}, generation=generation)


def _scale_new(store: Store, record: Record, new: Record, old: list[Record]) -> Record:
    wanted, has = record.obj["spec"]["replicas"], _asked(new)
    if has < wanted:
        surge, _ = bounds(record.obj["spec"])
        room = wanted + surge - has - sum(map(_asked, old))
        wanted = has + max(0, min(room, wanted - has))
    return _scale(store, new, wanted)


def _scale_old(store: Store, record: Record, new: Record, old: list[Record]) -> None:
    """First those that are not available anyway, then as many as availability allows, oldest first."""
    _, unavailable = bounds(record.obj["spec"])
    least = record.obj["spec"]["replicas"] - unavailable
    room = _asked(new) + sum(map(_asked, old)) - least - (_asked(new) - _available(new))
    scaled = []
    for each in old:
        take = max(0, min(room, _asked(each) - _available(each)))
        room -= take
        scaled.append(_scale(store, each, _asked(each) - take))
    spare = min(room, _available(new) + sum(map(_available, scaled)) - least)
    for each in scaled:
        take = max(0, min(spare, _asked(each)))
        spare -= take
        _scale(store, each, _asked(each) - take)


def _asked(record: Record) -> int:
    return int(record.obj["spec"]["replicas"])


def _available(record: Record) -> int:
    return min(_asked(record), int((record.obj.get("status") or {}).get("availableReplicas", 0)))


def _clean_up(store: Store, record: Record, old: list[Record]) -> None:
    idle = [each for each in old if not _asked(each) and not (each.obj.get("status") or {}).get("replicas")]
    surplus = len(idle) - record.obj["spec"]["revisionHistoryLimit"]
    for each in idle[: max(0, surplus)]:
        store.delete(REPLICA_SETS, *each.key)


def _report(store: Store, record: Record) -> float | None:
    new, old = replica_sets(store, record)
    spec, before = record.obj["spec"], record.obj.get("status") or {}
    statuses = [each.obj.get("status") or {} for each in (*old, *([new] if new else []))]
    total, ready, available = (
        sum(status.get(key, 0) for status in statuses)
        for key in ("replicas", "readyReplicas", "availableReplicas")
    )
    counts = {
        "observedGeneration": record.obj["metadata"]["generation"],
        "replicas": total,
        "updatedReplicas": (new.obj.get("status") or {}).get("replicas", 0) if new else 0,
        "readyReplicas": ready,
        "availableReplicas": available,
        "unavailableReplicas": max(
            0, max(total, sum(map(_asked, (*old, *([new] if new else []))))) - available
        ),
    }
    status: dict[str, Any] = {key: value for key, value in counts.items() if value}
    conditions = _availability(spec, before.get("conditions") or [], available, store.now())
    conditions = _failure(conditions, new, old, store.now())
    if new:
        conditions = _progress(store, record, new, {**counts, "conditions": conditions})
    store.set_status(record, {**status, "conditions": conditions})
    progressing = next((each for each in conditions if each["type"] == "Progressing"), {})
    return (
        1.0
        if progressing.get("reason") == "ReplicaSetUpdated" and spec["progressDeadlineSeconds"] < 600
        else None
    )


def _availability(
    spec: dict[str, Any], conditions: list[Any], available: int, now: str
) -> list[dict[str, Any]]:
    new = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}
    new["message"] = "Deployment has minimum availability."
    if available < spec["replicas"] - bounds(spec)[1]:
        new |= {"status": "False", "reason": "MinimumReplicasUnavailable"}
        new["message"] = "Deployment does not have minimum availability."
    old: dict[str, Any] = next((each for each in conditions if each["type"] == "Available"), {})
    new["lastUpdateTime"] = old["lastUpdateTime"] if old.get("status") == new["status"] else now
    return with_condition(conditions, new, now)


def _failure(conditions: list[Any], new: Record | None, old: list[Record], now: str) -> list[dict[str, Any]]:
    found = [condition(each.obj, "ReplicaFailure") for each in (*([new] if new else []), *old)]
    failure = next(filter(None, found), None)
    if failure is None:
        return without_condition(conditions, "ReplicaFailure")
    kept = {key: failure[key] for key in ("type", "status", "reason", "message")}
    return with_condition(conditions, {**kept, "lastUpdateTime": failure["lastTransitionTime"]}, now)


def _progress(store: Store, record: Record, new: Record, counts: dict[str, Any]) -> list[dict[str, Any]]:
    spec, conditions, now = record.obj["spec"], counts["conditions"], store.now()
    before = record.obj.get("status") or {}
    old: dict[str, Any] = next((each for each in conditions if each["type"] == "Progressing"), {})
    name, wanted = new.key[1], spec["replicas"]
    if (
        old.get("reason") == "NewReplicaSetAvailable"
        and counts["replicas"] == counts["updatedReplicas"]
        and f'"{name}"' in old["message"]
    ):
        return list(conditions)
    told = ("True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
    moved = any(
        before.get(key, 0) != counts[key] for key in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    done = counts["updatedReplicas"] == wanted == counts["replicas"] == counts["availableReplicas"]
    if done:
        told = ("True", "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.')
    elif (
        old
        and not moved
        and seconds_of(old["lastUpdateTime"]) + spec["progressDeadlineSeconds"] < store.clock()
    ):
        told = ("False", "ProgressDeadlineExceeded", f'ReplicaSet "{name}" has timed out progressing.')
    updated = now if moved or old.get("reason") != told[1] or not old else old["lastUpdateTime"]
    status, reason, message = told
    condition_ = {
        "type": "Progressing",
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": updated,
    }
    return with_condition(conditions, condition_, now)
