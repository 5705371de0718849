"""One Backend: the clocks, the refusals, what a change of its pods means, and gauges that equal the truth."""

from typing import Any

import pytest

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits, Verdict
from gateway.breaker import Endpoint, Waiter
from gateway.errors import GatewayError


def info(uid: str, *, ready: bool = True, draining: bool = False) -> EndpointInfo:
    return EndpointInfo(uid, "127.0.0.1", 9000, ready=ready, draining=draining)


def pods(*uids: str, cannot_start: str | None = None) -> Endpoints:
    return Endpoints(tuple(map(info, uids)), cannot_start)


def backend_with(*uids: str, **limits: Any) -> Backend:
    backend: Backend = Backend("iris", Limits(**{"concurrency": 1, **limits}), 0.0)
    backend.update(pods(*uids), 0.0)
    return backend


def enter(backend: Backend, now: float = 0.0) -> Endpoint:
    endpoint = backend.enter(now)
    assert endpoint is not None
    return endpoint


def wait(backend: Backend, name: str, now: float = 0.0) -> Waiter:
    waiter = Waiter(name, now)
    backend.wait(waiter, now)
    return waiter


def slugs(refused: list[tuple[Waiter, GatewayError]]) -> list[tuple[str, str]]:
    return [(waiter.request, error.reason.slug) for waiter, error in refused]


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    """503 queue_full with the longest wait as a guess, at least a second."""
    backend = backend_with("a", depth=1)
    enter(backend)
    wait(backend, "first")
    with pytest.raises(GatewayError, match="iris has 1 requests waiting") as caught:
        wait(backend, "second", 7.0)
    assert (caught.value.reason.slug, caught.value.retry_after) == ("queue_full", 7.0)
    assert (backend.stats.begun, backend.stats.queued.value) == (2, 1)


def test_a_queue_of_depth_zero_refuses_at_once() -> None:
    """Nobody has waited: the guess is a second."""
    backend = backend_with("a", depth=0)
    enter(backend)
    with pytest.raises(GatewayError) as caught:
        wait(backend, "first")
    assert (caught.value.reason.slug, caught.value.retry_after) == ("queue_full", 1.0)


def test_the_queue_clock_runs_only_while_a_pod_is_ready() -> None:
    """Time without a pod counts for the activation's deadline, not for the queue's."""
    backend = backend_with("a", queue_timeout=10.0, activation_timeout=100.0)
    enter(backend)
    wait(backend, "w", 0.0)
    backend.update(Endpoints((info("a", ready=False),)), 6.0)
    assert backend.expire(50.0) == []
    backend.update(pods("a"), 50.0)
    assert backend.expire(53.9) == []
    assert slugs(backend.expire(54.0)) == [("w", "queue_timeout")]


def test_the_activation_clock_runs_only_while_no_pod_is_ready() -> None:
    """And is not set back by a pod that comes and goes."""
    backend = backend_with(queue_timeout=100.0, activation_timeout=10.0)
    wait(backend, "first", 0.0)
    wait(backend, "second", 0.0)
    backend.update(pods("a"), 4.0)
    backend.update(pods(), 20.0)
    assert backend.expire(25.9) == []
    assert slugs(backend.expire(26.0)) == [("second", "activation_timeout")]
    assert backend.stats.cold_starts == {"ready": 1, "timeout": 1}


def test_one_put_back_in_front_hides_nobody_who_is_overdue() -> None:
    """Its time began anew; that of those behind it did not."""
    backend = backend_with("a", "b", queue_timeout=10.0)
    endpoint, _ = enter(backend), enter(backend)
    wait(backend, "old", 0.0)
    wait(backend, "young", 8.0)
    backend.suspect(endpoint, 9.0, suspect=True)
    backend.again(Waiter("retried", 9.0, [endpoint]), endpoint, 9.0)
    assert slugs(backend.expire(10.5)) == [("old", "queue_timeout")]
    assert [waiter.request for waiter in backend.breaker.waiting] == ["retried", "young"]


def test_one_that_was_refused_waits_for_the_next_pod_as_long_as_others_do() -> None:
    """Then it is 502: its pods did not accept, and no other came."""
    backend = backend_with("a", queue_timeout=5.0, activation_timeout=10.0)
    endpoint = enter(backend)
    backend.suspect(endpoint, 1.0, suspect=True)
    assert backend.again(Waiter("w", 1.0, [endpoint]), endpoint, 1.0) == []
    assert backend.expire(10.9) == []
    ((_, error),) = backend.expire(11.0)
    assert error.reason.slug == "connect_failed"
    assert "127.0.0.1:9000 refused or lost the connection" in error.detail


def test_a_refusal_that_has_a_reason_is_told_with_it() -> None:
    """And forgotten once the pod accepts again."""
    backend = backend_with("a", queue_timeout=5.0, activation_timeout=10.0)
    endpoint = enter(backend)
    backend.suspect(endpoint, 1.0, suspect=True, refusal="it does not speak TLS")
    backend.again(Waiter("w", 1.0, [endpoint]), endpoint, 1.0)
    ((_, error),) = backend.expire(11.0)
    assert "127.0.0.1:9000 (it does not speak TLS) refused or lost the connection" in error.detail
    backend.suspect(endpoint, 12.0, suspect=False)
    assert endpoint.refusal is None


def test_one_that_waited_in_vain_is_told_what_pods_are_out_for() -> None:
    """Of three, and how many more."""
    backend = backend_with("a", "b", "c", "d", activation_timeout=10.0)
    for endpoint in backend.endpoints.values():
        backend.suspect(
            endpoint, 0.0, suspect=True, refusal="no route to host" if endpoint.uid == "a" else None
        )
    wait(backend, "w", 0.0)
    ((_, error),) = backend.expire(10.0)
    assert str(error).startswith(
        "no pod of backend iris became ready in 10.0 s: 127.0.0.1:9000 is out: no route to host (connect); "
    )
    assert str(error).endswith(" is out: it refused or lost a connection (connect); and 1 more")


def test_an_endpoint_that_is_held_to_something_else_needs_new_connections() -> None:
    """One that is held to the same does not, nor does one that is new and plain."""
    backend = backend_with()

    def told(trust: object) -> list[object]:
        pods = (EndpointInfo("a", "127.0.0.1", 9000, ready=True, trust=trust),)
        return [endpoint.trust for endpoint in backend.update(Endpoints(pods), 0.0).renewed]

    assert told(None) == []
    assert told("one") == ["one"]
    assert told("one") == []
    assert told("other") == ["other"]
    assert told(None) == [None]


def test_one_that_was_refused_is_told_so_when_the_activation_ends_first() -> None:
    """Not that no pod became ready: one was, and refused."""
    backend = backend_with("a", queue_timeout=50.0, activation_timeout=10.0)
    endpoint = enter(backend)
    backend.suspect(endpoint, 1.0, suspect=True)
    backend.again(Waiter("w", 1.0, [endpoint]), endpoint, 1.0)
    assert slugs(backend.expire(11.0)) == [("w", "connect_failed")]


def test_a_put_back_request_goes_first_and_gets_another_pod() -> None:
    """It has waited before."""
    backend = backend_with("a", "b")
    failed, other = enter(backend), enter(backend)
    wait(backend, "queued")
    backend.leave(other, 0.0)
    backend.suspect(failed, 0.0, suspect=True)
    retried = Waiter("retried", 0.0, [failed])
    assert backend.again(retried, failed, 0.0) == []
    granted = backend.leave(other, 1.0)
    assert [(waiter.request, endpoint.uid) for waiter, endpoint in granted] == [("retried", "b")]


@pytest.mark.parametrize("how", ["removed", "cannot_start"])
def test_a_request_is_not_put_back_where_nobody_will_serve_it(how: str) -> None:
    """It would wait for ever: it still holds its slot, and is refused."""
    backend = backend_with("a")
    endpoint = enter(backend)
    if how == "removed":
        backend.update(pods(), 0.0)
        backend.remove(0.0)
    else:
        backend.update(pods(cannot_start="no such file"), 0.0)
    with pytest.raises(GatewayError) as caught:
        backend.again(Waiter("w", 0.0, [endpoint]), endpoint, 0.0)
    assert caught.value.reason.slug == ("backend_removed" if how == "removed" else "cannot_start")
    assert backend.in_flight == 1


def test_waiters_are_refused_when_pods_cannot_start() -> None:
    """With the reason in words; whoever comes next is refused at once."""
    backend = backend_with()
    wait(backend, "w")
    verdict = backend.update(pods(cannot_start="exit code 1: no module named x"), 2.0)
    assert slugs(verdict.refused) == [("w", "cannot_start")]
    assert verdict.refused[0][1].detail == "exit code 1: no module named x"
    with pytest.raises(GatewayError, match="no module named x"):
        wait(backend, "next", 3.0)
    assert backend.stats.cold_starts == {"cannot_start": 1}


def test_a_pod_that_serves_outweighs_others_that_cannot_start() -> None:
    """Waiters go on waiting for its slot."""
    backend = backend_with("a")
    enter(backend)
    wait(backend, "w")
    assert backend.update(pods("a", cannot_start="crash"), 1.0).refused == []


def test_a_pod_that_turns_ready_gets_those_who_wait() -> None:
    """In the same turn, and the start is counted with its seconds."""
    backend = backend_with()
    waiter = wait(backend, "w", 1.0)
    assert waiter.cold
    assert backend.nudge_due
    verdict = backend.update(pods("a"), 3.5)
    assert [(w.request, e.uid) for w, e in verdict.granted] == [("w", "a")]
    assert (backend.stats.cold_starts, backend.stats.cold_start.sum) == ({"ready": 1}, 2.5)


def test_a_start_that_nobody_waits_for_any_more_is_abandoned() -> None:
    """The last waiter gave up."""
    backend = backend_with()
    first, second = wait(backend, "first"), wait(backend, "second")
    assert backend.give_up(first, 1.0)
    assert backend.stats.cold_starts == {}
    assert backend.give_up(second, 1.0)
    assert backend.stats.cold_starts == {"abandoned": 1}
    assert not backend.give_up(second, 1.0)


def test_waiters_go_on_waiting_when_their_pods_vanish() -> None:
    """And the autoscalers are to be told."""
    backend = backend_with("a")
    enter(backend)
    waiter = wait(backend, "w")
    backend.nudge_due = False
    verdict = backend.update(pods(), 1.0)
    assert [endpoint.uid for endpoint in verdict.gone] == ["a"]
    assert (backend.nudge_due, waiter.cold) == (True, False)


def test_a_lowered_limit_blocks_new_grants_only() -> None:
    """What is open goes on; a raised one grants at once."""
    backend = backend_with("a", concurrency=3)
    held = [enter(backend) for _ in range(3)]
    wait(backend, "w")
    assert backend.relimit(Limits(concurrency=1), 0.0) == []
    assert backend.leave(held[0], 1.0) == backend.leave(held[1], 1.0) == []
    assert [w.request for w, _ in backend.leave(held[2], 1.0)] == ["w"]
    wait(backend, "x")
    assert [w.request for w, _ in backend.relimit(Limits(concurrency=2), 0.0)] == ["x"]


def test_a_removed_backend_refuses_waiters_and_newcomers_and_lets_the_rest_finish() -> None:
    """It drains: its pods stay known; named again, it serves on."""
    backend = backend_with("a")
    endpoint = enter(backend)
    wait(backend, "w")
    verdict: Verdict = backend.remove(1.0)
    assert slugs(verdict.refused) == [("w", "backend_removed")]
    with pytest.raises(GatewayError, match="removed"):
        wait(backend, "x", 1.0)
    backend.leave(endpoint, 2.0)
    assert repr(backend) == "<Backend iris in_flight=0 queued=0 endpoints=1>"
    backend.revive()
    wait(backend, "y", 2.0)


def test_a_request_that_failed_on_a_removed_backend_may_try_its_other_pods() -> None:
    """What is in flight goes on."""
    backend = backend_with("a", "b")
    endpoint = enter(backend)
    backend.remove(0.0)
    waiter = Waiter("w", 0.0, [endpoint])
    assert [e.uid for _, e in backend.again(waiter, endpoint, 0.0)] == ["b"]


def test_a_suspect_endpoint_that_is_gone_is_left_alone() -> None:
    """The news of its end came first."""
    backend = backend_with("a", "b")
    endpoint = enter(backend)
    backend.update(pods("b"), 0.0)
    assert backend.suspect(endpoint, 0.0, suspect=True) == []
    assert backend.breaker.available == 1


def test_traffic_is_kept_by_route() -> None:
    """The same object for the same name."""
    backend = backend_with()
    assert backend.traffic_of("r") is backend.traffic_of("r")


def test_a_pod_named_again_keeps_what_is_open_to_it() -> None:
    """A fixed URL may be taken out of the file and put back: its limit holds over what runs there still."""
    backend = backend_with("a")
    endpoint = enter(backend)
    backend.update(pods(), 1.0)
    backend.update(pods("b"), 2.0)
    backend.update(pods("a"), 3.0)
    assert backend.endpoints["a"] is endpoint
    assert backend.enter(4.0) is None
    backend.leave(endpoint, 5.0)
    assert backend.enter(6.0) is endpoint


@pytest.mark.parametrize("state", ["draining", "suspect"])
def test_only_a_wait_for_a_start_is_cold(state: str) -> None:
    """A pod that drains may be taken back, one that refused may accept again: neither had to start."""
    backend = backend_with("a")
    if state == "draining":
        backend.update(Endpoints((info("a", draining=True),)), 1.0)
    else:
        backend.suspect(backend.endpoints["a"], 1.0, suspect=True)
    waiter = wait(backend, "w", 1.0)
    assert (waiter.cold, backend.nudge_due) == (False, True)
    backend.update(pods("a"), 2.0)
    backend.suspect(backend.endpoints["a"], 2.0, suspect=False)
    assert backend.stats.cold_starts == {}


def test_an_endpoint_that_is_named_again_is_trusted_again() -> None:
    """Nobody probed it while it was left out, and nobody would."""
    backend = Backend("iris", Limits(), 0.0)
    both, one = Endpoints((info("a"), info("b"))), Endpoints((info("b"),))
    backend.update(both, 0.0)
    backend.enter(0.0)
    backend.enter(0.0)
    backend.suspect(backend.endpoints["a"], 1.0, suspect=True)
    backend.update(one, 2.0)
    backend.update(both, 3.0)
    assert backend.endpoints["a"].in_flight == 1
    assert backend.endpoints["a"].available


def test_a_pod_whose_port_changes_is_another_endpoint() -> None:
    """What is open to the old one goes on there; what comes next goes to the new one."""
    backend = backend_with("a")
    old = enter(backend)
    verdict = backend.update(Endpoints((EndpointInfo("a", "127.0.0.1", 9001, ready=True),)), 1.0)
    assert verdict.gone == [old]
    new = enter(backend)
    assert (new.port, backend.in_flight) == (9001, 2)


def test_who_waited_too_long_for_a_start_is_told_why_it_takes_long() -> None:
    """As a node that has no room."""
    backend = backend_with(activation_timeout=5.0)
    backend.update(Endpoints(pending="pod a: 0/3 nodes are available: insufficient gpu"), 0.0)
    wait(backend, "first")
    [(_, error)] = backend.expire(6.0)
    assert error.reason.slug == "activation_timeout"
    assert error.detail.endswith("became ready in 6.0 s: pod a: 0/3 nodes are available: insufficient gpu")


@pytest.mark.parametrize(
    ("pending", "why"),
    [(None, "its scaling is paused"), ("pod a: pulling", "pod a: pulling")],
    ids=["nothing starts", "something does"],
)
def test_who_waits_in_vain_is_told_of_a_pause(pending: str | None, why: str) -> None:
    """Unless there is a nearer reason."""
    backend = backend_with(activation_timeout=10.0, paused=True)
    backend.update(Endpoints(pending=pending), 0.0)
    wait(backend, "w", 0.0)
    ((_, error),) = backend.expire(10.0)
    assert error.detail == f"no pod of backend iris became ready in 10.0 s: {why}"
