"""Slots and the queue: the laws, by a state machine; the rest by example."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.breaker import Breaker, Endpoint, Waiter
from gateway.queues import Discipline, queue_of
from gateway.standing import ANYONE, Standing


def ready(uid: str, in_flight: int = 0) -> Endpoint:
    endpoint = Endpoint(uid, "127.0.0.1", 9000)
    endpoint.ready = True
    endpoint.in_flight = in_flight
    return endpoint


def breaker_of(*endpoints: Endpoint, limit: int = 1, depth: int = 10) -> Breaker:
    breaker: Breaker = Breaker(limit, depth)
    for endpoint in endpoints:
        breaker.update(endpoint)
    return breaker


class BreakerLaws(RuleBasedStateMachine):
    """Every way in and out, in any order, with the laws checked after each step."""

    discipline: Discipline = "fifo"

    def __init__(self) -> None:
        super().__init__()
        self.breaker: Breaker = Breaker(2, 5)
        self.breaker.requeue(queue_of(self.discipline), 0.0)
        self.now = 0.0
        self.endpoints: list[Endpoint] = []
        self.held: list[Endpoint] = []
        self.line: list[Waiter] = []
        self.left: list[Waiter] = []
        self.before: dict[Endpoint, int] = {}
        self.arrivals = 0

    def _grant(self) -> None:
        self.now += 0.5
        for waiter, endpoint in self.breaker.grants(self.now):
            better = [w for w in self.line if w.standing.priority > waiter.standing.priority]
            peers = [w for w in self.line if w.standing == waiter.standing]
            assert not better, "somebody went before a higher priority"
            assert waiter is peers[0], "somebody overtook"
            self.line.remove(waiter)
            self.left.append(waiter)
            self.held.append(endpoint)
            assert endpoint.available

    def _standing(self, data: Any) -> Standing:
        if self.discipline == "fifo":
            return ANYONE
        return Standing(data.draw(st.integers(-1, 1)), data.draw(st.sampled_from([b"a", b"b", b"c"])))

    @rule(data=st.data())
    def acquire(self, data: Any) -> None:
        least = min((e.in_flight for e in self.endpoints if e.available), default=None)
        endpoint = self.breaker.acquire()
        if endpoint is None:
            self.arrivals += 1
            waiter = Waiter(self.arrivals, 0.0, standing=self._standing(data), size=10)
            if not self.breaker.full:
                self.breaker.enqueue(waiter, 0.0)
                self.line.append(waiter)
        else:
            assert not self.line, "a newcomer overtook the queue"
            assert endpoint.in_flight - 1 == least, "not the least busy"
            self.held.append(endpoint)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        self.breaker.release(self.held.pop(data.draw(st.integers(0, len(self.held) - 1))))
        self._grant()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def put_back_in_front(self, data: Any) -> None:
        endpoint = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.breaker.release(endpoint)
        self.arrivals += 1
        waiter = Waiter(self.arrivals, 0.0, [endpoint], standing=self._standing(data), size=10)
        self.breaker.enqueue(waiter, 0.0, first=True)
        self.line.insert(0, waiter)
        self._grant()

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def withdraw(self, data: Any) -> None:
        waiter = self.line.pop(data.draw(st.integers(0, len(self.line) - 1)))
        assert self.breaker.withdraw(waiter)
        self.left.append(waiter)

    @precondition(lambda self: self.left)
    @rule(data=st.data())
    def nobody_leaves_twice(self, data: Any) -> None:
        assert not self.breaker.withdraw(data.draw(st.sampled_from(self.left)))

    @precondition(lambda self: len(self.endpoints) < 5)
    @rule()
    def add(self) -> None:
        endpoint = ready(f"pod-{len(self.endpoints)}")
        self.endpoints.append(endpoint)
        self.breaker.update(endpoint)
        self._grant()

    @precondition(lambda self: self.endpoints)
    @rule(data=st.data(), mark=st.sampled_from(["ready", "draining", "suspect"]))
    def change(self, data: Any, mark: str) -> None:
        endpoint = data.draw(st.sampled_from(self.endpoints))
        setattr(endpoint, mark, not getattr(endpoint, mark))
        self.breaker.update(endpoint)
        self._grant()

    @precondition(lambda self: self.discipline != "fifo")
    @rule(data=st.data())
    def push_out(self, data: Any) -> None:
        """For a newcomer, whenever the queue is full: the newest of the lowest priority, or of a tenant with more than its share."""
        newcomer = Waiter("new", 0.0, standing=self._standing(data))
        pushed = self.breaker.room_for(newcomer, 1, 0)
        if not self.breaker.full:
            assert pushed == []
            return
        lowest = min((w.standing.priority for w in self.line), default=0)
        mine = [w for w in self.line if w.standing == newcomer.standing]
        for waiter in pushed or ():
            of_tenant = [w for w in self.line if w.standing == waiter.standing]
            assert waiter is of_tenant[-1]
            if waiter.standing.priority == newcomer.standing.priority:
                assert len(of_tenant) > len(mine)
            else:
                assert waiter.standing.priority == lowest < newcomer.standing.priority
            assert self.breaker.withdraw(waiter)
            self.line.remove(waiter)
            self.left.append(waiter)
        if pushed is None:
            assert lowest >= newcomer.standing.priority

    @rule(limit=st.integers(0, 4))
    def relimit(self, limit: int) -> None:
        self.breaker.limit = limit
        self._grant()

    @invariant()
    def slots_never_exceed_the_limit(self) -> None:
        """A lowered limit stops new grants only: what is over it only falls."""
        limit = self.breaker.limit
        for endpoint in self.endpoints:
            assert endpoint.in_flight == self.held.count(endpoint)
            if limit and endpoint.in_flight > limit:
                assert endpoint.in_flight <= self.before.get(endpoint, 0), "granted over the limit"
            self.before[endpoint] = endpoint.in_flight

    @invariant()
    def a_queue_implies_no_free_slot(self) -> None:
        free = [
            e
            for e in self.endpoints
            if e.available and (not self.breaker.limit or e.in_flight < self.breaker.limit)
        ]
        assert not (self.line and free)

    @invariant()
    def the_books_agree(self) -> None:
        assert list(self.breaker.waiters()) == self.line
        assert self.breaker.queued == len(self.line)
        assert self.breaker.bytes == 10 * len(self.line)
        assert self.breaker.first() is (self.line[0] if self.line else None)
        assert self.breaker.available == sum(e.available for e in self.endpoints)


class RoundRobinLaws(BreakerLaws):
    discipline = "round_robin"


class LeastUseLaws(BreakerLaws):
    discipline = "least_use"


for laws in (BreakerLaws, RoundRobinLaws, LeastUseLaws):
    laws.TestCase.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
TestBreakerLaws = BreakerLaws.TestCase
TestRoundRobinLaws = RoundRobinLaws.TestCase
TestLeastUseLaws = LeastUseLaws.TestCase


def test_ties_go_round() -> None:
    """Equal pods take turns."""
    breaker = breaker_of(ready("a"), ready("b"), ready("c"), limit=2)
    picked = [breaker.acquire() for _ in range(7)]
    assert [endpoint and endpoint.uid for endpoint in picked] == ["a", "b", "c", "a", "b", "c", None]


def test_without_a_limit_every_request_gets_a_slot() -> None:
    """0 means no limit."""
    breaker = breaker_of(ready("a"), limit=0)
    assert all(breaker.acquire() for _ in range(100))


def test_a_freed_slot_goes_to_the_first_waiter() -> None:
    """First come, first served."""
    endpoint = ready("a")
    breaker = breaker_of(endpoint)
    breaker.acquire()
    first, second = Waiter("first", 0.0), Waiter("second", 1.0)
    breaker.enqueue(first, 0.0)
    breaker.enqueue(second, 0.0)
    breaker.release(endpoint)
    assert breaker.grants(0.0) == [(first, endpoint)]
    assert breaker.first() is second


def test_a_waiter_gets_another_endpoint_than_those_that_failed_it() -> None:
    """Even when the one that failed is the least busy."""
    failed, other = ready("a"), ready("b", in_flight=1)
    breaker = breaker_of(failed, other, limit=2)
    waiter = Waiter("w", 0.0, [failed])
    breaker.enqueue(waiter, 0.0, first=True)
    assert breaker.grants(0.0) == [(waiter, other)]


def test_a_waiter_gets_the_endpoint_that_failed_it_when_there_is_no_other() -> None:
    """It would rather not, but nothing else is free."""
    failed, full = ready("a"), ready("b", in_flight=1)
    breaker = breaker_of(failed, full, limit=1)
    waiter = Waiter("w", 0.0, [failed])
    breaker.enqueue(waiter, 0.0)
    assert breaker.grants(0.0) == [(waiter, failed)]


def test_an_endpoint_that_left_keeps_its_books() -> None:
    """A request that was open on it is given back all the same."""
    endpoint = ready("a")
    breaker = breaker_of(endpoint)
    breaker.acquire()
    endpoint.ready = False
    breaker.update(endpoint)
    breaker.release(endpoint)
    assert repr(endpoint) == "<Endpoint a 127.0.0.1:9000 in_flight=0 not ready>"
    assert breaker.acquire() is None


def test_it_tells_its_state() -> None:
    """In one line each."""
    endpoint = ready("a")
    endpoint.draining = True
    waiter = Waiter("w", 1.5)
    waiter.cold = True
    assert repr(endpoint) == "<Endpoint a 127.0.0.1:9000 in_flight=0 ready+draining>"
    assert repr(waiter) == "<Waiter 'w' since=1.500 cold>"
    assert repr(Waiter("w", 1.5)) == "<Waiter 'w' since=1.500>"
    assert repr(breaker_of(ready("b"), limit=2)) == "<Breaker limit=2 available=1 queued=0/10>"
