"""YAML as the API reads it: several documents, Lists taken apart, and what looks like a date is a string."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST = {"Namespace": 0, "CustomResourceDefinition": 1, "ServiceAccount": 2}
"""What others need comes first, whatever the order in the file."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 (as its base has it)
        first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parsed(text: str | bytes) -> Any:
    """One document."""
    return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader that knows less)


def objects(manifests: str | bytes | dict[str, Any] | Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every object in YAML, or in dicts, in the order in which they can be created."""
    if isinstance(manifests, str | bytes):
        documents = list(yaml.load_all(manifests, _Loader))
    else:
        documents = [manifests] if isinstance(manifests, dict) else list(manifests)
    found = [item for document in documents if document for item in _items(document)]
    return sorted(found, key=lambda obj: FIRST.get(obj["kind"], len(FIRST)))


def _items(document: dict[str, Any]) -> list[dict[str, Any]]:
    return document["items"] if document["kind"].endswith("List") and "items" in document else [document]
