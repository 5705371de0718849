"""Who else sets the count: seen, named, left standing, and given up on when it goes on."""

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.hands import CONTESTED_AFTER, OURS, WITHIN, Change, Hands

OBJECT = "uid-iris 1"


class Stage:
    """A count on an object, told to Hands as a target would every two seconds; `demand` is what is asked for."""

    def __init__(self, count: int = 3, demand: int = 3) -> None:
        self.hands = Hands()
        self.count, self.setter, self.of = count, "", OBJECT
        self.now = 0.0
        self.waiting = False
        self.demand = demand
        self.writes: list[int] = []
        self.tick()

    def tick(self, desired: int | None = None) -> Change | None:
        """`desired` where it is not what is asked for."""
        self.now += 2
        change = self.hands.look(self.count, self.setter, self.of, self.now)
        self.hands.decided(self.demand)
        aim = self.hands.aim(
            self.count, self.demand if desired is None else desired, self.now, waiting=self.waiting
        )
        if aim != self.count:
            self.hands.writing(aim)
            self.hands.wrote(aim)
            self.writes.append(aim)
            self.count, self.setter = aim, OURS
        return change

    def set_by(self, who: str, count: int) -> Change | None:
        self.count, self.setter = count, who
        return self.tick()


def test_the_count_that_is_found_is_no_change() -> None:
    """Whatever it is, and whoever has set it."""
    stage = Stage(count=7, demand=7)
    assert (stage.hands.last, stage.hands.changes, stage.writes) == (None, 0, [])
    assert repr(stage.hands) == "<Hands 0 changes by others>"


def test_ones_own_writes_are_no_change() -> None:
    """Up and down, seen at once or ticks later."""
    stage = Stage()
    for demand in (5, 2, 2, 9, 0):
        stage.demand = demand
        assert stage.tick() is None
    assert stage.writes == [5, 2, 9, 0]


def test_a_write_whose_fate_was_unknown_is_ones_own() -> None:
    """It was done, though its answer was lost, and another one came after."""
    hands = Hands()
    hands.look(3, "", OBJECT, 0.0)
    hands.writing(5)
    assert hands.look(3, "", OBJECT, 2.0) is None
    hands.writing(6)
    assert [hands.look(count, "", OBJECT, 4.0) for count in (5, 6)] == [None, None]


def test_an_answer_that_comes_late_undoes_no_news() -> None:
    """The write was seen, and another hand has come since: that is known once, and stands."""
    hands = Hands()
    hands.look(3, "", OBJECT, 0.0)
    hands.writing(5)
    assert hands.look(5, OURS, OBJECT, 2.0) is None
    assert hands.look(6, "kubectl", OBJECT, 4.0) == Change(5, 6, "kubectl", 4.0)
    hands.wrote(5)
    assert hands.look(6, "kubectl", OBJECT, 6.0) is None
    assert (hands.changes, hands.aim(6, 5, 6.0, waiting=False)) == (1, 6)


def test_another_hands_count_stands_until_the_demand_changes() -> None:
    """Neither the next tick nor a hold that wants what is there moves it; another demand does."""
    stage = Stage()
    assert stage.set_by("kubectl", 6) == Change(3, 6, "kubectl", 4.0)
    assert str(stage.hands.last) == "kubectl has set the count from 3 to 6: that stands"
    for desired in (3, 6, 4, 3):
        stage.tick(desired)
    assert (stage.count, stage.writes, repr(stage.hands)) == (6, [], "<Hands 1 changes by others, 6 stands>")
    stage.demand = 4
    stage.tick()
    assert (stage.count, stage.hands.standing) == (4, False)


def test_without_data_nothing_is_asked_for_anew() -> None:
    """The count stands on."""
    hands = Hands()
    hands.look(3, "", OBJECT, 0.0)
    hands.decided(3)
    hands.look(5, "", OBJECT, 2.0)
    for demand in (None, 3, None):
        hands.decided(demand)
    assert hands.aim(5, 3, 4.0, waiting=False) == 5


def test_what_was_set_since_the_last_look_is_left_alone() -> None:
    """A plan is made from the newest count; by whom it is, the next look tells."""
    hands = Hands()
    hands.look(3, "", OBJECT, 0.0)
    hands.decided(3)
    assert hands.aim(8, 3, 1.0, waiting=False) == 8
    hands.writing(4)
    assert hands.aim(4, 3, 1.0, waiting=False) == 3


def test_a_hand_without_a_name_is_another_hand() -> None:
    """Not every server keeps book."""
    change = Stage().set_by("", 6)
    assert change is not None
    assert change.by == "another hand"


def test_another_autoscaler_of_ours_is_no_other_hand() -> None:
    """Whoever led before has written the same way."""
    stage = Stage()
    assert stage.set_by(OURS, 6) is None
    assert stage.count == 3


def test_another_object_or_a_new_leader_begins_with_what_it_finds() -> None:
    """The Deployment was made anew, or others may have written meanwhile."""
    stage = Stage()
    stage.of = "uid-other 1"
    assert stage.set_by("kubectl", 6) is None
    stage.of = "uid-other 2"
    assert stage.set_by("kubectl", 9) is None
    stage.hands.forget()
    assert stage.set_by("kubectl", 8) is None


def test_requests_that_wait_at_zero_wake_the_target() -> None:
    """Whoever sent it there; without requests it stays."""
    stage = Stage()
    stage.set_by("kubectl", 0)
    stage.tick()
    assert stage.count == 0
    stage.waiting = True
    stage.tick()
    assert (stage.count, stage.hands.standing) == (3, False)


def fight(stage: Stage, who: str = "hpa", times: int = CONTESTED_AFTER) -> None:
    for _ in range(times):
        stage.demand += 1
        stage.set_by(who, 1)


def test_three_changes_by_one_hand_contest_the_target() -> None:
    """From then on nothing is set, whatever is asked for; and it is said once."""
    stage = Stage()
    fight(stage)
    assert stage.hands.last is not None
    assert str(stage.hands.last) == (
        "hpa has set the count from 5 to 1: it contests the count, and nothing is set any more"
    )
    assert (stage.hands.contested(stage.now), stage.hands.contested_until) == ("hpa", stage.now + WITHIN)
    writes = len(stage.writes)
    stage.demand = 50
    stage.set_by("hpa", 2)
    stage.tick()
    assert (len(stage.writes), stage.count, stage.hands.last.contests) == (writes, 2, False)


def test_a_contested_target_is_still_woken_with_one_pod() -> None:
    """Requests wait; the other hand goes on from there."""
    stage = Stage()
    fight(stage)
    stage.set_by("hpa", 0)
    stage.waiting = True
    stage.tick()
    assert stage.count == 1
    stage.tick()
    assert stage.count == 1


def test_a_contest_ends_ten_minutes_after_its_last_change() -> None:
    """Not after its first; and one change more is none of three again."""
    stage = Stage()
    fight(stage)
    stage.now += WITHIN - 60
    stage.set_by("hpa", 2)
    stage.now += WITHIN - 10
    stage.tick()
    assert stage.count == 2
    stage.now += 10
    stage.demand = 4
    stage.tick()
    assert (stage.count, stage.hands.contested(stage.now)) == (4, "")
    stage.set_by("hpa", 2)
    assert stage.hands.contested(stage.now) == ""


def test_changes_by_different_hands_or_long_apart_contest_nothing() -> None:
    """Three of one hand within ten minutes, and no less."""
    stage = Stage()
    for who in ("kubectl", "hpa", "kubectl", "hpa"):
        fight(stage, who, 1)
    stage.now += WITHIN
    fight(stage, "kubectl", 2)
    assert stage.hands.contested(stage.now) == ""


def test_another_configuration_begins_anew() -> None:
    """Its count is set at once."""
    stage = Stage()
    fight(stage)
    stage.hands.forgive()
    stage.tick()
    assert stage.count == stage.demand
    stage.set_by("hpa", 1)
    assert stage.hands.contested(stage.now) == ""


STEPS = st.lists(
    st.tuples(st.sampled_from(["tick", "hpa", "kubectl", ""]), st.integers(0, 5), st.integers(0, 5)),
    max_size=40,
)


@given(STEPS)
def test_nobody_is_fought(steps: list[tuple[str, int, int]]) -> None:
    """What another hand has set is written over only for another demand, and each change of its is counted."""
    stage, foreign = Stage(), 0
    for who, count, demand in steps:
        before, asked, writes = stage.count, stage.demand, len(stage.writes)
        if who == "tick":
            standing = stage.hands.standing
            stage.demand = demand
            stage.tick()
            if standing and demand == asked:
                assert len(stage.writes) == writes
        else:
            assert (stage.set_by(who, count) is not None) == (count != before)
            assert len(stage.writes) == writes or count == before
            foreign += count != before
        assert stage.hands.changes == foreign


@given(STEPS, st.integers(1, 100))
def test_a_contested_target_is_never_written(steps: list[tuple[str, int, int]], demand: int) -> None:
    """While requests do not wait at zero."""
    stage = Stage()
    fight(stage)
    writes = len(stage.writes)
    for who, count, _ in steps:
        stage.demand = demand
        stage.tick() if who == "tick" else stage.set_by(who, count)
    assert len(stage.writes) == writes
