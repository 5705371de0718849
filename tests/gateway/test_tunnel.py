"""WebSocket tunnels on mock transports: the offer, what the pod makes of it, bytes both ways, and every way to end."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backend import Limits
from gateway.downstream import KEEP_ALIVE_SECONDS, LINGER_SECONDS
from gateway.exchange import HELD_MOST
from gateway.http1 import ResponseHead
from gateway.terms import Timeouts
from gateway.tunnel import PARTING_SECONDS, QUIET_SECONDS
from tests.fakes import Client, Pod, World, read_request, settle

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OFFER = (
    b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nKeep-Alive: 5\r\n\r\n"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ONE = Limits(concurrency=1)


def opened(world: World) -> Client:
    """A client whose offer the pod has taken; what both sides have got of it is taken away."""
    client = world.client().send(OFFER)
    world.link.say(SWITCH)
    assert client.received.startswith(b"HTTP/1.1 101 ")
    client.transport.written = world.link.transport.written = b""
    return client


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """A head's lines, sorted but for the first, and what stands behind it."""
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    return [first, *sorted(lines)], rest


# -- the offer and the 101


def test_an_offer_goes_to_the_pod_with_the_upgrade_written_anew() -> None:
    """Its own fields as they came, the hop's fields as ours."""
    world = World()
    world.client().send(OFFER)
    request, _, _, whole = read_request(world.link.received)
    fields = dict(request.headers)
    assert (request.method, request.target, whole) == (b"GET", b"/chat", True)
    assert (fields[b"connection"], fields[b"upgrade"]) == (b"upgrade", b"websocket")
    assert fields[b"sec-websocket-key"] == b"dGhlIHNhbXBsZSBub25jZQ=="
    assert world.link.received.count(b"pgrade") == 2


def test_the_101_comes_back_with_the_pods_fields_and_ours() -> None:
    """And nothing of a body or of the pod's own connection."""
    world = World(expose=True)
    client = world.client().send(OFFER)
    world.link.say(SWITCH)
    lines, rest = split(client.received)
    assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
    names = {line.partition(b":")[0].lower() for line in lines[1:]}
    assert names == {
        b"connection",
        b"upgrade",
        b"sec-websocket-accept",
        b"x-request-id",
        b"x-tidegate-backend",
    }
    assert b"connection: upgrade" in lines
    assert b"upgrade: websocket" in lines
    assert rest == b""


def test_bytes_go_both_ways_as_they_come() -> None:
    """In the turn in which they come, whatever they look like."""
    world = World()
    client = opened(world)
    for data in (b"\x81\x05hello", GET, b"\x00" * 10):
        client.protocol.data_received(data)
        assert world.link.take() == data
        world.link.protocol.data_received(data)
        assert client.received == data
        client.transport.written = b""
    assert repr(client.protocol) == "<Downstream <Tunnel host 'x' and path '/chat' open>>"
    assert repr(client.protocol._reader) == "<RequestReader switched, 0 in the inbox>"


def test_what_the_client_sends_ahead_goes_to_the_pod_after_the_101() -> None:
    """And what the pod says with its 101 comes right behind the head."""
    world = World()
    client = world.client().send(OFFER + b"one ", b"two ")
    assert split(world.link.take())[1] == b""
    world.link.say(SWITCH + b"hello")
    assert split(client.received)[1] == b"hello"
    assert world.link.take() == b"one two "


def test_interim_answers_may_come_before_the_101() -> None:
    """In one packet with it."""
    world = World()
    client = world.client().send(OFFER)
    world.link.say(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + SWITCH + b"hi")
    assert client.received.startswith(b"HTTP/1.1 103 ")
    assert b"HTTP/1.1 101 " in client.received
    assert client.received.endswith(b"\r\n\r\nhi")


def test_a_101_that_speaks_of_a_body_has_none() -> None:
    """Its bytes are the tunnel's, and its end is no broken answer."""
    world = World()
    client = world.client().send(OFFER)
    world.link.say(SWITCH[:-2] + b"Content-Length: 3\r\n\r\n", b"abcdef")
    lines, rest = split(client.received)
    assert (b"content-length" in b"".join(lines), rest) == (False, b"abcdef")
    world.link.hang_up()
    assert client.transport.eof


TALK = [b"\x81\x02hi", GET, b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\x88\x00"]


def play(before: bytes, early: bytes, answer: bytes, cut: int, answer_cut: int) -> tuple[bytes, bytes, Any]:
    """What the client and the pod have got in the end, and how the client's connection stands."""
    world = World(idle=1)
    world.gateway._id_prefix = b"id-"
    client = world.client()
    data = before + OFFER + early
    client.send(*(data[at : at + cut] for at in range(0, len(data), cut)))
    got = b""
    if before:
        got += world.link.take()
        world.link.say(OK)
    got += world.link.take()
    world.link.say(*(answer[at : at + answer_cut] for at in range(0, len(answer), answer_cut)))
    got += world.link.take()
    return client.received, got, (client.transport.end, client.transport.eof, world.codes)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([b"", GET]),
    st.lists(st.sampled_from(TALK), max_size=4).map(b"".join),
    st.sampled_from(
        [
            SWITCH,
            OK,
            b"HTTP/1.1 426 No\r\nUpgrade: websocket\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        ]
    ),
    st.lists(st.sampled_from(TALK), max_size=4).map(b"".join),
    st.tuples(st.integers(1, 80), st.integers(1, 40)),
)
def test_however_the_input_is_cut_both_sides_get_the_same(
    before: bytes, early: bytes, answer: bytes, more: bytes, cuts: tuple[int, int]
) -> None:
    """A request before the offer, bytes ahead of the answer, and an answer with bytes behind it."""
    if answer == SWITCH:
        answer += more
    whole = play(before, early, answer, 1 << 20, 1 << 20)
    assert play(before, early, answer, *cuts) == play(before, early, answer, 1, 1) == whole


def test_an_offer_behind_another_request_waits_for_its_turn() -> None:
    """With the bytes behind it."""
    world = World()
    client = world.client().send(GET + OFFER + b"early", b" bird")
    assert read_request(world.link.take())[0].target == b"/a"
    world.link.say(OK)
    assert read_request(world.link.take())[0].target == b"/chat"
    world.link.say(SWITCH)
    assert world.link.take() == b"early bird"
    assert client.received.count(b"HTTP/1.1 ") == 2


# -- the offer is not taken


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK, id="200"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", id="400"),
        pytest.param(
            b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
            id="426",
        ),
        pytest.param(b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", id="503"),
    ],
)
def test_a_pod_may_refuse_with_an_ordinary_answer(answer: bytes) -> None:
    """Whatever stands behind the offer is thrown away, the connection closes, and the pod's is of further use."""
    world = World()
    client = world.client().send(OFFER + GET)
    world.link.take()
    world.link.say(answer)
    client.send(GET)
    (got,) = client.answers(b"GET")
    assert (got.complete, got.fields[b"connection"]) == (True, b"close")
    assert (world.link.take(), client.transport.eof) == (b"", True)
    assert len(world.endpoint(world.pod).pool.idle) == 1
    world.assert_at_rest()
    world.advance(LINGER_SECONDS + 0.1)
    assert client.transport.end == "abort"


def test_a_refusal_that_streams_is_an_answer_like_any_other() -> None:
    """What was held and kept the client from sending is thrown away, and what comes more."""
    world = World()
    client = world.client().send(OFFER + b"x" * (HELD_MOST + 1))
    assert not client.transport.reading
    world.link.take()
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
    assert client.transport.reading
    client.send(b"x" * 1000)
    world.link.say(b"ha", b"lf")
    assert (client.answer().body, world.link.take()) == (b"half", b"")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(SWITCH.replace(b"websocket", b"h2c"), id="another protocol"),
        pytest.param(SWITCH.replace(b"websocket", b"websocket, h2c"), id="two protocols"),
        pytest.param(SWITCH.replace(b"Upgrade: websocket\r\n", b""), id="no protocol"),
        pytest.param(SWITCH.replace(b"Connection: Upgrade\r\n", b""), id="no Connection"),
        pytest.param(SWITCH.replace(b"HTTP/1.1", b"HTTP/2.0"), id="another version"),
        pytest.param(SWITCH.replace(b"Keep-Alive: 5", b"Transfer-Encoding: gzip"), id="another coding"),
    ],
)
def test_a_101_that_says_something_else_is_502(answer: bytes) -> None:
    """upstream_invalid; nothing of it reaches the client."""
    world = World()
    client = world.client().send(OFFER + b"early")
    world.link.say(answer + b"hello")
    assert (client.answer().status, world.reasons) == (502, {"upstream_invalid": 1})
    assert b"hello" not in client.received
    assert world.link.transport.end == "abort"
    world.assert_at_rest()


@pytest.mark.parametrize("answer", [SWITCH, SWITCH.replace(b"websocket", b"")])
@pytest.mark.parametrize("request_", [GET, b"GET /a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"])
def test_a_101_that_nobody_asked_for_is_502(request_: bytes, answer: bytes) -> None:
    """An Upgrade that Connection does not name is no offer, and one of nothing grants nothing."""
    world = World()
    client = world.client().send(request_)
    world.link.say(answer + b"hello")
    assert (client.answer().status, world.reasons) == (502, {"upstream_invalid": 1})


def test_a_101_behind_an_answer_is_no_part_of_it() -> None:
    """The pod's connection is of no further use."""
    world = World()
    client = world.client().send(GET)
    world.link.say(OK + SWITCH + b"hello")
    assert (client.answer().body, world.link.transport.end) == (b"ok", "close")


# -- waiting


def test_what_comes_ahead_is_held_up_to_a_bound() -> None:
    """Past it the client is asked to pause, and to go on when the pod has switched."""
    world = World(limits=ONE)
    first = world.client().send(GET)
    client = world.client().send(OFFER, b"a" * HELD_MOST)
    assert client.transport.calls == []
    client.send(b"b")
    assert client.transport.calls == ["pause"]
    world.link.take()
    world.link.say(OK)
    assert (first.answer().status, client.transport.calls) == (200, ["pause"])
    world.link.take()
    world.link.say(SWITCH)
    assert client.transport.calls == ["pause", "resume"]
    assert world.link.take() == b"a" * HELD_MOST + b"b"


def test_what_was_held_does_not_let_a_slow_pod_be_flooded() -> None:
    """The pod may ask to pause in the very moment in which it gets what was held."""
    world = World()
    client = world.client().send(OFFER + b"a" * (HELD_MOST + 1))
    world.link.transport.room = 1000
    world.link.say(SWITCH)
    assert not client.transport.reading
    world.link.transport.drain()
    assert client.transport.reading


async def test_an_offer_waits_for_a_start() -> None:
    """And is told how long it took."""
    world = World(pods=0)
    client = world.client().send(OFFER + b"early")
    world.advance(2.5)
    world.pods.append(Pod(world.loop, 1))
    world.publish()
    await settle()
    world.link.take()
    world.link.say(SWITCH)
    assert b"x-tidegate-cold-start: 2.500\r\n" in client.received
    assert world.link.take() == b"early"


async def test_an_offer_that_is_reset_is_made_once_more() -> None:
    """A GET without a body; what came ahead is not lost."""
    world = World()
    client = world.client().send(OFFER + b"early")
    world.link.hang_up(ConnectionResetError())
    await settle()
    assert read_request(world.link.take())[0].target == b"/chat"
    world.link.say(SWITCH)
    assert (client.received[:13], world.link.take()) == (b"HTTP/1.1 101 ", b"early")


def test_the_answer_to_an_offer_has_its_deadline() -> None:
    """504 response_timeout, however much the client sends meanwhile."""
    world = World(timeouts=Timeouts(response=3.0))
    client = world.client().send(OFFER)
    for _ in range(5):
        world.advance(0.5)
        client.send(b"x")
    world.advance(0.6)
    assert (client.answer().status, world.reasons) == (504, {"response_timeout": 1})
    world.assert_at_rest()


# -- counting


def test_a_tunnel_is_in_flight_until_it_ends() -> None:
    """The next request waits for its slot; it is counted once, as 101."""
    world = World(limits=ONE)
    client = opened(world)
    waiting = world.client().send(GET)
    link = world.link
    world.advance(5)
    world.connect(world.pod)
    assert (world.backend.in_flight, world.backend.breaker.queued, world.codes) == (1, 1, {})
    link.hang_up()
    assert (world.codes, world.reasons) == ({101: 1}, {})
    world.link.say(OK)
    assert waiting.answer().status == 200
    assert world.backend.traffic_of("iris").duration.sum == pytest.approx(10.0)
    client.close()
    world.assert_at_rest()


def test_the_connection_of_a_tunnel_serves_nothing_else() -> None:
    """It never comes back to the pool."""
    world = World()
    opened(world).close()
    assert world.endpoint(world.pod).pool.idle == []
    world.link.hang_up()
    assert world.endpoint(world.pod).pool.idle == []


# -- backpressure


def test_a_client_that_reads_slowly_pauses_its_pod() -> None:
    """Until it has caught up."""
    world = World()
    client = opened(world)
    client.transport.room = 10
    world.link.say(b"x" * 20)
    assert world.link.transport.calls == ["pause"]
    client.transport.drain()
    assert world.link.transport.calls == ["pause", "resume"]


def test_a_pod_that_reads_slowly_pauses_its_client() -> None:
    """Until it has caught up."""
    world = World()
    client = opened(world)
    world.link.transport.room = 10
    client.send(b"x" * 20)
    assert client.transport.calls == ["pause"]
    world.link.transport.drain()
    assert client.transport.calls == ["pause", "resume"]


# -- endings


def test_when_the_pod_closes_the_client_gets_the_rest_and_an_end() -> None:
    """In good order, so that nothing that is on its way is destroyed; what it still sends is thrown away."""
    world = World()
    client = opened(world)
    world.link.say(b"\x88\x00")
    world.link.hang_up()
    assert (client.received, client.transport.eof, client.transport.end) == (b"\x88\x00", True, None)
    client.send(b"more", GET)
    client.close()
    assert client.transport.lost
    assert (world.codes, world.reasons) == ({101: 1}, {})
    world.assert_at_rest()
    assert repr(world.gateway.wheel) == "<TimerWheel 0 items, 0 slots>"


def test_when_the_client_closes_the_pod_gets_the_rest_and_an_end() -> None:
    """The slot is free at once; what the pod still says is thrown away."""
    world = World()
    client = opened(world)
    client.send(b"\x88\x00")
    client.close()
    assert (world.link.take(), world.link.transport.eof, world.link.transport.end) == (
        b"\x88\x00",
        True,
        None,
    )
    assert (client.transport.end, world.codes, world.reasons) == ("close", {101: 1}, {})
    world.assert_at_rest()
    world.link.say(b"late")
    world.link.hang_up()
    assert repr(world.gateway.wheel) == "<TimerWheel 0 items, 0 slots>"
    assert client.received == b""


def test_a_pod_that_is_paused_when_its_client_closes_is_read_again() -> None:
    """Or its own end would not be noticed."""
    world = World()
    client = opened(world)
    client.transport.room = 1
    world.link.say(b"xx")
    client.close()
    assert world.link.transport.calls == ["pause", "resume"]


def test_a_pod_that_does_not_read_the_rest_is_broken_off_in_the_end() -> None:
    """A connection does not stay for ever because somebody hangs."""
    world = World()
    opened(world).close()
    world.advance(PARTING_SECONDS - 0.1)
    assert world.link.transport.end is None
    world.advance(0.2)
    assert world.link.transport.end == "reset"
    world.assert_at_rest()
    assert repr(world.gateway.wheel) == "<TimerWheel 0 items, 0 slots>"


def test_a_pod_that_breaks_its_connection_while_it_is_left_is_forgotten() -> None:
    """Nothing more is to be done."""
    world = World()
    opened(world).close()
    world.link.hang_up(ConnectionResetError())
    assert repr(world.gateway.wheel) == "<TimerWheel 0 items, 0 slots>"
    assert (world.codes, world.reasons) == ({101: 1}, {})


@pytest.mark.parametrize(("choked", "patience"), [(False, LINGER_SECONDS), (True, KEEP_ALIVE_SECONDS)])
def test_a_client_that_does_not_close_after_its_pod_is_broken_off(choked: bool, patience: float) -> None:
    """Later if it has not read everything yet."""
    world = World()
    client = opened(world)
    if choked:
        client.transport.room = 1
        world.link.say(b"xx")
    world.link.hang_up()
    world.advance(patience - 0.1)
    assert client.transport.end is None
    world.advance(0.2)
    assert client.transport.end == "abort"


def test_a_client_that_cannot_be_told_of_half_an_end_is_closed() -> None:
    """TLS."""
    world = World()
    client = opened(world)
    client.transport.can_write_eof = lambda: False  # type: ignore[method-assign]
    world.link.hang_up()
    assert (client.transport.eof, client.transport.end) == (False, "close")


def test_a_pod_that_cannot_be_told_of_half_an_end_is_closed() -> None:
    """TLS."""
    world = World()
    client = opened(world)
    world.link.transport.can_write_eof = lambda: False  # type: ignore[method-assign]
    client.close()
    assert (world.link.transport.eof, world.link.transport.end) == (False, "close")
    assert repr(world.gateway.wheel) == "<TimerWheel 0 items, 0 slots>"


def test_both_ends_may_come_at_once() -> None:
    """The pod's connection is closing already when the client's end is read."""
    world = World()
    client = opened(world)
    world.link.transport.end = "close"
    client.close()
    world.link.hang_up()
    assert not world.link.transport.eof
    assert world.codes == {101: 1}
    world.assert_at_rest()


def test_when_the_client_breaks_the_pods_connection_breaks() -> None:
    """A reset for a reset; no 499, for the client has had its answer."""
    world = World()
    opened(world).vanish()
    assert world.link.transport.end == "reset"
    assert (world.codes, world.reasons) == ({101: 1}, {})
    world.assert_at_rest()
    assert repr(world.gateway.wheel) == "<TimerWheel 0 items, 0 slots>"


def test_when_the_pod_breaks_the_clients_connection_breaks() -> None:
    """And the reason is counted."""
    world = World()
    client = opened(world)
    world.link.hang_up(ConnectionResetError())
    assert client.transport.end == "reset"
    assert (world.codes, world.reasons) == ({101: 1}, {"upstream_reset": 1})
    world.assert_at_rest()


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("leave", [Client.close, Client.vanish])
def test_a_client_that_leaves_before_the_answer_is_499(leave: Any, hold: bool) -> None:
    """Whatever `cancel` says: there is no answer to wait for."""
    world = World(limits=Limits(concurrency=1, hold=hold))
    leave(world.client().send(OFFER + b"early"))
    assert world.link.transport.end == "abort"
    assert (world.codes, world.reasons) == ({499: 1}, {"client_closed": 1})
    world.assert_at_rest()


@pytest.mark.parametrize("hold", [False, True])
def test_a_tunnel_is_not_held_when_its_client_leaves(hold: bool) -> None:
    """`cancel: hold` is for answers."""
    world = World(limits=Limits(concurrency=1, hold=hold))
    opened(world).close()
    world.assert_at_rest()


def test_a_tunnel_in_which_nothing_moves_is_broken_off() -> None:
    """idle_timeout; a byte in either direction moves it."""
    world = World(timeouts=Timeouts(idle=2.0))
    client = opened(world)
    for _ in range(3):
        world.advance(1.5)
        client.send(b"x")
        world.advance(1.5)
        world.link.say(b"x")
    world.advance(1.9)
    assert client.transport.end is None
    world.advance(0.2)
    assert (client.transport.end, world.link.transport.end) == ("reset", "reset")
    assert (world.codes, world.reasons) == ({101: 1}, {"idle_timeout": 1})
    world.assert_at_rest()


def test_a_pod_that_reads_on_moves_it_too() -> None:
    """What was written to it goes on its way."""
    world = World(timeouts=Timeouts(idle=2.0))
    client = opened(world)
    world.link.transport.room = 1
    client.send(b"xx")
    world.advance(1.5)
    world.link.transport.drain()
    world.advance(1.5)
    assert client.transport.end is None


def test_the_total_time_ends_a_tunnel() -> None:
    """request_timeout, from the offer on."""
    world = World(timeouts=Timeouts(request=2.0))
    client = opened(world)
    for _ in range(5):
        world.advance(0.5)
        client.send(b"x")
    assert (client.transport.end, world.link.transport.end) == ("reset", "reset")
    assert (world.codes, world.reasons) == ({101: 1}, {"request_timeout": 1})


def test_no_limit_means_none() -> None:
    """0."""
    world = World(timeouts=Timeouts(response=0.0, idle=0.0))
    client = opened(world)
    world.advance(1000)
    client.send(b"x")
    world.advance(1000)
    assert (world.link.take(), client.transport.end) == (b"x", None)


def test_a_removed_backends_tunnels_go_on() -> None:
    """And those of a pod that is gone from the list."""
    world = World()
    client = opened(world)
    world.gateway.apply(world.backend, world.backend.remove(world.loop.now))
    link = world.link
    world.pods.clear()
    world.publish()
    client.send(b"still")
    link.say(b"here")
    assert (link.take(), client.received) == (b"still", b"here")
    assert world.backend.in_flight == 1
    client.close()
    assert link.transport.eof


# -- drain


def test_a_drain_ends_a_tunnel_that_is_quiet() -> None:
    """In good order on both sides; others when they become quiet."""
    world = World(idle=2)
    quiet = opened(world)
    quiet_link = world.link
    world.advance(QUIET_SECONDS + 0.1)
    world.connect(world.pod)
    busy = opened(world)
    world.gateway.draining = True
    for client in (quiet, busy):
        client.protocol.shut()
    world.loop.run()
    assert (quiet.transport.end, quiet_link.transport.eof) == ("close", True)
    for _ in range(3):
        world.advance(0.5)
        busy.send(b"x")
        busy.protocol.shut()
    assert busy.transport.end is None
    world.advance(QUIET_SECONDS + 0.1)
    busy.protocol.shut()
    assert (busy.transport.end, world.link.transport.eof, world.codes) == ("close", True, {101: 2})
    world.assert_at_rest()


def test_a_drain_lets_an_offer_have_its_answer() -> None:
    """It is in flight, like any request."""
    world = World()
    world.gateway.draining = True
    client = world.client().send(OFFER)
    client.protocol.shut()
    world.link.say(SWITCH)
    client.protocol.shut()
    assert (client.received[:13], client.transport.end) == (b"HTTP/1.1 101 ", None)
    world.advance(QUIET_SECONDS + 0.1)
    client.protocol.shut()
    assert client.transport.end == "close"


@pytest.mark.parametrize("slow", ["client", "pod"])
def test_a_drain_does_not_take_a_slow_side_for_a_quiet_tunnel(slow: str) -> None:
    """Something waits to be read; once it was, a second must pass."""
    world = World()
    client = opened(world)
    side = client.transport if slow == "client" else world.link.transport
    side.room = 1
    client.send(b"xx")
    world.link.say(b"xx")
    world.advance(10)
    client.protocol.shut()
    side.drain()
    client.protocol.shut()
    assert client.transport.end is None
    world.advance(QUIET_SECONDS + 0.1)
    client.protocol.shut()
    assert client.transport.end == "close"


@pytest.mark.parametrize("status", [101, 200])
def test_an_answer_that_comes_too_late_is_not_given(status: int) -> None:
    """Nor is a tunnel opened that nobody wants any more."""
    world = World()
    client = world.client().send(OFFER + b"early")
    tunnel: Any = client.protocol._exchange
    client.vanish()
    tunnel.on_head(ResponseHead(status), b"", [], ended=False)
    assert (client.received, world.codes) == (b"", {499: 1})
    world.assert_at_rest()


def test_once_over_it_hears_nothing() -> None:
    """Late calls from either side change nothing."""
    world = World()
    client = opened(world)
    tunnel: Any = client.protocol._exchange
    client.vanish()
    tunnel.on_body(b"x", [], ended=False)
    tunnel.on_data(b"x", [], ended=False)
    tunnel.on_gone()
    tunnel.on_drain()
    assert "over" in repr(tunnel)
    assert repr(tunnel).startswith("<Tunnel ")
    assert world.codes == {101: 1}
