"""Field types for where things are: addresses to listen on, URLs of pods, hosts and paths that routes match.

Each parser takes what the YAML held, returns what the rest of the gateway computes with, and refuses the rest in words
that say what to write instead.
"""

import re
import warnings
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import PlainValidator, WithJsonSchema

from gateway.config.problems import fault, show
from gateway.routing import PathRule, normalise_host

_LABELS = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*", re.IGNORECASE)
_LONGEST_NAME = 253
_LAST_PORT = 65535
_PATH = re.compile(r"/[!-\"$->@-~]*")
"""A slash, then printable ASCII but neither `?` nor `#`: what a client can send."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port. IPv6 hosts have no brackets; an empty host is every interface."""

    host: str
    port: int
    secure: bool = False
    """It is spoken to over TLS."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self}"

    def clashes(self, other: "Address") -> bool:
        """Whether both cannot be listened on; port 0 stands for any free one."""
        everywhere = {"", "0.0.0.0", "::"}
        same_host = self.host == other.host or everywhere & {self.host, other.host}
        return bool(same_host) and self.port == other.port != 0


def parse_address(value: object) -> Address:
    """`HOST:PORT`, `[::1]:80`, or `:8080` for every interface."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise fault(
            f"must be HOST:PORT, got {value}: write 127.0.0.1:{value}, or :{value} for every interface"
        )
    if not isinstance(value, str):
        raise fault(f"must be HOST:PORT, got {show(value)}")
    host, colon, port = value.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise fault(f"{show(value)} is not HOST:PORT")
    if len(port) > len("65535") or int(port) > _LAST_PORT:
        raise fault(f"port {port[:20]} is not between 0 and 65535")
    return Address(_host(host) if host else "", int(port))


def parse_url(value: object) -> Address:
    """`http://HOST[:PORT]` or `https://HOST[:PORT]`, and nothing behind it."""
    if not isinstance(value, str):
        raise fault(f"must be a URL such as http://127.0.0.1:9001, got {show(value)}")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise fault(f"{show(value)} is not a URL: it holds characters that a URL cannot")
    scheme, separator, rest = value.partition("://")
    secure = scheme.lower() == "https"
    if not separator or not (secure or scheme.lower() == "http"):
        raise fault(f"{show(value)} is not a URL of the form http://HOST:PORT")
    try:
        url = urlsplit(value)
        port = (443 if secure else 80) if url.port is None else url.port
    except ValueError as error:
        raise fault(f"{show(value)} is not a URL: {str(error).lower()}") from error
    if "@" in url.netloc:
        raise fault("a URL may not hold a user or a password here")
    if url.path not in ("", "/") or "?" in rest or "#" in rest:
        raise fault(
            f"{show(value)} may not have a path or a query: requests keep the path that they came with"
        )
    if port == 0:
        raise fault("port 0 is not one that a pod can be reached on")
    return Address(_host(url.netloc.removesuffix(f":{url.port}").removesuffix(":")), port, secure)


def parse_plain_url(value: object) -> Address:
    """`http://HOST[:PORT]` alone."""
    address = parse_url(value)
    if address.secure:
        raise fault("https is not supported here: a gateway's admin side speaks http")
    return address


def parse_server_name(value: object) -> str:
    """A name or an IP address, as certificates hold them."""
    if not isinstance(value, str):
        raise fault(f"must be a host name, got {show(value)}")
    return _host(value)


def _host(host: str) -> str:
    """A host to listen on or to dial, without brackets."""
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(IPv6Address(host[1:-1]))
        except AddressValueError as error:
            raise fault(f"{show(host)} is not an IPv6 address") from error
    if ":" in host:
        raise fault(f"{show(host)} holds a colon: an IPv6 address is written in brackets, as [::1]:8080")
    if re.fullmatch(r"[0-9]+(\.[0-9]+)*", host):
        try:
            return str(IPv4Address(host))
        except AddressValueError as error:
            raise fault(f"{show(host)} is not an IPv4 address") from error
    if host.startswith("*") or len(host) > _LONGEST_NAME or not _LABELS.fullmatch(host):
        raise fault(f"{show(host)} is not a host name")
    return host.lower()


def parse_network(value: object) -> IPv4Network | IPv6Network:
    """`10.0.0.0/8`, `fd00::/8`, or one address."""
    if not isinstance(value, str):
        raise fault(f"must be a network such as 10.0.0.0/8 or an address, got {show(value)}")
    try:
        interface = ip_interface(value)
    except ValueError as error:
        raise fault(f"{show(value)} is neither a network such as 10.0.0.0/8 nor an address") from error
    network = interface.network
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        raise fault(
            f"{show(value)} is an IPv4 address mapped to IPv6: write the IPv4 one, it stands for both"
        )
    if "/" in value and interface.ip != network.network_address:
        raise fault(f"{show(value)} has bits set beyond its prefix: write {network}, or {interface.ip} alone")
    return network


def parse_route_host(value: object) -> bytes:
    """A name, `*.` and a name, or an IP address (IPv6 in brackets), as `Route.hosts` has them."""
    if not isinstance(value, str):
        raise fault(f"must be a host name, got {show(value)}")
    if value == "*":
        raise fault("`*` is every host: leave `hosts` out instead")
    if "/" in value:
        raise fault(f"{show(value)} must be a host name only, without http:// and path")
    if not value.isascii():
        raise fault(f"{show(value)} is not ASCII: write the name in its xn-- form")
    if value.startswith("[") and value.endswith("]"):
        return f"[{_host(value)}]".encode()
    if re.search(r":[0-9]*$", value) and value.count(":") == 1:
        raise fault(f"{show(value)} must be without a port: every port of the gateway matches")
    if "*" in value[1:] or (value.startswith("*") and not value.startswith("*.")):
        raise fault(f"{show(value)}: `*` may only stand in front, as in *.example.com")
    name = value.removesuffix(".")
    wildcard = "*." if name.startswith("*.") else ""
    return normalise_host((wildcard + _host(name.removeprefix("*."))).encode())


def parse_path(value: object) -> PathRule:
    """A prefix, `{exact: /path}` or `{regex: pattern}`."""
    if isinstance(value, str):
        return PathRule("prefix", _path(value))
    if isinstance(value, dict) and len(value) == 1:
        kind, text = next(iter(value.items()))
        if kind in ("exact", "regex") and not isinstance(text, str):
            raise fault(f"must be text, got {show(text)}", kind)
        if kind == "exact":
            return PathRule("exact", _path(text, "exact"))
        if kind == "regex" and not text.isascii():
            raise fault(
                f"{show(text)} must match the path as clients send it, other characters as %XX", "regex"
            )
        if kind == "regex":
            return PathRule("regex", parse_regex(text, "regex"))
    raise fault(f"must be a path such as /v1, {{exact: /v1}} or {{regex: '/v[12]/.*'}}, got {_what(value)}")


def parse_prefix(value: object) -> str:
    """The beginning of a path."""
    if not isinstance(value, str):
        raise fault(f"must be a path such as /v1, got {show(value)}")
    return _path(value).decode()


def _what(value: object) -> str:
    return f"keys {', '.join(map(show, value))}" if isinstance(value, dict) and value else show(value)


def _path(text: str, *under: str) -> bytes:
    if not text.startswith("/"):
        raise fault(f"{show(text)} must begin with `/`", *under)
    if "?" in text or "#" in text:
        raise fault(f"{show(text)} must be without `?` and `#`: routes match the path alone", *under)
    if not _PATH.fullmatch(text):
        raise fault(f"{show(text)} must be written as clients send it, other characters as %XX", *under)
    return text.encode()


def parse_regex(text: str, *under: str) -> bytes:
    """A pattern for bytes as clients send them."""
    if not text.isascii():
        raise fault(
            f"{show(text)} must be ASCII: other characters as clients send them, byte by byte, as \\xXX",
            *under,
        )
    try:
        with warnings.catch_warnings():
            # `[[a]` and the like, which may mean something else in a later Python.
            warnings.filterwarnings("error", "Possible (nested set|set )", FutureWarning)
            pattern = re.compile(text.encode())
    except FutureWarning as warning:
        words = str(warning).lower()
        raise fault(
            rf"{show(text)}: {words}: write `\[`, `\-`, `\&`, `\~` or `\|` inside of a set", *under
        ) from warning
    except (re.error, OverflowError, RecursionError) as error:
        raise fault(f"{show(text)} is not a regular expression: {error}", *under) from error
    if pattern.flags & re.LOCALE:
        raise fault(f"{show(text)}: the flag `L` has no meaning here: bytes have no locale", *under)
    return text.encode()


def _schema(pattern: str, *examples: str) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "pattern": pattern, "examples": list(examples)}
    return WithJsonSchema(schema)


_PATH_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": "^/"},
        {
            "type": "object",
            "properties": {"exact": {"type": "string", "pattern": "^/"}},
            "required": ["exact"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"regex": {"type": "string", "format": "regex"}},
            "required": ["regex"],
            "additionalProperties": False,
        },
    ]
}

ListenAddress = Annotated[
    Address, PlainValidator(parse_address), _schema(":[0-9]{1,5}$", "0.0.0.0:8080", "[::1]:8080", ":8080")
]
Network = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(parse_network),
    _schema("^[0-9A-Fa-f:.]+(/[0-9]+)?$", "10.0.0.0/8", "::1"),
]
HttpUrl = Annotated[Address, PlainValidator(parse_plain_url), _schema("^http://", "http://127.0.0.1:9001")]
PodUrl = Annotated[
    Address,
    PlainValidator(parse_url),
    _schema("^https?://", "http://127.0.0.1:9001", "https://models.example.com"),
]
ServerName = Annotated[str, PlainValidator(parse_server_name), _schema("^[^/*]+$", "models.example.com")]
RouteHost = Annotated[
    bytes, PlainValidator(parse_route_host), _schema("^[^/]+$", "models.example.com", "*.example.com")
]
RoutePath = Annotated[PathRule, PlainValidator(parse_path), WithJsonSchema(_PATH_SCHEMA)]
