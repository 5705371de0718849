"""One entry of `routes`: what a request matches, and what then becomes of it.

RouteConfig holds the keys; those that make a section of their own have a module each. What concerns several Routes at once is in `checks`;
`table` makes a Route of each.
"""

from typing import Annotated

from pydantic import AfterValidator, Field, Strict, ValidationInfo, field_validator, model_validator

from gateway.conditions import Look
from gateway.config.addresses import RouteHost, RoutePath
from gateway.config.answers import FallbackConfig, PlaceholderConfig, RedirectConfig, RespondConfig
from gateway.config.matching import Matching, ModelName, TokenName
from gateway.config.mirror import MirrorConfig
from gateway.config.problems import fault, faults
from gateway.config.queues import Priority, PriorityConfig, TenantConfig
from gateway.config.retries import RetryOverrides
from gateway.config.rewriting import RequestHeaders, ResponseHeaders, RewriteConfig
from gateway.config.section import shared
from gateway.config.sticky import StickyConfig
from gateway.config.timeouts import TimeoutOverrides
from gateway.config.units import Count, InspectSize, Name, Size, default
from gateway.routing import PathRule

_Lax = Strict(strict=False)  # YAML's lists become tuples
_ACTIONS = ("split", "redirect", "respond")
_FOR_PODS = frozenset(
    (
        "rules", "tags", "sticky", "aliases", "mirror", "fallback", "placeholder", "rewrite", "request_headers", "response_headers", "priority", "tenant",
        "timeouts", "body_limit", "retries", "expose_backend", "half_close",
    )
)  # fmt: skip
"""Keys that mean nothing where no pod is asked."""


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
    split: Weights = Field(default_factory=dict)
    """Weights of Backends; 0: deployed but dark. A route has this, or `redirect`, or `respond`."""
    redirect: RedirectConfig | None = None
    """Tell clients to ask elsewhere."""
    respond: RespondConfig | None = None
    """Give everyone the same answer."""
    rules: Annotated[tuple[RuleConfig, ...], _Lax] = ()
    """Splits that go before `split` and `tags`, the first whose conditions hold."""
    tags: dict[TokenName, str] = Field(default_factory=dict)
    """What clients may write into `x-tidegate-tag`, and the Backend of `split` that it leads to. When left out: nothing."""
    sticky: StickyConfig | None = None
    """Who comes again stays with one Backend. When left out: requests take turns."""
    mirror: MirrorConfig | None = None
    """Where a share of the requests goes as well, for nobody to wait for."""
    rewrite: RewriteConfig | None = None
    """What pods are asked for instead of what the client asked for."""
    request_headers: RequestHeaders = shared(RequestHeaders())
    """Fields that pods are told, or not told."""
    response_headers: ResponseHeaders = shared(ResponseHeaders())
    """The same of pods' answers; Tidegate's own are left as they are."""
    fallback: FallbackConfig | None = None
    """Where requests go that their backend cannot serve. When left out: they wait, or fail."""
    placeholder: PlaceholderConfig | None = None
    """What browsers are shown instead of waiting for a start. When left out: they wait as others do."""
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

    @field_validator("rewrite", "redirect")
    @classmethod
    def _something_to_replace(
        cls, value: RewriteConfig | RedirectConfig | None, info: ValidationInfo
    ) -> RewriteConfig | RedirectConfig | None:
        if value is not None and value.prefix is not None:
            patterns = [rule for rule in info.data.get("paths", ()) if rule.kind == "regex"]
            if patterns:
                raise fault(
                    f"cannot replace what matches {patterns[0]}: give prefixes or exact paths for it",
                    "prefix",
                )
        return value

    @model_validator(mode="after")
    def _one_action(self) -> "RouteConfig":
        given = [key for key in _ACTIONS if getattr(self, key)]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise fault(f"must have one of {', '.join(_ACTIONS[:-1])} or {_ACTIONS[-1]}, got {found}")
        idle = sorted(_FOR_PODS & self.model_fields_set)
        if idle and not self.split:
            raise faults(
                [
                    ((key,), f"is about requests that go to pods, and `{given[0]}` sends none there")
                    for key in idle
                ]
            )
        return self

    @property
    def look(self) -> Look:
        """How much of a body is looked into: no more than what it may have."""
        limit = self.inspect_limit
        return Look(min(limit, self.body_limit) if self.body_limit else limit)

    @property
    def backends(self) -> dict[str, None]:
        """All that it may lead to, each once."""
        others = (section.backend for section in (self.fallback, self.mirror) if section is not None)
        named = (
            *self.split,
            *(name for rule in self.rules for name in rule.split),
            *self.tags.values(),
            *others,
        )
        return dict.fromkeys(named)
