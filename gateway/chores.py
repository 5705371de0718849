"""Work that is too much for one turn of the loop: done in small steps, one in each turn, whoever it is for.

Core: it is told how to ask for another turn. With a turn of its own for each piece of work, a hundred bodies that are read at once would hold the
loop for a hundred steps at a time. `gateway` owns the one that there is; `inspection` has bodies read by it.
"""

from collections import deque
from collections.abc import Callable


class Chores:
    """Steps that are still to be done, first come first served."""

    __slots__ = ("_call_soon", "_steps")

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._steps: deque[Callable[[], None]] = deque()

    def add(self, step: Callable[[], None]) -> None:
        """Do this in a turn of its own. Work that goes on adds its next step then, behind the others'."""
        self._steps.append(step)
        if len(self._steps) == 1:
            self._call_soon(self._turn)

    def _turn(self) -> None:
        step = self._steps.popleft()
        if self._steps:
            self._call_soon(self._turn)
        step()

    def __repr__(self) -> str:
        return f"<Chores {len(self._steps)} to do>"
