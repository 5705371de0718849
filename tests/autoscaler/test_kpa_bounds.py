"""decide, where people or others have a say: schedules, a clock that was set, pause, and `by: hpa`."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.decision import Decision, Observed
from autoscaler.demand import Reading
from autoscaler.kpa import State, decide
from autoscaler.schedules import Bounds
from autoscaler.spec import MetricSpec, ScalingSpec

SPEC = ScalingSpec(metrics=(MetricSpec("concurrency", "concurrency", total=1.0, target=0.7),))
HPA = replace(SPEC, by="hpa")
PAUSED = replace(SPEC, pause=True)
OFFICE = Bounds(floor=3, words="schedule 0 8 * * mon-fri to 0 18 * * mon-fri (Europe/Berlin)")
SALE = Bounds(fixed=4, words="schedule 0 0 26 11 * to 0 0 27 11 * (UTC)")


def seen(average: float | None, pods: int, panic: float | None = None, **now: Any) -> Observed:
    """`pods` are there and ready, unless `now` says otherwise."""
    reading = Reading(average, average if panic is None else panic)
    return Observed((reading,), **{"ready": pods, "replicas": pods, **now})


def settled(spec: ScalingSpec) -> State:
    """At time 0, a Backend that has seen whole windows and holds nothing."""
    state = State.initial(spec, 0, 0.0)
    return replace(state, panic_at=None, max_panic_pods=0, initialized=True, blind_at=-spec.stable_window)


def decided(spec: ScalingSpec, observed: Observed, now: float = 0.0, **state: Any) -> Decision:
    return decide(spec, replace(settled(spec), **state), observed, now)[1]


def test_a_schedules_floor_wakes_from_zero_ahead_of_requests() -> None:
    """And says which schedule it is."""
    decision = decided(SPEC, seen(0.0, 0, scheduled=OFFICE))
    assert (decision.desired, decision.rule) == (3, "schedule")
    assert decision.reason == (
        "0 in flight over 60 s want 0 at target 0.7, schedule 0 8 * * mon-fri to 0 18 * * mon-fri (Europe/Berlin) keeps 3"
    )


def test_above_a_floor_the_demand_decides() -> None:
    """Nothing is said of a schedule that changes nothing."""
    decision = decided(SPEC, seen(3.5, 5, scheduled=OFFICE))
    assert (decision.desired, decision.rule, "schedule" in decision.reason) == (5, "stable", False)


@pytest.mark.parametrize(("average", "pods"), [(0.0, 1), (7.0, 10)], ids=["more", "fewer"])
def test_a_fixed_count_is_kept_whatever_the_demand(average: float, pods: int) -> None:
    """More than it asks for, or fewer."""
    decision = decided(SPEC, seen(average, pods, scheduled=SALE))
    assert (decision.desired, decision.rule) == (4, "schedule")
    assert decision.reason.endswith(" (UTC) has 4")


def test_max_holds_over_schedules_and_the_larger_of_both_floors_counts() -> None:
    """A minimum of the Backend's own is no less a floor."""
    assert decided(replace(SPEC, max_scale=2), seen(0.0, 2, scheduled=OFFICE)).rule == "max_scale"
    assert decided(replace(SPEC, min_scale=5), seen(0.0, 5, scheduled=OFFICE)).rule == "min_scale"


def test_after_a_schedule_an_idle_backend_goes_its_usual_way() -> None:
    """What was wanted counts, not what was there: idle for the whole time, all go at once; with requests no faster than ever."""
    state = {"idle_since": -100.0}
    assert decided(SPEC, seen(0.0, 1, scheduled=Bounds()), **state).desired == 0
    assert decided(SPEC, seen(0.7, 8, scheduled=Bounds())).rule == "max_scale_down_rate"


def test_a_clock_that_was_set_lets_nothing_fall_for_a_window() -> None:
    """Neither the floor that is gone by it nor a smaller fixed count; and more is more at once."""
    gone = Bounds(set_at=0.0, set_by=36_000.0)
    decision = decided(SPEC, seen(0.7, 3, scheduled=gone), now=10.0)
    assert (decision.desired, decision.rule) == (3, "clock_set")
    assert decision.reason.endswith("the clock was set by +36000 s 10 s ago: holding 3")
    assert (
        decided(SPEC, seen(0.0, 9, scheduled=replace(SALE, set_at=0.0, set_by=-7.0)), now=10.0).desired == 9
    )
    assert decided(SPEC, seen(0.7, 1, scheduled=replace(OFFICE, set_at=0.0)), now=10.0).desired == 3
    assert decided(SPEC, seen(0.7, 3, scheduled=gone), now=60.0).desired == 1


@pytest.mark.parametrize("pods", [0, 3, 20])
def test_a_pause_keeps_what_is_there(pods: int) -> None:
    """Whoever has set it; what would be else is told as well."""
    decision = decided(PAUSED, seen(7.0, pods, ready=8, waiting=4))
    assert (decision.desired, decision.rule) == (pods, "paused")
    assert decision.reason.startswith(f"paused, staying at {pods}; else 10: ")


def test_a_pause_knows_what_it_will_do_next() -> None:
    """Panic, windows and wakes go on, so that the end of a pause is no restart."""
    state, decision = decide(PAUSED, settled(PAUSED), seen(0.0, 0, waiting=5), 0.0)
    assert decision.desired == 0
    assert decide(SPEC, state, seen(0.0, 0, waiting=5), 2.0)[1].desired == 8


def test_by_hpa_from_zero_goes_one() -> None:
    """However many wait: the HPA goes on from there."""
    decision = decided(HPA, seen(0.0, 0, waiting=28))
    assert (decision.desired, decision.rule) == (1, "wake")
    assert decision.reason == "28 queued and no pod ready: waking with 40, by hpa: starting with 1"


def test_by_hpa_activation_scale_and_min_are_started_with() -> None:
    """Whichever is more; `min` without being asked."""
    assert decided(replace(HPA, activation_scale=3), seen(0.0, 0, waiting=28)).desired == 3
    assert decided(replace(HPA, min_scale=2), seen(0.0, 0)).desired == 2


def test_by_hpa_a_sample_can_wake() -> None:
    """As without."""
    backlog = MetricSpec("prometheus backlog", "prometheus", total=10.0, target=10.0, interval=15.0)
    decision = decided(replace(HPA, metrics=(backlog,)), seen(70.0, 0))
    assert decision.desired == 1


@pytest.mark.parametrize("average", [0.1, 7.0, 700.0, None])
def test_by_hpa_what_is_there_stays(average: float | None) -> None:
    """Above `max`, below the demand, without data: it is another's."""
    decision = decided(replace(HPA, max_scale=2), seen(average, 4))
    assert (decision.desired, decision.rule) == (4, "by_hpa")
    assert decision.reason.startswith("by hpa: leaving 4; ")


def test_by_hpa_to_zero_go_all_after_window_and_grace() -> None:
    """No rate holds them, since the HPA would hold more than half of them for ever."""
    grace = decided(HPA, seen(0.0, 8), now=29.0, idle_since=0.0)
    assert (grace.desired, grace.rule) == (8, "by_hpa")
    assert grace.reason == "by hpa: leaving 8; idle for 29 s of 30 s grace, keeping 1"
    assert decided(HPA, seen(0.0, 8), now=30.0, idle_since=0.0).desired == 0
    assert decided(replace(HPA, min_scale=1), seen(0.0, 8), now=30.0, idle_since=0.0).desired == 8
    assert decided(HPA, seen(0.0, 8, missing="gateway gw-1"), now=30.0, idle_since=0.0).desired == 8
    assert decided(HPA, seen(0.0, 8, in_flight=1), now=30.0).desired == 8


def test_demand_does_not_depend_on_what_is_there() -> None:
    """Rates, panic and holds do, but another demand is what ends the stand of another hand's count."""
    assert [decided(SPEC, seen(2.0, pods)).demand for pods in (0, 1, 3, 20)] == [3, 3, 3, 3]
    assert decided(replace(SPEC, min_scale=4), seen(2.0, 1)).demand == 4
    assert decided(replace(SPEC, max_scale=2), seen(2.0, 1)).demand == 2
    assert decided(SPEC, seen(0.0, 1, scheduled=OFFICE)).demand == 3
    assert decided(SPEC, seen(9.0, 1, scheduled=SALE)).demand == 4
    assert decided(SPEC, seen(None, 1)).demand is None


COUNTS = st.integers(0, 12)
AVERAGES = st.one_of(st.none(), st.floats(0, 20))
CLOCKS = st.one_of(
    st.none(),
    st.builds(Bounds, floor=st.integers(1, 8), words=st.just("s")),
    st.builds(Bounds, fixed=st.integers(1, 8), words=st.just("s")),
)


OBSERVED = st.builds(
    lambda average, replicas, share, waiting, clock: seen(
        average, replicas, ready=replicas * share // 3, waiting=waiting, scheduled=clock
    ),
    AVERAGES,
    COUNTS,
    st.integers(0, 3),
    st.integers(0, 9),
    CLOCKS,
)


@given(OBSERVED, st.integers(0, 3), st.integers(0, 10))
def test_bounds_hold(observed: Observed, least: int, most: int) -> None:
    """`max` first, then what is fixed, then floors; whatever else is known. The demand keeps to them as well."""
    spec = replace(SPEC, min_scale=least, max_scale=max(least, most))
    decision, clock = decided(spec, observed), observed.scheduled
    top = spec.max_scale or 1000
    for pods in (decision.desired, decision.desired if decision.demand is None else decision.demand):
        if clock and clock.fixed:
            assert pods == min(clock.fixed, top)
        else:
            assert min(top, max(least, (clock and clock.floor) or 0)) <= pods <= top


@given(AVERAGES, COUNTS, COUNTS, st.integers(0, 9), st.booleans())
def test_by_hpa_there_are_three_moves(
    average: float | None, ready: int, replicas: int, waiting: int, idle: bool
) -> None:
    """None, from zero to one, and to zero while nobody asks."""
    observed = seen(average, replicas, ready=min(ready, replicas), waiting=waiting)
    desired = decided(HPA, observed, now=40.0, idle_since=0.0 if idle else None).desired
    if replicas == 0:
        assert desired in {0, 1}
    else:
        assert desired in {0, replicas}
    if desired < replicas:
        assert average == 0
        assert not waiting
