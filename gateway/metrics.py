"""The Prometheus page: what the hot path counted in plain numbers, labelled and written only when somebody asks.

`GatewayCollector` is a prometheus_client collector for a registry of the gateway's own, in which others may register theirs. Its
families are lazy: `render` writes them a slice at a time and lets the loop run in between. A thousand busy Backends are 80,000
samples, for which prometheus_client's own writer would hold the loop for a second; written from rows they take a twentieth, and
no slice holds it for a millisecond. The page is always text format 0.0.4; OpenMetrics is not offered.
"""

import asyncio
import platform
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Metric,
    generate_latest,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from gateway.backend import Backend
from gateway.breaker import Endpoint
from gateway.mirrors import Mirrors, MirrorTraffic
from gateway.state import Reloads, TlsStatus
from gateway.stats import Histogram, Traffic

__all__ = ["CONTENT_TYPE_PLAIN_0_0_4", "Family", "GatewayCollector", "Sources", "render"]

SLICE = 250
"""Samples written between two turns of the loop at most: about 0.3 ms."""

Row = tuple[tuple[str, ...], float | Histogram]
"""Label values, and the number or the histogram."""


class Family(Metric):
    """A metric family whose rows are read as they are written, not before."""

    def __init__(
        self,
        name: str,
        documentation: str,
        kind: str,
        labels: tuple[str, ...],
        rows: Callable[[], Iterable[Row]],
    ) -> None:
        """`kind` is prometheus_client's: counter, gauge, histogram; a counter's name goes without its `_total`."""
        super().__init__(name, documentation, kind)
        self._labels = labels
        self._rows = rows
        self._sample = f"{name}_total" if kind == "counter" else name

    @property
    def samples(self) -> list[Sample]:
        """All at once, for readers other than `render`."""
        return [sample for labels, value in self._rows() for sample in self._samples(labels, value)]

    @samples.setter
    def samples(self, value: list[Sample]) -> None:
        """Metric's constructor sets an empty list."""

    def header(self) -> str:
        return f"# HELP {self._sample} {self.documentation}\n# TYPE {self._sample} {self.type}\n"

    def texts(self) -> Iterator[tuple[str, int]]:
        """Each row's lines, and how many samples they are."""
        for values, value in self._rows():
            labels = ",".join(f'{k}="{_escape(v)}"' for k, v in zip(self._labels, values, strict=True))
            if isinstance(value, Histogram):
                yield self._histogram_text(labels, value)
            else:
                yield f"{self._sample}{f'{{{labels}}}' if labels else ''} {value}\n", 1

    def _histogram_text(self, labels: str, histogram: Histogram) -> tuple[str, int]:
        start = f"{self.name}_bucket{{{labels}{',' if labels else ''}le="
        running = list(accumulate(histogram.counts))
        lines = [f'{start}"{le}"}} {n}\n' for le, n in zip(_bounds(histogram.bounds), running, strict=True)]
        braced = f"{{{labels}}}" if labels else ""
        lines.append(f"{self.name}_count{braced} {running[-1]}\n{self.name}_sum{braced} {histogram.sum}\n")
        return "".join(lines), len(running) + 2

    def _samples(self, values: tuple[str, ...], value: float | Histogram) -> Iterator[Sample]:
        labels = dict(zip(self._labels, values, strict=True))
        if not isinstance(value, Histogram):
            yield Sample(self._sample, labels, value)
            return
        running = list(accumulate(value.counts))
        for bound, count in zip(_bounds(value.bounds), running, strict=True):
            yield Sample(f"{self.name}_bucket", {**labels, "le": bound}, count)
        yield Sample(f"{self.name}_count", labels, running[-1])
        yield Sample(f"{self.name}_sum", labels, value.sum)


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


@lru_cache(maxsize=16)
def _bounds(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return (*map(str, bounds), "+Inf")


async def render(registry: CollectorRegistry) -> AsyncIterator[bytes]:
    """The page, in slices of up to SLICE samples; the loop takes a turn before each.

    Families that are not ours are written whole, by prometheus_client.
    """
    for metric in registry.collect():
        for text in _slices(metric):
            await asyncio.sleep(0)
            yield text.encode()
    # With 10,000 connections open, listing /proc/self/fd takes 10 ms; it gives way to other threads as it goes.
    yield await asyncio.to_thread(generate_latest, PROCESS_COLLECTOR)


def _slices(metric: Metric) -> Iterator[str]:
    if not isinstance(metric, Family):
        yield generate_latest(_One(metric)).decode()
        return
    gathered, size = [metric.header()], 0
    for text, samples in metric.texts():
        if size + samples > SLICE:
            yield "".join(gathered)
            gathered, size = [], 0
        gathered.append(text)
        size += samples
    yield "".join(gathered)


class _One(Collector):
    """A registry of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the gateway's numbers are. All are read on the event loop, at each scrape."""

    backends: Mapping[str, Backend]
    without: Mapping[str, Traffic]
    """Requests that met no Backend, by Route."""
    mirrors: Mirrors
    connections: Callable[[], int]
    """Client connections open."""
    refused: Mapping[str, int]
    """Client connections turned away, by the limit that they met."""
    buffered: Callable[[], int]
    """Bytes held of requests that wait."""
    reloads: Reloads
    """Of the configuration."""
    loop_lag: Histogram
    tls: TlsStatus
    version: str


def configuration(reloads: Reloads) -> Iterator[Family]:
    """What whoever takes over a configuration tells of it."""
    return _reloads("config", "the configuration", reloads)


def _reloads(name: str, what: str, reloads: Reloads) -> Iterator[Family]:
    def last() -> Iterator[Row]:
        if reloads.last is not None:
            yield (), int(reloads.last.ok)

    def counts() -> Iterator[Row]:
        return (((result,), count) for result, count in reloads.counts.items())

    text = f"Attempts to load {what}, the first included, by result."
    yield Family(f"tidegate_{name}_reloads", text, "counter", ("result",), counts)
    text = f"0 while an attempt to load {what} has failed and what was there before is in force."
    yield Family(f"tidegate_{name}_last_reload_successful", text, "gauge", (), last)


class GatewayCollector(Collector):
    """The gateway's families, as the contract names them."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        yield from self._requests()
        yield from self._mirrors()
        yield from self._backends()
        yield from self._gateway()

    def _requests(self) -> Iterator[Metric]:
        def by(name: str, text: str, label: str, read: Callable[[Traffic], Mapping[Any, int]]) -> Metric:
            return Family(name, text, "counter", ("route", "backend", label), lambda: self._by_traffic(read))

        def seconds(name: str, text: str, read: Callable[[Traffic], Histogram]) -> Metric:
            rows = lambda: (((item.route, item.backend), read(item)) for item in self._traffic())  # noqa: E731
            return Family(name, text, "histogram", ("route", "backend"), rows)

        text = "Requests answered, by status."
        yield by("tidegate_requests", text, "code", lambda item: item.codes)
        text = "Requests that ended without their pod's whole answer, by reason."
        yield by("tidegate_early_ends", text, "reason", lambda item: item.reasons)
        text = "From a request's head to the last byte of its answer."
        yield seconds("tidegate_request_duration_seconds", text, lambda item: item.duration)
        text = "From a request's head to the first byte of its answer."
        yield seconds("tidegate_response_start_seconds", text, lambda item: item.response_start)

    def _mirrors(self) -> Iterator[Metric]:
        mirrors = self._sources.mirrors

        def by(
            name: str, text: str, label: str, read: Callable[[MirrorTraffic], Mapping[str, int]]
        ) -> Metric:
            def rows() -> Iterator[Row]:
                for item in list(mirrors.traffic.values()):
                    for key, count in list(read(item).items()):
                        yield (item.route, item.backend, key), count

            return Family(name, text, "counter", ("route", "backend", label), rows)

        text = "Copies of requests, by how they ended or why they were not sent."
        yield by("tidegate_mirrored_requests", text, "outcome", lambda item: item.outcomes)
        text = "Answers to requests and to their copies, compared, by result."
        yield by("tidegate_mirror_comparisons", text, "result", lambda item: item.results)
        text = "How much later than the request's the answer to its copy began; below zero: sooner."
        rows = lambda: (((m.route, m.backend), m.difference) for m in list(mirrors.traffic.values()))  # noqa: E731
        yield Family(
            "tidegate_mirror_latency_difference_seconds", text, "histogram", ("route", "backend"), rows
        )
        text = "Bytes held of requests that are being copied."
        yield Family("tidegate_mirror_buffered_bytes", text, "gauge", (), lambda: [((), mirrors.held)])

    def _backends(self) -> Iterator[Metric]:
        def one(name: str, text: str, kind: str, read: Callable[[Backend], float | Histogram]) -> Metric:
            rows = lambda: (((b.name,), read(b)) for b in self._each_backend())  # noqa: E731
            return Family(name, text, kind, ("backend",), rows)

        def by(
            name: str, text: str, kind: str, label: str, read: Callable[[Backend], Mapping[str, int]]
        ) -> Metric:
            return Family(name, text, kind, ("backend", label), lambda: self._by_backend(read))

        yield one("tidegate_inflight_requests", "Requests open to pods.", "gauge", lambda b: b.in_flight)
        yield one("tidegate_queued_requests", "Requests that wait.", "gauge", lambda b: b.breaker.queued)
        text = "Requests that wait, by priority, of backends whose requests have some."
        yield by("tidegate_queued_by_priority", text, "gauge", "priority", _by_priority)
        text = "Bytes of heads and bodies of requests that wait."
        yield one("tidegate_queued_bytes", text, "gauge", lambda b: b.breaker.bytes)
        text = "Requests that were refused instead of waiting (on), by why."
        yield by("tidegate_sheds", text, "counter", "reason", lambda b: b.stats.sheds)
        text = "How long requests waited that did not get a slot at once."
        yield one("tidegate_queue_wait_seconds", text, "histogram", lambda b: b.stats.queue_wait)
        text = "From the first request that waits for a pod to a ready pod."
        yield one("tidegate_cold_start_seconds", text, "histogram", lambda b: b.stats.cold_start)
        text = "Starts that somebody waited for, by outcome."
        yield by("tidegate_cold_starts", text, "counter", "outcome", lambda b: b.stats.cold_starts)
        text = "Requests tried again, by reason."
        yield by("tidegate_retries", text, "counter", "reason", lambda b: b.stats.retries)
        text = "Retries that were not made because too many were under way."
        yield one("tidegate_retry_budget_exhausted", text, "counter", lambda b: b.stats.retries_denied)
        text = "Pods that were put out for a while, by reason."
        yield by("tidegate_ejections", text, "counter", "reason", lambda b: b.ejections.counts)
        text = "Requests that a backend could not serve and that went to another one, by why."
        yield Family("tidegate_fallbacks", text, "counter", ("backend", "route", "reason"), self._fallbacks)
        text = "1 while so many pods are out for their answers or health that all are used again."
        yield one("tidegate_panicking", text, "gauge", lambda b: int(b.ejections.panicking))
        text = "Pods, by state; each is in one."
        yield by("tidegate_endpoints", text, "gauge", "state", _endpoint_states)

    def _gateway(self) -> Iterator[Metric]:
        def family(name: str, text: str, kind: str, labels: tuple[str, ...], *rows: Row) -> Metric:
            return Family(name, text, kind, labels, lambda: rows)

        sources = self._sources
        yield from configuration(sources.reloads)
        yield family(
            "tidegate_connections", "Client connections open.", "gauge", (), ((), sources.connections())
        )
        text = "Client connections turned away, by the limit that they met."
        refusals = [((limit,), count) for limit, count in sources.refused.items()]
        yield family("tidegate_connections_refused", text, "counter", ("limit",), *refusals)
        text = "Bytes held of requests that cannot go on yet."
        yield family("tidegate_buffered_bytes", text, "gauge", (), ((), sources.buffered()))
        yield from _reloads("certificate", "the files that TLS needs", sources.tls.reloads)
        text = "When the certificate that clients are shown ends, in seconds since the epoch."
        ends = [((), ends) for ends in (sources.tls.not_after,) if ends is not None]
        yield family("tidegate_certificate_expiry_seconds", text, "gauge", (), *ends)
        text = "How late the event loop ran a timer."
        yield family("tidegate_loop_lag_seconds", text, "histogram", (), ((), sources.loop_lag))
        versions = (sources.version, platform.python_version())
        yield family("tidegate_build_info", "Always 1.", "gauge", ("version", "python"), (versions, 1))

    # Others run between two rows: what they may change while it is read is copied.

    def _each_backend(self) -> list[Backend]:
        return list(self._sources.backends.values())

    def _traffic(self) -> Iterator[Traffic]:
        yield from list(self._sources.without.values())
        for backend in self._each_backend():
            yield from list(backend.traffic.values())

    def _by_traffic(self, read: Callable[[Traffic], Mapping[Any, int]]) -> Iterator[Row]:
        for item in self._traffic():
            for key, count in list(read(item).items()):
                yield (item.route, item.backend, str(key)), count

    def _fallbacks(self) -> Iterator[Row]:
        for backend in self._each_backend():
            for (route, why), count in list(backend.stats.fallbacks.items()):
                yield (backend.name, route, why), count

    def _by_backend(self, read: Callable[[Backend], Mapping[str, int]]) -> Iterator[Row]:
        for backend in self._each_backend():
            for key, count in list(read(backend).items()):
                yield (backend.name, key), count

    def __repr__(self) -> str:
        return f"<GatewayCollector of {len(self._sources.backends)} backends>"


def _by_priority(backend: Backend) -> dict[str, int]:
    fair = backend.breaker.fair
    return {} if fair is None else {str(priority): queued for priority, (queued, _) in fair.levels().items()}


def _endpoint_states(backend: Backend) -> dict[str, int]:
    states = {"ready": 0, "draining": 0, "suspect": 0, "ejected": 0, "not_ready": 0}
    for endpoint in backend.endpoints.values():
        states[_endpoint_state(endpoint)] += 1
    return states


def _endpoint_state(endpoint: Endpoint) -> str:
    """What counts most: one that drains is on its way out, ready or not; a suspect one that is not ready is just that."""
    if endpoint.draining:
        return "draining"
    if not endpoint.ready:
        return "not_ready"
    if endpoint.suspect:
        return "suspect"
    return "ejected" if endpoint.barred else "ready"
