"""The autoscaler's whole loop in virtual time: a gateway's real cores, beats, decisions, drains, and imitated pods."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from autoscaler.collector import Collector
from autoscaler.controller import Controller
from autoscaler.spec import MetricSpec, ScalingSpec
from gateway.endpoints import Feed
from tests.simulated import SimulatedGateway, SimulatedPods

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

SPEC = ScalingSpec(
    metrics=(MetricSpec("concurrency", "concurrency", total=2, target=1.4),),
    max_scale=5,
    stable_window=10,
    panic_window=2,
    scale_to_zero_grace_period=4,
)


class World:
    """One Backend under control."""

    def __init__(self, spec: ScalingSpec = SPEC) -> None:
        loop = asyncio.get_running_loop()
        self.controller = Controller(Collector(), loop.time)
        self.feed = Feed("iris")
        self.pods = SimulatedPods(self.feed)
        self.gateway = SimulatedGateway("iris", self.feed, self.controller.receive)
        self.controller.put("iris", spec, self.pods)
        self.controller.start()

    @property
    def counts(self) -> list[int]:
        """The counts that were set, one after the other."""
        return [int(found[1]) for line in self.pods.log if (found := re.match(r"scale \d+->(\d+)", line))]

    async def until_zero(self) -> None:
        await self.until(lambda: not self.pods.replicas)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.1)


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    made = World()
    try:
        yield made
        assert made.gateway.killed == []
    finally:
        await made.controller.stop()
        await made.gateway.stop()


async def test_from_zero_to_three_and_back() -> None:
    """Four requests at once wake three pods; when they are over, window and grace pass, and all are drained and go."""
    async with a_world() as world:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(20)
        assert world.counts == []
        await world.gateway.clients(4, until=40)
        assert max(world.counts) == 3
        await asyncio.wait_for(world.until_zero(), 10 + 4 + 5)
        assert world.counts[-1] == 0
        assert world.pods.log[-2].startswith("drain")
        assert world.gateway.answered > 100
        assert loop.time() < 60


async def test_the_first_request_waits_only_for_its_pod() -> None:
    """A nudge is decided and acted on at once, not at the next tick: 1 s of start and 0.5 s of work."""
    async with a_world() as world:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(20.7)
        await world.gateway.request(0.5)
        assert loop.time() == pytest.approx(22.2)


async def test_counts_pushed_down_and_up_under_load_cost_no_request() -> None:
    """5 -> 1 -> 0 and back, again and again; no pod goes with a request, in this story as in all."""
    async with a_world() as world:
        steady = asyncio.create_task(world.gateway.clients(3, until=120, seconds=0.7))
        for index in range(20):
            await asyncio.sleep(5.3)
            most = (1, 5)[index % 2]
            spec = replace(SPEC, min_scale=most, max_scale=most)
            world.controller.put("iris", spec, world.pods)
        await steady
        assert {1, 5} <= set(world.counts)
        assert any(line.startswith("undrain") for line in world.pods.log) or world.counts.count(5) > 5


async def test_a_request_for_draining_pods_takes_one_back() -> None:
    """When all pods drain and one is still busy, a newcomer's nudge takes the mark back rather than start another pod."""
    async with a_world() as world:
        await asyncio.sleep(1)
        slow = asyncio.create_task(world.gateway.request(30))
        await asyncio.sleep(5)
        await world.pods.drain(list(world.pods.pods))  # as a decision for zero would, were none in flight
        assert world.gateway.backend.breaker.available == 0
        await world.gateway.request(0.1)
        await slow
        assert world.pods.log[:3] == ["scale 0->1", "drain pod-1", "undrain pod-1"]


async def test_an_idle_pod_goes_at_the_beat_that_says_so() -> None:
    """From the mark to the end of a pod takes a beat, no tick."""
    async with a_world() as world:
        loop = asyncio.get_running_loop()
        await world.gateway.clients(1, until=10)
        await world.until(lambda: "drain pod-1" in world.pods.log)
        marked = loop.time()
        await world.until_zero()
        assert loop.time() - marked <= 1.2


async def test_two_gateways_must_both_be_done_with_a_pod() -> None:
    """A second gateway's open request keeps the pod, however idle the first one is."""
    async with a_world() as world:
        other = SimulatedGateway("iris", world.pods.add_feed(), world.controller.receive, name="gw-2")
        await asyncio.sleep(1)
        await asyncio.gather(world.gateway.request(0.5), other.request(40))
        assert world.pods.replicas == 1
        await asyncio.wait_for(world.until_zero(), 30)
        await other.stop()


async def test_a_removed_backend_finishes_what_it_has() -> None:
    """Taken out of the configuration, pods end once no gateway has a request of theirs."""
    async with a_world() as world:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1)
        slow = asyncio.create_task(world.gateway.request(10))
        await asyncio.sleep(4)
        gone = world.controller.retire("iris")
        world.gateway.backend.remove(loop.time())
        assert await gone
        assert loop.time() >= 1 + 1 + 10
        assert world.pods.log[-1] == "scale 1->0 -pod-1"
        await slow
