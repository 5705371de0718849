"""What the metrics ask for, and in which words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.demand import Demand, Reading, asked, demands
from autoscaler.spec import MetricSpec, ScalingSpec

WAIT = MetricSpec("queue_wait_p95", "queue_wait", 0.5, 0.5, relative=True, percentile=95)
CPU = MetricSpec("cpu", "cpu", 0.7, 0.7, interval=15)
CONCURRENCY = MetricSpec("concurrency", "concurrency", 1, 0.7)


def test_an_amount_is_shared_among_the_pods() -> None:
    """7 in flight at 0.7 are ten pods, however many there are."""
    assert [asked(CONCURRENCY, 7.0, ready) for ready in (0, 1, 20)] == [10, 10, 10]


@pytest.mark.parametrize(
    ("level", "ready", "pods"),
    [
        (1.0, 4, 8),
        (0.25, 4, 2),
        (0.54, 4, 4),
        (0.46, 4, 4),
        (0.56, 4, 5),
        (0.0, 4, 0),
        (0.1, 0, 1),
        (5.0, 0, 10),
        (0.5, 0, 1),
    ],
    ids=[
        "twice",
        "half",
        "near above",
        "near below",
        "above",
        "no request",
        "low at zero",
        "high at zero",
        "at zero",
    ],
)
def test_a_level_asks_for_as_many_times_the_ready_pods(level: float, ready: int, pods: int) -> None:
    """Within a tenth of the target for exactly those."""
    assert asked(WAIT, level, ready) == pods


@pytest.mark.parametrize(
    ("level", "pods"), [(0.5, 5), (0.54, 5), (0.25, 3), (0.0, 0), (0.6, 5), (2.0, 8)], ids=str
)
def test_a_level_is_no_reason_to_let_go_of_pods_that_are_not_ready(level: float, pods: int) -> None:
    """Of five that are set, two are ready: at its target none goes, and half of five is three."""
    assert asked(WAIT, level, 2, 5) == pods


@given(levels=st.tuples(st.floats(0, 5), st.floats(0, 5)), ready=st.integers(0, 9), unready=st.integers(0, 9))
def test_a_higher_level_never_asks_for_fewer(levels: tuple[float, float], ready: int, unready: int) -> None:
    """However many of the pods are ready."""
    less, more = sorted(levels)
    assert asked(WAIT, less, ready, ready + unready) <= asked(WAIT, more, ready, ready + unready)


def test_less_than_nothing_asks_for_nothing() -> None:
    """A gauge may be negative."""
    assert asked(CPU, -3.0, 2) == 0


def test_the_largest_demand_counts_in_each_window() -> None:
    """They need not be of one metric."""
    spec = ScalingSpec(metrics=(CONCURRENCY, CPU))
    found = demands(spec, (Reading(1.4, 7.0), Reading(2.8, 2.8)), 2)
    assert found is not None
    assert [(demand.metric.name, demand.pods, demand.window) for demand in found] == [
        ("cpu", 4, "stable"),
        ("concurrency", 10, "panic"),
    ]


def test_metrics_without_data_are_left_out() -> None:
    """Without any there is no demand, which is not none."""
    spec = ScalingSpec(metrics=(CONCURRENCY, CPU))
    found = demands(spec, (Reading(1.4, 1.4), Reading(None, None, "cpu since 50 s")), 2)
    assert found is not None
    assert found[0].pods == 2
    assert demands(spec, (Reading(None, None), Reading(None, None)), 2) is None


def test_resources_alone_hold_no_pod_when_no_request_comes() -> None:
    """A model in memory uses memory; as long as another metric asks for a pod they count."""
    spec = ScalingSpec(metrics=(CONCURRENCY, CPU))
    idle, busy = (Reading(0.0, 0.0), Reading(2.8, 2.8)), (Reading(0.0, 0.1), Reading(2.8, 2.8))
    for readings, quiet, pods in ((idle, True, 0), (idle, False, 4), (busy, True, 4)):
        found = demands(spec, readings, 2, quiet=quiet)
        assert found is not None
        assert found[0].pods == pods


@pytest.mark.parametrize(
    ("metric", "value", "words"),
    [
        (CONCURRENCY, 3.21, "3.21 in flight over 60 s want 2 at target 0.7"),
        (MetricSpec("rps", "rps", 200, 140), 1234.5, "1234 requests/s over 60 s want 2 at target 140"),
        (WAIT, 0.82, "queue_wait_p95 of 0.82 s over 60 s wants 2 at target 0.5 s"),
        (WAIT, 0.52, "queue_wait_p95 of 0.52 s over 60 s wants 2 at target 0.5 s, which is near enough"),
        (CPU, 1.3, "cpu of 1.3 cores over 60 s wants 2 at target 0.7 cores"),
        (
            MetricSpec("cpu", "cpu", 0.7, 0.7, share=True),
            1.3,
            "cpu of 130 % over 60 s wants 2 at target 70 %",
        ),
        (
            MetricSpec("memory", "memory", 2**31, 2**31),
            3.5 * 2**30,
            "memory of 3.5 GiB over 60 s wants 2 at target 2 GiB",
        ),
        (
            MetricSpec("memory", "memory", 5, 5),
            7,
            "memory of 7 bytes over 60 s wants 2 at target 5 bytes",
        ),
        (
            MetricSpec("pod vllm:num_requests_waiting", "pod", 4, 4),
            6,
            "pod vllm:num_requests_waiting of 6 over 60 s wants 2 at target 4",
        ),
    ],
    ids=["concurrency", "rps", "wait", "near", "cores", "share", "memory", "bytes", "pod"],
)
def test_a_demand_tells_itself_in_its_unit(metric: MetricSpec, value: float, words: str) -> None:
    """For the person who asks why."""
    assert str(Demand(2, metric, value, "stable", 60.0)) == words


metrics = st.builds(
    lambda target, relative: MetricSpec("pod x", "pod", target, target, relative=relative, interval=5),
    st.sampled_from([0.01, 0.5, 3.0, 70.0]),
    st.booleans(),
)


@given(metric=metrics, ready=st.integers(0, 50), values=st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)))
def test_more_never_asks_for_fewer(metric: MetricSpec, ready: int, values: Any) -> None:
    """Of an amount or of a level, across the edges of the tolerance too."""
    less, more = sorted(values)
    assert asked(metric, less, ready) <= asked(metric, more, ready)
