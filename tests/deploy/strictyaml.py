"""YAML as an API server takes it: PyYAML's, but a key that is given twice is an error, as with kubectl's strict validation."""

import json
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.CSafeLoader):
    """Refuses duplicate keys, which PyYAML lets the last of win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for twice in {key for key in keys if keys.count(key) > 1}:
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def documents(source: Path | str) -> list[Any]:
    """The documents of a file, or of a text, without empty ones."""
    # By way of JSON, as to an API server: what an anchor named is a copy wherever it is used.
    return [
        json.loads(document)
        for document in _parsed(source.read_text() if isinstance(source, Path) else source)
    ]


@cache
def _parsed(text: str) -> list[str]:
    loaded = yaml.load_all(text, _Loader)
    return [json.dumps(document) for document in loaded if document is not None]
