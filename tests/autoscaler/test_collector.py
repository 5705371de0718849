"""The collector: beats of several gateways become one value per Backend and second, whatever their arrival."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.collector import Collector
from autoscaler.demand import Reading
from autoscaler.spec import MetricSpec, ScalingSpec
from gateway.stats import LATENCY_BOUNDS, Beat, Stat

EPOCH = 1_700_000_000.0
RPS = MetricSpec("rps", "rps", 200.0, 140.0)
SPEC = ScalingSpec(stable_window=10, panic_window=2)


def beat(seq: int, load: float = 0.0, gateway: str = "gw-1", duration: float = 1.0, **stat: Any) -> Beat:
    """`load`: requests in flight throughout."""
    stats = {"iris": Stat(in_flight_seconds=load * duration, **stat)} if load or stat else {}
    return Beat(gateway, seq, duration, stats)


def collector(spec: ScalingSpec = SPEC) -> Collector:
    made = Collector()
    made.put("iris", spec)
    return made


@dataclass(frozen=True)
class Seen:
    """What is known of the first metric, and of the moment."""

    stable: float | None
    panic: float | None
    in_flight: int
    waiting: int
    missing: str


def observe(made: Collector, now: float, replicas: int = 1) -> Seen:
    known = made.observe("iris", ready=replicas, replicas=replicas, now=EPOCH + now)
    return Seen(
        known.readings[0].stable, known.readings[0].panic, known.in_flight, known.waiting, known.missing
    )


def feed(made: Collector, loads: Iterable[float], start: int = 1, gateway: str = "gw-1") -> float:
    """One beat a second in the middle of each; returns when the last one came."""
    at = start - 0.5
    for seq, load in enumerate(loads, start=start):
        at = seq - 0.5
        made.receive(beat(seq, load, gateway), EPOCH + at)
    return at


def test_before_any_beat_nothing_is_known() -> None:
    """Averages of no data are None, not zero."""
    seen = observe(collector(), 0)
    assert (seen.stable, seen.panic, seen.missing) == (None, None, "")


def test_a_backend_absent_from_a_beat_is_zero() -> None:
    """A gateway without traffic says so by leaving the Backend out."""
    made = collector()
    now = feed(made, [0])
    assert (observe(made, now).stable, observe(made, now).panic) == (0.0, 0.0)


def test_queued_requests_count_as_concurrency() -> None:
    """Request-seconds in flight and queued add up, per second of the beat."""
    made = collector()
    stat = Stat(in_flight_seconds=3.0, queued_seconds=2.0)
    made.receive(Beat("gw-1", 1, 2.0, {"iris": stat}), EPOCH + 0.5)
    assert observe(made, 0.5).stable == 2.5


def test_rps_counts_requests_begun() -> None:
    """Under `metric: rps` a beat's value is what began per second."""
    made = collector(ScalingSpec(metrics=(RPS,), stable_window=10, panic_window=2))
    made.receive(Beat("gw-1", 1, 2.0, {"iris": Stat(in_flight_seconds=99, begun=30)}), EPOCH + 0.5)
    assert observe(made, 0.5).stable == 15.0


def test_with_one_gateway_nothing_lags() -> None:
    """A beat counts from the moment of its arrival."""
    made = collector()
    feed(made, [1, 1, 1, 1])
    made.receive(beat(5, 5.0), EPOCH + 4.5)
    assert observe(made, 4.5).panic == 3.0


def test_a_half_told_second_does_not_count_yet() -> None:
    """While one of two gateways is still to speak, the average is over the seconds that both have told."""
    made = collector()
    for seq in (1, 2):
        made.receive(beat(seq, 4.0, "gw-1"), EPOCH + seq + 0.1)
        made.receive(beat(seq, 6.0, "gw-2"), EPOCH + seq + 0.9)
    made.receive(beat(3, 4.0, "gw-1"), EPOCH + 3.1)
    assert observe(made, 3.1).panic == 10.0
    assert repr(made) == "<Collector 2 gateways, 1 of 1 backends busy, bucket 1700000002, 1 waiting>"


def test_a_bucket_two_seconds_old_waits_for_nobody() -> None:
    """A gateway that fell silent holds the others' data back for two seconds."""
    made = collector()
    made.receive(beat(1, 6.0, "gw-2"), EPOCH + 1.2)
    for seq in (1, 2, 3, 4):
        made.receive(beat(seq, 4.0, "gw-1"), EPOCH + seq + 0.1)
    assert observe(made, 4.1).panic == (10.0 + 4.0) / 2


def test_what_comes_late_is_added_to_its_second() -> None:
    """A beat for a bucket that counts already is not lost."""
    made = collector()
    made.receive(beat(1, 6.0, "gw-2"), EPOCH + 1.2)
    for seq in (1, 2, 3, 4):
        made.receive(beat(seq, 4.0, "gw-1"), EPOCH + seq + 0.1)
    made.receive(beat(2, 6.0, "gw-2"), EPOCH + 4.2)
    assert observe(made, 4.2).panic == 10.0


@given(st.lists(st.floats(-0.4, 0.4), min_size=12, max_size=40), st.floats(0, 1))
def test_jitter_neither_loses_nor_doubles_a_bucket(jitter: list[float], phase: float) -> None:
    """Beats that each mean one request per second keep reading exactly one, whenever within ±0.4 s they arrive."""
    made = collector()
    for seq, late in enumerate(jitter, start=1):
        now = EPOCH + 10 + seq + phase + late
        made.receive(beat(seq, 1.0), now)
        seen = observe(made, now - EPOCH)
        assert (seen.stable, seen.panic) == (1.0, 1.0)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30)
)
def test_several_gateways_read_as_one(loads: list[tuple[int, int, int]]) -> None:
    """The sum over gateways equals one gateway with all of the load."""
    one, many = collector(), collector()
    for seq, parts in enumerate(loads, start=1):
        one.receive(beat(seq, sum(parts), in_flight=sum(parts)), EPOCH + seq + 0.9)
        for index, load in enumerate(parts):
            at = EPOCH + seq + 0.3 * (index + 1)
            many.receive(beat(seq, load, f"gw-{index}", in_flight=load), at)
    now = len(loads) + 0.9
    assert observe(many, now) == observe(one, now)


def test_a_stalled_gateways_beat_speaks_for_all_its_seconds() -> None:
    """A beat of four seconds fills four buckets with its rate."""
    made = collector()
    feed(made, [2, 2])
    made.receive(beat(3, 2.0, duration=4.0), EPOCH + 5.5)
    assert observe(made, 5.5).stable == 2.0


def test_the_beat_after_a_lost_one_speaks_for_both_seconds() -> None:
    """One lost beat is no second without load."""
    made = collector()
    feed(made, [2, 2])
    made.receive(beat(4, 2.0), EPOCH + 3.5)
    assert observe(made, 3.5).panic == 2.0


def test_a_burst_of_delayed_beats_falls_into_the_right_seconds() -> None:
    """Three beats that were held up on their way count for the three seconds that they were made in."""
    made = collector()
    feed(made, [2, 2])
    for seq, load in ((3, 4.0), (4, 6.0), (5, 8.0)):
        made.receive(beat(seq, load), EPOCH + 4.6)
    assert observe(made, 4.6).panic == 7.0
    assert observe(made, 4.6).stable == (2 + 2 + 4 + 6 + 8) / 5


@pytest.mark.parametrize("length", [1.01, 0.99], ids=["slow", "fast"])
def test_a_drifting_clock_costs_no_more_than_a_bucket(length: float) -> None:
    """A gateway whose second is not ours stays within two seconds of the present, and reads a steady load as such."""
    made = collector()
    for seq in range(1, 600):
        now = seq * length
        made.receive(beat(seq, 3.0), EPOCH + now)
        assert observe(made, now).stable == 3.0
    assert abs(made._newest - EPOCH - now) < 3


def test_a_beat_told_twice_counts_once() -> None:
    """A repeated sequence number changes nothing."""
    made = collector()
    feed(made, [4])
    made.receive(beat(1, 4.0), EPOCH + 0.7)
    assert observe(made, 0.7).stable == 4.0


def test_a_restart_under_the_same_name_goes_on() -> None:
    """A sequence number that falls back begins a new life, not a flood of old beats."""
    made = collector()
    feed(made, [4, 4, 4, 4])
    for seq in (1, 2, 3):
        made.receive(beat(seq, 4.0), EPOCH + 4 + seq)
    seen = observe(made, 7)
    assert (seen.stable, seen.missing) == (4.0, "")


def test_a_restart_under_a_new_name_takes_the_old_ones_place() -> None:
    """A new id from the same source leaves nobody behind that is missing."""
    made = collector()
    for seq in (1, 2):
        made.receive(beat(seq, 4.0, in_flight=4), EPOCH + seq, "http://gw")
    for seq in (1, 2, 3, 4):
        made.receive(beat(seq, 4.0, "gw-2", in_flight=1), EPOCH + 2 + seq, "http://gw")
    seen = observe(made, 6)
    assert (seen.stable, seen.in_flight, seen.missing) == (4.0, 1, "")


def test_a_silent_gateway_is_missing() -> None:
    """Three seconds without a beat are named, and what the others say still counts."""
    made = collector()
    feed(made, [1] * 4, gateway="gw-1")
    feed(made, [1] * 8, gateway="gw-2")
    assert observe(made, 7.5).missing == "gateway gw-1 since 4 s"


def test_a_gateway_long_silent_is_forgotten() -> None:
    """A minute without a beat: it is gone, and its requests with it."""
    made = collector()
    made.receive(beat(1, 5.0, "gw-1", in_flight=5), EPOCH)
    made.receive(beat(1, 1.0, "gw-2", in_flight=1), EPOCH + 61)
    seen = observe(made, 61)
    assert (seen.missing, seen.in_flight, made.gateways) == ("", 1, 1)


def test_a_gateway_that_ended_its_stream_is_soon_forgotten() -> None:
    """Who shuts down in good order is not waited for."""
    made = collector()
    made.receive(beat(1, 5.0), EPOCH, "http://gw")
    made.left("http://gw")
    assert observe(made, 4).missing == "gateway gw-1 since 4 s"
    seen = observe(made, 6)
    assert (seen.missing, seen.in_flight, made.gateways) == ("", 0, 0)


def test_a_gateway_that_came_back_has_not_left() -> None:
    """An ended stream that is taken up again means nothing."""
    made = collector()
    made.receive(beat(1, 5.0), EPOCH, "http://gw")
    made.left("http://gw")
    made.receive(beat(2, 5.0), EPOCH + 1, "http://gw")
    observe(made, 10)
    assert made.gateways == 1


def test_a_nudge_brings_counts_and_no_average() -> None:
    """Counts of the moment are taken over at once; no bucket changes."""
    made = collector()
    feed(made, [1, 1])
    nudge = Beat("gw-1", 2, 0.0, {"iris": Stat(in_flight=3, queued=7)}, nudge=True)
    assert made.receive(nudge, EPOCH + 1.6) == ["iris"]
    seen = observe(made, 1.6)
    assert (seen.in_flight, seen.waiting, seen.stable) == (3, 7, 1.0)


def test_a_nudge_before_the_first_beat_is_heard() -> None:
    """Somebody who waits is known even before there are data."""
    made = collector()
    assert made.receive(Beat("gw-1", 0, 0.0, {"iris": Stat(queued=1)}, nudge=True), EPOCH) == ["iris"]
    seen = observe(made, 0)
    assert (seen.waiting, seen.stable) == (1, None)


def test_a_nudge_for_a_stranger_asks_for_nothing() -> None:
    """A Backend that the configuration does not name is nobody's."""
    assert collector().receive(Beat("gw-1", 0, 0.0, {"other": Stat(queued=1)}, nudge=True), EPOCH) == []


def test_in_flight_per_endpoint_is_summed() -> None:
    """Each pod's requests, over all gateways."""
    made = collector()
    made.receive(beat(1, 3.0, "gw-1", endpoints={"a": 1, "b": 2}), EPOCH)
    made.receive(beat(1, 3.0, "gw-2", endpoints={"b": 3}), EPOCH)
    assert made.endpoints("iris") == {"a": 1, "b": 5}
    assert made.endpoints("other") == {}


def draining(seq: int, gateway: str, **pods: int) -> Beat:
    return Beat(gateway, seq, 1.0, {}, {"iris": pods} if pods else {})


@pytest.mark.parametrize(
    ("second", "drained"),
    [
        (draining(2, "gw-2", a=0), True),
        (draining(2, "gw-2", a=1), False),
        (draining(2, "gw-2"), False),
    ],
    ids=["idle everywhere", "busy at one", "unknown to one"],
)
def test_drained_needs_every_gateway(second: Beat, drained: bool) -> None:
    """A pod may end when all gateways treat it as draining and have nothing there."""
    made = collector()
    made.receive(draining(1, "gw-1", a=0), EPOCH + 1)
    made.receive(second, EPOCH + 1)
    assert made.drained("iris", "a", since=EPOCH) is drained


def test_drained_needs_a_beat_later_than_the_mark() -> None:
    """What was said before a pod was marked, even for an earlier mark, proves nothing."""
    made = collector()
    made.receive(draining(1, "gw-1", a=0), EPOCH + 1)
    assert not made.drained("iris", "a", since=EPOCH + 1)
    made.receive(draining(2, "gw-1", a=0), EPOCH + 2)
    assert made.drained("iris", "a", since=EPOCH + 1)


def test_nothing_is_drained_or_idle_without_gateways() -> None:
    """Silence is no proof."""
    assert not collector().drained("iris", "a", since=0.0)
    assert not collector().idle("iris", since=0.0)


def test_a_beat_that_names_an_idle_draining_pod_asks_for_action() -> None:
    """The Backend is named as soon as one of its draining pods has nothing left."""
    made = collector()
    assert made.receive(draining(1, "gw-1", a=1), EPOCH + 1) == []
    assert made.receive(draining(2, "gw-1", a=1, b=0), EPOCH + 2) == ["iris"]


def test_idle_means_no_request_at_any_gateway() -> None:
    """For a Backend whose pods the gateways no longer name."""
    made = collector()
    made.receive(beat(1, 1.0, "gw-1", queued=1), EPOCH + 1)
    made.receive(beat(1, 0, "gw-2"), EPOCH + 1)
    assert not made.idle("iris", since=EPOCH)
    made.receive(beat(2, 0, "gw-1"), EPOCH + 2)
    assert made.idle("iris", since=EPOCH)
    assert not made.idle("iris", since=EPOCH + 1)


def test_after_idling_with_pods_the_idle_time_counts() -> None:
    """A burst is averaged with the idle seconds before it, as they were measured: 10 over 10 s is 1."""
    made = collector()
    now = feed(made, [0] * 5)
    observe(made, now, replicas=1)
    feed(made, [0] * 30, start=6)
    made.receive(beat(36, 10.0), EPOCH + 35.5)
    assert (observe(made, 35.5).stable, observe(made, 35.5).panic) == (1.0, 5.0)


def test_after_zero_pods_windows_begin_anew() -> None:
    """A wake from zero is judged by what came since, as in Knative."""
    made = collector()
    feed(made, [0] * 30)
    observe(made, 29.5, replicas=0)
    made.receive(beat(31, 10.0), EPOCH + 30.5)
    assert (observe(made, 30.5).stable, observe(made, 30.5).panic) == (10.0, 10.0)


def test_an_idle_backend_costs_nothing() -> None:
    """A stable window after the last request the windows are let go."""
    made = collector()
    feed(made, [4] + [0] * 10)
    assert "1 of 1 backends busy" in repr(made)
    feed(made, [0] * 3, start=12)
    assert "0 of 1 backends busy" in repr(made)
    assert repr(made._series["iris"]) == "<Series iris by concurrency: idle>"


def test_a_resized_window_keeps_its_data() -> None:
    """A reload with other windows forgets nothing that fits."""
    made = collector()
    now = feed(made, [2] * 4 + [8] * 2)
    made.put("iris", ScalingSpec(stable_window=20, panic_window=3))
    seen = observe(made, now)
    assert (seen.stable, seen.panic) == (4.0, 6.0 + 2.0)


def test_another_metric_begins_anew() -> None:
    """Values of another unit are not mixed, and until the first of them nothing is known."""
    made = collector()
    now = feed(made, [2] * 4)
    made.put("iris", ScalingSpec(metrics=(RPS,), stable_window=10, panic_window=2))
    assert observe(made, now).stable is None
    made.receive(Beat("gw-1", 5, 1.0, {"iris": Stat(begun=6)}), EPOCH + 4.5)
    assert observe(made, 4.5).stable == 6.0


def test_a_dropped_backend_is_measured_no_longer() -> None:
    """Its requests of the moment are still known, for its removal."""
    made = collector()
    made.receive(beat(1, 2.0, endpoints={"a": 2}), EPOCH)
    made.drop("iris")
    made.receive(beat(2, 2.0, endpoints={"a": 1}), EPOCH + 1)
    assert made.endpoints("iris") == {"a": 1}
    with pytest.raises(KeyError):
        observe(made, 1)


def test_a_beat_without_duration_has_no_rate() -> None:
    """Nothing is divided by zero."""
    made = collector()
    made.receive(Beat("gw-1", 1, 0.0, {"iris": Stat(in_flight_seconds=1.0)}), EPOCH)
    assert observe(made, 0).stable == 0.0


def test_a_beat_from_another_age_is_taken_up_where_it_arrives() -> None:
    """After a pause of the autoscaler longer than any delay on the way, the arrival decides."""
    made = collector()
    feed(made, [2, 2])
    made.receive(beat(3, 2.0), EPOCH + 100.5)
    assert made._newest == EPOCH + 100
    assert observe(made, 100.5).stable == 2.0


# Gateways that are named before they are heard of.


def test_an_expected_gateway_is_missing_until_its_first_beat() -> None:
    """Of any kind, since a nudge too says that it is there and being followed."""
    made = collector()
    made.expect("http://gw-1", EPOCH)
    assert observe(made, 5).missing == "gateway at http://gw-1 since 5 s"
    made.receive(beat(1), EPOCH + 6, "http://gw-1")
    assert observe(made, 6).missing == ""
    made.expect("http://gw-1", EPOCH + 7)
    assert observe(made, 7).missing == ""


def test_no_pod_is_drained_while_a_gateway_is_expected() -> None:
    """It may have requests there."""
    made = collector()
    made.receive(Beat("gw-1", 1, 1.0, {}, {"iris": {"a": 0}}), EPOCH + 2, "http://gw-1")
    assert made.drained("iris", "a", since=EPOCH)
    assert made.idle("iris", since=EPOCH)
    assert made.left_alone("iris", since=EPOCH)
    made.expect("http://gw-2", EPOCH + 2)
    assert not made.drained("iris", "a", since=EPOCH)
    assert not made.idle("iris", since=EPOCH)
    assert not made.left_alone("iris", since=EPOCH)


def test_an_expected_gateway_is_forgotten_as_a_silent_one_is() -> None:
    """After a minute; expecting it again meanwhile prolongs nothing."""
    made = collector()
    made.expect("http://gw-1", EPOCH)
    made.expect("http://gw-1", EPOCH + 50)
    assert observe(made, 60).missing
    assert not observe(made, 61).missing


def test_an_expected_gateway_that_is_gone_is_not_waited_for() -> None:
    """Its place is named no more, or it closed the stream."""
    made = collector()
    made.expect("http://gw-1", EPOCH)
    made.left("http://gw-1")
    assert not observe(made, 1).missing


# Several metrics, and what is sampled.

WAIT = MetricSpec("queue_wait_p95", "queue_wait", 0.5, 0.5, relative=True, percentile=95)
QUERY = MetricSpec("prometheus backlog", "prometheus", 10.0, 10.0, interval=15)
SEVERAL = ScalingSpec(metrics=(RPS, WAIT, QUERY), stable_window=10, panic_window=2)
FIFTH = LATENCY_BOUNDS.index(0.2)


def several(made: Collector, now: float) -> tuple[Reading, ...]:
    return made.observe("iris", ready=1, replicas=1, now=EPOCH + now).readings


def test_a_beat_feeds_all_metrics_of_a_backend() -> None:
    """Rates per second of the beat; latencies as they were counted."""
    made = collector(SEVERAL)
    stat = Stat(begun=30, wait_counts={FIFTH: 30})
    made.receive(Beat("gw-1", 1, 2.0, {"iris": stat}), EPOCH + 0.5)
    rps, wait, query = several(made, 0.5)
    assert rps.stable == 15.0
    assert 0.15 < (wait.stable or 0) <= 0.2
    assert query.missing == "prometheus backlog yet"


def test_a_percentile_is_of_the_requests_of_all_gateways() -> None:
    """Ninety quick ones at one and ten slow ones at another: an average of two percentiles would be far off."""
    made = collector(SEVERAL)
    for name, counts in (("gw-1", {0: 90}), ("gw-2", {FIFTH: 10})):
        made.receive(Beat(name, 1, 1.0, {"iris": Stat(wait_counts=counts)}), EPOCH + 0.5)
    made.receive(beat(2, 0, "gw-1"), EPOCH + 1.5)
    made.receive(beat(2, 0, "gw-2"), EPOCH + 1.5)
    assert 0.15 < (several(made, 1.5)[1].stable or 0) <= 0.2


def test_a_stalled_gateways_latencies_count_once() -> None:
    """Its beat stands for four seconds, in each of which the rate was the same; the requests were there once."""
    made = collector(SEVERAL)
    made.receive(Beat("gw-1", 1, 1.0, {"iris": Stat(begun=1, wait_counts={0: 90})}), EPOCH + 0.5)
    made.receive(Beat("gw-1", 2, 4.0, {"iris": Stat(begun=4, wait_counts={FIFTH: 4})}), EPOCH + 4.5)
    rps, wait, _ = several(made, 4.5)
    assert rps.stable == 1.0
    assert (wait.stable or 1) < 0.001


def test_a_sample_is_read_from_then_on() -> None:
    """Of Backends that are known; what comes late for one that is gone is nobody's."""
    made = collector(SEVERAL)
    made.sample("iris", "prometheus backlog", 40.0, EPOCH)
    made.failed("iris", "prometheus backlog", "timed out", EPOCH + 15)
    made.sample("gone", "prometheus backlog", 40.0, EPOCH)
    made.failed("gone", "prometheus backlog", "timed out", EPOCH)
    assert several(made, 45)[2] == Reading(40.0, 40.0)
    assert several(made, 46)[2].missing == "prometheus backlog since 46 s (timed out)"


def test_samples_of_something_else_are_forgotten() -> None:
    """A query that asks for another thing under the same name: averaged with bytes, jobs would ask for a million pods."""
    made = collector(SEVERAL)
    made.sample("iris", "prometheus backlog", 4e9, EPOCH)
    made.renew("iris", "prometheus backlog")
    made.renew("gone", "prometheus backlog")
    assert several(made, 1)[2].missing == "prometheus backlog yet"
    made.sample("iris", "prometheus backlog", 3.0, EPOCH + 1)
    assert several(made, 2)[2] == Reading(3.0, 3.0)


def test_a_backend_is_quiet_when_no_request_has_come_for_a_window() -> None:
    """Not before a gateway has said so."""
    made = collector()
    seen = [made.observe("iris", ready=1, replicas=1, now=EPOCH).quiet]
    feed(made, [1] + [0] * 12)
    seen += [made.observe("iris", ready=1, replicas=1, now=EPOCH + 12.5).quiet]
    made.receive(beat(14, 1.0), EPOCH + 13.5)
    seen += [made.observe("iris", ready=1, replicas=1, now=EPOCH + 13.5).quiet]
    assert seen == [False, True, False]


@given(
    st.lists(
        st.lists(st.dictionaries(st.integers(0, 23), st.integers(1, 50), max_size=3), min_size=3, max_size=3),
        min_size=1,
        max_size=12,
    )
)
def test_latencies_of_several_gateways_read_as_of_one(seconds: list[list[dict[int, int]]]) -> None:
    """The percentile over all gateways equals that of one with all of the requests."""
    one, many = collector(SEVERAL), collector(SEVERAL)
    for seq, parts in enumerate(seconds, start=1):
        whole: Counter[int] = Counter()
        for index, counts in enumerate(parts):
            whole.update(counts)
            stat = Stat(begun=sum(counts.values()), wait_counts=counts)
            many.receive(Beat(f"gw-{index}", seq, 1.0, {"iris": stat}), EPOCH + seq + 0.3 * (index + 1))
        stat = Stat(begun=sum(whole.values()), wait_counts=whole)
        one.receive(Beat("gw-1", seq, 1.0, {"iris": stat}), EPOCH + seq + 0.9)
    assert several(many, len(seconds) + 0.9) == several(one, len(seconds) + 0.9)
