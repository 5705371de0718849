"""More requests than pods can do, each with a deadline, in virtual time: what pods do is in time, and not for nothing."""

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random

import pytest

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.breaker import Endpoint, Waiter
from gateway.errors import GatewayError

MEAN = 0.1
"""Seconds that a pod works on a request."""


def info(uid: str, *, ready: bool = True) -> EndpointInfo:
    return EndpointInfo(uid, "127.0.0.1", 9000, ready=ready)


class Overload:
    """Poisson arrivals of `load` times what one pod can do, each with `deadline` seconds; the pod works on what nobody waits for any more."""

    def __init__(self, load: float, deadline: float, slots: int, draw: Callable[[Random], float]) -> None:
        self.chance = Random(7)  # noqa: S311 - a simulation has no secrets
        self.draw = draw
        self.deadline = deadline
        self.free = [0.0] * slots
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.order = count()
        self.in_time = 0
        self.backend = Backend("iris", Limits(concurrency=slots, depth=10**6), 0.0)
        self.backend.update(Endpoints((info("pod"),)), 0.0)
        moment = 0.0
        while moment < 60:
            moment += self.chance.expovariate(load * slots / MEAN)
            self.at(moment, self.arrive)
        for number in range(1300):
            self.at(number * 0.05, self.turn)

    def at(self, when: float, what: Callable[[float], None]) -> None:
        heappush(self.events, (when, next(self.order), what))

    def turn(self, now: float) -> None:
        self.backend.expire(now)

    def arrive(self, now: float) -> None:
        due = now + self.deadline
        endpoint = self.backend.enter(now)
        if endpoint is not None:
            self.begin(endpoint, now, due)
            return
        waiter = Waiter("w", now, due=due)
        try:
            self.backend.wait(waiter, now)
        except GatewayError:
            return
        self.at(due, partial(self.backend.give_up, waiter))

    def begin(self, endpoint: Endpoint, now: float, due: float) -> None:
        server = min(range(len(self.free)), key=self.free.__getitem__)
        self.free[server] = done = max(now, self.free[server]) + self.draw(self.chance)
        self.at(min(done, due), partial(self.end, endpoint, now, done <= due))

    def end(self, endpoint: Endpoint, since: float, in_time: bool, now: float) -> None:
        if in_time:
            self.in_time += now > 20
            self.backend.patience.answered(now - since)
        else:
            self.backend.patience.missed(now - since, self.deadline)
        for waiter, freed in self.backend.leave(endpoint, now):
            self.begin(freed, now, waiter.due)

    def run(self) -> float:
        """The share of what the pod can do, in the last forty seconds, that came in time."""
        while self.events:
            now, _, what = heappop(self.events)
            what(now)
        return self.in_time / (40 * len(self.free) / MEAN)


@pytest.mark.parametrize("deadline", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("load", [1.2, 2.0, 5.0])
@pytest.mark.parametrize("slots", [1, 10])
@pytest.mark.parametrize(
    ("draw", "least"),
    [
        pytest.param(lambda _: MEAN, 0.95, id="equally long"),
        pytest.param(lambda chance: chance.expovariate(1 / MEAN), 0.75, id="exponential"),
    ],
)
def test_what_pods_do_under_overload_is_mostly_in_time(
    draw: Callable[[Random], float], least: float, slots: int, load: float, deadline: float
) -> None:
    """Whatever the queue's own time, a minute here: first in, first out would serve each request just before its time is over, and none in time."""
    assert Overload(load, deadline, slots, draw).run() >= least
