"""The four kinds of patch, pure: each returns a new object and leaves the old one alone.

A strategic merge patch is a merge patch that merges lists of named things by their names (`MERGE_KEYS`), and knows `$patch`.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.kube.errors import ApiError, bad_request

MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "conditions": "type",
    "ownerReferences": "uid",
    "addresses": "type",
    "secrets": "name",
}


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    new = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = merged(new.get(key), value)
    return new


def strategically_merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    new = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if key.startswith(("$setElementOrder/", "$retainKeys", "$deleteFromPrimitiveList/")):
            continue
        if value is None:
            new.pop(key, None)
        elif isinstance(value, list):
            new[key] = _merged_list(key, new.get(key) or [], value)
        else:
            new[key] = strategically_merged(new.get(key), value)
    return new


def _merged_list(field: str, old: list[Any], patch: list[Any]) -> list[Any]:
    if field == "finalizers":
        return [*old, *(item for item in patch if item not in old)]
    key = _merge_key(field, patch)
    if not key or {"$patch": "replace"} in patch:
        return [copy.deepcopy(item) for item in patch if item != {"$patch": "replace"}]
    items = {item.get(key): item for item in old}
    for item in patch:
        if item.get("$patch") == "delete":
            items.pop(item[key], None)
        else:
            items[item[key]] = strategically_merged(items.get(item[key]), item)
    return list(items.values())


def _merge_key(field: str, patch: list[Any]) -> str:
    """Ports of a container and of a Service go by different keys."""
    if not all(isinstance(item, dict) for item in patch):
        return ""
    key = MERGE_KEYS.get(field, "")
    if field == "ports":
        key = "containerPort" if any("containerPort" in item for item in patch) else "port"
    named = [item for item in patch if item != {"$patch": "replace"}]
    return key if named and all(key in item for item in named) else ""


def json_patched(old: Any, operations: Any) -> Any:
    """RFC 6902."""
    if not isinstance(operations, list):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    new = copy.deepcopy(old)
    for operation in operations:
        try:
            new = _operated(new, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            what = f"{operation.get('op')} operation does not apply: doc is missing path: {operation.get('path')!r}"
            raise ApiError(
                422, "Invalid", f"the server rejected our request due to an error in our request: {what}"
            ) from error
    return new


def _operated(doc: Any, operation: dict[str, Any]) -> Any:
    op, path = operation["op"], operation["path"]
    if op == "test":
        if _at(doc, path) != operation["value"]:
            raise ApiError(422, "Invalid", f"the server rejected our request: testing value {path} failed")
        return doc
    if op in {"move", "copy"}:
        value = copy.deepcopy(_at(doc, operation["from"]))
        if op == "move":
            doc = _removed(doc, operation["from"])
        return _added(doc, path, value)
    if op == "remove":
        return _removed(doc, path)
    if op == "replace":
        _at(doc, path)
        return _added(
            _removed(doc, path) if isinstance(_parent(doc, path), list) else doc, path, operation["value"]
        )
    if op == "add":
        return _added(doc, path, operation["value"])
    raise ValueError(op)


def _steps(path: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def _at(doc: Any, path: str) -> Any:
    for step in _steps(path):
        doc = doc[int(step)] if isinstance(doc, list) else doc[step]
    return doc


def _parent(doc: Any, path: str) -> Any:
    return _at(doc, path.rpartition("/")[0])


def _added(doc: Any, path: str, value: Any) -> Any:
    if not path:
        return value
    parent, last = _parent(doc, path), _steps(path)[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else int(last), value)
    else:
        parent[last] = value
    return doc


def _removed(doc: Any, path: str) -> Any:
    parent, last = _parent(doc, path), _steps(path)[-1]
    del parent[int(last) if isinstance(parent, list) else last]
    return doc
