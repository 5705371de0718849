"""What a gateway keeps of its last beats, and for whom."""

import json

from gateway.lately import MOST, MOST_BYTES, Lately
from gateway.stats import Beat


def line(seq: int) -> bytes:
    return Beat("gw-1", seq, 1.0, {}).encode()


def kept(beats: int) -> Lately:
    made = Lately()
    for seq in range(beats):
        made.count(read=True)
        made.publish(line(seq), float(seq))
    return made


def seqs(lines: list[bytes]) -> list[int]:
    return [Beat.decode(each).seq for each in lines]


def test_the_last_beats_are_told_with_their_age() -> None:
    """Oldest first, as many as are asked for."""
    lines = kept(5).last(2, 10.0)
    assert [(beat.seq, beat.age) for beat in map(Beat.decode, lines)] == [(3, 7.0), (4, 6.0)]


def test_a_beat_that_was_just_made_has_an_age_too() -> None:
    """It says that it is told again."""
    assert Beat.decode(kept(1).last(1, 0.0)[0]).age > 0


def test_no_more_than_a_minute_is_kept() -> None:
    """Whatever is asked for; of none there is none."""
    made = kept(MOST + 5)
    assert seqs(made.last(1000, 99.0)) == list(range(5, MOST + 5))
    assert made.last(0, 99.0) == []


def test_large_beats_are_kept_for_less_long() -> None:
    """Memory is bounded in bytes."""
    made = kept(0)
    large = json.dumps({"x": "y" * (MOST_BYTES // 4)}).encode()
    for second in range(9):
        made.publish(large, float(second))
    assert len(made.last(9, 9.0)) == 3


def test_where_nobody_reads_nothing_is_kept() -> None:
    """As in `tidegate up`; who has read may come back within a minute."""
    made = Lately()
    assert not made.wanted
    made.count(read=True)
    made.publish(line(1), 1.0)
    for _ in range(MOST - 1):
        made.count(read=False)
    assert made.wanted
    assert seqs(made.last(1, 60.0)) == [1]
    made.count(read=False)
    assert not made.wanted
    assert made.last(1, 61.0) == []
    assert repr(made) == "<Lately 0 beats, 0 bytes>"
