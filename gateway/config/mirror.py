"""The section `mirror` of a Route: a share of its requests goes to another Backend as well, for nobody to wait for."""

from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.config.section import Section
from gateway.config.units import Size, between, default, format_size, parse_percentage, parse_share
from gateway.mirrors import Compare, Mirror, Turns
from gateway.terms import BackendRef

_PERCENT_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"},
            {"type": "number", "exclusiveMinimum": 0, "maximum": 100},
        ],
        "examples": [10, "0.5%"],
    }
)
_SHARE_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"},
            {"type": "number", "minimum": 0, "maximum": 1},
        ],
        "examples": ["1%", 0.01],
    }
)
Percent = Annotated[
    float, BeforeValidator(parse_percentage), between(0.0001, 100.0, "{:g}%".format), _PERCENT_SCHEMA
]
LogShare = Annotated[
    float, BeforeValidator(parse_share), between(0.0, 1.0, lambda share: f"{share * 100:g}%"), _SHARE_SCHEMA
]
CopySize = Annotated[Size, between(2**10, 2**26, format_size)]


class CompareConfig(Section):
    """Whether both backends answer the same."""

    tolerance: Annotated[float, Field(ge=0)] = 1e-6
    """By which numbers in JSON may differ, or by that share of the larger one."""
    log: LogShare = default("1%")
    """Of those that differ, which are told in the log."""


class MirrorConfig(Section):
    """Copies of requests, whose answers are thrown away."""

    backend: str
    percent: Percent = 100.0
    """Of the requests that go to pods."""
    in_flight: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Copies at once; what comes beyond is not copied."""
    body_limit: CopySize = default("1MiB")
    """Requests with a larger body are not copied."""
    compare: CompareConfig | None = None
    """When left out, answers are not compared."""

    def built(self, ref: BackendRef) -> Mirror:
        compare = None
        if self.compare is not None:
            compare = Compare(self.compare.tolerance, Turns(self.compare.log))
        return Mirror(ref, Turns(self.percent / 100), self.percent, self.in_flight, self.body_limit, compare)
