"""The `ejection` and `health` sections: what puts a pod out for a while beyond a refused connection, which always does.

Names and defaults are those of Envoy's outlier detection and health checks, so that what is known of these holds.
"""

from typing import Annotated

from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from gateway.config.problems import fault
from gateway.config.section import Section, shared
from gateway.config.units import Count, Interval, PositiveDuration, between, default, parse_share
from gateway.ejection import EjectionPolicy, SuccessRate
from gateway.tally import HealthCheck

_SHARE_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": "^[0-9]+(?:\\.[0-9]+)?%$"},
        {"type": "number", "minimum": 0, "maximum": 1},
    ]
}


def parse_any_share(value: object) -> float:
    """A share that may be nothing."""
    return 0.0 if value == 0 and not isinstance(value, bool) else parse_share(value)


AnyShare = Annotated[
    float,
    BeforeValidator(parse_any_share),
    between(0.0, 1.0, lambda share: f"{share * 100:g}%"),
    WithJsonSchema(_SHARE_SCHEMA),
]
Some = Annotated[int, Field(ge=1, le=1_000_000)]


class SuccessRateConfig(Section):
    """Pods whose answers are much worse than the others'."""

    minimum_hosts: Annotated[int, Field(ge=2, le=1_000_000)] = 5
    """Pods with enough requests that there must be to compare."""
    request_volume: Some = 100
    """Requests in an interval that are enough."""
    stdev_factor: Annotated[float, Field(ge=0, le=100)] = 1.9
    """A pod goes whose rate is so many standard deviations below the mean; 0: none."""


class EjectionConfig(Section):
    """What pods answer puts them out for a while. When the section is left out, nothing does."""

    consecutive_5xx: Count = 5
    """In a row, no whole answer in time included; 0: never for that."""
    consecutive_gateway_errors: Count = 0
    """The same of 502, 503, 504 and no whole answer alone: for servers that answer 500 to what clients got wrong."""
    interval: Interval = default("10s")
    """Between two looks at success rates."""
    base_time: PositiveDuration = default("30s")
    """How long a pod is out, times the number of its ejections lately."""
    max_time: PositiveDuration = default("300s")
    max_percent: AnyShare = default("10%")
    """Of the ready pods that may be out for their answers at once; one always may."""
    success_rate: SuccessRateConfig = shared(SuccessRateConfig())
    panic_threshold: AnyShare = default("50%")
    """With fewer pods than this left, for answers or health checks, all are used again; 0%: never."""

    @field_validator("max_time")
    @classmethod
    def _not_below(cls, value: float, info: ValidationInfo) -> float:
        base = info.data.get("base_time", 0.0)
        if value < base:
            raise fault(f"must not be below `base_time`, {base:g}s, got {value:g}s")
        return value

    @property
    def policy(self) -> EjectionPolicy:
        rate = self.success_rate
        rule = SuccessRate(rate.minimum_hosts, rate.request_volume, rate.stdev_factor)
        return EjectionPolicy(
            self.consecutive_5xx,
            self.consecutive_gateway_errors,
            self.interval,
            self.base_time,
            self.max_time,
            self.max_percent,
            rule if rate.stdev_factor else None,
        )


class HealthConfig(Section):
    """Pods are asked again and again whether they are well, beside what Kubernetes asks them."""

    path: Annotated[str, StringConstraints(pattern=r"^/[!-~]*\z")]
    """Answered with 2xx or 3xx by a pod that is."""
    interval: Interval = default("10s")
    timeout: PositiveDuration = default("1s")
    unhealthy: Some = 3
    """Failures in a row after which a pod gets no requests."""
    healthy: Some = 2
    """Successes in a row after which it gets them again."""

    @property
    def check(self) -> HealthCheck:
        return HealthCheck(self.path, self.interval, self.timeout, self.unhealthy, self.healthy)
