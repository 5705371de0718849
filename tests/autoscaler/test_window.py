"""Window and MaxWindow: what Knative's buckets give, to the last digit, and what a reload keeps."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.window import MaxWindow, Window

EPOCH = 1_700_000_000.0
GOLDEN = Path(os.environ.get("TIDEGATE_GOLDEN") or Path(__file__).parents[1] / "golden")
TRACES = json.loads((GOLDEN / "window.json").read_text())


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: f"seed-{trace['seed']}")
def test_knative_golden_window(trace: dict[str, Any]) -> None:
    """Every reading of a recorded trace comes out as Knative gave it."""
    window = Window(trace["window"], trace["granularity"])
    for event in trace["events"]:
        now = EPOCH + event["t"]
        if "record" in event:
            window.record(now, event["record"])
        else:
            assert window.average(now) == event["average"], event
            assert window.weighted_average(now) == pytest.approx(
                event["weighted_average"], rel=1e-9, abs=0
            ), event


def filled(length: float, *values: float) -> Window:
    """A window with a value in each of the seconds 0, 1, 2 …"""
    window = Window(length, 1)
    for second, value in enumerate(values):
        window.record(second, value)
    return window


def test_nothing_recorded_averages_zero() -> None:
    """An unwritten window is empty and reads zero both ways."""
    window = Window(6, 1)
    assert window.is_empty(EPOCH)
    assert (window.average(EPOCH), window.weighted_average(EPOCH)) == (0, 0)
    assert repr(window) == "<Window 6 s by 1 s: empty>"


def test_a_window_partly_written_averages_over_that_part() -> None:
    """Three seconds after the first record, three buckets count and not sixty."""
    window = filled(60, 2, 4, 6)
    assert window.average(2) == 4
    assert repr(window) == "<Window 60 s by 1 s: buckets 0 to 2, sum 12>"


def test_a_gap_within_the_window_counts_as_zeros() -> None:
    """Seconds skipped between two records were idle ones."""
    window = filled(6, 6)
    window.record(2, 6)
    assert window.average(2) == 4


def test_buckets_that_left_the_window_no_longer_count() -> None:
    """The ring forgets what is older than its length."""
    assert filled(3, 100, 1, 2, 3).average(3) == 2


def test_silence_longer_than_the_window_starts_it_anew() -> None:
    """The first record after it is averaged over itself alone."""
    window = filled(3, 9, 9, 9)
    window.record(60, 5)
    assert window.average(60) == 5


def test_a_late_record_falls_into_its_own_bucket() -> None:
    """A beat that came late adds to the second it speaks of, and may be the earliest so far."""
    window = Window(6, 1)
    window.record(4, 6)
    window.record(2, 3)
    assert window.average(4) == 3


def test_a_record_older_than_the_window_is_ignored() -> None:
    """Its bucket is another one's by now."""
    window = filled(3, 1, 1, 1, 1)
    window.record(0, 100)
    assert window.average(3) == 1


def test_a_window_is_empty_only_after_more_than_its_length() -> None:
    """Knative counts the boundary as still full."""
    window = filled(3, 1)
    assert [window.is_empty(now) for now in (0, 3, 4)] == [False, False, True]


@pytest.mark.parametrize(("value", "rounded"), [(2.5e-6, 3e-6), (-2.5e-6, -3e-6), (2.4e-6, 2e-6)])
def test_averages_round_halves_away_from_zero(value: float, rounded: float) -> None:
    """As Go's rounding does, unlike Python's."""
    assert filled(1, value).average(0) == rounded


def test_the_weighted_average_prefers_what_is_new() -> None:
    """The same values weigh more the later they came."""
    assert filled(6, 1, 2, 3).weighted_average(2) > filled(6, 3, 2, 1).weighted_average(2)


values = st.lists(st.integers(0, 1000).map(lambda cents: cents / 100), min_size=1, max_size=40)


@given(
    parts=st.lists(st.tuples(*[st.floats(0, 100)] * 3), min_size=1, max_size=20),
    length=st.sampled_from([3, 6, 60]),
)
def test_the_sum_of_several_gateways_equals_one_gateway(
    parts: list[tuple[float, ...]], length: float
) -> None:
    """Recording what each of three gateways saw gives the average of recording their sum."""
    several, one = Window(length, 1), Window(length, 1)
    for second, shares in enumerate(parts):
        for share in shares:
            several.record(second, share)
        one.record(second, sum(shares))
    now = len(parts) - 1
    assert several.average(now) == pytest.approx(one.average(now), abs=2e-6)
    assert several.weighted_average(now) == pytest.approx(one.weighted_average(now))


@given(told=values, before=st.integers(1, 60), after=st.integers(1, 60))
def test_resizing_keeps_the_newest_buckets_that_fit(told: list[float], before: int, after: int) -> None:
    """After a reload the average is over the buckets that both lengths hold."""
    window = filled(before, *told)
    now = len(told) - 1
    window.resize(now, after)
    kept = told[-min(before, after) :]
    assert window.average(now) == pytest.approx(sum(kept) / len(kept), abs=1e-6)


@given(told=values, more=values, before=st.integers(1, 30), after=st.integers(1, 30))
def test_a_resized_window_goes_on_as_one_of_its_length(
    told: list[float], more: list[float], before: int, after: int
) -> None:
    """Once written through, nothing tells that it had another length before."""
    window = filled(before, *told)
    window.resize(len(told) - 1, after)
    plain = Window(after, 1)
    for second, value in enumerate(more * after, start=len(told)):
        window.record(second, value)
        plain.record(second, value)
    now = len(told) + len(more) * after - 1
    assert window.average(now) == pytest.approx(plain.average(now), abs=2e-6)
    assert window.weighted_average(now) == pytest.approx(plain.weighted_average(now))


def test_a_window_partly_written_stays_so_when_resized() -> None:
    """A reload five seconds after a start does not turn the average into a twelfth of itself."""
    window = Window(60, 1)
    for second in range(5):
        window.record(EPOCH + second, 10)
    window.resize(EPOCH + 4, 120)
    assert window.average(EPOCH + 4) == 10


def test_resizing_to_the_same_length_changes_nothing() -> None:
    """A reload that leaves the window alone is not felt."""
    window = filled(6, 1, 2, 3)
    before = repr(window)
    window.resize(2, 6)
    assert repr(window) == before


@pytest.mark.parametrize("window", [Window(6, 1), filled(6, 1, 2, 3)], ids=["unwritten", "outlived"])
def test_resizing_never_revives_what_the_old_length_had_dropped(window: Window) -> None:
    """Growing to 60 s does not bring back data 40 s old."""
    window.resize(40, 60)
    assert window.is_empty(40)
    assert window.average(40) == 0


def test_a_max_window_unwritten_holds_nothing() -> None:
    """No value yet keeps no pod."""
    assert MaxWindow(30, 2).maximum == 0


@given(
    told=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20)), min_size=1, max_size=60),
    buckets=st.integers(1, 8),
)
def test_a_max_window_gives_the_largest_of_its_buckets(told: list[tuple[int, int]], buckets: int) -> None:
    """At any time it equals the plain maximum over the buckets that its length covers."""
    window = MaxWindow(buckets * 2.0, 2.0)
    now, seen = EPOCH, []
    for pause, value in told:
        now += pause
        window = window.record(now, value)
        seen.append((now // 2, value))
        assert window.maximum == max(value for index, value in seen if now // 2 - index < buckets)


def test_a_max_window_counts_buckets_from_the_epoch() -> None:
    """Two decisions 1 s apart share a bucket of 2 s only when the epoch says so."""
    window = MaxWindow(2, 2).record(EPOCH, 5)
    assert window.record(EPOCH + 1, 1).maximum == 5
    assert MaxWindow(2, 2).record(EPOCH + 1, 5).record(EPOCH + 2, 1).maximum == 1


def test_a_shortened_max_window_forgets_with_its_next_record() -> None:
    """A reload to a shorter delay takes effect at the next decision."""
    window = MaxWindow(30, 2).record(EPOCH, 9).record(EPOCH + 10, 3)
    assert window.resize(30) is window
    assert window.resize(4).record(EPOCH + 12, 1).maximum == 3
