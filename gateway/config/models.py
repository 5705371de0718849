"""The configuration file as pydantic models: one class per mapping of the YAML, fields in the file's own words.

Frozen and validated; unknown keys are refused. Durations are float seconds once read. What concerns several sections at
once (unknown Backends, two Routes on one path) is in `checks`; what concerns one is a field validator here, placed on the
later field, so that it speaks up even when other fields are wrong too.
`target` holds that section, `scale` the scaling one, `retries` that of retries, `clients` those on clients, `units` and `addresses` the types of single values,
`load` makes a Config of a file.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, Strict, StringConstraints, ValidationInfo, field_validator

from gateway.config.addresses import ListenAddress, RouteHost, RoutePath
from gateway.config.clients import ForwardedConfig, LimitsConfig
from gateway.config.metrics import PrometheusConfig
from gateway.config.problems import KeyPath, fault, faults
from gateway.config.retries import Retries, RetryOverrides
from gateway.config.scale import COMMAND_MAX, ResolvedScale, ScaleConfig
from gateway.config.section import Section, shared
from gateway.config.target import Gateways, Target, Text
from gateway.config.tls import ListenerTls
from gateway.config.units import Count, Duration, PositiveDuration, Size, default
from gateway.routing import PathRule

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\z")]
"""It names log files and labels metrics, so it is kept to what both take."""
_Lax = Strict(strict=False)  # YAML's lists become tuples

UNLIMITED_START = 300.0
FIXED_START = 5.0
"""Seconds to wait for a pod of fixed URLs or of a Service to be there: nobody here can start it, it may only be restarting."""


class Timeouts(Section):
    """Seconds for each step of a request; 0s: no limit."""

    head: Duration = default("10s")
    """For the client to send a request's head."""
    connect: Duration = default("5s")
    """To connect to a pod."""
    response: Duration = default("300s")
    """From the request's last byte to the response's head."""
    idle: Duration = default("300s")
    """Between two pieces of a response's body."""
    request: Duration = default("0s")
    """For a request as a whole."""


class TimeoutOverrides(Section):
    """Timeouts of one Backend or Route; what is left out comes from the Backend, then from `defaults`."""

    connect: Duration | None = None
    response: Duration | None = None
    idle: Duration | None = None
    request: Duration | None = None


class Defaults(Section):
    """What holds wherever nothing else is said."""

    timeouts: Timeouts = shared(Timeouts())
    body_limit: Size = 0
    """Bytes that a request's body may have; 0: no limit."""
    retries: Retries = shared(Retries())


class Drain(Section):
    """What happens on SIGTERM."""

    delay: Duration = default("0s")
    """How long connections are still accepted, so that whoever sends them can notice."""
    timeout: Duration = default("30s")
    """How long requests may then take to finish."""


class AutoscalerConfig(Section):
    """The autoscaler beside the gateway."""

    admin: ListenAddress = default("127.0.0.1:8082")
    """Where its own admin interface listens."""
    gateways: Gateways = ()
    """The gateways that it listens to: their admin URLs, or the headless Service that they stand behind. When left out: this file's `admin`."""
    prometheus: PrometheusConfig | None = None
    """Where metrics of type prometheus are asked for, unless they say it themselves."""


class Queue(Section):
    """Requests that wait for a slot."""

    depth: Count = 100
    """How many may wait at once; one more is answered 503."""
    timeout: PositiveDuration = default("60s")
    """How long one may wait while a pod is ready."""


class Activation(Section):
    """Waking from zero."""

    timeout: PositiveDuration | None = None
    """How long a request waits for the first pod. When left out: 300s; 5s for fixed URLs and Services, whose pods nobody here starts."""


class BackendConfig(Section):
    """One scalable set of equal pods: a model version."""

    target: Target
    concurrency: Count = 0
    """Requests open to a pod at once; 0: no limit."""
    queue: Queue = shared(Queue())
    activation: Activation = shared(Activation())
    cancel: Literal["abort", "hold"] = "abort"
    """When a client leaves: abort frees the slot at once, hold keeps it until the pod has answered."""
    timeouts: TimeoutOverrides = shared(TimeoutOverrides())
    retries: RetryOverrides = shared(RetryOverrides())
    scale: ScaleConfig = shared(ScaleConfig())

    @field_validator("scale")
    @classmethod
    def _scale_fits(cls, scale: ScaleConfig, info: ValidationInfo) -> ScaleConfig:
        found: list[tuple[KeyPath, str]] = []
        limit, target = info.data.get("concurrency", 0), info.data.get("target")
        for i, metric in enumerate(scale.all_metrics):
            if metric.type == "concurrency" and limit and metric.target is not None and metric.target > limit:
                path: KeyPath = ("target",) if scale.metrics is None else ("metrics", i, "target")
                text = f"must not be above the backend's concurrency, {limit}, got {metric.target:g}"
                found.append((path, text))
        least = max(scale.min, scale.initial_scale, scale.activation_scale or 0)
        if target is not None and target.command is not None and scale.max is None and least > COMMAND_MAX:
            text = f"a target that runs a command has at most {COMMAND_MAX} pods unless `max` is given, and {least} are asked for"
            found.append(((), text))
        if found:
            raise faults(found)
        return scale

    @property
    def activation_timeout(self) -> float:
        if self.activation.timeout is not None:
            return self.activation.timeout
        return UNLIMITED_START if self.target.startable else FIXED_START

    @property
    def latencies(self) -> frozenset[str]:
        """What it scales on that only the gateway's histograms tell."""
        kinds = (metric.type for metric in self.scale.all_metrics)
        return frozenset(kind for kind in kinds if kind in {"queue_wait", "response_time"})

    def resolved_scale(self, *, runs_command: bool) -> ResolvedScale:
        """`runs_command`: the pods are processes of this machine, not of a cluster."""
        return self.scale.resolve(self.concurrency, runs_command=runs_command)


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


class Document(Section):
    """A whole configuration file."""

    listen: ListenAddress = default("0.0.0.0:8080")
    """Where the gateway takes requests."""
    tls: ListenerTls | None = None
    """Speak TLS to clients. When left out: plain HTTP."""
    admin: ListenAddress = default("127.0.0.1:8081")
    """Where health, metrics and state are served."""
    autoscaler: AutoscalerConfig = shared(AutoscalerConfig())
    defaults: Defaults = shared(Defaults())
    limits: LimitsConfig = shared(LimitsConfig())
    forwarded: ForwardedConfig = shared(ForwardedConfig())
    drain: Drain = shared(Drain())
    log_dir: Text = ".tidegate/logs"
    """Where local pods write their output, a file each. A relative path starts from this file's folder."""
    backends: dict[Name, BackendConfig] = Field(json_schema_extra={"minProperties": 1})
    routes: Annotated[tuple[RouteConfig, ...], _Lax] = Field(json_schema_extra={"minItems": 1})

    @field_validator("backends", "routes", mode="before")
    @classmethod
    def _not_empty(cls, value: object) -> object:
        # Saved while Tidegate runs, it would remove all that serves: a slip, not a wish.
        if value in ({}, []):
            raise fault("must not be empty: there would be nothing left to serve")
        return value

    def files(self) -> Iterator[tuple[KeyPath, str]]:
        """The keys that name files which TLS needs, and what they name."""
        if self.tls is not None:
            yield ("tls", "cert"), self.tls.cert
            yield ("tls", "key"), self.tls.key
        for name, backend in self.backends.items():
            tls = backend.target.tls
            if tls is not None and tls.ca is not None:
                yield ("backends", name, "target", "tls", "ca"), tls.ca
