"""One request's life on mock transports: every reason, retries, deadlines, and everything released once."""

import asyncio
import errno
import json
from typing import Any

import pytest

from gateway.backend import Limits
from gateway.bodies import HELD_MOST
from gateway.errors import BACKEND_REMOVED
from gateway.exchange import Exchange
from gateway.http1 import RequestHead
from gateway.routing import RouteTable
from gateway.terms import Timeouts
from tests.fakes import Answer, Client, Pod, World, read_request, settle

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ONE = Limits(concurrency=1)


def problem_of(answer: Answer) -> dict[str, Any]:
    assert answer.complete
    assert answer.fields[b"content-type"] == b"application/problem+json"
    details: dict[str, Any] = json.loads(answer.body)
    assert details["status"] == answer.status
    assert details["request_id"].encode() == answer.fields[b"x-request-id"]
    return details


def refusal(client: Client, method: bytes = b"GET") -> tuple[int, str]:
    answer = client.answer(method)
    return answer.status, problem_of(answer)["reason"]


# -- the plain way


def test_a_request_goes_to_a_pod_and_its_answer_comes_back() -> None:
    """And everything is released and counted once."""
    world = World()
    client = world.client().send(POST)
    request, body, _, whole = read_request(world.link.received)
    assert (request.method, request.target, body, whole) == (b"POST", b"/a", b"hello", True)
    assert world.backend.in_flight == 1
    world.link.say(OK)
    assert (client.answer().status, client.answer().body) == (200, b"ok")
    assert (world.codes, world.reasons) == ({200: 1}, {})
    world.assert_at_rest()


def test_the_backend_is_told_when_the_route_asks_for_it() -> None:
    """x-tidegate-backend."""
    world = World(expose=True)
    client = world.client().send(GET)
    world.link.say(OK)
    assert client.answer().fields[b"x-tidegate-backend"] == b"iris"


def test_a_request_id_is_kept_and_told_to_both_sides() -> None:
    """The client's own, if it sent one."""
    world = World()
    client = world.client().send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n\r\n")
    world.link.say(OK)
    assert b"x-request-id: mine\r\n" in world.link.received
    assert client.answer().fields[b"x-request-id"] == b"mine"


def test_options_asterisk_is_answered_by_the_gateway() -> None:
    """It asks about the gateway itself."""
    world = World()
    answer = world.client().send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").answer()
    assert (answer.status, answer.body) == (200, b"")
    assert b"OPTIONS" in answer.fields[b"allow"]
    assert world.gateway.unrouted.codes == {200: 1}
    assert world.link.received == b""


# -- refusals


def test_no_route_is_404() -> None:
    """With the host and path that were asked for."""
    world = World()
    world.gateway.table = RouteTable(())
    answer = world.client().send(GET).answer()
    assert (answer.status, problem_of(answer)["reason"]) == (404, "no_route")
    assert "'x'" in problem_of(answer)["detail"]
    assert world.gateway.unrouted.reasons == {"no_route": 1}


def test_connect_is_405_and_closes() -> None:
    """With the methods that are allowed."""
    world = World()
    client = world.client().send(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nSSH-2.0")
    answer = client.answer()
    assert (answer.status, problem_of(answer)["reason"]) == (405, "method_not_allowed")
    assert b"GET" in answer.fields[b"allow"]
    assert answer.fields[b"connection"] == b"close"
    assert client.transport.is_closing()


def test_a_full_queue_is_503_with_retry_after() -> None:
    """queue_full."""
    world = World(limits=Limits(concurrency=1, depth=0))
    world.client().send(GET)
    client = world.client().send(GET)
    assert refusal(client) == (503, "queue_full")
    assert client.answer().fields[b"retry-after"] == b"1"
    assert (world.codes, world.reasons) == ({503: 1}, {"queue_full": 1})


def test_waiting_too_long_for_a_slot_is_503_with_retry_after() -> None:
    """queue_timeout, within a tick."""
    world = World(limits=Limits(concurrency=1, queue_timeout=2.0))
    world.client().send(GET)
    client = world.client().send(GET)
    world.advance(1.9)
    assert client.received == b""
    world.advance(0.2)
    assert refusal(client) == (503, "queue_timeout")
    assert b"retry-after" in client.answer().fields
    assert world.backend.breaker.queued == 0


def test_pods_that_cannot_start_are_503_with_the_reason() -> None:
    """For who waits, and for who comes next."""
    world = World(pods=0)
    waiting = world.client().send(GET)
    world.publish(cannot_start="exit code 1: no module named torch")
    assert refusal(waiting) == (503, "cannot_start")
    late = world.client().send(GET)
    assert "no module named torch" in problem_of(late.answer())["detail"]
    world.assert_at_rest()


def test_no_pod_in_time_is_504() -> None:
    """activation_timeout."""
    world = World(pods=0, limits=Limits(activation_timeout=3.0))
    client = world.client().send(GET)
    assert world.nudges == 1
    world.advance(3.1)
    assert refusal(client) == (504, "activation_timeout")
    world.assert_at_rest()


def test_a_removed_backend_refuses_who_waits() -> None:
    """503 backend_removed; what is in flight goes on."""
    world = World(limits=ONE)
    busy, waiting = world.client().send(GET), world.client().send(GET)
    world.gateway.apply(world.backend, world.backend.remove(world.loop.now))
    assert refusal(waiting) == (503, BACKEND_REMOVED.slug)
    world.link.say(OK)
    assert busy.answer().body == b"ok"


def test_an_answer_that_is_not_http_is_502() -> None:
    """upstream_invalid, and the connection is dropped."""
    world = World()
    client = world.client().send(GET)
    world.link.say(b"SSH-2.0-OpenSSH\r\n")
    assert refusal(client) == (502, "upstream_invalid")
    assert world.link.transport.end == "abort"
    world.assert_at_rest()


def test_a_pod_that_closes_before_it_answers_a_post_is_502() -> None:
    """upstream_reset: a POST may have been acted on."""
    world = World()
    client = world.client().send(POST)
    world.link.hang_up()
    assert refusal(client, b"POST") == (502, "upstream_reset")
    world.assert_at_rest()


# -- waiting


def test_a_freed_slot_goes_to_the_first_that_waits() -> None:
    """On the connection that has just come free."""
    world = World(limits=ONE)
    first, second, third = (world.client().send(GET) for _ in range(3))
    assert world.backend.breaker.queued == 2
    world.link.take()
    world.link.say(OK)
    assert (first.answer().status, second.received) == (200, b"")
    assert read_request(world.link.take())[3]
    world.link.say(OK)
    world.link.say(OK)
    assert second.answer().status == third.answer().status == 200
    assert len(world.pod.connections) == 1
    world.assert_at_rest()


async def test_a_request_waits_for_a_start_and_is_told_how_long() -> None:
    """x-tidegate-cold-start, on those only that waited for it."""
    world = World(pods=0)
    client = world.client().send(GET)
    world.advance(2.5)
    world.pods.append(Pod(world.loop, 1 + len(world.pods)))
    world.publish()
    await settle()
    world.link.say(OK)
    assert client.answer().fields[b"x-tidegate-cold-start"] == b"2.500"
    assert world.backend.activator.told(world.loop.time()).keys() == world.backend.endpoints.keys()
    client.transport.written = b""
    client.send(GET)
    world.link.say(OK)
    assert b"x-tidegate-cold-start" not in client.answer().fields
    assert world.backend.activator.told(world.loop.time()) == {}


async def test_waiters_whose_pods_vanish_wait_for_the_next() -> None:
    """Nobody is lost, and the autoscalers are nudged."""
    world = World(limits=ONE)
    busy, waiting = world.client().send(GET), world.client().send(GET)
    old = world.pods.pop()
    world.publish()
    assert (world.nudges, world.backend.breaker.queued) == (1, 1)
    new = Pod(world.loop, 2)
    world.pods.append(new)
    world.publish()
    await settle()
    new.last.say(OK)
    old.last.say(OK)
    assert busy.answer().status == waiting.answer().status == 200
    assert old.last.transport.end == "close"


def test_a_body_that_comes_while_waiting_is_held_up_to_a_bound() -> None:
    """Past it the client is asked to pause, and to go on once the pod has what was held."""
    world = World(limits=ONE)
    first = world.client().send(GET)
    size = 3 * HELD_MOST
    client = world.client().send(b"POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
    client.send(b"a" * HELD_MOST)
    assert client.transport.calls == []
    client.send(b"b")
    assert client.transport.calls == ["pause"]
    world.link.take()
    world.link.say(OK)
    assert first.answer().status == 200
    assert client.transport.calls == ["pause", "resume"]
    client.send(b"c" * (size - HELD_MOST - 1))
    _, body, _, whole = read_request(world.link.received)
    assert (len(body), whole) == (size, True)


def test_what_was_held_does_not_let_a_slow_pod_be_flooded() -> None:
    """The pod may ask to pause in the very moment in which it gets what was held."""
    world = World(limits=ONE)
    world.client().send(GET)
    client = world.client().send(
        b"POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n" + b"a" * (HELD_MOST + 1)
    )
    world.link.transport.room = 1000
    world.link.say(OK)
    assert not client.transport.reading
    world.link.transport.drain()
    assert client.transport.reading


# -- retries


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


# -- past the response head


def test_an_answer_that_breaks_off_resets_the_client() -> None:
    """However it is framed, it must not look whole."""
    for head in (b"Content-Length: 10", b"Transfer-Encoding: chunked"):
        world = World()
        client = world.client().send(GET)
        world.link.say(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", b"2\r\nab\r\n")
        world.link.hang_up()
        assert client.transport.end == "reset"
        assert (world.codes, world.reasons) == ({200: 1}, {"upstream_reset": 1})
        world.assert_at_rest()


def test_nonsense_in_the_middle_of_an_answer_resets_the_client() -> None:
    """A chunk that is none."""
    world = World()
    client = world.client().send(GET)
    world.link.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n")
    assert client.transport.end == "reset"
    assert world.reasons == {"upstream_invalid": 1}


def test_a_close_delimited_answer_that_is_reset_resets_the_client() -> None:
    """Its end would look like the end of the body."""
    world = World()
    client = world.client().send(b"GET / HTTP/1.0\r\n\r\n")
    world.link.say(b"HTTP/1.0 200 OK\r\n\r\n", b"half")
    world.link.hang_up(ConnectionResetError())
    assert client.transport.end == "reset"


# -- deadlines


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


# -- the client leaves


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


# -- the rest


def test_it_tells_where_it_stands() -> None:
    """In its repr."""
    world = World(limits=ONE)
    first, second = world.client().send(GET), world.client().send(GET)
    where = "host 'x' and path '/a'"
    assert repr(first.protocol) == f"<Downstream <Exchange {where} sent>>"
    assert repr(second.protocol) == f"<Downstream <Exchange {where} waiting>>"
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    assert "responding" in repr(first.protocol)


def test_once_over_it_hears_nothing() -> None:
    """Late calls from either side change nothing."""
    world = World()
    client = world.client()
    head = RequestHead()
    head.target, head.host = b"*", b"x"
    exchange = Exchange(world.gateway, client.protocol, head)
    exchange.start(b"", [], ended=True)
    assert "over" in repr(exchange)
    exchange.on_body(b"x", [], ended=True)
    exchange.on_blocked()
    exchange.on_writable()
    exchange.on_gone()
    exchange.on_gone()
    assert world.gateway.unrouted.codes == {200: 1}


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_a_gateway_out_of_files_is_503_and_no_fault_of_the_pods(number: int) -> None:
    """No Endpoint gets a bad name by it, and nothing is tried again at once."""
    world = World(idle=0)

    async def create_connection(*_: object) -> None:
        raise OSError(number, "Too many open files")

    world.loop.create_connection = create_connection  # type: ignore[method-assign, assignment]
    client = world.client().send(GET)
    await settle()
    assert refusal(client) == (503, "overloaded")
    assert (client.answer().fields[b"retry-after"], world.suspects, world.backend.stats.retries) == (
        b"1",
        [],
        {},
    )
    world.assert_at_rest()
