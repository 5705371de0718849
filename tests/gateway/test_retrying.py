"""A request that a pod failed, on mock transports: what is sent again, to whom, and what the client sees of it: one answer.

The plain cases of refused connections and of resets are in test_trying_again.py.
"""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backend import Limits
from gateway.retries import RetryPolicy
from gateway.terms import Timeouts
from tests.fakes import Client, Pod, PodConnection, World, read_request, settle

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
NOTHING = RetryPolicy(on=frozenset())


def deaf(world: World) -> PodConnection:
    """The first pod's kept connection, which the pod has closed; the gateway does not know yet."""
    world.link.transport.deaf = True
    return world.link


def status_of(client: Client, method: bytes = b"POST") -> tuple[int, dict[str, int]]:
    return client.answer(method).status, client.protocol._gateway.backends["iris"].stats.retries


def body_of(link: PodConnection) -> bytes:
    _, body, _, whole = read_request(link.received)
    assert whole
    return body


# -- a kept connection that was dead


async def test_a_post_that_a_closed_connection_took_is_sent_again() -> None:
    """The pod has seen nothing of it; whole, on a new connection, whatever the policy."""
    world = World(idle=2, retries=NOTHING)
    link = deaf(world)
    client = world.client().send(POST)
    link.hang_up()
    await settle()
    assert len(world.pod.connections) == 3
    assert body_of(world.link) == b"hello"
    world.link.say(OK)
    assert status_of(client) == (200, {"unseen": 1})
    assert world.suspects == []
    world.assert_at_rest()


async def test_it_is_sent_to_another_pod_if_there_is_one() -> None:
    """One that closed its connection may be on its way out."""
    world = World(pods=2)
    link = deaf(world)
    client = world.client().send(POST)
    link.hang_up()
    await settle()
    world.pods[1].last.say(OK)
    assert status_of(client) == (200, {"unseen": 1})


async def test_a_chunked_body_is_sent_again_with_its_trailers() -> None:
    """As it came."""
    world = World()
    link = deaf(world)
    client = world.client().send(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
        b"3\r\nllo\r\n0\r\nX-Sum: 5\r\n\r\n",
    )
    link.hang_up()
    await settle()
    _, body, trailers, whole = read_request(world.link.received)
    assert (body, trailers, whole) == (b"hello", {b"x-sum": b"5"}, True)
    world.link.say(OK)
    assert client.answer(b"POST").status == 200


async def test_a_body_on_its_way_goes_on_to_the_next_pod() -> None:
    """What was sent, then what comes."""
    world = World()
    link = deaf(world)
    client = world.client().send(POST[:-3])
    link.hang_up()
    client.send(b"l")
    await settle()
    client.send(b"lo")
    assert body_of(world.link) == b"hello"
    world.link.say(OK)
    assert client.answer(b"POST").status == 200


@pytest.mark.parametrize("exc", [None, ConnectionResetError()], ids=["closed", "reset"])
def test_a_post_that_the_pod_may_have_seen_is_502(exc: Exception | None) -> None:
    """It acknowledged it, or broke off in a way that tells nothing."""
    world = World(idle=2)
    world.link.transport.deaf = exc is not None
    client = world.client().send(POST)
    world.link.hang_up(exc)
    assert status_of(client) == (502, {})
    world.assert_at_rest()


async def test_a_post_on_a_new_connection_is_502() -> None:
    """Only one that has served before may have been closed for its idleness; nothing was kept."""
    world = World(idle=0)
    client = world.client().send(POST)
    await settle()
    world.link.transport.socket.acknowledged = 1
    world.link.hang_up()
    assert status_of(client) == (502, {})


def test_a_post_whose_pod_began_to_answer_is_502() -> None:
    """A byte is enough."""
    world = World()
    link = deaf(world)
    client = world.client().send(POST)
    link.say(b"H")
    link.hang_up()
    assert status_of(client) == (502, {})


async def test_a_get_on_a_dead_kept_connection_is_tried_again_whatever_the_policy() -> None:
    """But not one that was lost on a new connection."""
    world = World(retries=NOTHING)
    client = world.client().send(GET)
    world.link.hang_up(ConnectionResetError())
    await settle()
    world.link.hang_up(ConnectionResetError())
    assert status_of(client, b"GET") == (502, {"stale": 1})


# -- what is kept


@pytest.mark.parametrize(
    ("pieces", "status"), [((b"h" * 10,), 200), ((b"h" * 5, b"h" * 6), 502), ((b"h" * 11,), 502)]
)
async def test_a_body_over_the_limit_is_not_sent_again(pieces: tuple[bytes, ...], status: int) -> None:
    """In one piece or in several; a body of just the limit is."""
    world = World(retries=RetryPolicy(body_limit=10))
    link = deaf(world)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % sum(map(len, pieces))
    client = world.client().send(head, *pieces)
    link.hang_up()
    await settle()
    if status == 200:
        world.link.say(OK)
    assert client.answer(b"POST").status == status


def held(client: Client) -> bytes:
    exchange: Any = client.protocol._exchange
    assert exchange._held_bytes == sum(map(len, exchange._held))
    return b"".join(exchange._held)


async def test_nothing_is_kept_that_is_never_sent_again() -> None:
    """A POST on a new connection, and anything once its answer has begun."""
    world = World(idle=0)
    fresh = world.client().send(POST[:-1])
    await settle()
    fresh.send(b"o")
    assert (body_of(world.link), held(fresh)) == (b"hello", b"")
    world.link.say(OK)
    kept = world.client().send(POST)
    assert held(kept) == b"hello"
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    assert held(kept) == b""


def test_an_upload_that_goes_on_beside_its_answer_is_not_kept() -> None:
    """It streams, however long."""
    world = World()
    client = world.client().send(POST[:-1])
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    client.send(b"o")
    assert held(client) == b""


# -- a lost new connection


@pytest.mark.parametrize(
    ("method", "policy", "status"),
    [
        (b"PUT", RetryPolicy(), 200),
        (b"POST", RetryPolicy(), 502),
        (b"POST", RetryPolicy(methods=frozenset((b"POST",))), 200),
        (b"PUT", RetryPolicy(on=frozenset(("connect", 503))), 502),
    ],
    ids=["PUT", "POST", "POST if the policy says so", "PUT if it does not"],
)
async def test_a_lost_connection_is_tried_again_by_method(
    method: bytes, policy: RetryPolicy, status: int
) -> None:
    """With the body, to another pod."""
    world = World(pods=2, idle=0, retries=policy)
    client = world.client().send(PUT.replace(b"PUT", method))
    await settle()
    world.link.hang_up(ConnectionResetError())
    await settle()
    if status == 200:
        assert body_of(world.pods[1].last) == b"hello"
        world.pods[1].last.say(OK)
    assert status_of(client, method) == (status, {"reset": 1} if status == 200 else {})
    world.assert_at_rest()


@pytest.mark.parametrize(
    "answered",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"],
    ids=["before an answer", "in the middle of one"],
)
@pytest.mark.parametrize("idle", [0, 1], ids=["new", "kept"])
async def test_a_dying_pods_slot_is_not_the_next_ones(answered: bytes, idle: int) -> None:
    """Its listener outlives its connections by a moment: who waits stays in the queue until it accepts again."""
    world = World(limits=Limits(concurrency=1), idle=idle)
    lost, waiting = world.client().send(POST), world.client().send(POST)
    await settle()
    opened = len(world.pod.connections)
    world.link.say(answered)
    world.link.hang_up(ConnectionResetError())
    await settle()
    assert (len(world.pod.connections), world.backend.breaker.queued) == (opened, 1)
    assert world.suspects == [world.endpoint(world.pod)]
    world.probe()
    await settle()
    world.pod.last.say(OK)
    assert waiting.answer(b"POST").status == 200
    assert lost.transport.end == "reset" if answered else lost.answer(b"POST").status == 502
    world.assert_at_rest()


async def test_a_pod_that_talks_nonsense_is_no_suspect() -> None:
    """It is alive."""
    world = World()
    client = world.client().send(POST)
    world.link.say(b"nonsense\r\n\r\n")
    await settle()
    assert client.answer(b"POST").status == 502
    assert world.suspects == []


async def test_a_dying_pods_backlog_costs_no_get() -> None:
    """Two new connections to it are lost; the third try goes to another."""
    world = World(idle=0)
    client = world.client().send(GET)
    for _ in range(2):
        await settle()
        world.link.hang_up(ConnectionResetError())
    await settle()
    assert world.suspects == [world.endpoint(world.pod)]
    world.pods.append(Pod(world.loop, 2))
    world.publish()
    await settle()
    world.pods[1].last.say(OK)
    assert status_of(client, b"GET") == (200, {"reset": 2})
    world.assert_at_rest()


@pytest.mark.looptime
async def test_a_connection_that_does_not_come_in_time_is_502_when_the_policy_says_so() -> None:
    """Without `connect`; a refused one still goes to the next pod."""
    world = World(pods=3, idle=0, timeouts=Timeouts(connect=2.0), retries=NOTHING)
    world.pod.refuse()
    world.pods[1].unreachable = True
    client = world.client().send(POST)
    await asyncio.sleep(2.5)
    assert status_of(client) == (502, {"connect": 1})
    assert "no connection within 2 s" in client.answer(b"POST").body.decode()
    world.assert_at_rest()


# -- answers that are asked again


def test_a_503_is_asked_of_another_pod_and_the_client_sees_one_answer() -> None:
    """Its connection is of further use, and the answer's start is counted once."""
    world = World(pods=2)
    client = world.client().send(GET)
    world.link.say(BUSY)
    assert client.received == b""
    assert read_request(world.pods[1].last.received)[3]
    world.pods[1].last.say(OK)
    assert status_of(client, b"GET") == (200, {"503": 1})
    assert world.codes == {200: 1}
    assert sum(world.backend.traffic_of("iris").response_start.counts) == 1
    assert len(world.endpoint(world.pod).pool.idle) == 1
    world.assert_at_rest()


@pytest.mark.parametrize(
    "begun",
    [
        BUSY[:-2],
        b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbu",
        b"HTTP/1.1 503 Busy\r\n\r\nbu",
    ],
    ids=["length", "chunks", "until close"],
)
def test_a_503_whose_body_is_to_come_is_broken_off(begun: bytes) -> None:
    """Nobody waits for it, and what of it still comes reaches nobody, however it is framed."""
    world = World(pods=2)
    client = world.client().send(GET)
    world.link.protocol.data_received(begun)
    world.link.protocol.data_received(b"sy\r\n0\r\n\r\n")
    world.loop.run()
    assert world.link.transport.end == "abort"
    world.pods[1].last.say(OK)
    assert (client.answer().status, client.answer().body) == (200, b"ok")
    assert world.backend.stats.retries == {"503": 1}
    world.assert_at_rest()


@pytest.mark.parametrize(
    ("request_", "answer", "pods", "limits"),
    [
        pytest.param(POST, BUSY, 2, Limits(), id="a POST"),
        pytest.param(GET, BUSY.replace(b"503", b"500"), 2, Limits(), id="a status that is not named"),
        pytest.param(GET, BUSY, 1, Limits(), id="no other pod"),
    ],
)
def test_other_answers_go_to_the_client_as_they_are(
    request_: bytes, answer: bytes, pods: int, limits: Limits
) -> None:
    """Nothing is counted as tried again."""
    world = World(pods=pods, limits=limits)
    client = world.client().send(request_)
    world.link.say(answer)
    got = client.answer(request_[:4].strip())
    assert (got.status, got.body) == (int(answer[9:12]), b"busy")
    assert world.backend.stats.retries == {}
    world.assert_at_rest()


def test_a_503_goes_to_the_client_when_the_other_pods_are_busy() -> None:
    """Waiting for them would only delay it; and nobody in the queue is overtaken."""
    world = World(pods=2, limits=Limits(concurrency=1))
    client, other, waiting = (world.client().send(GET) for _ in range(3))
    world.link.say(BUSY)
    assert client.answer().status == 503
    world.link.say(OK)
    world.pods[1].last.say(OK)
    assert other.answer().status == waiting.answer().status == 200
    world.assert_at_rest()


def test_the_second_answer_stands() -> None:
    """One retry."""
    world = World(pods=3)
    client = world.client().send(GET)
    world.link.say(BUSY)
    world.pods[1].last.say(BUSY.replace(b"503 Service Unavailable", b"502 Bad Gateway"))
    assert (client.answer().status, client.answer().body) == (502, b"busy")
    world.assert_at_rest()


def test_an_upload_that_one_pod_turned_down_goes_on_to_the_other() -> None:
    """Though the first one had stopped taking it."""
    world = World(pods=2)
    world.link.transport.room = 1
    client = world.client().send(PUT[:-2])
    assert not client.transport.reading
    world.link.say(BUSY)
    assert world.link.transport.end == "abort"
    assert client.transport.reading
    client.send(b"lo")
    assert body_of(world.pods[1].last) == b"hello"
    world.pods[1].last.say(OK)
    assert client.answer(b"PUT").status == 200
    world.assert_at_rest()


async def test_a_body_half_sent_waits_for_the_next_pod() -> None:
    """Its pod died without a word and took no more of it; the client is read on once another pod is there."""
    world = World(idle=0)
    client = world.client().send(PUT[:-3])
    await settle()
    link = world.link
    link.transport.room = 1
    client.send(b"l")
    world.pod.refuse()
    link.hang_up(ConnectionResetError())
    await settle()
    assert (world.backend.breaker.queued, client.transport.reading) == (1, False)
    world.pods.append(Pod(world.loop, 2))
    world.publish()
    await settle()
    client.send(b"lo")
    assert body_of(world.pods[1].last) == b"hello"
    world.pods[1].last.say(OK)
    assert status_of(client, b"PUT") == (200, {"reset": 1, "connect": 1})
    assert world.gateway.buffered.held == 0
    world.assert_at_rest()


def test_a_body_for_which_there_is_no_more_room_goes_on_but_not_again() -> None:
    """It streams as before; only the other try is gone."""
    world = World()
    world.gateway.buffered.bound = 3
    link = deaf(world)
    client = world.client().send(POST[:-1])
    client.send(b"o")
    assert (body_of(link), world.gateway.buffered.held) == (b"hello", 0)
    link.hang_up()
    assert status_of(client) == (502, {})
    world.assert_at_rest()


# -- a client that does not read


def hint(client: Client, world: World) -> None:
    """Tell a client that takes nothing more of a 1xx."""
    client.transport.room = 1
    world.link.say(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert not world.link.transport.reading


@pytest.mark.parametrize("idle", [1, 0], ids=["kept connection", "new connection"])
async def test_the_next_pod_pauses_as_the_one_before_did(idle: int) -> None:
    """The client says only once that it takes no more, and that it does again."""
    world = World(pods=2, idle=idle)
    client = world.client().send(GET)
    await settle()
    hint(client, world)
    if idle:
        world.link.say(BUSY)
    else:
        world.link.hang_up(ConnectionResetError())
    await settle()
    next_pod = world.pods[1].last
    assert not next_pod.transport.reading
    client.transport.drain()
    assert next_pod.transport.reading
    next_pod.say(OK)
    assert client.answer().status == 200
    world.assert_at_rest()


# -- the budget


@pytest.mark.parametrize("rounds", [1, 10])
def test_an_outage_is_not_fed(rounds: int) -> None:
    """All pods answer 503 to 200 clients at once, which ask again and again: all that pods see of retries is a fifth on top."""
    world = World(pods=2, idle=250)
    clients = [world.client().send(GET) for _ in range(200)]
    asked, seen = 200, 0
    while world.backend.in_flight:
        links = [link for pod in world.pods for link in pod.connections if link.take()]
        seen += len(links)
        for link in links:
            link.say(BUSY)
            assert world.backend._retrying <= 0.2 * 200
        for client in clients:
            if client.received and asked < 200 * rounds:
                client.transport.written = b""
                client.send(GET)
                asked += 1
    assert asked < seen <= 1.2 * asked + 3
    assert seen - asked == world.backend.stats.retries["503"]
    assert world.codes == {503: asked}
    assert {client.answer().status for client in clients} == {503}
    world.assert_at_rest()
    assert world.backend._retrying == 0


def test_a_retry_is_given_back_when_its_client_leaves() -> None:
    """However it ends, it ends."""
    world = World(pods=2)
    client = world.client().send(GET)
    world.link.say(BUSY)
    assert world.backend._retrying == 1
    client.vanish()
    assert world.backend._retrying == 0
    world.assert_at_rest()


# -- time, and clients that left


def test_the_total_time_holds_over_all_tries() -> None:
    """504, though each of them was in time."""
    world = World(pods=2, timeouts=Timeouts(response=1.5, request=2.0))
    client = world.client().send(GET)
    world.advance(1.2)
    world.link.say(BUSY)
    world.advance(0.7)
    assert client.received == b""
    world.advance(0.2)
    assert client.answer().status == 504
    assert world.reasons == {"request_timeout": 1}
    world.assert_at_rest()


def test_each_try_has_the_response_deadline_anew() -> None:
    """The pod that is asked next has its time."""
    world = World(pods=2, timeouts=Timeouts(response=2.0))
    client = world.client().send(GET)
    world.advance(1.5)
    world.link.say(BUSY)
    world.advance(1.5)
    world.pods[1].last.say(OK)
    assert client.answer().status == 200


@pytest.mark.parametrize("failure", ["503", "lost"])
def test_nothing_is_tried_again_for_a_client_that_left(failure: str) -> None:
    """cancel: hold keeps the slot for the pod that has the request, no longer."""
    world = World(pods=2, limits=Limits(hold=True))
    world.client().send(GET).vanish()
    if failure == "503":
        world.link.say(BUSY)
    else:
        world.link.hang_up()
    assert world.pods[1].last.received == b""
    assert (world.backend.stats.retries, world.codes) == ({}, {499: 1})
    world.assert_at_rest()


# -- all together


async def _story(steps: list[tuple[int, int]]) -> None:
    """Clients ask, pods fail them in every way, clients leave; in the end everything is at rest and counted once."""
    world = World(pods=3, limits=Limits(concurrency=2, depth=4))
    clients: list[Client] = []
    for what, which in steps:
        if what < 4:
            clients.append(world.client().send((GET, POST, PUT, PUT[:-2])[what]))
        links = [link for pod in world.pods for link in pod.connections if _busy(link)]
        if what == 4 and clients:
            clients[which % len(clients)].vanish()
        elif what > 4 and links:
            link = links[which % len(links)]
            if what == 5:
                link.hang_up()
            else:
                link.say((OK, BUSY, BUSY[:-1])[what - 6])
        await settle()
        assert world.backend._retrying <= 3
    for client in clients:
        client.vanish()
    await settle()
    world.assert_at_rest()
    assert world.backend._retrying == 0
    assert sum(world.codes.values()) == len(clients)


def _busy(link: PodConnection) -> bool:
    return link.protocol._receiver is not None and not link.transport.is_closing()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 20)), max_size=40))
def test_whatever_fails_each_request_is_counted_once_and_nothing_stays_open(
    steps: list[tuple[int, int]],
) -> None:
    """Answers, 5xx, lost connections and clients that leave, in any order."""
    asyncio.run(_story(steps))
