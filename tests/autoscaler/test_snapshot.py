"""From what an autoscaler knows to JSON and back."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.collector import Collector
from autoscaler.kpa import State
from autoscaler.snapshot import Snapshot
from autoscaler.spec import MetricSpec, ScalingSpec
from gateway.stats import Beat, Stat

EPOCH = 1_700_000_000.0
METRICS = (
    MetricSpec("concurrency", "concurrency", 2.0, 1.4),
    MetricSpec("rps", "rps", 10.0, 7.0),
    MetricSpec("queue_wait_p95", "queue_wait", 0.5, 0.5, relative=True, percentile=95),
    MetricSpec("response_time_p95", "response_time", 0.5, 0.5, relative=True, percentile=95),
    MetricSpec("cpu", "cpu", 0.7, 0.7, interval=5),
)
SPEC = ScalingSpec(metrics=METRICS, stable_window=20, panic_window=4, scale_down_delay=10)


def beat(seq: int, requests: int = 3, age: float = 0.0) -> Beat:
    stat = Stat(
        float(requests),
        0.5,
        requests,
        requests,
        0,
        0.0,
        requests,
        1,
        {"pod": 1},
        {3: requests},
        {9: requests},
    )
    return Beat("gw-1", seq, 1.0, {"iris": stat} if requests else {}, age=age)


def told(loads: list[int], spec: ScalingSpec = SPEC) -> tuple[Collector, float]:
    collector, now = Collector(), EPOCH
    collector.put("iris", spec)
    for seq, requests in enumerate(loads, start=1):
        now = EPOCH + seq
        collector.receive(beat(seq, requests), now, "gw")
        if seq % 5 == 0:
            collector.sample("iris", "cpu", float(requests), now)
    return collector, now


def taken(collector: Collector, now: float, spec: ScalingSpec = SPEC) -> Snapshot:
    state = replace(
        State.initial(spec, 3, now), idle_since=now, delay=State.initial(spec, 3, now).delay.record(now, 7)
    )
    return Snapshot(now, collector.packed(), {"iris": state})


def resumed(snapshot: Snapshot, now: float, spec: ScalingSpec = SPEC) -> Collector:
    made = Collector()
    made.resume(snapshot.collector, now)
    kept = snapshot.of("iris", spec, now)
    made.put("iris", spec, kept and kept[0])
    return made


@given(st.lists(st.integers(0, 9), max_size=50), st.lists(st.integers(0, 9), max_size=30))
def test_who_goes_on_knows_what_the_other_would(before: list[int], after: list[int]) -> None:
    """Every metric's readings, now and as the same beats go on coming."""
    one, now = told(before)
    snapshot = taken(one, now)
    assert Snapshot.decode(snapshot.encode(), now) == snapshot
    other = resumed(Snapshot.decode(snapshot.encode(), now), now)
    for seq, requests in enumerate([*after, 0], start=len(before) + 1):
        assert observed(other, now) == observed(one, now)
        now = EPOCH + seq
        for collector in (one, other):
            collector.receive(beat(seq, requests), now, "gw")


def observed(collector: Collector, now: float) -> Any:
    seen = collector.observe("iris", ready=3, replicas=3, now=now)
    readings = [(_rounded(reading.stable), _rounded(reading.panic)) for reading in seen.readings]
    return readings, seen.in_flight, seen.waiting, seen.missing, seen.quiet


def _rounded(value: float | None) -> float | None:
    return value and round(value, 9)


def test_states_come_back_whole() -> None:
    """What was remembered of panic, delays and idleness."""
    collector, now = told([3] * 10)
    snapshot = taken(collector, now)
    kept = Snapshot.decode(snapshot.encode(), now + 2).of("iris", SPEC, now + 2)
    assert kept is not None
    assert kept[1] == snapshot.states["iris"]
    assert repr(snapshot) == f"<Snapshot of 1 backends at {now:.0f}>"


def test_a_snapshot_older_than_the_stable_window_is_no_use() -> None:
    """For that Backend; one with a longer window may go on, knowing that it has missed something."""
    collector, now = told([3] * 10)
    snapshot = taken(collector, now)
    assert snapshot.of("iris", SPEC, now + 21) is None
    assert snapshot.of("rose", SPEC, now) is None
    kept = replace(snapshot, states={}).of("iris", SPEC, now)
    assert kept == (snapshot.collector.series["iris"], None)
    kept = snapshot.of("iris", replace(SPEC, stable_window=600), now + 100)
    assert kept is not None
    assert kept[1] is not None
    assert kept[1].blind_at == now + 100


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "it is no snapshot, or cut off"),
        (b'{"version":1,"crc32":1,"snap', "it is no snapshot, or cut off"),
        (b'{"version":2,"crc32":1,"snapshot":{}}\n', "it is of version 2, and this is 1"),
        (b'{"version":1,"crc32":1,"snapshot":{}}\n', "it is damaged"),
    ],
    ids=["empty", "cut", "version", "sum"],
)
def test_what_is_no_snapshot_is_told(text: bytes, words: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValueError, match=words):
        Snapshot.decode(text, EPOCH)


def test_a_snapshot_of_the_future_is_told() -> None:
    """The clock was set back meanwhile; its seconds would be others."""
    collector, now = told([3])
    with pytest.raises(ValueError, match="it is of 60 s from now: the clock was set back"):
        Snapshot.decode(taken(collector, now).encode(), now - 60)


@given(st.integers(0), st.integers(1, 255))
def test_a_damaged_byte_is_noticed(place: int, byte: int) -> None:
    """Wherever it is."""
    collector, now = told([3] * 6)
    text = bytearray(taken(collector, now).encode())
    text[place % len(text)] ^= byte
    with pytest.raises(ValueError, match=r"it is (damaged|of version|no snapshot)"):
        Snapshot.decode(bytes(text), now)


def test_a_metric_that_is_new_has_no_data_yet() -> None:
    """The configuration was changed while nobody ran; what was measured before goes on."""
    collector, now = told([3] * 10, replace(SPEC, metrics=METRICS[:1]))
    made = resumed(taken(collector, now), now, replace(SPEC, metrics=METRICS[:2]))
    first, second = made.observe("iris", ready=1, replicas=1, now=now).readings
    assert first.stable == pytest.approx(3.5)
    assert second.missing == "rps yet"


def test_gateways_are_waited_for_a_moment() -> None:
    """One that was last heard long ago connects and tells what was missed; with no snapshot nobody waits."""
    collector, now = told([3] * 10)
    back = now + 10
    made = resumed(Snapshot.decode(taken(collector, now).encode(), back), back)
    assert made.catching_up(back)
    assert not Collector().catching_up(back)
    for seq in range(5, 21):
        made.receive(beat(seq, age=20.5 - seq), back + 0.5, "gw")
    assert not made.catching_up(back + 0.5)
    seen = made.observe("iris", ready=3, replicas=3, now=back + 0.5)
    assert (seen.missing, seen.readings[0].stable) == ("", 3.5)


def test_a_gateway_that_stays_silent_is_not_waited_for() -> None:
    """Three seconds, then it is missing."""
    collector, now = told([3] * 10)
    back = now + 10
    made = resumed(taken(collector, now), back)
    assert not made.catching_up(back + 3)
    assert made.observe("iris", ready=3, replicas=3, now=back + 3).missing == "gateway gw-1 since 13 s"


def test_what_no_beat_speaks_for_is_missing() -> None:
    """Long enough for every decision to be told."""
    collector, now = told([3] * 10)
    back = now + 10
    made = resumed(taken(collector, now), back)
    made.receive(beat(20), back, "gw")
    made = resumed(
        Snapshot.decode(taken(made, back).encode(), back), back
    )  # once more, before anybody was told
    for seq, missing in ((21, "gateway gw-1 for 9 s"), (23, "gateway gw-1 for 9 s"), (25, "")):
        made.receive(beat(seq), EPOCH + seq, "gw")
        assert made.observe("iris", ready=3, replicas=3, now=EPOCH + seq).missing == missing
