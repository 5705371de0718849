"""Redirects that lead back to themselves: found by following them, as a client would, through the table of routes that the file makes.

Only where it is certain: what another scheme answers, or a route with conditions, is not known here. Part of `checks`.
"""

from collections.abc import Iterator, Sequence

from gateway.answers import Redirect
from gateway.config.problems import Fault
from gateway.config.routes import RouteConfig
from gateway.routing import Candidates, PathRule, Route, RouteTable
from gateway.splits import Split

_MOST_HOPS = 20
"""After which browsers give up."""
_UNNAMED = b"host.invalid"
"""A host that no route names (RFC 2606)."""

Place = tuple[bytes, bytes]
"""Host and path."""


def circles(routes: Sequence[RouteConfig]) -> Iterator[Fault]:
    """One for each route with a redirect that no client gets out of."""
    redirects = {
        route.name: route.redirect.built(route.paths) for route in routes if route.redirect is not None
    }
    if not redirects:
        return
    table: RouteTable[None] = RouteTable(_bare(route) for route in routes)
    for i, route in enumerate(routes):
        for place in _places(route) if route.redirect is not None else ():
            first = _next(place, table, redirects)
            if first is not None and _endless(first, table, redirects):
                text = f"leads in a circle: {place[1].decode('latin-1')} is sent to {first[1].decode('latin-1')}, and never to anything but a redirect"
                yield Fault(("routes", i, "redirect"), text)
                break


def _bare(route: RouteConfig) -> Route[None]:
    """What it takes, without what it does."""
    conditions = route.conditions(route.look, *route.aliases)
    return Route(route.name, Split({}, {}), hosts=route.hosts or (), paths=route.paths, conditions=conditions)


def _places(route: RouteConfig) -> Iterator[Place]:
    """One for each way to come to a route."""
    for host in route.hosts or (_UNNAMED,):
        for rule in route.paths:
            if rule.kind != "regex":
                yield host.replace(b"*", b"x", 1), _path(rule)


def _path(rule: PathRule) -> bytes:
    return rule.value if rule.kind == "exact" else rule.value.rstrip(b"/") + b"/x"


def _endless(place: Place, table: RouteTable[None], redirects: dict[str, Redirect]) -> bool:
    for _ in range(_MOST_HOPS):
        following = _next(place, table, redirects)
        if following is None:
            return False
        place = following
    return True


def _next(place: Place, table: RouteTable[None], redirects: dict[str, Redirect]) -> Place | None:
    """Where a client is sent from there; None: it is answered, or nobody knows."""
    host, path = place
    found = table.match(host, path)
    if found is None or isinstance(found, Candidates):
        return None
    redirect = redirects.get(found.name)
    if redirect is None or redirect.scheme:
        return None
    return redirect.host or host, path if redirect.move is None else redirect.move.target(path)
