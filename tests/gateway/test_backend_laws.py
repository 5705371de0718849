"""One Backend, by random steps: its gauges equal a plain count. Examples are in test_backend.py."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.breaker import Endpoint, Waiter
from gateway.errors import GatewayError
from gateway.standing import Standing


def info(uid: str, *, ready: bool = True, draining: bool = False) -> EndpointInfo:
    return EndpointInfo(uid, "127.0.0.1", 9000, ready=ready, draining=draining)


class BackendLaws(RuleBasedStateMachine):
    """Requests, pods and limits in any order; after each step the gauges are what a plain count says."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.backend: Backend = Backend("iris", Limits(2, 3, 5.0, 8.0, discipline="round_robin"), 0.0)
        self.known: dict[str, EndpointInfo] = {}
        self.open: list[Endpoint] = []
        self.waiting: dict[Waiter, None] = {}
        self.gone: set[int] = set()
        self.begun = self.ended = self.waits = 0

    def _settle(self, granted: list[tuple[Waiter, Endpoint]], refused: list[tuple[Waiter, Any]] = ()) -> None:  # type: ignore[assignment]
        for waiter, endpoint in granted:
            del self.waiting[waiter]
            self.open.append(endpoint)
        for waiter, _ in refused:
            del self.waiting[waiter]
            self.ended += 1
        self.waits += len(granted) + len(refused)

    @rule(seconds=st.floats(0, 4))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self._settle([], self.backend.expire(self.now))

    @rule(
        priority=st.integers(-1, 1),
        tenant=st.sampled_from([b"", b"a", b"b"]),
        size=st.integers(0, 60),
        due=st.floats(0, 9),
    )
    def arrive(self, priority: int, tenant: bytes, size: int, due: float) -> None:
        endpoint = self.backend.enter(self.now)
        if endpoint is not None:
            self.begun += 1
            self.open.append(endpoint)
            return
        standing = Standing(priority, tenant, metered=True)
        waiter = Waiter(self.begun, self.now, standing=standing, size=size, due=self.now + due)
        breaker, limits = self.backend.breaker, self.backend.limits
        full = breaker.queued >= limits.depth
        heavy = 0 < limits.bytes < breaker.bytes + size
        try:
            pushed = self.backend.wait(waiter, self.now)
        except GatewayError as error:
            slug = error.reason.slug
            assert slug in {"queue_timeout", "cannot_start", "queue_full"}
            assert slug != "queue_full" or full or heavy
        else:
            self.begun += 1
            self.waiting[waiter] = None
            assert bool(pushed) == (full or heavy)
            self._settle([], pushed)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), size=st.integers(1, 60))
    def grow(self, data: Any, size: int) -> None:
        waiter = data.draw(st.sampled_from(list(self.waiting)))
        try:
            self._settle([], self.backend.grow(waiter, size, self.now))
        except GatewayError as error:
            assert error.reason.slug == "queue_full"  # noqa: PT017

    @precondition(lambda self: self.waiting)
    @rule(priority=st.integers(-1, 2), data=st.data())
    def push_out(self, priority: int, data: Any) -> None:
        lower = list(self.backend.breaker.worse(priority))
        assert {w for w in self.waiting if w.standing.priority < priority} == set(lower)
        self._settle([], self.backend.displace(lower[: data.draw(st.integers(0, 2))], self.now))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        endpoint = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        self.ended += 1
        self._settle(self.backend.leave(endpoint, self.now))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def again(self, data: Any) -> None:
        at = data.draw(st.integers(0, len(self.open) - 1))
        waiter = Waiter(-1, self.now, [self.open[at]])
        try:
            granted = self.backend.again(waiter, self.open[at], self.now)
        except GatewayError:
            return
        del self.open[at]
        self.waiting[waiter] = None
        self._settle(granted)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: Any) -> None:
        waiter = data.draw(st.sampled_from(list(self.waiting)))
        assert self.backend.give_up(waiter, self.now)
        assert not self.backend.give_up(waiter, self.now)
        del self.waiting[waiter]
        self.waits += 1
        self.ended += 1

    @rule(
        uid=st.sampled_from("abc"),
        ready=st.booleans(),
        draining=st.booleans(),
        gone=st.booleans(),
        broken=st.booleans(),
    )
    def publish(self, uid: str, ready: bool, draining: bool, gone: bool, broken: bool) -> None:
        self.known.pop(uid, None)
        if not gone:
            self.known[uid] = info(uid, ready=ready, draining=draining)
        news = Endpoints(tuple(self.known.values()), "it crashes" if broken else None)
        verdict = self.backend.update(news, self.now)
        self._settle(verdict.granted, verdict.refused)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), suspect=st.booleans())
    def suspect(self, data: Any, suspect: bool) -> None:
        endpoint = data.draw(st.sampled_from(self.open))
        self._settle(self.backend.suspect(endpoint, self.now, suspect=suspect))

    @rule(
        concurrency=st.integers(0, 3),
        depth=st.integers(0, 4),
        size=st.sampled_from([0, 100]),
        discipline=st.sampled_from(["round_robin", "least_use"]),
    )
    def relimit(self, concurrency: int, depth: int, size: int, discipline: Any) -> None:
        limits = Limits(concurrency, depth, 5.0, 8.0, bytes=size, discipline=discipline)
        self._settle(self.backend.relimit(limits, self.now))

    @invariant()
    def gauges_equal_the_truth(self) -> None:
        stats = self.backend.stats
        assert (stats.in_flight.value, stats.queued.value) == (len(self.open), len(self.waiting))
        assert (stats.begun, stats.ended, stats.waits) == (self.begun, self.ended, self.waits)
        assert stats.begun - stats.ended == len(self.open) + len(self.waiting)
        assert sum(stats.queue_wait.counts) == self.waits
        breaker = self.backend.breaker
        assert set(breaker.waiting) == set(self.waiting)
        assert breaker.bytes == sum(waiter.size for waiter in self.waiting)
        if breaker.fair is not None:
            assert sum(queued for queued, _ in breaker.fair.levels().values()) == len(self.waiting)

    @invariant()
    def a_queue_implies_no_free_slot(self) -> None:
        limit = self.backend.limits.concurrency
        free = [
            e for e in self.backend.endpoints.values() if e.available and (not limit or e.in_flight < limit)
        ]
        assert not (self.waiting and free)

    @invariant()
    def a_start_is_under_way_only_while_somebody_waits_for_it(self) -> None:
        starting = self.backend.activator.began is not None
        assert not starting or (self.waiting and not self.backend.breaker.available)
        if self.waiting and not any(endpoint.ready for endpoint in self.backend.endpoints.values()):
            assert starting


BackendLaws.TestCase.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
TestBackendLaws = BackendLaws.TestCase
