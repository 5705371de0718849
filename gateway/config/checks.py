"""Checks across sections: what no single part of the file can know to be wrong, or only worth a warning.

They work on as much of the file as could be read, so that one pass finds everything. A Fault stops the file from being
used; a warning is kept in `Config.warnings` and printed by `tidegate check`.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gateway.config.circles import circles
from gateway.config.explain import MOST_HINTS, listing, nearest
from gateway.config.matching import Matching
from gateway.config.models import BackendConfig, Document
from gateway.config.patterns import slow_patterns
from gateway.config.problems import Fault, KeyPath, show
from gateway.config.routes import RouteConfig
from gateway.splits import LONGEST_CYCLE, reduce_weights
from gateway.targets import ScaleTarget

if TYPE_CHECKING:
    from gateway.config.queues import PriorityConfig, TenantConfig


_SECONDS = ("fallback", "mirror")
"""Sections of a route that name a backend."""


def cross_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults between sections of the file's plain data, whether or not the models take all of it."""
    raw = data.get("routes")
    routes = (
        [(i, route) for i, route in enumerate(raw) if isinstance(route, dict)]
        if isinstance(raw, list)
        else []
    )
    backends = data.get("backends")
    yield from _same_names(routes)
    if isinstance(backends, dict):
        yield from _unknown_backends(routes, backends)
    yield from _tags_beyond_the_split(routes)
    yield from _to_themselves(routes)
    yield from _same_claims(_readable(routes))


def _same_names(routes: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for i, route in routes:
        name = route.get("name")
        if isinstance(name, str) and first.setdefault(name, i) != i:
            yield Fault(("routes", i, "name"), f"{show(name)} is the name of routes[{first[name]}] already")


def _unknown_backends(
    routes: Iterable[tuple[int, dict[str, Any]]], known: Mapping[str, Any]
) -> Iterator[Fault]:
    hints = MOST_HINTS
    for i, route in routes:
        for path, name in _named(route):
            if name not in known:
                hint = listing(known) or nearest(name, known) if hints > 0 else ""
                hints -= 1
                yield Fault(
                    ("routes", i, *path), f"unknown backend {show(name)}{hint}", at=("routes", i, *path, name)
                )


def _named(route: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Where in a route backends are named, and what is named there."""
    rules = route.get("rules")
    splits: list[tuple[KeyPath, Any]] = [(("split",), route.get("split"))]
    for j, rule in enumerate(rules if isinstance(rules, list) else ()):
        if isinstance(rule, dict):
            splits.append((("rules", j, "split"), rule.get("split")))
    for path, split in splits:
        for name in split if isinstance(split, dict) else ():
            yield path, name
    yield from _seconds(route)


def _seconds(route: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Where a second backend is named beside the split's."""
    for key in _SECONDS:
        section = route.get(key)
        if isinstance(section, dict) and isinstance(section.get("backend"), str):
            yield (key, "backend"), section["backend"]


def _tags_beyond_the_split(routes: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[Fault]:
    for i, route in routes:
        tags, split = route.get("tags"), route.get("split")
        if isinstance(tags, dict) and isinstance(split, dict):
            for tag, name in tags.items():
                if isinstance(name, str) and name not in split:
                    text = f"backend {show(name)} is not in this route's split: give it a weight there, 0 for none but tagged requests"
                    yield Fault(("routes", i, "tags", tag), text)


def _to_themselves(routes: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[Fault]:
    """Sections that name a second Backend, where there is only the one."""
    for i, route in routes:
        split = route.get("split")
        weights = split.items() if isinstance(split, dict) else ()
        chosen = [name for name, weight in weights if weight]
        for (key, _), name in _seconds(route):
            if chosen == [name] and not route.get("rules"):
                text = f"{show(name)} is the only backend that this route chooses: name another one"
                yield Fault(("routes", i, key, "backend"), text)


def _readable(routes: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, str, RouteConfig]]:
    """The routes of which it can be told what they take, whatever else is wrong with them, and what to call them."""
    for i, route in routes:
        name = route.get("name")
        matching = {
            key: route[key] for key in ("hosts", "paths", *Matching.model_fields, "aliases") if key in route
        }
        with suppress(ValidationError):
            readable = RouteConfig.model_validate({"name": "x", "split": {"x": 1}, **matching})
            yield i, show(name) if isinstance(name, str) else f"routes[{i}]", readable


def claims_of(route: RouteConfig) -> Iterator[tuple[int, Hashable, str]]:
    """The places in the routing table that a route takes: the position of the path, what no other may have, and what it is called."""
    conditions = route.conditions(route.look, *route.aliases)
    asking = f" with {conditions}" if conditions is not None else ""
    for host in dict.fromkeys(route.hosts or (b"",)):
        on = f"host {host.decode()}" if host else "any host"
        for j, rule in enumerate(route.paths):
            yield j, (host, rule, conditions), f"{rule} on {on}{asking}"


def _same_claims(routes: Iterable[tuple[int, str, RouteConfig]]) -> Iterator[Fault]:
    claims: dict[Hashable, tuple[int, str]] = {}
    for i, name, route in routes:
        seen = set()
        for j, place, what in claims_of(route):
            other, owner = claims.setdefault(place, (i, name))
            if other != i or place in seen:
                text = f"belongs to route {owner} already" if other != i else "is given twice"
                path = ("routes", i, "paths", j) if "paths" in route.model_fields_set else ("routes", i)
                yield Fault(path, f"{what} {text}")
            seen.add(place)


def document_faults(document: Document) -> Iterator[Fault]:
    """Faults that show only once every section is as it will be used, options of the command line included."""
    if document.listen.clashes(document.admin):
        yield Fault(
            ("admin",), f"{document.admin} is taken by `listen`, {document.listen}: give them different ports"
        )

    yield from _same_objects(document)
    yield from _nowhere_to_ask(document)


def _nowhere_to_ask(document: Document) -> Iterator[Fault]:
    if document.autoscaler.prometheus is not None:
        return
    for name, backend in document.backends.items():
        for i, metric in enumerate(backend.scale.metrics or ()):
            if metric.type == "prometheus" and metric.url is None:
                text = "must have a `url`, or the file an `autoscaler.prometheus.url` for all"
                yield Fault(("backends", name, "scale", "metrics", i), text)


def _same_objects(document: Document) -> Iterator[Fault]:
    """Two autoscaling decisions about one object would undo each other."""
    first: dict[ScaleTarget, str] = {}
    for name, backend in document.backends.items():
        target = backend.target.cluster
        if isinstance(target, ScaleTarget):
            owner = first.setdefault(replace(target, port=0), name)
            if owner != name:
                text = f"{target.kind} {show(target.name)} is scaled by backend {show(owner)} already"
                yield Fault(("backends", name, "target"), text)


def _of_others(name: str, backend: BackendConfig) -> Iterator[Fault]:
    """What is asked for of pods that somebody else runs."""
    if backend.target.startable:
        return
    scale = backend.scale
    for key in ("min", "pause", "schedules"):
        if getattr(scale, key):
            yield Fault(
                ("backends", name, "scale", key),
                "changes nothing: others run these pods, and Tidegate only tells how many would be wanted",
            )
    for i, metric in enumerate(scale.metrics or ()):
        if metric.type in {"cpu", "memory"}:
            text = f"will always be missing: the {metric.type} that pods of others use cannot be seen"
            yield Fault(("backends", name, "scale", "metrics", i), text)


def warnings(document: Document) -> Iterator[Fault]:
    for name, backend in document.backends.items():
        if backend.scale.by == "hpa" and not isinstance(backend.target.cluster, ScaleTarget):
            text = "changes nothing: an HPA scales objects in a cluster, as `deployment` names one"
            yield Fault(("backends", name, "scale", "by"), text)
        yield from _of_others(name, backend)
        if backend.target.tls is not None and not backend.target.tls.verify:
            text = "its pods are not verified: whoever can answer at their addresses gets the requests"
            yield Fault(("backends", name, "target", "tls", "verify"), text)
    for i, network in enumerate(document.forwarded.trusted_proxies):
        if not network.prefixlen:
            text = f"{network} is everyone: any client can pretend to be any other"
            yield Fault(("forwarded", "trusted_proxies", i), text)
    yield from _unbelieved(document)
    yield from _without_turns(document)
    yield from slow_patterns(document)
    yield from circles(document.routes)
    used = {name for route in document.routes for name in route.backends}
    for name in document.backends:
        if name not in used:
            yield Fault(("backends", name), "no route uses this backend")
    for i, route in enumerate(document.routes):
        own: list[tuple[KeyPath, dict[str, int]]] = [(("split",), route.split)] if route.split else []
        own += [(("rules", j, "split"), rule.split) for j, rule in enumerate(route.rules)]
        for path, split in own:
            if reduce_weights(split.values())[1]:
                text = f"the weights make a cycle of more than {LONGEST_CYCLE:,} requests: shares are rounded to fit"
                yield Fault(("routes", i, *path), text)


def _without_turns(document: Document) -> Iterator[Fault]:
    """Orders of a queue where nobody ever waits while a pod is ready."""
    text = "changes nothing: without `concurrency` nobody waits while a pod is ready"
    unlimited = {name for name, backend in document.backends.items() if not backend.concurrency}
    for i, route in enumerate(document.routes):
        if route.tenant is not None and unlimited.issuperset(route.backends):
            yield Fault(("routes", i, "tenant"), f"{text}; none of its backends has it")
    for name in sorted(unlimited):
        if document.backends[name].queue.fairness is not None:
            yield Fault(("backends", name, "queue", "fairness"), text)


def _unbelieved(document: Document) -> Iterator[Fault]:
    """Headers that say how a request stands in a queue, and whom nobody can be believed; tenants that nobody tells."""
    if not document.forwarded.trusted_proxies:
        for i, route in enumerate(document.routes):
            told: list[tuple[str, PriorityConfig | TenantConfig]] = [("priority", route.priority)]
            told += [("tenant", route.tenant)] if route.tenant is not None else []
            for key, section in told:
                if section.header is not None and not section.trust:
                    text = f"nobody's {section.header} is believed: name who sends it in forwarded.trusted_proxies, or write `trust: true` to believe everyone"
                    yield Fault(("routes", i, key), text)
    known = {name for route in document.routes if route.tenant is not None for name in route.backends}
    for name, backend in document.backends.items():
        if backend.queue.fairness is not None and name not in known:
            text = "no route to this backend has a `tenant`: there is nobody to be fair to"
            yield Fault(("backends", name, "queue", "fairness"), text)
