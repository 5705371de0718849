"""Routing core: which Route a request takes, and which of the Route's Backends is next.

A RouteTable is built once and swapped whole; `match` reads it and `choose` moves one turn, so neither waits nor locks.
Hosts go from the most specific to the least: the exact name, the longest wildcard, any host. A host whose paths all
miss gives way to the next. Within a host: exact paths, then regexes in the order declared, then the longest prefix.
Regexes go before prefixes because whoever writes one means to except something from a prefix.
Paths are compared byte for byte, as the client sent them: nothing is decoded, no dot segment is resolved.
Built by `gateway.config.table`; read by the Exchange.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from math import gcd
from typing import Generic, Literal, TypeVar

B = TypeVar("B")

LONGEST_CYCLE = 10_000
"""Turns in a Split's cycle at most (unless it has more Backends than that)."""

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


def reduce_weights(weights: Iterable[int]) -> tuple[tuple[int, ...], bool]:
    """The turns that each weight gets in one cycle, and whether they had to be rounded to fit LONGEST_CYCLE.

    Rounding is by largest remainder; a positive weight keeps at least one turn, for it must not go dark.
    """
    given = tuple(weights)
    if any(weight < 0 for weight in given) or not any(given):
        raise ValueError(f"weights must not be negative nor all 0: {given}")
    divisor = gcd(*given)
    turns = tuple(weight // divisor for weight in given)
    length = max(LONGEST_CYCLE, sum(turn > 0 for turn in turns))
    return (turns, False) if sum(turns) <= length else (_apportion(turns, length), True)


def _apportion(weights: tuple[int, ...], length: int) -> tuple[int, ...]:
    """`length` turns, shared by largest remainder among the weights that deserve one, after one for each that does not.

    100,001 : 1 over 10,000 turns deserve 9999.9 : 0.1 and get 9999 : 1.
    """
    large = {i: weight for i, weight in enumerate(weights) if weight}
    turns = [int(weight > 0) for weight in weights]
    while True:
        left, total = length - (sum(turns) - len(large)), sum(large.values())
        small = [i for i, weight in large.items() if weight * left < total]
        if not small:
            break
        for i in small:
            del large[i]
    for i, weight in large.items():
        turns[i] = weight * left // total
    by_remainder = sorted(large, key=lambda i: large[i] * left % total, reverse=True)
    for i in by_remainder[: length - sum(turns)]:
        turns[i] += 1
    return tuple(turns)


@lru_cache(maxsize=256)
def _lay_out(turns: tuple[int, ...]) -> tuple[int, ...]:
    """The order in which indexes of `turns` take theirs: after t turns each has had its share of t, give or take
    less than one.

    Greedy smooth weighted round robin (nginx's) strays by 1.47 turns with twenty weights of 1 and five of 21; earliest
    deadline first stays below one (R. Tijdeman, "The chairman assignment problem", 1980): with n turns of `length`, turn j opens at
    j * length / n and is due by (j + 1) * length / n. 5:1:1 comes out as 0 0 0 1 0 0 2.
    """
    length = sum(turns)
    taken = [0] * len(turns)
    opening = [(0, i) for i, n in enumerate(turns) if n]
    due: list[tuple[float, int]] = []
    order = []
    for now in range(length):
        while opening and opening[0][0] <= now:
            _, i = heappop(opening)
            heappush(due, ((taken[i] + 1) / turns[i], i))
        _, i = heappop(due)
        order.append(i)
        taken[i] += 1
        if taken[i] < turns[i]:
            heappush(opening, (taken[i] * length // turns[i], i))
    return tuple(order)


class _Cycle:
    """The order of turns and how far it has come; shared by the Splits of a Route over reloads."""

    __slots__ = ("order", "position")

    def __init__(self, order: tuple[int, ...]) -> None:
        self.order = order
        self.position = 0


class Split(Generic[B]):
    """Smooth weighted round robin over named Backends, without dice: exact over any window of the cycle's length.

    Since the cycle began, each Backend has had its share of the turns, give or take less than one; so in a window
    that begins anywhere, give or take less than two.
    """

    __slots__ = ("_backends", "_cycle", "rounded", "shares", "weights")

    def __init__(self, backends: Mapping[str, B], weights: Mapping[str, int]) -> None:
        """`weights` by names of `backends`; 0: dark, never chosen. ValueError when one is negative or all are 0."""
        turns, self.rounded = reduce_weights(weights.values())
        self.weights = dict(weights)
        self.shares = tuple((name, n) for name, n in zip(weights, turns, strict=True) if n)
        """The turns in one cycle of each Backend that is not dark."""
        self._backends = tuple(backends[name] for name, _ in self.shares)
        self._cycle = _Cycle(_lay_out(tuple(n for _, n in self.shares)))

    @property
    def length(self) -> int:
        """Turns in one cycle."""
        return len(self._cycle.order)

    def choose(self) -> B:
        """The Backend whose turn it is; the next is another's."""
        cycle = self._cycle
        position = cycle.position
        order = cycle.order
        cycle.position = position + 1 if position + 1 < len(order) else 0
        return self._backends[order[position]]

    def peek(self) -> B:
        """The Backend whose turn is next; it stays so."""
        return self._backends[self._cycle.order[self._cycle.position]]

    def continue_from(self, previous: "Split[B]") -> None:
        """Take turns from where `previous` is, and goes on to be until it is dropped, if the shares are equal.

        The position is shared rather than copied: requests that arrive while a new table is built count too.
        """
        if previous.shares == self.shares:
            self._cycle = previous._cycle  # noqa: SLF001 - another Split's

    def __repr__(self) -> str:
        shares = " ".join(f"{name}={n}" for name, n in self.shares)
        rounded = " rounded" if self.rounded else ""
        return f"<Split {shares}{rounded}, turn {self._cycle.position} of {self.length}>"


@dataclass(slots=True, eq=False, repr=False)
class Route(Generic[B]):
    """What a request matches, and how it splits over Backends."""

    name: str
    split: Split[B]
    hosts: tuple[bytes, ...] = ()
    """Lower case, without port; `*.example.com` for one or more labels in front; none: any host."""
    paths: tuple[PathRule, ...] = (PathRule("prefix", b"/"),)

    def choose(self) -> B:
        return self.split.choose()

    def __repr__(self) -> str:
        hosts = ",".join(host.decode("latin-1") for host in self.hosts) or "*"
        return f"<Route {self.name} {hosts} {','.join(map(str, self.paths))} {self.split!r}>"


class _Paths(Generic[B]):
    """The paths of one host."""

    __slots__ = ("bounded", "exact", "longest", "regexes", "unbounded")

    def __init__(self) -> None:
        self.exact: dict[bytes, Route[B]] = {}
        self.regexes: list[tuple[re.Pattern[bytes], Route[B]]] = []
        self.bounded: dict[bytes, Route[B]] = {}
        """Prefixes that must end at a boundary of the path."""
        self.unbounded: dict[bytes, Route[B]] = {}
        """Prefixes that end in `/`, which is boundary enough."""
        self.longest = 0
        """Bytes in the longest prefix. Nothing is cut beyond it, so a hostile path costs no more than a plain one."""

    def add(self, rule: PathRule, route: Route[B]) -> None:
        if rule.kind == "regex":
            self.regexes.append((re.compile(rule.value), route))
        elif rule.kind == "exact":
            _put(self.exact, rule, route)
        else:
            _put(self.unbounded if rule.value.endswith(b"/") else self.bounded, rule, route)
            self.longest = max(self.longest, len(rule.value))

    def find(self, path: bytes) -> Route[B] | None:
        if path in self.exact:
            return self.exact[path]
        for pattern, route in self.regexes:
            if pattern.fullmatch(path):
                return route
        bounded, unbounded = self.bounded, self.unbounded
        if path in bounded:
            return bounded[path]
        # From the longest cut down. `:` is looked for as if it were `/`; what is looked up is the path as it came.
        slashed = path.replace(b":", b"/")
        cut = slashed.rfind(b"/", 0, self.longest + 1)
        while cut >= 0:
            if unbounded and (prefix := path[: cut + 1]) in unbounded:
                return unbounded[prefix]
            if (prefix := path[:cut]) in bounded:
                return bounded[prefix]
            cut = slashed.rfind(b"/", 0, cut)
        return None


class _Seen(Generic[B]):
    """What a Host that was seen leads to: its levels of paths, and the targets found there lately."""

    __slots__ = ("known", "levels")

    def __init__(self, levels: tuple[_Paths[B], ...]) -> None:
        self.levels = levels
        self.known: dict[bytes, Route[B]] = {}


def _put(paths: dict[bytes, Route[B]], rule: PathRule, route: Route[B]) -> None:
    other = paths.setdefault(rule.value, route)
    if other is not route:
        raise ValueError(f"routes {other.name!r} and {route.name!r} both claim {rule}")


def normalise_host(host: bytes) -> bytes:
    """The name alone of a Host header: lower case, no port, no dot at the end; IPv6 keeps its brackets."""
    name = host[: host.find(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
    return name.lower().removesuffix(b".")


class RouteTable(Generic[B]):
    """All Routes, ready to be matched; never changed once built, except for the memory of hosts that were seen."""

    def __init__(self, routes: Iterable[Route[B]], previous: "RouteTable[B] | None" = None) -> None:
        """Splits go on from `previous` where a Route of the same name has the same shares.

        ValueError when two Routes have one name, or claim one path of one host.
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
                self.routes[name].split.continue_from(old.split)

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

    def match(self, host: bytes, target: bytes) -> Route[B] | None:
        """The Route of a Host header (as it came; empty when there was none) and a request-target in origin form."""
        seen = self._seen.get(host)
        if seen is None:
            seen = self._look_up(host)
        return seen.known.get(target) or self._find(seen, target)

    def _find(self, seen: "_Seen[B]", target: bytes) -> Route[B] | None:
        query = target.find(b"?")
        path = target if query < 0 else target[:query]
        for paths in seen.levels:
            route = paths.find(path)
            if route is not None:
                if len(target) <= _LONGEST_TARGET:
                    self._remember(seen, target, route)
                return route
        return None

    def _remember(self, seen: "_Seen[B]", target: bytes, route: Route[B]) -> None:
        if self._remembered >= self._most_targets:
            self._seen.clear()
            self._remembered = 0
        seen.known[target] = route
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
