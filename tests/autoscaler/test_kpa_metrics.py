"""decide over several metrics at once: the largest demand counts, and missing data of any never scale down."""

import math
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.decision import Decision, Observed
from autoscaler.demand import Reading
from autoscaler.kpa import State, decide
from autoscaler.spec import MetricSpec, ScalingSpec

EPOCH = 1_700_000_000.0
CONCURRENCY = MetricSpec("concurrency", "concurrency", 1, 0.7)
RPS = MetricSpec("rps", "rps", 200, 140)
WAIT = MetricSpec("queue_wait_p95", "queue_wait", 0.5, 0.5, relative=True, percentile=95)
CPU = MetricSpec("cpu", "cpu", 0.7, 0.7, interval=15)
QUERY = MetricSpec("prometheus backlog", "prometheus", 10, 10, interval=15)
LOST = Reading(None, None, "prometheus backlog since 50 s (connection refused)")


def both(value: float) -> Reading:
    """Both windows reading the same."""
    return Reading(value, value)


def decided(
    metrics: tuple[MetricSpec, ...],
    readings: tuple[Reading, ...],
    ready: int,
    replicas: int | None = None,
    **now: Any,
) -> Decision:
    """Of a Backend that has seen whole windows and holds nothing."""
    spec = ScalingSpec(metrics=metrics)
    state = replace(State.initial(spec, 0, 0.0), initialized=True, blind_at=-60.0)
    observed = Observed(readings, ready, ready if replicas is None else replicas, **now)
    return decide(spec, state, observed, 0.0)[1]


def test_the_largest_demand_decides_and_the_others_are_named() -> None:
    """3.2 in flight want 5 pods, 200 requests/s want 2."""
    decision = decided((RPS, CONCURRENCY), (both(200), both(3.2)), ready=4)
    assert (decision.desired, decision.wanted, decision.rule) == (5, 5, "stable")
    assert decision.reason == "3.2 in flight over 60 s want 5 at target 0.7; rps wants 2"


def test_what_rules_add_stands_before_the_others() -> None:
    """So that it reads as being about the count."""
    decision = decided((CONCURRENCY, CPU), (both(0.7), both(0.1)), ready=5)
    assert decision.reason == (
        "0.7 in flight over 60 s want 1 at target 0.7, falling no faster than to 2; cpu wants 1"
    )


def test_a_level_is_kept_by_what_is_ready() -> None:
    """Waits of twice the target: twice the pods."""
    decision = decided((CONCURRENCY, WAIT), (both(1.4), Reading(0.9, 0.5)), ready=3)
    assert decision.desired == 6
    assert decision.reason == (
        "queue_wait_p95 of 0.9 s over 60 s wants 6 at target 0.5 s; concurrency wants 2"
    )


def test_a_level_at_its_target_keeps_pods_that_are_not_ready_for_once() -> None:
    """Three of five fail a readiness probe: that is no reason to take them away, nor for panic."""
    spec = ScalingSpec(metrics=(WAIT,))
    seen = Observed((both(0.5),), ready=2, replicas=5)
    decision = decide(spec, replace(State.initial(spec, 0, EPOCH), blind_at=0.0), seen, EPOCH)[1]
    assert (decision.desired, decision.panic) == (5, False)


def test_any_metric_may_bring_panic() -> None:
    """And the reason of a panic names what the panic window saw."""
    decision = decided((CONCURRENCY, RPS), (both(0.7), Reading(140, 700)), ready=1)
    assert (decision.desired, decision.panic) == (5, True)
    assert decision.reason == "panic: 700 requests/s over 6 s want 5 at target 140; concurrency wants 1"


def test_missing_data_of_one_metric_hold_the_count() -> None:
    """Whatever the others say; the reason names which and why."""
    decision = decided((CONCURRENCY, QUERY), (both(0.7), LOST), ready=3)
    assert (decision.desired, decision.wanted, decision.rule) == (3, 1, "no_data")
    assert decision.reason.endswith(
        "no data from prometheus backlog since 50 s (connection refused): holding 3"
    )


def test_with_one_metric_missing_the_others_may_ask_for_more() -> None:
    """They are a lower bound."""
    assert decided((CONCURRENCY, QUERY), (both(3.5), LOST), ready=3).desired == 5


def test_a_sample_that_is_missing_leaves_no_gap_to_wait_out() -> None:
    """Unlike a gateway's silence, which reads as zeros: once it is back, the count may fall."""
    spec = ScalingSpec(metrics=(CONCURRENCY, QUERY))
    state = replace(State.initial(spec, 0, 0.0), initialized=True, blind_at=-60.0)
    state, _ = decide(spec, state, Observed((both(0.7), LOST), 3, 3), 0.0)
    assert decide(spec, state, Observed((both(0.7), both(0.0)), 3, 3), 2.0)[1].desired == 1


def test_a_missing_metric_keeps_the_last_pod_and_starts_the_grace_anew() -> None:
    """It may hide work."""
    spec = ScalingSpec(metrics=(CONCURRENCY, QUERY))
    state = replace(State.initial(spec, 0, 0.0), initialized=True, blind_at=-60.0)
    idle = (both(0.0), both(0.0))
    state, _ = decide(spec, state, Observed(idle, 1, 1), 0.0)
    state, decision = decide(spec, state, Observed((both(0.0), LOST), 1, 1), 29.0)
    assert (decision.desired, decision.rule) == (1, "no_data")
    state, decision = decide(spec, state, Observed(idle, 1, 1), 31.0)
    assert (decision.desired, decision.rule) == (1, "grace")
    assert decide(spec, state, Observed(idle, 1, 1), 61.0)[1].reason == (
        "idle: nothing to do in 60 s and 30 s grace, going to 0"
    )


def test_everything_that_is_missing_is_told() -> None:
    """Gateways and samples in one sentence."""
    readings = (Reading(None, None), LOST)
    decision = decided((CONCURRENCY, QUERY), readings, ready=2, missing="gateway gw-1 since 6 s")
    assert decision.reason == (
        "no data from gateway gw-1 since 6 s, prometheus backlog since 50 s (connection refused): holding 2"
    )


def test_a_query_wakes_from_zero() -> None:
    """No request need come."""
    decision = decided((CONCURRENCY, QUERY), (both(0.0), both(25.0)), ready=0)
    assert (decision.desired, decision.rule) == (3, "stable")


def test_without_concurrency_a_wake_is_of_one_pod() -> None:
    """How much each pod can take is not known from a queue."""
    assert decided((RPS, QUERY), (both(0.0), both(0.0)), ready=0, waiting=9).desired == 1
    assert decided((RPS, CONCURRENCY), (both(0.0), both(0.0)), ready=0, waiting=7).desired == 10


def test_cpu_alone_keeps_no_pod_of_a_quiet_backend() -> None:
    """A pod that does nothing uses some."""
    story = {}
    spec = ScalingSpec(metrics=(CPU,))
    state = replace(State.initial(spec, 0, 0.0), initialized=True, blind_at=-60.0)
    for now in (0.0, 29.0, 30.0):
        state, decision = decide(spec, state, Observed((both(0.01),), 1, 1, quiet=True), now)
        story[now] = decision.desired
    assert story == {0.0: 1, 29.0: 1, 30.0: 0}
    assert decide(spec, state, Observed((both(0.01),), 1, 1), 60.0)[1].desired == 1


def test_excess_burst_capacity_is_of_the_first_metric_that_counts_requests() -> None:
    """2 pods of 200 rps less 211 less 50; without such a metric, or its data, there is none."""
    assert decided((WAIT, RPS, CONCURRENCY), (both(0), both(50), both(1)), 2).excess_burst_capacity == 139
    assert decided((WAIT, CPU), (both(0), both(1)), 2).excess_burst_capacity is None
    assert decided((CPU, RPS), (both(1), Reading(None, None)), 2).excess_burst_capacity is None


# Laws

METRICS = (CONCURRENCY, RPS, WAIT, CPU, QUERY)
specs = st.builds(
    ScalingSpec,
    metrics=st.lists(st.sampled_from(METRICS), min_size=1, max_size=4, unique=True).map(tuple),
    min_scale=st.integers(0, 3),
    max_scale=st.sampled_from([0, 3, 20]),
    initial_scale=st.integers(0, 3),
    activation_scale=st.sampled_from([0, 4]),
    stable_window=st.sampled_from([6.0, 60.0]),
    panic_threshold=st.sampled_from([1.1, 2.0]),
    max_scale_up_rate=st.sampled_from([1.1, 1000.0]),
    max_scale_down_rate=st.sampled_from([1.5, 10.0]),
    scale_down_delay=st.sampled_from([0.0, 10.0]),
    scale_to_zero_grace_period=st.sampled_from([0.0, 30.0]),
    reachable=st.booleans(),
)
amounts = st.just(0.0) | st.floats(0, 300)
known = st.tuples(amounts, amounts)


@st.composite
def moments(draw: st.DrawFn) -> tuple[float, dict[str, Any], dict[str, Any], int]:
    """A pause, what each metric reads, the counts, and how many of the pods that are set are not ready."""
    reads = {metric.name: draw(st.none() | known | known) for metric in METRICS}
    now = {
        "in_flight": draw(st.integers(0, 3)),
        "waiting": draw(st.sampled_from([0, 0, 1, 9])),
        "missing": draw(st.sampled_from(["", "", "gateway gw-1 since 6 s"])),
        "quiet": draw(st.booleans()),
    }
    return draw(st.sampled_from([0.1, 2.0, 30.0])), reads, now, draw(st.integers(0, 3))


def seen(
    spec: ScalingSpec, reads: dict[str, Any], ready: int, replicas: int, now: dict[str, Any]
) -> Observed:
    readings = tuple(Reading(*(reads[metric.name] or (None, None))) for metric in spec.metrics)
    return Observed(readings, ready, replicas, **now)


def lived(spec: ScalingSpec, initial: int, story: list[Any]) -> tuple[State, list[Decision]]:
    """The decisions of a story in which each count decided on is what is there at the next."""
    now, replicas = EPOCH, initial
    state = State.initial(spec, initial, now)
    decisions = []
    for pause, reads, counts, unready in story:
        now += pause
        observed = seen(spec, reads, max(0, replicas - unready), replicas, counts)
        state, decision = decide(spec, state, observed, now)
        decisions.append(decision)
        replicas = decision.desired
    return state, decisions


stories = st.lists(moments(), min_size=1, max_size=8)


@given(spec=specs, initial=st.integers(0, 12), story=stories)
def test_the_count_stays_within_bounds_and_never_falls_in_panic_or_on_missing_data(
    spec: ScalingSpec, initial: int, story: list[Any]
) -> None:
    """Of whichever metric; a maximum is a person's word."""
    for decision in lived(spec, initial, story)[1]:
        there, most = decision.observed.replicas, spec.max_scale or math.inf
        assert min(spec.min_scale, most) <= decision.desired <= most
        if decision.panic or decision.observed.absence:
            assert decision.desired >= min(there, most)
        assert decision.reason


@given(spec=specs, initial=st.integers(0, 12), story=stories, which=st.sampled_from(METRICS), more=known)
def test_more_load_on_any_metric_never_means_fewer_pods(
    spec: ScalingSpec, initial: int, story: list[Any], which: MetricSpec, more: tuple[float, float]
) -> None:
    """From one state, one metric reading more gives at least as many."""
    state, decisions = lived(spec, initial, story)
    pause, reads, counts, unready = story[-1]
    replicas = decisions[-1].desired
    before = reads[which.name] or (0.0, 0.0)
    desired = []
    for values in (before, (before[0] + more[0], before[1] + more[1])):
        observed = seen(spec, {**reads, which.name: values}, max(0, replicas - unready), replicas, counts)
        desired.append(decide(spec, state, observed, decisions[-1].at + pause)[1].desired)
    assert desired == sorted(desired)


@given(
    spec=specs,
    extra=st.sampled_from(METRICS),
    initial=st.integers(0, 12),
    story=stories,
    place=st.integers(0, 4),
)
def test_another_metric_never_means_fewer_pods(
    spec: ScalingSpec, extra: MetricSpec, initial: int, story: list[Any], place: int
) -> None:
    """Wherever it is named, and whatever it reads, while both see the same pods."""
    if extra in spec.metrics:
        return
    metrics = (*spec.metrics[:place], extra, *spec.metrics[place:])
    wider = replace(spec, metrics=metrics)
    now, state, other = EPOCH, State.initial(spec, initial, EPOCH), State.initial(wider, initial, EPOCH)
    for pause, reads, counts, unready in story:
        now += pause
        ready = max(0, initial - unready)
        state, few = decide(spec, state, seen(spec, reads, ready, initial, counts), now)
        other, many = decide(wider, other, seen(wider, reads, ready, initial, counts), now)
        assert few.desired <= many.desired


@given(
    value=st.floats(0, allow_infinity=False) | st.sampled_from([1e308, 5e-324]),
    target=st.sampled_from([5e-324, 0.01, 1e12, 1e308]),
    rate=st.sampled_from([math.nextafter(1.0, 2.0), 1.1, 1e308]),
    ready=st.integers(0, 9),
    relative=st.booleans(),
)
def test_no_number_is_too_large_or_too_small_to_decide_on(
    value: float, target: float, rate: float, ready: int, relative: bool
) -> None:
    """What a query may say, and a configuration: there are at most a million pods."""
    metric = MetricSpec("m", "prometheus", target, target, relative=relative, interval=5.0)
    spec = ScalingSpec(metrics=(metric,), max_scale_up_rate=rate, max_scale_down_rate=rate)
    observed = Observed((Reading(value, value),), ready, ready)
    _, decision = decide(spec, State.initial(spec, ready, EPOCH), observed, EPOCH)
    assert 0 <= decision.desired <= 1_000_000
    assert decision.reason
