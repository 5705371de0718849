"""The Prometheus page: right, readable by Prometheus, and written without holding the loop."""

import asyncio
import itertools

import pytest
from prometheus_client import CollectorRegistry, Counter, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.breaker import Waiter
from gateway.metrics import SLICE, GatewayCollector, Sources, render
from gateway.mirrors import Mirrors
from gateway.standing import Standing
from gateway.state import Reloads, TlsStatus
from gateway.stats import Histogram, Traffic

Labels = dict[str, str]


class World:
    """A gateway's numbers and the registry that shows them."""

    def __init__(self) -> None:
        self.backends: dict[str, Backend] = {}
        self.unrouted = Traffic("", "")
        self.mirrors = Mirrors()
        self.reloads = Reloads()
        self.reloads.took_over(1_700_000_000.0)
        self.lag = Histogram((0.001, 0.01))
        self.connections = 0
        self.tls = TlsStatus()
        self.refused = {"total": 0, "per_client": 2}
        self.buffered = 0
        self.registry = CollectorRegistry()
        sources = Sources(
            self.backends,
            {"": self.unrouted},
            self.mirrors,
            lambda: self.connections,
            self.refused,
            lambda: self.buffered,
            self.reloads,
            self.lag,
            self.tls,
            "1.2.3",
        )
        self.collector = GatewayCollector(sources)
        self.registry.register(self.collector)

    def backend(self, name: str = "iris-v1", pods: int = 0, concurrency: int = 0) -> Backend:
        made: Backend = Backend(name, Limits(concurrency), 0.0)
        infos = [EndpointInfo(f"{name}-{n}", "127.0.0.1", 9000 + n, ready=True) for n in range(pods)]
        made.update(Endpoints(tuple(infos)), 0.0)
        self.backends[name] = made
        return made

    async def page(self) -> str:
        return b"".join([chunk async for chunk in render(self.registry)]).decode()

    async def families(self) -> dict[str, Metric]:
        return {family.name: family for family in text_string_to_metric_families(await self.page())}

    async def value(self, sample: str, **labels: str) -> float | None:
        """One sample as Prometheus would read it."""
        for family in text_string_to_metric_families(await self.page()):
            for each in family.samples:
                if each.name == sample and each.labels == labels:
                    return each.value
        return None


async def test_requests_are_counted_by_route_backend_and_code() -> None:
    """Those that met no Route have neither name."""
    world = World()
    traffic = world.backend().traffic_of("iris")
    for status in (200, 200, 503):
        traffic.count(status)
    world.unrouted.count(404)
    name = "tidegate_requests_total"
    assert await world.value(name, route="iris", backend="iris-v1", code="200") == 2
    assert await world.value(name, route="iris", backend="iris-v1", code="503") == 1
    assert await world.value(name, route="", backend="", code="404") == 1


async def test_early_ends_are_counted_by_reason() -> None:
    """By the slug that the client's answer carries."""
    world = World()
    world.backend().traffic_of("iris").reasons["queue_full"] = 3
    labels = {"route": "iris", "backend": "iris-v1", "reason": "queue_full"}
    assert await world.value("tidegate_early_ends_total", **labels) == 3


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("tidegate_request_duration_seconds", "duration"),
        ("tidegate_response_start_seconds", "response_start"),
    ],
)
async def test_durations_are_cumulative_histograms(name: str, attribute: str) -> None:
    """Each bucket holds all that are below its bound; the last holds everything."""
    world = World()
    histogram = getattr(world.backend().traffic_of("iris"), attribute)
    for seconds in (0.002, 0.2, 400.0):
        histogram.observe(seconds)
    labels = {"route": "iris", "backend": "iris-v1"}
    assert await world.value(f"{name}_bucket", **labels, le="0.001") == 0
    assert await world.value(f"{name}_bucket", **labels, le="0.0025") == 1
    assert await world.value(f"{name}_bucket", **labels, le="0.2") == 2
    assert await world.value(f"{name}_bucket", **labels, le="300.0") == 2
    assert await world.value(f"{name}_bucket", **labels, le="+Inf") == 3
    assert await world.value(f"{name}_count", **labels) == 3
    assert await world.value(f"{name}_sum", **labels) == pytest.approx(400.202)


async def test_what_is_open_and_what_waits_is_shown_per_backend() -> None:
    """With how long the queue took those that left it."""
    world = World()
    backend = world.backend(pods=1, concurrency=1)
    endpoint = backend.enter(0.0)
    assert endpoint is not None
    for waiter in ("second", "third"):
        backend.wait(Waiter(waiter, 0.0), 0.0)
    backend.leave(endpoint, 2.0)
    assert await world.value("tidegate_inflight_requests", backend="iris-v1") == 1
    assert await world.value("tidegate_queued_requests", backend="iris-v1") == 1
    assert await world.value("tidegate_queue_wait_seconds_sum", backend="iris-v1") == 2.0
    assert await world.value("tidegate_queue_wait_seconds_bucket", backend="iris-v1", le="1.0") == 0
    assert await world.value("tidegate_queue_wait_seconds_bucket", backend="iris-v1", le="2.5") == 1


async def test_priorities_and_sheds_are_shown_of_backends_that_have_them() -> None:
    """A plain line has neither: its series would say nothing new."""
    world = World()
    backend = world.backend(pods=1, concurrency=1)
    backend.relimit(Limits(1, 1, discipline="round_robin"), 0.0)
    backend.enter(0.0)
    for priority in (-1, 5):
        backend.wait(Waiter("w", 0.0, standing=Standing(priority), size=100), 0.0)
    assert await world.value("tidegate_queued_by_priority", backend="iris-v1", priority="5") == 1
    assert await world.value("tidegate_queued_by_priority", backend="iris-v1", priority="-1") is None
    assert await world.value("tidegate_queued_bytes", backend="iris-v1") == 100
    assert await world.value("tidegate_sheds_total", backend="iris-v1", reason="pushed_out") == 1


async def test_a_cold_start_is_counted_and_timed() -> None:
    """By its outcome."""
    world = World()
    backend = world.backend()
    backend.wait(Waiter("first", 1.0), 1.0)
    backend.update(Endpoints((EndpointInfo("pod", "127.0.0.1", 9000, ready=True),)), 4.0)
    assert await world.value("tidegate_cold_starts_total", backend="iris-v1", outcome="ready") == 1
    assert await world.value("tidegate_cold_start_seconds_sum", backend="iris-v1") == 3.0


async def test_retries_are_counted_by_reason() -> None:
    """Per Backend; and those that the budget denied."""
    world = World()
    stats = world.backend().stats
    stats.retries["connect"] = 2
    stats.retries_denied = 3
    assert await world.value("tidegate_retries_total", backend="iris-v1", reason="connect") == 2
    assert await world.value("tidegate_retry_budget_exhausted_total", backend="iris-v1") == 3


async def test_each_endpoint_is_in_one_state() -> None:
    """Draining before all, then not ready, then suspect, then out for another cause; states that no pod is in are 0, not absent."""
    world = World()
    backend = world.backend()
    infos = [
        EndpointInfo("a", "h", 1, ready=True),
        EndpointInfo("b", "h", 2, ready=True),
        EndpointInfo("c", "h", 3, ready=True),
        EndpointInfo("d", "h", 4, ready=False, draining=True),
        EndpointInfo("e", "h", 5, ready=True, draining=True),
        EndpointInfo("f", "h", 6, ready=False),
        EndpointInfo("g", "h", 7, ready=True),
    ]
    backend.update(Endpoints(tuple(infos)), 0.0)
    for uid in ("c", "e", "f"):
        backend.suspect(backend.endpoints[uid], 0.0, suspect=True)
    backend.ejections.failed_checks(backend.endpoints["g"], "failed")
    states = {
        state: await world.value("tidegate_endpoints", backend="iris-v1", state=state) for state in _STATES
    }
    assert states == {"ready": 2, "draining": 2, "suspect": 1, "ejected": 1, "not_ready": 1}
    assert await world.value("tidegate_ejections_total", backend="iris-v1", reason="connect") == 3
    assert await world.value("tidegate_ejections_total", backend="iris-v1", reason="health") == 1


_STATES = ("ready", "draining", "suspect", "ejected", "not_ready")


async def test_the_gateway_tells_of_itself() -> None:
    """Reloads by result, connections, bytes held, the loop's lag, its version, and its process."""
    world = World()
    world.connections = 12
    world.lag.observe(0.005)
    assert await world.value("tidegate_config_reloads_total", result="ok") == 1
    assert await world.value("tidegate_config_reloads_total", result="failed") == 0
    assert await world.value("tidegate_connections") == 12
    assert await world.value("tidegate_connections_refused_total", limit="per_client") == 2
    world.buffered = 65536
    assert await world.value("tidegate_buffered_bytes") == 65536
    assert await world.value("tidegate_loop_lag_seconds_bucket", le="0.01") == 1
    families = await world.families()
    assert families["tidegate_build_info"].samples[0].labels["version"] == "1.2.3"
    assert families["process_open_fds"].samples[0].value > 0
    assert families["process_resident_memory_bytes"].samples[0].value > 0


async def test_the_page_has_the_families_of_the_contract() -> None:
    """Each with its type, and with a sentence of help, even when there is nothing to count yet."""
    families = {
        name: family for name, family in (await World().families()).items() if name.startswith("tidegate")
    }
    assert all(family.documentation for family in families.values())
    assert {name: family.type for name, family in families.items()} == {
        "tidegate_requests": "counter",
        "tidegate_early_ends": "counter",
        "tidegate_ejections": "counter",
        "tidegate_request_duration_seconds": "histogram",
        "tidegate_response_start_seconds": "histogram",
        "tidegate_inflight_requests": "gauge",
        "tidegate_queued_requests": "gauge",
        "tidegate_queued_by_priority": "gauge",
        "tidegate_queued_bytes": "gauge",
        "tidegate_sheds": "counter",
        "tidegate_queue_wait_seconds": "histogram",
        "tidegate_cold_start_seconds": "histogram",
        "tidegate_cold_starts": "counter",
        "tidegate_retries": "counter",
        "tidegate_fallbacks": "counter",
        "tidegate_panicking": "gauge",
        "tidegate_mirrored_requests": "counter",
        "tidegate_mirror_comparisons": "counter",
        "tidegate_mirror_latency_difference_seconds": "histogram",
        "tidegate_mirror_buffered_bytes": "gauge",
        "tidegate_retry_budget_exhausted": "counter",
        "tidegate_endpoints": "gauge",
        "tidegate_config_reloads": "counter",
        "tidegate_config_last_reload_successful": "gauge",
        "tidegate_certificate_reloads": "counter",
        "tidegate_certificate_last_reload_successful": "gauge",
        "tidegate_certificate_expiry_seconds": "gauge",
        "tidegate_connections": "gauge",
        "tidegate_connections_refused": "counter",
        "tidegate_buffered_bytes": "gauge",
        "tidegate_loop_lag_seconds": "histogram",
        "tidegate_build_info": "gauge",
    }


async def test_a_configuration_that_was_refused_is_seen_until_one_is_taken_over() -> None:
    """However long ago that was; before the first attempt there is nothing to tell."""
    world = World()
    values = [await world.value("tidegate_config_last_reload_successful")]
    world.reloads.refused(["no"], 1_700_000_001.0)
    values.append(await world.value("tidegate_config_last_reload_successful"))
    world.reloads.took_over(1_700_000_002.0)
    values.append(await world.value("tidegate_config_last_reload_successful"))
    assert values == [1, 0, 1]
    assert await world.value("tidegate_certificate_last_reload_successful") is None


async def test_the_end_of_the_certificate_is_there_to_alert_on() -> None:
    """As Prometheus's time() counts; without TLS there is nothing to tell."""
    world = World()
    assert await world.value("tidegate_certificate_expiry_seconds") is None
    world.tls.took_over(1_700_000_000.0, "tls.crt", 1_800_000_000.0)
    world.tls.refused(["no"], 1_700_000_001.0)
    assert await world.value("tidegate_certificate_expiry_seconds") == 1_800_000_000
    assert await world.value("tidegate_certificate_reloads_total", result="ok") == 1
    assert await world.value("tidegate_certificate_reloads_total", result="failed") == 1


async def test_quotes_newlines_and_backslashes_in_a_name_are_escaped() -> None:
    """A name that somebody chose badly breaks no page."""
    world, name = World(), 'a"b\nc\\d\\n é'
    world.backend(name).traffic_of(name).count(200)
    assert await world.value("tidegate_requests_total", route=name, backend=name, code="200") == 1


async def test_the_page_says_what_prometheus_client_would() -> None:
    """Our lines and its own writer's hold the same samples, in the same order."""
    world = World()
    for name, seconds in (("a", 0.001), ("b", 1e-7), ("c", 1e9)):
        traffic = world.backend(name, pods=2).traffic_of("r")
        traffic.count(200)
        traffic.duration.observe(seconds)
    theirs = generate_latest(world.registry).decode()
    ours = (await world.page()).partition("# HELP process")[0]
    assert [
        (family.name, family.type, family.documentation, family.samples)
        for family in text_string_to_metric_families(ours)
    ] == [
        (family.name, family.type, family.documentation, family.samples)
        for family in text_string_to_metric_families(theirs)
    ]


async def test_others_may_register_families_of_their_own() -> None:
    """Plain prometheus_client metrics stand beside ours."""
    world = World()
    Counter("tidegate_autoscaler_decisions", "Decisions.", registry=world.registry).inc(3)
    assert await world.value("tidegate_autoscaler_decisions_total") == 3


def busy_world(count: int) -> World:
    world = World()
    for n in range(count):
        traffic = world.backend(f"backend-{n}", pods=2).traffic_of(f"route-{n}")
        for status in (200, 499, 503):
            traffic.count(status)
        traffic.duration.observe(0.1)
        traffic.reasons["queue_full"] = 1
    return world


async def test_a_thousand_backends_are_written_in_small_slices() -> None:
    """No slice holds more samples than a fraction of a millisecond takes, and the loop turns before each."""
    world, turns, largest, slices = busy_world(1000), itertools.count(), 0, 0
    others_turn = next(turns)

    async def others() -> None:
        nonlocal others_turn
        while True:
            others_turn = next(turns)
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    seen = -1
    async for chunk in render(world.registry):
        assert others_turn > seen
        seen = others_turn
        slices += 1
        largest = max(largest, sum(not line.startswith(b"#") for line in chunk.splitlines()))
    task.cancel()
    assert largest <= SLICE
    assert slices >= 80_000 / SLICE


async def test_what_changes_while_a_page_is_written_breaks_nothing() -> None:
    """Backends, routes and codes come and go between two slices; each histogram is whole."""
    world = busy_world(60)
    text, n = b"", 0
    async for chunk in render(world.registry):
        text += chunk
        n += 1
        world.backend(f"late-{n}").traffic_of("r").count(200)
        world.backends.pop(f"backend-{n}", None)
        for backend in list(world.backends.values()):
            for traffic in list(backend.traffic.values()):
                traffic.count(600 + n)
                traffic.duration.observe(0.1)
    for family in text_string_to_metric_families(text.decode()):
        totals = {tuple(s.labels.values()): s.value for s in family.samples if s.name.endswith("_count")}
        for sample in family.samples:
            if sample.labels.get("le") == "+Inf":
                assert sample.value == totals[tuple(v for k, v in sample.labels.items() if k != "le")]


def test_the_collector_says_how_much_it_has() -> None:
    """In its repr."""
    assert repr(busy_world(3).collector) == "<GatewayCollector of 3 backends>"
