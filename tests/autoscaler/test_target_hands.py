"""One Backend under control whose count others set as well, or the clock on the wall."""

import asyncio
import logging
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from autoscaler.collector import Collector
from autoscaler.hands import OURS
from autoscaler.spec import ScalingSpec, ScheduleSpec
from autoscaler.target import Target
from gateway.endpoints import Feed
from gateway.stats import Beat, Stat
from tests.simulated import SimulatedPods

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

SPEC = ScalingSpec(stable_window=6, panic_window=1, scale_to_zero_grace_period=1)
UTC = ZoneInfo("UTC")


class Stage:
    """A target in a cluster, whose count a test may set, and a gateway that says what it wants."""

    def __init__(self, spec: ScalingSpec = SPEC) -> None:
        self.loop = asyncio.get_running_loop()
        self.collector = Collector()
        self.collector.put("iris", spec)
        self.pods = SimulatedPods(Feed("iris"), start_seconds=0.1)
        self.pods.setter = ""
        self.leads = True
        self.wall = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
        self.target = Target(
            "iris",
            spec,
            self.pods,
            self.collector,
            self.loop.time,
            leads=lambda: self.leads,
            wall=lambda: self.wall + self.loop.time(),
        )
        self.seq = 0

    async def tick(self, **stat: object) -> None:
        """One more second of a gateway's, a decision, and what is done about it."""
        self.seq += 1
        draining = {uid: 0 for uid, pod in self.pods.pods.items() if pod.draining}
        stats = {"iris": Stat(**stat)} if stat else {}  # type: ignore[arg-type]
        self.collector.receive(Beat("gw-1", self.seq, 1.0, stats, {"iris": draining}), self.loop.time())
        self.target.decide()
        await asyncio.sleep(1)

    async def ticks(self, count: int, **stat: object) -> None:
        for _ in range(count):
            await self.tick(**stat)

    async def settled(self, pods: int) -> None:
        """Whole windows were seen, of so many pods at the least."""
        self.target.configure(replace(self.target.spec, min_scale=pods))
        await self.ticks(10)
        assert self.pods.replicas == pods


async def test_another_hands_count_stands_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Tick after tick, and at every beat between two ticks."""
    caplog.set_level(logging.INFO, "autoscaler")
    stage = Stage()
    await stage.settled(2)
    stage.pods.set_by("kubectl", 5)
    stage.target.act()  # as a beat does
    await stage.ticks(5)
    assert (stage.pods.replicas, stage.target.wish, stage.pods.log) == (5, 2, ["scale 0->2"])
    assert "iris: kubectl has set the count from 2 to 5: that stands" in caplog.messages
    assert (stage.target.hands.changes, stage.target.hands.standing) == (1, True)


async def test_it_stands_until_the_demand_changes() -> None:
    """A third pod's worth of requests, and three are had."""
    stage = Stage()
    await stage.settled(2)
    stage.pods.set_by("kubectl", 5)
    await stage.tick()
    await stage.ticks(7, in_flight_seconds=210.0)
    assert stage.pods.replicas == 3


async def test_the_decision_that_saw_it_says_so() -> None:
    """For Events and the admin page; the next says nothing of it."""
    stage = Stage()
    told: list[object] = []
    stage.target.listener = lambda decision: told.append(decision.observed.changed)
    await stage.settled(2)
    stage.pods.set_by("hpa", 4)
    await stage.ticks(2)
    assert [str(change) for change in told[-2:]] == ["hpa has set the count from 2 to 4: that stands", "None"]


async def test_a_plan_that_others_overtake_is_made_anew() -> None:
    """Pods that drained for a lower count serve again when another hand wants more."""
    stage = Stage()
    await stage.settled(3)
    stage.target.configure(replace(SPEC, min_scale=2))
    stage.target.decide()
    await asyncio.sleep(0.1)
    assert any(pod.draining for pod in stage.pods.pods.values())
    stage.pods.set_by("kubectl", 4)
    await stage.ticks(2)
    assert not any(pod.draining for pod in stage.pods.pods.values())
    assert stage.pods.replicas == 4


async def test_a_contested_target_is_told_how_to_share(caplog: pytest.LogCaptureFixture) -> None:
    """Once, as a warning; another configuration of its scale ends it."""
    stage = Stage()
    await stage.settled(2)
    for demand in (3, 4, 5):
        await stage.ticks(7, in_flight_seconds=70.0 * demand)
        assert stage.pods.replicas == demand
        stage.pods.set_by("kube-controller-manager", 2)
        await stage.tick(in_flight_seconds=70.0 * demand)
    await stage.ticks(9, in_flight_seconds=420.0)
    assert stage.pods.replicas == 2
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    told = "kube-controller-manager has set the count from 5 to 2: it contests the count, and nothing is set any more"
    assert warnings == [f"iris: {told}: say `by: hpa` for an autoscaler, or have one of both let go"]
    stage.target.configure(replace(stage.target.spec, max_scale=10))
    await stage.tick(in_flight_seconds=420.0)
    assert stage.pods.replicas >= 5


async def test_whoever_does_not_lead_takes_nothing_for_another_hands() -> None:
    """The leader sets counts all the time; and the first count that a new leader sees is found."""
    stage = Stage()
    await stage.settled(2)
    stage.leads = False
    for count in (3, 4, 5):
        stage.pods.set_by("whoever", count)
        await stage.tick()
    stage.leads = True
    await stage.tick()
    assert stage.target.hands.changes == 0


async def test_a_target_that_comes_back_is_found_as_it_is() -> None:
    """Deleted, waited for, and made anew with another count: what is wanted is set."""
    stage = Stage()
    await stage.settled(2)
    stage.pods.unknown = "waiting: deployment models/iris does not exist"
    await stage.ticks(2)
    assert stage.target.waiting_for == "waiting: deployment models/iris does not exist"
    stage.pods.unknown = ""
    stage.pods.set_by("kubectl", 1)
    await stage.tick()
    assert (stage.pods.replicas, stage.target.hands.changes) == (2, 0)


async def test_a_pause_leaves_the_count_to_anybody() -> None:
    """Also between two decisions, and at zero with requests that wait."""
    stage = Stage(replace(SPEC, pause=True))
    await stage.ticks(2, queued=3)
    assert (stage.pods.replicas, stage.pods.log) == (0, [])
    for count in (4, 1, 0):
        stage.pods.set_by("kubectl", count)
        stage.target.act()
        await stage.ticks(3, queued=3)
        assert (stage.pods.replicas, stage.pods.log) == (count, [])
    stage.target.configure(SPEC)
    await stage.tick(queued=3)
    assert stage.pods.replicas == 1


async def test_by_hpa_the_count_is_never_set_but_from_zero_and_to_zero() -> None:
    """The HPA's counts are no other hand's, whatever was decided last."""
    stage = Stage(replace(SPEC, by="hpa"))
    await stage.tick(queued=3)
    assert stage.pods.log == ["scale 0->1"]
    for count in (3, 6, 2):
        stage.pods.set_by("kube-controller-manager", count)
        stage.target.act()
        await stage.ticks(2, in_flight=1, in_flight_seconds=1.0)
    assert (stage.pods.replicas, stage.target.hands.changes) == (2, 0)
    assert stage.pods.log == ["scale 0->1"]
    await stage.ticks(20)
    assert [line.split()[0] for line in stage.pods.log] == ["scale", "drain", "scale"]
    assert stage.pods.replicas == 0


async def test_what_nobody_else_can_set_has_no_other_hands() -> None:
    """Local processes: their Scaler is the only one."""
    stage = Stage()
    stage.pods.setter = None
    await stage.settled(2)
    stage.pods.replicas = 3
    await stage.tick()
    assert stage.target.hands.changes == 0


async def test_ones_own_writes_are_ones_own() -> None:
    """Whether or not they were answered."""
    stage = Stage()
    await stage.settled(1)
    assert stage.pods.setter == OURS
    stage.pods.setter = "kubectl"  # as if their watch were late
    stage.target.configure(replace(SPEC, min_scale=4))
    await stage.ticks(2)
    assert (stage.pods.replicas, stage.target.hands.changes) == (4, 0)


LUNCH = ScheduleSpec("1 12 * * *", "2 12 * * *", UTC, floor=3)


async def test_a_schedule_follows_the_clock_on_the_wall() -> None:
    """A minute after noon there are three pods, and two minutes after it none is left."""
    stage = Stage(replace(SPEC, schedules=(LUNCH,)))
    await stage.ticks(58)
    assert stage.pods.replicas == 0
    await stage.ticks(5)
    assert stage.pods.replicas == 3
    assert stage.target.decision is not None
    assert stage.target.decision.rule == "schedule"
    await stage.ticks(70)
    assert stage.pods.replicas == 0


async def test_a_clock_that_is_set_takes_no_pod_at_once() -> None:
    """Into the schedule: pods come at once. Out of it: they stay for a window."""
    stage = Stage(replace(SPEC, schedules=(LUNCH,)))
    await stage.ticks(10)
    stage.wall += 60
    await stage.ticks(2)
    assert stage.pods.replicas == 3
    await stage.ticks(10)
    stage.wall += 3600
    await stage.ticks(5)
    assert stage.target.decision is not None
    assert (stage.pods.replicas, stage.target.decision.rule) == (3, "clock_set")
    await stage.ticks(5)
    assert stage.pods.replicas == 0
