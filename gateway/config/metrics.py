"""The `metrics` of a `scale` section: what a Backend scales on, one model per kind.

Each is resolved to a ResolvedMetric, which says what is aimed at per pod and, for what gateways cannot tell, where it is fetched.
Neighbours: `scale` holds them; the autoscaler makes its MetricSpecs of the records, and fetches by their sources.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, StringConstraints, ValidationInfo, WithJsonSchema, field_validator

from gateway.config.problems import fault, show
from gateway.config.quotas import Cores, MemorySize, Quota
from gateway.config.section import Section
from gateway.config.tls import FileName
from gateway.config.units import Interval, PositiveDuration, Share, default

LEAST_TARGET = 0.01
MOST_TARGET = 1e12
DEFAULT_TOTAL = {"concurrency": 100.0, "rps": 200.0}
_LAST_PORT = 65535

CountedType = Literal["concurrency", "rps"]
MetricType = Literal[
    "concurrency", "rps", "queue_wait", "response_time", "pod", "prometheus", "cpu", "memory"
]


@dataclass(frozen=True, slots=True)
class PodSource:
    """A metric in Prometheus text that pods serve."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    """Those that a series must have to count."""
    rate: bool
    """It is a counter: what it grows by per second counts."""
    aggregation: Literal["sum", "average", "max"]
    """Over pods. A sum and an average both become the sum over all ready pods; an average makes up for those that did not answer."""
    path: str
    port: int | None
    """None: the one that requests go to."""


@dataclass(frozen=True, slots=True)
class PrometheusSource:
    """A query of one value."""

    query: str
    url: str | None
    """Where Prometheus is; None: where the configuration's `autoscaler.prometheus` says."""


@dataclass(frozen=True, slots=True)
class ResolvedMetric:
    """A metric with nothing left open."""

    name: str
    """One of a kind in its Backend: `concurrency`, `queue_wait_p95`, `pod vllm:num_requests_waiting`."""
    type: MetricType
    total: float
    """The value that one pod can carry at most."""
    target: float
    """The value per pod that is aimed at: requests, requests/s, seconds, cores, bytes, shares, or as fetched."""
    relative: bool = False
    """A level, which more pods lower, rather than an amount that is shared among them."""
    percentile: float = 0.0
    interval: float = 0.0
    """Seconds between two samples; 0 for what gateways tell."""
    share: bool = False
    """Of cpu and memory: in shares of what the pod asked for."""
    source: PodSource | PrometheusSource | None = None
    """None: gateways tell it; of cpu and memory: whoever runs the pods knows."""


class CountedMetric(Section):
    """What Knative scales on: requests open at once, or begun per second."""

    type: CountedType
    target: Annotated[float, Field(ge=LEAST_TARGET, le=MOST_TARGET)] | None = None
    """What one pod can carry at most. When left out: the backend's `concurrency`, else 100; for rps 200."""
    utilization: Share | None = None
    """How much of `target` is aimed at. When left out: that of `scale`."""

    def resolve(self, concurrency: int, utilization: float) -> ResolvedMetric:
        """Target = max(0.01, total * utilization), as Knative's ResolveMetricTarget; `concurrency` is the limit, 0 is none."""
        limit = float(concurrency) if self.type == "concurrency" else 0.0
        total = self.target or limit or DEFAULT_TOTAL[self.type]
        target = max(LEAST_TARGET, total * (self.utilization or utilization))
        return ResolvedMetric(self.type, self.type, total, target)


class LatencyMetric(Section):
    """How long most requests wait in the queue, or take from their head to the last byte of the answer."""

    type: Literal["queue_wait", "response_time"]
    percentile: Annotated[float, Field(ge=1, lt=100)] = 95.0
    """Of the requests so many percent shall be faster."""
    target: PositiveDuration

    def resolve(self) -> ResolvedMetric:
        name = f"{self.type}_p{self.percentile:g}"
        return ResolvedMetric(
            name, self.type, self.target, self.target, relative=True, percentile=self.percentile
        )


class PodMetric(Section):
    """What the pods themselves say, in Prometheus text."""

    type: Literal["pod"]
    metric: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*\z")]
    """Its name on the page."""
    target: Annotated[float, Field(gt=0)]
    """Per pod."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Those that a series must have to count."""
    rate: bool = False
    """It is a counter: what it grows by per second counts."""
    aggregation: Literal["sum", "average", "max"] = "average"
    """Over pods. `max` is a level: the count goes up until the busiest pod is at the target."""
    path: Annotated[str, StringConstraints(pattern=r"^/[!-~]*\z")] = "/metrics"
    port: Annotated[int, Field(ge=1, le=_LAST_PORT)] | None = None
    """When left out: the one that requests go to."""
    interval: Interval = default("5s")
    """How often it is fetched."""

    def resolve(self) -> ResolvedMetric:
        labels = tuple(sorted(self.labels.items()))
        source = PodSource(self.metric, labels, self.rate, self.aggregation, self.path, self.port)
        return ResolvedMetric(
            f"pod {self.metric}",
            self.type,
            self.target,
            self.target,
            relative=self.aggregation == "max",
            interval=self.interval,
            source=source,
        )


def parse_prometheus_url(value: object) -> str:
    """`http://HOST[:PORT][/PREFIX]` or https."""
    if not isinstance(value, str):
        raise fault(f"must be a URL such as http://prometheus:9090, got {show(value)}")
    try:
        url = urlsplit(value)
        usable = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    except ValueError as error:
        raise fault(f"{show(value)} is not a URL: {str(error).lower()}") from error
    if not usable or not value.isascii() or not value.isprintable() or " " in value:
        raise fault(f"{show(value)} is not a URL of the form http://HOST:PORT")
    if "@" in url.netloc:
        raise fault("a URL may not hold a user or a password here")
    if "?" in value or "#" in value:
        raise fault(f"{show(value)} must be without `?` and `#`: `/api/v1/query` is added to it")
    if url.path.rstrip("/").endswith("/api/v1/query"):
        raise fault(f"{show(value)} must be without `/api/v1/query`, which is added to it")
    return value.rstrip("/")


PrometheusUrl = Annotated[
    str,
    PlainValidator(parse_prometheus_url),
    WithJsonSchema(
        {"type": "string", "pattern": "^https?://[^?#]+$", "examples": ["http://prometheus:9090"]}
    ),
]


class PrometheusConfig(Section):
    """The Prometheus server that metrics are asked of. Files are read for each query, so that what is renewed is used at once."""

    url: PrometheusUrl
    """What stands before `/api/v1/query`."""
    token_file: FileName | None = None
    """The file of a bearer token. A relative path starts from this file's folder."""
    user: Annotated[str, StringConstraints(pattern=r"^[ -9;-~]+\z")] | None = None
    """The user whose password is in `password_file`."""
    password_file: FileName | None = None
    """The file of the user's password. A relative path starts from this file's folder."""
    ca: FileName | None = None
    """The certificates to trust, in PEM form. A relative path starts from this file's folder. When left out: the system's."""

    @field_validator("user")
    @classmethod
    def _one_way_in(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("token_file") is not None:
            raise fault("cannot stand beside `token_file`")
        return value

    @field_validator("password_file")
    @classmethod
    def _of_a_user(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("user", "") is None:
            raise fault("belongs to a `user`")
        return value

    @field_validator("ca")
    @classmethod
    def _of_https(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("url", "https:").startswith("http:"):
            raise fault("belongs to an https `url`")
        return value

    @property
    def secret_file(self) -> str | None:
        """Of the password, or of the token."""
        return self.password_file if self.user is not None else self.token_file


class PrometheusMetric(Section):
    """What a query of a Prometheus server gives: one value, for all pods together."""

    type: Literal["prometheus"]
    name: Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]{0,61}[!-~])?\z")] | None = None
    """What to call it. Needed when there are several."""
    query: Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*\z")]
    target: Annotated[float, Field(gt=0)]
    """Per pod."""
    url: PrometheusUrl | None = None
    """When left out: `autoscaler.prometheus.url`."""
    interval: Interval = default("15s")
    """How often it is asked."""

    def resolve(self) -> ResolvedMetric:
        name = "prometheus" if self.name is None else f"prometheus {self.name}"
        source = PrometheusSource(self.query, self.url)
        return ResolvedMetric(
            name, self.type, self.target, self.target, interval=self.interval, source=source
        )


class CpuMetric(Section):
    """Processor time that the pods use."""

    type: Literal["cpu"]
    target: Cores
    """Per pod: percent of what it requests (of a local process: of one core), or cores: `500m`, `1.5`."""
    interval: Interval = default("15s")
    """How often it is looked at."""

    def resolve(self) -> ResolvedMetric:
        return _resource("cpu", self.target, self.interval)


class MemoryMetric(Section):
    """Memory that the pods use."""

    type: Literal["memory"]
    target: MemorySize
    """Per pod: a size, or percent of what it requests (of a local process: of the machine's)."""
    interval: Interval = default("15s")
    """How often it is looked at."""

    def resolve(self) -> ResolvedMetric:
        return _resource("memory", self.target, self.interval)


def _resource(kind: Literal["cpu", "memory"], target: Quota, interval: float) -> ResolvedMetric:
    return ResolvedMetric(kind, kind, target.value, target.value, interval=interval, share=target.share)


Metric = Annotated[
    CountedMetric | LatencyMetric | PodMetric | PrometheusMetric | CpuMetric | MemoryMetric,
    Field(discriminator="type"),
]


def resolve(metric: Any, concurrency: int, utilization: float) -> ResolvedMetric:  # noqa: ANN401 - a Metric, which is no type
    """Fill in what depends on the Backend: its concurrency limit, and the utilization of its `scale`."""
    if isinstance(metric, CountedMetric):
        return metric.resolve(concurrency, utilization)
    resolved: ResolvedMetric = metric.resolve()
    return resolved
