"""What a Route rewrites: the sections `rewrite`, `request_headers` and `response_headers`.

Fields that belong to a connection or frame a message cannot be written by anybody but the gateway, nor can those by which it tells of the
client; values must be what a field may hold. `routes` holds these, `table` makes a Rewriting of them.
"""

from typing import Annotated, Any

from pydantic import Field, PlainValidator, Strict, WithJsonSchema, model_validator

from gateway.config.addresses import parse_prefix
from gateway.config.matching import parse_token
from gateway.config.problems import fault, show
from gateway.config.section import Section
from gateway.http1 import KEEP, REQUEST_FIELDS, RESPONSE_FIELDS, FieldTable, names_host
from gateway.rewriting import Edits, Move
from gateway.routing import PathRule

_Lax = Strict(strict=False)  # YAML's lists become tuples
LONGEST_VALUE = 8192


def _writable(value: object, table: FieldTable) -> str:
    name = parse_token(value).lower()
    if name == "host":
        raise fault("`host` is what `rewrite.host` is for")
    if name == "via":
        raise fault("`via` is what `forwarded.via` is for")
    if table[name.encode()] != KEEP:
        raise fault(
            f"{show(value)} is about a connection, a message's length, or the gateway's own: nobody else writes it"
        )
    return name


def parse_request_field(value: object) -> str:
    """A field that a request to a pod may be given or denied, in lower case."""
    return _writable(value, REQUEST_FIELDS)


def parse_response_field(value: object) -> str:
    """The same of an answer."""
    return _writable(value, RESPONSE_FIELDS)


def parse_field_value(value: object) -> str:
    """What a field may hold (RFC 9110, 5.5), in ASCII."""
    if not isinstance(value, str):
        quote = f': quote it, "{show(value)}"' if isinstance(value, (bool, int, float)) else ""
        raise fault(f"must be text, got {show(value)}{quote}")
    if not value.isascii() or any(not char.isprintable() and char != "\t" for char in value):
        raise fault(f"{show(value)} must be of printable ASCII characters")
    if value != value.strip(" \t"):
        raise fault(f"{show(value)} must not begin or end with spaces: readers drop them")
    if len(value) > LONGEST_VALUE:
        raise fault(f"must have {LONGEST_VALUE} characters at most, got {len(value)}")
    return value


def parse_authority(value: object) -> str:
    """A host, with or without a port."""
    if not isinstance(value, str) or not value.isascii() or not names_host(value.encode()):
        raise fault(f"must be a host such as internal.example.com, with or without a port, got {show(value)}")
    return value


_NAME_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1})
RequestField = Annotated[str, PlainValidator(parse_request_field), _NAME_SCHEMA]
ResponseField = Annotated[str, PlainValidator(parse_response_field), _NAME_SCHEMA]
FieldValue = Annotated[str, PlainValidator(parse_field_value), WithJsonSchema({"type": "string"})]
Authority = Annotated[
    str, PlainValidator(parse_authority), WithJsonSchema({"type": "string", "minLength": 1})
]
Prefix = Annotated[str, PlainValidator(parse_prefix), WithJsonSchema({"type": "string", "pattern": "^/"})]


class _Headers(Section):
    @model_validator(mode="after")
    def _once(self) -> "_Headers":
        fields: Any = self
        named = [*fields.set, *fields.add, *fields.remove]
        for name in named:
            if named.count(name) > 1:
                raise fault(f"{show(name)} stands here twice: say once what becomes of it")
        return self

    @property
    def edits(self) -> Edits | None:
        """None: nothing is written."""
        fields: Any = self
        if not (fields.set or fields.add or fields.remove):
            return None
        return Edits(
            _encoded(fields.set), _encoded(fields.add), frozenset(name.encode() for name in fields.remove)
        )


def _encoded(fields: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in fields.items()}


class RequestHeaders(_Headers):
    """Of requests, on their way to pods."""

    set: dict[RequestField, FieldValue] = Field(default_factory=dict)
    """Instead of any that came."""
    add: dict[RequestField, FieldValue] = Field(default_factory=dict)
    """Besides any that came."""
    remove: Annotated[tuple[RequestField, ...], _Lax] = ()


class ResponseHeaders(_Headers):
    """Of pods' answers, on their way to clients."""

    set: dict[ResponseField, FieldValue] = Field(default_factory=dict)
    """Instead of any that came."""
    add: dict[ResponseField, FieldValue] = Field(default_factory=dict)
    """Besides any that came."""
    remove: Annotated[tuple[ResponseField, ...], _Lax] = ()


class RewriteConfig(Section):
    """What pods are asked for instead."""

    prefix: Prefix | None = None
    """In place of the path that the route matched; what comes behind it stays."""
    host: Authority | None = None
    """In place of the client's Host, which X-Forwarded-Host still tells."""

    @model_validator(mode="after")
    def _something(self) -> "RewriteConfig":
        if self.prefix is None and self.host is None:
            raise fault("must have a `prefix` or a `host`: nothing would change")
        return self


def move(paths: tuple[PathRule, ...], to: str | None) -> Move | None:
    """In place of what a Route with these paths matches."""
    if to is None:
        return None
    return Move(
        tuple(rule.value for rule in paths if rule.kind == "prefix"),
        frozenset(rule.value for rule in paths if rule.kind == "exact"),
        to.encode(),
    )
