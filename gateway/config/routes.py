"""One entry of `routes`: what a request matches, and what then becomes of it.

RouteConfig holds the keys; those that make a section of their own have a module each. What concerns several Routes at once is in `checks`;
`table` makes a Route of each.
"""

from typing import Annotated

from pydantic import AfterValidator, Field, Strict, field_validator, model_validator

from gateway.conditions import Look
from gateway.config.addresses import RouteHost, RoutePath
from gateway.config.matching import Matching, ModelName, TokenName
from gateway.config.problems import fault
from gateway.config.queues import Priority, PriorityConfig, TenantConfig
from gateway.config.retries import RetryOverrides
from gateway.config.section import shared
from gateway.config.sticky import StickyConfig
from gateway.config.timeouts import TimeoutOverrides
from gateway.config.units import Count, InspectSize, Name, Size, default
from gateway.routing import PathRule

_Lax = Strict(strict=False)  # YAML's lists become tuples


def some_weight(value: dict[str, int]) -> dict[str, int]:
    if not any(value.values()):
        raise fault("must give some backend a weight above 0")
    return value


Weights = Annotated[dict[str, Count], AfterValidator(some_weight)]


class RuleConfig(Matching):
    """A split of its own for some of a Route's requests: a cohort of an experiment."""

    split: Weights

    @model_validator(mode="after")
    def _asks_for_something(self) -> "RuleConfig":
        if self.conditions(Look(0)) is None:
            raise fault("must ask for something beside its `split`: no request would come past it")
        return self


class RouteConfig(Matching):
    """What a request matches, and how it splits over Backends."""

    name: Name
    hosts: Annotated[tuple[RouteHost, ...], _Lax] | None = None
    """Names, or `*.` and a name for everything below it. When left out: any host."""
    paths: Annotated[tuple[RoutePath, ...], _Lax] = Field(default=("/",), validate_default=True)
    """Prefixes, `{exact: /path}` or `{regex: pattern}`. When left out: every path."""
    aliases: dict[ModelName, ModelName] = Field(default_factory=dict)
    """Names of models, and what pods are asked for instead; beside `model` they are names of this route, too."""
    inspect_limit: InspectSize = default("1MiB")
    """Bytes of a body that is looked into, for `model` or `aliases`; one with more is refused."""
    split: Weights
    """Weights of Backends; 0: deployed but dark."""
    rules: Annotated[tuple[RuleConfig, ...], _Lax] = ()
    """Splits that go before `split` and `tags`, the first whose conditions hold."""
    tags: dict[TokenName, str] = Field(default_factory=dict)
    """What clients may write into `x-tidegate-tag`, and the Backend of `split` that it leads to. When left out: nothing."""
    sticky: StickyConfig | None = None
    """Who comes again stays with one Backend. When left out: requests take turns."""
    priority: Priority = shared(PriorityConfig())
    """Of its requests in a queue: higher ones go first. A number, or a header field that tells it."""
    tenant: TenantConfig | None = None
    """Whom a request is from: tenants take turns in a queue. When left out: all are one."""
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

    @property
    def look(self) -> Look:
        """How much of a body is looked into: no more than what it may have."""
        limit = self.inspect_limit
        return Look(min(limit, self.body_limit) if self.body_limit else limit)

    @property
    def backends(self) -> dict[str, None]:
        """All that it may lead to, each once."""
        named = (*self.split, *(name for rule in self.rules for name in rule.split), *self.tags.values())
        return dict.fromkeys(named)
