"""Files of InferenceServices without a cluster: what they become, as text (`tidegate render`), or as a configuration for `tidegate up`.

Reads files, and raises ConfigError with all that is wrong in them. Neighbours: `inference.offline` and `inference.local`, the cores; `gateway.cli`.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autoscaler.cluster.inference.terms import settings_of
from autoscaler.inference.local import local_document, local_faults
from autoscaler.inference.manifests import Manifest, credentials, parse, runtimes, services
from autoscaler.inference.offline import Rendered, rendered
from autoscaler.inference.runtimes import runtimes_of
from autoscaler.inference.shapes import Settings, meta, text
from autoscaler.inference.wanted import uses_of
from gateway.config import Config, ConfigError, Overrides, Problem, check_role, digest, read
from gateway.config.load import load_content

_MARK = b"InferenceService"


@dataclass(frozen=True, slots=True)
class Rendering:
    """All of some files."""

    text: str
    """YAML."""
    problems: tuple[Problem, ...]
    """Why some are refused, and have no text."""
    warnings: tuple[Problem, ...]
    """What of the others is not done as they say."""


def render(paths: Iterable[Path], config: Config | None) -> Rendering:
    """What the InferenceServices of all files become; ServingRuntimes in any of them count. ConfigError when a file cannot be used."""
    paths = list(paths)
    found = [manifest for path in paths for manifest in _manifests(path, read(path))]
    settings = settings_of(None if config is None else config.inference_services)
    texts: list[str] = []
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for manifest, answer in _rendered(found, settings):
        refused = any(fault.refused for fault in answer.faults)
        for fault in answer.faults:
            (problems if fault.refused else warnings).append(manifest.problem(fault))
        texts += [] if refused else _texts(manifest, answer)
    if not services(found):
        raise ConfigError([Problem(", ".join(map(str, paths)), None, "", "holds no InferenceService")])
    return Rendering("".join(texts), tuple(problems), tuple(warnings))


def has_services(content: bytes) -> bool:
    """Whether a file's bytes are manifests with InferenceServices, and no configuration."""
    if _MARK not in content:
        return False
    try:
        return bool(services(parse("", content.decode("utf-8-sig"))))
    except (ConfigError, UnicodeDecodeError):
        return False


def load_services(path: Path, overrides: Overrides | None = None) -> Config:
    """The InferenceServices of a file as a configuration that runs them here. Raises ConfigError."""
    content = read(path)
    found = _manifests(path, content)
    problems: list[Problem] = []
    warnings: list[Problem] = []
    parts: list[dict[str, Any]] = []
    for manifest, answer in _rendered(found, settings_of(None)):
        refused = any(fault.refused for fault in answer.faults)
        faults = [*answer.faults, *(() if refused else local_faults(manifest.item))]
        for fault in faults:
            (problems if fault.refused else warnings).append(manifest.problem(fault))
        parts += [] if any(fault.refused for fault in faults) else [local_document(answer)]
    if problems:
        raise ConfigError(problems)
    config = _loaded(path, content, parts, overrides)
    return config.model_copy(update={"warnings": (*warnings, *config.warnings)})


def _loaded(path: Path, content: bytes, parts: list[dict[str, Any]], overrides: Overrides | None) -> Config:
    """Lines of what was made of the file are not the file's: nothing is told with one."""
    made = {
        "backends": {name: backend for part in parts for name, backend in part["backends"].items()},
        "routes": [route for part in parts for route in part["routes"]],
    }
    try:
        config = load_content(path, json.dumps(made).encode(), overrides)
    except ConfigError as error:
        raise ConfigError(Problem(p.file, None, p.where, p.text) for p in error.problems) from error
    config = config.model_copy(update={"digest": digest(content), "target_lines": {}, "key_lines": {}})
    if problems := check_role(config, "up"):
        raise ConfigError(problems)
    return config


def _manifests(path: Path, content: bytes) -> list[Manifest]:
    try:
        return parse(str(path), content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), None, "", "is not UTF-8 text")]) from error


def _rendered(found: list[Manifest], settings: Settings) -> Iterator[tuple[Manifest, Rendered]]:
    known, now = runtimes_of(runtimes(found)), time.time()
    seen: dict[str, Manifest] = {}
    for manifest in services(found):
        other = seen.setdefault(manifest.title, manifest)
        if other is not manifest:
            says = f"is given twice, first at {other.file}:{other.line}"
            raise ConfigError([Problem(manifest.file, manifest.line, manifest.title, says)])
        namespace = text(meta(manifest.item).get("namespace")) or "default"
        given = {use: credentials(found, namespace, use) for use in uses_of(manifest.item, settings)}
        yield manifest, rendered(manifest.item, known, settings, now, given)


def _texts(manifest: Manifest, answer: Rendered) -> Iterator[str]:
    document, later = answer.first.document, answer.settled.document
    for item in answer.first.objects:
        yield _text(f"{manifest.title}: {item['kind']}", item)
    yield _text(f"{manifest.title}: for Tidegate", document or {"backends": {}, "routes": []})
    for item in answer.later:
        yield _text(f"{manifest.title}, once all pods are ready: {item['kind']}", item)
    if later != document:
        ready = f"{manifest.title}, once all pods are ready: for Tidegate"
        yield _text(ready, later or {"backends": {}, "routes": []})


def _text(title: str, item: dict[str, Any]) -> str:
    # Through JSON: what is one object in two places would be written as an alias.
    plain = json.loads(json.dumps(item, default=str))
    return f"---\n# {title}\n{yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)}"
