"""Pods judged by what they answer, on mock transports: what an Exchange tells of its pod, and where the next request goes."""

from typing import Any

import pytest

from gateway.affinity import Affinity
from gateway.asked import Source
from gateway.backend import Limits
from gateway.ejection import EjectionPolicy
from gateway.picking import Picking
from gateway.retries import RetryPolicy
from gateway.steering import Steering
from gateway.terms import Timeouts
from tests.fakes import PodConnection, World, settle

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nbad"
AT_ONCE = Limits(ejection=EjectionPolicy(consecutive_5xx=1))


def asked(world: World) -> PodConnection:
    """The connection that has the request."""
    (link,) = [pod.last for pod in world.pods if pod.last.take()]
    return link


def out(world: World) -> dict[str, list[str]]:
    return {uid: list(pod.out) for uid, pod in world.backend.endpoints.items() if pod.out}


async def test_a_pod_that_answers_5xx_is_out_and_the_next_request_goes_elsewhere(caplog: Any) -> None:
    """The client gets the answer all the same, and the log tells."""
    world = World(pods=2, limits=AT_ONCE, retries=RetryPolicy(on=frozenset()))
    client = world.client().send(GET)
    bad = asked(world)
    bad.say(ERROR)
    assert client.answer().status == 500
    assert out(world) == {"pod-1": ["consecutive_5xx"]}
    assert "iris: 127.0.0.1:9001 answered 1 request in a row with 5xx, the last with 500" in caplog.text
    for _ in range(3):
        client = world.client().send(GET)
        link = asked(world)
        assert link is not bad
        link.say(OK)
        assert client.answer().status == 200
    world.assert_at_rest()


async def test_what_the_client_got_wrong_is_not_held_against_a_pod() -> None:
    """4xx is a good answer."""
    world = World(pods=2, limits=AT_ONCE)
    world.client().send(GET)
    asked(world).say(OK.replace(b"200 OK", b"422 No"))
    assert out(world) == {}


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/9 what\r\n\r\n"], ids=["none in time", "none that can be read"]
)
async def test_no_whole_answer_counts_as_5xx(answer: bytes) -> None:
    """Whatever the client is told."""
    world = World(pods=2, limits=AT_ONCE, timeouts=Timeouts(response=1.0))
    client = world.client().send(POST)
    link = asked(world)
    if answer:
        link.say(answer)
    else:
        world.advance(1.1)
    assert client.answer(b"POST").status in {502, 504}
    assert out(world) == {"pod-1": ["consecutive_5xx"]}


async def test_a_reset_counts_although_the_request_is_tried_again() -> None:
    """The client sees nothing of it."""
    world = World(pods=2, idle=0, limits=AT_ONCE)
    client = world.client().send(GET)
    await settle()
    world.pods[0].last.hang_up(ConnectionResetError(104, "reset by peer"))
    await settle()
    world.pods[1].last.say(OK)
    assert client.answer().status == 200
    assert out(world) == {"pod-1": ["consecutive_5xx"]}


async def test_a_pod_is_tried_by_one_request_once_its_time_is_over() -> None:
    """The wheel of the gateway turns that as well; it is back with the answer's head."""
    world = World(pods=2, limits=AT_ONCE, retries=RetryPolicy(on=frozenset()))
    world.client().send(GET)
    bad = asked(world)
    bad.say(ERROR)
    world.advance(30.1)
    clients = [world.client().send(GET) for _ in range(2)]
    await settle()
    tried = world.pods[0].last  # a new connection: the kept one is too old
    assert tried.take().count(b"GET") == 1
    assert out(world) == {"pod-1": ["consecutive_5xx"]}
    tried.say(OK)
    assert out(world) == {}
    assert world.endpoint(world.pods[0]).available
    assert clients[0].answer().status == 200


async def test_who_has_a_key_in_common_meets_one_pod_and_waits_with_it() -> None:
    """As long as there is a free slot there; whoever waits gets the first slot that comes free."""
    world = World(pods=3, idle=2, limits=Limits(concurrency=1, picking=Picking("consistent_hash", 3.0)))
    world.ref.affinity = Affinity(Source("header", b"x-session"))
    world.route.steering = Steering()
    request = GET.replace(b"\r\n\r\n", b"\r\nx-session: ann\r\n\r\n")
    met = []
    for _ in range(3):
        client = world.client().send(request)
        met.append(asked(world))
        met[-1].say(OK)
        assert client.answer().status == 200
    assert len({id(link) for link in met}) == 1
    clients = [world.client().send(request) for _ in range(4)]
    assert (world.backend.in_flight, world.backend.breaker.queued) == (3, 1)
    links = [pod.last for pod in world.pods if pod.last.take()]
    other = next(link for link in links if link is not met[0])
    other.say(OK)
    assert world.backend.breaker.queued == 0
    assert sum(client.answers(b"GET") != [] for client in clients) == 1


async def test_who_waits_gets_a_pod_of_a_panic_that_a_lost_connection_begins() -> None:
    """One pod is out for its answer; when the other one drops a connection, the first is used again, by those who wait as well."""
    once = EjectionPolicy(consecutive_5xx=1)
    world = World(pods=2, limits=Limits(concurrency=1, ejection=once), retries=RetryPolicy(on=frozenset()))
    world.client().send(GET)
    bad = asked(world)
    bad.say(ERROR)
    first = world.client().send(POST)
    dying = asked(world)
    waits = world.client().send(GET)
    assert world.backend.breaker.queued == 1
    dying.hang_up(ConnectionResetError(104, "reset"))
    assert first.answer(b"POST").status == 502
    assert bad.take() != b""
    bad.say(OK)
    assert waits.answer().status == 200
    world.assert_at_rest()


@pytest.mark.parametrize("how", ["reset", "stands still"])
async def test_answers_that_break_off_count_as_5xx(how: str) -> None:
    """Although they begin with 200; whole ones in between end the row."""
    twice = Limits(ejection=EjectionPolicy(consecutive_5xx=2))
    world = World(pods=2, limits=twice, timeouts=Timeouts(idle=1.0))

    def ask(*, whole: bool) -> None:
        world.pods[1].ready = False
        world.publish()
        if world.link.transport.lost:
            world.connect(world.pod)
        world.gateway.trust(world.backend, world.endpoint(world.pod))
        world.client().send(GET)
        assert world.link.take()
        world.link.say(OK if whole else OK[:-1])
        if not whole and how == "reset":
            world.link.hang_up(ConnectionResetError(104, "reset"))
        elif not whole:
            world.advance(1.1)

    for whole in (False, True, False):
        ask(whole=whole)
    assert "consecutive_5xx" not in world.endpoint(world.pod).out
    ask(whole=False)
    assert "consecutive_5xx" in world.endpoint(world.pod).out
    world.assert_at_rest()
