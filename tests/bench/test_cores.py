"""What the gateway's and the autoscaler's cores cost, small and large: none may grow with what it holds, but for ticks.

`make bench` times it; the test suite runs it once, to see that it works.
"""

from itertools import cycle
from typing import Any

import pytest

from gateway.asked import Asked, Source
from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.breaker import Waiter
from gateway.conditions import Condition, Conditions
from gateway.endpoint import Endpoint
from gateway.hashring import Ring, hashed
from gateway.http1 import RequestHead
from gateway.picking import Picking
from gateway.queues import Discipline
from gateway.routing import PathRule, Route, RouteTable
from gateway.search import Search
from gateway.splits import Split
from gateway.standing import ANYONE, Standing
from gateway.stats import Histogram
from gateway.steering import Steering
from gateway.sticky import Rendezvous, Sticky
from gateway.terms import BackendRef
from gateway.timers import TimerWheel


def table_of(count: int) -> RouteTable[int]:
    def route(number: int) -> Route[int]:
        host = b"model-%d.example.com" % number
        return Route(
            f"model-{number}",
            Split({"v1": 1, "v2": 2}, {"v1": 90, "v2": 10}),
            (host,),
            (PathRule("prefix", b"/v1"),),
        )

    return RouteTable(map(route, range(count)))


@pytest.mark.parametrize("routes", [1, 100, 10_000])
@pytest.mark.parametrize(
    "target", [b"/v1/models/iris:predict", b"/v1/models/iris:predict?" + b"q" * 300], ids=["seen", "unseen"]
)
def test_a_match(benchmark: Any, routes: int, target: bytes) -> None:
    """Host and path to a Route, and the Backend whose turn it is; a target that is too long to be remembered is looked up anew."""
    table = table_of(routes)
    host = b"model-%d.example.com" % (routes // 2)

    def choose() -> int:
        route = table.match(host, target)
        return route.choose() if route is not None else 0

    assert benchmark(choose) in {1, 2}


@pytest.mark.parametrize("routes", [10, 10_000])
def test_a_search(benchmark: Any, routes: int) -> None:
    """The same where the head has to be asked: four Routes claim the place, and the one that is found is sticky."""
    ref = BackendRef(Backend("iris", Limits(), 0.0), "iris")
    sticky = Steering(
        sticky=Sticky(Source("header", b"x-user")), keyed=Rendezvous((("v1", 9, ref), ("v2", 1, ref)))
    )

    def route(number: int) -> Route[BackendRef]:
        values = frozenset((Condition(Source("header", b"x-cohort"), "exact", b"%d" % (number % 4)),))
        conditions = Conditions(values=values) if number % 4 else None
        hosts = (b"model-%d.example.com" % (number - number % 4),)
        return Route(
            f"model-{number}", Split({"v1": ref}, {"v1": 1}), hosts, conditions=conditions, steering=sticky
        )

    table = RouteTable(map(route, range(routes)))
    host = b"model-%d.example.com" % (routes // 2 - routes // 2 % 4)
    head = RequestHead(b"GET", b"/v1/models/iris:predict")
    head.lines += [
        b"host: %b\r\n" % host,
        b"x-user: ann\r\n",
        b"x-cohort: 3\r\n",
        b"accept: */*\r\n",
        b"user-agent: x\r\n",
    ]

    def search() -> Any:
        found = table.match(host, head.target)
        return None if found is None else Search(found, Asked(head, str), bytes).advance()

    assert benchmark(search) is ref


@pytest.mark.parametrize("endpoints", [1, 100, 5_000])
def test_a_slot(benchmark: Any, endpoints: int) -> None:
    """Taken, and given back."""
    backend: Backend = Backend("iris", Limits(concurrency=8), 0.0)
    pods = tuple(EndpointInfo(f"pod-{n}", "127.0.0.1", 9000 + n, ready=True) for n in range(endpoints))
    backend.update(Endpoints(pods), 0.0)

    def enter_and_leave() -> bool:
        endpoint = backend.enter(1.0)
        if endpoint is None:
            return False
        backend.leave(endpoint, 1.0)
        return True

    assert benchmark(enter_and_leave)
    assert backend.in_flight == 0


class Nobody:
    """A request that waits."""

    held = 0

    def granted(self, endpoint: Any, now: float) -> None: ...
    def refused(self, error: Any) -> None: ...


@pytest.mark.parametrize("discipline", ["fifo", "round_robin", "least_use"])
@pytest.mark.parametrize("waiting", [1, 100, 10_000])
def test_a_turn_in_the_queue(benchmark: Any, waiting: int, discipline: Discipline) -> None:
    """One more waits, and a slot that comes free goes to the next, whose request ends; of ten tenants, or of a thousand."""
    standings = [Standing(0, b"%d" % number, metered=True) for number in range(max(10, waiting // 10))]
    turns = cycle(standings if discipline != "fifo" else [ANYONE])
    backend = Backend("iris", Limits(concurrency=1, depth=waiting + 1, discipline=discipline), 0.0)
    backend.update(Endpoints((EndpointInfo("pod", "127.0.0.1", 9000, ready=True),)), 0.0)
    endpoint = backend.enter(0.0)
    assert endpoint is not None
    for _ in range(waiting - 1):
        backend.wait(Waiter(Nobody(), 0.0, standing=next(turns)), 0.0)
    now, last = 1.0, ANYONE

    def turn() -> bool:
        nonlocal now, last
        now += 0.001
        backend.wait(Waiter(Nobody(), now, standing=next(turns)), now)
        backend.ends(last, now)
        ((waiter, _),) = backend.leave(endpoint, now)
        last = waiter.standing
        return True

    assert benchmark(turn)
    assert backend.breaker.queued == waiting - 1


@pytest.mark.parametrize("endpoints", [1, 100, 5_000])
@pytest.mark.parametrize("state", ["idle", "busy"])
@pytest.mark.parametrize(
    "picking",
    [
        Picking(),
        Picking(warm=True),
        Picking("round_robin"),
        Picking("first_available"),
        Picking("consistent_hash"),
    ],
    ids=lambda picking: picking.policy + picking.warm * "+slow_start",
)
def test_a_slot_by_each_policy(benchmark: Any, picking: Picking, state: str, endpoints: int) -> None:
    """Taken, and given back, for another key each time; busy: there is one free slot in all, which each request gets."""
    backend: Backend = Backend("iris", Limits(concurrency=8, picking=picking), 0.0)
    pods = tuple(EndpointInfo(f"pod-{n}", "127.0.0.1", 9000 + n, ready=True) for n in range(endpoints))
    backend.update(Endpoints(pods), 0.0)
    held = [backend.enter(1.0, n) for n in range(endpoints * (8 if state == "busy" else 2) - 1)]
    assert all(held)
    keys = cycle(hashed(b"%d" % n) for n in range(1000))

    def enter_and_leave() -> bool:
        endpoint = backend.enter(1.0, next(keys))
        if endpoint is None:
            return False
        backend.leave(endpoint, 1.0)
        return True

    assert benchmark(enter_and_leave)


def test_a_pod_put_on_a_ring_of_five_thousand(benchmark: Any) -> None:
    """And taken off: 256 points in 1.3 million."""
    ring = Ring()
    for number in range(5_000 if benchmark.enabled else 5):
        ring.add(Endpoint(f"pod-{number}", "127.0.0.1", 1))
    one = Endpoint("one", "127.0.0.1", 1)

    def put_on_and_take_off() -> None:
        ring.add(one)
        ring.remove(one)

    benchmark(put_on_and_take_off)


class Deadline:
    """Stays on the wheel for ever."""

    scheduled = float("inf")

    def on_time(self, now: float) -> float:
        return now + 1.0


def test_a_turn_of_a_wheel_with_ten_thousand_deadlines(benchmark: Any) -> None:
    """A twentieth of them is due at each."""
    wheel = TimerWheel(0.0)
    now = 0.0
    for number in range(10_000):
        wheel.arm(Deadline(), 1.0 + number % 20 * 0.05)

    def turn() -> None:
        nonlocal now
        now += 0.05
        wheel.turn(now)

    benchmark(turn)
    assert "10000 items" in repr(wheel)


def test_an_observation(benchmark: Any) -> None:
    """Of a histogram."""
    histogram = Histogram()
    benchmark(histogram.observe, 0.012)
    assert histogram.sum > 0
