"""Label and field selectors, in the forms that a query string and a LabelSelector object have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.kube.errors import bad_request
from tests.kube.kinds import METADATA_FIELDS, dig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kube.kinds import Resource

_SET = re.compile(r"^(\S+)\s+(in|notin)\s*\(([^()]*)\)$")
_EQUAL = re.compile(r"^([^\s=!<>]+)\s*(==|=|!=)\s*([^\s=!]*)$")
_EXISTS = re.compile(r"^(!?)\s*([^\s=!<>()]+)$")
_COMMAS = re.compile(r",(?![^(]*\))")
_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}


class LabelSelector:
    """Requirements that labels must meet, all of them. None at all are met by anything."""

    def __init__(self, requirements: list[tuple[str, str, frozenset[str]]]) -> None:
        self.requirements = requirements

    @classmethod
    def parse(cls, text: str) -> LabelSelector:
        """From a query string: `app=web,tier in (a, b),!old`."""
        return cls([_requirement(part.strip()) for part in _COMMAS.split(text) if part.strip()])

    @classmethod
    def of(cls, selector: Mapping[str, Any] | None) -> LabelSelector:
        """From a LabelSelector object; an absent one selects nothing."""
        if selector is None:
            return cls([("", "in", frozenset())])
        wanted = [
            (key, "in", frozenset({value}))
            for key, value in sorted((selector.get("matchLabels") or {}).items())
        ]
        expressions = selector.get("matchExpressions") or ()
        return cls(
            [
                *wanted,
                *(
                    (each["key"], _OPERATORS[each["operator"]], frozenset(each.get("values") or ()))
                    for each in expressions
                ),
            ]
        )

    @classmethod
    def equal(cls, labels: Mapping[str, str]) -> LabelSelector:
        return cls([(key, "in", frozenset({value})) for key, value in sorted(labels.items())])

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(_meets(labels, *requirement) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(_worded(*requirement) for requirement in self.requirements)

    def __repr__(self) -> str:
        return f"<LabelSelector {self}>"


def _requirement(part: str) -> tuple[str, str, frozenset[str]]:
    if found := _SET.match(part):
        return found[1], found[2], frozenset(value.strip() for value in found[3].split(","))
    if found := _EQUAL.match(part):
        return found[1], "notin" if found[2] == "!=" else "in", frozenset({found[3]})
    if found := _EXISTS.match(part):
        return found[2], "absent" if found[1] else "exists", frozenset()
    raise bad_request(f"unable to parse requirement: found '{part}', expected: in, notin, =, ==, !=, gt, lt")


def _meets(labels: Mapping[str, str], key: str, operator: str, values: frozenset[str]) -> bool:
    match operator:
        case "in":
            return labels.get(key) in values
        case "notin":
            return labels.get(key) not in values
        case "exists":
            return key in labels
    return key not in labels


def _worded(key: str, operator: str, values: frozenset[str]) -> str:
    match operator:
        case "exists":
            return key
        case "absent":
            return f"!{key}"
        case "in" if len(values) == 1:
            return f"{key}={next(iter(values))}"
    return f"{key} {operator} ({','.join(sorted(values))})"


class FieldSelector:
    """Fields that an object must have, or must not have."""

    def __init__(self, terms: list[tuple[str, bool, str]]) -> None:
        self.terms = terms

    @classmethod
    def parse(cls, text: str, resource: Resource) -> FieldSelector:
        terms = []
        for part in filter(None, text.split(",")):
            found = re.match(r"^([^=!]+)(==|=|!=)(.*)$", part)
            if not found:
                raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
            if found[1] not in METADATA_FIELDS and found[1] not in resource.fields:
                raise bad_request(f"field label not supported: {found[1]}")
            terms.append((found[1], found[2] != "!=", found[3]))
        return cls(terms)

    def name(self) -> str:
        """The one name that is asked for, if it is one."""
        return next((value for path, equal, value in self.terms if equal and path == "metadata.name"), "")

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return all((_text(dig(obj, path.split("."))) == value) is equal for path, equal, value in self.terms)

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __repr__(self) -> str:
        return f"<FieldSelector {self.terms}>"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class Selection:
    """Which objects a list or a watch is about: a namespace ("" for all), labels and fields."""

    def __init__(self, namespace: str, labels: LabelSelector, fields: FieldSelector) -> None:
        self.namespace = namespace
        self.labels = labels
        self.fields = fields
        self.narrow = bool(labels) or bool(fields)

    def matches(self, obj: Mapping[str, Any]) -> bool:
        metadata = obj["metadata"]
        if self.namespace and metadata.get("namespace") != self.namespace:
            return False
        if not self.narrow:
            return True
        return self.labels.matches(metadata.get("labels") or {}) and self.fields.matches(obj)

    def __repr__(self) -> str:
        return f"<Selection in {self.namespace or 'all namespaces'}, {self.labels!r}, {self.fields!r}>"
