"""One request's life on mock transports: every reason, and everything released once. Tries, deadlines and clients that leave have files of their own."""

import errno

import pytest

from gateway.backend import Limits
from gateway.bodies import HELD_MOST
from gateway.errors import BACKEND_REMOVED
from gateway.exchange import Exchange
from gateway.http1 import RequestHead
from gateway.routing import RouteTable
from tests.fakes import Pod, World, read_request, settle
from tests.refusals import problem_of, refusal

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ONE = Limits(concurrency=1)


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
