"""The sections on clients: what they may take, and what pods are told of them."""

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from gateway.backend import Backend, Limits
from gateway.config import Config, build_table

Loaded = Callable[[str], Config]
Refused = Callable[[str], list[str]]


def test_without_a_word_there_are_safe_limits(loaded: Loaded) -> None:
    """And nobody is trusted."""
    config = loaded("")
    limits, forwarded = config.limits, config.forwarded
    assert (limits.connections, limits.connections_per_client, limits.requests_per_connection) == (0, 0, 0)
    assert (limits.head, limits.fields, limits.target, limits.buffered) == (61440, 100, 8192, 2**28)
    assert config.defaults.body_limit == 0
    assert (forwarded.trusted_proxies, forwarded.x_forwarded, forwarded.forwarded) == ((), True, False)
    assert forwarded.via == "tidegate"


def test_both_sections_are_read(loaded: Loaded) -> None:
    """Sizes in bytes, proxies as networks."""
    config = loaded(
        "limits: {connections: 5, connections_per_client: 2, requests_per_connection: 9, head: 4KiB, fields: 20, "
        "target: 512, buffered: 1GiB}\n"
        'forwarded: {trusted_proxies: [10.0.0.0/8, 192.0.2.7, "fd00::/8"], x_forwarded: false, forwarded: true, via: ""}'
    )
    limits, forwarded = config.limits, config.forwarded
    assert (limits.connections, limits.connections_per_client, limits.requests_per_connection) == (5, 2, 9)
    assert (limits.head, limits.fields, limits.target, limits.buffered) == (4096, 20, 512, 2**30)
    assert forwarded.trusted_proxies == tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.7", "fd00::/8")))
    assert (forwarded.x_forwarded, forwarded.forwarded, forwarded.via) == (False, True, "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("limits: {head: 100}", "limits.head: must be between 1KiB and 1MiB, got 100"),
        ("limits: {target: 2MiB}", "limits.target: must be between 128 and 1MiB, got 2MiB"),
        ("limits: {fields: 0}", "limits.fields: "),
        ("limits: {connections: -1}", "limits.connections: "),
        ("limits: {buffered: 1GB}", "limits.buffered: '1GB' is not a size: write 1GiB"),
        ("defaults: {body_limit: 10MB}", "defaults.body_limit: '10MB' is not a size: write 10MiB"),
        ("forwarded: {via: a b}", "forwarded.via: 'a b' is neither a host nor a word"),
        ("forwarded: {trusted_proxies: [lb]}", "forwarded.trusted_proxies[0]: 'lb' is neither a network"),
        ("forwarded: {trusted_proxies: 10.0.0.0/8}", "forwarded.trusted_proxies: "),
    ],
)
def test_what_is_wrong_is_named(refused: Refused, text: str, problem: str) -> None:
    """With its place."""
    (line,) = refused(text)
    assert problem in line


def test_a_routes_body_limit_goes_before_the_default(loaded: Loaded) -> None:
    """Also when it is none."""
    config = loaded(
        "defaults: {body_limit: 1MiB}\n"
        "routes:\n"
        "- {name: a, paths: [/a], split: {a: 1}}\n"
        "- {name: b, paths: [/b], split: {a: 1}, body_limit: 2MiB}\n"
        "- {name: c, paths: [/c], split: {a: 1}, body_limit: 0}"
    )
    backend: Backend = Backend("a", Limits(), 0.0)
    table = build_table(config, {"a": backend})
    routes = (table.match(b"", path) for path in (b"/a", b"/b", b"/c"))
    assert [route.choose().body_limit for route in routes if route is not None] == [2**20, 2**21, 0]
