"""Which revisions there are, how many pods each may have, and which takes what of the traffic.

A core, told what is there and what is asked for; the same answer comes of what it made.

    newest, nothing before it       takes everything, ready or not: requests wait for it
    newest beside the rolled-out    comes up with as many pods as that one has ready, then takes everything at once
      with a deployment strategy    takes over pod by pod within a budget (`steps`), traffic by ready pods
      as a canary                   takes its percentage while it is able to; 0: it stays dark
    what nothing asks for           gets no traffic, drains, and is gone once it has no pods

A revision that is not able to answer gets nothing while another is; the rolled-out one goes on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.inference.steps import Counts, Step, Strategy, step

_UNLIMITED = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Live:
    """A revision's Deployment, as observed."""

    replicas: int
    """The count that is set."""
    existing: int = 0
    """Pods that there are."""
    ready: int = 0
    created: str = ""
    variant: str = ""
    budget: int = 0
    failure: str = ""
    """Why its pods cannot start."""

    @property
    def pods(self) -> int:
        return max(self.replicas, self.existing)


@dataclass(frozen=True, slots=True)
class Known:
    """What the status says."""

    rolled: str = ""
    previous: str = ""
    ready: str = ""
    shares: Mapping[str, int] = field(default_factory=dict)
    """Percent of the traffic, by revision."""

    def proven(self, name: str) -> bool:
        """It has been ready at some time."""
        return bool(name) and name in {self.rolled, self.previous, self.ready}


@dataclass(frozen=True, slots=True)
class Bounds:
    least: int
    most: int
    """0: unlimited."""

    @property
    def top(self) -> int:
        return self.most or _UNLIMITED


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the canaries that a list names."""

    revision: str
    name: str
    percent: int
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked for."""

    newest: str
    """ "": what is there stays as it is."""
    bounds: Bounds
    percent: int | None = None
    strategy: Strategy | None = None
    initial: int | None = None
    """Pods to start with, where that is said."""
    variants: Sequence[Variant] = ()
    stopped: bool = False
    kept: Mapping[str, Bounds] = field(default_factory=dict)
    """Of what is there, as it was last asked for."""


@dataclass(frozen=True, slots=True)
class Place:
    """What one revision gets."""

    weight: int
    least: int
    most: int
    """0: unlimited."""
    held: bool = False
    """The count stays as it is: there is no room for a pod."""
    leaving: bool = False
    """It drains to no pods."""
    fast: bool = False
    """Its pods are waited for, or wanted gone."""
    budget: int = 0


@dataclass(frozen=True, slots=True)
class Rollout:
    """What all get, and what is told of it."""

    places: Mapping[str, Place]
    rolled: str
    previous: str
    ready: str
    newest: str

    @property
    def settled(self) -> bool:
        return self.rolled == self.newest


def roll(live: Mapping[str, Live], known: Known, goal: Goal) -> Rollout:
    """One step; the next follows once what it asks for is observed."""
    return _Roll(live, known, goal).rollout()


class _Roll:
    """One step's working."""

    def __init__(self, live: Mapping[str, Live], known: Known, goal: Goal) -> None:
        self._live = live
        self._known = known
        self._goal = goal
        self._current = {variant.revision for variant in goal.variants}
        self._rolled = self._rolled_out()
        self._newest = goal.newest or self._rolled
        self._previous = known.previous
        self._budget = max((state.budget for state in live.values()), default=0)

    def rollout(self) -> Rollout:
        if not (self._goal.newest or self._goal.stopped):
            return self._kept()
        main = self._stopped() if self._goal.stopped else self._main()
        # A canary that is promoted by its name is both: it counts as what the predictor is.
        places = self._variants(main) if self._goal.variants and not self._goal.stopped else main
        return Rollout(
            self._with_leaving(places), self._rolled, self._previous, self._latest_ready(), self._newest
        )

    def _of(self, name: str) -> Live:
        return self._live.get(name) or Live(0)

    def _able(self, name: str, least: int) -> bool:
        """It answers: it has a ready pod, or it wakes for requests as it has done before."""
        state = self._of(name)
        asleep = least == 0 and self._known.proven(name) and not state.failure
        return bool(name) and (state.ready > 0 or asleep)

    def _rolled_out(self) -> str:
        """As the status says; if that is lost, what is most at work."""
        newest = self._goal.newest
        if self._known.rolled and (self._known.rolled in self._live or self._known.rolled == newest):
            return self._known.rolled
        names = {variant.name for variant in self._goal.variants}
        others = [n for n, s in self._live.items() if n not in self._current and s.variant not in names]
        at_work = [n for n in others if self._live[n].ready and n != newest]
        if at_work:
            return min(at_work, key=lambda n: (-self._live[n].ready, self._live[n].created, n))
        if newest:
            return newest if self._of(newest).ready or self._known.proven(newest) else ""
        return min(others, key=lambda n: (-self._live[n].pods, self._live[n].created, n), default="")

    def _latest_ready(self) -> str:
        if self._newest and self._of(self._newest).ready:
            return self._newest
        if self._known.ready in self._live or self._known.ready == self._newest:
            return self._known.ready
        return self._rolled

    def _stopped(self) -> dict[str, Place]:
        return {name: self._leaving(name, fast=True) for name in (self._newest, self._rolled) if name}

    def _kept(self) -> Rollout:
        """Nothing that could be done is asked for: all goes on as it was."""
        shares, places = dict(self._known.shares), {}
        if self._rolled in self._live and not any(shares.get(name, 0) > 0 for name in self._live):
            shares = {self._rolled: 100}
        for name in self._live:
            bounds = self._goal.kept.get(name, self._goal.bounds)
            weight = min(max(shares.get(name, 0), 0), 100)
            if self._budget:  # in the middle of a step none has room to grow
                places[name] = Place(weight, 0, bounds.most, held=True, budget=self._budget)
            else:
                places[name] = Place(weight, bounds.least if weight else 0, bounds.most)
        return Rollout(places, self._rolled, self._previous, self._latest_ready(), self._rolled)

    def _main(self) -> dict[str, Place]:
        if self._rolled in {"", self._newest}:
            return self._alone()
        if self._goal.percent is not None and self._goal.percent < 100:
            return self._canary(self._goal.percent)
        return self._beside() if self._goal.strategy is None else self._in_steps(self._goal.strategy)

    # What nothing else takes traffic beside.

    def _alone(self) -> dict[str, Place]:
        bounds, state = self._goal.bounds, self._of(self._newest)
        floor = self._start(bounds.least) if not self._rolled else bounds.least
        place = Place(100, min(floor, bounds.top), bounds.most)
        leaving = sum(state.pods for state in self._others(self._newest).values())
        if not leaving:
            return {self._newest: place}
        if self._goal.strategy is None:
            # While the one before drains, the new one's averages are of a time when it had no traffic: it keeps what it has.
            least = min(max(place.least, state.replicas), bounds.top)
            return {self._newest: replace(place, least=least)}
        budget = self._budget or min(max(1, bounds.least, leaving + state.replicas), bounds.top)
        surge, _ = self._goal.strategy.within(budget)
        return {self._newest: self._within(100, budget, budget + surge - leaving)}

    def _start(self, least: int) -> int:
        """Pods for one that has never been ready: it must show that it can be."""
        if self._goal.initial is not None:
            return max(least, self._goal.initial)
        return max(least, 1)

    # Beside the one that is rolled out.

    def _beside(self) -> dict[str, Place]:
        bounds, old, new = self._goal.bounds, self._of(self._rolled), self._of(self._newest)
        need = min(max(1, old.ready), bounds.top)
        if new.ready >= need:
            return self._promoted()
        share = 0
        if self._able(self._newest, bounds.least) and not self._goal.variants:
            share = min(max(self._known.shares.get(self._newest, 0), 0), 100)  # what it had as a canary
        return {
            self._newest: Place(share, min(max(bounds.least, need), bounds.top), bounds.most),
            self._rolled: Place(100 - share, bounds.least, bounds.most),
        }

    def _promoted(self) -> dict[str, Place]:
        self._previous, self._rolled = self._rolled, self._newest
        return self._alone()

    def _in_steps(self, strategy: Strategy) -> dict[str, Place]:
        old, new = self._of(self._rolled), self._of(self._newest)
        budget = self._budgeted()
        now = self._step(strategy, budget)
        if not now.old and new.ready:
            self._budget = budget
            return self._promoted()
        weights = old.ready if now.old else 0, new.ready
        if not any(weights):
            weights = (1, 0) if now.old else (0, 1)
        return {
            self._newest: self._within(weights[1], budget, now.new),
            self._rolled: self._shrinking(weights[0], now),
        }

    def _step(self, strategy: Strategy, budget: int, share: int | None = None) -> Step:
        gone = self._others(self._newest, self._rolled).values()
        old, new = self._of(self._rolled), self._of(self._newest)
        there = Counts(old.pods, new.pods, new.ready, sum(state.pods for state in gone))
        return step(strategy, budget, there, share)

    def _budgeted(self) -> int:
        """The pods that the old one had when the step began."""
        bounds = self._goal.bounds
        return self._budget or min(max(1, bounds.least, self._of(self._rolled).replicas), bounds.top)

    def _within(self, weight: int, budget: int, room: int) -> Place:
        """A new one that comes up as far as there is room."""
        most = min(budget, room, self._goal.bounds.top)
        if most < 1:
            return Place(weight, 0, 0, held=True, budget=budget)
        return Place(weight, most, most, budget=budget)

    def _shrinking(self, weight: int, now: Step) -> Place:
        if not now.old:
            return replace(self._leaving(self._rolled, fast=True), weight=weight)
        return Place(weight, min(self._goal.bounds.least, now.old), now.old, fast=True)

    # A canary by percentage.

    def _canary(self, percent: int) -> dict[str, Place]:
        bounds, strategy = self._goal.bounds, self._goal.strategy
        if strategy is not None and not percent:
            return self._dark(strategy)
        able = self._able(self._newest, bounds.least)
        shares = (percent, 100 - percent) if able else (0, 100)
        if percent and able and not self._able(self._rolled, bounds.least):
            shares = 100, 0
        least = bounds.least if percent else 0
        if not self._known.proven(self._newest) and not self._of(self._newest).ready:
            least = self._start(least)
        if strategy is None:
            return {
                self._newest: Place(shares[0], min(least, bounds.top), bounds.most),
                self._rolled: Place(shares[1], bounds.least, bounds.most),
            }
        budget = self._budgeted()
        cap = max(1, math.ceil(budget * percent / 100))
        now = self._step(strategy, budget, cap)
        if not now.old:
            shares = 100, 0  # there is no place for both
        return {
            self._newest: self._within(shares[0], budget, now.new),
            self._rolled: self._shrinking(shares[1], now),
        }

    def _dark(self, strategy: Strategy) -> dict[str, Place]:
        """Rolled back where pods are counted: it gives up its places, and is not started to show that it could be."""
        bounds = self._goal.bounds
        gone = sum(state.pods for state in self._others(self._rolled).values())
        if not gone:
            return {
                self._newest: self._leaving(self._newest, fast=True),
                self._rolled: Place(100, bounds.least, bounds.most),
            }
        budget = self._budgeted()
        surge, _ = strategy.within(budget)
        room = max(1, min(bounds.top, budget + surge - gone))
        return {
            self._newest: replace(self._leaving(self._newest, fast=True), budget=budget),
            self._rolled: Place(100, min(bounds.least, room), room),
        }

    # Canaries by a list.

    def _variants(self, main: dict[str, Place]) -> dict[str, Place]:
        places: dict[str, Place] = {}
        given: dict[str, int] = {}
        for variant in self._goal.variants:
            if variant.revision in main:
                continue
            bounds = variant.bounds
            places[variant.revision] = Place(0, min(max(1, bounds.least), bounds.top), bounds.most)
            serving = self._serving(variant, main)
            if serving:
                places.setdefault(serving, Place(0, bounds.least, bounds.most))
                given[serving] = variant.percent
        rest = max(0, 100 - sum(given.values()))
        total = sum(place.weight for place in main.values()) or 1
        for name, place in main.items():
            places[name] = replace(place, weight=place.weight * rest)
        for name, percent in given.items():
            places[name] = replace(places[name], weight=percent * total)
        return places

    def _serving(self, variant: Variant, main: Mapping[str, Place]) -> str:
        """The revision that takes a canary's part: its newest if that is ready, else one before it."""
        if self._of(variant.revision).ready:
            return variant.revision
        before = [
            name
            for name, state in self._live.items()
            if state.variant == variant.name
            and state.ready
            and name not in main
            and name not in self._current
        ]
        return min(before, key=lambda name: (-self._live[name].ready, name), default="")

    # What nothing asks for.

    def _others(self, *but: str) -> dict[str, Live]:
        return {n: s for n, s in self._live.items() if n not in but and n not in self._current}

    def _with_leaving(self, places: dict[str, Place]) -> dict[str, Place]:
        fast = self._goal.strategy is not None or self._goal.stopped
        for name, state in self._live.items():
            if name not in places and state.pods:
                places[name] = replace(self._leaving(name, fast=fast), budget=state.budget)
        return places

    def _leaving(self, name: str, *, fast: bool) -> Place:
        """It never grows again: its averages are of the traffic that it had."""
        most = min(max(1, self._of(name).replicas), self._goal.bounds.top)
        return Place(0, 0, most, leaving=True, fast=fast)
