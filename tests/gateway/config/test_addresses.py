"""Addresses, URLs, hosts and paths: what is read, and how the rest is refused."""

from ipaddress import ip_network

import pytest
from pydantic_core import PydanticCustomError

from gateway.config.addresses import (
    Address,
    parse_address,
    parse_network,
    parse_path,
    parse_route_host,
    parse_url,
)
from gateway.routing import PathRule


def refusal(parse: object, value: object) -> str:
    with pytest.raises(PydanticCustomError) as caught:
        parse(value)  # type: ignore[operator]
    [(_, text)] = (caught.value.context or {})["faults"]
    return str(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:8080", Address("0.0.0.0", 8080)),
        ("[::1]:80", Address("::1", 80)),
        (":8080", Address("", 8080)),
        ("LocalHost:0", Address("localhost", 0)),
        ("my_host.local:65535", Address("my_host.local", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: Address) -> None:
    """Names, IPv4, IPv6 in brackets, and every interface."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8080, "must be HOST:PORT, got 8080: write 127.0.0.1:8080, or :8080 for every interface"),
        (True, "must be HOST:PORT, got true"),
        ("localhost", "'localhost' is not HOST:PORT"),
        ("localhost:http", "'localhost:http' is not HOST:PORT"),
        ("localhost:-1", "'localhost:-1' is not HOST:PORT"),
        ("localhost:\u0661", "'localhost:\u0661' is not HOST:PORT"),
        ("localhost:65536", "port 65536 is not between 0 and 65535"),
        ("localhost:999999999", "port 999999999 is not between 0 and 65535"),
        ("::1:80", "'::1' holds a colon: an IPv6 address is written in brackets, as [::1]:8080"),
        ("[::g]:80", "'[::g]' is not an IPv6 address"),
        ("300.0.0.1:80", "'300.0.0.1' is not an IPv4 address"),
        ("a b:80", "'a b' is not a host name"),
        ("*.example.com:80", "'*.example.com' is not a host name"),
        ("a" * 64 + ":80", f"'{'a' * 58}… is not a host name"),
        (".".join(["a" * 60] * 5) + ":80", f"'{'a' * 58}… is not a host name"),
    ],
)
def test_what_is_no_address_is_refused(value: object, text: str) -> None:
    """Each mistake has its own words."""
    assert refusal(parse_address, value) == text


def test_an_address_prints_as_it_is_written() -> None:
    """IPv6 gets its brackets back, in a URL too."""
    assert [str(Address("::1", 80)), str(Address("a", 1)), Address("::1", 80).url] == [
        "[::1]:80",
        "a:1",
        "http://[::1]:80",
    ]


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (Address("127.0.0.1", 80), Address("127.0.0.1", 80), True),
        (Address("", 80), Address("127.0.0.1", 80), True),
        (Address("127.0.0.1", 80), Address("127.0.0.2", 80), False),
        (Address("a", 80), Address("a", 81), False),
        (Address("a", 0), Address("a", 0), False),
    ],
)
def test_addresses_clash_on_one_port_of_one_interface(one: Address, other: Address, clash: bool) -> None:
    """Every interface includes each; port 0 is always another."""
    assert one.clashes(other) is clash


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://127.0.0.1:9001", Address("127.0.0.1", 9001)),
        ("HTTP://Pod.local/", Address("pod.local", 80)),
        ("http://[::1]:9001", Address("::1", 9001)),
        ("http://pod:", Address("pod", 80)),
        ("https://pod", Address("pod", 443, secure=True)),
        ("HTTPS://[::1]:8443/", Address("::1", 8443, secure=True)),
    ],
)
def test_a_url_is_where_a_pod_listens(text: str, address: Address) -> None:
    """The port is 80 when it is left out, 443 for https."""
    assert parse_url(text) == address


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9001, "must be a URL such as http://127.0.0.1:9001, got 9001"),
        ("127.0.0.1:9001", "'127.0.0.1:9001' is not a URL of the form http://HOST:PORT"),
        ("ftp://a", "'ftp://a' is not a URL of the form http://HOST:PORT"),
        (
            "http://a/v1",
            "'http://a/v1' may not have a path or a query: requests keep the path that they came with",
        ),
        (
            "http://a?x",
            "'http://a?x' may not have a path or a query: requests keep the path that they came with",
        ),
        (
            "http://a#x",
            "'http://a#x' may not have a path or a query: requests keep the path that they came with",
        ),
        ("http://u:p@a", "a URL may not hold a user or a password here"),
        ("http://a:0", "port 0 is not one that a pod can be reached on"),
        ("http://a:x", "'http://a:x' is not a URL: port could not be cast to integer value as 'x'"),
        ("http://a:70000", "'http://a:70000' is not a URL: port out of range 0-65535"),
        ("http://[::1", "'http://[::1' is not a URL: invalid ipv6 url"),
        ("http://", "'' is not a host name"),
        ("http://a b", "'http://a b' is not a URL: it holds characters that a URL cannot"),
        ("http://ä", "'http://ä' is not a URL: it holds characters that a URL cannot"),
        ("http://a\nb", "'http://a\\nb' is not a URL: it holds characters that a URL cannot"),
    ],
)
def test_what_is_no_url_is_refused(value: object, text: str) -> None:
    """Each mistake has its own words."""
    assert refusal(parse_url, value) == text


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("A.Example.com", b"a.example.com"),
        ("a.example.com.", b"a.example.com"),
        ("*.Example.com", b"*.example.com"),
        ("127.0.0.1", b"127.0.0.1"),
        ("[::1]", b"[::1]"),
    ],
)
def test_a_host_of_a_route_is_normalised(text: str, host: bytes) -> None:
    """As the table compares it."""
    assert parse_route_host(text) == host


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "must be a host name, got 1"),
        ("*", "`*` is every host: leave `hosts` out instead"),
        ("http://a", "'http://a' must be a host name only, without http:// and path"),
        ("ä.de", "'ä.de' is not ASCII: write the name in its xn-- form"),
        ("a.com:80", "'a.com:80' must be without a port: every port of the gateway matches"),
        ("*a.com", "'*a.com': `*` may only stand in front, as in *.example.com"),
        ("a.*.com", "'a.*.com': `*` may only stand in front, as in *.example.com"),
        ("*.*.com", "'*.*.com': `*` may only stand in front, as in *.example.com"),
        ("::1", "'::1' holds a colon: an IPv6 address is written in brackets, as [::1]:8080"),
        ("*.", "'*' is not a host name"),
        ("a..b", "'a..b' is not a host name"),
        ("", "'' is not a host name"),
    ],
)
def test_what_is_no_host_is_refused(value: object, text: str) -> None:
    """Each mistake has its own words."""
    assert refusal(parse_route_host, value) == text


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("/v1/models", PathRule("prefix", b"/v1/models")),
        ({"exact": "/v1"}, PathRule("exact", b"/v1")),
        ({"regex": "/v[12]/.*"}, PathRule("regex", b"/v[12]/.*")),
        ("/%C3%BC", PathRule("prefix", b"/%C3%BC")),
    ],
)
def test_a_path_is_a_prefix_unless_it_says_otherwise(value: object, rule: PathRule) -> None:
    """Text is a prefix; mappings name their kind."""
    assert parse_path(value) == rule


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("v1", "'v1' must begin with `/`"),
        ({"exact": "v1"}, "'v1' must begin with `/`"),
        ("/v1?x=1", "'/v1?x=1' must be without `?` and `#`: routes match the path alone"),
        ("/a b", "'/a b' must be written as clients send it, other characters as %XX"),
        ("/ü", "'/ü' must be written as clients send it, other characters as %XX"),
        ({"regex": "ü"}, "'ü' must match the path as clients send it, other characters as %XX"),
        ({"regex": "("}, "'(' is not a regular expression: missing ), unterminated subpattern at position 0"),
        (
            {"regex": "a{99999999999}"},
            "'a{99999999999}' is not a regular expression: the repetition number is too large",
        ),
        ({"regex": 1}, "must be text, got 1"),
        (
            {"prefix": "/"},
            "must be a path such as /v1, {exact: /v1} or {regex: '/v[12]/.*'}, got keys 'prefix'",
        ),
        ({}, "must be a path such as /v1, {exact: /v1} or {regex: '/v[12]/.*'}, got a mapping"),
        (None, "must be a path such as /v1, {exact: /v1} or {regex: '/v[12]/.*'}, got nothing"),
    ],
)
def test_what_is_no_path_is_refused(value: object, text: str) -> None:
    """Each mistake has its own words."""
    assert refusal(parse_path, value) == text


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_a_network_is_a_prefix_or_one_address(text: str, network: str) -> None:
    """Of both versions."""
    assert parse_network(text) == ip_network(network)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("lb", "'lb' is neither a network such as 10.0.0.0/8 nor an address"),
        ("10.0.0.0/33", "'10.0.0.0/33' is neither a network such as 10.0.0.0/8 nor an address"),
        (10, "must be a network such as 10.0.0.0/8 or an address, got 10"),
        (None, "must be a network such as 10.0.0.0/8 or an address, got nothing"),
        (
            "10.1.2.3/8",
            "'10.1.2.3/8' has bits set beyond its prefix: write 10.0.0.0/8, or 10.1.2.3 alone",
        ),
        (
            "::ffff:10.0.0.0/104",
            "'::ffff:10.0.0.0/104' is an IPv4 address mapped to IPv6: write the IPv4 one, it stands for both",
        ),
    ],
)
def test_what_is_no_network_is_refused(value: object, text: str) -> None:
    """Each mistake has its own words."""
    assert refusal(parse_network, value) == text
