"""From what an InferenceService wants and what there is of it to the writes that are left to do, in their order.

A core. Nothing is written when nothing differs: an object is as it shall be when it carries the digest of what is wanted and has each field that
is, a document when its text is the same, a status when it is equal. What others keep on our objects stays: a Deployment's count, labels and
annotations that are not ours, the addresses of a Service. What an API server makes of a field is no reason to write it again.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from autoscaler.cluster.inference.kinds import (
    DOCUMENT,
    DOCUMENT_KEY,
    DOCUMENT_LABEL,
    DOCUMENT_OF,
    DOCUMENTS,
    Key,
    Kind,
    Object,
    key_of,
    made_kind,
    version_of,
)
from autoscaler.inference.shapes import digest, mapping, meta, texts

Verb = Literal["create", "replace", "delete"]
_OURS = "tidegate.dev/"
_KEPT_OF_SERVICE = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort")
_LONGEST_NAME = 253


@dataclass(frozen=True, slots=True)
class Step:
    """One write."""

    verb: Verb
    kind: Kind
    item: Object
    """As it shall be; to be deleted: as it is."""
    found: Object | None = None
    """What it replaces."""

    @property
    def body(self) -> Object:
        """What is written."""
        return self.item if self.found is None else over(self.found, self.item)

    def __str__(self) -> str:
        namespace, name = key_of(self.item)
        return f"{self.verb} {self.kind.kind.lower()} {namespace}/{name}"


def steps_to(
    wanted: Iterable[Object], there: Iterable[Object], altered: Container[str] = ()
) -> Iterator[Step]:
    """To the objects; those that are not wanted any more come last. `altered`: the `difference`s with which the API server answered a write."""
    live = {(item["kind"], *key_of(item)): item for item in there}
    for item in wanted:
        found = live.pop((item["kind"], *key_of(item)), None)
        if found is None:
            yield Step("create", made_kind(item), item)
        elif (differs := difference(found, item)) and differs not in altered:
            yield Step("replace", made_kind(item), item, found)
    yield from (Step("delete", made_kind(item), item) for item in live.values() if not _is_going(item))


def document_steps(
    key: Key, namespace: str, document: Mapping[str, Any] | None, there: Iterable[Object]
) -> Iterator[Step]:
    """To the one ConfigMap with the backends and routes, in `namespace`; None: to none."""
    live = {key_of(item)[1]: item for item in there}
    if document is not None:
        item = document_item(key, namespace, document)
        found = live.pop(key_of(item)[1], None)
        if found is None:
            yield Step("create", DOCUMENTS, item)
        elif mapping(found.get("data")) != item["data"]:
            yield Step("replace", DOCUMENTS, item, found)
    yield from (Step("delete", DOCUMENTS, item) for item in live.values())


def document_name(key: Key) -> str:
    name = ".".join(("isvc", *key))
    return name if len(name) <= _LONGEST_NAME else f"isvc.{digest(key)}"


def document_item(key: Key, namespace: str, document: Mapping[str, Any]) -> Object:
    text = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True)
    about = {
        "name": document_name(key),
        "namespace": namespace,
        "labels": {DOCUMENT_LABEL: DOCUMENT},
        "annotations": {DOCUMENT_OF: "/".join(key)},
    }
    return {"apiVersion": "v1", "kind": DOCUMENTS.kind, "metadata": about, "data": {DOCUMENT_KEY: text}}


def over(found: Mapping[str, Any], item: Object) -> Object:
    """`item` in the place of what is there."""
    about = {**item["metadata"], "resourceVersion": version_of(found)}
    for name in ("labels", "annotations"):
        others = {k: v for k, v in texts(meta(found).get(name)).items() if not k.startswith(_OURS)}
        about[name] = others | texts(about.get(name))
    made = {**item, "metadata": about}
    spec, before = mapping(item.get("spec")), mapping(found.get("spec"))
    if item["kind"] == "Deployment" and "replicas" in before:
        made["spec"] = {**spec, "replicas": before["replicas"]}
    if item["kind"] == "Service" and spec.get("type") == before.get("type"):
        made["spec"] = {**{key: before[key] for key in _KEPT_OF_SERVICE if key in before}, **spec}
    return made


def difference(found: Mapping[str, Any], item: Object) -> str:
    """A digest of what is not as it shall be, and of how it shall be; "" when all is. What is there beside it counts for nothing."""
    whole = _fields(item)
    part = _part(_fields(found), whole)
    return "" if part == whole else digest([item["kind"], *key_of(item), part, whole])


def _fields(item: Mapping[str, Any]) -> Object:
    """Those that we set; who owns it is what it was found by."""
    about = meta(item)
    return {"labels": about.get("labels"), "annotations": about.get("annotations"), "spec": item.get("spec")}


def _part(found: object, wanted: object) -> object:
    """As much of what is there as has a place in what is wanted."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        return {key: _part(found[key], value) for key, value in wanted.items() if key in found}
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        return [_part(one, other) for one, other in zip(found, wanted, strict=True)]
    return found


def _is_going(item: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in meta(item)
