"""How objects go: gracefully, by finalizers, and with what they own. Pure, on a `Store`.

A pod on a known Node gets a deletionTimestamp and goes when the node's agent deletes it with a grace period of 0; any other pod goes at once. A namespace
is marked, and its controller empties it. What an object owns goes after it (Background, the default), before it (Foreground) or stays (Orphan).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kube import errors
from tests.kube.times import timestamp

if TYPE_CHECKING:
    from tests.kube.history import Record
    from tests.kube.kinds import Resource
    from tests.kube.store import Store

DEFAULT_GRACE = 30
FOREGROUND = "foregroundDeletion"


def delete(
    store: Store, what: str | Resource, namespace: str, name: str, options: dict[str, Any] | None = None
) -> Record:
    """Delete as a DELETE with these DeleteOptions. Returns the state that it left, or the last one if it is gone."""
    options = options or {}
    record = store.record(what, namespace, name)
    _check(record, options.get("preconditions") or {})
    policy = options.get("propagationPolicy") or (
        "Orphan" if options.get("orphanDependents") else "Background"
    )
    metadata = record.obj["metadata"]
    if policy == "Orphan":
        _orphan(store, metadata["uid"])
    if (
        policy == "Foreground"
        and store.owned(metadata["uid"])
        and FOREGROUND not in metadata.get("finalizers", ())
    ):
        record = store.mark(record, finalizers=[*metadata.get("finalizers", ()), FOREGROUND])
    grace = _grace(store, record, options.get("gracePeriodSeconds"))
    if grace or _is_held(record):
        record = _marked(store, record, grace)
        if policy == "Foreground":
            _delete_owned(store, metadata["uid"])
        return record
    return store.remove(record)


def settle(store: Store, record: Record) -> None:
    """After an object has gone: its dependents follow, and an owner that waited for it may go."""
    metadata = record.obj["metadata"]
    _delete_owned(store, metadata["uid"])
    for reference in metadata.get("ownerReferences") or ():
        owner = _owner(store, record, reference)
        if (
            owner
            and FOREGROUND in owner.obj["metadata"].get("finalizers", ())
            and not store.owned(reference["uid"])
        ):
            left = [item for item in owner.obj["metadata"]["finalizers"] if item != FOREGROUND]
            owner = store.mark(owner, finalizers=left)
            if not left:
                store.remove(owner)


def _check(record: Record, wanted: dict[str, str]) -> None:
    metadata = record.obj["metadata"]
    for field, key, label in (
        ("uid", "uid", "UID"),
        ("resourceVersion", "resourceVersion", "ResourceVersion"),
    ):
        if wanted.get(field) and wanted[field] != metadata[key]:
            why = f"Precondition failed: {label} in precondition: {wanted[field]}, {label} in object meta: {metadata[key]}"
            raise errors.conflict(record.resource, metadata["name"], why)


def _grace(store: Store, record: Record, asked: int | None) -> int:
    """Seconds that the object still has. Only pods that somebody runs have any."""
    if record.resource.key != ("", "pods"):
        return 0
    spec, status = record.obj.get("spec") or {}, record.obj.get("status") or {}
    if status.get("phase") in {"Succeeded", "Failed"} or not store.find(
        "nodes", "", spec.get("nodeName", "")
    ):
        return 0
    own = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE)
    before = record.obj["metadata"].get("deletionGracePeriodSeconds")
    wanted = int(own if asked is None else asked)
    return wanted if before is None else min(before, wanted)


def _is_held(record: Record) -> bool:
    spec = record.obj.get("spec") or {}
    namespace_held = record.resource.kind == "Namespace" and bool(spec.get("finalizers"))
    return bool(record.obj["metadata"].get("finalizers")) or namespace_held


def _marked(store: Store, record: Record, grace: int) -> Record:
    metadata = record.obj["metadata"]
    if metadata.get("deletionGracePeriodSeconds") == grace or ("deletionTimestamp" in metadata and not grace):
        return record
    status = {"phase": "Terminating"} if record.resource.kind == "Namespace" else None
    more: dict[str, Any] = {"generation": metadata["generation"] + 1} if "generation" in metadata else {}
    more["deletionTimestamp"] = timestamp(store.clock() + grace)
    return store.mark(record, status, deletionGracePeriodSeconds=grace, **more)


def _delete_owned(store: Store, uid: str) -> None:
    for dependent in store.owned(uid):
        if store.find(dependent.resource, *dependent.key) and not _has_other_owner(store, dependent, uid):
            delete(store, dependent.resource, *dependent.key)


def _has_other_owner(store: Store, dependent: Record, uid: str) -> bool:
    others = [owner for owner in dependent.obj["metadata"]["ownerReferences"] if owner["uid"] != uid]
    return any(_owner(store, dependent, owner) for owner in others)


def _owner(store: Store, dependent: Record, reference: dict[str, Any]) -> Record | None:
    try:
        resource = store.registry.of(reference)
    except LookupError:
        return None
    found = store.find(resource, dependent.key[0] if resource.namespaced else "", reference["name"])
    return found if found and found.obj["metadata"]["uid"] == reference["uid"] else None


def _orphan(store: Store, uid: str) -> None:
    for dependent in store.owned(uid):
        left = [owner for owner in dependent.obj["metadata"]["ownerReferences"] if owner["uid"] != uid]
        store.mark(dependent, ownerReferences=left)
