"""Routing core: which Route a request takes, and which of the Route's Backends is next.

A RouteTable is built once and swapped whole; `match` reads it and `choose` moves one turn, so neither waits nor locks.
Hosts go from the most specific to the least: the exact name, the longest wildcard, any host. A host whose paths all
miss gives way to the next. Within a host: exact paths, then regexes in the order declared, then the longest prefix.
Regexes go before prefixes because whoever writes one means to except something from a prefix.
Routes may ask for more than host and path (`conditions`). Where one does, `match` tells all that may take the request, in order: within
a place the most specific conditions first, then the next best places, down to a Route that asks for nothing.
Paths are compared byte for byte, as the client sent them: nothing is decoded, no dot segment is resolved.
Built by `gateway.config.table`; read by the Exchange. `splits` says whose turn it is within a Route.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from gateway.conditions import Conditions, Look
from gateway.splits import Split

if TYPE_CHECKING:
    from gateway.asked import Asked
    from gateway.steering import Steering

B = TypeVar("B")

_HOSTS_REMEMBERED = 1024
"""At least; twice as many as the table names, if that is more."""
_LONGEST_HOST = 261
"""255 bytes of name, a colon and five digits: nothing longer is a host, or worth remembering."""
_TARGETS_REMEMBERED = 4096
"""At least, of all hosts together: 1.5 MB. Four times as many as there are Routes, if that is more: model servers are asked for a handful of
short targets, again and again.
"""
_LONGEST_TARGET = 256


@dataclass(frozen=True, slots=True)
class PathRule:
    """One way to match a path. A prefix ends at the path's end, at `/` or at `:`, or itself ends in `/`."""

    kind: Literal["prefix", "exact", "regex"]
    value: bytes

    def __str__(self) -> str:
        text = self.value.decode("latin-1")
        return text if self.kind == "prefix" else f"{self.kind} {text}"


@dataclass(slots=True, eq=False, repr=False)
class Route(Generic[B]):
    """What a request matches, and how it splits over Backends."""

    name: str
    split: Split[B]
    """Nobody's where the Route answers by itself: then `choose` may not be asked."""
    hosts: tuple[bytes, ...] = ()
    """Lower case, without port; `*.example.com` for one or more labels in front; none: any host."""
    paths: tuple[PathRule, ...] = (PathRule("prefix", b"/"),)
    conditions: Conditions | None = None
    """What a request must be besides; None: anything."""
    steering: "Steering | None" = None
    """What it does with a request beyond its split; None: nothing, which is all that the usual Route pays for the others."""

    def choose(self) -> B:
        return self.split.choose()

    def upcoming(self) -> list[B]:
        """Whose turn is next."""
        return [self.split.peek()] if self.split.shares else []

    def __repr__(self) -> str:
        hosts = ",".join(host.decode("latin-1") for host in self.hosts) or "*"
        return f"<Route {self.name} {hosts} {','.join(map(str, self.paths))} {self.split!r}>"


class Candidates(Generic[B]):
    """Routes of which the first whose conditions hold takes a request: the last one asks for nothing, or the request may find none."""

    __slots__ = ("_look", "routes", "steering")

    def __init__(self, routes: tuple[Route[B], ...]) -> None:
        self.routes = routes
        self._look = max(
            (route.conditions.look for route in routes if route.conditions is not None), default=None
        )
        """As much as any of them would look into: nobody knows yet for whom a body is."""
        self.steering: Literal[True] = True
        """As a Route's that is not None: the request has to be looked at."""

    def pick(self, asked: "Asked") -> Route[B] | Look | None:
        """The Route; or what must be done to tell."""
        for route in self.routes:
            held = route.conditions is None or route.conditions.hold(asked)
            if isinstance(held, Look):
                return self._look
            if held:
                return route
        return None

    def upcoming(self) -> list[B]:
        """Whose turn is next, in each of the Routes."""
        return [ref for route in self.routes for ref in route.upcoming()]

    def __repr__(self) -> str:
        return f"<Candidates {' '.join(route.name for route in self.routes)}>"


class _Place(Generic[B]):
    """Routes that claim one path of one host, of which some have conditions: the most specific first, then as they were declared."""

    __slots__ = ("routes",)

    def __init__(self, *routes: Route[B]) -> None:
        self.routes = sorted(routes, key=_rank, reverse=True)


def _rank(route: Route[Any]) -> tuple[int, int, int]:
    return (0, 0, 0) if route.conditions is None else route.conditions.rank


_Claim = Route[B] | _Place[B]
"""A place in the table: one Route that takes everything, or several to be asked."""


class _Paths(Generic[B]):
    """The paths of one host."""

    __slots__ = ("bounded", "compiled", "exact", "longest", "regexes", "unbounded")

    def __init__(self) -> None:
        self.exact: dict[bytes, _Claim[B]] = {}
        self.regexes: dict[bytes, _Claim[B]] = {}
        """By their patterns."""
        self.compiled: list[tuple[re.Pattern[bytes], bytes]] = []
        self.bounded: dict[bytes, _Claim[B]] = {}
        """Prefixes that must end at a boundary of the path."""
        self.unbounded: dict[bytes, _Claim[B]] = {}
        """Prefixes that end in `/`, which is boundary enough."""
        self.longest = 0
        """Bytes in the longest prefix. Nothing is cut beyond it, so a hostile path costs no more than a plain one."""

    def add(self, rule: PathRule, route: Route[B]) -> None:
        if rule.kind == "regex":
            if rule.value not in self.regexes:
                self.compiled.append((re.compile(rule.value), rule.value))
            _put(self.regexes, rule, route)
        elif rule.kind == "exact":
            _put(self.exact, rule, route)
        else:
            _put(self.unbounded if rule.value.endswith(b"/") else self.bounded, rule, route)
            self.longest = max(self.longest, len(rule.value))

    def find(self, path: bytes, asked: list[Route[B]]) -> Route[B] | None:
        """The best Route that takes all of a path's requests; those with conditions that stand before it are put into `asked`, best first."""
        if path in self.exact and (found := _taker(self.exact[path], asked)):
            return found
        for pattern, source in self.compiled:
            if pattern.fullmatch(path) and (found := _taker(self.regexes[source], asked)):
                return found
        bounded, unbounded = self.bounded, self.unbounded
        if path in bounded and (found := _taker(bounded[path], asked)):
            return found
        # From the longest cut down. `:` is looked for as if it were `/`; what is looked up is the path as it came.
        slashed = path.replace(b":", b"/")
        cut = slashed.rfind(b"/", 0, self.longest + 1)
        while cut >= 0:
            if (
                unbounded
                and (prefix := path[: cut + 1]) in unbounded
                and (found := _taker(unbounded[prefix], asked))
            ):
                return found
            if (prefix := path[:cut]) in bounded and (found := _taker(bounded[prefix], asked)):
                return found
            cut = slashed.rfind(b"/", 0, cut)
        return None


def _taker(claim: _Claim[B], asked: list[Route[B]]) -> Route[B] | None:
    """Who takes everything that comes to a place; None: whoever is in `asked` by then may not."""
    if isinstance(claim, Route):
        return claim
    last = claim.routes[-1]
    asked += claim.routes if last.conditions is not None else claim.routes[:-1]
    return last if last.conditions is None else None


class _Seen(Generic[B]):
    """What a Host that was seen leads to: its levels of paths, and the targets found there lately."""

    __slots__ = ("known", "levels")

    def __init__(self, levels: tuple[_Paths[B], ...]) -> None:
        self.levels = levels
        self.known: dict[bytes, Route[B] | Candidates[B]] = {}


def _put(paths: dict[bytes, _Claim[B]], rule: PathRule, route: Route[B]) -> None:
    claim = paths.get(rule.value)
    others = [] if claim is None else claim.routes if isinstance(claim, _Place) else [claim]
    for other in others:
        if other is not route and other.conditions == route.conditions:
            raise ValueError(f"routes {other.name!r} and {route.name!r} both claim {rule}")
    if others == [] and route.conditions is None:
        paths[rule.value] = route
    elif route not in others:
        paths[rule.value] = _Place(*others, route)


def _continue(route: Route[Any], previous: Route[Any]) -> None:
    route.split.continue_from(previous.split)
    if route.steering is not None and previous.steering is not None:
        route.steering.continue_from(previous.steering)


def normalise_host(host: bytes) -> bytes:
    """The name alone of a Host header: lower case, no port, no dot at the end; IPv6 keeps its brackets."""
    name = host[: host.find(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
    return name.lower().removesuffix(b".")


def _in_order(levels: Iterable[_Paths[B]], path: bytes) -> Route[B] | Candidates[B] | None:
    """Who takes a path, or whom to ask. A Route that has several of the path's places is asked once."""
    asked: list[Route[B]] = []
    for paths in levels:
        found = paths.find(path, asked)
        if found is not None:
            return Candidates((*dict.fromkeys(asked), found)) if asked else found
    return Candidates(tuple(dict.fromkeys(asked))) if asked else None


class RouteTable(Generic[B]):
    """All Routes, ready to be matched; never changed once built, except for the memory of hosts that were seen."""

    def __init__(self, routes: Iterable[Route[B]], previous: "RouteTable[B] | None" = None) -> None:
        """Splits go on from `previous` where a Route of the same name has the same shares.

        ValueError when two Routes have one name, or claim one path of one host on equal conditions.
        """
        self.routes: dict[str, Route[B]] = {}
        self._exact: dict[bytes, _Paths[B]] = {}
        self._wildcards: dict[bytes, _Paths[B]] = {}
        """By what follows the `*`, with its dot."""
        self._any: _Paths[B] = _Paths()
        self._seen: dict[bytes, _Seen[B]] = {}
        self._remembered = 0
        for route in routes:
            self._add(route)
        self._most_hosts = max(_HOSTS_REMEMBERED, 2 * len(self._exact))
        self._most_targets = max(_TARGETS_REMEMBERED, 4 * len(self.routes))
        for name, old in previous.routes.items() if previous else ():
            if name in self.routes:
                _continue(self.routes[name], old)

    def _add(self, route: Route[B]) -> None:
        if self.routes.setdefault(route.name, route) is not route:
            raise ValueError(f"two routes are named {route.name!r}")
        for paths in [self._paths_of(host) for host in route.hosts] or [self._any]:
            for rule in route.paths:
                paths.add(rule, route)

    def _paths_of(self, host: bytes) -> _Paths[B]:
        if host.startswith(b"*."):
            return self._wildcards.setdefault(host[1:], _Paths())
        return self._exact.setdefault(host, _Paths())

    def match(self, host: bytes, target: bytes) -> Route[B] | Candidates[B] | None:
        """The Route of a Host header (as it came; empty when there was none) and a request-target in origin form, or those to choose from."""
        seen = self._seen.get(host)
        if seen is None:
            seen = self._look_up(host)
        return seen.known.get(target) or self._find(seen, target)

    def _find(self, seen: "_Seen[B]", target: bytes) -> Route[B] | Candidates[B] | None:
        query = target.find(b"?")
        found = _in_order(seen.levels, target if query < 0 else target[:query])
        if found is not None and len(target) <= _LONGEST_TARGET:
            self._remember(seen, target, found)
        return found

    def _remember(self, seen: "_Seen[B]", target: bytes, found: Route[B] | Candidates[B]) -> None:
        if self._remembered >= self._most_targets:
            self._seen.clear()
            self._remembered = 0
        seen.known[target] = found
        self._remembered += 1

    def _look_up(self, host: bytes) -> "_Seen[B]":
        if len(host) > _LONGEST_HOST:
            return _Seen((self._any,))
        seen = _Seen(tuple(self._levels(normalise_host(host))))
        if len(self._seen) >= self._most_hosts:
            # Whoever sends that many hosts makes the others pay a look-up, no more.
            self._seen.clear()
            self._remembered = 0
        self._seen[host] = seen
        return seen

    def _levels(self, name: bytes) -> Iterator[_Paths[B]]:
        if name in self._exact:
            yield self._exact[name]
        dot = name.find(b".", 1)
        while dot > 0:
            if name[dot:] in self._wildcards:
                yield self._wildcards[name[dot:]]
            dot = name.find(b".", dot + 1)
        yield self._any

    def __repr__(self) -> str:
        hosts = len(self._exact) + len(self._wildcards)
        return f"<RouteTable {len(self.routes)} routes, {hosts} hosts, {len(self._seen)} seen>"
