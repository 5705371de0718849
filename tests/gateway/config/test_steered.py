"""From a route's rules, tags and sticky section to what steers its requests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.asked import Asked
from gateway.backend import Backend, Limits
from gateway.config import Config, ConfigError, build_table
from gateway.credentials import load_credentials
from gateway.http1 import RequestHead
from gateway.search import Search
from gateway.steering import Steering

Loaded = Callable[[str], Config]
HEAD = "backends: {a: {target: {urls: [http://a]}}, b: {target: {urls: [http://b]}}}\nroutes: [{name: r, split: {a: 1, b: 0}, "


def steering(config: Config, secrets: dict[str, bytes] | None = None) -> Steering | None:
    backends = {name: Backend(name, Limits(), 0.0) for name in config.backends}
    return build_table(config, backends, secrets=secrets).routes["r"].steering


def test_a_plain_route_has_no_steering(loaded: Loaded) -> None:
    """Its requests pay nothing for the others."""
    assert steering(loaded(HEAD + "methods: [GET]}]")) is None


def test_rules_and_tags_lead_to_the_routes_own_backends(loaded: Loaded) -> None:
    """With the Route's settings: they are the same refs."""
    made = steering(
        loaded(HEAD + "expose_backend: true, rules: [{methods: [GET], split: {b: 3}}], tags: {dark: b}}]")
    )
    assert made is not None
    assert made.rules[0].split.weights == {"b": 3}
    assert made.tags[b"dark"] is made.rules[0].split.peek()
    assert made.tags[b"dark"].expose_backend


@pytest.mark.parametrize(
    ("sticky", "told"),
    [
        ("{header: X-User}", "header x-user"),
        ("{query: user}", "query user"),
        ("{client_address: true}", "client address"),
        ("{cookie: {}}", "cookie tidegate"),
    ],
)
def test_a_sticky_section_says_by_what(loaded: Loaded, sticky: str, told: str) -> None:
    """One of four."""
    made = steering(loaded(HEAD + f"sticky: {sticky}, rules: [{{methods: [PUT], split: {{b: 1}}}}]}}]"))
    assert made is not None
    assert str(made.sticky) == told
    assert repr(made.keyed) == "<Rendezvous a=1>"
    assert repr(made.rules[0].keyed) == "<Rendezvous b=1>"


def test_a_cookie_has_the_attributes_that_are_asked_for(loaded: Loaded) -> None:
    """The others are left out."""
    text = (
        HEAD
        + "sticky: {cookie: {name: c, max_age: 1d, path: /v1, same_site: none, secure: true, http_only: false}}}]"
    )
    made = steering(loaded(text))
    assert made is not None
    assert made.sticky is not None
    assert made.sticky.cookie is not None
    assert (
        made.sticky.cookie.line(b"k")
        == b"set-cookie: c=k; Path=/v1; SameSite=None; Max-Age=86400; Secure\r\n"
    )


SIGNED = HEAD + "sticky: {cookie: {secret_file: secret}}}]"


def test_a_secret_is_read_from_its_file(loaded: Loaded, write: object) -> None:  # noqa: ARG001  # it makes the folder the working directory
    """From the configuration's folder; space around it does not count."""
    config = loaded(SIGNED)
    Path("secret").write_text(" 0123456789abcdef\n")
    credentials = load_credentials(config)
    assert credentials.secrets == {"secret": b"0123456789abcdef"}
    made = steering(config, dict(credentials.secrets))
    assert made is not None
    one = Search(
        build_table(
            config, {n: Backend(n, Limits(), 0.0) for n in "ab"}, secrets=dict(credentials.secrets)
        ).routes["r"],
        Asked(RequestHead(b"GET", b"/"), lambda _: ""),
        lambda: b"k",
    )
    assert one.advance() is not None
    assert one.cookie.startswith(b"set-cookie: tidegate=k.")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "{folder}/secret: there is no such file"),
        (
            "short",
            "secret holds less than 16 bytes: write a random secret there, from `openssl rand -hex 32`",
        ),
    ],
)
def test_a_secret_that_is_none_is_refused_with_its_place(
    loaded: Loaded, content: str | None, problem: str
) -> None:
    """Before anything is taken over."""
    config = loaded(SIGNED)
    if content is not None:
        Path("secret").write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_credentials(config)
    assert (
        str(caught.value)
        == f"x.yaml:2 routes[0].sticky.cookie.secret_file: {problem.format(folder=Path.cwd())}"
    )


def test_backends_of_rules_and_tags_are_used(loaded: Loaded) -> None:
    """They bring no warning."""
    text = HEAD.replace("b: 0", "b: 0").replace("a: 1, b: 0", "a: 1")
    assert [str(w) for w in loaded(text + "rules: [{methods: [GET], split: {b: 1}}]}]").warnings] == []
    assert [str(w) for w in loaded(text + "}]").warnings] == [
        "x.yaml:1 backends.b: no route uses this backend"
    ]


def test_a_rules_rounded_weights_are_told(loaded: Loaded) -> None:
    """As a split's are."""
    (warning,) = loaded(HEAD + "rules: [{methods: [GET], split: {a: 100001, b: 1}}]}]").warnings
    assert str(warning).startswith(
        "x.yaml:2 routes[0].rules[0].split: the weights make a cycle of more than 10,000"
    )
