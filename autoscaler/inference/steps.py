"""From one revision to another within a budget of pods: how many each may have while the new one comes and the old one goes.

A core. Both together never have more than the budget and the surge; what is ready is never fewer than the budget without `unavailable`, as far as the
new ones come up. With a surge of 0 a place must be free before a new pod takes it, so the old one leaves first.

    budget 4, surge 0, unavailable 1:   old may have 3 · it has 3: new may have 1 · that is ready: old may have 2 · …
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

_PERCENT = re.compile(r"([0-9]{1,5})%")
_DEFAULT = "25%"
_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Strategy:
    """A Deployment's `strategy`, whose numbers may be percentages of the budget."""

    surge: int | str = _DEFAULT
    unavailable: int | str = _DEFAULT
    apart: bool = False
    """None of the new comes while one of the old is there."""

    def within(self, budget: int) -> tuple[int, int]:
        """Pods more, and pods fewer; never both 0."""
        surge, unavailable = _of(self.surge, budget, math.ceil), _of(self.unavailable, budget, math.floor)
        return surge, unavailable or (0 if surge else 1)


RECREATE = Strategy(0, "100%", apart=True)
"""All old ones leave before the first new one comes."""


def _of(value: int | str, budget: int, rounded: Callable[[float], int]) -> int:
    if isinstance(value, int):
        return min(max(value, 0), _MOST)
    match = _PERCENT.fullmatch(value)
    share = int(match[1]) * budget / 100 if match else budget / 4
    return rounded(share)


def strategy_of(spec: object) -> tuple[Strategy | None, str]:
    """Of `deploymentStrategy`; None when there is none. Second: what is wrong with it."""
    if not isinstance(spec, dict):
        return None, "" if spec is None else "must be a mapping"
    kind, rolling = spec.get("type", "RollingUpdate"), spec.get("rollingUpdate")
    if kind == "Recreate":
        return RECREATE, ""
    if kind != "RollingUpdate":
        return None, "must be RollingUpdate or Recreate"
    rolling = rolling if isinstance(rolling, dict) else {}
    surge, unavailable = rolling.get("maxSurge"), rolling.get("maxUnavailable")
    for value in (surge, unavailable):
        if value is not None and not _is_amount(value):
            return None, "must have whole numbers or percentages"
    return Strategy(
        _DEFAULT if surge is None else surge, _DEFAULT if unavailable is None else unavailable
    ), ""


def _is_amount(value: object) -> bool:
    if isinstance(value, str):
        return bool(_PERCENT.fullmatch(value))
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


@dataclass(frozen=True, slots=True)
class Step:
    """How many pods each may have now. 0 is none."""

    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What is there."""

    old: int
    new: int
    """Pods of both, whether ready or not."""
    ready: int
    """Of the new one."""
    others: int = 0
    """Pods of those that have been given up and still run."""


def step(strategy: Strategy, budget: int, there: Counts, share: int | None = None) -> Step:
    """`share`: of the budget, what a canary takes; the old one then keeps a pod."""
    surge, unavailable = strategy.within(budget)
    cap = budget if share is None else share
    came = min(there.ready, cap)
    leave = unavailable if came < cap else 0
    old = max(0 if share is None else 1, budget - came - leave)
    # The old one may grow again, as when a new one was given up, but not into the places of those that still leave.
    old = max(min(old, there.old), min(old, budget + surge - there.others - there.new))
    room = budget + surge - max(old, there.old) - there.others
    if strategy.apart and (there.old or there.others) and share is None:
        room = there.new
    return Step(old, max(0, min(cap, room)))
