"""Stories of a Backend whose count is not demand's alone: office hours, a pause, an HPA, a person, and two who would fight.

A gateway's real cores, beats, decisions and drains in virtual time; `Cluster` is the object whose count others may set as well.
"""

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from autoscaler.collector import Collector
from autoscaler.controller import Controller
from autoscaler.hands import WITHIN
from autoscaler.spec import MetricSpec, ScalingSpec, ScheduleSpec
from autoscaler.target import Target
from gateway.endpoints import Feed
from tests.simulated import SimulatedGateway, SimulatedPods

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

BERLIN = ZoneInfo("Europe/Berlin")
SPEC = ScalingSpec(
    metrics=(MetricSpec("concurrency", "concurrency", total=2, target=1.4),),
    stable_window=10,
    panic_window=1,
    scale_to_zero_grace_period=4,
)
HPA = "kube-controller-manager"


class World:
    """One Backend in a cluster; `wall` is what its clock says at the start."""

    def __init__(self, spec: ScalingSpec, wall: str = "2026-11-26T12:00") -> None:
        loop = asyncio.get_running_loop()
        began = datetime.fromisoformat(wall).replace(tzinfo=BERLIN).timestamp()
        self.controller = Controller(Collector(), loop.time, wall=lambda: began + loop.time())
        feed = Feed("iris")
        self.pods = SimulatedPods(feed)
        self.pods.setter = ""
        self.gateway = SimulatedGateway("iris", feed, self.controller.receive)
        self.configure(spec)
        self.controller.start()
        self.others: list[asyncio.Task[None]] = []

    def configure(self, spec: ScalingSpec) -> None:
        self.controller.put("iris", spec, self.pods)

    @property
    def target(self) -> Target:
        return self.controller.targets["iris"]

    @property
    def counts(self) -> list[int]:
        """Those that were set from here."""
        return [int(found[1]) for line in self.pods.log if (found := re.match(r"scale \d+->(\d+)", line))]

    def load(self, clients: int, seconds: float) -> asyncio.Task[None]:
        until = asyncio.get_running_loop().time() + seconds
        return asyncio.create_task(self.gateway.clients(clients, until))

    def hpa(self, wanted: Callable[[int], int]) -> asyncio.Task[None]:
        """Every 15 s, unless the count is zero: then it rests."""

        async def sync() -> None:
            while True:
                await asyncio.sleep(15)
                count = max(1, wanted(self.gateway.backend.in_flight + self.gateway.backend.breaker.queued))
                if self.pods.replicas not in {0, count}:
                    self.pods.set_by(HPA, count)

        self.others.append(asyncio.create_task(sync()))
        return self.others[-1]

    async def stop(self) -> None:
        for task in self.others:
            task.cancel()
        await asyncio.gather(*self.others, return_exceptions=True)
        await self.controller.stop()
        await self.gateway.stop()


Begin = Callable[..., World]


@pytest.fixture
async def begin() -> AsyncIterator[Begin]:
    worlds: list[World] = []

    def begin(spec: ScalingSpec, wall: str = "2026-11-26T12:00") -> World:
        worlds.append(World(spec, wall))
        return worlds[-1]

    yield begin
    for world in worlds:
        await world.stop()


async def test_a_schedules_morning(begin: Begin) -> None:
    """At eight three pods are there, before anybody comes; the first request waits for nothing; at ten past they may go, and do."""
    office = ScheduleSpec("0 8 * * mon-fri", "10 8 * * mon-fri", BERLIN, floor=3)
    world = begin(replace(SPEC, schedules=(office,)), wall="2026-11-26T07:58")
    await asyncio.sleep(119)
    assert world.pods.replicas == 0
    await asyncio.sleep(5)
    assert (world.pods.replicas, world.target.ready) == (3, 3)
    asked = asyncio.get_running_loop().time()
    await world.gateway.request(0.5)
    assert asyncio.get_running_loop().time() - asked == pytest.approx(0.5)
    await asyncio.sleep(9 * 60)
    assert world.pods.replicas == 3
    await asyncio.sleep(60)
    assert (world.pods.replicas, world.gateway.killed) == (0, [])


async def test_a_pause_in_a_surge(begin: Begin) -> None:
    """Two pods and eight clients: the queue grows, nothing else; at its end the surge is answered at once."""
    world = begin(SPEC)
    await world.load(2, 40)
    paused = world.pods.replicas
    world.configure(replace(SPEC, pause=True))
    surge = world.load(12, 60)
    await asyncio.sleep(30)
    assert world.pods.replicas == paused
    assert world.gateway.backend.breaker.queued > 0
    world.configure(SPEC)
    await asyncio.sleep(3)
    assert world.pods.replicas >= 8
    await surge
    assert world.gateway.killed == []


async def test_an_hpa_that_owns_one_to_n(begin: Begin) -> None:
    """Zero to one is ours, one to eight the HPA's, and all eight go once nobody has come for a window and the grace."""
    world = begin(replace(SPEC, by="hpa"))
    world.hpa(lambda requests: math.ceil(requests / 1) if requests else world.pods.replicas)
    await asyncio.sleep(20)
    assert world.counts == []
    await world.load(8, 120)
    assert (world.counts, world.pods.replicas) == ([1], 8)
    await asyncio.sleep(10 + 4 + 6)
    assert (world.counts[-1], world.pods.replicas) == (0, 0)
    assert world.gateway.killed == []
    await world.gateway.request(0.5)
    assert (world.counts[-1], world.pods.replicas, world.target.hands.changes) == (1, 1, 0)


async def test_a_persons_kubectl_scale(begin: Begin) -> None:
    """Under a steady load their seven pods stay; when it doubles the demand decides again."""
    world = begin(SPEC)
    steady = world.load(4, 200)
    await asyncio.sleep(60)
    ours = world.counts[-1]
    assert world.pods.replicas == ours == 3
    world.pods.set_by("kubectl", 7)
    await asyncio.sleep(60)
    assert (world.pods.replicas, world.counts[-1]) == (7, ours)
    assert str(world.target.hands.last) == "kubectl has set the count from 3 to 7: that stands"
    more = world.load(8, 60)
    await asyncio.sleep(30)
    assert world.pods.replicas == 9
    assert not world.target.hands.standing
    await asyncio.gather(steady, more)
    assert world.gateway.killed == []


async def test_two_scalers_that_would_fight(begin: Begin) -> None:
    """An HPA that wants two pods, a demand that comes and goes: three times it is undone, then nothing more is set, until it has been gone for ten minutes."""
    world = begin(SPEC)
    hpa = world.hpa(lambda _: 2)
    for clients in (4, 7, 10, 13, 16):
        await world.load(clients, 30)
    assert world.target.hands.contested(world.controller.clock()) == HPA
    assert world.pods.replicas == 2
    writes = len(world.counts)
    await world.load(20, 60)
    assert (len(world.counts), world.pods.replicas) == (writes, 2)
    hpa.cancel()
    later = world.load(4, WITHIN + 60)
    await asyncio.sleep(WITHIN - 180)
    assert len(world.counts) == writes
    await later
    assert world.pods.replicas == 3
