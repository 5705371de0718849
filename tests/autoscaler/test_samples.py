"""Samples: steps over time, with holes where nothing is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.samples import Samples

EPOCH = 1_700_000_000.0


def sampled(*values: float, every: float = 5.0, window: float = 60.0) -> Samples:
    """Values at one interval after the other, from EPOCH on."""
    made = Samples(window, every)
    for index, value in enumerate(values):
        made.put(value, EPOCH + index * every)
    return made


def test_a_sample_holds_until_the_next() -> None:
    """5 s of 2, then 5 s of 4."""
    made = sampled(2, 4)
    assert made.average(EPOCH + 10, 60) == 3.0
    assert made.average(EPOCH + 10, 5) == 4.0
    assert made.average(EPOCH + 10, 8) == (3 * 2 + 5 * 4) / 8


def test_the_first_sample_counts_at_once() -> None:
    """Though it has held for no time yet."""
    assert sampled(7).average(EPOCH, 60) == 7.0


def test_a_window_shorter_than_the_interval_reads_the_last_sample() -> None:
    """A panic window of 6 s over samples of 15 s."""
    assert sampled(3, 9, every=15).average(EPOCH + 24, 6) == 9.0


def test_a_hole_is_no_zero() -> None:
    """A sample of 4 holds for 15 s, then nothing is known for 15 s, then it is 8 for 5 s."""
    made = sampled(4)
    made.put(8, EPOCH + 30)
    assert made.average(EPOCH + 35, 60) == (15 * 4 + 5 * 8) / 20


def test_after_three_intervals_it_is_missing() -> None:
    """And says since when, and why."""
    made = sampled(4)
    made.failed("connection refused", EPOCH + 5)
    made.failed("timed out", EPOCH + 10)
    assert (made.fresh(EPOCH + 15), made.missing(EPOCH + 15)) == (True, "")
    assert (made.fresh(EPOCH + 16), made.missing(EPOCH + 16)) == (False, "since 16 s (timed out)")
    made.put(4, EPOCH + 20)
    assert made.missing(EPOCH + 20) == ""


def test_before_the_first_sample_it_is_missing() -> None:
    """Once an attempt has failed it says since when."""
    made = Samples(60, 5)
    assert (made.missing(EPOCH), made.average(EPOCH, 60)) == ("yet", 0.0)
    made.failed("404", EPOCH)
    made.failed("404", EPOCH + 5)
    assert made.missing(EPOCH + 8) == "since 8 s (404)"
    assert repr(made) == "<Samples 0 over 60 s: 404>"


def test_two_samples_at_one_time_are_one() -> None:
    """The later one counts."""
    made = sampled(4)
    made.put(6, EPOCH)
    assert made.average(EPOCH + 5, 60) == 6.0


def test_samples_older_than_the_window_are_let_go() -> None:
    """But for the one that reaches into it."""
    made = sampled(*range(100), every=5, window=60)
    assert len(made._times) == 13
    assert repr(made) == "<Samples 13 over 60 s>"


def test_a_resized_window_keeps_its_samples() -> None:
    """And holds them by the new interval."""
    made = sampled(2, 4)
    made.resize(10, 30)
    assert made.fresh(EPOCH + 90)
    assert made.average(EPOCH + 10, 10) == 3.0


def test_fading_makes_the_newer_seconds_weigh_more() -> None:
    """By a fifth per second: of 5 s of 0 and then 5 s of 1, the newer ones have 0.67 / 0.89 of the weight."""
    made = sampled(0, 1)
    assert made.average(EPOCH + 10, 60, fading=0.2) == pytest.approx((1 - 0.8**5) / (1 - 0.8**10))


@given(
    st.lists(st.tuples(st.sampled_from([1.0, 5.0, 20.0]), st.floats(-100, 100)), min_size=1, max_size=30),
    st.sampled_from([0.0, 0.2]),
    st.floats(0, 90),
)
def test_an_average_lies_between_its_samples(
    story: list[tuple[float, float]], fading: float, later: float
) -> None:
    """Whatever the pauses."""
    made, now = Samples(60, 5), EPOCH
    for pause, value in story:
        now += pause
        made.put(value, now)
    values = [value for _, value in story]
    for seconds in (60.0, 6.0):
        assert min(values) - 1e-6 <= made.average(now + later, seconds, fading) <= max(values) + 1e-6
