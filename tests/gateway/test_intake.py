"""What a client sends before its turn: kept up to a bound, counted, or refused."""

import pytest

from gateway.intake import AHEAD_MOST
from tests.fakes import Client, World

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def waiting(bound: int = 0) -> tuple[World, Client]:
    """A client whose first request is on its way."""
    world = World()
    world.gateway.buffered.bound = bound
    client = world.client().send(GET)
    world.link.take()
    return world, client


def test_what_comes_ahead_is_counted_until_its_turn() -> None:
    """And then no more."""
    world, client = waiting()
    client.send(GET, GET[:10])
    assert world.gateway.buffered.held == len(GET) + 10
    world.link.say(OK)
    assert world.gateway.buffered.held == 0
    client.send(GET[10:])
    assert world.gateway.buffered.held == len(GET) - 10
    world.link.say(OK)
    world.link.say(OK)
    assert [answer.status for answer in client.answers(b"GET", b"GET", b"GET")] == [200] * 3
    assert world.gateway.buffered.held == 0


@pytest.mark.parametrize("go", [Client.close, Client.vanish])
def test_a_client_that_leaves_takes_along_what_it_sent_ahead(go: object) -> None:
    """Nobody will read it."""
    world, client = waiting()
    client.send(GET)
    go(client)  # type: ignore[operator]
    assert world.gateway.buffered.held == 0


def test_a_connection_that_ends_with_its_answer_forgets_what_came_ahead() -> None:
    """The client was told that this is the last."""
    world, client = waiting()
    client.send(GET)
    world.gateway.draining = True
    world.link.say(OK)
    assert (client.answer().status, world.gateway.buffered.held) == (200, 0)


def test_without_room_its_turn_will_be_a_refusal() -> None:
    """The request before it is answered as ever."""
    world, client = waiting(bound=len(GET))
    client.send(GET, GET)
    assert world.gateway.buffered.held == 0
    world.link.say(OK)
    assert [answer.status for answer in client.answers(b"GET", b"GET")] == [200, 503]
    assert world.link.received == b""


def test_without_room_a_request_that_is_half_in_is_refused() -> None:
    """Its head has been read; the rest of its body would never come."""
    world = World()
    world.gateway.buffered.bound = 1000
    body = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n" + b"x" * 30000
    client = world.client().send(GET + body)
    assert len(world.gateway.clients) == 1
    world.link.say(OK)
    assert [answer.status for answer in client.answers(b"GET", b"POST")] == [200, 503]
    assert world.gateway.buffered.held == 0
    world.assert_at_rest()


def test_after_the_end_nothing_is_kept() -> None:
    """Behind what cannot be read, nobody will look."""
    world, client = waiting()
    client.send(b"\0\r\n\r\n")
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    client.send(b"x" * 1000)
    world.link.say(b"ok")
    assert world.gateway.buffered.held == 0


def test_a_client_that_sends_too_far_ahead_is_paused_and_watched() -> None:
    """Until its turn has come."""
    world, client = waiting()
    client.send(GET * (AHEAD_MOST // len(GET) + 1))
    assert (client.transport.reading, client.protocol.paused) == (False, True)
    assert repr(world.gateway.lookout) == "<Lookout of 1 connections>"


def test_a_paused_client_that_ends_its_side_has_gone() -> None:
    """As one that is read: its request is dropped, and it cannot take what it has for the whole."""
    world, client = waiting()
    client.protocol.pause()
    client.protocol.on_end(reset=False)
    world.loop.run()
    assert (client.transport.end, world.codes, world.link.transport.end) == ("reset", {499: 1}, "abort")
    assert not client.protocol.paused
    world.assert_at_rest()


def test_a_paused_client_that_was_reset_has_gone() -> None:
    """There is nobody to reset."""
    world, client = waiting()
    client.protocol.pause()
    client.protocol.on_end(reset=True)
    world.loop.run()
    assert (client.transport.end, world.codes) == ("abort", {499: 1})


def test_a_paused_client_without_a_request_is_heard_out() -> None:
    """It had sent too far ahead, and does not take its last answer. Only the Route of its next request knows whether it has left."""
    world, client = waiting()
    client.transport.room = 1
    client.send(GET * (AHEAD_MOST // len(GET) + 1))
    world.link.say(OK)
    assert (client.protocol.paused, world.backend.in_flight) == (True, 0)
    client.protocol.on_end(reset=False)
    assert client.transport.end is None
    client.transport.drain()
    assert (client.protocol.paused, world.backend.in_flight) == (False, 1)
    client.close()
    assert (client.transport.end, world.codes) == ("reset", {200: 1, 499: 1})
