"""What a request must be besides its host and path: the keys that a Route and its rules share, and Conditions made of them.

A value is text, which must be there exactly; `{present: true}`; or `{regex: pattern}`, which the whole value must fit. Names of fields are
compared in lower case; a field that is not forwarded, or that the gateway itself writes, cannot be asked for.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, Strict, WithJsonSchema

from gateway.asked import Kind, Source
from gateway.conditions import Condition, Conditions, Look
from gateway.config.addresses import parse_regex
from gateway.config.problems import fault, show
from gateway.config.section import Section
from gateway.http1 import KEEP, TOKEN, TRUSTED_FIELDS

_NAME = TOKEN.decode()
_Lax = Strict(strict=False)  # YAML's lists become tuples

Value = tuple[Literal["exact", "regex", "present"], bytes]


def parse_token(value: object) -> str:
    """A name as HTTP has them."""
    if not isinstance(value, str) or not value or value.strip(_NAME):
        raise fault(f"{show(value)} is not a name: use letters, digits, `-` and `_`")
    return value


def parse_field(value: object) -> str:
    """A header field that a request may be judged by, in lower case."""
    name = parse_token(value).lower()
    if name == "host":
        raise fault("`host` is what `hosts` is for")
    if name == "cookie":
        raise fault("`cookie` holds all cookies at once: use `cookies`, or `cookie`, with the name of one")
    if TRUSTED_FIELDS[name.encode()] != KEEP:
        raise fault(f"{show(value)} is about a connection, or the gateway's own: no request is judged by it")
    return name


def parse_method(value: object) -> bytes:
    if not isinstance(value, str) or not value.isascii() or not value.isalpha() or not value.isupper():
        raise fault(f"must be a method in capitals, such as POST, got {show(value)}")
    return value.encode()


def parse_value(value: object) -> Value:
    """Text, `{present: true}` or `{regex: pattern}`."""
    if isinstance(value, str):
        return "exact", value.encode("utf-8", "surrogatepass")
    if isinstance(value, dict) and len(value) == 1:
        kind, what = next(iter(value.items()))
        if kind == "present" and what is True:
            return "present", b""
        if kind == "regex" and isinstance(what, str):
            return "regex", parse_regex(what)
    quote = f': quote it, "{show(value)}"' if isinstance(value, (bool, int, float)) else ""
    raise fault(f"must be text, {{present: true}} or {{regex: pattern}}, got {show(value)}{quote}")


def one_or_more(value: object) -> object:
    """One text stands for a list of it."""
    if isinstance(value, list) and not value:
        raise fault("must not be empty: leave it out for any")
    if not isinstance(value, (str, list)):
        raise fault(f"must be a name or a list of names, got {show(value)}")
    return [value] if isinstance(value, str) else value


_VALUE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"present": {"const": True}},
            "required": ["present"],
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
_NAMES_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    ]
}

TokenName = Annotated[str, PlainValidator(parse_token), WithJsonSchema({"type": "string", "minLength": 1})]
FieldName = Annotated[str, PlainValidator(parse_field), WithJsonSchema({"type": "string", "minLength": 1})]
Parameter = Annotated[str, Field(min_length=1)]
ModelName = Annotated[str, Field(min_length=1, max_length=1024)]
Models = Annotated[tuple[ModelName, ...], _Lax, BeforeValidator(one_or_more), WithJsonSchema(_NAMES_SCHEMA)]
Method = Annotated[
    bytes, PlainValidator(parse_method), WithJsonSchema({"type": "string", "pattern": "^[A-Z]+$"})
]
Asks = Annotated[Value, PlainValidator(parse_value), WithJsonSchema(_VALUE_SCHEMA)]


class Matching(Section):
    """What a request must be, all of it at once."""

    methods: Annotated[tuple[Method, ...], _Lax] = ()
    """When left out: any."""
    headers: dict[FieldName, Asks] = Field(default_factory=dict)
    """Of a field that is there more than once, the values stand with commas between them."""
    cookies: dict[TokenName, Asks] = Field(default_factory=dict)
    query: dict[Parameter, Asks] = Field(default_factory=dict)
    """Parameters of the target, without their percent-encoding; of one that is given twice the first counts."""
    model: Models = ()
    """Names: of the path, /v1/models/NAME or /v2/models/NAME, or else of the `model` in a JSON body."""

    def conditions(self, look: Look, *also: str) -> Conditions | None:
        """As the routing core has them; None: it asks for nothing. Models' names go for those that `also` stand for them."""
        models = frozenset((*self.model, *also)) if self.model else frozenset()
        values = frozenset(
            (
                *self._of("header", self.headers),
                *self._of("cookie", self.cookies),
                *self._of("query", self.query),
            )
        )
        if not (self.methods or values or models):
            return None
        return Conditions(frozenset(self.methods), values, models, look)

    @staticmethod
    def _of(kind: Kind, asked: dict[str, Value]) -> list[Condition]:
        return [Condition(Source(kind, name.encode()), *value) for name, value in asked.items()]
