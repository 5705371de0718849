"""Work in small steps."""

from collections.abc import Callable

import pytest

from gateway.chores import Chores


class Turns:
    """A loop of which a test takes one turn after the other."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.asked.append(callback)

    def take(self) -> None:
        asked, self.asked = self.asked, []
        for callback in asked:
            callback()


def test_one_step_is_done_in_each_turn() -> None:
    """Whoever it is for; work that goes on stands behind the others."""
    turns, done = Turns(), []
    chores = Chores(turns.call_soon)

    def work(name: str, steps: int) -> Callable[[], None]:
        def step() -> None:
            done.append(f"{name}{steps}")
            if steps > 1:
                chores.add(work(name, steps - 1))

        return step

    for name in "ab":
        chores.add(work(name, 3))
    assert repr(chores) == "<Chores 2 to do>"
    for number in range(1, 7):
        turns.take()
        assert len(done) == number
    assert done == ["a3", "b3", "a2", "b2", "a1", "b1"]
    assert (turns.asked, repr(chores)) == ([], "<Chores 0 to do>")


def test_a_step_that_fails_stops_nobody_else() -> None:
    """The loop hears of it, and the next turn comes."""
    turns, done = Turns(), []
    chores = Chores(turns.call_soon)
    chores.add(lambda: done[0])
    chores.add(lambda: done.append(1))
    with pytest.raises(IndexError):
        turns.take()
    turns.take()
    assert done == [1]
