"""What a request says of itself: its header fields, cookies, query parameters and model, each found once and only when asked for.

Core. Values are bytes as they came, but for the query, whose percent-encoding is undone. Of a cookie or a parameter that is given twice
the first counts; of a header field all, joined as RFC 9110, 5.3 has it. `conditions` and `sticky` read an Asked, `steering` makes one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote_to_bytes

from gateway.modelnames import in_body, in_target

if TYPE_CHECKING:
    from gateway.http1 import RequestHead
    from gateway.modelnames import Found

Kind = Literal["header", "cookie", "query", "client_address"]


class Unknown:
    """What only the body can tell, which nobody has looked into yet."""

    def __repr__(self) -> str:
        return "<Unknown>"


UNKNOWN = Unknown()


class Asked:
    """One request, as those see it who decide where it goes."""

    __slots__ = ("_address", "_body", "_cookies", "_fields", "_found", "_model", "_parameters", "head")

    def __init__(self, head: "RequestHead", address: Callable[["RequestHead"], str]) -> None:
        """`address` tells the client's, as far as it can be trusted."""
        self.head = head
        self._address = address
        self._fields: dict[bytes, bytes] | None = None
        self._cookies: dict[bytes, bytes] | None = None
        self._parameters: dict[bytes, bytes] | None = None
        self._body = b""
        self._found: Found | None = None
        self._model: str | Unknown | None = UNKNOWN

    def header(self, name: bytes) -> bytes | None:
        """A field that is forwarded, by its name in lower case."""
        fields = self._fields
        if fields is None:
            fields = self._fields = _fields(self.head.lines)
        return fields.get(name)

    def cookie(self, name: bytes) -> bytes | None:
        cookies = self._cookies
        if cookies is None:
            cookies = self._cookies = _cookies(self.header(b"cookie") or b"")
        return cookies.get(name)

    def parameter(self, name: bytes) -> bytes | None:
        parameters = self._parameters
        if parameters is None:
            parameters = self._parameters = _parameters(self.head.target.partition(b"?")[2])
        return parameters.get(name)

    @property
    def address(self) -> bytes:
        """The client's."""
        return self._address(self.head).encode()

    # -- the body

    @property
    def looked_into(self) -> bool:
        """Nothing more can be learned from a body: it was read, or there is none."""
        return self._found is not None or not self.head.has_body

    @property
    def body(self) -> bytes:
        """All of it; empty before it was looked into."""
        return self._body

    @property
    def found(self) -> "Found":
        """Where the values stand in the body that somebody may want to know; empty before it was looked into."""
        return {} if self._found is None else self._found

    def look(self, body: bytes, found: "Found") -> None:
        """Its body is all there, and this is what was found in it."""
        self._body, self._found = body, found
        self._model = UNKNOWN

    @property
    def model(self) -> str | Unknown | None:
        """The name of the model that it is for, by its path or its body; None: it names none."""
        model = self._model
        if isinstance(model, Unknown):
            model = in_target(self.head.target)
            if model is None and self._found is not None:
                model = in_body(self._body, self._found)
            elif model is None and self.head.has_body:
                return UNKNOWN
            self._model = model
        return model

    def __repr__(self) -> str:
        return f"<Asked {self.head!r}{' looked into' if self._found is not None else ''}>"


@dataclass(frozen=True, slots=True)
class Source:
    """A place in a request where a value may stand."""

    kind: Kind
    name: bytes = b""
    """Of a header field in lower case; the client's address needs none."""

    def of(self, asked: Asked) -> bytes | None:
        """The value; None when there is none."""
        if self.kind == "header":
            return asked.header(self.name)
        if self.kind == "cookie":
            return asked.cookie(self.name)
        return asked.parameter(self.name) if self.kind == "query" else asked.address

    def __str__(self) -> str:
        return (
            "client address"
            if self.kind == "client_address"
            else f"{self.kind} {self.name.decode('latin-1')}"
        )


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for line in lines:
        colon = line.find(b":")
        name, value = line[:colon].lower(), line[colon + 2 : -2]
        before = fields.get(name)
        separator = b"; " if name == b"cookie" else b", "
        fields[name] = value if before is None else before + separator + value
    return fields


def _cookies(text: bytes) -> dict[bytes, bytes]:
    cookies: dict[bytes, bytes] = {}
    for pair in text.split(b";"):
        name, equals, value = pair.partition(b"=")
        value = value.strip(b" \t")
        if len(value) > 1 and value.startswith(b'"') and value.endswith(b'"'):
            value = value[1:-1]
        if equals:
            cookies.setdefault(name.strip(b" \t"), value)
    return cookies


def _parameters(query: bytes) -> dict[bytes, bytes]:
    parameters: dict[bytes, bytes] = {}
    for pair in query.split(b"&"):
        name, _, value = pair.replace(b"+", b" ").partition(b"=")
        if pair:
            parameters.setdefault(unquote_to_bytes(name), unquote_to_bytes(value))
    return parameters
