"""What is known of all InferenceServices: themselves, what is made of them, their documents, the runtimes.

A core. It is told by list-watches, and at once of what was written, so that nobody decides on what it has just changed itself; a watch that
lags behind does not take that back. Neighbours: `looking` tells it, `controller` asks it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from autoscaler.cluster.inference.kinds import (
    DOCUMENTS,
    RUNTIMES,
    SERVICES,
    Key,
    Kind,
    Object,
    is_older,
    key_of,
    owner_of,
)
from autoscaler.inference.runtimes import Runtimes, runtimes_of
from autoscaler.inference.shapes import WANTED, mappings, meta, text, texts

CLASS = "tidegate.dev/class"
OURS = "tidegate"
_REMEMBERED = 10_000


class Known:
    """The objects, found by the InferenceService that they are of."""

    def __init__(self) -> None:
        self._services: dict[Key, dict[Kind, Object]] = {}
        self._made: dict[Key, dict[tuple[str, str], Object]] = {}
        """By kind and name."""
        self._documents: dict[Key, dict[str, Object]] = {}
        self._runtimes: dict[tuple[str, str, str], Object] = {}
        self._chosen_from: Runtimes | None = None
        self._ended: dict[str, None] = {}
        """By uid: those whose end was seen lately, the last of them last."""

    def take(self, kind: Kind, item: Object) -> Key | None:
        """An object is there, as it was seen. Whose it is; None: everybody's."""
        self._ended.pop(text(meta(item).get("uid")), None)
        if kind in RUNTIMES:
            self._runtimes[(kind.kind, *key_of(item))] = item
            self._chosen_from = None
            return None
        owner = key_of(item) if kind in SERVICES else owner_of(item)
        place, name = self._place(kind, owner, item)
        there = place.get(name)
        if there is None or not is_older(item, there):
            place[name] = item
        return owner

    def wrote(self, kind: Kind, item: Object) -> None:
        """An object is there as a write was answered; but its end may have been seen before that answer was."""
        if text(meta(item).get("uid")) not in self._ended:
            self.take(kind, item)

    def ended(self, kind: Kind, item: Object) -> Key | None:
        """It was seen to be gone."""
        self._ended[text(meta(item).get("uid"))] = None
        if len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]
        return self.drop(kind, item)

    def drop(self, kind: Kind, item: Object) -> Key | None:
        """It is gone."""
        if kind in RUNTIMES:
            self._runtimes.pop((kind.kind, *key_of(item)), None)
            self._chosen_from = None
            return None
        owner = key_of(item) if kind in SERVICES else owner_of(item)
        place, name = self._place(kind, owner, item)
        there = place.get(name)
        if there is not None and meta(there).get("uid") == meta(item).get("uid"):
            del place[name]
        for table in (self._services, self._made, self._documents):
            if not table.get(owner, True):
                del table[owner]
        return owner

    def _place(self, kind: Kind, owner: Key, item: Object) -> tuple[dict[Any, Object], Any]:
        if kind in SERVICES:
            return self._services.setdefault(owner, {}), kind
        _, name = key_of(item)
        if kind == DOCUMENTS:
            return self._documents.setdefault(owner, {}), name
        return self._made.setdefault(owner, {}), (kind.kind, name)

    # -- asked

    def keys(self) -> set[Key]:
        """Of whatever there is anything."""
        return {*self._services, *self._made, *self._documents}

    def services(self, key: Key, *, everything: bool) -> list[tuple[Kind, Object]]:
        """Those of this name that are ours, `everything`: whatever their class. The first has the name: the older, or of two from one second that of the newer group."""
        found = [(k, o) for k, o in self._services.get(key, {}).items() if everything or _is_ours(o)]
        return sorted(found, key=_precedence)

    def made(self, key: Key, uid: str | None = None) -> list[Object]:
        """What we made of it; `uid`: of this life of it."""
        return [
            item
            for item in self._made.get(key, {}).values()
            if WANTED in texts(meta(item).get("annotations")) and (uid is None or uid in _owners(item))
        ]

    def documents(self, key: Key) -> list[Object]:
        """One that does not say whose it is was not written by us, whatever its label."""
        return list(self._documents.get(key, {}).values()) if all(key) else []

    @property
    def runtimes(self) -> Runtimes:
        if self._chosen_from is None:
            self._chosen_from = runtimes_of(self._runtimes.values())
        return self._chosen_from

    def __repr__(self) -> str:
        return f"<Known {len(self._services)} InferenceServices, {len(self._runtimes)} runtimes>"


def _precedence(found: tuple[Kind, Object]) -> tuple[str, int]:
    kind, item = found
    return text(meta(item).get("creationTimestamp")), SERVICES.index(kind)


def _is_ours(item: Mapping[str, Any]) -> bool:
    return texts(meta(item).get("annotations")).get(CLASS) == OURS


def _owners(item: Mapping[str, Any]) -> Iterator[str]:
    """The uid of what controls it."""
    owners = mappings(meta(item).get("ownerReferences"))
    return (text(owner.get("uid")) for owner in owners if owner.get("controller") is True)
