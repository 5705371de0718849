"""Whose turn it is."""

from itertools import pairwise
from math import gcd

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.splits import LONGEST_CYCLE, Split, reduce_weights


def split_of(**weights: int) -> Split[str]:
    return Split({name: name for name in weights}, weights)


class TestSplit:
    def test_ninety_to_ten_is_exact_over_any_hundred(self) -> None:
        """Any 100 consecutive choices of 90/10 are 90 and 10, wherever they begin."""
        split = split_of(v1=90, v2=10)
        chosen = [split.choose() for _ in range(1000)]
        assert all(chosen[i : i + 100].count("v2") == 10 for i in range(900))

    def test_turns_are_spread(self) -> None:
        """5:1:1 never makes the two small ones neighbours."""
        split = split_of(a=5, b=1, c=1)
        assert "".join(split.choose() for _ in range(7)) == "aaabaac"

    def test_a_weight_of_zero_is_never_chosen(self) -> None:
        """A dark Backend gets nothing, and is still known."""
        split = split_of(light=3, dark=0)
        assert {split.choose() for _ in range(10)} == {"light"}
        assert split.weights == {"light": 3, "dark": 0}
        assert repr(split) == "<Split light=1, turn 0 of 1>"

    @pytest.mark.parametrize("weights", [{"a": 0, "b": 0}, {"a": 1, "b": -1}])
    def test_weights_that_choose_nothing_are_refused(self, weights: dict[str, int]) -> None:
        """All zero, or a negative one."""
        with pytest.raises(ValueError, match="weights must not be negative nor all 0"):
            split_of(**weights)

    def test_without_any_weight_it_is_nobodys_turn(self) -> None:
        """That of a Route that answers by itself."""
        split = split_of()
        assert (split.shares, split.length, split.weights) == ((), 0, {})

    def test_long_cycles_are_rounded_and_say_so(self) -> None:
        """Above 10,000 turns shares are rounded, but no positive weight goes dark."""
        split = split_of(big=100_001, small=1)
        assert split.rounded
        assert split.shares == (("big", LONGEST_CYCLE - 1), ("small", 1))
        assert repr(split) == "<Split big=9999 small=1 rounded, turn 0 of 10000>"

    def test_equal_weights_share_the_remainder_in_order(self) -> None:
        """Three weights that cannot be told apart over 10,000 turns: one gets the odd turn."""
        turns, rounded = reduce_weights([100_001, 100_002, 100_003])
        assert rounded
        assert turns == (3333, 3333, 3334)

    def test_one_rounded_up_may_push_others_below_one_turn(self) -> None:
        """What is kept for the smallest comes off the others, until all have at least one."""
        turns, _ = reduce_weights([1] * 5000 + [100] * 5000 + [10_000_000])
        assert min(turns) == 1
        assert len(turns) == 10_001 == sum(turns)


weight_lists = st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(any)


class TestLaws:
    @settings(deadline=None)
    @given(weight_lists)
    def test_a_cycle_is_exact_and_its_prefixes_stray_by_less_than_one(self, weights: list[int]) -> None:
        """Over a cycle each gets its weight; before its end, its share give or take less than one."""
        split = Split(dict(enumerate(map(str, range(len(weights))))), dict(enumerate(weights)))  # type: ignore[arg-type]
        divisor, total = gcd(*weights), sum(weights)
        assert split.length == total // divisor
        counts = [0] * len(weights)
        for t in range(1, split.length + 1):
            counts[int(split.choose())] += 1
            assert all(abs(n * total - t * w) < total for n, w in zip(counts, weights, strict=True))
        assert counts == [w // divisor for w in weights]

    @settings(deadline=None)
    @given(weight_lists, st.integers(0, 200))
    def test_any_window_of_the_cycle_is_exact(self, weights: list[int], start: int) -> None:
        """Wherever a window of the cycle's length begins, each Backend has its weight in it."""
        split = split_of(**{str(i): weight for i, weight in enumerate(weights)})
        for _ in range(start):
            split.choose()
        window = [split.choose() for _ in range(split.length)]
        assert {name: window.count(name) for name, _ in split.shares} == dict(split.shares)

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any))
    def test_rounding_fits_the_cycle_and_keeps_the_order(self, weights: list[int]) -> None:
        """Rounded turns fill the cycle, no one goes dark, and more weight never means fewer turns."""
        turns, rounded = reduce_weights(weights)
        assert (sum(turns) == LONGEST_CYCLE) if rounded else (sum(turns) <= LONGEST_CYCLE)
        assert [turn > 0 for turn in turns] == [weight > 0 for weight in weights]
        by_weight = sorted(zip(weights, turns, strict=True), key=lambda pair: pair[0])
        assert all(few <= many for (w, few), (v, many) in pairwise(by_weight) if w < v)
