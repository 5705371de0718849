"""The section `queue` of a Backend, and `priority` and `tenant` of a Route: who waits, who goes first, who gives way.

A priority or a tenant that a header field tells is believed when a trusted proxy sends it (`forwarded.trusted_proxies`); anybody else's only with
`trust: true`. `routes` holds these, `table` makes a Standing or a Ranking of them.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.config.matching import FieldName
from gateway.config.problems import fault, show
from gateway.config.section import Section
from gateway.config.units import Count, PositiveDuration, Size, default
from gateway.standing import HIGHEST, Ranking

Level = Annotated[int, Field(ge=-HIGHEST, le=HIGHEST)]


class Queue(Section):
    """Requests that wait for a slot."""

    depth: Count = 100
    """How many may wait at once; one more is answered 503, unless one with a lower priority gives way."""
    timeout: PositiveDuration = default("60s")
    """How long one may wait while a pod is ready."""
    bytes: Size = 0
    """Of heads and bodies that may wait at once; 0: no limit."""
    fairness: Literal["round_robin", "least_use"] | None = None
    """Between tenants of one priority: one each in turn, or whoever has used least slot time lately. When left out: round robin if a route tells tenants."""


class PriorityConfig(Section):
    """What goes first in a queue."""

    header: FieldName | None = None
    default: Level = 0
    """Without the header, or when its value is no integer or not to be believed."""
    trust: bool = False
    """Believe everyone, not only `forwarded.trusted_proxies`."""

    @property
    def matters(self) -> bool:
        """It may be another one than most requests have."""
        return self.header is not None or self.default != 0


def parse_priority(value: object) -> object:
    """One number for all, or a header that tells it."""
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > HIGHEST:
            raise fault(f"must be between -{HIGHEST} and {HIGHEST}, got {value}")
        return {"default": value}
    if not isinstance(value, dict):
        raise fault(f"must be an integer, or a mapping with a `header`, got {show(value)}")
    if "header" not in value:
        raise fault("must have a `header`: without one, write a number")
    return value


_LEVEL_SCHEMA: dict[str, Any] = {"type": "integer", "minimum": -HIGHEST, "maximum": HIGHEST}
_PRIORITY_SCHEMA: dict[str, Any] = {
    "anyOf": [
        _LEVEL_SCHEMA,
        {
            "type": "object",
            "properties": {
                "header": {"type": "string", "minLength": 1},
                "default": _LEVEL_SCHEMA,
                "trust": {"type": "boolean"},
            },
            "required": ["header"],
            "additionalProperties": False,
        },
    ]
}
Priority = Annotated[PriorityConfig, BeforeValidator(parse_priority), WithJsonSchema(_PRIORITY_SCHEMA)]


class TenantConfig(Section):
    """Who a request is from: those of one priority take turns."""

    header: FieldName
    trust: bool = False
    """Believe everyone, not only `forwarded.trusted_proxies`: whoever invents names has more turns, up to a thousand."""


def ranking(priority: PriorityConfig, tenant: TenantConfig | None) -> Ranking:
    """As the gateway has it."""
    return Ranking(
        priority=priority.default,
        priority_field=(priority.header or "").encode(),
        priority_of_anyone=priority.trust,
        tenant_field=b"" if tenant is None else tenant.header.encode(),
        tenant_of_anyone=tenant is not None and tenant.trust,
    )
