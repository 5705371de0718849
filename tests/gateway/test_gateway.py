"""What all Exchanges share: handing out slots, suspects, the clock's turn, request ids."""

import pytest

from gateway.backend import Limits
from gateway.breaker import Endpoint, Waiter
from gateway.errors import GatewayError
from gateway.gateway import Gateway
from tests.fakes import Loop, World

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_request_ids_are_unique() -> None:
    """In a process, and over processes."""
    one, other = Gateway(Loop()), Gateway(Loop())  # type: ignore[arg-type]
    ids = {gateway.new_request_id() for gateway in (one, other) for _ in range(1000)}
    assert len(ids) == 2000


def test_a_suspect_gets_nothing_new_until_it_is_trusted_again() -> None:
    """The prober is told once; those who waited go on."""
    world = World()
    endpoint = world.endpoint(world.pod)
    for _ in range(2):
        world.gateway.suspect(world.backend, endpoint)
    assert world.suspects == [endpoint]
    client = world.client().send(GET)
    assert (world.backend.breaker.queued, world.nudges) == (1, 1)
    world.gateway.trust(world.backend, endpoint)
    world.link.say(OK)
    assert client.answer().status == 200


def test_a_nudge_goes_out_once_for_each_time_that_it_is_due() -> None:
    """At the first, second and fourth waiter."""
    world = World(pods=0)
    for _ in range(5):
        world.client().send(GET)
    assert world.nudges == 3


def test_a_raised_limit_lets_waiters_go_on_and_a_lowered_one_ends_nothing() -> None:
    """Hot reload."""
    world = World(limits=Limits(concurrency=1), idle=2)
    clients = [world.client().send(GET) for _ in range(3)]
    granted = world.backend.relimit(Limits(concurrency=2), world.loop.now)
    world.gateway.hand_out(granted, world.loop.now)
    assert (world.backend.in_flight, world.backend.breaker.queued) == (2, 1)
    world.gateway.hand_out(world.backend.relimit(Limits(concurrency=1), world.loop.now), world.loop.now)
    busy = [link for link in world.pod.connections if link.take()]
    busy[0].say(OK)
    assert (world.backend.in_flight, world.backend.breaker.queued) == (1, 1)
    busy[1].say(OK)
    assert world.backend.in_flight == 1
    next(link for link in world.pod.connections if link.take()).say(OK)
    assert [client.answer().status for client in clients] == [200] * 3
    world.assert_at_rest()


def test_pods_that_leave_close_their_pools_and_those_never_used_have_none() -> None:
    """And reaping passes over those."""
    world = World(pods=2, idle=0)
    world.connect(world.pod)
    world.gateway.reap()
    link = world.link
    world.pods.clear()
    world.publish()
    assert link.transport.end == "close"


def test_nobody_listens_until_a_server_does() -> None:
    """The hooks do nothing."""
    gateway = Gateway(Loop())  # type: ignore[arg-type]
    world = World()
    gateway.on_nudge(world.backend)
    gateway.on_suspect(world.backend, world.endpoint(world.pod))
    assert repr(gateway) == "<Gateway 0 backends, 0 connections>"


def test_whoever_waits_at_a_removed_backend_is_answered_in_the_end() -> None:
    """A GET whose pod died is put back there; the clock goes on for it although no Route leads there any more."""
    world = World(limits=Limits(concurrency=1, activation_timeout=5.0), idle=1)
    client = world.client().send(GET)
    gateway, backend = world.gateway, world.backend
    del gateway.backends[backend.name]
    gateway.retiring[backend.name] = backend
    gateway.apply(backend, backend.remove(world.loop.now))
    endpoint = world.endpoint(world.pod)
    waiter = Waiter(Answered(), world.loop.now, [endpoint])
    extra = backend.endpoints[endpoint.uid]
    backend.breaker.enqueue(waiter, 0.0)
    backend.stats.queued.add(1, world.loop.now)
    gateway.suspect(backend, extra)
    world.loop.now += 6.0
    gateway.tick()
    assert [error.reason.slug for error in waiter.request.errors] == ["connect_failed"]  # type: ignore[attr-defined]
    world.link.say(OK)
    assert client.answer().status == 200


class Answered:
    """A request that only notes how it was refused."""

    def __init__(self) -> None:
        self.errors: list[GatewayError] = []

    def granted(self, endpoint: Endpoint, now: float) -> None:
        raise AssertionError(f"granted {endpoint} at {now}")

    def refused(self, error: GatewayError) -> None:
        self.errors.append(error)


def test_a_failure_that_is_not_the_clients_own_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With the id that the client was told; a client's own mistake is not."""
    world = World(pods=0, limits=Limits(depth=0))
    answer = world.client().send(GET).answer()
    world.client().send(b"GET / HTTP/1.1\r\n\r\n")
    (record,) = caplog.records
    assert answer.status == 503
    assert "503 queue_full backend=" in record.message
