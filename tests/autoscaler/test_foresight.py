"""What would change a count: every number that is told holds, tried on `decide` from tick to tick."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.decision import Decision, Observed
from autoscaler.demand import Reading, asked, most_for
from autoscaler.foresight import Foresight, foresee
from autoscaler.kpa import TICK, State, decide
from autoscaler.schedules import Bounds
from autoscaler.spec import MetricSpec, ScalingSpec

START = 1_700_000_000.0
A_LITTLE = 1e-4
A_MOMENT = 0.01
"""Seconds: foresight looks a little behind the end of a hold."""
KINDS: dict[str, dict[str, Any]] = {
    "concurrency": {},
    "rps": {},
    "queue_wait": {"relative": True, "percentile": 95.0},
    "prometheus": {"interval": 15.0},
    "cpu": {"interval": 15.0},
}


def metric(kind: Any, target: float) -> MetricSpec:
    return MetricSpec(kind, kind, target / 0.7, target, **KINDS[kind])


@st.composite
def specs(draw: st.DrawFn) -> ScalingSpec:
    kinds = draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=3, unique=True))
    return ScalingSpec(
        metrics=tuple(metric(kind, draw(st.sampled_from([0.5, 0.7, 3.0, 50.0]))) for kind in kinds),
        min_scale=draw(st.integers(0, 2)),
        max_scale=draw(st.sampled_from([0, 3, 10])),
        initial_scale=draw(st.sampled_from([0, 0, 2])),
        activation_scale=draw(st.sampled_from([0, 0, 3])),
        stable_window=draw(st.sampled_from([10.0, 60.0])),
        panic_window=draw(st.sampled_from([2.0, 6.0])),
        max_scale_up_rate=draw(st.sampled_from([1.1, 1000.0])),
        max_scale_down_rate=draw(st.sampled_from([1.1, 2.0])),
        scale_down_delay=draw(st.sampled_from([0.0, 0.0, 7.0, 40.0])),
        scale_to_zero_grace_period=draw(st.sampled_from([4.0, 30.0])),
        scale_to_zero_pod_retention_period=draw(st.sampled_from([0.0, 50.0])),
        by=draw(st.sampled_from(["tidegate", "tidegate", "hpa"])),
    )


clocks = st.none() | st.builds(
    Bounds,
    floor=st.sampled_from([None, 2]),
    fixed=st.sampled_from([None, 3]),
    set_at=st.sampled_from([None, START]),
)
Stage = tuple[ScalingSpec, State, Decision, float]


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    """A Backend after some ticks of whatever load, and the moment at which somebody asks."""
    spec = draw(specs())
    ready, now = draw(st.integers(0, 4)), START
    state = State.initial(spec, ready, now)
    loads = st.sampled_from([0.0, 0.0, 0.3, 0.93, 1.0, 1.7, 5.0])
    replicas, clock = ready, draw(clocks)
    for _ in range(draw(st.integers(1, 6))):
        times = [draw(loads) for _ in spec.metrics]
        readings = tuple(
            Reading(times[i] * m.target, draw(st.sampled_from([times[i], draw(loads)])) * m.target)
            for i, m in enumerate(spec.metrics)
        )
        busy = draw(st.sampled_from([0, 0, 2]))
        observed = Observed(
            readings,
            ready,
            replicas,
            in_flight=busy if ready else 0,
            waiting=0 if ready else busy,
            scheduled=clock,
        )
        for _ in range(draw(st.integers(1, 40))):
            state, decision = decide(spec, state, observed, now)
            now += TICK
            observed = replace(observed, replicas=decision.desired)
        ready, replicas = draw(st.sampled_from([ready, decision.desired])), decision.desired
    return spec, state, decision, now - TICK + draw(st.sampled_from([0.0, 1.3]))


def values(decision: Decision, wanted: dict[str, float], **changes: Any) -> Observed:
    """The decision's observations with other values of some metrics, once its count has been set."""
    readings = tuple(
        Reading(wanted[m.name], wanted[m.name]) if m.name in wanted else reading
        for m, reading in zip(decision.metrics, decision.observed.readings, strict=True)
    )
    return replace(decision.observed, readings=readings, replicas=decision.desired, **changes)


def ticks(stage: Stage, observed: Observed, begin: float, seconds: float = 250.0) -> tuple[float, int] | None:
    """When the count falls for the first time, and to what; None when it does not."""
    spec, state, decision, _ = stage
    for step in range(int(seconds / TICK)):
        state, new = decide(spec, state, observed, begin + step * TICK)
        if new.desired < decision.desired:
            return begin + step * TICK, new.desired
    return None


def seen(stage: Stage) -> Foresight:
    return foresee(*stage)


def holds(check: Callable[[Stage], None]) -> Callable[[], None]:
    @settings(max_examples=150, deadline=None)
    @given(stages())
    def test(stage: Stage) -> None:
        check(stage)

    test.__doc__ = check.__doc__
    return test


@holds
def test_more_than_it_says_adds_a_pod_and_less_does_not(stage: Stage) -> None:
    """Of each metric by itself, a little above and a little below."""
    spec, state, decision, now = stage
    for limit in seen(stage).more:
        above = values(
            decision, {limit.metric.name: limit.value * (1 + A_LITTLE) or A_LITTLE * limit.metric.target}
        )
        below = values(decision, {limit.metric.name: limit.value * (1 - A_LITTLE)})
        assert decide(spec, state, above, now)[1].desired > decision.desired
        assert decide(spec, state, below, now)[1].desired <= decision.desired


@holds
def test_no_load_adds_a_pod_where_none_is_told(stage: Stage) -> None:
    """Neither of a metric, nor, at zero, a request."""
    spec, state, decision, now = stage
    told = seen(stage)
    if not told.more and decision.desired:
        flood = values(decision, {m.name: 1e9 for m in spec.metrics})
        assert decide(spec, state, flood, now)[1].desired <= decision.desired
    woken = decide(spec, state, values(decision, {}, waiting=1), now)[1].desired
    assert told.woken == (woken > 0 and not decision.desired)


@holds
def test_the_count_falls_when_it_says_with_the_load_as_it_is(stage: Stage) -> None:
    """Not a tick before, and to the number that it says."""
    told, (_, _, decision, now) = seen(stage), stage
    fell = ticks(stage, values(decision, {}), now)
    if told.fall is None:
        assert fell is None or not decision.desired
    else:
        assert fell is not None
        assert told.fall.at - A_MOMENT <= fell[0] <= told.fall.at + 2 * TICK
        assert fell[1] <= told.fall.pods


@holds
def test_less_than_it_says_lets_one_go_and_a_little_more_keeps_all(stage: Stage) -> None:
    """Each of the metrics that it names can keep them, and together they let go."""
    told, (_, _, decision, now) = seen(stage), stage
    low = {limit.metric.name: limit.value * (1 - A_LITTLE) for limit in told.less}
    for limit in told.less:
        fell = ticks(stage, values(decision, low), now)
        assert fell is not None
        assert told.less_after is None or fell[0] >= told.less_after.at - A_MOMENT
        kept = values(decision, low | {limit.metric.name: limit.value * (1 + A_LITTLE)})
        assert ticks(stage, kept, now) is None


@holds
def test_without_any_load_the_count_falls_when_it_says_or_not_at_all(stage: Stage) -> None:
    """A window after the last of it."""
    told, (spec, _, decision, now) = seen(stage), stage
    nothing = values(decision, {m.name: 0.0 for m in spec.metrics}, in_flight=0, waiting=0, quiet=True)
    begin = now + spec.stable_window
    fell = ticks(stage, nothing, begin)
    if told.empty:
        assert fell is not None
        assert told.empty.at - A_MOMENT <= fell[0] <= told.empty.at + 2 * TICK
    elif decision.desired and not told.fall and not told.less:
        assert fell is None


@pytest.mark.parametrize("unready", [0, 1, 5])
@pytest.mark.parametrize("relative", [False, True])
def test_the_most_for_some_pods_is_asking_the_other_way_round(relative: bool, unready: int) -> None:
    """Up to it a metric wants no more than so many; beyond it more."""
    spec = replace(metric("concurrency", 0.7), relative=relative)
    for ready in range(12):
        for pods in range(1, 30):
            there = ready, ready + unready
            limit = most_for(spec, pods, *there)
            assert asked(spec, limit * (1 - 1e-9), *there) <= pods < asked(spec, limit * (1 + 1e-9), *there)


def test_nothing_is_told_of_going_down_without_data() -> None:
    """It would not go."""
    spec = ScalingSpec(metrics=(metric("concurrency", 1.0), metric("cpu", 1.0)))
    state = State.initial(spec, 2, START)
    observed = Observed((Reading(3.0, 3.0), Reading(None, None, "cpu since 20 s")), ready=2, replicas=3)
    state, decision = decide(spec, state, observed, START)
    told = foresee(spec, state, decision, START)
    assert told.more == ((spec.metrics[0], 3.0),)
    assert (told.fall, told.less, told.empty) == (None, (), None)


def test_a_metric_without_requests_can_wake() -> None:
    """Beside a request."""
    spec = ScalingSpec(metrics=(metric("prometheus", 10.0),))
    state = State.initial(spec, 0, START)
    state, decision = decide(spec, state, Observed((Reading(0.0, 0.0),), ready=0, replicas=0), START)
    told = foresee(spec, state, decision, START)
    assert (told.woken, told.more) == (True, ((spec.metrics[0], 0.0),))


def test_pods_that_are_not_there_wake_nobody() -> None:
    """Their cpu is 0 and stays so."""
    spec = ScalingSpec(metrics=(metric("cpu", 0.5),))
    state = State.initial(spec, 0, START)
    state, decision = decide(spec, state, Observed((Reading(0.0, 0.0),), ready=0, replicas=0), START)
    told = foresee(spec, state, decision, START)
    assert (told.woken, told.more) == (True, ())
