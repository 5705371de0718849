"""Integrals, histograms, quantiles, and the one-line form of a beat."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.stats import BackendStats, Beat, Histogram, Integral, Stat, Traffic, quantile

BOUNDS = (1.0, 2.0, 4.0)


def test_three_in_flight_for_two_seconds_are_six_request_seconds() -> None:
    """An integral counts how many for how long, up to the moment that is asked for."""
    integral = Integral(10.0)
    integral.add(3, 11.0)
    assert integral.total(11.0) == 0.0
    assert integral.total(13.0) == 6.0
    integral.add(-2, 13.0)
    assert integral.total(14.5) == 7.5
    assert repr(integral) == "<Integral 1>"


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 5)), max_size=30))
def test_an_integral_is_the_sum_of_its_steps(steps: list[tuple[int, int]]) -> None:
    """However the changes fall, the total is each value times how long it held."""
    integral, now, value, expected = Integral(0.0), 0, 0, 0
    for delta, wait in steps:
        now += wait
        expected += value * wait
        integral.add(delta, float(now))
        value += delta
    assert integral.total(float(now)) == expected


def test_reading_an_integral_changes_nothing() -> None:
    """Two readers do not disturb each other."""
    integral = Integral(0.0)
    integral.add(1, 0.0)
    assert integral.total(5.0) == integral.total(5.0) == 5.0
    assert integral.total(2.0) == 2.0


def test_a_value_on_a_bound_falls_into_the_bucket_below_it() -> None:
    """Bounds are upper bounds, inclusive, as Prometheus has them; the last bucket has none."""
    histogram = Histogram(BOUNDS)
    for value in (0.5, 1.0, 1.5, 4.0, 9.0):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1, 1]
    assert histogram.sum == 16.0
    assert repr(histogram) == "<Histogram 5 observed, sum 16>"


def test_histograms_do_not_share_counts() -> None:
    """Each has its own buckets."""
    one, other = Histogram(), Histogram()
    one.observe(1.0)
    assert sum(other.counts) == 0


@pytest.mark.parametrize(
    ("counts", "q", "expected"),
    [
        pytest.param([0, 0, 0, 0], 0.5, None, id="nothing observed"),
        pytest.param([4, 0, 0, 0], 0.5, 0.5, id="within the first bucket, from zero"),
        pytest.param([0, 4, 0, 0], 0.25, 1.25, id="a quarter of the second bucket"),
        pytest.param([1, 0, 1, 0], 0.5, 1.0, id="at the end of a bucket"),
        pytest.param([1, 0, 1, 0], 0.75, 3.0, id="over an empty bucket"),
        pytest.param([0, 0, 0, 3], 0.5, 4.0, id="past the last bound"),
        pytest.param([0, 0, 2, 2], 0.99, 4.0, id="the tail is past the last bound"),
        pytest.param([0, 0, 2, 0], 1.0, 4.0, id="the greatest"),
    ],
)
def test_a_quantile_is_interpolated_within_its_bucket(
    counts: list[int], q: float, expected: float | None
) -> None:
    """As PromQL's histogram_quantile does it."""
    assert quantile(BOUNDS, counts, q) == expected


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_quantiles_rise_with_q_and_stay_within_the_bounds(counts: list[int], a: float, b: float) -> None:
    """A p99 is never below its p50."""
    low, high = (quantile(BOUNDS, counts, q) for q in sorted((a, b)))
    if low is None or high is None:
        assert not any(counts)
    else:
        assert 0.0 <= low <= high <= 4.0


def test_traffic_counts_answers_by_status() -> None:
    """And shows them."""
    traffic = Traffic("iris", "iris-v1")
    traffic.count(200)
    traffic.count(200)
    traffic.count(503)
    assert traffic.codes == {200: 2, 503: 1}
    assert repr(traffic) == "<Traffic iris -> iris-v1: {200: 2, 503: 1}>"
    assert repr(Traffic("", "")) == "<Traffic - -> -: {}>"


def test_a_backends_statistics_show_its_state() -> None:
    """The repr tells what has begun, ended, and is under way."""
    stats = BackendStats(0.0)
    stats.begun = 2
    stats.in_flight.add(1, 0.0)
    assert repr(stats) == "<BackendStats begun=2 ended=0 in_flight=1 queued=0>"


# -- beats on the wire

counts = st.integers(0, 10**9)
seconds = st.floats(0, 1e9)
names = st.text(max_size=20)
stats = st.builds(
    Stat,
    seconds,
    seconds,
    counts,
    counts,
    counts,
    seconds,
    counts,
    counts,
    st.dictionaries(names, counts, max_size=3),
    st.dictionaries(st.integers(0, 23), counts, max_size=3),
    st.dictionaries(st.integers(0, 23), counts, max_size=3),
)
beats = st.builds(
    Beat,
    names,
    counts,
    seconds,
    st.dictionaries(names, stats, max_size=2),
    st.dictionaries(names, st.dictionaries(names, counts, max_size=2), max_size=2),
    st.booleans(),
)


@settings(deadline=None)  # the machine may be busy
@given(beats)
def test_what_is_encoded_is_decoded(beat: Beat) -> None:
    """Nothing is lost on the wire, whatever the names, and a beat is exactly one line."""
    line = beat.encode()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert Beat.decode(line) == beat
    assert Beat.decode(line.decode()) == beat


def test_latencies_that_nobody_scales_on_take_no_room() -> None:
    """A thousand Backends are told each second."""
    assert b"counts" not in Beat("g", 1, 1.0, {"b": Stat(begun=2)}).encode()


def test_unknown_fields_are_left_out() -> None:
    """A newer gateway may say more than an older autoscaler knows."""
    line = json.dumps({
        "gateway": "g", "seq": 1, "duration": 1.0, "colour": "blue",
        "stats": {"b": {"begun": 2, "tokens": 7}},
    })  # fmt: skip
    assert Beat.decode(line) == Beat("g", 1, 1.0, {"b": Stat(begun=2)})


LIES = [
    {"in_flight_seconds": math.nan},
    {"in_flight_seconds": -5.0},
    {"queued_seconds": math.inf},
    {"begun": -1},
    {"begun": 1e300},
    {"in_flight": "3"},
    {"in_flight": -1},
    {"queued": None},
    {"endpoints": {"pod": -1}},
    {"endpoints": {"pod": "1"}},
    {"wait_counts": {"1": 1.5}},
    {"duration_counts": {"1": -1}},
    {"started": {"pod": [math.nan, 1.0, 0.0]}},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_what_cannot_be_is_no_beat(lie: dict[str, object]) -> None:
    """One NaN would stay in a Backend's averages, and nothing could be decided for it any more."""
    line = json.dumps({"gateway": "g", "seq": 1, "duration": 1.0, "stats": {"iris": lie}})
    with pytest.raises(ValueError, match=r"iris"):
        Beat.decode(line)


@pytest.mark.parametrize(
    "lie",
    [
        {"duration": math.inf},
        {"duration": -1.0},
        {"duration": 1e308},
        {"age": math.nan},
        {"age": -60.0},
        {"seq": "1"},
        {"seq": -1},
        {"gateway": None},
        {"draining": ["pod"]},
        {"draining": {"iris": {"pod": -1}}},
    ],
    ids=str,
)
def test_a_beat_that_cannot_be_is_none(lie: dict[str, object]) -> None:
    """The collector's clock and its seconds are not to be moved by it."""
    with pytest.raises(ValueError, match="not a beat"):
        Beat.decode(json.dumps({"gateway": "g", "seq": 1, "duration": 1.0, "stats": {}, **lie}))


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("", id="empty"),
        pytest.param("nonsense", id="not JSON"),
        pytest.param("[]", id="a list"),
        pytest.param("3", id="a number"),
        pytest.param("{}", id="no stats"),
        pytest.param('{"stats": {}}', id="no gateway"),
        pytest.param(
            '{"gateway": "g", "seq": 1, "duration": 1, "stats": {"b": {"wait_counts": {"x": 1}}}}',
            id="a bound that is none",
        ),
        pytest.param(
            '{"gateway": "g", "seq": 1, "duration": 1, "stats": {"b": {"wait_counts": [1]}}}',
            id="counts are a list",
        ),
        pytest.param('{"gateway": "g", "seq": 1, "duration": 1, "stats": []}', id="stats are a list"),
        pytest.param('{"gateway": "g", "seq": 1, "duration": 1, "stats": {"b": 3}}', id="a stat is a number"),
        pytest.param(b'\xff{"gateway": "g"}', id="not UTF-8"),
        pytest.param('{"gateway": "g", "seq": 1, "duration": 1, "st', id="cut short"),
    ],
)
def test_a_line_that_is_not_a_beat_is_a_value_error(line: str | bytes) -> None:
    """Whatever arrives, the reader has one error to mind."""
    with pytest.raises(ValueError):  # noqa: PT011 - of JSON, of UTF-8 or "not a beat"
        Beat.decode(line)
