"""The wheel: deadlines to within a tick, never early, and nothing left behind."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from gateway.timers import TimerWheel


class Item:
    def __init__(self, *later: float) -> None:
        self.scheduled = inf
        self.asked: list[float] = []
        self.later = list(later)

    def on_time(self, now: float) -> float:
        self.asked.append(now)
        return self.later.pop(0) if self.later else inf


@given(
    start=st.floats(0, 1e6),
    delays=st.lists(st.floats(0, 20), min_size=1, max_size=20),
    steps=st.lists(st.floats(0.001, 3), min_size=1, max_size=40),
)
def test_each_is_asked_once_within_a_tick_and_never_early(
    start: float, delays: list[float], steps: list[float]
) -> None:
    """At the first turn that is a tick or more past the deadline at the latest, whatever the floats."""
    wheel = TimerWheel(start)
    items = [Item() for _ in delays]
    dues = [start + delay for delay in delays]
    for item, due in zip(items, dues, strict=True):
        wheel.arm(item, due)
    now = start
    for step in steps:
        now += step
        wheel.turn(now)
        for item, due in zip(items, dues, strict=True):
            if now >= due + 2 * wheel.tick:
                assert len(item.asked) == 1
            assert all(asked >= due - 1e-9 for asked in item.asked)
    wheel.turn(start + 30)
    assert [len(item.asked) for item in items] == [1] * len(items)
    assert repr(wheel) == "<TimerWheel 0 items, 0 slots>"


def test_a_deadline_a_hair_past_a_tick_is_not_lost() -> None:
    """0.15000000000000002 / 0.05 and the like round; an item must not fall between two slots."""
    for n in range(10, 1000):
        for when in (n * 0.05, n * 0.05 * (1 + 2**-52)):
            wheel, item = TimerWheel(when - 0.2), Item()
            wheel.arm(item, when)
            wheel.turn(when + 0.1)
            assert len(item.asked) == 1, when


def test_a_later_deadline_costs_nothing_and_an_earlier_one_moves() -> None:
    """An item stands in one slot: the earliest that it asked for."""
    wheel, item = TimerWheel(0.0), Item()
    wheel.arm(item, 10.0)
    wheel.arm(item, 20.0)
    assert item.scheduled == 10.0
    wheel.arm(item, 1.0)
    assert repr(wheel) == "<TimerWheel 1 items, 1 slots>"
    wheel.turn(1.05)
    assert (item.asked, item.scheduled) == ([1.05], inf)


def test_who_is_asked_may_name_a_later_time() -> None:
    """So a deadline that moves away needs no second arm."""
    wheel, item = TimerWheel(0.0), Item(5.0)
    wheel.arm(item, 1.0)
    wheel.turn(1.0)
    assert item.scheduled == 5.0
    wheel.turn(5.0)
    assert item.asked == [1.0, 5.0]


def test_a_deadline_that_has_passed_is_asked_at_the_next_tick() -> None:
    """And not for ever in the turn that armed it."""
    wheel, item = TimerWheel(10.0), Item(1.0)
    wheel.arm(item, 2.0)
    wheel.turn(10.06)
    assert item.asked == [10.06]
    wheel.turn(10.12)
    assert item.asked == [10.06, 10.12]


def test_a_disarmed_item_is_forgotten_wherever_it_stood() -> None:
    """Armed late, earlier, or in the past: the wheel holds no reference."""
    wheel = TimerWheel(10.0)
    for times in ((20.0,), (20.0, 15.0), (5.0,), (), (20.0, 15.0, 3.0)):
        item = Item()
        for when in times:
            wheel.arm(item, when)
        wheel.disarm(item)
        assert repr(wheel) == "<TimerWheel 0 items, 0 slots>"
        assert item.scheduled == inf


def test_a_disarmed_item_leaves_those_beside_it() -> None:
    """One slot holds many."""
    wheel, first, second = TimerWheel(0.0), Item(), Item()
    wheel.arm(first, 1.0)
    wheel.arm(second, 1.0)
    wheel.disarm(first)
    wheel.turn(2.0)
    assert (first.asked, second.asked) == ([], [2.0])


def test_one_that_is_disarmed_by_another_in_the_same_tick_is_not_asked() -> None:
    """Its life is over."""
    wheel = TimerWheel(0.0)
    pair: list[Item] = []

    class Killer(Item):
        def on_time(self, now: float) -> float:
            for item in pair:
                if item is not self:
                    wheel.disarm(item)
            return super().on_time(now)

    pair += [Killer(), Killer()]
    for item in pair:
        wheel.arm(item, 1.0)
    wheel.turn(1.0)
    assert sorted(len(item.asked) for item in pair) == [0, 1]
