"""Load curves in virtual time through windows, decisions and plans, told as stories.

`World` is one Backend whose pods take `cold_start` seconds to be ready and `capacity` requests at once. Each second its
gateway records a beat; every two seconds, and at once for a nudge, the loop decides and plans. Ending a pod that has
requests fails any story.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from autoscaler.decision import Decision, Observed
from autoscaler.demand import Reading
from autoscaler.kpa import TICK, State, decide
from autoscaler.plan import PodState, TargetState, plan
from autoscaler.spec import MetricSpec, ScalingSpec
from autoscaler.window import Window

EPOCH = 1_700_000_000
SPEC = ScalingSpec(metrics=(MetricSpec("concurrency", "concurrency", total=2, target=1.4),))


@dataclass
class World:
    """Steps of one second; `load(t)` is how many requests are open at second t."""

    spec: ScalingSpec
    load: Callable[[int], int]
    cold_start: int = 3
    capacity: int = 2
    silent: range = range(0)
    """When the gateway's beats do not arrive."""
    t: int = 0
    replicas: int = 0
    pods: tuple[PodState, ...] = ()
    births: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    told: list[tuple[int, Decision]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The autoscaler begins anew; pods and gateway stay."""
        self.state = State.initial(self.spec, self.ready, EPOCH + self.t)
        self.stable = Window(self.spec.stable_window, 1)
        self.panic = Window(self.spec.panic_window, 1)

    @property
    def ready(self) -> int:
        return sum(pod.ready and not pod.draining for pod in self.pods)

    @property
    def in_flight(self) -> int:
        return sum(pod.in_flight for pod in self.pods)

    def run(self, until: int) -> list[int]:
        """Live until second `until`; the counts that were set, one a second."""
        counts = []
        while self.t < until:
            self.t += 1
            woke = self.serve()
            if self.t not in self.silent:
                self.beat()
            if woke or self.t % TICK == 0:
                self.tick()
            counts.append(self.replicas)
        return counts

    def serve(self) -> bool:
        """Pods turn ready, requests go where there is room; whether a request came that finds no pod."""
        while len(self.pods) < self.replicas:
            uid = f"pod-{len(self.births)}"
            self.births[uid] = self.t
            self.pods += (PodState(uid, ready=False, draining=False),)
        queued, before = self.load(self.t), self.waiting
        pods = []
        for pod in self.pods:
            up = self.t - self.births[pod.uid] >= self.cold_start
            taken = min(self.capacity, queued) if up and not pod.draining else 0
            queued -= taken
            # What was open at a pod as it was marked ends within the second.
            pods.append(replace(pod, ready=up, in_flight=taken))
        self.pods, self.waiting = tuple(pods), queued
        return queued > before and self.ready == 0

    def beat(self) -> None:
        for window in (self.stable, self.panic):
            window.record(EPOCH + self.t, self.in_flight + self.waiting)
        self.pods = tuple(replace(pod, drained=pod.draining and not pod.in_flight) for pod in self.pods)

    def tick(self) -> None:
        now = EPOCH + self.t
        told = not self.stable.is_empty(now)
        observed = Observed(
            (Reading(self.stable.average(now), self.panic.average(now)) if told else Reading(None, None),),
            ready=self.ready,
            replicas=self.replicas,
            in_flight=self.in_flight,
            waiting=self.waiting,
            missing="gateway gw-1" if self.t in self.silent else "",
        )
        self.state, decision = decide(self.spec, self.state, observed, now)
        self.told.append((self.t, decision))
        steps = plan(TargetState(self.replicas, self.pods), decision.desired)
        assert not any(pod.in_flight for pod in self.pods if pod.uid in steps.remove)
        marks = dict.fromkeys(steps.undrain, False) | dict.fromkeys(steps.drain, True)
        self.pods = tuple(
            replace(pod, draining=marks[pod.uid], drained=False) if pod.uid in marks else pod
            for pod in self.pods
            if pod.uid not in steps.remove
        )
        self.replicas = self.replicas if steps.replicas is None else steps.replicas

    def rules(self, since: int) -> set[str]:
        """What decided from second `since` on."""
        return {decision.rule for t, decision in self.told if t >= since}


def steady(open_requests: int) -> Callable[[int], int]:
    return lambda _: open_requests


def test_a_steady_load_gets_the_pods_it_needs_and_keeps_them() -> None:
    """7 requests at 1.4 a pod are 5 pods, and 5 they stay."""
    world = World(SPEC, steady(7))
    assert set(world.run(300)[100:]) == {5}
    assert world.waiting == 0


def test_a_surge_is_met_within_seconds_and_held_for_a_window() -> None:
    """3 requests become 30: the panic window sees it long before the stable one."""
    world = World(SPEC, lambda t: 30 if 200 <= t < 220 else 3)
    before = world.run(199)[-1]
    surge = world.run(206)[-1]
    assert before == 3
    assert surge >= 20
    assert any(decision.panic for t, decision in world.told if 200 <= t <= 206)
    # Panic ends a stable window after the last second over its threshold; nothing falls until then.
    held = world.run(265)
    assert held == sorted(held)
    assert world.run(400)[-1] == 3


def test_a_dip_shorter_than_the_delay_costs_no_pod() -> None:
    """Ten quiet seconds in a load of 14: with a scale-down delay of 60 s no one notices."""
    world = World(replace(SPEC, scale_down_delay=60.0), lambda t: 0 if 300 <= t < 310 else 14)
    assert world.run(299)[-1] == 10
    assert set(world.run(500)) == {10}
    assert "scale_down_delay" in world.rules(300)


def test_a_flash_crowd_at_zero_is_counted_at_once() -> None:
    """28 requests in one second at an idle Backend: 20 pods are set in that second, and none is taken back for a window."""
    world = World(SPEC, lambda t: 28 if 101 <= t < 110 else 0, cold_start=5)
    assert set(world.run(100)) == {0}
    assert world.run(101) == [20]
    assert set(world.run(160)) == {20}
    assert world.run(108 + 60 + 30 + 15)[-1] == 0


def test_a_flash_crowd_is_held_to_max() -> None:
    """The rest waits its turn."""
    world = World(replace(SPEC, max_scale=5), steady(28))
    assert set(world.run(100)[2:]) == {5}
    assert world.told[-1][1].reason.endswith("held to max 5")


def test_sparse_requests_keep_their_one_pod() -> None:
    """One request every 50 s never finds zero, though the Backend idles 49 seconds in 50."""
    world = World(SPEC, lambda t: int(t % 50 == 0))
    assert set(world.run(1000)[55:]) == {1}


def test_sparser_requests_wake_the_backend_each_time() -> None:
    """One every 200 s: a wake, a window, the grace, zero, and so on."""
    world = World(SPEC, lambda t: int(t % 200 < 5))
    counts = world.run(1000)
    wakes = [t for t, (one, two) in enumerate(pairwise(counts), start=2) if (one, two) == (0, 1)]
    assert wakes == [200, 400, 600, 800, 1000]


def test_zero_comes_after_the_window_and_the_grace_and_not_before() -> None:
    """The last request ends at 120: at 210 the pod may go, and it is gone a few beats later."""
    world = World(SPEC, lambda t: int(t <= 120))
    counts = world.run(240)
    assert set(counts[:210]) == {1}
    assert counts.index(0) + 1 <= 216


def test_many_pods_are_at_zero_within_window_grace_and_fifteen_seconds() -> None:
    """Panic and the rate take their time beside the grace, not after it."""
    world = World(replace(SPEC, max_scale=5), lambda t: 64 if t <= 100 else 0)
    assert world.run(100)[-1] == 5
    assert world.run(100 + 60 + 30 + 15)[-1] == 0


def test_a_request_that_comes_as_the_last_pod_drains_takes_it_back() -> None:
    """No cold start: the mark is removed instead."""
    world = World(SPEC, lambda t: int(t <= 120))
    while not any(pod.draining for pod in world.pods):
        world.run(world.t + 1)
    pods = [pod.uid for pod in world.pods]
    world.load = steady(1)
    world.run(world.t + 2)
    assert [(pod.uid, pod.draining) for pod in world.pods] == [(pods[0], False)]
    assert (world.in_flight, len(world.births)) == (1, 1)


def test_a_restart_under_load_changes_nothing() -> None:
    """The windows are empty and the first beats few; the pods stay."""
    world = World(SPEC, steady(14))
    assert world.run(301)[-1] == 10
    world.restart()
    assert set(world.run(500)) == {10}


def test_a_restart_does_not_scale_down_before_a_window_was_seen() -> None:
    """Load went while the autoscaler was away: it still looks for a minute before it acts."""
    world = World(SPEC, lambda t: 14 if t <= 300 else 1)
    world.run(300)
    world.restart()
    assert set(world.run(359)) == {10}
    assert world.run(400)[-1] == 1


@pytest.mark.parametrize(("back", "held_by"), [(320, "warming"), (380, "no_data")], ids=["shorter", "longer"])
def test_a_silent_gateway_costs_no_pod(back: int, held_by: str) -> None:
    """Beats missing under load for less than a window, whose gap then reads as zeros, or for more."""
    world = World(SPEC, steady(14), silent=range(300, back))
    assert world.run(299)[-1] == 10
    assert set(world.run(600)) == {10}
    assert held_by in world.rules(300)


def test_a_load_that_comes_and_goes_never_loses_a_request() -> None:
    """5 pods to 1 to 0 and back again and again; `World` fails if a busy pod is ended."""
    spec = replace(SPEC, stable_window=10.0, panic_window=2.0, scale_to_zero_grace_period=4.0, max_scale=5)
    world = World(spec, lambda t: (7, 7, 1, 1, 0, 0)[t // 20 % 6], cold_start=2)
    counts = world.run(1199)
    assert {0, 1, 5} <= set(counts)
    assert world.waiting == 0
