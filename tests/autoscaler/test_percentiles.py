"""HistogramWindow: percentiles of everything that was counted within the window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.percentiles import HistogramWindow
from gateway.stats import LATENCY_BOUNDS, quantile

EPOCH = 1_700_000_000
HALF_A_SECOND = LATENCY_BOUNDS.index(0.5)
TWO_SECONDS = LATENCY_BOUNDS.index(2.5)


def test_nothing_counted_is_no_latency() -> None:
    """No request, no wait."""
    assert HistogramWindow(60).percentile(EPOCH, 95) == 0.0


def test_a_percentile_is_of_all_seconds_together() -> None:
    """Nine quick ones in one second and a slow one in another: the median is quick, the 95th percentile slow."""
    window = HistogramWindow(60)
    window.record(EPOCH, {HALF_A_SECOND: 9})
    window.record(EPOCH + 1, {TWO_SECONDS: 1})
    assert 0.3 < window.percentile(EPOCH + 1, 50) <= 0.5
    assert 1.5 < window.percentile(EPOCH + 1, 95) <= 2.5
    assert repr(window) == "<HistogramWindow 60 s: 10 counted>"


def test_what_is_older_than_the_window_does_not_count() -> None:
    """Whether it was recorded since or only time has passed; and reading changes nothing."""
    window = HistogramWindow(6)
    window.record(EPOCH, {TWO_SECONDS: 1})
    assert window.percentile(EPOCH + 5, 95) > 1.5
    assert window.percentile(EPOCH + 6, 95) == 0.0
    assert window.percentile(EPOCH + 5, 95) > 1.5
    window.record(EPOCH + 6, {HALF_A_SECOND: 1})
    assert window.percentile(EPOCH + 6, 95) <= 0.5


def test_a_late_count_falls_into_its_second() -> None:
    """It leaves the window when that second does; one for a second that has left already is ignored."""
    window = HistogramWindow(6)
    window.record(EPOCH + 3, {HALF_A_SECOND: 1})
    window.record(EPOCH + 1, {TWO_SECONDS: 1})
    window.record(EPOCH - 3, {TWO_SECONDS: 5})
    assert window.percentile(EPOCH + 6, 99) > 1.5
    assert window.percentile(EPOCH + 7, 99) <= 0.5


def test_counts_that_no_gateway_could_tell_are_kept_in_bounds() -> None:
    """A newer gateway may have more bounds; the last one stands for all that lie beyond."""
    window = HistogramWindow(60)
    window.record(EPOCH, {99: 1, -1: 1, 3: -5, 4: 2**40})
    assert window.percentile(EPOCH, 50) <= LATENCY_BOUNDS[4]


def test_a_resized_window_keeps_what_fits() -> None:
    """A reload with another length."""
    window = HistogramWindow(60)
    window.record(EPOCH, {TWO_SECONDS: 1})
    window.record(EPOCH + 10, {HALF_A_SECOND: 1})
    window.resize(EPOCH + 10, 6)
    assert window.percentile(EPOCH + 10, 99) <= 0.5


seconds = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.dictionaries(st.integers(0, len(LATENCY_BOUNDS)), st.integers(1, 9), max_size=4),
    ),
    max_size=30,
)


@given(story=seconds, window=st.sampled_from([1, 6, 20]), percent=st.sampled_from([50.0, 95.0, 99.9]))
def test_it_equals_a_sum_over_the_window(
    story: list[tuple[int, dict[int, int]]], window: int, percent: float
) -> None:
    """Whatever the order in which seconds are told, as long as none is late by a window."""
    made = HistogramWindow(window)
    newest = 0
    told = []
    for second, counts in story:
        newest = max(newest, second)
        made.record(EPOCH + second, counts)
        if second > newest - window:
            told.append((second, counts))
    sums = [0] * (len(LATENCY_BOUNDS) + 1)
    for second, counts in told:
        for index, count in counts.items():
            sums[index] += count if second > newest - window else 0
    assert made.percentile(EPOCH + newest, percent) == pytest.approx(
        quantile(LATENCY_BOUNDS, sums, percent / 100) or 0.0
    )
