"""From models to routing objects."""

from collections.abc import Callable

import pytest

from gateway.backend import Backend, Limits
from gateway.config import Config, build_table
from gateway.retries import RetryPolicy
from gateway.terms import BackendRef, Timeouts

TEXT = """
defaults:
  timeouts: {connect: 1s, response: 1s, idle: 1s, request: 1s}
  retries: {on: [connect], methods: [GET], body_limit: 1KiB, budget: 10%}
backends:
  a: {target: {urls: [http://a]}, timeouts: {response: 2s, idle: 2s}, retries: {on: [503], budget: 50%}}
  b: {target: {urls: [http://b]}}
routes:
  - name: r
    hosts: ["*.example.com"]
    paths: [/v1, {exact: /health}]
    split: {a: 9, b: 1}
    timeouts: {idle: 3s}
    retries: {on: [], methods: [POST]}
    expose_backend: true
    half_close: true
  - {name: rest, split: {b: 1}}
"""


def made(*names: str) -> dict[str, Backend]:
    return {name: Backend(name, Limits(), 0.0) for name in names}


def test_a_table_matches_and_splits_as_the_file_says(loaded: Callable[[str], Config]) -> None:
    """Hosts, paths, weights and flags arrive in the routing core."""
    backends = made("a", "b")
    table = build_table(loaded(TEXT), backends)
    route = table.match(b"x.example.com", b"/v1/iris")
    assert route is not None
    assert (route.name, route.split.weights) == ("r", {"a": 9, "b": 1})
    refs = [route.choose() for _ in range(10)]
    assert {(ref.backend.name, ref.route, ref.expose_backend, ref.half_close) for ref in refs} == {
        ("a", "r", True, True),
        ("b", "r", True, True),
    }
    other = table.match(b"other.org", b"/v1/iris")
    assert other is not None
    assert (other.name, other.choose().expose_backend, other.choose().backend) == (
        "rest",
        False,
        backends["b"],
    )


def test_timeouts_come_from_route_then_backend_then_defaults(loaded: Callable[[str], Config]) -> None:
    """Each step by itself, for each backend of the route."""
    route = build_table(loaded(TEXT), made("a", "b")).routes["r"]
    refs = {route.choose() for _ in range(10)}
    assert {ref.backend.name: ref.timeouts for ref in refs} == {
        "a": Timeouts(connect=1.0, response=2.0, idle=3.0, request=1.0),
        "b": Timeouts(connect=1.0, response=1.0, idle=3.0, request=1.0),
    }


def policies(config: Config, route: str) -> dict[str, RetryPolicy]:
    chosen: list[BackendRef] = [
        build_table(config, made("a", "b")).routes[route].choose(),
        *(build_table(config, made("a", "b")).routes[route].split.choose() for _ in range(0)),
    ]
    return {ref.backend.name: ref.retries for ref in chosen}


def test_the_splits_position_survives_a_reload(loaded: Callable[[str], Config]) -> None:
    """With other objects behind the same names."""
    config = loaded(TEXT)
    old = build_table(config, made("a", "b"))
    chosen = [old.routes["r"].choose() for _ in range(5)]
    new = build_table(config, made("a", "b"), old)
    chosen += [new.routes["r"].choose() for _ in range(5)]
    assert [ref.backend.name for ref in chosen].count("b") == 1


def test_a_backend_without_an_object_is_a_bug(loaded: Callable[[str], Config]) -> None:
    """The caller makes one for each Backend of the file."""
    with pytest.raises(KeyError, match="b"):
        build_table(loaded(TEXT), made("a"))
