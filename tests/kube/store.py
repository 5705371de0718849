"""Objects as a Kubernetes API server keeps them. Pure: told the time and the chance.

One increasing resourceVersion counts all changes; a write that changes nothing is none. An object that the store gives out as a `Record`
is shared and never changed; `get` and `list` give copies. `admission` is asked before each write, and may change the object or refuse.
Deletion is `deletion`'s. Neighbours: `history` is told of each change, `controllers` listens for them, `verbs` puts HTTP on it.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.kube import deletion, errors
from tests.kube.history import Event, History, Record
from tests.kube.kinds import Registry, custom_resources
from tests.kube.selectors import LabelSelector
from tests.kube.structural import shape
from tests.kube.times import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.kube.kinds import Resource

LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_KEPT = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "namespace",
    "name",
)


class Store:
    def __init__(
        self, clock: Callable[[], float], chance: random.Random | None = None, capacity: int = 10_000
    ) -> None:
        self.clock = clock
        self.chance = chance or random.Random()  # noqa: S311 (names and uids of tests)
        self.registry = Registry()
        self.history = History(capacity)
        self._histories = [self.history]
        self.rv = 0
        self.admission: list[Callable[[Store, Resource, dict[str, Any], Record | None], None]] = []
        """Asked before each write with the object and the old one, if there is one."""
        self.listeners: list[Callable[[Event], None]] = []
        """Told of each change in its order, also while the history is frozen; what they write themselves is told after."""
        self._to_tell: deque[Event] = deque()
        self._telling = False
        self._records: dict[tuple[str, str], dict[tuple[str, str], Record]] = {}
        self._labelled: dict[tuple[tuple[str, str], str, str, str], dict[str, None]] = {}
        self._owned: dict[str, dict[tuple[tuple[str, str], str, str], None]] = {}

    # Looking

    def find(self, what: str | Resource, namespace: str, name: str) -> Record | None:
        return self._records.get(self.registry.named(what).key, {}).get((namespace, name))

    def record(self, what: str | Resource, namespace: str, name: str) -> Record:
        """As `find`, but raises 404."""
        found = self.find(what, namespace, name)
        if found is None:
            raise errors.not_found(self.registry.named(what), name)
        return found

    def get(self, what: str | Resource, namespace: str, name: str) -> dict[str, Any]:
        return self.record(what, namespace, name).copy()

    def records(
        self, what: str | Resource, namespace: str = "", selector: LabelSelector | str = ""
    ) -> list[Record]:
        labels = LabelSelector.parse(selector) if isinstance(selector, str) else selector
        resource = self.registry.named(what)
        candidates = self._candidates(resource, namespace, labels)
        return [record for record in candidates if labels.matches(record.obj["metadata"].get("labels") or {})]

    def list(self, what: str | Resource, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        return [record.copy() for record in self.records(what, namespace, selector)]

    def owned(self, uid: str, what: str | Resource | None = None) -> list[Record]:
        """What names `uid` as an owner."""
        key = self.registry.named(what).key if what else None
        entries = [entry for entry in self._owned.get(uid, ()) if key is None or entry[0] == key]
        return [self._records[kind][namespace, name] for kind, namespace, name in entries]

    def _candidates(self, resource: Resource, namespace: str, labels: LabelSelector) -> Iterable[Record]:
        records = self._records.get(resource.key, {})
        if not namespace:
            return tuple(records.values())
        sets = [
            self._labelled.get((resource.key, namespace, key, next(iter(values))), {})
            for key, operator, values in labels.requirements
            if operator == "in" and len(values) == 1
        ]
        if sets:
            return [records[namespace, name] for name in min(sets, key=len)]
        return [record for record in records.values() if record.key[0] == namespace]

    def another_history(self) -> History:
        """What another API server of the same cluster shows: what is there now, and each change from now on."""
        there = (record for records in self._records.values() for record in records.values())
        made = History(self.history.capacity, self.rv, there)
        self._histories.append(made)
        return made

    # Writing

    def create(self, what: str | Resource, obj: dict[str, Any], *, dry_run: bool = False) -> Record:
        resource = self.registry.named(what)
        obj = copy.deepcopy(obj)
        metadata = obj.setdefault("metadata", {})
        self._name(resource, metadata)
        namespace = metadata.get("namespace", "") if resource.namespaced else ""
        if not resource.namespaced:
            metadata.pop("namespace", None)
        if found := self.find(resource, namespace, metadata["name"]):
            raise errors.already_exists(resource, found)
        if metadata.pop("resourceVersion", ""):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"):
            metadata.pop(key, None)
        metadata["uid"] = str(UUID(int=self.chance.getrandbits(128), version=4))
        metadata["creationTimestamp"] = self.now()
        if resource.has_generation():
            metadata["generation"] = 1
        if resource.status and resource.group:
            obj.pop("status", None)
            obj |= {} if resource.custom else {"status": {}}
        shape(resource, obj)
        for admit in self.admission:
            admit(self, resource, obj, None)
        if dry_run:
            return Record(
                resource, {**obj, "metadata": {**metadata, "resourceVersion": str(self.rv)}}, self.rv
            )
        return self._commit("ADDED", resource, obj, None)

    def replace(
        self, what: str | Resource, obj: dict[str, Any], subresource: str = "", *, dry_run: bool = False
    ) -> Record:
        """Put an object in the place of an older state of it; `status` changes the status alone, "" everything else."""
        resource = self.registry.named(what)
        given = obj["metadata"]
        old = self.record(resource, given.get("namespace", "") if resource.namespaced else "", given["name"])
        new = self._prepared(resource, old, obj, subresource)
        shape(resource, new)
        if subresource != "status":
            for admit in self.admission:
                admit(self, resource, new, old)
        if _same(new, old.obj):
            return old
        if resource.has_generation() and _substance(new) != _substance(old.obj):
            new["metadata"]["generation"] = old.obj["metadata"].get("generation", 0) + 1
        if dry_run:
            return Record(resource, new, old.rv)
        if "deletionTimestamp" in new["metadata"] and self._may_go(new):
            return self.remove(Record(resource, new, old.rv))
        return self._commit("MODIFIED", resource, new, old)

    def change(
        self,
        what: str | Resource,
        namespace: str,
        name: str,
        how: Callable[[dict[str, Any]], Any],
        subresource: str = "",
    ) -> Record:
        """Replace an object by what `how` makes of a copy: in place, or as its answer."""
        obj = self.get(what, namespace, name)
        made = how(obj)
        return self.replace(what, made if isinstance(made, dict) else obj, subresource)

    def mark(
        self,
        record: Record,
        status: dict[str, Any] | None = None,
        spec: dict[str, Any] | None = None,
        **metadata: Any,
    ) -> Record:
        """Set what only the server may set: in the metadata, and status and spec as a whole."""
        obj = {**record.obj, "metadata": {**record.obj["metadata"], **metadata}}
        obj |= {key: value for key, value in (("status", status), ("spec", spec)) if value is not None}
        return self._commit("MODIFIED", record.resource, obj, record)

    def delete(
        self, what: str | Resource, namespace: str, name: str, options: dict[str, Any] | None = None
    ) -> Record:
        """As DELETE with these DeleteOptions: returns what is left, or the last state if nothing is."""
        return deletion.delete(self, what, namespace, name, options)

    def set_status(self, record: Record, status: dict[str, Any]) -> Record:
        """As a controller writes a status that it has computed: nothing if it says nothing new."""
        return record if record.obj.get("status") == status else self.mark(record, status)

    def remove(self, record: Record) -> Record:
        """Take an object away now, whatever its finalizers say. Returns its last state."""
        current = self.record(record.resource, *record.key)
        return self._commit("DELETED", record.resource, dict(record.obj), current)

    # Inside

    def _name(self, resource: Resource, metadata: dict[str, Any]) -> None:
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                raise errors.invalid(
                    resource, "", "metadata.name", "Required value: name or generateName is required"
                )
            metadata["name"] = metadata["generateName"] + self.letters(5)

    def letters(self, count: int) -> str:
        return "".join(self.chance.choices(LETTERS, k=count))

    def now(self) -> str:
        return timestamp(self.clock())

    def _prepared(
        self, resource: Resource, old: Record, obj: dict[str, Any], subresource: str
    ) -> dict[str, Any]:
        """What is to be stored: the parts that this kind of write may change, and the old ones of the rest."""
        given, kept = obj["metadata"], old.obj["metadata"]
        if given.get("uid") and given["uid"] != kept["uid"]:
            why = (
                f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {kept['uid']}"
            )
            raise errors.conflict(resource, kept["name"], why)
        version = given.get("resourceVersion", "")
        if not version and not resource.unconditional:
            why = "Invalid value: 0x0: must be specified for an update"
            raise errors.invalid(resource, kept["name"], "metadata.resourceVersion", why)
        if version and version != kept["resourceVersion"]:
            raise errors.conflict(resource, kept["name"])
        if subresource == "status":
            return copy.deepcopy({**old.obj, "status": obj.get("status") or {}})
        new = copy.deepcopy(obj)
        if resource.status:
            new.pop("status", None)
            if "status" in old.obj:
                new["status"] = old.obj["status"]
        for name in _KEPT:
            new["metadata"].pop(name, None)
        new["metadata"] |= {name: kept[name] for name in _KEPT if name in kept}
        new["metadata"]["resourceVersion"] = kept["resourceVersion"]
        return new

    @staticmethod
    def _may_go(obj: dict[str, Any]) -> bool:
        metadata = obj["metadata"]
        finalized = not metadata.get("finalizers") and not (obj.get("spec") or {}).get("finalizers")
        return finalized and not metadata.get("deletionGracePeriodSeconds")

    def _commit(self, type_: str, resource: Resource, obj: dict[str, Any], old: Record | None) -> Record:
        self.rv += 1
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(self.rv)}
        record = Record(resource, obj, self.rv)
        if old is not None:
            self._forget(old)
        if type_ == "DELETED":
            del self._records[resource.key][record.key]
        else:
            self._keep(record)
        if resource.plural == "customresourcedefinitions":
            self._serve(obj, gone=type_ == "DELETED")
        event = Event(type_, record, old)
        for history in self._histories:
            history.take(event)
        self._to_tell.append(event)
        if not self._telling:
            self._tell()
        return record

    def _tell(self) -> None:
        self._telling = True
        try:
            while self._to_tell:
                event = self._to_tell.popleft()
                if event.type == "DELETED":
                    deletion.settle(self, event.record)
                for listener in tuple(self.listeners):
                    listener(event)
        finally:
            self._telling = False

    def _keep(self, record: Record) -> None:
        kind, (namespace, name) = record.resource.key, record.key
        self._records.setdefault(kind, {})[namespace, name] = record
        metadata = record.obj["metadata"]
        for key, value in (metadata.get("labels") or {}).items():
            self._labelled.setdefault((kind, namespace, key, value), {})[name] = None
        for owner in metadata.get("ownerReferences") or ():
            self._owned.setdefault(owner["uid"], {})[kind, namespace, name] = None

    def _forget(self, record: Record) -> None:
        """Take it out of the indexes. Its place among the objects is kept for what may come after it."""
        kind, (namespace, name) = record.resource.key, record.key
        metadata = record.obj["metadata"]
        for key, value in (metadata.get("labels") or {}).items():
            _drop(self._labelled, (kind, namespace, key, value), name)
        for owner in metadata.get("ownerReferences") or ():
            _drop(self._owned, owner["uid"], (kind, namespace, name))

    def _serve(self, definition: dict[str, Any], *, gone: bool) -> None:
        for resource in custom_resources(definition):
            (self.registry.remove if gone else self.registry.add)(resource)

    def __repr__(self) -> str:
        return f"<Store at {self.rv}, {sum(map(len, self._records.values()))} objects>"


def _drop(index: dict[Any, dict[Any, None]], key: Any, entry: Any) -> None:
    entries = index[key]
    entries.pop(entry, None)
    if not entries:
        del index[key]


def _same(new: dict[str, Any], old: dict[str, Any]) -> bool:
    return {**new, "kind": 0, "apiVersion": 0} == {**old, "kind": 0, "apiVersion": 0}


def _substance(obj: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in obj.items() if key not in {"metadata", "status", "kind", "apiVersion"}
    }
