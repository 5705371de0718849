"""What lists and watches see: the objects as of the newest event that has come through, and the events before it.

Pure. Each resource has its own bounded history; a watch from before it has expired. `freeze` holds events back, so that lists and watches
go on showing an old state while the store moves on, as an API server's watch cache does that has fallen behind. Neighbours: `store`
feeds it, `watching` and `listing` read it.
"""

from __future__ import annotations

import json
from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tests.kube.errors import expired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.kube.kinds import Resource


class Record:
    """One state of one object. The object is never changed: what changes is put in its place."""

    def __init__(self, resource: Resource, obj: dict[str, Any], rv: int) -> None:
        self.resource = resource
        self.obj = obj
        self.rv = rv

    @property
    def key(self) -> tuple[str, str]:
        metadata = self.obj["metadata"]
        return metadata.get("namespace", ""), metadata["name"]

    @cached_property
    def item(self) -> bytes:
        """As lists hold it: built-in kinds go without apiVersion and kind there."""
        if self.resource.custom:
            return self.body
        return json.dumps(_untyped(self.obj), separators=(",", ":")).encode()

    @cached_property
    def body(self) -> bytes:
        typed = {"kind": self.resource.kind, "apiVersion": self.resource.api_version}
        if self.resource.custom:
            return json.dumps({**typed, **_untyped(self.obj)}, separators=(",", ":")).encode()
        return json.dumps(typed, separators=(",", ":")).encode()[:-1] + b"," + self.item[1:]

    def copy(self) -> dict[str, Any]:
        copied: dict[str, Any] = json.loads(self.body)
        return copied

    def __repr__(self) -> str:
        return f"<Record {self.resource.qualified} {'/'.join(filter(None, self.key))} at {self.rv}>"


def _untyped(obj: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in {"kind", "apiVersion"}}


class Event:
    """One change: `record` is what is there now, or was there last; `previous` is what was there before."""

    def __init__(self, type_: str, record: Record, previous: Record | None) -> None:
        self.type = type_
        self.record = record
        self.previous = previous
        self._lines: dict[str, bytes] = {}

    @property
    def rv(self) -> int:
        return self.record.rv

    def line(self, type_: str) -> bytes:
        """The watch's line, encoded once for all watchers. For a watch that the object leaves, DELETED holds what it saw last."""
        if type_ not in self._lines:
            record = self.record
            if type_ == "DELETED" != self.type and self.previous:
                metadata = {**self.previous.obj["metadata"], "resourceVersion": str(self.rv)}
                record = Record(record.resource, {**self.previous.obj, "metadata": metadata}, self.rv)
            self._lines[type_] = b'{"type":"%b","object":%b}\n' % (type_.encode(), record.body)
        return self._lines[type_]

    def __repr__(self) -> str:
        return f"<Event {self.type} {self.record!r}>"


class Table:
    """One resource as lists and watches see it."""

    def __init__(self, capacity: int, floor: int) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self.events: deque[Event] = deque(maxlen=capacity)
        self.floor = floor
        """Changes up to this resourceVersion are forgotten."""
        self.watchers: dict[int, Callable[[Event], None]] = {}

    def take(self, event: Event) -> None:
        if len(self.events) == self.events.maxlen:
            self.floor = self.events[0].rv
        self.events.append(event)
        if event.type == "DELETED":
            self.records.pop(event.record.key, None)
        else:
            self.records[event.record.key] = event.record
        for watcher in tuple(self.watchers.values()):
            watcher(event)

    def since(self, rv: int) -> list[Event]:
        """The events after a resourceVersion. Raises 410 if some of them are forgotten."""
        if rv < self.floor:
            raise expired(rv, self.floor)
        newer: list[Event] = []
        for event in reversed(self.events):
            if event.rv <= rv:
                break
            newer.append(event)
        newer.reverse()
        return newer


class History:
    """All tables. `rv` is the newest resourceVersion that has come through."""

    def __init__(self, capacity: int = 10_000, rv: int = 0, records: Iterable[Record] = ()) -> None:
        """It begins at `rv` with what is there by then."""
        self.capacity = capacity
        self.rv = rv
        self.frozen = False
        self.lists_current = False
        """While frozen, lists without a resourceVersion read past it, as a real server's do."""
        self._held: deque[Event] = deque()
        self._tables: dict[tuple[str, str], Table] = {}
        self._subscriptions = 0
        self._began = rv
        for record in records:
            self.table(record.resource).records[record.key] = record

    def table(self, resource: Resource) -> Table:
        if resource.key not in self._tables:
            self._tables[resource.key] = Table(self.capacity, self._began)
        return self._tables[resource.key]

    def take(self, event: Event) -> None:
        if self.frozen:
            self._held.append(event)
        else:
            self._show(event)

    def _show(self, event: Event) -> None:
        self.rv = event.rv
        self.table(event.record.resource).take(event)

    def subscribe(self, resource: Resource, watcher: Callable[[Event], None]) -> Callable[[], None]:
        """Tell `watcher` of each event to come; the answer ends that."""
        self._subscriptions += 1
        number, watchers = self._subscriptions, self.table(resource).watchers
        watchers[number] = watcher
        return lambda: watchers.pop(number, None) and None

    def freeze(self, *, lists_current: bool = False) -> None:
        self.frozen, self.lists_current = True, lists_current

    def thaw(self) -> None:
        self.frozen = False
        while self._held:
            self._show(self._held.popleft())

    def compact(self) -> None:
        """Forget every event: a watch from an earlier resourceVersion has expired."""
        for table in self._tables.values():
            table.events.clear()
            table.floor = self.rv

    def __repr__(self) -> str:
        state = f", frozen with {len(self._held)} held back" if self.frozen else ""
        return f"<History at {self.rv}, {len(self._tables)} resources{state}>"
