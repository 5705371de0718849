"""A client that leaves, wherever its request stands, on mock transports."""

from typing import Any

import pytest

from gateway.backend import Limits
from gateway.terms import Timeouts
from tests.fakes import Client, World, settle

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ONE = Limits(concurrency=1)


@pytest.mark.parametrize("leave", [Client.close, Client.vanish])
def test_a_client_that_leaves_frees_its_slot_and_its_pod_notices(leave: Any) -> None:
    """499, once."""
    world = World(limits=ONE)
    client = world.client().send(GET)
    waiting = world.client().send(GET)
    link = world.link
    world.connect(world.pod)
    leave(client)
    assert link.transport.end == "abort"
    assert (world.codes, world.reasons) == ({499: 1}, {"client_closed": 1})
    world.link.say(OK)
    assert waiting.answer().status == 200
    world.assert_at_rest()


def test_a_client_that_leaves_the_queue_is_counted() -> None:
    """And its place is free."""
    world = World(limits=Limits(concurrency=1, depth=1))
    world.client().send(GET)
    world.client().send(GET).vanish()
    assert (world.backend.breaker.queued, world.codes) == (0, {499: 1})
    assert world.client().send(GET).received == b""


async def test_a_client_that_leaves_while_a_connection_is_dialled_ends_the_dialling() -> None:
    """No task and no connection remain."""
    world = World(idle=0)
    world.pod.unreachable = True
    client = world.client().send(GET)
    await settle()
    assert "dialling" in repr(client.protocol)
    client.vanish()
    await settle()
    assert world.pod.connections == []
    world.assert_at_rest()


def test_a_held_slot_stays_taken_until_the_pod_has_answered() -> None:
    """cancel: hold, for servers that compute on; 499 is counted once."""
    world = World(limits=Limits(concurrency=1, hold=True))
    client = world.client().send(POST)
    client.vanish()
    assert (world.backend.in_flight, world.codes) == (1, {499: 1})
    assert world.link.transport.end is None
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"o", b"k")
    assert world.codes == {499: 1}
    world.assert_at_rest()
    assert repr(world.gateway.wheel) == "<TimerWheel 0 items, 0 slots>"


def test_a_held_slot_whose_pod_never_answers_is_freed_by_the_deadline() -> None:
    """Even one that begins after the client has left."""
    world = World(limits=Limits(concurrency=1, hold=True), timeouts=Timeouts(response=0.0, idle=2.0))
    world.client().send(POST).vanish()
    world.advance(10.0)
    assert world.backend.in_flight == 1
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    world.advance(2.1)
    world.assert_at_rest()
    assert world.codes == {499: 1}


def test_a_held_request_that_its_pod_drops_is_over() -> None:
    """It is not tried again: nobody listens."""
    world = World(limits=Limits(concurrency=1, hold=True))
    world.client().send(GET).vanish()
    world.link.say(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    world.link.hang_up()
    world.assert_at_rest()
    assert world.backend.stats.retries == {}


def test_an_upload_that_breaks_off_is_not_held() -> None:
    """The pod has not got the request."""
    world = World(limits=Limits(concurrency=1, hold=True))
    world.client().send(POST[:-1]).vanish()
    assert world.link.transport.end == "abort"
    world.assert_at_rest()


def test_a_held_answer_that_was_paused_goes_on() -> None:
    """Nobody reads it, so nothing holds it back."""
    world = World(limits=Limits(concurrency=1, hold=True))
    client = world.client().send(GET)
    client.transport.room = 1
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    assert not world.link.transport.reading
    client.vanish()
    assert world.link.transport.reading
