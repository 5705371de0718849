"""A request whose pod refuses or drops it, in the plain cases, on mock transports; the others are in test_retrying.py."""

import asyncio
from typing import Any

import pytest

from gateway.backend import Limits
from gateway.terms import Timeouts
from tests.fakes import Pod, World, read_request, settle
from tests.refusals import problem_of, refusal

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ONE = Limits(concurrency=1)


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
async def test_a_refused_connection_is_tried_on_another_pod(request_: bytes) -> None:
    """Nothing was sent, so any method may; the body that came is not lost."""
    world = World(pods=2, idle=0)
    world.pod.refuse()
    client = world.client().send(request_)
    await settle()
    assert [endpoint.uid for endpoint in world.suspects] == ["pod-1"]
    request, body, _, whole = read_request(world.pods[1].last.received)
    assert (body, whole) == ((b"hello" if request.method == b"POST" else b""), True)
    world.pods[1].last.say(OK)
    assert client.answer(request.method).status == 200
    assert world.backend.stats.retries == {"connect": 1}
    world.assert_at_rest()


async def test_a_refused_request_waits_for_the_next_pod_to_be_ready() -> None:
    """Here the same one, once it accepts again."""
    world = World(idle=0)
    world.pod.refuse()
    client = world.client().send(POST)
    await settle()
    assert (world.backend.breaker.queued, world.nudges) == (1, 1)
    world.loop.listening[world.pod.port] = world.pod
    world.gateway.trust(world.backend, world.endpoint(world.pod))
    await settle()
    world.link.say(OK)
    assert client.answer(b"POST").status == 200
    world.assert_at_rest()


async def test_three_refusals_are_502() -> None:
    """connect_failed, with the last one's words."""
    world = World(pods=4, idle=0)
    for pod in world.pods:
        pod.refuse()
    client = world.client().send(GET)
    await settle()
    assert refusal(client) == (502, "connect_failed")
    assert "refused" in problem_of(client.answer())["detail"]
    assert len(world.suspects) == 3
    world.assert_at_rest()


async def test_a_refused_request_that_finds_no_other_pod_is_502() -> None:
    """After as long as others wait for one, whatever a slot may take."""
    world = World(idle=0, limits=Limits(queue_timeout=1.0, activation_timeout=2.0))
    world.pod.refuse()
    client = world.client().send(GET)
    await settle()
    world.advance(1.9)
    assert client.received == b""
    world.advance(0.2)
    assert refusal(client) == (502, "connect_failed")
    world.assert_at_rest()


async def test_a_refused_request_is_told_when_pods_cannot_start() -> None:
    """It does not wait for what will not come."""
    world = World(idle=0)
    world.publish(cannot_start="crash loop")
    world.pod.refuse()
    client = world.client().send(GET)
    await settle()
    assert refusal(client) == (503, "cannot_start")
    world.assert_at_rest()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_reset_before_the_answer_is_tried_once_more_on_a_new_connection(method: bytes) -> None:
    """Where asking again changes nothing; a kept connection may have been dead all the time."""
    world = World(idle=2)
    client = world.client().send(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
    world.link.hang_up(ConnectionResetError())
    await settle()
    assert len(world.pod.connections) == 3
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert client.answer(method).status == 200
    assert world.backend.stats.retries == {"stale": 1}
    world.assert_at_rest()


async def test_a_get_that_resets_two_pods_is_502() -> None:
    """A request which kills its pod must not kill them all."""
    world = World(pods=3)
    client = world.client().send(GET)
    world.pod.last.hang_up()
    await settle()
    world.pods[1].last.hang_up()
    await settle()
    assert refusal(client) == (502, "upstream_reset")
    world.assert_at_rest()


async def test_a_get_that_is_reset_twice_by_one_pod_gets_another() -> None:
    """A dying process closes its connections before its listener."""
    world = World()
    client = world.client().send(GET)
    world.link.hang_up()
    await settle()
    world.link.hang_up()
    await settle()
    assert world.suspects == [world.endpoint(world.pod)]
    world.pods.append(Pod(world.loop, 1 + len(world.pods)))
    world.publish()
    await settle()
    world.pods[1].last.say(OK)
    assert client.answer().status == 200


async def test_a_get_with_a_body_is_tried_again_with_its_body() -> None:
    """What was sent is kept until there is an answer."""
    world = World(idle=2)
    client = world.client().send(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
    world.link.hang_up()
    await settle()
    _, body, _, whole = read_request(world.link.received)
    assert (body, whole) == (b"hi", True)
    world.link.say(OK)
    assert client.answer().status == 200


async def test_a_connection_that_closes_as_it_opens_counts_as_refused() -> None:
    """Nothing was sent on it."""
    world = World(pods=2, idle=0)
    accept = world.pod.accept

    def slam(protocol: Any) -> Any:
        connection = accept(protocol)
        connection.transport.lose()
        return connection

    world.pod.accept = slam  # type: ignore[method-assign]
    client = world.client().send(POST)
    await settle()
    world.pods[1].last.say(OK)
    assert client.answer(b"POST").status == 200


@pytest.mark.looptime
async def test_a_connection_that_does_not_come_in_time_counts_as_refused() -> None:
    """timeouts.connect."""
    world = World(pods=2, idle=0, timeouts=Timeouts(connect=2.0))
    world.pod.unreachable = True
    client = world.client().send(GET)
    await asyncio.sleep(2.5)
    world.pods[1].last.say(OK)
    assert client.answer().status == 200
    assert world.suspects == [world.endpoint(world.pod)]
