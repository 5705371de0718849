"""What one gateway last said, and the seconds that its beats are for. How they add up is in `test_collector`."""

import pytest

from autoscaler.gateways import Gateway, Held
from gateway.stats import Beat, Stat

NOW = 1_700_000_000.25


def beat(seq: int, duration: float = 1.0, age: float = 0.0) -> Beat:
    return Beat("gw-1", seq, duration, {}, age=age)


def placed(seq: int = 10) -> Gateway:
    """One that has said a first beat, of the bucket of NOW."""
    made = Gateway("http://gw", NOW)
    made.place(beat(seq), NOW)
    made.seq, made.beat_at = seq, NOW
    return made


@pytest.mark.parametrize(
    ("seq", "age", "known"),
    [(10, 0.0, True), (11, 0.0, False), (11, 0.5, False), (9, 0.5, True), (9, 0.0, False)],
    ids=["again", "next", "next_told_late", "old_told_again", "restarted"],
)
def test_a_beat_that_was_heard_is_known(seq: int, age: float, known: bool) -> None:
    """A lower number is of the gateway restarted, unless it says that it is told again."""
    assert placed().knows(beat(seq, age=age)) is known


@pytest.mark.parametrize(
    ("lost", "buckets", "hole"),
    [(0, [1], None), (2, [1, 2, 3], None), (9, [10], (9, NOW + 10))],
    ids=["none", "two", "nine"],
)
def test_seconds_that_no_beat_speaks_for_are_a_hole(
    lost: int, buckets: list[int], hole: tuple[int, float] | None
) -> None:
    """Up to two lost beats are spoken for by the next one; of more nobody can tell."""
    gateway = placed()
    at = NOW + lost + 1
    assert [bucket - int(NOW) for bucket in gateway.place(beat(11 + lost), at)] == buckets
    assert gateway.hole == hole


def test_a_gateway_comes_back_whole() -> None:
    """With the hole that its last beat left, which not every decision has been told of."""
    gateway = placed()
    gateway.place(beat(20), NOW + 10)
    gateway.held = {"iris": Held.of(Stat(0, 0, 0, 0, 0, 0, 2, 1, {"a": 2}))}
    assert gateway.hole is not None
    assert Gateway.unpacked(gateway.packed()) == gateway


def test_requests_at_pods_that_it_names_no_more_are_strays() -> None:
    """In flight are all, by Endpoint those that it knows."""
    assert Held(5, 0, (("a", 2), ("b", 1))).strays == 2
    assert Held(0, 1, ()).strays == 0
