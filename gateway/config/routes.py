"""One entry of `routes`: what a request matches, and what then becomes of it.

RouteConfig holds the keys; those that make a section of their own have a module each. What concerns several Routes at once is in `checks`;
`table` makes a Route of each.
"""

from typing import Annotated

from pydantic import Field, Strict, field_validator

from gateway.config.addresses import RouteHost, RoutePath
from gateway.config.problems import fault
from gateway.config.retries import RetryOverrides
from gateway.config.scale import Section, shared
from gateway.config.timeouts import TimeoutOverrides
from gateway.config.units import Count, Name, Size
from gateway.routing import PathRule

_Lax = Strict(strict=False)  # YAML's lists become tuples


class RouteConfig(Section):
    """What a request matches, and how it splits over Backends."""

    name: Name
    hosts: Annotated[tuple[RouteHost, ...], _Lax] | None = None
    """Names, or `*.` and a name for everything below it. When left out: any host."""
    paths: Annotated[tuple[RoutePath, ...], _Lax] = Field(default=("/",), validate_default=True)
    """Prefixes, `{exact: /path}` or `{regex: pattern}`. When left out: every path."""
    split: dict[str, Count]
    """Weights of Backends; 0: deployed but dark."""
    timeouts: TimeoutOverrides = shared(TimeoutOverrides())
    body_limit: Size | None = None
    """Bytes that a request's body may have; 0: no limit. Goes before `defaults`."""
    retries: RetryOverrides = shared(RetryOverrides())
    expose_backend: bool = False
    """Tell the client which Backend answered, in `x-tidegate-backend`."""
    half_close: bool = False
    """Answer a client that closes its sending side after its whole request; otherwise it counts as having left. Not over TLS."""

    @field_validator("hosts")
    @classmethod
    def _some_host(cls, value: tuple[bytes, ...] | None) -> tuple[bytes, ...] | None:
        if value == ():
            raise fault("must not be empty: leave it out for any host")
        return value

    @field_validator("paths")
    @classmethod
    def _some_path(cls, value: tuple[PathRule, ...]) -> tuple[PathRule, ...]:
        if not value:
            raise fault("must not be empty: leave it out for every path")
        return value

    @field_validator("split")
    @classmethod
    def _some_weight(cls, value: dict[str, int]) -> dict[str, int]:
        if not any(value.values()):
            raise fault("must give some backend a weight above 0")
        return value
