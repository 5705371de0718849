"""Series: one Backend's windows and samples, by metric."""

from typing import Any

import pytest

from autoscaler.demand import Reading
from autoscaler.series import Measured, Series
from autoscaler.spec import MetricSpec, ScalingSpec
from autoscaler.window import Window
from gateway.stats import LATENCY_BOUNDS

EPOCH = 1_700_000_000
CONCURRENCY = MetricSpec("concurrency", "concurrency", 1, 0.7)
RPS = MetricSpec("rps", "rps", 200, 140)
WAIT = MetricSpec("queue_wait_p50", "queue_wait", 0.5, 0.5, relative=True, percentile=50)
TIME = MetricSpec("response_time_p95", "response_time", 2, 2, relative=True, percentile=95)
GAUGE = MetricSpec("pod waiting", "pod", 4, 4, interval=5)
QUERY = MetricSpec("prometheus backlog", "prometheus", 10, 10, interval=15)


def series(*metrics: MetricSpec, **words: Any) -> Series:
    return Series("iris", ScalingSpec(metrics=metrics, stable_window=10, panic_window=2, **words))


def readings(made: Series, now: int, *, heard: bool = True, ready: int = 1) -> tuple[Reading, ...]:
    return made.readings(EPOCH + now, EPOCH + now, heard=heard, ready=ready)


def test_each_metric_reads_its_own_part() -> None:
    """Of one bucket that holds all of them."""
    made = series(RPS, CONCURRENCY, WAIT, TIME)
    made.record(EPOCH, Measured(3.0, 40.0, {12: 1}, {16: 1}))
    rps, concurrency, wait, time = readings(made, 0)
    assert (rps.stable, rps.panic) == (40.0, 40.0)
    assert (concurrency.stable, concurrency.panic) == (3.0, 3.0)
    assert LATENCY_BOUNDS[11] < (wait.stable or 0) <= LATENCY_BOUNDS[12]
    assert LATENCY_BOUNDS[15] < (time.panic or 0) <= LATENCY_BOUNDS[16]
    assert "queue_wait" in repr(made)


def test_before_any_gateway_was_heard_nothing_is_known() -> None:
    """Which is not the same as zero."""
    assert readings(series(CONCURRENCY), 0, heard=False) == (Reading(None, None),)


def test_a_busy_backend_without_requests_in_a_second_has_no_latency_there() -> None:
    """Seconds without requests neither raise nor lower a percentile, and a window without any reads 0."""
    made = series(WAIT)
    made.record(EPOCH, Measured(1.0, 1.0, {12: 1}))
    for second in range(1, 4):
        made.record(EPOCH + second, Measured(1.0))
    (wait,) = readings(made, 3)
    assert (wait.stable or 0) > LATENCY_BOUNDS[11]
    assert wait.panic == 0.0


def test_exponential_weights_are_knatives() -> None:
    """The same as of a Window by itself, which its golden traces hold to Knative's."""
    made = series(CONCURRENCY, averaging="weighted_exponential")
    window = Window(10, 1)
    for second, value in enumerate((1.0, 5.0, 2.0)):
        made.record(EPOCH + second, Measured(value))
        window.record(EPOCH + second, value)
    assert readings(made, 2)[0].stable == window.weighted_average(EPOCH + 2)


def test_an_idle_backend_keeps_no_windows() -> None:
    """A stable window after the last request, whichever metric it showed in."""
    made = series(CONCURRENCY, WAIT)
    made.record(EPOCH, Measured(0.0, 0.0, {3: 1}))
    for second in range(1, 11):
        made.record(EPOCH + second, Measured())
    assert made.open
    made.record(EPOCH + 11, Measured())
    assert not made.open
    assert readings(made, 11) == (Reading(0.0, 0.0), Reading(0.0, 0.0))
    assert repr(made) == "<Series iris by concurrency, queue_wait_p50: idle>"


# What is sampled


def test_samples_are_read_beside_what_gateways_tell() -> None:
    """By their names; one that the Backend does not scale on is left out."""
    made = series(CONCURRENCY, QUERY)
    made.sample("prometheus backlog", 30.0, EPOCH)
    made.sample("prometheus other", 99.0, EPOCH)
    made.failed("prometheus other", "gone", EPOCH)
    assert readings(made, 5) == (Reading(0.0, 0.0), Reading(30.0, 30.0))
    assert readings(made, 5, heard=False)[1] == Reading(30.0, 30.0)


def test_a_sample_that_does_not_hold_any_more_is_missing() -> None:
    """With its name, since when, and why."""
    made = series(QUERY)
    made.sample("prometheus backlog", 30.0, EPOCH)
    made.failed("prometheus backlog", "connection refused", EPOCH + 15)
    assert readings(made, 46) == (Reading(None, None, "prometheus backlog since 46 s (connection refused)"),)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_sample_that_is_no_number_is_none(value: float) -> None:
    """It says what came instead."""
    made = series(QUERY)
    made.sample("prometheus backlog", value, EPOCH)
    assert readings(made, 0)[0].missing == f"prometheus backlog since 0 s (the value is {value})"


def test_without_pods_what_is_read_off_pods_is_zero() -> None:
    """There is nobody to ask; a query can be asked all the same."""
    made = series(GAUGE, QUERY)
    gauge, query = readings(made, 0, ready=0)
    assert gauge == Reading(0.0, 0.0)
    assert query.missing == "prometheus backlog yet"
    assert readings(made, 0, ready=1)[0].missing == "pod waiting yet"


def test_exponential_weights_hold_for_samples_of_amounts() -> None:
    """A level's average stays plain, as its percentile does."""
    level = MetricSpec("pod load", "pod", 4, 4, relative=True, interval=5)
    made = series(GAUGE, level, averaging="weighted_exponential")
    for name in ("pod waiting", "pod load"):
        made.sample(name, 0.0, EPOCH)
        made.sample(name, 8.0, EPOCH + 5)
    gauge, plain = readings(made, 10)
    assert plain.stable == 4.0
    assert (gauge.stable or 0) > 6.0


# Reloads


def test_metrics_that_stay_keep_their_data() -> None:
    """With other windows and targets too."""
    made = series(CONCURRENCY, WAIT, QUERY)
    made.sample("prometheus backlog", 30.0, EPOCH)
    for second in range(4):
        made.record(EPOCH + second, Measured(2.0, 1.0, {12: 1}))
    spec = ScalingSpec(metrics=(QUERY, WAIT, CONCURRENCY), stable_window=20, panic_window=3)
    made.respec(spec, EPOCH + 3)
    query, wait, concurrency = readings(made, 3)
    assert query.stable == 30.0
    assert (wait.stable or 0) > LATENCY_BOUNDS[11]
    assert concurrency.stable == 2.0


def test_a_metric_that_is_new_to_a_busy_backend_is_missing_until_it_is_told() -> None:
    """That its window is empty does not say that there is no load."""
    made = series(CONCURRENCY)
    made.record(EPOCH, Measured(2.0, 50.0))
    made.respec(ScalingSpec(metrics=(CONCURRENCY, RPS), stable_window=10, panic_window=2), EPOCH)
    assert readings(made, 0) == (Reading(2.0, 2.0), Reading(None, None, "rps yet"))
    made.record(EPOCH + 1, Measured(2.0, 50.0))
    assert readings(made, 1)[1] == Reading(50.0, 50.0)


def test_a_new_metric_of_an_idle_backend_reads_nothing() -> None:
    """No request has come, by whatever one counts."""
    made = series(CONCURRENCY)
    made.respec(ScalingSpec(metrics=(RPS, QUERY), stable_window=10, panic_window=2), EPOCH)
    assert readings(made, 0)[0] == Reading(0.0, 0.0)
    made.sample("prometheus backlog", 1.0, EPOCH)
    assert repr(made).endswith("idle [<Samples 1 over 10 s>]>")


def test_what_several_gateways_measured_adds_up() -> None:
    """Rates and counts; counts belong to one bucket, rates to each that they stand for."""
    sum_of_two = Measured(1.0, 2.0, {1: 1}, {5: 1}).plus(Measured(2.0, 3.0, {1: 2, 2: 1}))
    assert (sum_of_two.concurrency, sum_of_two.rps) == (3.0, 5.0)
    assert (sum_of_two.waits, sum_of_two.durations) == ({1: 3, 2: 1}, {5: 1})
    assert not sum_of_two.rates().waits
    assert repr(sum_of_two) == "<Measured 3 in flight, 5 requests/s>"
