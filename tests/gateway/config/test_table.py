"""From models to routing objects."""

from collections.abc import Callable

import pytest

from gateway.config import Config, build_table
from gateway.routing import Timeouts

TEXT = """
defaults: {timeouts: {connect: 1s, response: 1s, idle: 1s, request: 1s}}
backends:
  a: {target: {urls: [http://a]}, timeouts: {response: 2s, idle: 2s}}
  b: {target: {urls: [http://b]}}
routes:
  - name: r
    hosts: ["*.example.com"]
    paths: [/v1, {exact: /health}]
    split: {a: 9, b: 1}
    timeouts: {idle: 3s}
    expose_backend: true
  - {name: rest, split: {b: 1}}
"""


def test_a_table_matches_and_splits_as_the_file_says(loaded: Callable[[str], Config]) -> None:
    """Hosts, paths, weights and flags arrive in the routing core."""
    table = build_table(loaded(TEXT), {"a": "A", "b": "B"})
    route = table.match(b"x.example.com", b"/v1/iris")
    assert route is not None
    assert (route.name, route.expose_backend, route.split.weights) == ("r", True, {"a": 9, "b": 1})
    assert {route.choose() for _ in range(10)} == {"A", "B"}
    other = table.match(b"other.org", b"/v1/iris")
    assert other is not None
    assert (other.name, other.expose_backend, other.choose()) == ("rest", False, "B")


def test_timeouts_come_from_route_then_backend_then_defaults(loaded: Callable[[str], Config]) -> None:
    """Each step by itself, for each backend of the route."""
    route = build_table(loaded(TEXT), {"a": "A", "b": "B"}).routes["r"]
    assert route.timeouts == {
        "a": Timeouts(connect=1.0, response=2.0, idle=3.0, request=1.0),
        "b": Timeouts(connect=1.0, response=1.0, idle=3.0, request=1.0),
    }


def test_the_splits_position_survives_a_reload(loaded: Callable[[str], Config]) -> None:
    """With other objects behind the same names."""
    config = loaded(TEXT)
    old = build_table(config, {"a": "A", "b": "B"})
    chosen = [old.routes["r"].choose() for _ in range(5)]
    new = build_table(config, {"a": "A2", "b": "B2"}, old)
    chosen += [new.routes["r"].choose() for _ in range(5)]
    assert [name[0] for name in chosen].count("B") == 1


def test_a_backend_without_an_object_is_a_bug(loaded: Callable[[str], Config]) -> None:
    """The caller makes one for each Backend of the file."""
    with pytest.raises(KeyError, match="b"):
        build_table(loaded(TEXT), {"a": "A"})
