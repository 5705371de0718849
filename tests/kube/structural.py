"""Custom resources by the schema of their definition: defaults, what is not in it pruned, the rest checked. Pure.

As the API server does with a structural schema; of the rules that a schema may have only those that are used here: types, required, enum, pattern,
lengths, bounds, `x-kubernetes-int-or-string` and `x-kubernetes-preserve-unknown-fields`.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from tests.kube import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kube.kinds import Resource

Schema = dict[str, Any]
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}
_TOP = {"apiVersion", "kind", "metadata"}


def shape(resource: Resource, obj: dict[str, Any]) -> None:
    """Complete, prune and check an object in place. Raises 422."""
    if resource.schema is None:
        return
    for name, schema in (resource.schema.get("properties") or {}).items():
        if name not in _TOP and name in obj:
            _complete(schema, obj[name])
            _prune(schema, obj[name])
    if not resource.schema.get("x-kubernetes-preserve-unknown-fields"):
        for name in obj.keys() - _TOP - (resource.schema.get("properties") or {}).keys():
            del obj[name]
    for name, schema in (resource.schema.get("properties") or {}).items():
        if name not in _TOP and name in obj:
            for path, why in _faults(schema, obj[name], name):
                raise errors.invalid(resource, obj["metadata"]["name"], path, why)


def _complete(schema: Schema, value: Any) -> None:
    if isinstance(value, dict):
        for name, inner in (schema.get("properties") or {}).items():
            if name not in value and "default" in inner:
                value[name] = copy.deepcopy(inner["default"])
    for inner, part in _parts(schema, value):
        _complete(inner, part)


def _prune(schema: Schema, value: Any) -> None:
    if isinstance(value, dict) and _is_closed(schema):
        for name in value.keys() - schema.get("properties", {}).keys():
            del value[name]
    for inner, part in _parts(schema, value):
        _prune(inner, part)


def _is_closed(schema: Schema) -> bool:
    return not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema


def _parts(schema: Schema, value: Any) -> Iterator[tuple[Schema, Any]]:
    if isinstance(value, dict):
        more = schema.get("additionalProperties")
        properties = schema.get("properties") or {}
        for name, part in value.items():
            inner = properties.get(name, more)
            if isinstance(inner, dict):
                yield inner, part
    elif isinstance(value, list) and "items" in schema:
        for part in value:
            yield schema["items"], part


def _faults(schema: Schema, value: Any, at: str) -> Iterator[tuple[str, str]]:
    if not _is_of_type(schema, value):
        wanted = schema.get("type") or "integer or string"
        yield at, f"Invalid value: {value!r}: {at} in body must be of type {wanted}"
        return
    if "enum" in schema and value not in schema["enum"]:
        known = ", ".join(f'"{word}"' for word in schema["enum"])
        yield at, f'Unsupported value: "{value}": supported values: {known}'
    yield from _bounds(schema, value, at)
    if isinstance(value, dict):
        missing = [name for name in schema.get("required", ()) if name not in value]
        yield from ((f"{at}.{name}", "Required value") for name in missing)
        more, properties = schema.get("additionalProperties"), schema.get("properties") or {}
        for name, part in value.items():
            inner = properties.get(name, more)
            if isinstance(inner, dict):
                yield from _faults(inner, part, f"{at}.{name}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _faults(schema["items"], part, f"{at}[{index}]")


def _is_of_type(schema: Schema, value: Any) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, (int, str)) and not isinstance(value, bool)
    types = _TYPES.get(schema.get("type", ""))
    if types is None:
        return True
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _bounds(schema: Schema, value: Any, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield at, f"Invalid value: \"{value}\": {at} in body should match '{schema['pattern']}'"
        if len(value) < schema.get("minLength", 0) or len(value) > schema.get("maxLength", len(value)):
            yield at, f'Invalid value: "{value}": {at} in body has a length that is not allowed'
    elif isinstance(value, (int, float)):
        if value < schema.get("minimum", value):
            yield (
                at,
                f"Invalid value: {value}: {at} in body should be greater than or equal to {schema['minimum']}",
            )
        if value > schema.get("maximum", value):
            yield (
                at,
                f"Invalid value: {value}: {at} in body should be less than or equal to {schema['maximum']}",
            )
    elif isinstance(value, list) and len(value) < schema.get("minItems", 0):
        yield at, f"Invalid value: {len(value)}: {at} in body should have at least {schema['minItems']} items"
