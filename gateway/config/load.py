"""From a file to a Config, or to a ConfigError with every problem that the file has.

Synchronous, and without effects other than reading the file: a thousand routes take a good part of a second, so servers
run it off the event loop. Options of the command line go through the same parsers as the file's values.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from gateway.config.addresses import Address, parse_address
from gateway.config.checks import cross_faults, document_faults, warnings
from gateway.config.explain import blank, explain
from gateway.config.models import Document
from gateway.config.problems import ConfigError, Fault, KeyPath, Problem, show, where
from gateway.config.target import GatewayService
from gateway.config.yamltree import Node, YamlError, compose
from gateway.targets import ServiceTarget

_LARGEST_FILE = 16 * 2**20
_SOME = {"backends": {"minProperties": 1}, "routes": {"minItems": 1}}
"""What a file without InferenceServices has at the least, in words of JSON Schema."""
_MOST_PROBLEMS = 50
"""Of one file that are told one by one: a file of 200,000 mistakes is some other file."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Options of the command line that go before the file: `HOST:PORT`, as the person wrote them."""

    listen: str | None = None
    admin: str | None = None
    """`--admin`, for the gateway and for `up`."""
    autoscaler_admin: str | None = None
    """`--admin`, for the autoscaler on its own."""

    def parse(self) -> dict[str, Address]:
        """By field of Overrides; ConfigError naming the option."""
        parsed: dict[str, Address] = {}
        problems: list[Problem] = []
        for name, option in (("listen", "--listen"), ("admin", "--admin"), ("autoscaler_admin", "--admin")):
            text = getattr(self, name)
            try:
                parsed |= {} if text is None else {name: parse_address(text)}
            except PydanticCustomError as error:
                problems += [Problem(option, None, "", words) for _, words in (error.context or {})["faults"]]
        if problems:
            raise ConfigError(problems)
        return parsed


def _reachable(listening: Address) -> Address:
    """From this machine."""
    return Address("127.0.0.1", listening.port) if listening.host in ("", "0.0.0.0", "::") else listening


class Config(Document):
    """A Document that was read, checked, and placed."""

    path: Path
    """As it was given."""
    digest: str
    """Of the file's bytes: tells `watch` what is known already."""
    warnings: tuple[Problem, ...]
    target_lines: Mapping[str, int]
    """The line of each Backend's target, for problems that only show when it is used."""
    key_lines: Mapping[str, int]
    """The line of each key of the file's outermost level."""
    file_lines: Mapping[KeyPath, int]
    """The line of each key that `files` and `secret_files` yield, for problems that only show when they are loaded."""

    @property
    def base_dir(self) -> Path:
        """The folder that relative paths start from. Symbolic links stay: kubelets swap them."""
        return self.path.absolute().parent

    @property
    def log_path(self) -> Path:
        return self.base_dir / self.log_dir

    @property
    def state_path(self) -> Path:
        return self.base_dir / self.autoscaler.state

    @property
    def gateway_urls(self) -> tuple[Address, ...]:
        """The gateways that the autoscaler listens to; this file's own admin unless some are named."""
        named = self.autoscaler.gateways
        return () if isinstance(named, GatewayService) else named or (_reachable(self.admin),)

    @property
    def decision_urls(self) -> tuple[str, ...]:
        """Where to ask for decisions: an autoscaler on its own, or `up`."""
        return _reachable(self.autoscaler.admin).url, _reachable(self.admin).url

    @property
    def gateway_service(self) -> ServiceTarget | None:
        """The Service behind which the gateways stand instead, if they are found so."""
        named = self.autoscaler.gateways
        return named.target if isinstance(named, GatewayService) else None

    @property
    def needs_cluster(self) -> bool:
        """Something of it is in a cluster."""
        scaled = any(backend.target.cluster is not None for backend in self.backends.values())
        return scaled or self.gateway_service is not None or self.inference_services is not None

    def problem(self, backend: str, text: str) -> Problem:
        """A Problem with a Backend's target."""
        path = ("backends", backend, "target")
        return Problem(str(self.path), self.target_lines.get(backend), where(path), text)

    def file_problem(self, path: KeyPath, text: str) -> Problem:
        """A Problem with the file that the key at `path` names."""
        return Problem(str(self.path), self.file_lines.get(path), where(path), text)

    def line_of(self, key: str) -> int | None:
        """The line of a key of the outermost level; None when the file leaves it out."""
        return self.key_lines.get(key)

    def __repr__(self) -> str:
        return f"<Config {self.path} {len(self.routes)} routes, {len(self.backends)} backends>"

    __str__ = __repr__


def load(path: Path, overrides: Overrides | None = None) -> Config:
    """The configuration in `path`. ConfigError, with all of its problems, when it cannot be used."""
    return load_content(path, read(path), overrides)


def load_content(path: Path, content: bytes, overrides: Overrides | None = None) -> Config:
    """As `load`, of bytes that stand for what is in `path`."""
    chosen = (overrides or Overrides()).parse()
    tree = _tree(path, content)
    document, found = _validate(tree.root)
    if document is not None:
        document = _override(document, chosen)
        found += document_faults(document)
    problems = [*tree.problems, *_place(path, tree.root, found)]
    if document is None or problems:
        raise ConfigError(_first(path, sorted(problems, key=lambda problem: problem.line or 0)))
    return Config.model_construct(
        **dict(document),
        path=path,
        digest=digest(content),
        warnings=tuple(_place(path, tree.root, warnings(document))),
        target_lines={name: tree.root.line_of(("backends", name, "target")) for name in document.backends},
        key_lines={key: tree.root.line_of((key,)) for key in tree.root.value},
        file_lines={
            path: tree.root.line_of(path) for path, _ in (*document.files(), *document.secret_files())
        },
    )


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors."""
    # Its patterns are ECMA's, where `$` is the very end; our own say it in the way of Rust, which pydantic matches with.
    text = json.dumps(Document.model_json_schema()).replace(r'\\z"', '$"')
    schema = json.loads(text)
    needed = {"required": schema.pop("required"), "properties": _SOME}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "anyOf": [needed, {"required": ["inference_services"]}],
        "title": "Tidegate configuration",
    }


def read(path: Path) -> bytes:
    """The file's bytes; ConfigError, in one line, when it is not a regular file, cannot be read, or is too large."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            content = file.read(_LARGEST_FILE + 1) if regular else b""
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file") from None
    except IsADirectoryError:
        raise _unreadable(path, "is a directory: name the file in it") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not regular:
        raise _unreadable(path, "is not a regular file")
    if len(content) > _LARGEST_FILE:
        raise _unreadable(path, f"is larger than {_LARGEST_FILE // 2**20} MiB")
    return content


def _open_at_once(path: str, flags: int) -> int:
    """Opening a FIFO would wait until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _first(path: Path, problems: list[Problem]) -> list[Problem]:
    left = len(problems) - _MOST_PROBLEMS
    told = problems[:_MOST_PROBLEMS]
    return [*told, Problem(str(path), None, "", f"and {left:,} more problems")] if left > 0 else told


def _unreadable(path: Path, text: str, line: int | None = None) -> ConfigError:
    return ConfigError([Problem(str(path), line, "", text)])


@dataclass(frozen=True, slots=True)
class _Tree:
    root: Node
    problems: list[Problem]


def _tree(path: Path, content: bytes) -> _Tree:
    try:
        root, found = compose(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, f"is not UTF-8 text: byte 0x{content[error.start]:02x}", line) from error
    except YamlError as error:
        raise _unreadable(path, str(error), error.line) from error
    if root is None or root.value is None:
        raise _unreadable(path, "is empty: a configuration has at least `backends` and `routes`")
    if not isinstance(root.value, dict):
        raise _unreadable(
            path, f"must be a mapping with keys such as `routes`, got {show(root.plain())}", root.line
        )
    if {"apiVersion", "kind"} <= root.value.keys():
        raise _unreadable(path, _manifest(root.plain().get("kind")))
    return _Tree(root, [Problem(str(path), line, where(at), text) for line, at, text in found])


def _manifest(kind: object) -> str:
    take_out = r"kubectl create --dry-run=client -f FILE -o jsonpath='{.data.tidegate\.yaml}' > tidegate.yaml"
    if kind == "InferenceService":
        return "is an InferenceService, no configuration of Tidegate's: `tidegate render FILE` checks it, and prints what it becomes"
    if kind != "ConfigMap":
        return f"is a manifest of Kubernetes (kind {kind}), no configuration of Tidegate's"
    return f"is a manifest of Kubernetes (kind ConfigMap): check what stands in it under `data`, which {take_out} takes out"


def _validate(root: Node) -> tuple[Document | None, list[Fault]]:
    data, blanks = root.plain(), list(root.blanks())
    if "inference_services" in data:
        data = {"backends": {}, "routes": []} | data
    found = list(cross_faults(data))
    try:
        document = Document.model_validate(data)
    except ValidationError as error:
        return None, [*explain(error, Document, blanks), *found]
    return document, [*map(blank, blanks), *found]


def _override(document: Document, chosen: Mapping[str, Address]) -> Document:
    autoscaler = document.autoscaler
    if "autoscaler_admin" in chosen:
        autoscaler = autoscaler.model_copy(update={"admin": chosen["autoscaler_admin"]})
    own = {key: address for key, address in chosen.items() if key in ("listen", "admin")}
    return document.model_copy(update={**own, "autoscaler": autoscaler})


def _place(path: Path, root: Node, found: Iterable[Fault]) -> Iterator[Problem]:
    for fault in found:
        yield Problem(str(path), root.line_of(fault.at or fault.path), where(fault.path), fault.text)
