"""Redirects that no client gets out of."""

from collections.abc import Callable

import pytest

from gateway.config import Config

Loaded = Callable[[str], Config]


@pytest.mark.parametrize(
    ("routes", "says"),
    [
        (
            "{name: a, paths: [/a], redirect: {prefix: /a/b}}",
            "/a/x is sent to /a/b/x",
        ),
        ("{name: a, paths: [{exact: /a}], redirect: {prefix: /a}}", "/a is sent to /a"),
        ("{name: a, hosts: [h.example.com], redirect: {host: h.example.com}}", "/x is sent to /x"),
        ("{name: a, hosts: ['*.example.com'], redirect: {host: h.example.com}}", "/x is sent to /x"),
        (
            "{name: a, paths: [/a], redirect: {prefix: /b}}, {name: b, paths: [/b], redirect: {prefix: /a}}",
            "/a/x is sent to /b/x",
        ),
    ],
    ids=["deeper and deeper", "exact", "its own host", "a host of its own", "two of them"],
)
def test_a_redirect_that_leads_back_is_told(loaded: Loaded, routes: str, says: str) -> None:
    """A client would follow it until it gives up."""
    told = f"x.yaml:1 routes[0].redirect: leads in a circle: {says}, and never to anything but a redirect"
    assert told in map(str, loaded(f"routes: [{routes}]").warnings)


@pytest.mark.parametrize(
    "routes",
    [
        "{name: a, redirect: {prefix: /ui}}, {name: ui, paths: [/ui], respond: {}}",
        "{name: a, redirect: {prefix: /ui}}, {name: ui, paths: [/ui], headers: {x-a: b}, respond: {}}",
        "{name: a, redirect: {scheme: https}}",
        "{name: a, hosts: [a.example.com], redirect: {host: b.example.com}}",
        '{name: a, paths: [{regex: "/a.*"}], redirect: {host: b.example.com}}',
        "{name: a, paths: [/a], redirect: {prefix: /b}}, {name: b, paths: [/b], redirect: {prefix: /c}}",
    ],
    ids=["taken by another", "perhaps taken", "another scheme", "another host", "regex", "two in a row"],
)
def test_a_redirect_that_ends_is_nothing_to_tell(loaded: Loaded, routes: str) -> None:
    """Or one of which that is not known. That nobody uses the backend is another matter."""
    assert loaded(f"routes: [{routes}]").warnings[1:] == ()
