"""What pods are told of a request's way so far: X-Forwarded-*, Forwarded (RFC 7239) and Via (RFC 9110, 7.6.3).

Core. A `ForwardedPolicy` says which of them are written and whose word is taken; it makes an `Origin` for each connection. What a client says of
itself is dropped by the reader and written anew: lines that stay the same for as long as the connection and the Host do. A trusted proxy
speaks for its own client: what it says is kept, and lengthened by its address. An origin also knows whose share of the connections it
takes. `downstream` has one per connection; `exchange` asks it for the lines.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from gateway.http1 import TOKEN, RequestHead, field_line

Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"
"""Stands for a peer without an address: a Unix socket, say (RFC 7239, 6.2)."""
_FOR, _PROTO, _HOST, _FORWARDED = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"
_INITIALS = frozenset((b"x", b"X", b"f", b"F"))
"""Of the names above: most fields need no second look."""
_FORWARDED_FOR = re.compile(r'(?:^|;)[ \t]*for=("[^"]*"|[^;]*)', re.IGNORECASE)
_CLIENTS_NETWORK = 64
"""Bits of an IPv6 address that one client has: it may choose the rest as it likes."""


@dataclass(frozen=True)
class ForwardedPolicy:
    """What is written, and whose word is taken."""

    trusted: tuple[Network, ...] = ()
    """Proxies in front of this gateway."""
    x_forwarded: bool = True
    forwarded: bool = False
    via: str = "tidegate"
    """What the gateway calls itself in Via; empty: it does not."""

    def origin(self, peer: object, *, secure: bool = False) -> "Origin":
        """`peer` as a transport names it."""
        address = parse_address(peer[0]) if isinstance(peer, tuple) and isinstance(peer[0], str) else None
        proto = b"https" if secure else b"http"
        if address is not None and self.trusts(address):
            return TrustedOrigin(self, str(address), proto)
        return Origin(self, UNKNOWN if address is None else str(address), proto)

    def trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.trusted)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, as sockets and X-Forwarded-For write it: maybe with a port, in brackets, with a zone, or an IPv4 one mapped to IPv6."""
    text = text.strip(" \t")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


class Origin:
    """Where the requests of one connection come from."""

    __slots__ = ("_host", "_lines", "_policy", "_proto", "address")

    trusted = False
    """It is a proxy whose word is taken; nobody else's requests need `adopt`."""

    def __init__(self, policy: ForwardedPolicy, address: str, proto: bytes) -> None:
        self.address = address
        """The other end of the connection."""
        self._policy = policy
        self._proto = proto
        self._host: bytes | None = None
        """The Host that `_lines` are for."""
        self._lines = b""

    @property
    def group(self) -> str:
        """Whose share of connections this one takes: the address, or an IPv6 address's network. Empty: nobody's."""
        if ":" in self.address:
            return str(IPv6Network((self.address, _CLIENTS_NETWORK), strict=False))
        return "" if self.address == UNKNOWN else self.address

    def client(self, head: RequestHead) -> str:  # noqa: ARG002  # nobody's word counts but the connection's
        """The address that a request comes from, as far as it can be trusted."""
        return self.address

    def adopt(self, head: RequestHead) -> None:
        """Take over what a trusted proxy says, and lengthen it by the proxy itself: once per request, when it begins."""

    def lines(self, head: RequestHead) -> bytes:
        """Whole lines for the pod."""
        if head.host == self._host and not head.http10:
            return self._lines
        lines = self._compose(head)
        if not head.http10:
            self._host, self._lines = head.host, lines
        return lines

    def _compose(self, head: RequestHead) -> bytes:
        policy, host = self._policy, head.host
        lines = b""
        if policy.x_forwarded:
            lines = b"x-forwarded-for: %b\r\nx-forwarded-proto: %b\r\n" % (self.address.encode(), self._proto)
            if host:
                lines += field_line(_HOST, host)
        if policy.forwarded:
            lines += field_line(_FORWARDED, self._element(host))
        return lines + self._via(head)

    def _via(self, head: RequestHead) -> bytes:
        version = b"1.0" if head.http10 else b"1.1"
        return b"via: %b %b\r\n" % (version, self._policy.via.encode()) if self._policy.via else b""

    def _element(self, host: bytes | None) -> bytes:
        """What Forwarded tells of this hop."""
        address = f'"[{self.address}]"' if ":" in self.address else self.address
        named = b"host=%b;" % _quoted(host) if host else b""
        return b"for=%b;%bproto=%b" % (address.encode(), named, self._proto)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"


class TrustedOrigin(Origin):
    """A proxy in front of this gateway."""

    __slots__ = ()

    trusted = True

    @property
    def group(self) -> str:
        """Nobody's: many clients share its connections."""
        return ""

    def client(self, head: RequestHead) -> str:
        """From this end of the way backwards, the first that is no trusted proxy."""
        for text in reversed(_hops(head.lines)):
            address = parse_address(text)
            if address is None or not self._policy.trusts(address):
                return text if address is None else str(address)
        return self.address

    def adopt(self, head: RequestHead) -> None:
        policy, lines = self._policy, head.lines
        said: dict[bytes, list[bytes]] = {}
        for line in lines:
            if line[:1] in _INITIALS:
                said.setdefault(line[: line.find(b":")].lower(), []).append(line)
        if policy.x_forwarded:
            _lengthen(lines, _FOR, said.get(_FOR, []), self.address.encode())
            if not any(_values(_PROTO, said.get(_PROTO, []))):
                lines.append(field_line(_PROTO, self._proto))
            if head.host and not any(_values(_HOST, said.get(_HOST, []))):
                lines.append(field_line(_HOST, head.host))
        if policy.forwarded:
            _lengthen(lines, _FORWARDED, said.get(_FORWARDED, []), self._element(head.host))

    def _compose(self, head: RequestHead) -> bytes:
        return self._via(head)


def _lengthen(lines: list[bytes], name: bytes, said: list[bytes], link: bytes) -> None:
    """One line of what came in one or several, since many servers look at one only."""
    for line in said:
        lines.remove(line)
    lines.append(field_line(name, b", ".join((*filter(None, _values(name, said)), link))))


def _hops(lines: list[bytes]) -> list[str]:
    """Addresses that proxies have noted, the client's first: of X-Forwarded-For, or else of Forwarded."""
    for name in (_FOR, _FORWARDED):
        said = _values(name, [line for line in lines if line[: line.find(b":")].lower() == name])
        hops = b",".join(said).decode("latin-1").split(",") if said else []
        if name == _FORWARDED:
            hops = [found[1].strip('"') for found in map(_FORWARDED_FOR.search, hops) if found is not None]
        if hops:
            return [hop.strip(" \t") for hop in hops]
    return []


def _values(name: bytes, lines: list[bytes]) -> list[bytes]:
    return [line[len(name) + 2 : -2] for line in lines]


def _quoted(text: bytes) -> bytes:
    """A token as it is, anything else as a quoted string (RFC 9110, 5.6.4)."""
    if not text.translate(None, TOKEN):
        return text
    return b'"%b"' % text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
