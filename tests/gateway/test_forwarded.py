"""What pods are told of a request's way: whose word is taken, and what is written."""

from ipaddress import ip_address, ip_network
from typing import Any

import h11
import pytest

from gateway.forwarded import ForwardedPolicy, Origin, TrustedOrigin, parse_address
from gateway.http1 import RequestHead
from tests.fakes import Client, World, read_request

PEER = ("10.1.2.3", 50000)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def told(policy: ForwardedPolicy, *lines: bytes, peer: Any = PEER, version: bytes = b"1.1") -> dict[str, str]:
    """What of the fields in question a pod gets when a client sends these lines; several of one name are joined by ` + `."""
    return fields(asked(policy, *lines, peer=peer, version=version))


def asked(policy: ForwardedPolicy, *lines: bytes, peer: Any = PEER, version: bytes = b"1.1") -> h11.Request:
    world = World()
    world.gateway.forwarding = policy
    head = b"".join(b"%b\r\n" % line for line in lines)
    Client(world, peer).send(b"GET /a HTTP/%b\r\n%b\r\n" % (version, head))
    return read_request(world.link.take())[0]


def fields(request: h11.Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in request.headers:
        if name not in {b"host", b"x-request-id", b"connection"}:
            key = name.decode()
            found[key] = f"{found[key]} + {value.decode()}" if key in found else value.decode()
    return found


def trusting(**more: Any) -> ForwardedPolicy:
    return ForwardedPolicy((ip_network("10.0.0.0/8"), ip_network("fd00::/8")), **more)


def test_a_pod_is_told_of_the_client() -> None:
    """Its address, how it spoke, whom it meant, and that we stand between."""
    assert told(ForwardedPolicy(), b"Host: models:80") == {
        "x-forwarded-for": "10.1.2.3",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "models:80",
        "via": "1.1 tidegate",
    }


def test_without_a_host_none_is_told() -> None:
    """And Via tells the version in which the request came."""
    assert told(ForwardedPolicy(), version=b"1.0") == {
        "x-forwarded-for": "10.1.2.3",
        "x-forwarded-proto": "http",
        "via": "1.0 tidegate",
    }


@pytest.mark.parametrize(
    "line",
    [
        b"X-Forwarded-For: 9.9.9.9",
        b"x-forwarded-proto: https",
        b"X-FORWARDED-HOST: evil",
        b"X-Forwarded-Port: 1",
        b"X-Real-IP: 9.9.9.9",
        b"Forwarded: for=9.9.9.9",
        b"X_Forwarded_For: 9.9.9.9",
        b"x-forwarded_for: 9.9.9.9",
        b"X-Tidegate-Backend: a",
        b"x_tidegate_anything: a",
    ],
)
def test_what_a_client_says_of_itself_is_dropped(line: bytes) -> None:
    """In every spelling that a server could read so."""
    assert told(ForwardedPolicy(), b"Host: x", line) == told(ForwardedPolicy(), b"Host: x")


def test_a_client_cannot_have_our_fields_dropped() -> None:
    """By naming them in Connection, as fields for one hop."""
    line = b"Connection: x-forwarded-for, via, x-forwarded-host, forwarded"
    plain = told(ForwardedPolicy(), b"Host: x", b"Via: 1.1 a")
    assert told(ForwardedPolicy(), b"Host: x", b"Via: 1.1 a", line) == plain
    assert plain["via"] == "1.1 a + 1.1 tidegate"


@pytest.mark.parametrize("line", [b"X-Tidegate-Backend: a", b"x_tidegate_a: b"])
def test_a_trusted_proxy_may_not_speak_for_the_gateway(line: bytes) -> None:
    """Our own control fields are nobody else's."""
    assert told(trusting(), b"Host: x", line) == told(trusting(), b"Host: x")


def test_a_trusted_proxys_word_is_kept_and_lengthened() -> None:
    """By its own address; what it said of protocol and host stands."""
    lines = (b"X-Forwarded-For: 9.9.9.9, 8.8.8.8", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: shop")
    assert told(trusting(), b"Host: x", *lines, b"X-Real-IP: 9.9.9.9", b"Accept: a") == {
        "x-forwarded-proto": "https",
        "x-forwarded-host": "shop",
        "x-real-ip": "9.9.9.9",
        "accept": "a",
        "x-forwarded-for": "9.9.9.9, 8.8.8.8, 10.1.2.3",
        "via": "1.1 tidegate",
    }


def test_several_lines_become_one() -> None:
    """Many servers look at one only; empty ones add nothing."""
    lines = (b"X-Forwarded-For: 9.9.9.9", b"x-forwarded-for:", b"X-FORWARDED-FOR: 8.8.8.8")
    assert told(trusting(), b"Host: x", *lines)["x-forwarded-for"] == "9.9.9.9, 8.8.8.8, 10.1.2.3"


def test_what_a_trusted_proxy_leaves_out_is_added() -> None:
    """As for any other client; no host where there is none."""
    assert told(trusting(), b"Host: x", b"X-Forwarded-Proto:") == {
        "x-forwarded-for": "10.1.2.3",
        "x-forwarded-proto": " + http",
        "x-forwarded-host": "x",
        "via": "1.1 tidegate",
    }
    assert "x-forwarded-host" not in told(trusting(), version=b"1.0")


def test_the_next_request_begins_anew() -> None:
    """On a trusted proxy's connection each may be another client's."""
    world = World()
    world.gateway.forwarding = trusting()
    client = Client(world)
    for address in (b"9.9.9.9", b"8.8.8.8"):
        client.send(b"GET /a HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %b\r\n\r\n" % address)
        request = read_request(world.link.take())[0]
        assert fields(request)["x-forwarded-for"] == f"{address.decode()}, 10.1.2.3"
        world.link.say(OK)


def test_another_host_on_one_connection_is_told() -> None:
    """The lines are kept for as long as the Host stays the same."""
    world = World()
    client = Client(world)
    for host in ("a", "a", "b", "a"):
        client.send(f"GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert fields(read_request(world.link.take())[0])["x-forwarded-host"] == host
        world.link.say(OK)


def test_forwarded_is_written_where_it_is_wanted() -> None:
    """As RFC 7239 has it: what is no token is quoted, and so is an IPv6 address."""
    policy = ForwardedPolicy(x_forwarded=False, forwarded=True, via="")
    assert told(policy, b"Host: x") == {"forwarded": "for=10.1.2.3;host=x;proto=http"}
    assert told(policy, b"Host: x:80", peer=("fe80::1", 1, 0, 0)) == {
        "forwarded": 'for="[fe80::1]";host="x:80";proto=http'
    }
    assert told(policy, peer="", version=b"1.0") == {"forwarded": "for=unknown;proto=http"}


def test_a_trusted_proxys_forwarded_is_lengthened() -> None:
    """By what the gateway knows of the proxy."""
    policy = trusting(x_forwarded=False, forwarded=True, via="")
    assert told(policy, b"Host: x", b"Forwarded: for=9.9.9.9", b"Forwarded: for=b") == {
        "forwarded": "for=9.9.9.9, for=b, for=10.1.2.3;host=x;proto=http"
    }


def test_nothing_is_written_where_nothing_is_wanted() -> None:
    """What others said is dropped all the same."""
    policy = ForwardedPolicy(x_forwarded=False, via="")
    assert told(policy, b"Host: x", b"X-Forwarded-For: 9.9.9.9", b"Forwarded: for=a") == {}


def test_via_has_the_name_that_it_is_given() -> None:
    """Added to those of earlier hops."""
    assert told(ForwardedPolicy(via="edge:8080"), b"Host: x", b"Via: 1.0 a")["via"] == "1.0 a + 1.1 edge:8080"


def test_a_secure_connection_is_https() -> None:
    """What the listener knows."""
    origin = ForwardedPolicy().origin(PEER, secure=True)
    assert origin._proto == b"https"


@pytest.mark.parametrize(
    ("peer", "trusted", "address", "group"),
    [
        (("10.1.2.3", 1), True, "10.1.2.3", ""),
        (("11.1.2.3", 1), False, "11.1.2.3", "11.1.2.3"),
        (("::ffff:10.1.2.3", 1, 0, 0), True, "10.1.2.3", ""),
        (("::ffff:11.1.2.3", 1, 0, 0), False, "11.1.2.3", "11.1.2.3"),
        (("2001:db8:1:2:3::4", 1, 0, 0), False, "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        (("fd00::1", 1, 0, 0), True, "fd00::1", ""),
        (("fe80::1%eth0", 1, 0, 2), False, "fe80::1", "fe80::/64"),
        ("", False, "unknown", ""),
        (None, False, "unknown", ""),
    ],
)
def test_a_peer_is_trusted_by_its_address_and_counted_by_its_network(
    peer: object, trusted: bool, address: str, group: str
) -> None:
    """IPv4 in IPv6 is IPv4; a Unix socket has no address, is nobody's and not trusted."""
    origin = trusting().origin(peer)
    assert (origin.trusted, origin.address, origin.group) == (trusted, address, group)
    assert repr(origin) == f"<{(TrustedOrigin if trusted else Origin).__name__} {address}>"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        (" 1.2.3.4:80\t", "1.2.3.4"),
        ("::1", "::1"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
        ("fe80::1%2", "fe80::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
    ],
)
def test_an_address_is_read_however_it_is_written(text: str, address: str | None) -> None:
    """By sockets and by other proxies."""
    assert parse_address(text) == (None if address is None else ip_address(address))


def client_of(policy: ForwardedPolicy, *lines: bytes, peer: str = "10.1.2.3") -> str:
    origin, head = policy.origin((peer, 50000)), RequestHead(b"GET", b"/")
    head.lines += [line + b"\r\n" for line in lines]
    origin.adopt(head)
    return origin.client(head)


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        pytest.param([], "10.1.2.3", id="the proxy itself, when it says nothing"),
        pytest.param([b"X-Forwarded-For: 1.2.3.4"], "1.2.3.4", id="one"),
        pytest.param(
            [b"X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.9.9.9"], "1.2.3.4", id="the last that is no proxy"
        ),
        pytest.param(
            [b"x-forwarded-for: 6.6.6.6", b"X-Forwarded-For: 1.2.3.4:80"], "1.2.3.4", id="in two fields"
        ),
        pytest.param([b"x-forwarded-for: unknown"], "unknown", id="no address"),
        pytest.param([b"x-forwarded-for: 10.5.5.5"], "10.1.2.3", id="proxies alone"),
    ],
)
def test_a_client_behind_trusted_proxies_is_the_last_that_is_none(lines: list[bytes], address: str) -> None:
    """What stands before it anybody may have written."""
    assert client_of(trusting(), *lines) == address


@pytest.mark.parametrize(
    ("line", "address"),
    [
        (b"forwarded: for=6.6.6.6, for=1.2.3.4;proto=https", "1.2.3.4"),
        (b'Forwarded: proto=http;For="[2001:db8::1]:80", for=10.2.2.2', "2001:db8::1"),
        (b"forwarded: proto=http", "10.1.2.3"),
    ],
)
def test_forwarded_is_taken_where_there_is_nothing_else(line: bytes, address: str) -> None:
    """As RFC 7239 writes it."""
    assert client_of(trusting(x_forwarded=False), line) == address


def test_nobody_elses_word_is_taken_for_the_clients_address() -> None:
    """The reader has dropped these fields; one that was written anew is ours."""
    assert client_of(trusting(), b"x-forwarded-for: 1.2.3.4", peer="5.5.5.5") == "5.5.5.5"
