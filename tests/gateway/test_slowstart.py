"""How warm new pods are, as time goes on."""

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.picking import Picking

LIMITS = Limits(picking=Picking(warm=True), slow_start=10.0)


def backend_of(pods: int, now: float = 0.0, limits: Limits = LIMITS) -> Backend:
    backend = Backend("iris", limits, now)
    publish(backend, pods, now)
    return backend


def publish(backend: Backend, pods: int, now: float) -> None:
    infos = tuple(EndpointInfo(f"{n}", "10.0.0.1", n, ready=True) for n in range(pods))
    backend.update(Endpoints(infos), now)


def warmths(backend: Backend) -> list[float]:
    return [round(endpoint.warmth, 2) for endpoint in backend.endpoints.values()]


def test_a_new_pod_gets_warm_evenly() -> None:
    """From a tenth to one, looked at fifty times."""
    backend = backend_of(2)
    publish(backend, 3, 100.0)
    seen = []
    now = 100.0
    for _ in range(55):
        seen.append(warmths(backend)[2])
        now += 0.2
        if backend.due <= now:
            assert backend.turn(now) == []
    assert seen[0] == seen[5] == 0.1
    assert seen[25] == 0.5
    assert seen[50:] == [1.0] * 5
    assert backend.due == float("inf")


def test_pods_that_come_when_no_other_is_warm_are_warm() -> None:
    """As good as each other: after a start from zero, and of a gateway."""
    backend = backend_of(3)
    assert warmths(backend) == [1.0] * 3


def test_a_pod_is_new_once() -> None:
    """When it is ready again, or accepts again, it is as warm as it was."""
    backend = backend_of(2)
    endpoint = backend.endpoints["1"]
    backend.suspect(endpoint, 1.0, suspect=True)
    backend.suspect(endpoint, 2.0, suspect=False)
    assert warmths(backend) == [1.0, 1.0]


def test_a_new_pod_gets_less_at_first() -> None:
    """What is open to it counts more."""
    backend = backend_of(2)
    publish(backend, 3, 100.0)
    for _ in range(21):
        backend.enter(100.0)
    assert [endpoint.in_flight for endpoint in backend.endpoints.values()] == [10, 10, 1]
    backend.turn(105.0)
    for _ in range(4):
        assert backend.enter(105.0) is backend.endpoints["2"]


def test_a_reload_without_it_makes_all_warm() -> None:
    """At once."""
    backend = backend_of(2)
    publish(backend, 3, 100.0)
    assert repr(backend._warming) == "<Warming of 1 over 10 s>"
    backend.relimit(Limits(), 101.0)
    assert (warmths(backend), backend.due) == ([1.0] * 3, float("inf"))


def test_a_pod_that_goes_is_forgotten() -> None:
    """Nothing is left to turn."""
    backend = backend_of(2)
    publish(backend, 3, 100.0)
    publish(backend, 2, 101.0)
    backend.turn(102.0)
    assert backend.due == float("inf")
