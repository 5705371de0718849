"""The scale subresource: the three numbers of anything that has replicas, as an autoscaling/v1 Scale. Pure.

As in the real one, a zero under `spec` is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kube.errors import invalid
from tests.kube.kinds import dig
from tests.kube.selectors import LabelSelector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.kube.history import Record

_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(record: Record) -> dict[str, Any]:
    paths, obj = record.resource.scale, record.obj
    assert paths is not None
    replicas = dig(obj, paths.spec)
    status: dict[str, Any] = {"replicas": dig(obj, paths.status) or 0}
    if selector := _selector(paths.selector, obj):
        status["selector"] = selector
    metadata = obj["metadata"]
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in _METADATA if key in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _selector(path: tuple[str, ...] | None, obj: dict[str, Any]) -> str:
    if path is None:
        return str(LabelSelector.of(dig(obj, ("spec", "selector"))))
    return str(dig(obj, path) or "")


def scaled(record: Record, scale: dict[str, Any]) -> dict[str, Any]:
    """The object with a Scale's replicas, under the Scale's resourceVersion and uid as preconditions."""
    paths = record.resource.scale
    assert paths is not None
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid(record.resource, record.key[1], "spec.replicas", why)
    obj = _with(record.obj, paths.spec, replicas)
    given = scale.get("metadata") or {}
    preconditions = {key: given[key] for key in ("resourceVersion", "uid") if given.get(key)}
    return {**obj, "metadata": {**obj["metadata"], **preconditions}}


def _with(obj: dict[str, Any], path: Iterable[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    return {**obj, first: _with(obj.get(first) or {}, rest, value) if rest else value}
