"""Why there are N pods and what would change it, in sentences."""

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.decision import Decision, Observed
from autoscaler.demand import Reading
from autoscaler.explain import Explanation, Situation, explain
from autoscaler.hands import Change
from autoscaler.kpa import TICK, State, decide
from autoscaler.plan import PodState, TargetState, Unknown
from autoscaler.schedules import Bounds
from autoscaler.spec import MetricSpec, ScalingSpec

START = 1_700_000_000.0
CONCURRENCY = MetricSpec("concurrency", "concurrency", 10.0, 7.0)
RPS = MetricSpec("rps", "rps", 70.0, 50.0)
CPU = MetricSpec("cpu", "cpu", 1.0, 0.7, interval=15.0)
SPEC = ScalingSpec(metrics=(CONCURRENCY,))


def pods(ready: int, starting: int = 0, draining: int = 0, in_flight: int = 0) -> tuple[PodState, ...]:
    return (
        *(PodState(f"r{i}", ready=True, draining=False) for i in range(ready)),
        *(PodState(f"s{i}", ready=False, draining=False) for i in range(starting)),
        *(PodState(f"d{i}", ready=True, draining=True, in_flight=in_flight) for i in range(draining)),
    )


class Story:
    """A Backend from its start on."""

    def __init__(self, spec: ScalingSpec = SPEC, ready: int = 0) -> None:
        self.spec, self.now, self.count = spec, START, ready
        self.state = State.initial(spec, ready, START)
        self.decision: Decision | None = None

    def see(
        self, *values: float | None, seconds: float = 0.0, ready: int | None = None, **more: Any
    ) -> "Story":
        """The same for so long; both windows read the same."""
        readings = tuple(Reading(value, value) for value in values)
        for _ in range(1 + int(seconds / TICK)):
            there = self.count if ready is None else ready
            observed = Observed(readings, there, self.count, **more)
            self.state, self.decision = decide(self.spec, self.state, observed, self.now)
            self.count = self.decision.desired
            self.now += TICK
        self.now -= TICK
        return self

    def told(self, there: TargetState | Unknown | None = None, **more: Any) -> Explanation:
        there = there or TargetState(self.count, pods(self.count))
        return explain(Situation(self.spec, there, self.decision, self.state, self.now, **more))

    def changes(self) -> list[str]:
        return self.told().would_change.split("; ")


def test_a_steady_load_has_a_limit_above_and_one_below() -> None:
    """In the metric's own words."""
    told = Story().see(12.0, seconds=120, in_flight=12).told()
    assert told.why == "2 pods: 12 in flight over 60 s want 2 at target 7"
    assert told.would_change == (
        "more than 14 in flight over 60 s would add a pod; fewer than 7 in flight over 60 s would let one go"
    )


def test_of_several_metrics_any_can_add_and_those_that_hold_must_all_fall() -> None:
    """One that wants fewer pods anyway is not asked to fall."""
    story = Story(replace(SPEC, metrics=(CONCURRENCY, RPS, CPU))).see(12.0, 90.0, 0.5, seconds=120)
    assert story.changes() == [
        "more than 14 in flight or more than 100 requests/s or cpu above 1.4 cores over 60 s would add a pod",
        "fewer than 7 in flight and fewer than 50 requests/s over 60 s would let one go",
    ]


def test_at_zero_a_request_wakes() -> None:
    """And nothing else is said of a metric that only requests move."""
    told = Story().see(0.0, seconds=120).told()
    assert told == ("0 pods: idle: no request in 60 s, staying at 0", "a request would wake it")


def test_at_zero_a_query_wakes_as_well() -> None:
    """If the Backend scales on one."""
    query = MetricSpec("prometheus jobs", "prometheus", 10.0, 10.0, interval=15.0)
    story = Story(replace(SPEC, metrics=(CONCURRENCY, query))).see(0.0, 0.0, seconds=120)
    assert story.changes() == [
        "a request would wake it",
        "prometheus jobs above 0 over 60 s would wake it",
    ]


def test_panic_is_told_with_its_end() -> None:
    """The load is gone, the pods are held."""
    story = Story().see(12.0, seconds=120).see(70.0, ready=2).see(20.0, seconds=20)
    assert story.told().why.startswith("10 pods: panic: 20 in flight over 60 s want 3")
    assert story.changes()[1] == "as things are, it goes to 5 in 40 s, after the panic"


def test_a_delay_is_told_with_its_end() -> None:
    """scale_down_delay."""
    story = Story(replace(SPEC, scale_down_delay=90.0)).see(12.0, seconds=120).see(3.0, seconds=20)
    assert story.changes()[1] == "as things are, it goes to 1 in 70 s, after scale_down_delay"


def test_the_last_pod_is_told_when_it_goes() -> None:
    """Busy: without load; idle: as things are."""
    story = Story().see(3.0, seconds=120)
    assert story.changes()[1] == "without any load it goes to 0 in 90 s, after the grace period"
    story.see(0.0, seconds=10)
    assert story.changes()[1] == "as things are, it goes to 0 in 20 s, after the grace period"


@pytest.mark.parametrize(
    ("spec", "load", "says"),
    [
        (replace(SPEC, min_scale=2), 3.0, "none goes, since min is 2"),
        (replace(SPEC, max_scale=3), 90.0, "no load adds a pod, since max is 3"),
    ],
    ids=["min", "max"],
)
def test_a_bound_is_told(spec: ScalingSpec, load: float, says: str) -> None:
    """What it keeps from happening."""
    assert says in Story(spec).see(load, seconds=120).changes()


def test_initial_scale_is_told_until_it_was_reached() -> None:
    """Nothing goes before."""
    story = Story(replace(SPEC, initial_scale=3)).see(0.0, seconds=120, ready=1)
    assert story.changes()[1] == "none goes before 3 were ready once, since that is initial_scale"


def test_a_rate_is_told() -> None:
    """It allows more once there is more."""
    story = Story(replace(SPEC, max_scale_up_rate=1.5), ready=2).see(90.0, ready=2)
    assert story.changes()[0] == "max_scale_up_rate allows more once those that start are ready"


def test_missing_data_are_told() -> None:
    """Nothing goes without them."""
    story = Story(ready=2).see(None, missing="gateway gw-1 since 6 s")
    assert story.told() == (
        "2 pods: no data from gateway gw-1 since 6 s: holding 2",
        "what would add a pod is not known without data; none goes before there are data",
    )


def test_a_metric_without_data_is_named_where_another_one_decides() -> None:
    """The count stands by the other one, so its reason does not say what keeps pods from going."""
    story = Story(replace(SPEC, metrics=(CONCURRENCY, CPU))).see(12.0, 0.1, seconds=120)
    story.see(12.0, None, missing="cpu since 46 s (no answer)")
    told = story.told()
    assert told.why == "2 pods: 12 in flight over 60 s want 2 at target 7"
    assert told.would_change == (
        "more than 14 in flight over 60 s would add a pod; none goes: no data from cpu since 46 s (no answer)"
    )


def test_at_zero_it_is_told_what_might_wake_it_but_is_not_known() -> None:
    """A query that fails would else look like one that asks for nothing."""
    query = MetricSpec("prometheus jobs", "prometheus", 10.0, 10.0, interval=15.0)
    story = Story(replace(SPEC, metrics=(CONCURRENCY, query))).see(0.0, 0.0, seconds=120)
    story.see(0.0, None, missing="prometheus jobs since 46 s (no answer)")
    assert story.told() == (
        "0 pods: idle: nothing to do in 60 s, staying at 0, no data from prometheus jobs since 46 s (no answer)",
        "a request would wake it",
    )


def test_the_rate_of_the_way_down_is_told() -> None:
    """Pods that are on their way out still count for it, so the next ones go later, without any other change."""
    story = Story().see(12.0, seconds=120).see(0.0)
    assert story.told().why.endswith("falling no faster than to 1")
    assert story.changes()[1] == "max_scale_down_rate allows fewer once those that go are gone"


def test_what_is_under_way_is_told() -> None:
    """Pods that start, pods that drain, a count that cannot be set, and who else sets it."""
    story = Story().see(27.0, seconds=120)
    there = TargetState(3, pods(1, starting=1, draining=2, in_flight=1))
    told = story.told(there, error="exceeded quota:\n pods 3", leads=False).why
    assert told.split("; ")[1:] == [
        "the count is still 3",
        "1 of 3 is starting",
        "2 drain until 2 requests end",
        "setting the count failed: exceeded quota: pods 3",
        "another autoscaler leads and sets the count",
    ]
    assert "1 drains and may end" in story.told(TargetState(4, pods(4, draining=1))).why
    assert "2 of 4 are starting" in story.told(TargetState(4, pods(2))).why


EVENING = 1_700_071_200.0
CLOCK = "schedule 0 8 * * * to 0 18 * * * (UTC)"


@pytest.mark.parametrize(
    ("clock", "says"),
    [
        (Bounds(floor=4, words=CLOCK, until=EVENING), ["none goes, since a schedule keeps 4"]),
        (
            Bounds(fixed=4, words=CLOCK, until=EVENING),
            ["no load adds a pod, since a schedule fixes them at 4", "none goes"],
        ),
    ],
    ids=["floor", "fixed"],
)
def test_a_schedule_is_told_until_it_changes(clock: Bounds, says: list[str]) -> None:
    """With what it keeps from happening."""
    changes = Story().see(12.0, seconds=120, scheduled=clock).changes()
    assert changes[-1 - len(says) :] == [*says, "schedules change at 2023-11-15 18:00 UTC"]


def test_the_clocks_setting_is_a_hold() -> None:
    """The count may fall by it once a window has passed."""
    story = Story().see(40.0, seconds=120)
    story.see(12.0, scheduled=Bounds(floor=2, set_at=story.now, set_by=3600.0))
    assert "as things are, it goes to 3 in 60 s, after the window since the clock was set" in story.changes()


def test_another_scaler_is_told() -> None:
    """It has the count from one pod on; the way to zero stays ours."""
    story = Story(replace(SPEC, by="hpa"), ready=3).see(12.0, seconds=120, ready=3)
    assert story.changes() == [
        "another scaler adds pods (`by: hpa`)",
        "without any load it goes to 0 in 90 s, after the grace period",
    ]


def test_what_goes_before_any_load_is_told() -> None:
    """A pause, a hand whose count stands, one that contests it."""
    paused = Story(replace(SPEC, pause=True)).see(12.0, seconds=120).told()
    assert paused.would_change == "taking `pause` out of the configuration"
    story = Story().see(12.0, seconds=120)
    stands = story.told(hand=Change(2, 5, "kubectl-scale", START))
    assert stands.why.endswith("; kubectl-scale has set the count from 2 to 5: that stands")
    assert stands.would_change.startswith("a demand for another number of pods")
    contested = story.told(contester="argocd")
    assert contested.why.endswith("; argocd contests the count, which is 2")
    assert contested.would_change.startswith("argocd leaving the count alone for ten minutes")


def test_pods_that_cannot_be_made_are_told() -> None:
    """As the cluster says it."""
    there = TargetState(2, pods(1), stuck="exceeded quota: pods=1")
    assert (
        Story()
        .see(12.0, seconds=120)
        .told(there)
        .why.endswith("; 1 of 2 is starting; it cannot make its pods: exceeded quota: pods=1")
    )


def test_what_is_not_known_is_told() -> None:
    """The target, or any decision."""
    told = Story().told(Unknown("waiting: deployment models/iris does not exist"))
    assert told.why == "nothing is decided: waiting: deployment models/iris does not exist"
    assert Story().told().why == "nothing was decided yet"


def test_a_removed_backend_drains() -> None:
    """Whatever was decided before."""
    told = Story().see(12.0, seconds=120).told(TargetState(1, pods(0, draining=1, in_flight=1)), removed=True)
    assert told == (
        "it was removed from the configuration, 1 pod is left to drain; 1 drains until 1 request ends",
        "naming it in the configuration again",
    )


def test_pods_that_others_run_are_not_changed_here() -> None:
    """The decision is for show."""
    told = Story().see(12.0, seconds=120).told(TargetState(1, pods(1), fixed=True))
    assert told.would_change == "nothing here: others run these pods"
    assert "still" not in told.why
