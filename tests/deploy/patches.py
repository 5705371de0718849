"""One patch on one object: kustomize's strategic merge, and JSON Patch (RFC 6902)."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

_MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "ports": ("containerPort", "port"),  # of containers and of Services
}
"""By the list's field: what tells its items apart. Other lists are replaced whole."""


def merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    """Lay `patch` over `into`. null removes; lists of named things merge by name, new items first, as kustomize puts them."""
    for field, value in patch.items():
        if field.startswith("$"):
            raise ValueError(f"{field} is not known here")
        if value is None:
            into.pop(field, None)
        elif isinstance(value, dict) and isinstance(into.get(field), dict):
            merge(into[field], value)
        elif isinstance(value, list) and field in _MERGE_KEYS and into.get(field):
            into[field] = _merged(into[field], value, _MERGE_KEYS[field])
        else:
            into[field] = deepcopy(value)


def _merged(old: list[dict[str, Any]], new: list[dict[str, Any]], names: tuple[str, ...]) -> list[Any]:
    name = next(name for name in names if name in new[0])
    by_name = {item.get(name): item for item in old}
    added = [item for item in new if item[name] not in by_name]
    for item in new:
        if item[name] in by_name:
            merge(by_name[item[name]], item)
    return [*deepcopy(added), *old]


def json_patch(obj: dict[str, Any], operations: Iterable[dict[str, Any]]) -> None:
    """add, replace, remove and test."""
    for operation in operations:
        steps = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
        parent: Any = obj
        for step in steps[:-1]:
            parent = parent[int(step)] if isinstance(parent, list) else parent[step]
        _operate(parent, steps[-1], operation)


def _operate(parent: Any, last: str, operation: dict[str, Any]) -> None:
    at: Any = last
    if isinstance(parent, list):
        at = len(parent) if last == "-" else int(last)
    match operation["op"]:
        case "add" if isinstance(parent, list):
            parent.insert(at, deepcopy(operation["value"]))
        case "add":
            parent[at] = deepcopy(operation["value"])
        case "replace":
            parent[at]  # what is not there cannot be replaced
            parent[at] = deepcopy(operation["value"])
        case "remove":
            del parent[at]
        case "test":
            if parent[at] != operation["value"]:
                raise ValueError(f"{operation['path']} is {parent[at]!r}")
        case other:
            raise ValueError(f"{other} is not known here")
