"""Routes that ask for more than host and path: who takes a request when several might."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.asked import Asked, Source
from gateway.conditions import Condition, Conditions, Look
from gateway.http1 import RequestHead, field_line
from gateway.routing import Candidates, PathRule, Route, RouteTable, normalise_host
from gateway.splits import Split

BETA = Condition(Source("header", b"x-cohort"), "exact", b"beta")
ANY = Condition(Source("header", b"x-cohort"), "present")
DEBUG = Condition(Source("header", b"x-debug"), "present")


def split() -> Split[str]:
    return Split({"a": "a"}, {"a": 1})


def route(
    name: str,
    path: str = "/",
    *values: Condition,
    methods: tuple[bytes, ...] = (),
    models: tuple[str, ...] = (),
    hosts: tuple[bytes, ...] = (),
) -> Route[str]:
    conditions = Conditions(frozenset(methods), frozenset(values), frozenset(models), Look(9))
    asks = bool(values or methods or models)
    return Route(name, split(), hosts, (PathRule("prefix", path.encode()),), conditions if asks else None)


def asked(target: bytes, method: bytes = b"GET", *, length: int = -1, **fields: bytes) -> Asked:
    head = RequestHead(method, target)
    head.lines += [field_line(name.replace("_", "-").encode(), value) for name, value in fields.items()]
    head.content_length = length
    return Asked(head, lambda _: "")


def taken(table: RouteTable[str], request: Asked, host: bytes = b"") -> str | Look | None:
    found = table.match(host, request.head.target)
    picked = found.pick(request) if isinstance(found, Candidates) else found
    return picked if picked is None or isinstance(picked, Look) else picked.name


def test_two_routes_may_claim_one_path_on_different_conditions() -> None:
    """Whose conditions miss gives way."""
    table = RouteTable([route("open"), route("beta", "/", BETA)])
    assert taken(table, asked(b"/", x_cohort=b"beta")) == "beta"
    assert taken(table, asked(b"/", x_cohort=b"other")) == "open"
    assert taken(table, asked(b"/")) == "open"


def test_more_conditions_and_more_specific_ones_are_asked_first() -> None:
    """Whatever the order of declaration, which only counts among equals."""
    table = RouteTable(
        [
            route("any", "/", ANY),
            route("first", "/", BETA),
            route("second", "/", methods=(b"GET",)),
            route("both", "/", BETA, DEBUG),
        ]
    )
    found = table.match(b"", b"/")
    assert isinstance(found, Candidates)
    assert repr(found) == "<Candidates both first second any>"


def test_a_place_that_misses_gives_way_to_the_next() -> None:
    """A shorter prefix, then a wider host; nobody asks beyond a route that takes everything."""
    table = RouteTable(
        [
            route("long", "/v1/iris", BETA, hosts=(b"a.b",)),
            route("short", "/v1", DEBUG, hosts=(b"a.b",)),
            route("wide", "/v1", methods=(b"POST",), hosts=(b"*.b",)),
            route("any"),
            route("hidden", "/", ANY),
        ]
    )
    requests = [
        asked(b"/v1/iris", x_cohort=b"beta"),
        asked(b"/v1/iris", x_debug=b""),
        asked(b"/v1/iris", b"POST"),
        asked(b"/v1/iris"),
        asked(b"/v1/iris", x_cohort=b"x"),
    ]
    assert [taken(table, request, b"a.b") for request in requests] == [
        "long",
        "short",
        "wide",
        "any",
        "hidden",
    ]


def test_a_request_that_fulfils_nothing_finds_no_route() -> None:
    """There is nobody to fall back on."""
    table = RouteTable([route("beta", "/v1", BETA)])
    assert taken(table, asked(b"/v1")) is None
    assert taken(table, asked(b"/v2", x_cohort=b"beta")) is None


def test_what_only_the_body_tells_is_asked_for_in_its_turn() -> None:
    """A more specific route whose head fits goes first; one whose head misses asks for no body."""
    table = RouteTable(
        [
            route("model", "/", models=("iris",), methods=(b"POST",)),
            route("beta", "/", BETA, DEBUG, ANY),
            route("open"),
        ]
    )
    assert taken(table, asked(b"/", b"POST", length=5)) == Look(9)
    assert taken(table, asked(b"/", b"POST", length=5, x_cohort=b"beta", x_debug=b"")) == "beta"
    assert taken(table, asked(b"/", b"PUT", length=5)) == "open"
    assert taken(table, asked(b"/v1/models/iris", b"POST", length=5)) == "model"


def test_a_body_may_be_as_large_as_the_most_patient_of_them_allows() -> None:
    """Nobody knows yet for whom it is."""
    large = Conditions(models=frozenset(("large",)), look=Look(99))
    table = RouteTable([route("small", "/", models=("iris",)), Route("large", split(), conditions=large)])
    assert taken(table, asked(b"/", b"POST", length=5)) == Look(99)


def test_a_route_without_conditions_needs_no_candidates() -> None:
    """Nor does a place that stands before one with conditions."""
    table = RouteTable([route("long", "/v1"), route("beta", "/", BETA)])
    found = table.match(b"", b"/v1")
    assert isinstance(found, Route)
    assert found.steering is None
    assert table.match(b"", b"/v1") is found
    assert table.match(b"", b"/v2") is table.match(b"", b"/v2")


def test_two_routes_may_not_claim_one_path_on_equal_conditions() -> None:
    """Nobody could tell which is meant."""
    with pytest.raises(ValueError, match="routes 'a' and 'b' both claim /"):
        RouteTable([route("a", "/", BETA), route("b", "/", BETA), route("c")])


def test_whose_turn_is_next_is_known_of_all_candidates() -> None:
    """A request that is not known well enough yet may go to any."""
    found = RouteTable([route("a", "/", BETA), route("b")]).match(b"", b"/")
    assert found is not None
    assert found.upcoming() == ["a", "a"]


hosts = st.sampled_from([b"a.b.c", b"b.c", b"*.c", b"*.b.c"])
paths = st.lists(st.sampled_from(["a", ":", "/", "/a", "/b"]), max_size=3).map(
    lambda parts: ("/" + "".join(parts)).encode()
)
rules = st.one_of(
    st.builds(PathRule, st.sampled_from(["prefix", "exact"]), paths),
    st.builds(PathRule, st.just("regex"), st.sampled_from([b"/a.*", b"/[ab]", b".*"])),
)
conditions = st.one_of(
    st.none(),
    st.builds(
        Conditions,
        st.sampled_from([frozenset(), frozenset((b"GET",)), frozenset((b"GET", b"POST"))]),
        st.frozensets(st.sampled_from([BETA, ANY, DEBUG]), max_size=2),
        st.sampled_from([frozenset(), frozenset(("iris",))]),
    ).filter(lambda made: made.rank > (0, 0, 0)),
)  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> list[Route[str]]:
    """Routes that claim nothing twice."""
    claimed: set[tuple[bytes, PathRule, Conditions | None]] = set()
    routes = []
    for i in range(draw(st.integers(0, 10))):
        names, asks = draw(st.lists(hosts, max_size=2, unique=True)), draw(conditions)
        own = [
            rule
            for rule in draw(st.lists(rules, max_size=3, unique=True))
            if not claimed & {(h, rule, asks) for h in names or [b""]}
        ]
        claimed |= {(host, rule, asks) for host in names or [b""] for rule in own}
        if own:
            routes.append(Route(f"r{i}", split(), tuple(names), tuple(own), asks))
    return routes


def place_rank(own: bytes, rule: PathRule, name: bytes, path: bytes) -> tuple[int, int, int] | None:
    """How good a place it is for a request; None: it does not take it. Patterns rank by their order, which the caller knows."""
    if not own:
        host_rank = 0
    elif own == name:
        host_rank = 1000
    elif own.startswith(b"*.") and name.endswith(own[1:]) and len(name) > len(own[1:]):
        host_rank = len(own)
    else:
        return None
    if rule.kind == "exact":
        return (host_rank, 3, 0) if rule.value == path else None
    if rule.kind == "regex":
        return (host_rank, 2, 0) if re.fullmatch(rule.value, path) else None
    rest = path[len(rule.value) :]
    bounded = not rest or rule.value.endswith(b"/") or rest[:1] in b"/:"
    return (host_rank, 1, len(rule.value)) if path.startswith(rule.value) and bounded else None


def reference(routes: list[Route[str]], host: bytes, request: Asked) -> str | None:
    """The rules, said once more and slowly: of all claims, by place, then by conditions, then by order, the first that holds."""
    name, path = normalise_host(host), request.head.target.split(b"?")[0]
    claims = [
        (order, one, own, rule)
        for order, one in enumerate(routes)
        for own in (one.hosts or (b"",))
        for rule in one.paths
    ]
    patterns: dict[tuple[bytes, bytes], int] = {}
    ranked = []
    for order, one, own, rule in claims:
        declared = patterns.setdefault((own, rule.value), len(patterns)) if rule.kind == "regex" else 0
        rank = place_rank(own, rule, name, path)
        if rank is not None:
            asks = one.conditions.rank if one.conditions is not None else (0, 0, 0)
            ranked.append(((*rank, -declared), asks, -order, one))
    for _, _, _, one in sorted(ranked, key=lambda claim: claim[:3], reverse=True):
        if one.conditions is None or one.conditions.hold(request) is True:
            return one.name
    return None


@settings(deadline=None, max_examples=300)
@given(
    tables(),
    st.sampled_from([b"A.b.c:80", b"x.b.c", b"b.c", b"c.", b""]),
    st.builds(bytes.__add__, paths, st.sampled_from([b"", b"?a/b"])),
    st.sampled_from([b"GET", b"POST", b"PUT"]),
    st.dictionaries(st.sampled_from(["x_cohort", "x_debug"]), st.sampled_from([b"beta", b"x"])),
)
def test_who_takes_a_request_equals_the_reference(
    routes: list[Route[str]], host: bytes, target: bytes, method: bytes, fields: dict[str, bytes]
) -> None:
    """On random tables and requests, whether or not the target was seen before."""
    table, request = RouteTable(routes), asked(target, method, **fields)
    assert taken(table, request, host) == reference(routes, host, request)
    assert taken(table, request, host) == reference(routes, host, request)
