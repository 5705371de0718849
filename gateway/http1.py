"""HTTP/1.1 heads: what of a message is forwarded, and how it is written again (RFC 9110, RFC 9112).

Core: no sockets, no parser. A head is rebuilt from its parsed parts, never copied, so that what a pod reads is what was
matched and counted. Fields are kept as whole lines, each checked and put into one form when it was read; one join makes a head of them.
Each field name is looked up once, as it came, in a small dict that learns spellings; lower() is paid on the first sight only.
`reader` and `upstream` fill these heads, from the parser or by `quick`; `exchange` carries them from one side to the other.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from gateway.errors import GatewayError

KEEP, DROP, HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE, EXPECT, REQUEST_ID, TAG = range(10)
"""What to do with a field: KEEP forwards it, DROP does not, the others are noted and written anew where they belong."""

TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What names of fields, methods and the like are made of (RFC 9110, 5.6.2)."""
_HOP_BY_HOP = {
    b"connection": CONNECTION,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"content-length": CONTENT_LENGTH,
    b"upgrade": UPGRADE,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"proxy-authenticate": DROP,
    b"proxy-authorization": DROP,
    b"te": DROP,
    b"trailer": DROP,
    b"http2-settings": DROP,
    b"x-request-id": REQUEST_ID,
}
_ORIGIN = frozenset(
    (
        b"forwarded", b"x-real-ip", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto",
    )
)  # fmt: skip
"""What tells of a client: a trusted proxy's word is taken for it, nobody else's. `forwarded` writes it."""
_TRUSTED = _HOP_BY_HOP | {b"host": HOST, b"expect": EXPECT, b"x-tidegate-tag": TAG}
_REQUEST = _TRUSTED | dict.fromkeys(_ORIGIN, DROP)
_OURS = b"x-tidegate-"
_SLASH = ord("/")
_PLAIN_CONNECTION = frozenset((b"close", b"keep-alive"))
_FOR_ALL_HOPS = _PLAIN_CONNECTION | _ORIGIN | {b"host", b"content-length", b"transfer-encoding", b"via"}
"""What Connection may name without effect: where a message comes from, goes and ends is no matter of one hop."""
LONGEST_BODY = 2**63 - 1
"""What a Content-Length may say: who counts in 64 bits with a sign would read a larger one as something else."""
_AUTHORITY = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?\Z"
)
_NOTHING: frozenset[bytes] = frozenset()
_LONGEST_CONNECTION = 4096
"""Bytes of Connection's value: each of its words is looked at."""
_LEARN_AT_MOST = 1024
"""Spellings kept per direction, so that a client that invents names cannot grow the process."""


class FieldTable(dict[bytes, int]):
    """What to do with each field name: `table[name]`, whatever its spelling. Spellings are learned as they come."""

    def __init__(self, by_lower: Mapping[bytes, int]) -> None:
        super().__init__()
        self._by_lower = by_lower

    def __missing__(self, name: bytes) -> int:
        lower = name.lower()
        # Servers that speak CGI or WSGI to their applications take x_forwarded_for for x-forwarded-for.
        dashed = lower.replace(b"_", b"-")
        disguised = dashed != lower and dashed in _REQUEST
        unknown = DROP if dashed.startswith(_OURS) else KEEP
        action = DROP if disguised else self._by_lower.get(lower, unknown)
        if len(self) < _LEARN_AT_MOST:
            self[name] = action
        return action


REQUEST_FIELDS = FieldTable(_REQUEST)
TRUSTED_FIELDS = FieldTable(_TRUSTED)
"""For a trusted proxy's requests."""
RESPONSE_FIELDS = FieldTable(_HOP_BY_HOP | {b"x-request-id": DROP})


@dataclass(frozen=True)
class HeadLimits:
    """How large a head may be."""

    size: int = 61440
    """Bytes, from the first line to the empty one; 60 KiB is Envoy's bound."""
    fields: int = 100
    """Of trailers too."""
    target: int = 8192
    """Bytes of a request's target."""


POD_LIMITS = HeadLimits(size=262144, fields=1000)
"""What a pod may send: more than a client, since nobody outside chooses it, but not without end."""


def names_host(value: bytes) -> bool:
    """Whether `value` is a host, with or without a port (RFC 3986, 3.2.2), which is what Host and an absolute target may hold.

    A comma, which a name could have by the letter, is not taken: many readers would see a list.
    """
    return _AUTHORITY.match(value) is not None


def field_line(name: bytes, value: bytes) -> bytes:
    """One field as it is forwarded, its CRLF included."""
    return b"%b: %b\r\n" % (name, value)


class Head:
    """What requests and responses share: their fields and how their body is framed."""

    __slots__ = ("chunked", "connection", "content_length", "fault", "lines", "named", "upgrade")

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        """What is forwarded, a field each, with its CRLF."""
        self.content_length = -1
        """Bytes of body; -1: not given."""
        self.chunked = False
        self.connection: bytes | None = None
        """The Connection field's value, lower case."""
        self.named: frozenset[bytes] = _NOTHING
        """The fields that it names, lower case, once the head is complete."""
        self.fault: str | None = None
        """Why the message must not be forwarded. The first fault counts; found here, acted on by the edges."""
        self.upgrade: bytes | None = None
        """The Upgrade field's value, lower case."""

    def blame(self, fault: str) -> None:
        if self.fault is None:
            self.fault = fault

    def note(self, action: int, value: bytes) -> None:
        """Take over a field that is not simply forwarded. The parser has checked the form of Content-Length."""
        if action == CONTENT_LENGTH:
            self.content_length = int(value)
            if self.content_length > LONGEST_BODY:
                self.blame(f"a Content-Length may be {LONGEST_BODY} at most")
        elif action == TRANSFER_ENCODING:
            if self.chunked or value.lower() != b"chunked":
                self.blame("Transfer-Encoding other than chunked, once, is not supported")
            self.chunked = True
        elif action == CONNECTION:
            lower = value.lower()
            self.connection = lower if self.connection is None else self.connection + b"," + lower
        elif action == UPGRADE:
            lower = value.lower()
            self.upgrade = lower if self.upgrade is None else self.upgrade + b"," + lower

    def drop_named(self) -> None:
        """Leave out the fields that Connection names: they are for this hop alone (RFC 9110, 7.6.1)."""
        connection = self.connection
        if connection is None or connection in _PLAIN_CONNECTION:
            return
        if len(connection) > _LONGEST_CONNECTION:
            self.blame(f"Connection names more than fits into {_LONGEST_CONNECTION} bytes")
            return
        self.named = named = frozenset(token.strip() for token in connection.split(b",")) - _FOR_ALL_HOPS
        if named:
            self.lines = [line for line in self.lines if line[: line.find(b":")].lower() not in named]


class RequestHead(Head):
    """A request, parsed and not yet judged. Its `lines` hold Host and the framing too."""

    __slots__ = (
        "expect_continue",
        "host",
        "http10",
        "keep_alive",
        "method",
        "request_id",
        "tag",
        "target",
    )

    def __init__(self, method: bytes = b"", target: bytes = b"") -> None:
        # As Head's, in one piece: every request makes one.
        self.lines: list[bytes] = []
        self.content_length = -1
        self.chunked = False
        self.connection: bytes | None = None
        self.named: frozenset[bytes] = _NOTHING
        self.fault: str | None = None
        self.method = method
        self.target = target
        self.http10 = False
        self.keep_alive = True
        self.host: bytes | None = None
        self.request_id: bytes | None = None
        self.expect_continue = False
        self.tag: bytes | None = None
        self.upgrade: bytes | None = None

    def note(self, action: int, value: bytes) -> None:
        """Take over a field that is not simply forwarded."""
        if action == CONTENT_LENGTH:
            super().note(action, value)
            self.lines.append(b"content-length: %d\r\n" % self.content_length)
        elif action == HOST:
            if self.host is not None:
                self.blame("more than one Host field")
            elif value and not names_host(value):
                self.blame("the Host field names no host")
            self.host = value
            if value:
                self.lines.append(field_line(b"host", value))
        elif action == REQUEST_ID:
            if 0 < len(value) <= 128:
                self.request_id = value
        elif action == TAG:
            self.tag = value
        elif action == EXPECT:
            self.expect_continue = value.lower() == b"100-continue"
        else:
            super().note(action, value)

    def settle(self) -> None:
        """Judge the head as a whole, once it is complete."""
        if self.host is None:
            if not self.http10:
                self.blame("no Host field")
            self.host = b""
        if self.chunked:
            if self.http10:
                self.blame("Transfer-Encoding in an HTTP/1.0 request")
            self.lines.append(b"transfer-encoding: chunked\r\n")
        if self.expect_continue and not self.http10:
            self.lines.append(b"expect: 100-continue\r\n")
        if b"#" in self.target:
            self.blame("a request's target has no fragment")
        if self.target[0] != _SLASH:
            self._resolve_target()
        if self.connection is not None:
            self.drop_named()

    def _resolve_target(self) -> None:
        """Absolute form names the host itself (RFC 9112, 3.2.2); the asterisk belongs to OPTIONS alone."""
        scheme, separator, rest = self.target.partition(b"://")
        if separator and scheme.lower() in {b"http", b"https"}:
            ends = [at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0]
            cut = min(ends, default=len(rest))
            self.host = rest[:cut]
            if not names_host(self.host):
                self.blame("the target's URL names no host, or more than a host and a port")
            self.lines = [line for line in self.lines if line[:5].lower() != b"host:"]
            self.lines.append(field_line(b"host", self.host))
            self.target = rest[cut:] if rest[cut : cut + 1] == b"/" else b"/" + rest[cut:]
        elif not (self.target == b"*" and self.method == b"OPTIONS") and self.method != b"CONNECT":
            self.blame("the request's target is neither a path nor an absolute URL")

    @property
    def place(self) -> str:
        """What it asks for, in words."""
        host, path = (self.host or b"").decode("latin-1"), self.target.partition(b"?")[0].decode("latin-1")
        return f"host {host!r} and path {path!r}"

    @property
    def has_body(self) -> bool:
        return self.chunked or self.content_length > 0

    @property
    def opens_websocket(self) -> bool:
        """It asks for a WebSocket as RFC 6455, 4.1 has it: this and no other protocol, by a GET without a body, in HTTP/1.1."""
        return self.upgrade == WEBSOCKET and self.method == b"GET" and not self.http10 and not self.has_body

    def render(self, authority: bytes, forwarded: bytes, body: bytes) -> bytes:
        """The head as a pod gets it, and what there is of the body, framed.

        `authority` stands in for a missing Host; `forwarded` are whole lines.
        """
        if not self.host:
            forwarded = field_line(b"host", authority) + forwarded
        return b"".join(
            (
                self.method, b" ", self.target, b" HTTP/1.1\r\n", *self.lines, b"x-request-id: ", self.request_id or b"",
                b"\r\n", forwarded, b"\r\n", body,
            )
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<RequestHead {self.method.decode()} {self.target.decode('latin-1')} host={self.host!r}>"


class ResponseHead(Head):
    """A pod's answer, or one of our own."""

    __slots__ = ("status",)

    def __init__(self, status: int = 0) -> None:
        self.lines: list[bytes] = []
        self.content_length = -1
        self.chunked = False
        self.connection: bytes | None = None
        self.named: frozenset[bytes] = _NOTHING
        self.fault: str | None = None
        self.upgrade: bytes | None = None
        self.status = status

    def framing(self, *, bodyless: bool, size: int) -> bytes:
        """The field that tells where the body ends; `size`: of the whole body, if that is known by now, else -1."""
        if self.content_length >= 0:
            return b"content-length: %d\r\n" % self.content_length if self.status != 204 else b""
        if bodyless:
            return b""
        return b"content-length: %d\r\n" % size if size >= 0 else CHUNKED

    def render(self, framing: bytes, extra: bytes, body: bytes = b"") -> bytes:
        """The head as a client gets it, and what there is of the body; `framing` and `extra` are whole lines."""
        status = STATUS_LINES.get(self.status)
        if status is None:
            status = b"HTTP/1.1 %d \r\n" % self.status
        return b"".join((status, *self.lines, extra, framing, b"\r\n", body))

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status}>"


WEBSOCKET = b"websocket"
"""The one protocol that a connection may be switched to."""
SWITCH_LINES = b"connection: upgrade\r\nupgrade: websocket\r\n"
"""What asks for that and what grants it: for each hop anew, as Connection must be."""
CHUNKED = b"transfer-encoding: chunked\r\n"
ALLOW = b"allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
BODYLESS = frozenset((204, 304))
"""Statuses that say by themselves that no body follows (RFC 9110, 6.4.1)."""
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body. An empty one would end it, so nothing becomes nothing."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: list[bytes]) -> bytes:
    """The end of a chunked body, with its trailer fields."""
    return b"".join((b"0\r\n", *trailers, b"\r\n")) if trailers else LAST_CHUNK


def capabilities() -> ResponseHead:
    """The answer to OPTIONS *, which asks about the gateway itself."""
    head = ResponseHead(200)
    head.content_length = 0
    head.lines.append(ALLOW)
    return head


def problem(error: GatewayError, request_id: bytes, *, details: bool = True) -> tuple[ResponseHead, bytes]:
    """An answer of our own: problem details (RFC 9457) with the reason's slug and the request id.

    Without `details` what went wrong behind us is named by its reason alone; what is wrong with the request itself is told in any case.
    """
    reason = error.reason
    told = {
        "type": "about:blank",
        "title": reason.title,
        "status": reason.status,
        "detail": error.detail,
        "reason": reason.slug,
        "request_id": request_id.decode("latin-1"),
    }
    if not details and reason.status >= 500:
        del told["detail"]
    body = json.dumps(told, ensure_ascii=False).encode() + b"\n"
    head = ResponseHead(reason.status)
    head.content_length = len(body)
    head.lines.append(b"content-type: application/problem+json\r\n")
    if reason.status == 405:
        head.lines.append(ALLOW)
    if error.retry_after is not None:
        head.lines.append(b"retry-after: %d\r\n" % max(1, round(error.retry_after)))
    return head, body
