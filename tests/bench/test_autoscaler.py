"""What the autoscaler costs by the number of Backends: a tick, a second of beats, and what stays in memory for each.

`make bench` times it; the test suite runs it once, to see that it works.
"""

import gc
import tracemalloc
from collections.abc import Collection, Iterator
from typing import Any

import pytest

from autoscaler.collector import Collector
from autoscaler.controller import Controller
from autoscaler.plan import PodState, TargetState
from autoscaler.spec import MetricSpec, ScalingSpec
from gateway.stats import Beat, Stat

EPOCH = 1_700_000_000.0
CONCURRENCY = MetricSpec("concurrency", "concurrency", 1.0, 0.7)
SEVERAL = (
    CONCURRENCY,
    MetricSpec("rps", "rps", 200.0, 140.0),
    MetricSpec("queue_wait_p95", "queue_wait", 0.5, 0.5, relative=True, percentile=95),
    MetricSpec("cpu", "cpu", 0.7, 0.7, interval=15),
)
LOAD = 1.3
"""Requests in flight at each Backend: two pods' worth."""


class TwoPods:
    """A target that has what it needs."""

    def __init__(self, name: str) -> None:
        pods = (PodState(f"{name}-{letter}", ready=True, draining=False) for letter in "ab")
        self.there = TargetState(2, tuple(pods))

    def observe(self) -> TargetState:
        return self.there

    async def drain(self, uids: Collection[str]) -> None:
        """Nobody asks for it."""

    async def undrain(self, uids: Collection[str]) -> None:
        """Nobody asks for it."""

    async def scale(self, replicas: int, remove: Collection[str]) -> None:
        """Nobody asks for it."""


class Fleet:
    """Busy Backends, and the gateways that tell of them."""

    def __init__(
        self, backends: int, gateways: int, metrics: tuple[MetricSpec, ...] = (CONCURRENCY,)
    ) -> None:
        self.now = EPOCH
        self.controller = Controller(Collector(), lambda: self.now)
        self.names = [f"model-{number}" for number in range(backends)]
        self.gateways = gateways
        self.second = 0
        self.metrics = metrics

    def begin(self) -> None:
        spec = ScalingSpec(metrics=self.metrics, max_scale=2)
        for name in self.names:
            self.controller.put(name, spec, TwoPods(name))

    def beats(self) -> list[bytes]:
        """A second's, as they come over the network."""
        self.second += 1
        share = LOAD / self.gateways
        counts = {0: 20, 9: 4, 11: 2, 12: 1} if len(self.metrics) > 1 else {}
        return [
            Beat(
                f"gw-{number}",
                self.second,
                1.0,
                {
                    name: Stat(share, 0.0, 10, 10, 0, 0.0, 1, 0, {f"{name}-a": 1}, counts)
                    for name in self.names
                },
            ).encode()
            for number in range(self.gateways)
        ]

    def receive(self, beats: list[bytes]) -> None:
        self.now += 1
        for beat in beats:
            self.controller.receive(Beat.decode(beat))

    def live(self, seconds: int) -> None:
        for _ in range(seconds):
            self.receive(self.beats())
            for name in self.names if len(self.metrics) > 1 else ():
                self.controller.collector.sample(name, "cpu", 1.0, self.now)

    def tick(self) -> None:
        for target in self.controller.targets.values():
            target.decide()


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """A process that has started freezes what is there, and then collects rarely."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("metrics", [(CONCURRENCY,), SEVERAL], ids=["concurrency", "four_metrics"])
def test_a_tick_of_ten_thousand_backends(benchmark: Any, metrics: tuple[MetricSpec, ...]) -> None:
    """All busy, none in need of anything: 200 ms is the aim for one metric."""
    fleet = Fleet(10_000, 1, metrics)
    fleet.begin()
    fleet.live(3)
    gc.freeze()
    benchmark(fleet.tick)
    decision = fleet.controller.targets["model-7"].decision
    assert decision is not None
    assert (decision.desired, decision.wanted) == (2, 2)


def test_a_second_of_a_thousand_backends_from_four_gateways(benchmark: Any) -> None:
    """From lines of JSON to buckets: 100 ms is the aim."""
    fleet = Fleet(1_000, 4)
    fleet.begin()
    fleet.live(3)
    gc.freeze()

    def prepare() -> tuple[tuple[list[bytes]], dict[str, Any]]:
        return (fleet.beats(),), {}

    benchmark.pedantic(fleet.receive, setup=prepare, rounds=20)
    assert "1000 of 1000 backends busy" in repr(fleet.controller.collector)


@pytest.mark.parametrize("gateways", [1, 4])
def test_a_busy_backend_takes_less_than_five_kilobytes(gateways: int) -> None:
    """Windows, the last decision, what its gateways last said, and its place in all tables."""
    fleet = Fleet(200, gateways)
    tracemalloc.start()
    try:
        fleet.begin()
        for _ in range(4):
            fleet.live(2)
            fleet.tick()
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # The pods of TwoPods are the Scaler's.
    assert taken / len(fleet.names) < 5 * 1024 + 400
