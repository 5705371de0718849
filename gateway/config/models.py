"""The configuration file as pydantic models: one class per mapping of the YAML, fields in the file's own words.

Frozen and validated; unknown keys are refused. Durations are float seconds once read. What concerns several sections at
once (unknown Backends, two Routes on one path) is in `checks`; what concerns one is a field validator here, placed on the
later field, so that it speaks up even when other fields are wrong too.
`target` holds that section, `routes` a Route, `scale` the scaling one, `picking` and `ejection` what concerns single pods, `timeouts` and `retries` those, `clients` those on clients, `units` and `addresses` the types of single values,
`load` makes a Config of a file.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Strict, ValidationInfo, field_validator

from gateway.config.addresses import ListenAddress
from gateway.config.clients import ForwardedConfig, LimitsConfig
from gateway.config.ejection import EjectionConfig, HealthConfig
from gateway.config.inference import InferenceServicesConfig
from gateway.config.metrics import PrometheusConfig
from gateway.config.picking import PickConfig
from gateway.config.problems import KeyPath, fault, faults
from gateway.config.queues import Queue
from gateway.config.retries import Retries, RetryOverrides
from gateway.config.routes import RouteConfig
from gateway.config.scale import COMMAND_MAX, ResolvedScale, ScaleConfig
from gateway.config.section import Section, shared
from gateway.config.target import Gateways, Target, Text
from gateway.config.timeouts import TimeoutOverrides, Timeouts
from gateway.config.tls import ListenerTls
from gateway.config.units import Count, Duration, Name, PositiveDuration, Size, default
from gateway.queues import Discipline

_Lax = Strict(strict=False)  # YAML's lists become tuples

UNLIMITED_START = 300.0
FIXED_START = 5.0
"""Seconds to wait for a pod of fixed URLs or of a Service to be there: nobody here can start it, it may only be restarting."""


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


class ErrorsConfig(Section):
    """Answers of Tidegate's own."""

    details: Literal["full", "short"] = "full"
    """full: with what went wrong, which may name pods and objects of a cluster; short: that stands in the log alone, for statuses from 500 on."""


class AutoscalerConfig(Section):
    """The autoscaler beside the gateway."""

    admin: ListenAddress = default("127.0.0.1:8082")
    """Where its own admin interface listens."""
    gateways: Gateways = ()
    """The gateways that it listens to: their admin URLs, or the headless Service that they stand behind. When left out: this file's `admin`."""
    state: Text = ".tidegate/autoscaler-state.json"
    """Where an autoscaler on its own keeps what it knows, to go on from after a restart. A relative path starts from this file's folder."""
    prometheus: PrometheusConfig | None = None
    """Where metrics of type prometheus are asked for, unless they say it themselves."""


class Activation(Section):
    """Waking from zero."""

    timeout: PositiveDuration | None = None
    """How long a request waits for the first pod. When left out: 300s; 5s for fixed URLs and Services, whose pods nobody here starts."""


class BackendConfig(Section):
    """One scalable set of equal pods: a model version."""

    target: Target
    concurrency: Count = 0
    """Requests open to a pod at once; 0: no limit."""
    pick: PickConfig = shared(PickConfig.model_construct())
    """Which pod takes the next request: least_requests, round_robin, first_available, or `{consistent_hash: {…}}`."""
    slow_start: Duration = 0.0
    """How long a new pod's share rises from a tenth to a whole one; 0s: it gets a whole one at once."""
    ejection: EjectionConfig | None = None
    health: HealthConfig | None = None
    queue: Queue = shared(Queue())
    activation: Activation = shared(Activation())
    cancel: Literal["abort", "hold"] = "abort"
    """When a client leaves: abort frees the slot at once, hold keeps it until the pod has answered."""
    timeouts: TimeoutOverrides = shared(TimeoutOverrides())
    retries: RetryOverrides = shared(RetryOverrides())
    scale: ScaleConfig = shared(ScaleConfig())

    @field_validator("pick")
    @classmethod
    def _pick_fits(cls, pick: PickConfig, info: ValidationInfo) -> PickConfig:
        if pick.policy == "first_available" and info.data.get("concurrency") == 0:
            raise fault(
                "first_available needs `concurrency`: without a limit the first pod would get everything"
            )
        return pick

    @field_validator("slow_start")
    @classmethod
    def _slow_start_fits(cls, seconds: float, info: ValidationInfo) -> float:
        policy = info.data["pick"].policy if "pick" in info.data else "round_robin"
        if seconds and policy not in {"least_requests", "round_robin"}:
            raise fault(f"is for `pick: least_requests` and `round_robin`; {policy} does not go by shares")
        return seconds

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
    errors: ErrorsConfig = shared(ErrorsConfig())
    drain: Drain = shared(Drain())
    inference_services: InferenceServicesConfig | None = None
    """Run KServe's InferenceServices. When left out: nobody looks for any."""
    log_dir: Text = ".tidegate/logs"
    """Where local pods write their output, a file each. A relative path starts from this file's folder."""
    backends: dict[Name, BackendConfig]
    """At least one. With `inference_services` it may be left out."""
    routes: Annotated[tuple[RouteConfig, ...], _Lax]
    """At least one. With `inference_services` it may be left out."""

    @field_validator("backends", "routes", mode="before")
    @classmethod
    def _not_empty(cls, value: object, info: ValidationInfo) -> object:
        # Saved while Tidegate runs, it would remove all that serves: a slip, not a wish. InferenceServices may be all there is.
        if value in ({}, []) and info.data.get("inference_services", ...) is None:
            raise fault("must not be empty: there would be nothing left to serve")
        return value

    def disciplines(self) -> dict[str, Discipline]:
        """How each Backend's queue is ordered: a plain line, unless some Route to it gives priorities or tells tenants."""
        ordered = {
            name
            for route in self.routes
            if route.priority.matters or route.tenant is not None
            for name in route.backends
        }
        return {
            name: backend.queue.fairness or ("round_robin" if name in ordered else "fifo")
            for name, backend in self.backends.items()
        }

    def secret_files(self) -> Iterator[tuple[KeyPath, str]]:
        """The keys that name files with secrets, and what they name."""
        for i, route in enumerate(self.routes):
            cookie = route.sticky.cookie if route.sticky is not None else None
            if cookie is not None and cookie.secret_file is not None:
                yield ("routes", i, "sticky", "cookie", "secret_file"), cookie.secret_file

    def files(self) -> Iterator[tuple[KeyPath, str]]:
        """The keys that name files which TLS needs, and what they name."""
        if self.tls is not None:
            yield ("tls", "cert"), self.tls.cert
            yield ("tls", "key"), self.tls.key
        for name, backend in self.backends.items():
            tls = backend.target.tls
            if tls is not None and tls.ca is not None:
                yield ("backends", name, "target", "tls", "ca"), tls.ca
