"""What all Kubernetes objects have in common: names, times, labels and the selectors that choose by them.

A core: it reads the JSON that the API server sends and refuses nothing; what is missing is empty. A Selector is made of either of
the forms that the API uses: a mapping of `matchLabels` and `matchExpressions`, or the text in a scale's status. An Index finds
the selectors that choose an object without trying each, Labelled the objects that a selector chooses: 500 Deployments must not make
each pod 500 times as dear, nor 2,000 pods each Deployment.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

Json = Mapping[str, Any]
Label = tuple[str, str]
T = TypeVar("T")

_SET = re.compile(r"(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^)]*)\)")
_TERMS = re.compile(r",(?![^(]*\))")
"""The commas between terms, not those within parentheses."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a selector: `In`, `NotIn`, `Exists` or `DoesNotExist`, with the API's meanings."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
        return False


@dataclass(frozen=True, slots=True)
class Selector:
    """All of its requirements must hold; without any it chooses nothing, so that a mistake never takes in a whole namespace."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return bool(self.requirements) and all(term.matches(labels) for term in self.requirements)

    @property
    def anchors(self) -> list[tuple[Label, ...]]:
        """Sets of labels: every object that it chooses has one of each set."""
        narrow = [term for term in self.requirements if term.operator == "In"]
        return [tuple((term.key, value) for value in sorted(term.values)) for term in narrow]


def selector_of(mapping: Json | None) -> Selector:
    """Of a Deployment's `spec.selector`."""
    mapping = mapping or {}
    terms = [
        Requirement(key, "In", frozenset([value]))
        for key, value in (mapping.get("matchLabels") or {}).items()
    ]
    terms += [
        Requirement(term["key"], term["operator"], frozenset(term.get("values") or ()))
        for term in mapping.get("matchExpressions") or ()
    ]
    return Selector(tuple(terms))


def parse_selector(text: str) -> Selector:
    """Of a scale's `status.selector`, as in `app=iris,tier in (a,b),!canary`."""
    return Selector(tuple(_requirement(term.strip()) for term in _TERMS.split(text) if term.strip()))


def _requirement(term: str) -> Requirement:
    found = _SET.fullmatch(term)
    if found is not None:
        values = frozenset(value.strip() for value in found["values"].split(","))
        return Requirement(found["key"], "In" if found["operator"] == "in" else "NotIn", values)
    if "!=" in term:
        key, _, value = term.partition("!=")
        return Requirement(key.strip(), "NotIn", frozenset([value.strip()]))
    if "=" in term:
        key, _, value = term.partition("=")
        return Requirement(key.strip(), "In", frozenset([value.removeprefix("=").strip()]))
    if term.startswith("!"):
        return Requirement(term[1:].strip(), "DoesNotExist")
    return Requirement(term, "Exists")


class Index(Generic[T]):
    """Which of many selectors choose an object with given labels."""

    def __init__(self) -> None:
        self._selectors: dict[T, Selector] = {}
        self._anchors: dict[T, tuple[Label, ...]] = {}
        """Under which labels each selector is looked for; none: it is tried for every object."""
        self._anchored: dict[Label, set[T]] = {}
        self._unanchored: set[T] = set()

    def put(self, owner: T, selector: Selector | None) -> bool:
        """Set, replace or (None) remove the selector of `owner`; whether that changed anything."""
        old = self._selectors.get(owner)
        if old == selector:
            return False
        if old is not None:
            self._remove(owner)
        if selector is not None:
            self._selectors[owner] = selector
            # The least crowded: a label that all have, as a chart's, tells nothing.
            self._anchors[owner] = min(selector.anchors, key=self._crowd, default=())
            for places in self._places(owner):
                places.add(owner)
        return True

    def find(self, labels: Mapping[str, str]) -> set[T]:
        """The owners of all selectors that match."""
        candidates = self._unanchored.union(*(self._anchored.get(label, ()) for label in labels.items()))
        return {owner for owner in candidates if self._selectors[owner].matches(labels)}

    def _remove(self, owner: T) -> None:
        del self._selectors[owner]
        for places in self._places(owner):
            places.discard(owner)
        for label in self._anchors.pop(owner):
            if not self._anchored[label]:
                del self._anchored[label]

    def _crowd(self, anchors: tuple[Label, ...]) -> int:
        return sum(len(self._anchored.get(label, ())) for label in anchors)

    def _places(self, owner: T) -> Iterator[set[T]]:
        anchors = self._anchors[owner]
        if not anchors:
            yield self._unanchored
        for label in anchors:
            yield self._anchored.setdefault(label, set())

    def __repr__(self) -> str:
        return f"<Index of {len(self._selectors)} selectors>"


class Labelled:
    """Which of many objects a selector may choose: the other way round."""

    def __init__(self) -> None:
        self._names: dict[Label, set[str]] = {}

    def put(self, name: str, before: Iterable[Label], now: Iterable[Label]) -> None:
        """An object's labels were others, or none, and are these, or none."""
        for label in before:
            names = self._names[label]
            names.discard(name)
            if not names:
                del self._names[label]
        for label in now:
            self._names.setdefault(label, set()).add(name)

    def find(self, selector: Selector) -> set[str] | None:
        """The fewest names among which are all that it chooses; None when labels do not tell."""
        found = [
            set().union(*(self._names.get(label, ()) for label in anchors)) for anchors in selector.anchors
        ]
        return min(found, key=len, default=None)

    def __repr__(self) -> str:
        return f"<Labelled by {len(self._names)} labels>"


@dataclass(frozen=True, slots=True)
class Controller:
    """The one owner that makes an object anew when it goes."""

    kind: str
    name: str
    uid: str


def controller_of(item: Json) -> Controller | None:
    owners = metadata(item).get("ownerReferences") or ()
    found = (Controller(one["kind"], one["name"], one["uid"]) for one in owners if one.get("controller"))
    return next(found, None)


def metadata(item: Json) -> Json:
    found: Json = item.get("metadata") or {}
    return found


def key_of(item: Json) -> str:
    """The name within its namespace: what tells it from others of its kind there."""
    name: str = metadata(item).get("name", "")
    return name


def epoch(time: str | None) -> float:
    """Seconds since 1970 of the API's RFC 3339 times; 0 when there is none."""
    return datetime.fromisoformat(time).timestamp() if time else 0.0


def rfc3339(at: float, timespec: Literal["seconds", "microseconds"] = "seconds") -> str:
    """The other way round; the API's type of a field, Time or MicroTime, says which `timespec` it has."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def setter_of(item: Json) -> str:
    """Who owns the count of an object, as the API server keeps book; "" when that is not told."""
    entries = [entry for entry in metadata(item).get("managedFields") or () if _of_count(entry)]
    if not entries:
        return ""
    name: str = max(entries, key=lambda entry: entry.get("time") or "").get("manager") or ""
    return name


def _of_count(entry: Json) -> bool:
    return "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})


def condition(item: Json, kind: str) -> Json | None:
    """The status condition of that type."""
    conditions: list[Json] = (item.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == kind), None)
