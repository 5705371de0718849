"""The `pick` key: which of a backend's pods takes the next request; and `slow_start`, for pods that are new.

A policy's name, or a mapping of the one that needs to be told more. `table` makes an Affinity of a hash's key for each Route.
"""

from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from gateway.affinity import Affinity
from gateway.asked import Source
from gateway.conditions import Look
from gateway.config.matching import FieldName, Parameter, TokenName
from gateway.config.problems import fault, show
from gateway.config.section import Section
from gateway.config.units import between, default

PLAIN = ("least_requests", "round_robin", "first_available")
HASH = "consistent_hash"


def parse_multiple(value: object) -> float:
    """The factor in `125%` or 1.25."""
    text = value.removesuffix("%") if isinstance(value, str) and value.endswith("%") else ""
    if text.replace(".", "", 1).isdecimal() and text.isascii():
        return float(text) / 100
    if isinstance(value, float):
        return value
    raise fault(f"must be a percentage such as 125%, or a factor such as 1.25, got {show(value)}")


_MULTIPLE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": "^[0-9]+(?:\\.[0-9]+)?%$"},
        {"type": "number", "minimum": 1, "maximum": 10},
    ],
    "examples": ["125%", 1.25],
}
Multiple = Annotated[
    float,
    BeforeValidator(parse_multiple),
    between(1.0, 10.0, lambda factor: f"{factor * 100:g}%"),
    WithJsonSchema(_MULTIPLE_SCHEMA),
]


class HashConfig(Section):
    """What requests have in common that should meet the same pod: one of the first four."""

    header: FieldName | None = None
    """A header field's value."""
    cookie: TokenName | None = None
    query: Parameter | None = None
    """A parameter of the target."""
    prompt: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """So many characters of what the user says first, in a JSON body: the first message of role user, or `prompt`."""
    bound: Multiple = default("125%")
    """What a pod may have open at most, in percent of the average; beyond that the next one on the ring takes the request."""

    @model_validator(mode="after")
    def _one_key(self) -> "HashConfig":
        keys = ("header", "cookie", "query", "prompt")
        given = [key for key in keys if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise fault(f"must have one of header, cookie, query or prompt, got {found}")
        return self

    def affinity(self, look: Look) -> Affinity:
        """For a Route that looks into so much of a body."""
        if self.prompt is not None:
            return Affinity(prompt=self.prompt, look=look)
        if self.header is not None:
            return Affinity(Source("header", self.header.encode()))
        if self.cookie is not None:
            return Affinity(Source("cookie", self.cookie.encode()))
        return Affinity(Source("query", (self.query or "").encode()))


class PickConfig(Section):
    """A policy."""

    consistent_hash: HashConfig | None = None
    _plain: str = PrivateAttr(default=PLAIN[0])

    @model_validator(mode="wrap")
    @classmethod
    def _by_name(cls, value: object, handler: ModelWrapValidatorHandler["PickConfig"]) -> "PickConfig":
        names = f"{', '.join(PLAIN)}, or {{{HASH}: {{…}}}}"
        if isinstance(value, (dict, PickConfig)):
            picked = handler(value)
            if not isinstance(value, PickConfig) and picked.consistent_hash is None:
                raise fault(f"must be {names}")
            return picked
        if value == HASH:
            raise fault(f"{HASH} must say what is hashed: {{{HASH}: {{header: x-session}}}}")
        if value not in PLAIN or not isinstance(value, str):
            raise fault(f"must be {names}, got {show(value)}")
        picked = cls.model_construct()
        picked._plain = value  # noqa: SLF001  # its own
        return picked

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(PLAIN)}, {**handler(core_schema), "required": [HASH]}]}

    @property
    def policy(self) -> str:
        return self._plain if self.consistent_hash is None else HASH
