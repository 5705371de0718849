"""How long a request may take, step by step and in all, on mock transports."""

import pytest

from gateway.backend import Limits
from gateway.terms import Timeouts
from tests.fakes import World
from tests.refusals import refusal

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ONE = Limits(concurrency=1)


def test_a_pod_that_does_not_answer_in_time_is_504() -> None:
    """response_timeout, from the request's last byte; its connection is dropped."""
    world = World(timeouts=Timeouts(response=3.0))
    client = world.client().send(GET)
    world.advance(2.9)
    assert client.received == b""
    world.advance(0.2)
    assert refusal(client) == (504, "response_timeout")
    assert world.link.transport.end == "abort"
    world.assert_at_rest()


def test_an_answer_that_stops_coming_resets_the_client() -> None:
    """idle_timeout, anew with every piece."""
    world = World(timeouts=Timeouts(idle=2.0))
    client = world.client().send(GET)
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(4):
        world.advance(1.5)
        world.link.say(b"x")
    assert client.transport.end is None
    world.advance(2.1)
    assert client.transport.end == "reset"
    assert world.reasons == {"idle_timeout": 1}
    world.assert_at_rest()


def test_a_body_that_stops_coming_is_408() -> None:
    """body_timeout, and the pod's connection is dropped."""
    world = World(timeouts=Timeouts(idle=2.0))
    client = world.client().send(POST[:-2])
    world.advance(1.5)
    client.send(b"l")
    world.advance(1.9)
    assert client.received == b""
    world.advance(0.2)
    assert refusal(client, b"POST") == (408, "body_timeout")
    assert world.link.transport.end == "abort"


def test_a_pod_that_takes_no_more_of_a_body_is_not_the_clients_fault() -> None:
    """504 response_timeout, not 408."""
    world = World(timeouts=Timeouts(idle=2.0, response=4.0))
    world.link.transport.room = 10
    client = world.client().send(POST[:-2])
    client.send(b"l")
    world.advance(3.0)
    assert client.received == b""
    world.advance(1.2)
    assert refusal(client, b"POST") == (504, "response_timeout")


def test_a_pod_that_takes_the_body_again_leaves_the_client_its_time() -> None:
    """The body's deadline runs anew."""
    world = World(timeouts=Timeouts(idle=2.0, response=4.0))
    world.link.transport.room = 10
    client = world.client().send(POST[:-2])
    world.advance(3.0)
    world.link.transport.drain()
    world.advance(2.1)
    assert refusal(client, b"POST") == (408, "body_timeout")


@pytest.mark.parametrize("stage", ["waiting", "sent", "uploading"])
def test_the_total_time_ends_a_request_wherever_it_stands(stage: str) -> None:
    """504 request_timeout."""
    world = World(limits=ONE, timeouts=Timeouts(request=2.0), idle=2)
    if stage == "waiting":
        world.client().send(GET)
    client = world.client().send(POST[:-1] if stage == "uploading" else POST)
    world.advance(2.1)
    assert refusal(client, b"POST") == (504, "request_timeout")
    world.assert_at_rest()


def test_the_total_time_past_the_head_resets_the_client() -> None:
    """However lively the answer."""
    world = World(timeouts=Timeouts(request=2.0))
    client = world.client().send(GET)
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(5):
        world.advance(0.5)
        world.link.say(b"x")
    assert client.transport.end == "reset"
    assert world.reasons == {"request_timeout": 1}


def test_no_limit_means_none() -> None:
    """0."""
    world = World(timeouts=Timeouts(response=0.0, idle=0.0))
    client = world.client().send(GET)
    world.advance(1000.0)
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    world.advance(1000.0)
    world.link.say(b"o", b"k")
    assert client.answer().body == b"ok"
