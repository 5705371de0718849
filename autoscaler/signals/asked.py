"""What is asked for, of which pods, and who is told: the words that all sources of samples share.

A core: frozen, compared to see what a reload changed. Neighbours: `signals` starts a source for each, `autoscaler.server` makes these
of the configuration.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from autoscaler.plan import Unknown
from gateway.tls import Trust

Aggregation = Literal["sum", "average", "max"]
Resource = Literal["cpu", "memory"]


LONGEST_WORDS = 200
"""Characters of what another program says that are told to people."""


class NoValueError(Exception):
    """A metric has no value just now; the text says why, for people."""


def words_of(error: Exception) -> str:
    """What went wrong on the way to an answer, for people."""
    if isinstance(error, OSError) and error.strerror:
        named = f" ({error.filename})" if error.filename else ""
        return error.strerror + named
    return str(error)[:LONGEST_WORDS] or type(error).__name__


class Sink(Protocol):
    """Who is told of each sample, and of each that could not be had; `now` is the time by the clock that the sources were given."""

    def sample(self, backend: str, metric: str, value: float, now: float) -> None: ...

    def failed(self, backend: str, metric: str, reason: str, now: float) -> None: ...

    def renew(self, backend: str, metric: str) -> None:
        """What was told of it so far was of something else."""


@dataclass(frozen=True, slots=True)
class PodAt:
    """A pod that requests go to: where it listens, and what its use of the machine is known by."""

    uid: str
    host: str
    port: int
    trust: Trust | None = None
    """It speaks TLS, and is held to this."""
    pid: int | None = None
    """Of a process of this machine."""
    namespace: str = ""
    """Of a cluster's pod; empty for others."""
    name: str = ""
    created: float = 0.0
    """Seconds since 1970."""
    requests: tuple[float | None, float | None] = (None, None)
    """The cores and bytes that all its containers together request; None where one requests nothing."""


Pods = Callable[[], Sequence[PodAt] | Unknown]
"""Asked in each round: the pods that count, or why they are not known."""


@dataclass(frozen=True, slots=True)
class PodMetric:
    """A metric on the pods' own pages. Of a counter (`rate`) it is the increase per second."""

    name: str
    """What the Sink knows it by."""
    metric: str
    """As the page names it."""
    labels: tuple[tuple[str, str], ...] = ()
    """Only series that have these count; a pod's value is their sum."""
    rate: bool = False
    aggregation: Aggregation = "average"
    path: str = "/metrics"
    port: int | None = None
    """None: the one that requests go to."""
    interval: float = 5.0


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server that answers instant queries."""

    url: str
    """With what stands before `/api/v1/query`."""
    user: str | None = None
    """With the password that is in `secret`; None: `secret`, if there is one, holds a bearer token."""
    secret: Path | None = None
    """A file that is read for every query, since what it holds is renewed at times."""
    ca: Path | None = None
    """The CAs that its certificate is verified by; None: the system's."""


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression whose value is one number."""

    name: str
    """What the Sink knows it by."""
    query: str
    server: Prometheus
    interval: float = 15.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the pods use of a resource, summed: cores or bytes, or shares of what each requests (of a core, of this machine's memory)."""

    name: str
    """What the Sink knows it by."""
    resource: Resource
    target: float
    """Per pod, in the same unit: what a pod that is not measured yet is taken to use at most."""
    share: bool = False
    interval: float = 15.0


Asked = PodMetric | Query | Usage
