"""The `retries` section: what is tried again beyond that which costs the pods nothing.

`Retries` stands in `defaults`, `RetryOverrides` in a Backend and in a Route; `table` makes a RetryPolicy of the three.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Strict, WithJsonSchema

from gateway.config.problems import fault, show
from gateway.config.section import Section
from gateway.config.units import Share, Size, default

Method = Literal["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "POST", "PATCH"]


def parse_condition(value: object) -> str | int:
    """`connect`, `reset`, or a status from 500 to 599."""
    if value in ("connect", "reset") and isinstance(value, str):
        return value
    if isinstance(value, int) and 500 <= value <= 599:
        return value
    raise fault(f"must be connect, reset, or a status from 500 to 599, got {show(value)}")


_CONDITION_SCHEMA: dict[str, Any] = {
    "anyOf": [{"enum": ["connect", "reset"]}, {"type": "integer", "minimum": 500, "maximum": 599}],
}
_Lax = Strict(strict=False)  # YAML's lists become tuples
Condition = Annotated[str | int, BeforeValidator(parse_condition), WithJsonSchema(_CONDITION_SCHEMA)]
Conditions = Annotated[tuple[Condition, ...], _Lax]
Methods = Annotated[tuple[Method, ...], _Lax]


class Retries(Section):
    """What is tried once more. A refused connection, and one that its pod had closed before, are always tried again."""

    on: Conditions = ("connect", "reset", 502, 503, 504)
    """`connect`: no connection in time; `reset`: it was lost before an answer; and pods' statuses from 500 on."""
    methods: Methods = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")
    """Those that may be sent twice. The others are tried again only when no pod can have seen them."""
    body_limit: Size = default("64KiB")
    """How much of a request's body is kept for another try; with more, there is none."""
    budget: Share = default("20%")
    """Retries under way at once in a backend, as a share of its other requests; three are always allowed."""


class RetryOverrides(Section):
    """Retries of one Backend or Route; what is left out comes from the Backend, then from `defaults`."""

    on: Conditions | None = None
    methods: Methods | None = None
    body_limit: Size | None = None
    budget: Share | None = None
