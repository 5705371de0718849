"""Texts of Kubernetes manifests to the InferenceServices and ServingRuntimes in them, each with its place.

A core: told the texts. Lists of objects are taken apart; what is of another kind is left out, as a file may hold anything else beside.
Neighbours: `offline`, which asks what becomes of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from autoscaler.inference.credentials import account_annotations, secret_names, secret_of
from autoscaler.inference.shapes import Credentials, Fault, Json, Use, listing, mapping, meta, name_of, text
from gateway.config.problems import ConfigError, Problem

_MOST_VALUES = 1_000_000
SERVICE = "InferenceService"
RUNTIMES = ("ServingRuntime", "ClusterServingRuntime")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object, and where it begins."""

    file: str
    line: int
    item: Json

    @property
    def kind(self) -> str:
        return text(self.item.get("kind"))

    @property
    def title(self) -> str:
        namespace = text(meta(self.item).get("namespace")) or "default"
        return f"{self.kind} {namespace}/{name_of(self.item)}"

    def problem(self, fault: Fault) -> Problem:
        return Problem(self.file, self.line, f"{self.title} {fault.path}", fault.text)

    def __repr__(self) -> str:
        return f"<Manifest {self.title} at {self.file}:{self.line}>"


def parse(file: str, content: str) -> list[Manifest]:
    """All objects of a text. ConfigError when it is no YAML."""
    try:
        return [manifest for line, value in _documents(content) for manifest in _objects(file, line, value)]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        words = getattr(error, "problem", None) or "it cannot be read"
        raise ConfigError(
            [Problem(file, mark.line + 1 if mark else None, "", f"not YAML: {words}")]
        ) from error
    except (RecursionError, ValueError) as error:
        raise ConfigError([Problem(file, None, "", f"not YAML that can be used: {error}")]) from error


def services(manifests: Iterable[Manifest]) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest.kind == SERVICE]


def runtimes(manifests: Iterable[Manifest]) -> list[Json]:
    return [manifest.item for manifest in manifests if manifest.kind in RUNTIMES]


def credentials(manifests: Iterable[Manifest], namespace: str, use: Use) -> Credentials:
    """Of a service account, from the ServiceAccounts and Secrets among them; what is not among them is its `problem`."""
    there = {
        (manifest.kind, name_of(manifest.item)): manifest.item
        for manifest in manifests
        if (text(meta(manifest.item).get("namespace")) or "default") == namespace
    }
    name, named = use
    account = there.get(("ServiceAccount", name))
    names = secret_names(account or {}, named)
    missing = [f"Secret {each}" for each in names if ("Secret", each) not in there]
    if account is None and name != "default" and not named:
        missing.append(f"ServiceAccount {name}")
    found = tuple(secret_of(there["Secret", each]) for each in names if ("Secret", each) in there)
    says = f"not in these files, so that the init container is without its credentials: {', '.join(missing)}"
    return Credentials(found, account_annotations(account or {}), says if missing else "")


def _documents(content: str) -> Iterator[tuple[int, Any]]:
    loader = yaml.SafeLoader(content)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                value = loader.construct_document(node)
                _check_size(value)
                yield node.start_mark.line + 1, value
    finally:
        loader.dispose()


def _check_size(value: object) -> None:
    """ValueError when it is more than anybody writes, as aliases make it: of what stands inside of itself there is no end."""
    left, found = [value], 0
    while left:
        found += 1
        if found > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES:,} values, counting what aliases stand for")
        each = left.pop()
        if isinstance(each, dict):
            left += each.values()
        elif isinstance(each, list):
            left += each


def _objects(file: str, line: int, value: object) -> Iterator[Manifest]:
    item = mapping(value)
    if text(item.get("kind")).endswith("List"):
        for entry in listing(item.get("items")):
            yield from _objects(file, line, entry)
    elif item.get("kind"):
        yield Manifest(file, line, item)
