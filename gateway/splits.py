"""Whose turn it is: weighted splits over Backends, exact over any window of a cycle's length, without dice.

Core. A cycle is laid out when a table is built, so that a choice is one look; over reloads the Splits of a Route share its position.
`routing` has one Split per Route, and `steering` those of its rules.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from heapq import heappop, heappush
from math import gcd
from typing import Generic, TypeVar

B = TypeVar("B")

LONGEST_CYCLE = 10_000
"""Turns in a Split's cycle at most (unless it has more Backends than that)."""


def reduce_weights(weights: Iterable[int]) -> tuple[tuple[int, ...], bool]:
    """The turns that each weight gets in one cycle, and whether they had to be rounded to fit LONGEST_CYCLE.

    Rounding is by largest remainder; a positive weight keeps at least one turn, for it must not go dark.
    """
    given = tuple(weights)
    if any(weight < 0 for weight in given) or not any(given):
        raise ValueError(f"weights must not be negative nor all 0: {given}")
    divisor = gcd(*given)
    turns = tuple(weight // divisor for weight in given)
    length = max(LONGEST_CYCLE, sum(turn > 0 for turn in turns))
    return (turns, False) if sum(turns) <= length else (_apportion(turns, length), True)


def _apportion(weights: tuple[int, ...], length: int) -> tuple[int, ...]:
    """`length` turns, shared by largest remainder among the weights that deserve one, after one for each that does not.

    100,001 : 1 over 10,000 turns deserve 9999.9 : 0.1 and get 9999 : 1.
    """
    large = {i: weight for i, weight in enumerate(weights) if weight}
    turns = [int(weight > 0) for weight in weights]
    while True:
        left, total = length - (sum(turns) - len(large)), sum(large.values())
        small = [i for i, weight in large.items() if weight * left < total]
        if not small:
            break
        for i in small:
            del large[i]
    for i, weight in large.items():
        turns[i] = weight * left // total
    by_remainder = sorted(large, key=lambda i: large[i] * left % total, reverse=True)
    for i in by_remainder[: length - sum(turns)]:
        turns[i] += 1
    return tuple(turns)


@lru_cache(maxsize=256)
def _lay_out(turns: tuple[int, ...]) -> tuple[int, ...]:
    """The order in which indexes of `turns` take theirs: after t turns each has had its share of t, give or take
    less than one.

    Greedy smooth weighted round robin (nginx's) strays by 1.47 turns with twenty weights of 1 and five of 21; earliest
    deadline first stays below one (R. Tijdeman, "The chairman assignment problem", 1980): with n turns of `length`, turn j opens at
    j * length / n and is due by (j + 1) * length / n. 5:1:1 comes out as 0 0 0 1 0 0 2.
    """
    length = sum(turns)
    taken = [0] * len(turns)
    opening = [(0, i) for i, n in enumerate(turns) if n]
    due: list[tuple[float, int]] = []
    order = []
    for now in range(length):
        while opening and opening[0][0] <= now:
            _, i = heappop(opening)
            heappush(due, ((taken[i] + 1) / turns[i], i))
        _, i = heappop(due)
        order.append(i)
        taken[i] += 1
        if taken[i] < turns[i]:
            heappush(opening, (taken[i] * length // turns[i], i))
    return tuple(order)


class _Cycle:
    """The order of turns and how far it has come; shared by the Splits of a Route over reloads."""

    __slots__ = ("order", "position")

    def __init__(self, order: tuple[int, ...]) -> None:
        self.order = order
        self.position = 0


class Split(Generic[B]):
    """Smooth weighted round robin over named Backends, without dice: exact over any window of the cycle's length.

    Since the cycle began, each Backend has had its share of the turns, give or take less than one; so in a window
    that begins anywhere, give or take less than two.
    """

    __slots__ = ("_backends", "_cycle", "rounded", "shares", "weights")

    def __init__(self, backends: Mapping[str, B], weights: Mapping[str, int]) -> None:
        """`weights` by names of `backends`; 0: dark, never chosen. ValueError when one is negative or all are 0.

        Without any weight it is nobody's turn, ever: that of a Route that answers by itself.
        """
        turns, self.rounded = reduce_weights(weights.values()) if weights else ((), False)
        self.weights = dict(weights)
        self.shares = tuple((name, n) for name, n in zip(weights, turns, strict=True) if n)
        """The turns in one cycle of each Backend that is not dark."""
        self._backends = tuple(backends[name] for name, _ in self.shares)
        self._cycle = _Cycle(_lay_out(tuple(n for _, n in self.shares)))

    @property
    def length(self) -> int:
        """Turns in one cycle."""
        return len(self._cycle.order)

    def choose(self) -> B:
        """The Backend whose turn it is; the next is another's."""
        cycle = self._cycle
        position = cycle.position
        order = cycle.order
        cycle.position = position + 1 if position + 1 < len(order) else 0
        return self._backends[order[position]]

    def peek(self) -> B:
        """The Backend whose turn is next; it stays so."""
        return self._backends[self._cycle.order[self._cycle.position]]

    def continue_from(self, previous: "Split[B]") -> None:
        """Take turns from where `previous` is, and goes on to be until it is dropped, if the shares are equal.

        The position is shared rather than copied: requests that arrive while a new table is built count too.
        """
        if previous.shares == self.shares:
            self._cycle = previous._cycle  # noqa: SLF001 - another Split's

    def __repr__(self) -> str:
        shares = " ".join(f"{name}={n}" for name, n in self.shares)
        rounded = " rounded" if self.rounded else ""
        return f"<Split {shares}{rounded}, turn {self._cycle.position} of {self.length}>"
