"""Who gets into a full queue, and what the others are told. Whom it costs is in the tests of `queues`."""

from typing import Any

import pytest

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.breaker import Waiter
from gateway.errors import GatewayError
from gateway.standing import Standing


def busy(**limits: Any) -> Backend:
    """Its one slot is taken."""
    backend = Backend("iris", Limits(**{"concurrency": 1, "discipline": "round_robin", **limits}), 0.0)
    backend.update(Endpoints((EndpointInfo("pod", "127.0.0.1", 9000, ready=True),)), 0.0)
    assert backend.enter(0.0) is not None
    return backend


def waiter(priority: int = 0, size: int = 10) -> Waiter:
    return Waiter(f"p{priority}", 0.0, standing=Standing(priority), size=size)


def refusal(backend: Backend, newcomer: Waiter) -> tuple[str, str]:
    with pytest.raises(GatewayError) as caught:
        backend.wait(newcomer, 0.0)
    return caught.value.reason.slug, caught.value.detail


def test_a_full_queue_says_how_full_it_is() -> None:
    """By count."""
    backend = busy(depth=1)
    backend.wait(waiter(), 0.0)
    assert refusal(backend, waiter()) == (
        "queue_full",
        "backend iris has 1 requests waiting, its queue's depth",
    )
    assert backend.stats.sheds == {"depth": 1}


def test_a_heavy_queue_says_how_heavy_it_is() -> None:
    """By bytes, though there are places."""
    backend = busy(bytes=100)
    backend.wait(waiter(size=60), 0.0)
    detail = "backend iris has 60 bytes of requests waiting, its queue takes 100, and this one brings 60 more"
    assert refusal(backend, waiter(size=60)) == ("queue_full", detail)
    assert backend.stats.sheds == {"bytes": 1}


def test_as_many_go_as_the_bytes_need() -> None:
    """The newest of the lowest priority first; nobody, when that would not be enough."""
    backend = busy(bytes=100)
    low, lower, lowest = waiter(-1, 40), waiter(-2, 30), waiter(-3, 30)
    for each in (lowest, lower, low):
        backend.wait(each, 0.0)
    assert refusal(backend, waiter(-1, 61))[0] == "queue_full"
    assert backend.breaker.queued == 3
    pushed = backend.wait(waiter(0, 50), 0.0)
    assert [gone for gone, _ in pushed] == [lowest, lower]
    assert {error.reason.slug for _, error in pushed} == {"queue_full"}
    assert backend.stats.sheds == {"bytes": 1, "pushed_out": 2}


def test_a_lowered_depth_costs_one_place_at_a_time() -> None:
    """A newcomer pushes out one, not all that are too many."""
    backend = busy(depth=5)
    for _ in range(5):
        backend.wait(waiter(-1), 0.0)
    backend.relimit(Limits(1, 2, discipline="round_robin"), 0.0)
    assert len(backend.wait(waiter(1), 0.0)) == 1


def test_it_tells_its_state() -> None:
    """In one line."""
    assert repr(busy().door) == "<Door of iris shed={}>"
