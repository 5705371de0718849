"""An autoscaler is killed in a surge and started again, or another takes over, in virtual time: the replica curve stays what it would have been."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from autoscaler.collector import Collector
from autoscaler.controller import Controller
from autoscaler.kpa import TICK
from autoscaler.snapshot import Snapshot
from autoscaler.spec import MetricSpec, ScalingSpec
from autoscaler.statefile import EVERY
from gateway.endpoints import Feed
from gateway.lately import Lately
from gateway.stats import Beat
from tests.simulated import SimulatedGateway, SimulatedPods

if TYPE_CHECKING:
    from autoscaler.decision import Decision

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

CONCURRENCY = MetricSpec("concurrency", "concurrency", total=2, target=1.4)
SPEC = ScalingSpec(metrics=(CONCURRENCY,), max_scale=40, stable_window=20, panic_window=4)
CALM, SURGE, KILLED = 40, 60, 42.3
"""Seconds: until then few clients, until then many, and when the autoscaler is killed."""
END = 110


class World:
    """One Backend, its gateway, which keeps its last beats, and autoscalers that come and go."""

    def __init__(self, spec: ScalingSpec, *, keeps: bool = True) -> None:
        self.loop = asyncio.get_running_loop()
        self.spec, self.keeps = spec, keeps
        self.feed = Feed("iris")
        self.pods = SimulatedPods(self.feed)
        self.gateway = SimulatedGateway("iris", self.feed, self.tell)
        self.lately = Lately()
        self.running: list[Controller] = []
        self.leader: Controller | None = None
        self.kept = b""
        """The last snapshot."""
        self.curve: list[int] = []
        """The count, by second."""
        self.wanted: list[int] = []
        """What the last one that runs has decided, by second."""
        self.averages: list[float] = []
        """What it decided on."""
        self.told: list[Decision] = []
        """Since the last start."""

    def tell(self, beat: Beat) -> None:
        if not beat.nudge:
            self.lately.publish(beat.encode(), self.loop.time())
        for controller in self.running:
            controller.receive(Beat.decode(beat.encode()), "gw")

    def start(self, snapshot: bytes = b"") -> Controller:
        """As `server` does it: the snapshot, the targets, the gateways."""
        made = Controller(Collector(), self.loop.time, lambda: self.leader is made)
        if snapshot:
            made.resume(Snapshot.decode(snapshot, self.loop.time()))
        self.told.clear()
        self.leader = self.leader or made
        made.put("iris", self.spec, self.pods, self.told.append)
        made.start()
        self.running.append(made)
        made.collector.expect("gw", self.loop.time())
        for line in self.lately.last(60, self.loop.time()) if self.keeps else ():
            made.receive(Beat.decode(line), "gw")
        return made

    async def kill(self, controller: Controller) -> None:
        self.running.remove(controller)
        self.leader = None
        await controller.stop()

    async def live(self, story: Callable[["World"], asyncio.Future[None]] | None = None) -> None:
        """Few clients, many clients, few again; the curve as it goes."""
        begun = self.loop.time()
        load = [
            asyncio.ensure_future(self.gateway.clients(3, until=begun + END)),
            asyncio.ensure_future(self.later(CALM, begun)),
            asyncio.ensure_future(self.keep()),
        ]
        told = story(self) if story is not None else None
        for second in range(END):
            self.curve.append(self.pods.replicas)
            newest = self.running[-1].targets["iris"].decision if self.running else None
            self.wanted.append(newest.desired if newest else 0)
            self.averages.append((newest and newest.observed.readings[0].stable) or 0.0)
            await asyncio.sleep(begun + second + 1 - self.loop.time())
        load[-1].cancel()
        await asyncio.gather(*load[:-1], *([told] if told else []))

    async def later(self, seconds: float, begun: float) -> None:
        await asyncio.sleep(seconds)
        await self.gateway.clients(25, until=begun + SURGE)

    async def keep(self) -> None:
        """What `statefile` does."""
        while True:
            await asyncio.sleep(EVERY)
            if self.running:
                self.kept = self.running[-1].snapshot().encode()


@asynccontextmanager
async def world(spec: ScalingSpec = SPEC, *, keeps: bool = True) -> AsyncIterator[World]:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(-loop.time() % 10)  # each world begins at the same place between two beats and ticks
    made = World(spec, keeps=keeps)
    made.start()
    try:
        yield made
        assert made.gateway.killed == []
    finally:
        for controller in made.running:
            await controller.stop()
        await made.gateway.stop()


async def undisturbed(spec: ScalingSpec = SPEC) -> World:
    async with world(spec) as made:
        await made.live()
        return made


def same(curve: list[int], other: list[int], but: range) -> bool:
    """Within one tick, but for some seconds."""
    tick = int(TICK)
    for second, count in enumerate(curve):
        near = other[max(0, second - tick) : second + tick + 1]
        if second not in but and not min(near) <= count <= max(near):
            return False
    return True


def killed_for(seconds: float, *, snapshot: bool = True) -> Callable[[World], asyncio.Future[None]]:
    async def story(made: World) -> None:
        await asyncio.sleep(KILLED)
        await made.kill(made.running[0])
        await asyncio.sleep(seconds)
        made.start(made.kept if snapshot else b"")

    return lambda made: asyncio.ensure_future(story(made))


@pytest.mark.parametrize("away", [1.0, 2.0, 3.0])
async def test_a_restart_in_a_surge_leaves_the_curve_as_it_is(away: float) -> None:
    """Killed two seconds into it, and back in one to three: what was decided meanwhile is decided by the next tick."""
    expected = await undisturbed()
    async with world() as made:
        await made.live(killed_for(away))
    assert max(expected.curve) == 20
    assert same(made.curve, expected.curve, range(int(KILLED), int(KILLED + away + TICK) + 1))


@pytest.mark.parametrize(
    "spec",
    [replace(SPEC, scale_down_delay=15.0), replace(SPEC, averaging="weighted_exponential")],
    ids=["delay", "weighted"],
)
async def test_a_restart_keeps_whatever_is_remembered(spec: ScalingSpec) -> None:
    """What delays a fall, and averages of any kind."""
    expected = await undisturbed(spec)
    async with world(spec) as made:
        await made.live(killed_for(2.0))
    assert same(made.curve, expected.curve, range(int(KILLED), int(KILLED + 2 + TICK) + 1))


async def test_an_outage_longer_than_the_surge_is_known_all_the_same() -> None:
    """The gateway has kept what happened: half a minute later the averages are those of somebody who looked on."""
    spec = replace(SPEC, stable_window=40)
    expected = await undisturbed(spec)
    async with world(spec) as made:
        await made.live(killed_for(30.0))
    back = int(KILLED + 30 + TICK) + 1
    assert max(expected.averages[back:]) > 15
    assert made.averages[back:] == pytest.approx(expected.averages[back:], abs=1.5)
    assert not any(decision.observed.missing for decision in made.told)


async def test_an_outage_that_nobody_can_tell_of_scales_nothing_down() -> None:
    """The gateway's beats are lost: the count is held until a stable window was seen, and the reason says so."""
    spec = replace(SPEC, stable_window=40)
    async with world(spec, keeps=False) as made:
        await made.live(killed_for(30.0))
    back = int(KILLED + 30)
    assert made.curve[back] > 3
    assert made.curve[back : back + 37] == sorted(made.curve[back : back + 37])
    assert made.told[0].observed.missing.startswith("gateway gw-1 for 3")
    assert "warming" in {decision.rule for decision in made.told}


async def test_a_restart_without_a_snapshot_knows_the_load_from_the_beats_that_gateways_kept() -> None:
    """It goes up as the other would have; down it goes only when it has seen a stable window itself."""
    expected = await undisturbed()
    async with world() as made:
        await made.live(killed_for(2.0, snapshot=False))
    lag = range(int(KILLED), int(KILLED + 2 + TICK) + 1)
    assert same(made.curve[:SURGE], expected.curve, lag)
    assert all(
        count >= other
        for second, (count, other) in enumerate(zip(made.curve, expected.curve, strict=True))
        if second not in lag
    )


async def test_a_follower_takes_over_warm() -> None:
    """The leader is killed in the surge: what the follower decides is what the leader would have, all along; it acts when it leads."""
    expected = await undisturbed()
    takes = 12.0

    async def story(made: World) -> None:
        follower = made.start()
        await asyncio.sleep(KILLED)
        await made.kill(made.running[0])
        await asyncio.sleep(takes)
        made.leader = follower

    async with world() as made:
        await made.live(lambda world: asyncio.ensure_future(story(world)))
    assert same(made.wanted, expected.wanted, range(2))
    assert same(made.curve, expected.curve, range(int(KILLED), int(KILLED + takes + TICK) + 1))
