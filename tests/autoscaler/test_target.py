"""One Backend under control: drains before removals, one call at a time, errors with pauses."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

import pytest

from autoscaler.collector import Collector
from autoscaler.history import MOST
from autoscaler.plan import Superseded
from autoscaler.scalers import FixedScaler
from autoscaler.spec import ScalingSpec
from autoscaler.target import LONGEST_RETIREMENT, Target
from gateway.endpoints import EndpointInfo, Feed
from gateway.stats import Beat, Stat
from tests.simulated import SimulatedPods

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

FIXED = ScalingSpec(stable_window=6, scale_to_zero_grace_period=1)


class Stage:
    """A target whose count is set by its bounds, and a gateway that says what a test wants."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.collector = Collector()
        self.collector.put("iris", FIXED)
        self.pods = SimulatedPods(Feed("iris"), start_seconds=0.5)
        self.leads = True
        self.target = Target("iris", FIXED, self.pods, self.collector, loop.time, leads=lambda: self.leads)
        self.seq = 0

    def want(self, count: int) -> None:
        self.target.spec = replace(FIXED, min_scale=count, max_scale=count)
        self.target.decide()

    async def have(self, count: int) -> None:
        self.want(count)
        await asyncio.sleep(1)

    def beat(self, draining: Mapping[str, int] | None = None, **stat: object) -> None:
        self.seq += 1
        stats = {"iris": Stat(**stat)} if stat else {}  # type: ignore[arg-type]
        beat = Beat("gw-1", self.seq, 1.0, stats, {"iris": draining} if draining else {})
        self.collector.receive(beat, asyncio.get_running_loop().time())

    async def settle(self) -> None:
        self.target.act()
        await asyncio.sleep(0.01)


async def test_pods_are_marked_then_waited_for_then_removed() -> None:
    """The count falls only when a beat later than the mark names the pod as draining and idle."""
    stage = Stage()
    await stage.have(2)
    stage.want(1)
    await stage.settle()
    assert stage.pods.log == ["scale 0->2", "drain pod-2"]
    assert repr(stage.target) == "<Target iris wish=1, 1 draining>"
    stage.beat({"pod-2": 1}, endpoints={"pod-2": 1})
    await stage.settle()
    assert len(stage.pods.log) == 2
    stage.beat({"pod-2": 0})
    await stage.settle()
    assert stage.pods.log[2:] == ["scale 2->1 -pod-2"]


async def test_a_pod_marked_anew_needs_a_new_beat() -> None:
    """The beat of a mark that was taken back proves nothing for the next mark."""
    stage = Stage()
    await stage.have(2)
    stage.want(1)
    await stage.settle()
    stage.beat({"pod-2": 0})
    stage.want(2)
    await stage.settle()
    stage.want(1)
    await stage.settle()
    assert stage.pods.log[1:] == ["drain pod-2", "undrain pod-2", "drain pod-2"]


async def test_the_busiest_pods_stay() -> None:
    """What gateways say of each pod's requests decides who goes."""
    stage = Stage()
    await stage.have(3)
    stage.beat(endpoints={"pod-2": 1, "pod-3": 2})
    stage.want(2)
    await stage.settle()
    assert stage.pods.log[-1] == "drain pod-1"


async def test_a_pod_that_never_was_ready_goes_at_once() -> None:
    """Nobody can have sent it anything: marked and removed in one go."""
    stage = Stage()
    stage.want(1)
    await asyncio.sleep(0.1)
    assert await stage.target.retire()
    assert stage.pods.log == ["scale 0->1", "drain pod-1", "scale 1->0 -pod-1"]


async def test_a_newer_wish_replaces_one_not_begun() -> None:
    """While the first call hangs, of the wishes that pile up only the last is acted on; SimulatedPods minds overlaps."""
    stage = Stage()
    stage.pods.gate.clear()
    for count in (1, 2, 3, 5):
        stage.want(count)
        await asyncio.sleep(0.1)
    stage.pods.gate.set()
    await asyncio.sleep(0.1)
    assert stage.pods.log == ["scale 0->1", "scale 1->5"]


async def test_errors_are_counted_and_tried_again_with_pauses(caplog: pytest.LogCaptureFixture) -> None:
    """2 s after the first, 4 s after the second; then all is well again, and said to be."""
    caplog.set_level(logging.INFO, "autoscaler")
    stage = Stage()
    stage.pods.broken = OSError("no room")
    for _ in range(7):
        stage.want(1)
        await asyncio.sleep(1)
    assert stage.target.errors == 3
    assert repr(stage.target) == "<Target iris wish=1, failing: no room>"
    stage.pods.broken = None
    await asyncio.sleep(10)
    stage.want(1)
    await asyncio.sleep(1)
    assert (stage.target.error, stage.pods.replicas) == ("", 1)
    messages = [record.message for record in caplog.records if "scaling" in record.message]
    assert messages == [
        "iris: scaling failed, next try in 2 s: no room",
        "iris: scaling failed, next try in 4 s: no room",
        "iris: scaling failed, next try in 8 s: no room",
        "iris: scaling works again",
    ]


async def test_a_retry_may_be_asked_for() -> None:
    """Whoever knows that what failed is back does not leave the target to its pause."""
    stage = Stage()
    stage.pods.broken = OSError("no room")
    for _ in range(7):
        stage.want(1)
        await asyncio.sleep(1)
    stage.pods.broken = None
    stage.target.retry()
    stage.want(1)
    await asyncio.sleep(0.1)
    assert (stage.target.error, stage.pods.replicas) == ("", 1)


async def test_a_plan_given_up_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """It is said why, and the next tick plans anew, without a pause."""
    caplog.set_level(logging.INFO, "autoscaler")
    stage = Stage()
    stage.pods.broken = Superseded("somebody set it to 3")
    stage.want(1)
    await asyncio.sleep(0.1)
    assert (stage.target.errors, stage.target.error) == (0, "")
    assert caplog.records[-1].message == "iris: a plan was given up: somebody set it to 3"
    stage.pods.broken = None
    stage.want(1)
    await asyncio.sleep(0.1)
    assert stage.pods.replicas == 1


async def test_a_plan_for_one_target_is_not_carried_out_on_another() -> None:
    """The configuration changed while pods were being unmarked."""
    stage = Stage()
    await stage.have(2)
    stage.want(1)
    await stage.settle()
    stage.pods.gate.clear()
    stage.want(3)
    await stage.settle()
    other = stage.target.scaler = SimulatedPods(Feed("iris"))
    stage.pods.gate.set()
    await stage.settle()
    await stage.settle()
    assert stage.pods.log == ["scale 0->2", "drain pod-2", "undrain pod-2"]
    assert (other.log, stage.target.errors) == (["scale 0->3"], 0)


async def test_what_does_not_lead_decides_and_does_nothing() -> None:
    """Once it leads, what it does is what it wants then."""
    stage = Stage()
    stage.leads = False
    for count in (5, 2):
        stage.want(count)
        await asyncio.sleep(0.1)
    assert (stage.target.wish, stage.pods.log) == (2, [])
    stage.leads = True
    stage.target.act()
    await asyncio.sleep(0.1)
    assert stage.pods.log == ["scale 0->2"]


async def test_losing_the_lead_forgets_failures() -> None:
    """They are another's to tell of, and no pause is left when leadership comes back."""
    stage = Stage()
    stage.pods.broken = OSError("no connection")
    stage.want(1)
    await asyncio.sleep(0.1)
    stage.leads = False
    stage.want(1)
    assert stage.target.error == ""
    stage.leads, stage.pods.broken = True, None
    stage.want(1)
    await asyncio.sleep(0.1)
    assert stage.pods.replicas == 1


async def test_nothing_is_decided_about_what_is_not_known(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, after a moment, what is waited for, and that it is there."""
    caplog.set_level(logging.INFO, "autoscaler")
    stage = Stage()
    stage.pods.unknown = "waiting for deployment models/iris: not found"
    stage.want(3)
    stage.want(3)
    assert not caplog.records
    await asyncio.sleep(2)
    stage.want(3)
    stage.want(3)
    await stage.settle()
    assert (stage.target.decision, stage.target.ready, stage.pods.log) == (None, 0, [])
    assert repr(stage.target) == "<Target iris wish=None, waiting for deployment models/iris: not found>"
    stage.pods.unknown = ""
    stage.want(3)
    await stage.settle()
    assert (stage.pods.log, stage.target.waiting_for) == (["scale 0->3"], "")
    assert [record.message for record in caplog.records][:2] == [
        "iris: waiting for deployment models/iris: not found; until then nothing is decided",
        "iris: no longer waiting for deployment models/iris: not found",
    ]


async def test_what_ceases_to_be_known_is_left_alone() -> None:
    """A wish from before is not acted on."""
    stage = Stage()
    await stage.have(2)
    stage.pods.unknown = "waiting for deployment models/iris: not found"
    stage.want(1)
    await stage.settle()
    assert (stage.pods.log, stage.target.wish) == (["scale 0->2"], 2)


async def test_a_listener_hears_of_every_decision() -> None:
    """Before it is acted on."""
    stage = Stage()
    heard: list[tuple[int, int]] = []
    stage.target.listener = lambda decision: heard.append((decision.desired, len(stage.pods.log)))
    await stage.have(2)
    stage.want(2)
    assert heard == [(2, 0), (2, 1)]


async def test_a_changed_wish_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line per change, with its reason."""
    caplog.set_level(logging.INFO, "autoscaler")
    stage = Stage()
    stage.want(3)
    stage.want(3)
    assert [record.message for record in caplog.records] == [
        "iris: 0 -> 3 pods: no data yet: holding 0, held to min 3"
    ]


async def test_history_keeps_changes_only_and_is_bounded() -> None:
    """Equal decisions are counted, not kept; of the changed ones the last few."""
    stage = Stage()
    for _ in range(5):
        stage.want(1)
    assert (stage.target.decisions, len(stage.target.history)) == (5, 1)
    for index in range(2 * MOST):
        stage.want(2 + index % 2)
    kept = list(stage.target.history)
    assert len(kept) == MOST
    assert stage.target.decision is not None
    assert (kept[-1].before, kept[-1].desired, kept[-1].at) == (2, 3, stage.target.decision.at)


async def test_a_removed_target_drains_whatever_the_demand() -> None:
    """Gateways name the pods of a removed Backend no more; that none has a request of it is enough."""
    stage = Stage()
    await stage.have(2)
    gone = stage.target.retire()
    await stage.settle()
    assert stage.pods.log[1:] == ["drain pod-2 pod-1"]
    await asyncio.sleep(2)
    stage.beat(in_flight=1, endpoints={"pod-1": 1})
    await stage.settle()
    assert not gone.done()
    await asyncio.sleep(1)
    stage.beat()
    await stage.settle()
    assert await gone
    assert stage.pods.log[2:] == ["scale 2->0 -pod-2 -pod-1"]


async def test_a_beat_from_before_the_removal_proves_nothing() -> None:
    """A gateway may have sent requests after it made a beat that only arrives now."""
    stage = Stage()
    await stage.have(1)
    gone = stage.target.retire()
    await asyncio.sleep(0.5)
    stage.beat()
    await stage.settle()
    assert not gone.done()


async def test_a_removal_does_not_wait_for_ever() -> None:
    """Without any word from a gateway the pods go after five minutes."""
    stage = Stage()
    await stage.have(1)
    gone = stage.target.retire()
    await stage.settle()
    await asyncio.sleep(LONGEST_RETIREMENT + 1)
    await stage.settle()
    assert await gone


async def test_a_removal_can_be_taken_back() -> None:
    """What is in the configuration again keeps its pods, unmarked."""
    stage = Stage()
    await stage.have(1)
    gone = stage.target.retire()
    await stage.settle()
    stage.target.revive()
    stage.want(1)
    await stage.settle()
    assert not await gone
    assert stage.pods.log[1:] == ["drain pod-1", "undrain pod-1"]


async def test_stop_ends_the_worker() -> None:
    """A call that hangs is cancelled, and a removal's waiter let go."""
    stage = Stage()
    stage.pods.gate.clear()
    stage.want(1)
    await asyncio.sleep(0.1)
    gone = stage.target.retire()
    await stage.target.stop()
    assert (stage.pods.at_once, await gone) == (0, False)


async def test_what_others_scale_is_left_at_what_is_there(caplog: pytest.LogCaptureFixture) -> None:
    """What would be wanted is told in the reason, and no change of it in the log."""
    caplog.set_level(logging.INFO, "autoscaler")
    stage, feed = Stage(), Feed("iris")
    stage.target.scaler = FixedScaler(None, feed)
    for count in (0, 1, 2):
        feed.publish(EndpointInfo(f"{number}", "127.0.0.1", 80, ready=True) for number in range(count))
        stage.want(5)
        assert stage.target.decision is not None
        assert (stage.target.decision.desired, stage.target.decision.rule) == (count, "fixed")
    assert stage.target.decision.reason.startswith("others scale it: 2 pods; 5 would be wanted: no data yet")
    assert not caplog.records
