"""decide: Knative's algorithm to the last digit, then holds, bounds and the way to zero, each with its reason."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.decision import Decision, Observed
from autoscaler.demand import Reading
from autoscaler.kpa import State, decide
from autoscaler.spec import MetricSpec, ScalingSpec

EPOCH = 1_700_000_000.0
GOLDEN = Path(os.environ.get("TIDEGATE_GOLDEN") or Path(__file__).parents[1] / "golden")
TRACES = json.loads((GOLDEN / "kpa_decide.json").read_text())


def on(target: float, total: float = 1.0, kind: Any = "concurrency") -> tuple[MetricSpec, ...]:
    """To scale on one metric."""
    return (MetricSpec(kind, kind, total, target),)


SPEC = ScalingSpec(metrics=on(0.7))


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: f"seed-{trace['seed']}")
def test_knative_golden_kpa_decide(trace: dict[str, Any]) -> None:
    """Every decision of a recorded trace comes out as Knative gave it."""
    words = dict(trace["spec"])
    spec = ScalingSpec(metrics=on(words.pop("target"), words.pop("total")), **words)
    state = State.initial(spec, trace["initial_ready"], EPOCH + trace["start"])
    for step in trace["steps"]:
        observed = observe(step["stable"], step["panic"], step["ready"], replicas=step["ready"])
        state, decision = decide(spec, state, observed, EPOCH + step["t"])
        assert decision.wanted == step["desired"], step
        assert decision.excess_burst_capacity == step["excess_burst_capacity"], step


def observe(stable: float | None, panic: float | None, ready: int, replicas: int, **now: Any) -> Observed:
    """Of one metric."""
    return Observed((Reading(stable, panic),), ready, replicas, **now)


def seen(average: float, ready: int, replicas: int | None = None, **now: Any) -> Observed:
    """Both windows reading the same."""
    return observe(average, average, ready, ready if replicas is None else replicas, **now)


def settled(spec: ScalingSpec, ready: int = 0) -> State:
    """The state at time 0 of a Backend that has seen whole windows and holds nothing."""
    state = State.initial(spec, ready, 0.0)
    return replace(state, panic_at=None, max_panic_pods=0, initialized=True, blind_at=-spec.stable_window)


def decided(spec: ScalingSpec, observed: Observed, state: State | None = None, now: float = 0.0) -> Decision:
    return decide(spec, state or settled(spec), observed, now)[1]


def test_a_decision_says_what_it_was_made_from() -> None:
    """Inputs and time travel with it."""
    observed = seen(1.4, ready=2)
    decision = decided(SPEC, observed, now=4.0)
    assert (decision.observed, decision.at) == (observed, 4.0)
    assert (decision.desired, decision.wanted, decision.panic) == (2, 2, False)
    assert decision.reason == "1.4 in flight over 60 s want 2 at target 0.7"


@pytest.mark.parametrize(
    ("spec", "observed", "desired", "rule", "reason"),
    [
        (
            replace(SPEC, max_scale=5),
            observe(4.0, 46.0, 1, 1),
            5,
            "max_scale",
            "panic: 46 in flight over 6 s want 66 at target 0.7, held to max 5",
        ),
        (
            replace(SPEC, metrics=on(140.0, kind="rps")),
            seen(1234.5, ready=8),
            9,
            "stable",
            "1234 requests/s over 60 s want 9 at target 140",
        ),
        (
            replace(SPEC, max_scale_up_rate=1.1),
            seen(2.0, ready=2),
            3,
            "stable",
            "2 in flight over 60 s want 3 at target 0.7",
        ),
        (
            replace(SPEC, max_scale_up_rate=1.1),
            observe(2.8, 2.0, 2, 2),
            3,
            "max_scale_up_rate",
            "2.8 in flight over 60 s want 4 at target 0.7, rising no faster than to 3",
        ),
        (
            SPEC,
            seen(0.7, ready=5),
            2,
            "max_scale_down_rate",
            "0.7 in flight over 60 s want 1 at target 0.7, falling no faster than to 2",
        ),
        (
            replace(SPEC, reachable=False),
            seen(0.7, ready=5),
            1,
            "stable",
            "0.7 in flight over 60 s want 1 at target 0.7",
        ),
        (
            replace(SPEC, activation_scale=3),
            seen(0.1, ready=1),
            3,
            "activation_scale",
            "0.1 in flight over 60 s want 1 at target 0.7, activation_scale is 3",
        ),
        (
            replace(SPEC, min_scale=2),
            seen(0.0, ready=2),
            2,
            "min_scale",
            "0 in flight over 60 s want 0 at target 0.7, falling no faster than to 1, held to min 2",
        ),
    ],
    ids=["max", "rps", "one more", "up rate", "down rate", "unreachable", "activation scale", "min"],
)
def test_a_rule_that_decides_says_so(
    spec: ScalingSpec, observed: Observed, desired: int, rule: str, reason: str
) -> None:
    """The count, the slug of the rule with the last word, and a sentence for the person who asks why."""
    decision = decided(spec, observed)
    assert (decision.desired, decision.rule, decision.reason) == (desired, rule, reason)


@pytest.mark.parametrize(
    ("burst", "excess"), [(0.0, 0), (-1.0, -1), (20.0, -17)], ids=["none", "unlimited", "twenty"]
)
def test_excess_burst_capacity_is_what_fits_beyond_the_present(burst: float, excess: int) -> None:
    """5 pods of 1 less 20 less 1.4 is -16.4, rounded down."""
    assert (
        decided(replace(SPEC, target_burst_capacity=burst), seen(1.4, ready=5)).excess_burst_capacity
        == excess
    )


def test_panic_keeps_its_highest_count_until_a_stable_window_has_passed() -> None:
    """A surge of two seconds is held for a minute."""
    state, decision = decide(SPEC, settled(SPEC), observe(0.5, 7.0, 1, 1), 0.0)
    assert (decision.desired, decision.panic, decision.rule) == (10, True, "panic")
    state, decision = decide(SPEC, state, observe(1.0, 0.5, 10, 10), 60.0)
    assert (decision.desired, decision.panic) == (10, True)
    assert (
        decision.reason
        == "panic: 1 in flight over 60 s want 2 at target 0.7, falling no faster than to 5, keeping the most wanted so far, 10"
    )
    state, decision = decide(SPEC, state, observe(1.0, 0.5, 10, 10), 62.0)
    assert (decision.desired, decision.panic) == (5, False)


def test_panic_holds_what_is_there_even_when_it_wants_less() -> None:
    """Ten set, three of them ready, eight wanted: the seven that are starting stay."""
    decision = decided(SPEC, observe(5.6, 5.6, 3, replicas=10))
    assert (decision.desired, decision.wanted, decision.rule) == (10, 8, "panic")


def test_a_scale_down_waits_for_its_delay() -> None:
    """The most that was wanted within the delay stays."""
    spec = replace(SPEC, scale_down_delay=10.0)
    state, _ = decide(spec, settled(spec), seen(2.8, ready=4), 0.0)
    state, decision = decide(spec, state, seen(1.4, ready=4), 8.0)
    assert (decision.desired, decision.rule) == (4, "scale_down_delay")
    _, decision = decide(spec, state, seen(1.4, ready=4), 10.0)
    assert decision.desired == 2


# Bounds and the first pods


@pytest.mark.parametrize(("goal", "bound", "desired"), [(3, 0, 3), (3, 2, 2), (0, 0, 0)])
def test_a_new_backend_starts_with_its_initial_scale(goal: int, bound: int, desired: int) -> None:
    """Without any data, within max, and with nothing when it is 0."""
    spec = replace(SPEC, initial_scale=goal, max_scale=bound)
    state = State.initial(spec, 0, 0.0)
    assert decided(spec, observe(None, None, 0, 0), state).desired == desired


def test_the_initial_scale_is_ignored_once_it_was_reached() -> None:
    """From then on the load decides."""
    spec = replace(SPEC, initial_scale=4)
    state = replace(State.initial(spec, 0, 0.0), blind_at=-60.0)
    state, decision = decide(spec, state, seen(0.7, ready=3, replicas=4), 0.0)
    assert (decision.desired, decision.rule) == (4, "initial_scale")
    state, _ = decide(spec, state, seen(0.7, ready=4), 2.0)
    assert decide(spec, state, seen(0.7, ready=3), 4.0)[1].desired == 1


def test_an_unreachable_backend_ignores_its_initial_scale() -> None:
    """No route would use it."""
    spec = replace(SPEC, initial_scale=4, reachable=False)
    assert decided(spec, observe(None, None, 0, 0), State.initial(spec, 0, 0.0)).desired == 0


# Missing data


def test_without_data_what_is_there_is_held() -> None:
    """And who is missing is named."""
    decision = decided(SPEC, observe(None, None, 3, 3, missing="gateway gw-1 since 6 s"))
    assert (decision.desired, decision.wanted, decision.excess_burst_capacity) == (3, None, None)
    assert (decision.rule, decision.reason) == ("no_data", "no data from gateway gw-1 since 6 s: holding 3")
    assert decided(SPEC, observe(None, None, 0, 0)).reason == "no data yet: holding 0"


def test_with_some_data_missing_the_count_may_rise_but_not_fall() -> None:
    """What the other gateways see is a lower bound."""
    absent = "gateway gw-2 since 4 s"
    decision = decided(SPEC, seen(0.7, ready=3, missing=absent))
    assert (decision.desired, decision.rule) == (3, "no_data")
    assert decision.reason.endswith("no data from gateway gw-2 since 4 s: holding 3")
    assert decided(SPEC, seen(3.5, ready=3, missing=absent)).desired == 5


def test_after_a_gap_nothing_falls_until_a_whole_window_was_seen() -> None:
    """The gap reads as zeros for as long as it is inside the window."""
    state, _ = decide(SPEC, settled(SPEC), observe(None, None, 3, 3), 0.0)
    state, decision = decide(SPEC, state, seen(0.7, ready=3), 20.0)
    assert (decision.desired, decision.rule) == (3, "warming")
    assert decision.reason.endswith("only 20 s of 60 s seen yet: holding 3")
    assert decide(SPEC, state, seen(0.7, ready=3), 60.0)[1].desired == 1


def test_a_restart_with_one_pod_keeps_it_for_a_window_and_the_grace() -> None:
    """Where Knative's panic, which starts above one pod, would not."""
    state = State.initial(SPEC, 1, 0.0)
    story = {}
    for now in range(0, 100, 2):
        state, decision = decide(SPEC, state, seen(0.0, ready=1), float(now))
        story[now] = decision.desired
    assert min(now for now, desired in story.items() if desired == 0) == 90


# Waking from zero


def test_a_nudge_wakes_with_what_the_present_requests_ask_for() -> None:
    """Averages know nothing of them yet."""
    decision = decided(SPEC, seen(0.0, ready=0, waiting=3))
    assert (decision.desired, decision.rule) == (5, "wake")
    assert decision.reason == "3 queued and no pod ready: waking with 5"


@pytest.mark.parametrize(
    ("change", "desired"),
    [
        ({"max_scale": 3}, 3),
        ({"max_scale_up_rate": 2.0}, 2),
        ({"activation_scale": 8}, 8),
        ({"metrics": on(0.7, kind="rps")}, 1),
        ({"metrics": on(0.7, kind="rps"), "activation_scale": 2}, 2),
    ],
    ids=["max", "rate", "activation scale", "rps", "rps with activation scale"],
)
def test_a_wake_keeps_to_the_rules(change: dict[str, Any], desired: int) -> None:
    """Bounds, rate and activation scale hold for it too; a rate cannot be read off a queue."""
    assert decided(replace(SPEC, **change), seen(0.0, ready=0, waiting=3)).desired == desired


def test_a_wake_needs_no_averages() -> None:
    """The nudge came before the first beat."""
    assert decided(SPEC, observe(None, None, 0, 0, waiting=1)).desired == 2


@pytest.mark.parametrize(
    "then",
    [
        seen(0.0, ready=0, replicas=5, waiting=3),
        seen(0.0, ready=0, replicas=5, waiting=1),
        seen(0.0, ready=0, replicas=5),
        seen(0.0, ready=1, replicas=5, in_flight=1, waiting=2),
        seen(0.0, ready=5, in_flight=3),
        observe(None, None, 0, 5),
    ],
    ids=["as before", "fewer wait", "all left", "one ready", "all ready", "no data"],
)
def test_the_tick_after_a_wake_does_not_take_it_back(then: Observed) -> None:
    """Averages near zero decide nothing while they have not seen what woke the Backend."""
    state, _ = decide(SPEC, settled(SPEC), seen(0.0, ready=0, waiting=3), 0.0)
    decision = decided(SPEC, then, state, now=2.0)
    assert (decision.desired, decision.rule) == (5, "no_data" if then.readings[0].stable is None else "wake")


def test_a_wake_says_how_long_it_is_kept() -> None:
    """For a stable window; by then the averages know."""
    state, _ = decide(SPEC, settled(SPEC), seen(0.0, ready=0, waiting=3), 0.0)
    assert decided(SPEC, seen(0.1, ready=5), state, now=60.0).reason.endswith(
        "woken less than 60 s ago, keeping 5"
    )
    assert decided(SPEC, seen(0.1, ready=5), state, now=62.0).desired == 2


def test_more_waiters_raise_a_wake_while_no_pod_is_ready() -> None:
    """A cold start that draws a crowd gets more pods."""
    state, _ = decide(SPEC, settled(SPEC), seen(0.0, ready=0, waiting=3), 0.0)
    assert decided(SPEC, seen(0.2, ready=0, replicas=5, waiting=7), state, now=1.0).desired == 10


def test_waiters_get_a_pod_when_averages_are_empty_and_the_ready_ones_are_going() -> None:
    """Count zero already set, the last pod not gone yet: one is asked for."""
    decision = decided(SPEC, seen(0.0, ready=1, replicas=0, waiting=1))
    assert (decision.desired, decision.rule) == (1, "busy")


# To zero


def test_the_last_pod_goes_after_a_window_and_the_grace() -> None:
    """And the reason counts the seconds."""
    state, decision = decide(SPEC, settled(SPEC), seen(0.0, ready=1), 0.0)
    assert (decision.desired, decision.rule) == (1, "grace")
    state, decision = decide(SPEC, state, seen(0.0, ready=1), 12.0)
    assert (decision.desired, decision.reason) == (1, "idle for 12 s of 30 s grace, keeping 1")
    state, decision = decide(SPEC, state, seen(0.0, ready=1), 30.0)
    assert (decision.desired, decision.rule) == (0, "idle")
    assert decision.reason == "idle: no request in 60 s and 30 s grace, going to 0"
    state, decision = decide(SPEC, state, seen(0.0, ready=0), 32.0)
    assert (decision.desired, decision.reason) == (0, "idle: no request in 60 s, staying at 0")


@pytest.mark.parametrize(
    "news",
    [
        seen(0.01, ready=1),
        observe(0.0, 0.01, 1, 1),
        seen(0.0, ready=1, in_flight=1),
        seen(0.0, ready=1, waiting=1),
        seen(0.0, ready=1, missing="gateway gw-1 since 6 s"),
        observe(None, None, 1, 1),
    ],
    ids=["stable", "panic", "in flight", "queued", "partly missing", "missing"],
)
def test_any_sign_of_life_starts_the_grace_anew(news: Observed) -> None:
    """A request, by whichever window or count it shows, and missing data, which may hide one."""
    state, _ = decide(SPEC, settled(SPEC), seen(0.0, ready=1), 0.0)
    state, decision = decide(SPEC, state, news, 29.0)
    assert decision.desired >= 1
    assert state.idle_since is None
    assert decide(SPEC, state, seen(0.0, ready=1), 31.0)[1].desired == 1


@pytest.mark.parametrize(("reachable", "desired"), [(True, 1), (False, 0)])
def test_the_retention_period_outlasts_a_shorter_grace(reachable: bool, desired: int) -> None:
    """For Backends that a route names."""
    spec = replace(SPEC, scale_to_zero_pod_retention_period=300.0, reachable=reachable)
    state, _ = decide(spec, settled(spec), seen(0.0, ready=1), 0.0)
    assert decided(spec, seen(0.0, ready=1), state, now=299.0).desired == desired
    assert decided(spec, seen(0.0, ready=1), state, now=300.0).desired == 0


def test_going_down_many_pods_keeps_one_for_the_grace() -> None:
    """The grace runs from the empty window on, while the rate still lowers the count."""
    state, decision = decide(SPEC, settled(SPEC), seen(0.0, ready=5), 0.0)
    counts = [decision.desired]
    for now in range(2, 32, 2):
        state, decision = decide(SPEC, state, seen(0.0, ready=counts[-1]), float(now))
        counts.append(decision.desired)
    assert counts == [2, *[1] * 14, 0]


# Laws


specs = st.builds(
    ScalingSpec,
    min_scale=st.integers(0, 3),
    max_scale=st.sampled_from([0, 3, 5, 20]),
    initial_scale=st.integers(0, 5),
    activation_scale=st.sampled_from([0, 2, 4]),
    metrics=st.builds(
        on, st.sampled_from([0.01, 0.7, 7.0, 70.0]), kind=st.sampled_from(["concurrency", "rps"])
    ),
    stable_window=st.sampled_from([6.0, 20.0, 60.0]),
    panic_threshold=st.sampled_from([1.1, 2.0, 10.0]),
    max_scale_up_rate=st.sampled_from([1.1, 2.0, 1000.0]),
    max_scale_down_rate=st.sampled_from([1.5, 2.0, 10.0]),
    scale_down_delay=st.sampled_from([0.0, 10.0, 30.0]),
    scale_to_zero_grace_period=st.sampled_from([0.0, 4.0, 30.0]),
    target_burst_capacity=st.sampled_from([-1.0, 0.0, 20.0]),
    reachable=st.booleans(),
)
averages = st.none() | st.tuples(*[st.just(0.0) | st.floats(0, 100)] * 2)


@st.composite
def moments(draw: st.DrawFn) -> tuple[float, tuple[float, float] | None, dict[str, Any], int]:
    """A pause, the averages, the counts, and how many of the pods that are set are not ready."""
    now: dict[str, Any] = {
        "in_flight": draw(st.integers(0, 5)),
        "waiting": draw(st.sampled_from([0, 0, 0, 1, 9])),
    }
    now["missing"] = draw(st.sampled_from(["", "", "", "gateway gw-1 since 6 s"]))
    return draw(st.sampled_from([0.1, 2.0, 2.0, 2.0, 30.0])), draw(averages), now, draw(st.integers(0, 3))


def lived(
    spec: ScalingSpec,
    initial: int,
    story: list[tuple[float, tuple[float, float] | None, dict[str, Any], int]],
) -> list[Decision]:
    """The decisions of a story in which each count decided on is what is there at the next."""
    now, replicas = EPOCH, initial
    state = State.initial(spec, initial, now)
    decisions = []
    for pause, means, counts, unready in story:
        now += pause
        stable, panic = means or (None, None)
        observed = observe(stable, panic, max(0, replicas - unready), replicas, **counts)
        state, decision = decide(spec, state, observed, now)
        decisions.append(decision)
        replicas = decision.desired
    return decisions


stories = st.lists(moments(), min_size=1, max_size=12)


@given(spec=specs, initial=st.integers(0, 12), story=stories)
def test_the_count_stays_within_its_bounds(spec: ScalingSpec, initial: int, story: list[Any]) -> None:
    """Whatever comes."""
    for decision in lived(spec, initial, story):
        assert decision.desired >= (min(spec.min_scale, spec.max_scale) if spec.max_scale else spec.min_scale)
        assert decision.desired <= spec.max_scale or not spec.max_scale


@given(spec=specs, initial=st.integers(0, 12), story=stories)
def test_the_count_never_falls_in_panic_nor_on_missing_data(
    spec: ScalingSpec, initial: int, story: list[Any]
) -> None:
    """Except to max, which is a person's word."""
    for decision in lived(spec, initial, story):
        there = decision.observed.replicas
        if decision.panic or decision.observed.absence:
            assert decision.desired >= (min(there, spec.max_scale) if spec.max_scale else there)


@given(spec=specs, initial=st.integers(0, 12), story=stories)
def test_a_restart_never_scales_down(spec: ScalingSpec, initial: int, story: list[Any]) -> None:
    """Until a stable window of data was seen, an autoscaler keeps what it found."""
    for decision in lived(spec, initial, story):
        there = decision.observed.replicas
        if decision.at - EPOCH < spec.stable_window:
            assert decision.desired >= (min(there, spec.max_scale) if spec.max_scale else there)


@given(spec=specs, initial=st.integers(0, 12), story=stories)
def test_an_open_request_always_has_a_pod_to_go_to(spec: ScalingSpec, initial: int, story: list[Any]) -> None:
    """Zero is never decided on while a request waits, nor while a pod works on one."""
    for decision in lived(spec, initial, story):
        seen_now = decision.observed
        if seen_now.waiting or (seen_now.in_flight and seen_now.replicas):
            assert decision.desired >= 1


loads = st.tuples(st.floats(0, 100), st.floats(0, 100))
counts = st.tuples(st.integers(0, 9), st.integers(0, 9))


@given(spec=specs, story=stories, ready=st.integers(0, 12), less=loads, more=st.tuples(loads, counts))
def test_more_load_never_means_fewer_pods(
    spec: ScalingSpec, story: list[Any], ready: int, less: tuple[float, float], more: tuple[Any, Any]
) -> None:
    """From one state, higher averages and counts give at least as many."""
    state, now = State.initial(spec, ready, EPOCH), EPOCH
    for pause, means, present, _ in story:
        now += pause
        stable, panic = means or (None, None)
        state, _ = decide(spec, state, observe(stable, panic, ready, ready, **present), now)
    (by_stable, by_panic), (in_flight, waiting) = more
    lower = observe(less[0], less[1], ready, ready)
    higher = observe(
        less[0] + by_stable, less[1] + by_panic, ready, ready, in_flight=in_flight, waiting=waiting
    )
    assert decided(spec, lower, state, now + 2).desired <= decided(spec, higher, state, now + 2).desired


def test_a_state_tells_what_it_holds() -> None:
    """Its repr names the panic, the wake and the idle time."""
    text = repr(State.initial(SPEC, 3, 5.0))
    assert "panic_at=5.0, max_panic_pods=3" in text
    assert "woken_at=None, woken_pods=0, idle_since=None" in text
