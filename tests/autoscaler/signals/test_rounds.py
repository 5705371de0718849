"""One value of what all pods of a Backend answered."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.signals.asked import NoValueError, PodMetric
from autoscaler.signals.rounds import Answer, Rounds


def rounds(**asked: Any) -> Rounds:
    return Rounds(PodMetric("pod depth", "depth", **asked))


def gauges(*values: float | str) -> dict[str, Answer | str]:
    """Of pods p0, p1, … at time 0: what each answered, or why it did not."""
    return {
        f"p{index}": value if isinstance(value, str) else Answer({"": value}, 0.0)
        for index, value in enumerate(values)
    }


def value(of: Rounds, answers: dict[str, Answer | str]) -> float:
    return of.value(list(answers), answers)


def test_a_pods_series_are_summed() -> None:
    """Two engines of one pod wait for it both."""
    assert value(rounds(), {"a": Answer({"engine=0": 2.0, "engine=1": 3.0}, 0.0)}) == 5.0


@pytest.mark.parametrize(("aggregation", "expected"), [("sum", 6.0), ("average", 6.0), ("max", 3.0)])
def test_pods_are_added_up_or_the_largest_counts(aggregation: str, expected: float) -> None:
    """Sum and average are both compared with a target per pod."""
    assert value(rounds(aggregation=aggregation), gauges(1.0, 2.0, 3.0)) == expected


def test_an_average_takes_a_silent_pod_to_be_as_the_others() -> None:
    """As long as half of them have answered."""
    assert value(rounds(), gauges(2.0, 4.0, "no answer")) == 9.0
    assert value(rounds(aggregation="max"), gauges(2.0, "no answer")) == 2.0
    with pytest.raises(NoValueError, match=r"^pod p1: refused \(and 1 more of 3 pods have no value\)$"):
        value(rounds(), gauges(2.0, "refused", "no answer"))


@pytest.mark.parametrize(("aggregation", "before", "after"), [("average", 20.0, 20.0), ("max", 8.0, 8.0)])
def test_pods_that_fall_silent_are_as_they_last_were(aggregation: str, before: float, after: float) -> None:
    """Those that are too busy to answer are the busiest: without them there would seem to be less to do."""
    of = rounds(aggregation=aggregation)
    assert value(of, gauges(1.0, 3.0, 8.0, 8.0)) == before
    assert value(of, gauges(1.0, 3.0, "no answer", "no answer")) == after


def test_a_silent_pod_is_busier_when_the_others_are() -> None:
    """What it last said is a lower bound."""
    of = rounds()
    assert value(of, gauges(1.0, 1.0)) == 2.0
    assert value(of, gauges(9.0, "no answer")) == 18.0


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=8),
    st.sets(st.integers(0, 7)),
    st.sampled_from(["average", "max"]),
)
def test_silence_never_looks_like_less_load(loads: list[int], silent: set[int], aggregation: str) -> None:
    """As long as there is a value at all."""
    of = rounds(aggregation=aggregation)
    there = value(of, gauges(*map(float, loads)))
    try:
        found = value(of, gauges(*("away" if i in silent else float(load) for i, load in enumerate(loads))))
    except NoValueError:
        return
    assert found >= there


def test_a_sum_needs_all_pods() -> None:
    """A pod that is left out would look like less load."""
    with pytest.raises(NoValueError, match=r"^pod p1: refused$"):
        value(rounds(aggregation="sum"), gauges(2.0, "refused"))


@pytest.mark.parametrize("aggregation", ["sum", "average", "max"])
def test_without_pods_there_is_nothing(aggregation: str) -> None:
    """Zero, and no failure: that is how a Backend can stay at zero."""
    assert value(rounds(aggregation=aggregation), {}) == 0.0


def counters(at: float, **values: float) -> dict[str, Answer | str]:
    return {uid: Answer({"": value}, at) for uid, value in values.items()}


def test_a_counter_is_what_it_grew_by_per_second() -> None:
    """Between two answers of the same pod, whatever the interval was meant to be."""
    of = rounds(rate=True)
    with pytest.raises(NoValueError, match=r"^pod a: was asked only once so far"):
        value(of, counters(10.0, a=100.0))
    assert value(of, counters(14.0, a=120.0)) == 5.0
    assert value(of, {**counters(24.0, a=120.0)}) == 0.0


def test_a_counter_that_begins_anew_has_grown_from_zero() -> None:
    """A pod's process was restarted; the others' series go on."""
    of = rounds(rate=True, aggregation="sum")
    first: dict[str, Answer | str] = {"a": Answer({"x": 50.0, "y": 10.0}, 0.0)}
    with pytest.raises(NoValueError):
        value(of, first)
    assert value(of, {"a": Answer({"x": 4.0, "y": 12.0}, 2.0)}) == 3.0


def test_a_new_series_has_counted_since_the_last_answer() -> None:
    """And one that is gone takes nothing from the others."""
    of = rounds(rate=True)
    with pytest.raises(NoValueError):
        value(of, {"a": Answer({"x": 50.0, "y": 9.0}, 0.0)})
    assert value(of, {"a": Answer({"x": 52.0, "z": 6.0}, 2.0)}) == 4.0


def test_a_series_that_was_away_for_once_goes_on_where_it_was() -> None:
    """A line that could not be read is no counter that begins anew: all it ever counted would be of two seconds."""
    of = rounds(rate=True)
    with pytest.raises(NoValueError):
        value(of, {"a": Answer({"x": 5.0, "y": 1e6}, 0.0)})
    assert value(of, {"a": Answer({"x": 7.0}, 2.0)}) == 1.0
    assert value(of, {"a": Answer({"x": 7.0, "y": 1e6 + 4}, 4.0)}) == 2.0


def test_a_silent_pods_counter_goes_on_where_it_was() -> None:
    """The rate is over the longer time then."""
    of = rounds(rate=True)
    with pytest.raises(NoValueError):
        value(of, counters(0.0, a=0.0))
    with pytest.raises(NoValueError, match="refused"):
        value(of, {"a": "refused"})
    assert value(of, counters(10.0, a=30.0)) == 3.0


def test_the_counter_of_a_pod_that_went_is_forgotten() -> None:
    """Its uid never comes back; what is known of pods is bounded by their number."""
    of = rounds(rate=True)
    for at in range(20):
        with pytest.raises(NoValueError):
            value(of, counters(float(at), **{f"pod{at}": 1.0}))
    assert repr(of) == "<Rounds of pod depth: 1 counters known>"


@given(
    grown=st.lists(st.floats(0, 1e6), min_size=1, max_size=10),
    restarted=st.sets(st.integers(0, 9)),
)
def test_no_rate_is_negative(grown: list[float], restarted: set[int]) -> None:
    """However often the counter begins anew."""
    of, total = rounds(rate=True), 0.0
    for index, by in enumerate(grown):
        total = by if index in restarted else total + by
        try:
            assert value(of, counters(float(index), a=total)) >= 0
        except NoValueError:
            assert index == 0
