"""What a route may ask of a request, as it is written."""

from collections.abc import Callable

import pytest

from gateway.asked import Source
from gateway.conditions import Condition, Conditions, Look
from gateway.config import Config

Loaded = Callable[[str], Config]
Refused = Callable[[str], list[str]]


def test_conditions_are_made_of_all_keys(loaded: Loaded) -> None:
    """Names of fields in lower case, values as bytes."""
    config = loaded(
        """
routes:
  - name: r
    methods: [GET, POST]
    headers: {X-Cohort: beta, x-debug: {present: true}, x-version: {regex: "2\\\\..*"}}
    cookies: {Group: ü}
    query: {preview: {present: true}}
    model: iris
    aliases: {gpt-4o: iris}
    inspect_limit: 64KiB
    split: {a: 1}
"""
    )
    (route,) = config.routes
    made = route.conditions(route.look, *route.aliases)
    assert made == Conditions(
        frozenset((b"GET", b"POST")),
        frozenset(
            (
                Condition(Source("header", b"x-cohort"), "exact", b"beta"),
                Condition(Source("header", b"x-debug"), "present"),
                Condition(Source("header", b"x-version"), "regex", rb"2\..*"),
                Condition(Source("cookie", b"Group"), "exact", "ü".encode()),
                Condition(Source("query", b"preview"), "present"),
            )
        ),
        frozenset(("iris", "gpt-4o")),
    )
    assert made is not None
    assert made.look == Look(65536)


def test_a_route_that_asks_for_nothing_has_no_conditions(loaded: Loaded) -> None:
    """An alias alone takes any model."""
    (route,) = loaded("routes: [{name: r, split: {a: 1}, aliases: {x: y}}]").routes
    assert route.conditions(route.look, *route.aliases) is None


def test_no_more_is_looked_into_than_a_body_may_have(loaded: Loaded) -> None:
    """The smaller of both bounds."""
    (route,) = loaded("routes: [{name: r, split: {a: 1}, model: [x, y], body_limit: 2KiB}]").routes
    assert route.look == Look(2048)
    assert route.model == ("x", "y")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("methods: [get]", ".methods[0]: must be a method in capitals, such as POST, got 'get'"),
        ("methods: [1]", ".methods[0]: must be a method in capitals, such as POST, got 1"),
        ("headers: {a b: x}", ".headers.a b: 'a b' is not a name: use letters, digits, `-` and `_`"),
        ("headers: {Host: x}", ".headers.Host: `host` is what `hosts` is for"),
        ("headers: {cookie: x}", ".headers.cookie: `cookie` holds all cookies at once: use `cookies`, or `cookie`, with the name of one"),
        ("headers: {TE: x}", ".headers.TE: 'TE' is about a connection, or the gateway's own: no request is judged by it"),
        ("headers: {x-tidegate-tag: x}", ".headers.x-tidegate-tag: 'x-tidegate-tag' is about a connection, or the gateway's own: no request is judged by it"),
        ("headers: {a: 2}", '.headers.a: must be text, {present: true} or {regex: pattern}, got 2: quote it, "2"'),
        ("headers: {a: {present: false}}", ".headers.a: must be text, {present: true} or {regex: pattern}, got a mapping"),
        ("query: {a: [x]}", ".query.a: must be text, {present: true} or {regex: pattern}, got a list"),
        ("query: {'': x}", ".query.: must not be empty"),
        ("cookies: {a: {regex: '['}}", ".cookies.a: '[' is not a regular expression: unterminated character set at position 0"),
        ("cookies: {a: {regex: 'ü'}}", ".cookies.a: 'ü' must be ASCII: other characters as clients send them, byte by byte, as \\xXX"),
        ("model: []", ".model: must not be empty: leave it out for any"),
        ("model: ['']", ".model[0]: must not be empty"),
        ("model: 1", ".model: must be a name or a list of names, got 1"),
        ("inspect_limit: 1", ".inspect_limit: must be between 1KiB and 64MiB, got 1"),
        ("rules: [{split: {a: 1}}]", ".rules[0]: must ask for something beside its `split`: no request would come past it"),
        ("rules: [{methods: [GET], split: {a: 0}}]", ".rules[0].split: must give some backend a weight above 0"),
        ("rules: [{methods: [GET], split: {b: 1}}]", ".rules[0].split: unknown backend 'b' (there are: a)"),
        ("rules: [{methods: [GET], split: {a: 1}, paths: [/x]}]", ".rules[0]: unknown key 'paths' (there are: cookies, headers, methods, model, query, split)"),
        ("tags: {canary: b}", ".tags.canary: backend 'b' is not in this route's split: give it a weight there, 0 for none but tagged requests"),
        ("sticky: {}", ".sticky: must have one of header, cookie, client_address or query, got none of them"),
        ("sticky: {header: a, query: b}", ".sticky: must have one of header, cookie, client_address or query, got header and query"),
        ("sticky: {client_address: false}", ".sticky.client_address: must be true, or left out, got false"),
        ("sticky: {cookie: {same_site: none, secure: false}}", ".sticky.cookie.secure: must be true beside `same_site: none`: browsers refuse such a cookie otherwise"),
        ("sticky: {cookie: {path: 'x;'}}", ".sticky.cookie.path: 'x;' must begin with `/` and be without `;` and characters beyond ASCII"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(refused: Refused, keys: str, problem: str) -> None:
    """In words, with its place."""
    assert refused(f"routes: [{{name: r, split: {{a: 1}}, {keys}}}]") == [f"x.yaml:1 routes[0]{problem}"]


CLAIMS = """routes:
  - {name: one, split: {a: 1}, headers: {x: y}, methods: [GET]}
  - {name: two, split: {a: 1}, methods: [GET], headers: {X: y}}
  - {name: three, split: {a: 1}, headers: {x: y}}
  - {name: four, split: {a: 1}}
"""


def test_two_routes_that_claim_the_same_are_told_with_both_names(refused: Refused) -> None:
    """Others that ask for something else are not in their way."""
    assert refused(CLAIMS) == [
        "x.yaml:3 routes[1]: / on any host with method GET, header x y belongs to route 'one' already"
    ]
