"""From `rewrite`, `request_headers`, `response_headers`, `redirect` and `respond` to what the gateway does."""

from collections.abc import Callable

import pytest

from gateway.answers import Fixed, Redirect
from gateway.asked import Asked
from gateway.backend import Backend, Limits
from gateway.config import Config, build_table
from gateway.http1 import RequestHead
from gateway.rewriting import Edits, Move, Rewriting
from gateway.routing import Route
from gateway.search import Search
from gateway.steering import Steering
from gateway.terms import BackendRef

Loaded = Callable[[str], Config]
Refused = Callable[[str], list[str]]


def built(config: Config) -> Route[BackendRef]:
    backends = {name: Backend(name, Limits(), 0.0) for name in config.backends}
    return build_table(config, backends).routes["r"]


def steering(config: Config) -> Steering:
    made = built(config).steering
    assert made is not None
    return made


def route(text: str) -> str:
    return f"routes: [{{name: r, {text}}}]"


def test_what_is_rewritten_is_compiled(loaded: Loaded) -> None:
    """Names in lower case, and the Route's own paths."""
    text = (
        "split: {a: 1}, paths: [/v1, {exact: /x}], rewrite: {prefix: /v2, host: 'h:1'}, "
        "request_headers: {set: {X-A: '1'}, remove: [X-B]}, response_headers: {add: {x-c: ''}}"
    )
    assert steering(loaded(route(text))).rewriting == Rewriting(
        Move((b"/v1",), frozenset((b"/x",)), b"/v2"),
        b"h:1",
        Edits({b"x-a": b"1"}, {}, frozenset((b"x-b",))),
        Edits({}, {b"x-c": b""}),
    )


def test_nothing_to_write_is_nothing_to_pay(loaded: Loaded) -> None:
    """Empty sections are none."""
    assert built(loaded(route("split: {a: 1}, request_headers: {set: {}}"))).steering is None


def test_a_route_that_answers_has_no_turn_to_give(loaded: Loaded) -> None:
    """A Search comes to its answer."""
    for text, expected in (
        ("redirect: {scheme: https, status: 301}", Redirect(301, b"https")),
        ("respond: {status: 204}", Fixed(204)),
        (
            "respond: {body: hé, headers: {x-a: b}}",
            Fixed(200, (b"content-type: text/plain; charset=utf-8\r\n", b"x-a: b\r\n"), "hé".encode()),
        ),
        (
            "respond: {body: '{}', headers: {content-type: application/json}}",
            Fixed(200, (b"content-type: application/json\r\n",), b"{}"),
        ),
    ):
        made = built(loaded(route(text)))
        assert made.upcoming() == []
        search = Search(made, Asked(RequestHead(b"GET", b"/"), lambda _: ""), lambda: b"")
        assert search.advance() == expected


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("split: {a: 1}, redirect: {scheme: https}", "", "must have one of split, redirect or respond, got split and redirect"),
        ("redirect: {status: 301}", ".redirect", "must have a `scheme`, a `host` or a `prefix`: it would lead to itself"),
        ("redirect: {host: 'http://a'}", ".redirect.host", "must be a host such as"),
        ("redirect: {prefix: a}", ".redirect.prefix", "'a' must begin with `/`"),
        ("redirect: {scheme: https}, retries: {}", ".retries", "is about requests that go to pods, and `redirect` sends none there"),
        ("paths: [{regex: /v.}], redirect: {prefix: /a}", ".redirect.prefix", "cannot replace what matches regex /v."),
        ("split: {a: 1}, paths: [{regex: /v.}], rewrite: {prefix: /a}", ".rewrite.prefix", "cannot replace what matches regex /v."),
        ("split: {a: 1}, rewrite: {}", ".rewrite", "must have a `prefix` or a `host`"),
        ("split: {a: 1}, request_headers: {set: {host: a}}", ".request_headers.set.host", "is what `rewrite.host` is for"),
        ("split: {a: 1}, request_headers: {remove: [via]}", ".request_headers.remove[0]", "is what `forwarded.via` is for"),
        ("split: {a: 1}, request_headers: {add: {x-forwarded-for: a}}", ".request_headers.add.x-forwarded-for", "nobody else writes it"),
        ("split: {a: 1}, request_headers: {set: {Transfer-Encoding: a}}", ".request_headers.set.Transfer-Encoding", "nobody else writes it"),
        ("split: {a: 1}, response_headers: {remove: [content-length]}", ".response_headers.remove[0]", "nobody else writes it"),
        ("split: {a: 1}, response_headers: {set: {x_tidegate_a: b}}", ".response_headers.set.x_tidegate_a", "nobody else writes it"),
        ("split: {a: 1}, response_headers: {set: {x-a: 1}}", ".response_headers.set.x-a", 'must be text, got 1: quote it, "1"'),
        ('split: {a: 1}, response_headers: {set: {x-a: "1\\r\\nx: y"}}', ".response_headers.set.x-a", "must be of printable ASCII characters"),
        ("split: {a: 1}, response_headers: {set: {x-a: ' a'}}", ".response_headers.set.x-a", "must not begin or end with spaces"),
        ("split: {a: 1}, response_headers: {set: {x-a: b}, add: {X-A: c}}", ".response_headers", "'x-a' stands here twice"),
        ("respond: {status: 304, body: a}", ".respond.body", "must be left out: an answer with status 304 has none"),
        ("respond: {status: 101}", ".respond.status", "must be at least 200"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(refused: Refused, text: str, where: str, why: str) -> None:
    """With the place and the reason."""
    (line,) = refused(route(text))
    assert f"routes[0]{where}: " in line
    assert why in line


def test_a_body_that_should_be_a_file_is_refused(refused: Refused) -> None:
    """It would stand in memory, in every gateway."""
    (line,) = refused(route(f"respond: {{body: {'a' * 65537}}}"))
    assert line.endswith("routes[0].respond.body: must have 64KiB at most, got 65537 bytes")


TWO = "backends: {a: {target: {urls: [http://a]}}, b: {target: {urls: [http://b]}}}\n"


def test_a_fallback_tells_who_answers(loaded: Loaded) -> None:
    """Whatever the route says for its own backends; their timeouts are those of the other one."""
    made = built(loaded(TWO + route("split: {a: 1}, fallback: {backend: b}")))
    assert made.steering is not None
    fallback = made.steering.fallback
    assert fallback is not None
    assert (fallback.ref.backend.name, fallback.ref.route, fallback.after) == ("b", "r", 2.0)
    assert (fallback.ref.expose_backend, made.choose().expose_backend) == (True, False)


def test_a_placeholder_asks_browsers_to_come_again(loaded: Loaded) -> None:
    """And nobody to keep it."""
    placeholder = steering(loaded(route("split: {a: 1}, placeholder: {refresh: 10s}"))).placeholder
    assert placeholder is not None
    assert placeholder.page.lines == (
        b"content-type: text/html; charset=utf-8\r\n",
        b"refresh: 10\r\n",
        b"retry-after: 10\r\n",
        b"cache-control: no-store\r\n",
    )


def test_a_mirror_is_bounded(loaded: Loaded) -> None:
    """By what is said, or by defaults."""
    text = "split: {a: 1}, mirror: {backend: b, percent: 0.5%, body_limit: 2KiB, compare: {log: 0%}}"
    mirror = steering(loaded(TWO + route(text))).mirror
    assert mirror is not None
    assert mirror.compare is not None
    assert (mirror.ref.backend.name, mirror.percent, mirror.in_flight) == ("b", 0.5, 100)
    assert (mirror.body_limit, mirror.compare.tolerance) == (2048, 1e-6)
    assert [mirror.turns.take() for _ in range(400)].count(True) == 2
    assert not any(mirror.compare.log.take() for _ in range(10))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mirror: {backend: c}", "routes[0].mirror.backend: unknown backend 'c'"),
        (
            "mirror: {backend: a}",
            "routes[0].mirror.backend: 'a' is the only backend that this route chooses: name another one",
        ),
        (
            "mirror: {backend: b, percent: 0}",
            "routes[0].mirror.percent: must be between 0.0001% and 100%, got 0%",
        ),
        ("fallback: {backend: c}", "routes[0].fallback.backend: unknown backend 'c'"),
        (
            "fallback: {backend: a}",
            "routes[0].fallback.backend: 'a' is the only backend that this route chooses: name another one",
        ),
        (
            "fallback: {backend: b, after: 0s}",
            "routes[0].fallback.after: must be between 100ms and 1h, got 0s",
        ),
    ],
)
def test_what_leads_nowhere_is_refused(refused: Refused, text: str, why: str) -> None:
    """By the name that it was given."""
    lines = refused(TWO + route(f"split: {{a: 1}}, {text}"))
    assert any(why in line for line in lines), lines
