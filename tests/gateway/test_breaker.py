"""Slots and the queue: the laws, by a state machine; the rest by example."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.breaker import Breaker, Endpoint, Waiter
from gateway.endpoint import NO_TRIAL, TRIAL_DUE, TRIAL_UNDER_WAY
from gateway.picking import ConsistentHash, FirstAvailable, LeastRequests, Picking, RoundRobin
from gateway.queues import Discipline
from gateway.standing import Standing
from gateway.warmpicking import WarmLeastRequests

POLICIES = (
    Picking(),
    Picking(warm=True),
    Picking("round_robin"),
    Picking("first_available"),
    Picking("consistent_hash"),
    Picking("consistent_hash", bound=1.0),
)
DISCIPLINES: tuple[Discipline, ...] = ("fifo", "round_robin", "least_use")
KEYS = st.none() | st.integers(0, 2**64 - 1)
STANDINGS = st.builds(Standing, st.integers(-1, 1), st.sampled_from([b"a", b"b", b"c"]))


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
    """Every way in and out, in any order, by any policy and in any discipline, with the laws checked after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker: Breaker = Breaker(2, 5)
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
            if self.breaker.discipline == "fifo":
                assert waiter is self.line[0], "somebody overtook"
            better = [w for w in self.line if w.standing.priority > waiter.standing.priority]
            peers = [w for w in self.line if w.standing == waiter.standing]
            assert not better or self.breaker.discipline == "fifo", "somebody went before a higher priority"
            assert waiter is peers[0], "somebody overtook"
            self.line.remove(waiter)
            self.left.append(waiter)
            self._hold(endpoint)

    def _hold(self, endpoint: Endpoint) -> None:
        self.held.append(endpoint)
        assert endpoint.available or endpoint.trial == TRIAL_UNDER_WAY

    @rule(key=KEYS, standing=STANDINGS, size=st.integers(0, 30))
    def acquire(self, key: int | None, standing: Standing, size: int) -> None:
        within = self._within_bound()
        least = min((e.in_flight for e in self.endpoints if e.available), default=None)
        endpoint = self.breaker.acquire(key)
        if endpoint is None:
            self.arrivals += 1
            waiter = Waiter(self.arrivals, 0.0, key=key, standing=standing, size=size)
            if not self.breaker.full:
                self.breaker.enqueue(waiter, 0.0)
                self.line.append(waiter)
        else:
            assert not self.line, "a newcomer overtook the queue"
            if endpoint.available:
                if self.breaker.picking.policy == "least_requests" and not self.breaker.picking.warm:
                    assert endpoint.in_flight - 1 == least, "not the least busy"
                if self.breaker.picking.policy == "consistent_hash":
                    assert endpoint in within, "more than its share"
            self._hold(endpoint)

    def _within_bound(self) -> list[Endpoint]:
        listed = [e for e in self.endpoints if e.available]
        most = self.breaker.picking.bound * (sum(e.in_flight for e in listed) + 1) / max(1, len(listed))
        return [e for e in listed if e.in_flight < most]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        self.breaker.release(self.held.pop(data.draw(st.integers(0, len(self.held) - 1))))
        self._grant()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), standing=STANDINGS)
    def put_back_in_front(self, data: Any, standing: Standing) -> None:
        endpoint = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.breaker.release(endpoint)
        self.arrivals += 1
        waiter = Waiter(self.arrivals, 0.0, [endpoint], standing=standing, size=10)
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
    @rule(data=st.data(), mark=st.sampled_from(["ready", "draining", "barred"]))
    def change(self, data: Any, mark: str) -> None:
        endpoint = data.draw(st.sampled_from(self.endpoints))
        setattr(endpoint, mark, not getattr(endpoint, mark))
        self.breaker.update(endpoint)
        self._grant()

    @rule(standing=STANDINGS, size=st.integers(0, 60))
    def push_out(self, standing: Standing, size: int) -> None:
        """For a newcomer that finds no room: the newest of the lowest priority, or of a tenant with more than its share; as few as will do."""
        breaker = self.breaker
        pushed = breaker.room_for(Waiter("new", 0.0, standing=standing), 1, size)
        if pushed is None:
            assert breaker.full or breaker.bytes + size > breaker.bytes_limit > 0
            assert breaker.discipline == "fifo" or not any(
                w.standing.priority < standing.priority and self._makes_room([w], size) for w in self.line
            )
            return
        assert self._makes_room(pushed, size), "not enough"
        assert not pushed or not self._makes_room(pushed[:-1], size), "more than had to"
        assert not pushed or breaker.discipline != "fifo", "equals give no way"
        for waiter in pushed:
            of_tenant = [w for w in self.line if w.standing == waiter.standing]
            assert waiter is of_tenant[-1]
            if waiter.standing.priority == standing.priority:
                assert len(of_tenant) > len([w for w in self.line if w.standing == standing])
            else:
                lowest = min(w.standing.priority for w in self.line)
                assert waiter.standing.priority == lowest < standing.priority
            assert breaker.withdraw(waiter)
            self.line.remove(waiter)
            self.left.append(waiter)

    def _makes_room(self, pushed: list[Waiter], size: int) -> bool:
        breaker = self.breaker
        fits = breaker.bytes - sum(w.size for w in pushed) + size <= breaker.bytes_limit
        return len(self.line) - len(pushed) < breaker.depth and (fits or not breaker.bytes_limit)

    @precondition(lambda self: self.line)
    @rule(data=st.data(), size=st.integers(1, 30))
    def grow(self, data: Any, size: int) -> None:
        self.breaker.grow(data.draw(st.sampled_from(self.line)), size)

    @rule(discipline=st.sampled_from(DISCIPLINES))
    def requeue(self, discipline: Discipline) -> None:
        self.breaker.requeue(discipline, self.now)
        self._grant()

    @rule(limit=st.sampled_from([0, 40]))
    def relimit_bytes(self, limit: int) -> None:
        self.breaker.bytes_limit = limit

    @precondition(lambda self: self.endpoints)
    @rule(data=st.data())
    def put_on_trial(self, data: Any) -> None:
        """As one that has been out for long enough."""
        endpoint = data.draw(st.sampled_from(self.endpoints))
        if endpoint.barred and endpoint.trial == NO_TRIAL:
            endpoint.trial = TRIAL_DUE
            self.breaker.update(endpoint)
            self._grant()

    @precondition(lambda self: self.endpoints)
    @rule(data=st.data(), warmth=st.sampled_from([0.1, 0.34, 0.5, 1.0]))
    def rewarm(self, data: Any, warmth: float) -> None:
        self.breaker.rewarm(data.draw(st.sampled_from(self.endpoints)), warmth)

    @rule(picking=st.sampled_from(POLICIES))
    def repick(self, picking: Picking) -> None:
        self.breaker.repick(picking, self.endpoints)
        self._grant()

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
            if (e.available or e.triable) and (not self.breaker.limit or e.in_flight < self.breaker.limit)
        ]
        assert not (self.line and free)

    @invariant()
    def the_books_agree(self) -> None:
        assert list(self.breaker.waiting) == self.line
        assert self.breaker.queued == len(self.line)
        assert self.breaker.bytes == sum(waiter.size for waiter in self.line)
        if self.breaker.fair is not None:
            assert sum(queued for queued, _ in self.breaker.fair.levels().values()) == len(self.line)
        assert self.breaker.first() is (self.line[0] if self.line else None)
        assert self.breaker.available == sum(e.available or e.triable for e in self.endpoints)
        avoid = self.endpoints[:2]
        free = [e for e in self.endpoints if e.available and e not in avoid]
        if self.breaker.limit:
            free = [e for e in free if e.in_flight < self.breaker.limit]
        assert self.breaker.spare(avoid) == bool(free)


BreakerLaws.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestBreakerLaws = BreakerLaws.TestCase


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


def test_one_request_goes_to_an_endpoint_on_trial_before_others_are_asked() -> None:
    """And only one, until it has ended without a verdict."""
    tried, other = ready("a"), ready("b")
    tried.barred, tried.trial = True, TRIAL_DUE
    breaker = breaker_of(tried, other, limit=0)
    assert [breaker.acquire() for _ in range(3)] == [tried, other, other]
    breaker.release(tried)
    assert breaker.acquire() is tried


def test_a_request_that_has_failed_is_no_trial_while_there_is_another_endpoint() -> None:
    """It has had its bad luck."""
    tried, failed, other = ready("a"), ready("b"), ready("c", in_flight=5)
    tried.barred, tried.trial = True, TRIAL_DUE
    breaker = breaker_of(tried, failed, other, limit=0)
    waiter = Waiter("w", 0.0, [failed])
    breaker.enqueue(waiter, 0.0, first=True)
    assert breaker.grants(0.0) == [(waiter, other)]
    assert not breaker.spare([failed, other])


@pytest.mark.parametrize(
    ("picking", "kind"),
    [
        (Picking(), LeastRequests),
        (Picking(warm=True), WarmLeastRequests),
        (Picking("round_robin", warm=True), RoundRobin),
        (Picking("first_available"), FirstAvailable),
        (Picking("consistent_hash"), ConsistentHash),
    ],
    ids=str,
)
def test_each_policy_has_its_picker(picking: Picking, kind: type) -> None:
    """Taken over at a reload with what is open."""
    breaker = breaker_of(ready("a"), ready("b"), limit=2)
    assert breaker.acquire()
    breaker.repick(picking, [ready("c")])
    assert type(breaker.picker) is kind


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
