"""The configuration file as pydantic models: one class per mapping of the YAML, fields in the file's own words.

Frozen and validated; unknown keys are refused. Durations are float seconds once read. What concerns several sections at
once (unknown Backends, two Routes on one path) is in `checks`; what concerns one is a field validator here, placed on the
later field, so that it speaks up even when other fields are wrong too.
`scale` holds the scaling section, `retries` that of retries, `clients` those on clients, `units` and `addresses` the types of single values,
`load` makes a Config of a file.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, Strict, StringConstraints, ValidationInfo, field_validator

from gateway.config.addresses import Address, HttpUrl, ListenAddress, PodUrl, RouteHost, RoutePath
from gateway.config.clients import ForwardedConfig, LimitsConfig
from gateway.config.problems import UP, KeyPath, fault, faults
from gateway.config.retries import Retries, RetryOverrides
from gateway.config.scale import COMMAND_MAX, ResolvedScale, ScaleConfig, Section, shared
from gateway.config.tls import ListenerTls, PodTls
from gateway.config.units import Count, Duration, PositiveDuration, Size, default
from gateway.routing import PathRule

T = TypeVar("T")

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\z")]
"""It names log files and labels metrics, so it is kept to what both take."""
Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*\z")]
Variable = Annotated[str, StringConstraints(pattern=r"^[^\x00]*\z")]
_Lax = Strict(strict=False)  # YAML's lists become tuples

UNLIMITED_START = 300.0
FIXED_START = 5.0
"""Seconds to wait for a pod of fixed URLs to be there: nobody can start it, it may only be restarting."""


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
    gateways: Annotated[tuple[HttpUrl, ...], _Lax] = ()
    """The admin URLs of the gateways that it listens to. When left out: this file's `admin`."""


class Target(Section):
    """Where a Backend's pods come from: a Deployment, a command, both (`tidegate up` runs the command), or fixed URLs."""

    deployment: Name | None = None
    """The Deployment whose replicas are the pods."""
    namespace: Name | None = None
    """The Deployment's namespace."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """The port that the Deployment's pods listen on."""
    command: Annotated[tuple[Text, ...], _Lax] | None = None
    """The program to run for each pod, and its arguments; `{port}` is replaced by the port to listen on."""
    env: dict[Text, Variable] = Field(default_factory=dict)
    """Variables to add to the command's environment; `{port}` is replaced here too."""
    ready: Annotated[str, StringConstraints(pattern=r"^/[!-~]*\z")] | None = None
    """The path that answers 2xx once a pod is ready. When left out: a pod is ready when it accepts connections."""
    urls: Annotated[tuple[PodUrl, ...], _Lax] | None = Field(default=None, validate_default=True)
    """The pods themselves, when something else runs them."""
    tls: PodTls | None = None
    """How pods behind https URLs are verified. When left out: against the system's CAs, by the URL's host."""

    @field_validator("namespace")
    @classmethod
    def _namespace_of_deployment(cls, value: str | None, info: ValidationInfo) -> str | None:
        return _belongs(value, "deployment", info.data)

    @field_validator("port")
    @classmethod
    def _port_of_deployment(cls, value: int | None, info: ValidationInfo) -> int | None:
        return _belongs(value, "deployment", info.data)

    @field_validator("env")
    @classmethod
    def _env_of_command(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        wrong: list[KeyPath] = [(key,) for key in value if "=" in key]
        if wrong:
            raise faults([(path, "a variable's name may not hold `=`") for path in wrong])
        return _belongs(value, "command", info.data)

    @field_validator("ready")
    @classmethod
    def _ready_of_command(cls, value: str | None, info: ValidationInfo) -> str | None:
        return _belongs(value, "command", info.data)

    @field_validator("urls")
    @classmethod
    def _one_kind(cls, value: tuple[Address, ...] | None, info: ValidationInfo) -> tuple[Address, ...] | None:
        found = list(_target_faults(value, info.data))
        if found:
            raise faults(found)
        return value

    @field_validator("tls")
    @classmethod
    def _tls_of_https(cls, value: PodTls | None, info: ValidationInfo) -> PodTls | None:
        if value is not None and "urls" in info.data and not any(u.secure for u in info.data["urls"] or ()):
            raise fault("belongs to https URLs, and the target has none")
        return value

    @property
    def secure(self) -> bool:
        """Its pods are spoken to over TLS."""
        return self.urls is not None and self.urls[0].secure

    @property
    def kind(self) -> Literal["deployment", "command", "urls"]:
        """What it is outside of `tidegate up`, where a command goes before a Deployment."""
        if self.deployment is not None:
            return "deployment"
        return "command" if self.command is not None else "urls"


def _belongs(value: T, owner: str, data: Mapping[str, Any]) -> T:
    """Refuse a value beside which `owner` was not given; an owner that is missing from `data` was given, but wrong."""
    if value is not None and owner in data and data[owner] is None:
        raise fault(f"belongs to a {owner}, and the target has none")
    return value


def _target_faults(urls: tuple[Address, ...] | None, data: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    found: list[tuple[KeyPath, str]] = []
    deployment, command = data.get("deployment", ""), data.get("command", ())
    if deployment is None and command is None and urls is None:
        found.append(((UP,), "must have `deployment`, `command` or `urls`"))
    if deployment and data.get("port", 0) is None:
        found.append(((UP,), "required key 'port' is missing: the port that the Deployment's pods listen on"))
    if command is not None and "command" in data:
        if not command:
            found.append(((UP, "command"), "must name a program"))
        elif not any("{port}" in text for text in (*command, *data.get("env", {"": "{port}"}).values())):
            found.append(
                ((UP, "command"), "must hold `{port}` where the port to listen on goes, here or in `env`")
            )
    if urls is not None:
        if deployment or command:
            found.append(((), "cannot stand beside `deployment` or `command`"))
        if not urls:
            found.append(((), "must not be empty"))
        first = {url: i for i, url in reversed(list(enumerate(urls)))}
        found += [((i,), f"{url.url} is given twice") for i, url in enumerate(urls) if first[url] != i]
        mixed = (i for i, url in enumerate(urls) if url.secure != urls[0].secure)
        found += [((i,), "must have the scheme of the target's first URL") for i in mixed]
    return found


class Queue(Section):
    """Requests that wait for a slot."""

    depth: Count = 100
    """How many may wait at once; one more is answered 503."""
    timeout: PositiveDuration = default("60s")
    """How long one may wait while a pod is ready."""


class Activation(Section):
    """Waking from zero."""

    timeout: PositiveDuration | None = None
    """How long a request waits for the first pod. When left out: 300s; 5s for fixed URLs, which nobody can start."""


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
        if scale.metric == "concurrency" and limit and scale.target is not None and scale.target > limit:
            found.append(
                (("target",), f"must not be above the backend's concurrency, {limit}, got {scale.target:g}")
            )
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
        return FIXED_START if self.target.kind == "urls" else UNLIMITED_START

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
