"""A request's body on its way: how large it may be, and what is held of it."""

import pytest

from gateway.backend import Limits
from gateway.bodies import HELD_MOST
from tests.fakes import Client, World, read_request, settle

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(size: int, body: bytes | None = None) -> bytes:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    return head + (b"x" * size if body is None else body)


def chunk(size: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b"x" * size)


def limited(limit: int) -> World:
    world = World()
    world.ref.body_limit = limit
    return world


def busy() -> World:
    """A world whose one slot is taken."""
    world = World(limits=Limits(concurrency=1))
    world.client().send(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
    world.link.take()
    return world


# -- the limit


def test_a_body_as_large_as_the_limit_goes_through() -> None:
    """Of known length or in chunks."""
    for request in (post(10), CHUNKED + chunk(4) + chunk(6) + b"0\r\n\r\n"):
        world = limited(10)
        world.client().send(request)
        assert read_request(world.link.take())[1:2] == (b"x" * 10,)


def test_a_length_over_the_limit_is_refused_before_anything_is_sent() -> None:
    """So that a client that asks first need not send it."""
    world = limited(10)
    client = world.client().send(
        b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n"
    )
    answer = client.answer(b"POST")
    assert (answer.status, answer.interims, answer.fields[b"connection"]) == (413, [], b"close")
    assert b"the body has more than 10 bytes, which is what this route takes" in answer.body
    assert (world.link.received, world.reasons) == (b"", {"body_too_large": 1})
    world.assert_at_rest()


@pytest.mark.parametrize("pieces", [[chunk(11)], [chunk(5) + chunk(6)]])
def test_chunks_that_come_with_the_head_count(pieces: list[bytes]) -> None:
    """No pod has seen the request."""
    world = limited(10)
    client = world.client().send(CHUNKED + b"".join(pieces))
    assert client.answer(b"POST").status == 413
    assert world.link.received == b""


def test_chunks_over_the_limit_end_a_request_that_is_on_its_way() -> None:
    """The pod sees its connection close, the client is told."""
    world = limited(10)
    client = world.client().send(CHUNKED + chunk(8), chunk(2))
    assert client.received == b""
    client.send(chunk(1))
    assert client.answer(b"POST").status == 413
    assert world.link.transport.end == "abort"
    world.assert_at_rest()


def test_a_body_too_large_for_an_answer_that_has_begun_breaks_it_off() -> None:
    """There is no status left to tell it with."""
    world = limited(10)
    client = world.client().send(CHUNKED + chunk(8))
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    client.send(chunk(8))
    assert client.transport.end == "reset"
    assert world.codes == {200: 1}


# -- what is held


def test_what_goes_straight_through_is_not_counted() -> None:
    """Even with no room at all."""
    world = World()
    world.gateway.buffered.bound = 1
    client = world.client().send(post(100))
    world.link.say(OK)
    assert client.answer(b"POST").status == 200


def test_what_waits_for_a_slot_is_counted_until_it_need_not_be_sent_again() -> None:
    """What came with the head, and later."""
    world = busy()
    world.client().send(post(100, b"x" * 40), b"x" * 30)
    buffered = world.gateway.buffered
    assert buffered.held == 70
    world.link.say(OK)
    assert (buffered.held, world.link.take()[-70:]) == (70, b"x" * 70)
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    assert buffered.held == 0


async def test_what_waits_for_a_connection_is_counted() -> None:
    """Until there is one."""
    world = World(idle=0)
    world.client().send(post(100))
    assert world.gateway.buffered.held == 100
    await settle()
    assert world.gateway.buffered.held == 0
    assert world.link.take().endswith(b"x" * 100)


@pytest.mark.parametrize("go", [Client.close, Client.vanish])
def test_a_client_that_leaves_takes_its_bytes_along(go: object) -> None:
    """From the queue."""
    world = busy()
    client = world.client().send(post(100))
    assert world.gateway.buffered.held == 100
    go(client)  # type: ignore[operator]
    assert world.gateway.buffered.held == 0


def test_without_room_the_request_is_refused() -> None:
    """In the queue there is no place for it; the others keep theirs."""
    world = busy()
    world.gateway.buffered.bound = 150
    first = world.client().send(post(100))
    client = world.client().send(post(100))
    answer = client.answer(b"POST")
    assert (answer.status, answer.fields[b"retry-after"]) == (503, b"1")
    assert b"overloaded" in answer.body
    assert (world.gateway.buffered.held, world.backend.breaker.queued, first.received) == (100, 1, b"")


def test_without_room_for_more_of_it_the_request_is_refused() -> None:
    """What was held of it is free again."""
    world = busy()
    world.gateway.buffered.bound = 150
    client = world.client().send(post(300, b"x" * 100), b"x" * 100)
    assert client.answer(b"POST").status == 503
    assert (world.gateway.buffered.held, world.backend.breaker.queued) == (0, 0)


async def test_without_room_nothing_is_dialled() -> None:
    """The slot is free again."""
    world = World(idle=0)
    world.gateway.buffered.bound = 50
    client = world.client().send(post(100))
    assert client.answer(b"POST").status == 503
    assert world.pod.connections == []
    world.assert_at_rest()


def test_a_client_is_paused_when_enough_is_held() -> None:
    """And goes on once a pod has it."""
    world = busy()
    client = world.client().send(post(HELD_MOST + 10, b"x" * (HELD_MOST + 1)))
    assert not client.transport.reading
    world.link.say(OK)
    assert client.transport.reading
    assert world.gateway.buffered.held == 0
