"""May a request be tried again: each kind of failure by example, and what one request, and all of them, may cost the pods, as laws."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.backend import RETRIES_LEAST, Backend, EndpointInfo, Endpoints, Limits
from gateway.breaker import Endpoint, Waiter
from gateway.retries import IDEMPOTENT, REFUSED_MOST, Failure, RetryPolicy, Tries

NOTHING = RetryPolicy(on=frozenset())


def backend_of(pods: int, limit: int = 0) -> Backend:
    backend: Backend = Backend("iris", Limits(concurrency=limit), 0.0)
    infos = (EndpointInfo(f"pod-{n}", "127.0.0.1", 9000 + n, ready=True) for n in range(pods))
    backend.update(Endpoints(tuple(infos)), 0.0)
    return backend


class Request:
    """One request in flight, and its tries."""

    def __init__(self, backend: Backend, policy: RetryPolicy | None = None) -> None:
        endpoint = backend.enter(0.0)
        assert endpoint is not None
        self.on: Endpoint = endpoint
        self.pods = list(backend.endpoints.values())
        self.tries = Tries(backend, policy or RetryPolicy())

    def lost(self, failure: Failure, pod: int = 0, method: bytes = b"GET") -> bool:
        return self.tries.lost(self.pods[pod], failure, method)

    def answered(self, status: int, pod: int = 0, method: bytes = b"GET") -> bool:
        return self.tries.answered(self.pods[pod], status, method)


# -- no connection


@pytest.mark.parametrize("policy", [RetryPolicy(), NOTHING], ids=["by default", "with nothing asked for"])
def test_a_refused_connection_is_always_tried_again_on_three_pods_at_most(policy: RetryPolicy) -> None:
    """Whatever the policy: nothing was sent."""
    request = Request(backend_of(4), policy)
    tried = [request.tries.connect(pod, Failure.REFUSED) for pod in request.pods[:REFUSED_MOST]]
    assert tried == [True, True, False]
    assert request.tries.failed == request.pods[:3]


def test_a_connection_that_does_not_come_in_time_is_tried_again_once_when_the_policy_says_connect() -> None:
    """It has cost the client its time already, and is the one retry."""
    request = Request(backend_of(4))
    assert request.tries.connect(request.pods[0], Failure.LATE)
    assert request.tries.connect(request.pods[1], Failure.REFUSED)
    assert not request.answered(503, pod=2)
    late = Request(backend_of(4))
    assert [late.tries.connect(pod, Failure.LATE) for pod in late.pods[:2]] == [True, False]
    assert not Request(backend_of(2), NOTHING).tries.connect(Endpoint("a", "h", 1), Failure.LATE)


# -- a lost connection


def test_what_no_pod_has_seen_is_always_sent_again() -> None:
    """A POST too, with nothing asked for, and outside of the budget."""
    backend = backend_of(1)
    request = Request(backend, NOTHING)
    assert request.lost(Failure.UNSEEN, method=b"POST")
    assert request.tries.fresh
    assert repr(request.tries) == "<Tries failed=['pod-0']>"


@pytest.mark.parametrize("method", sorted(IDEMPOTENT))
def test_a_dead_kept_connection_is_always_tried_again_for_idempotent_methods(method: bytes) -> None:
    """With nothing asked for."""
    assert Request(backend_of(1), NOTHING).lost(Failure.STALE, method=method)


@pytest.mark.parametrize("failure", [Failure.STALE, Failure.RESET])
def test_a_post_that_a_pod_may_have_seen_is_not_sent_again(failure: Failure) -> None:
    """Unless the policy names it."""
    assert not Request(backend_of(2)).lost(failure, method=b"POST")
    policy = RetryPolicy(methods=frozenset((b"POST",)))
    assert Request(backend_of(2), policy).lost(failure, method=b"POST")


def test_a_reset_is_tried_again_once_when_the_policy_says_reset() -> None:
    """And takes from the budget."""
    request = Request(backend_of(3))
    assert request.lost(Failure.RESET)
    assert repr(request.tries) == "<Tries failed=['pod-0'] on the budget>"
    assert not Request(backend_of(3), NOTHING).lost(Failure.RESET)


def test_an_answer_that_broke_off_is_not_asked_for_again() -> None:
    """Nor one that made no sense."""
    assert not Request(backend_of(2)).lost(Failure.BROKEN)
    assert not Request(backend_of(2)).lost(Failure.CUT)


@pytest.mark.parametrize("first", [Failure.STALE, Failure.RESET])
def test_a_request_that_two_pods_lost_goes_to_no_third(first: Failure) -> None:
    """It may be what kills them."""
    request = Request(backend_of(3))
    assert request.lost(first, pod=0)
    assert not request.lost(Failure.RESET, pod=1)


@pytest.mark.parametrize("first", [Failure.STALE, Failure.RESET])
def test_a_pod_that_loses_a_request_twice_is_dying_and_the_request_gets_another_try(first: Failure) -> None:
    """Its listener had accepted once more; a second pod that loses the request is the last."""
    request = Request(backend_of(3))
    assert request.lost(first, pod=0)
    assert not request.tries.dying
    assert request.lost(Failure.RESET, pod=0)
    assert request.tries.dying
    assert not request.lost(Failure.RESET, pod=1)


def test_a_request_that_was_not_seen_first_still_has_its_retry() -> None:
    """That pod did not lose it."""
    request = Request(backend_of(3))
    assert request.lost(Failure.UNSEEN, pod=0)
    assert request.lost(Failure.RESET, pod=0)
    assert not request.tries.dying
    assert not request.lost(Failure.RESET, pod=1)


# -- answers


def test_an_answer_that_the_policy_names_is_asked_of_another_pod_once() -> None:
    """The second one stands."""
    request = Request(backend_of(3))
    assert request.answered(503, pod=0)
    assert not request.answered(503, pod=1)


@pytest.mark.parametrize(
    ("status", "method"), [(500, b"GET"), (501, b"GET"), (503, b"POST"), (503, b"PATCH")]
)
def test_other_answers_stand(status: int, method: bytes) -> None:
    """By status and by method."""
    assert not Request(backend_of(2)).answered(status, method=method)


def test_an_answer_stands_when_no_other_pod_has_a_slot_now() -> None:
    """One that has failed the request before is no other; waiting for one would only delay the answer."""
    assert not Request(backend_of(1)).answered(503)
    busy = backend_of(2, limit=1)
    Request(busy)
    assert not Request(busy).answered(503, pod=0)
    request = Request(backend_of(2))
    request.tries.connect(request.pods[1], Failure.REFUSED)
    assert not request.answered(503, pod=0)


def test_a_reset_after_an_answer_that_was_asked_again_stands() -> None:
    """One retry, whatever for."""
    request = Request(backend_of(3))
    assert request.answered(503, pod=0)
    assert not request.lost(Failure.RESET, pod=1)


def test_a_kept_connection_that_was_dead_leaves_the_one_retry() -> None:
    """It was no try of the pod's."""
    request = Request(backend_of(3))
    assert request.lost(Failure.STALE, pod=0)
    assert request.answered(503, pod=1)


@pytest.mark.parametrize(
    ("policy", "method", "repeats"),
    [
        (RetryPolicy(), b"GET", True),
        (RetryPolicy(), b"POST", False),
        (RetryPolicy(on=frozenset((503,))), b"PUT", True),
        (RetryPolicy(on=frozenset(("connect",))), b"GET", False),
        (NOTHING, b"GET", False),
    ],
)
def test_what_can_never_be_sent_again_is_known(policy: RetryPolicy, method: bytes, repeats: bool) -> None:
    """So that nothing is kept for it."""
    assert policy.repeats(method) is repeats


# -- the budget


@pytest.mark.parametrize("failure", [Failure.LATE, Failure.RESET])
def test_whatever_may_cost_the_pods_something_takes_from_the_budget(failure: Failure) -> None:
    """When many fail at once, most of them end there."""
    backend = backend_of(2)
    requests = [Request(backend) for _ in range(5)]
    tried = [
        request.tries.connect(request.pods[0], failure) if failure is Failure.LATE else request.lost(failure)
        for request in requests
    ]
    assert tried == [True] * 3 + [False] * 2
    for request in requests:
        request.tries.over()
    assert backend._retrying == 0


def test_what_costs_them_nothing_does_not() -> None:
    """Though all the pods restart at once; nor does what a pod that died under load had in flight, so that no GET fails by it."""
    backend = backend_of(2)
    requests = [Request(backend) for _ in range(9)]
    assert all(request.lost(Failure.UNSEEN, method=b"POST") for request in requests)
    assert all(request.tries.connect(request.pods[0], Failure.REFUSED) for request in requests)
    assert all(Request(backend).lost(Failure.STALE) for _ in range(9))
    assert (backend._retrying, backend.stats.retries_denied) == (0, 0)


def test_three_retries_are_allowed_however_few_requests_there_are() -> None:
    """And each is given back once."""
    backend = backend_of(2)
    requests = [Request(backend) for _ in range(5)]
    assert [request.lost(Failure.RESET) for request in requests] == [True] * 3 + [False] * 2
    assert backend.stats.retries_denied == 2
    requests[0].tries.over()
    requests[0].tries.over()
    requests[4].tries.over()
    late = [Request(backend) for _ in range(2)]
    assert [request.lost(Failure.RESET) for request in late] == [True, False]


def test_with_many_requests_a_share_of_those_that_are_no_retries_is_allowed() -> None:
    """A fifth on top: 33 of 200, since 0.2 * (200 - 33) = 33.4."""
    backend = backend_of(2)
    requests = [Request(backend) for _ in range(200)]
    assert sum(request.answered(503) for request in requests) == 33


def test_one_that_waits_counts_as_a_request() -> None:
    """With a queue of 20, a fifth is four."""
    backend = backend_of(1, limit=1)
    request = Request(backend)
    for _ in range(23):
        backend.wait(Waiter(None, 0.0), 0.0)
    assert [backend.begin_retry(0.2) for _ in range(5)] == [True, True, True, True, False]
    assert request.on.in_flight == 1


class Laws(RuleBasedStateMachine):
    """Requests that pods fail in every way; after each step the budget is what a plain count says."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = backend_of(3)
        self.open: list[tuple[Tries, Endpoint]] = []
        self.tried: dict[Tries, int] = {}

    @rule()
    def arrive(self) -> None:
        endpoint = self.backend.enter(0.0)
        assert endpoint is not None
        tries = Tries(self.backend, RetryPolicy(methods=frozenset((b"GET",))))
        self.open.append((tries, endpoint))
        self.tried[tries] = 1

    def _fail(self, data: Any, failure: str) -> None:
        tries, endpoint = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        others = len(self.open) + 1 - self._under_way() - 1
        before = self._under_way()
        if failure == "connect":
            allowed = tries.connect(endpoint, Failure.REFUSED)
        elif failure == "late":
            allowed = tries.connect(endpoint, Failure.LATE)
        elif failure == "503":
            allowed = tries.answered(endpoint, 503, b"GET")
        else:
            allowed = tries.lost(endpoint, Failure(failure), b"GET")
        if self._under_way() > before:
            assert self._under_way() == before + 1
            assert self._under_way() <= max(RETRIES_LEAST, 0.2 * others), "more than the budget"
        if not allowed:
            tries.over()
            self.backend.leave(endpoint, 0.0)
            return
        waiter = Waiter(tries, 0.0, tries.failed)
        ((_, other),) = self.backend.again(waiter, endpoint, 0.0)
        assert failure != "503" or other not in tries.failed, "the same pod again"
        self.open.append((tries, other))
        self.tried[tries] += 1

    def _under_way(self) -> int:
        return sum(tries._budgeted for tries in self.tried)

    @precondition(lambda self: self.open)
    @rule(
        data=st.data(),
        failure=st.sampled_from(["connect", "late", "503", "unseen", "stale", "reset", "broken"]),
    )
    def fail(self, data: Any, failure: str) -> None:
        self._fail(data, failure)

    @rule(data=st.data(), count=st.integers(5, 40))
    def outage(self, data: Any, count: int) -> None:
        for _ in range(count):
            self.arrive()
        for _ in range(count):
            self._fail(data, "503")

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def end(self, data: Any) -> None:
        tries, endpoint = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        tries.over()
        self.backend.leave(endpoint, 0.0)

    @invariant()
    def the_budget_equals_the_truth(self) -> None:
        assert self.backend._retrying == self._under_way()

    @invariant()
    def nobody_is_lost_or_counted_twice(self) -> None:
        stats = self.backend.stats
        assert stats.begun == len(self.tried)
        assert stats.begun - stats.ended == stats.in_flight.value == len(self.open)

    def teardown(self) -> None:
        while self.open:
            tries, endpoint = self.open.pop()
            tries.over()
            self.backend.leave(endpoint, 0.0)
        assert self.backend._retrying == 0
        assert self.backend.in_flight == 0


Laws.TestCase.settings = settings(deadline=None, max_examples=50, stateful_step_count=30)
TestLaws = Laws.TestCase
