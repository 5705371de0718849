"""Documents beside the people's file: backends and routes that a controller wrote, each document with its owner.

A name, a place in the routing table and an object that is scaled belong to one document. The people's file has what it names; of two documents the one
that comes first. One that wants what is another's is left out as a whole, and the clash is told with both names; it changes nothing for the others.
Pure: `gateway.kube.documents` brings the texts, `gateway.following` takes over what comes of them.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field, Strict, ValidationError

from gateway.config.checks import claims_of, cross_faults
from gateway.config.explain import blank, explain
from gateway.config.load import Config
from gateway.config.models import BackendConfig
from gateway.config.problems import ConfigError, Fault, KeyPath, Problem, show, where
from gateway.config.routes import RouteConfig
from gateway.config.section import Section
from gateway.config.units import Name
from gateway.config.yamltree import Node, YamlError, compose
from gateway.targets import ScaleTarget

_Lax = Strict(strict=False)  # YAML's lists become tuples


class _Contents(Section):
    """What such a document may hold."""

    backends: dict[Name, BackendConfig] = Field(default_factory=dict)
    routes: Annotated[tuple[RouteConfig, ...], _Lax] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """One document that was read."""

    source: str
    """What it is called, for people."""
    backends: Mapping[str, BackendConfig] = field(default_factory=dict)
    routes: tuple[RouteConfig, ...] = ()
    claims: Mapping[Hashable, str] = field(default_factory=dict)
    """What nobody else may have, and what it is called."""

    def __repr__(self) -> str:
        return f"<Part {self.source} {len(self.routes)} routes, {len(self.backends)} backends>"


def parse(source: str, text: str) -> Part:
    """Raises ConfigError with all that is wrong."""
    root = _root(source, text)
    data, blanks = root.plain(), list(root.blanks())
    found = [*map(blank, blanks), *cross_faults({"backends": {}} | data)]
    try:
        contents = _Contents.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_placed(source, root, [*explain(error, _Contents, blanks), *found])) from error
    found += _of_this_machine(contents)
    if found:
        raise ConfigError(_placed(source, root, found))
    claims = dict(_claims(contents.backends, contents.routes))
    return Part(source, contents.backends, contents.routes, claims)


def merge(config: Config, parts: Iterable[Part]) -> tuple[Config, list[Problem]]:
    """`config` with all of `parts` in it that can be, the first of them first; and why the others are not."""
    backends, routes = dict(config.backends), [*config.routes]
    owners: dict[Hashable, str] = {key: str(config.path) for key, _ in _claims(backends, routes)}
    problems: list[Problem] = []
    for part in parts:
        taken = [(what, owners[key]) for key, what in part.claims.items() if key in owners]
        if taken:
            problems += [
                Problem(part.source, None, "", f"{what} belongs to {other}") for what, other in taken
            ]
            continue
        owners |= dict.fromkeys(part.claims, part.source)
        backends |= part.backends
        routes += part.routes
    return config.model_copy(update={"backends": backends, "routes": tuple(routes)}), problems


def _root(source: str, text: str) -> Node:
    try:
        root, found = compose(text)
    except YamlError as error:
        raise ConfigError([Problem(source, error.line, "", str(error))]) from error
    if root is None or not isinstance(root.value, dict):
        raise ConfigError([Problem(source, None, "", "must be a mapping with `backends` and `routes`")])
    if found:
        raise ConfigError(Problem(source, line, where(at), words) for line, at, words in found)
    return root


def _placed(source: str, root: Node, found: Iterable[Fault]) -> Iterator[Problem]:
    for each in found:
        yield Problem(source, root.line_of(each.at or each.path), where(each.path), each.text)


def _of_this_machine(contents: _Contents) -> Iterator[Fault]:
    """Whoever may write a document must not thereby run programs here, or have files read."""
    for name, backend in contents.backends.items():
        target = backend.target
        if target.command is not None:
            yield Fault(
                ("backends", name, "target", "command"), "only the file may name commands of this machine"
            )
        if target.tls is not None and target.tls.ca is not None:
            yield Fault(
                ("backends", name, "target", "tls", "ca"), "only the file may name files of this machine"
            )
    for i, route in enumerate(contents.routes):
        cookie = route.sticky.cookie if route.sticky is not None else None
        if cookie is not None and cookie.secret_file is not None:
            path: KeyPath = ("routes", i, "sticky", "cookie", "secret_file")
            yield Fault(path, "only the file may name files of this machine")


def _claims(
    backends: Mapping[str, BackendConfig], routes: Iterable[RouteConfig]
) -> Iterator[tuple[Hashable, str]]:
    for name, backend in backends.items():
        yield ("backend", name), f"backend {show(name)}"
        target: Any = backend.target.cluster
        if isinstance(target, ScaleTarget):
            yield replace(target, port=0), f"{target.kind} {show(target.name)}"
    for route in routes:
        yield ("route", route.name), f"route {show(route.name)}"
        yield from ((place, what) for _, place, what in claims_of(route))
