"""The tick loop: when targets decide and act, and that nothing ends it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from autoscaler.collector import Collector
from autoscaler.controller import Controller
from autoscaler.plan import Milestones
from autoscaler.spec import ScalingSpec
from gateway.endpoints import Feed
from gateway.stats import Beat, Stat
from tests.simulated import SimulatedPods

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


@asynccontextmanager
async def started() -> AsyncIterator[Controller]:
    controller = Controller(Collector(), asyncio.get_running_loop().time)
    controller.start()
    try:
        yield controller
    finally:
        await controller.stop()


def pods() -> SimulatedPods:
    return SimulatedPods(Feed("iris"))


async def test_every_target_decides_every_two_seconds() -> None:
    """At once when it is put, then on the grid."""
    async with started() as controller:
        for name in ("iris", "rose"):
            controller.put(name, ScalingSpec(), pods())
        await asyncio.sleep(9)
        assert [target.decisions for target in controller.targets.values()] == [6, 6]


async def test_a_nudge_is_decided_on_at_once() -> None:
    """A request that waits at zero pods gets its pod ordered in the same moment."""
    async with started() as controller:
        made = pods()
        controller.put("iris", ScalingSpec(), made)
        await asyncio.sleep(10.5)
        controller.receive(Beat("gw-1", 7, 0.0, {"iris": Stat(queued=1)}, nudge=True))
        await asyncio.sleep(0)
        assert made.log == ["scale 0->1"]


async def test_a_slow_target_delays_no_other() -> None:
    """One Scaler that hangs leaves the rest to go on."""
    async with started() as controller:
        slow, quick = pods(), pods()
        slow.gate.clear()
        controller.put("slow", ScalingSpec(min_scale=1), slow)
        controller.put("quick", ScalingSpec(min_scale=1), quick)
        await asyncio.sleep(0.1)
        assert (slow.log, quick.log) == ([], ["scale 0->1"])


async def test_a_failing_target_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a Scaler's observation raises is logged, and the next target has its turn."""

    class Blind(SimulatedPods):
        def observe(self) -> None:  # type: ignore[override]
            raise RuntimeError("no sight")

    async with started() as controller:
        made = pods()
        controller.put("blind", ScalingSpec(), Blind(Feed("blind")))
        controller.put("iris", ScalingSpec(), made)
        await asyncio.sleep(5)
        assert controller.targets["iris"].decisions == 4
    assert {record.message for record in caplog.records} == {"blind: no decision could be made"}


async def test_many_targets_leave_the_loop_its_turns(caplog: pytest.LogCaptureFixture) -> None:
    """Five hundred targets decide in several turns, all within their tick."""
    caplog.set_level(logging.CRITICAL)
    async with started() as controller:
        for index in range(500):
            controller.put(f"b{index}", ScalingSpec(), pods())
        await asyncio.sleep(1)
        before = [target.decisions for target in controller.targets.values()]
        await asyncio.sleep(2)
        assert [target.decisions for target in controller.targets.values()] == [n + 1 for n in before]
        assert repr(controller) == "<Controller of 500 targets>"


async def test_new_bounds_take_effect_at_once_and_keep_the_state() -> None:
    """A reload's change does not wait for a tick, and the history goes on."""
    async with started() as controller:
        made = pods()
        controller.put("iris", ScalingSpec(), made)
        await asyncio.sleep(5)
        controller.put("iris", ScalingSpec(min_scale=2), made)
        await asyncio.sleep(0.1)
        assert made.replicas == 2
        assert controller.targets["iris"].decisions == 5


async def test_a_retired_target_is_acted_on_by_ticks() -> None:
    """Its removal goes on though nobody measures it any longer."""
    async with started() as controller:
        made = pods()
        controller.put("iris", ScalingSpec(min_scale=1), made)
        await asyncio.sleep(3)
        gone = controller.retire("iris")
        for seq in range(1, 6):
            await asyncio.sleep(1)
            controller.receive(Beat("gw-1", seq, 1.0, {}))
        assert await gone
        await controller.drop("iris").stop()
        assert (made.replicas, controller.targets) == (0, {})


async def test_a_target_put_back_is_no_longer_retired() -> None:
    """Its pods are unmarked and stay."""
    async with started() as controller:
        made = pods()
        controller.put("iris", ScalingSpec(min_scale=1), made)
        await asyncio.sleep(3)
        gone = controller.retire("iris")
        await asyncio.sleep(0.1)
        controller.put("iris", ScalingSpec(min_scale=1), made)
        await asyncio.sleep(0.1)
        assert not await gone
        assert made.log == ["scale 0->1", "drain pod-1", "undrain pod-1"]


async def test_what_is_found_is_decided_on_at_once() -> None:
    """A target that waited for its first news does not wait for the next tick as well; one that did not is left to it."""
    async with started() as controller:
        made = pods()
        made.unknown = "waiting"
        controller.put("iris", ScalingSpec(min_scale=1), made)
        made.unknown = ""
        controller.found("iris")
        controller.found("iris")
        controller.found("other")
        await asyncio.sleep(0.1)
        assert (controller.targets["iris"].decisions, made.log) == (2, ["scale 0->1"])


async def test_all_targets_may_be_asked_to_try_again() -> None:
    """With the next tick, whatever their pauses."""
    async with started() as controller:
        made = pods()
        made.broken = OSError("no connection")
        controller.put("iris", ScalingSpec(min_scale=1), made)
        await asyncio.sleep(7)
        made.broken = None
        controller.retry()
        await asyncio.sleep(2)
        assert made.log == ["scale 0->1"]


async def test_beats_for_strangers_are_harmless() -> None:
    """A gateway may know Backends, and draining pods, that this configuration does not."""
    async with started() as controller:
        controller.receive(Beat("gw-1", 1, 1.0, {"other": Stat(queued=1)}, {"other": {"a": 0}}))
        controller.receive(Beat("gw-1", 1, 0.0, {"other": Stat(queued=1)}, nudge=True))
        assert controller.targets == {}


async def test_a_start_that_a_request_waited_for_is_put_together() -> None:
    """What the gateway tells, what was decided, and what the Scaler knows of the pod."""
    async with started() as controller:
        made = pods()
        controller.put("iris", ScalingSpec(), made)
        await asyncio.sleep(10.25)
        controller.receive(Beat("gw-1", 7, 0.0, {"iris": Stat(queued=1)}, nudge=True))
        await asyncio.sleep(1.25)
        made.known["pod-1"] = Milestones(created=1.75, started=1.5)
        controller.receive(
            Beat("gw-1", 8, 1.0, {"iris": Stat(started={"pod-1": (1.5, 0.25, 0.0)}), "rose": Stat()})
        )
        await asyncio.sleep(2)
        start = controller.starts.last("iris")
        assert start is not None
        assert list(start.phases()) == ["decided", "created", "started", "ready", "first_byte"]
        assert start.phases()["decided"] == 0.25
        assert [backend for backend, _ in controller.starts.seconds()] == ["iris"]
        controller.drop("iris")
        assert controller.starts.last("iris") is None
