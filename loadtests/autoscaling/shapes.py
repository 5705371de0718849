"""The shapes of load: how many requests per second there are at each moment, and when each request comes.

Arrivals are random as those of many clients are, by a fixed seed, so that every run has the same ones.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

SEED = 1
_STEP = 0.01


@dataclass(frozen=True, slots=True)
class Shape:
    """One load."""

    name: str
    about: str
    seconds: float
    """For which requests come."""
    after: float
    """Seconds for which the rest is watched: pods on their way down."""
    rate: Callable[[float], float]
    """Requests per second; of sparse requests 0."""
    apart: float = 0.0
    """Of sparse requests: seconds from one to the next."""

    def times(self) -> list[float]:
        """When each request comes."""
        if self.apart:
            return [self.apart * number for number in range(math.ceil(self.seconds / self.apart))]
        chance = random.Random(SEED)
        found: list[float] = []
        passed, following = 0.0, chance.expovariate(1.0)
        for step in range(int(self.seconds / _STEP)):
            passed += self.rate(step * _STEP) * _STEP
            while passed >= following:
                found.append(step * _STEP)
                following += chance.expovariate(1.0)
        return found


def shapes(quick: bool) -> list[Shape]:  # noqa: FBT001 (there are two sets)
    """A pod takes 2 requests at once of 200 ms each, and aims at 70 %: 7 requests/s."""
    scale = 0.2 if quick else 1.0

    crowd = 12 if quick else 20
    apart = 20.0 if quick else 40.0

    def step(t: float) -> float:
        return 5.0 if t < 15 * scale else 42.0 if t < 60 * scale else 10.0

    def ramp(t: float) -> float:
        top = 50 * scale
        return 2.0 + 48.0 * (t / top if t < top else max(0.0, 2 - t / top))

    def flash(t: float) -> float:
        """Ten times as much within 5 s, and a while."""
        begun = 20 * scale
        up = min(1.0, max(0.0, (t - begun) / 5))
        down = 1.0 if t < begun + crowd else 0.0
        return 5.0 + 45.0 * up * down

    return [
        Shape("step", "5/s, then 42/s at once, then 10/s", 80 * scale, 2, step),
        Shape("ramp", "2/s to 50/s and back", 100 * scale, 2, ramp),
        Shape(
            "flash crowd", "5/s, and ten times that within 5 s", crowd + 40 * scale, 5 if quick else 20, flash
        ),
        Shape(
            "sparse",
            f"one request every {apart:g} s",
            (1 if quick else 3) * apart + 5,
            0,
            lambda _: 0.0,
            apart,
        ),
    ]
