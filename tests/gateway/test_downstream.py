"""The client's side on mock transports: framing, pipelining, backpressure, deadlines, and how a connection ends."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission import ConnectionLimits
from gateway.backend import Limits
from gateway.bodies import HELD_MOST
from gateway.downstream import KEEP_ALIVE_SECONDS, LINGER_SECONDS
from gateway.intake import AHEAD_MOST
from gateway.routing import Route, RouteTable
from gateway.splits import Split
from gateway.terms import BackendRef
from tests.fakes import Answer, Client, World, read_request

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OLD = b"GET /a HTTP/1.0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD_ONLY = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


def alone() -> World:
    """A world in which every request is answered at once, with 404."""
    world = World()
    world.gateway.table = RouteTable(())
    return world


# -- whole input ≡ byte by byte

REQUESTS = [
    (b"GET", GET),
    (b"HEAD", b"HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n"),
    (b"POST", b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
    (b"GET", b"GET /u HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    (b"OPTIONS", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"),
    (b"GET", b"GET /bad HTTP/1.1\r\nHost : x\r\n\r\n"),
    (b"GET", b"GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    (b"GET", OLD),
]
ANSWERS = [
    OK,
    b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
]


def play(requests: list[bytes], answer: bytes, cut: int, answer_cut: int) -> tuple[bytes, bytes, bool]:
    """What the client and the pods have got in the end, and whether the connection was closed."""
    world = World(idle=8)
    world.gateway._id_prefix = b"id-"
    client = world.client()
    data = b"".join(requests)
    client.send(*(data[at : at + cut] for at in range(0, len(data), cut)))
    got = b""
    for _ in range(len(requests)):
        for link in world.pod.connections:
            sent = link.take()
            got += sent
            if sent:
                whole = (
                    answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                    if sent.startswith(b"HEAD") and answer is OK
                    else answer
                )
                link.say(*(whole[at : at + answer_cut] for at in range(0, len(whole), answer_cut)))
    world.assert_at_rest()
    return client.received, got, client.transport.is_closing()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=5),
    st.sampled_from(ANSWERS),
    st.integers(1, 60),
    st.integers(1, 30),
)
def test_the_same_goes_both_ways_however_the_input_is_cut(
    requests: list[tuple[bytes, bytes]], answer: bytes, cut: int, answer_cut: int
) -> None:
    """Good and bad requests, pipelined, with answers of a known length."""
    if any(method == b"HEAD" for method, _ in requests) and answer is not OK:
        answer = ANSWERS[2]
    data = [request for _, request in requests]
    assert (
        play(data, answer, cut, answer_cut)
        == play(data, answer, 1 << 20, 1 << 20)
        == play(data, answer, 1, 1)
    )


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=200), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_a_chunked_upload_and_answer_mean_the_same_however_cut(body: bytes, sizes: list[int]) -> None:
    """Chunk sizes are a matter of each hop; the body and its trailers are not."""
    chunks, at = b"", 0
    for size in sizes:
        piece, at = body[at : at + size], at + size
        chunks += b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
    body = body[: sum(sizes)]
    chunks += b"0\r\nX-Sum: 1\r\n\r\n"
    for cut in (1, 7, 1 << 20):
        world = World()
        data = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        client = world.client().send(*(data[at : at + cut] for at in range(0, len(data), cut)))
        assert read_request(world.link.received)[1:] == (body, {b"x-sum": b"1"}, True)
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        world.link.say(*(data[at : at + cut] for at in range(0, len(data), cut)))
        answer = client.answer(b"POST")
        assert (answer.body, answer.trailers, answer.complete) == (body, {b"x-sum": b"1"}, True)


# -- framing


def test_head_204_and_304_have_no_body() -> None:
    """Whatever the pod says of one."""
    for method, reply in (
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    ):
        world = World()
        client = world.client().send(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
        world.link.say(reply)
        answer = client.answer(method)
        assert (answer.complete, answer.body) == (True, b"")
        assert b"content-length" not in answer.fields or answer.status != 204
        assert len(world.endpoint(world.pod).pool.idle) == 1, "the pod's connection is of further use"


def test_an_old_client_gets_no_chunks_and_no_interim_answers() -> None:
    """The connection's end is the body's end."""
    world = World()
    client = world.client().send(b"POST / HTTP/1.0\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx")
    world.link.say(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    world.link.say(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n", b"0\r\nX: 1\r\n\r\n"
    )
    assert client.received.endswith(b"connection: close\r\n\r\nok")
    assert (client.answer().interims, client.transport.end) == ([], "close")


def test_an_old_client_may_keep_its_connection() -> None:
    """If it asks to, and the answer's length is known."""
    world = World()
    client = world.client().send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    world.link.say(OK)
    assert client.answer().fields[b"connection"] == b"keep-alive"
    assert client.transport.end is None


def test_a_short_chunked_answer_becomes_one_with_a_length() -> None:
    """When it came whole in one read."""
    world = World()
    client = world.client().send(GET)
    world.link.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert client.answer().fields[b"content-length"] == b"2"


def test_a_peer_without_a_name_is_unknown() -> None:
    """On a Unix socket, say; an IPv6 address goes as it is."""
    for peer, name in ((None, b"unknown"), (("::1", 5, 0, 0), b"::1")):
        world = World()
        Client(world, peer).send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        assert b"x-forwarded-for: " + name + b"\r\n" in world.link.received
        assert b"6.6.6.6" not in world.link.received


# -- pipelining


def test_pipelined_requests_are_answered_in_order() -> None:
    """One after the other: the next begins when the last is answered."""
    world = World(idle=3)
    client = world.client().send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(3)))
    for n in range(3):
        (link,) = [link for link in world.pod.connections if (sent := link.take()) and b"/%d " % n in sent]
        link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n)
    assert [answer.body for answer in client.answers(b"GET", b"GET", b"GET")] == [b"0", b"1", b"2"]


def test_thousands_of_pipelined_requests_are_no_recursion() -> None:
    """In one packet."""
    client = alone().client().send(GET * 2000)
    assert {answer.status for answer in client.answers(*[b"GET"] * 2000)} == {404}


def test_a_request_behind_another_comes_with_all_of_its_body() -> None:
    """What arrives while the first is answered is kept, in its order."""
    upload = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello"
    world = World()
    client = world.client().send(GET + upload, b"wor", b"ld" + GET)
    world.link.take()
    world.link.say(OK)
    assert read_request(world.link.take())[1] == b"helloworld"
    world.link.say(OK)
    assert read_request(world.link.take())[0].target == b"/a"
    world.link.say(OK)
    assert len(client.answers(b"GET", b"POST", b"GET")) == 3


def test_what_a_client_sends_ahead_is_bounded() -> None:
    """Even the body of a pipelined request: reading pauses, and goes on when its turn comes."""
    world = World()
    size = 4 * AHEAD_MOST
    client = world.client().send(GET + b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
    client.send(b"x" * AHEAD_MOST)
    assert client.transport.reading
    client.send(b"x")
    assert not client.transport.reading
    world.link.take()
    world.link.say(OK)
    assert client.transport.reading
    client.send(b"x" * (size - AHEAD_MOST - 1))
    assert len(read_request(world.link.received)[1]) == size


def test_the_next_request_waits_until_the_client_has_taken_the_last_answer() -> None:
    """Or a client that only asks and never reads would fill the memory."""
    world = World(idle=2)
    client = world.client()
    client.transport.room = 10
    client.send(GET, GET)
    world.link.take()
    world.link.say(OK)
    client.send(GET)
    assert [link.take() for link in world.pod.connections] == [b"", b""]
    client.transport.drain()
    for _ in range(2):
        assert world.link.take()
        world.link.say(OK)
    assert len(client.answers(b"GET", b"GET", b"GET")) == 3


def test_a_bad_request_behind_good_ones_is_the_last() -> None:
    """Its 400 comes in its turn, and the connection closes."""
    world = World()
    client = world.client().send(GET + b"nonsense\r\n\r\n" + GET)
    assert client.received == b""
    world.link.take()
    world.link.say(OK)
    assert [answer.status for answer in client.answers(b"GET", b"GET")] == [200, 400]
    assert world.link.take() == b""
    assert client.transport.eof


# -- backpressure


def test_a_client_that_reads_slowly_pauses_its_pod() -> None:
    """Until it has caught up."""
    world = World()
    client = world.client().send(GET)
    client.transport.room = 100
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + b"x" * 200)
    assert world.link.transport.calls == ["pause"]
    client.transport.drain()
    assert world.link.transport.calls == ["pause", "resume"]
    world.link.say(b"x" * 100)
    assert len(client.answer().body) == 300


def test_a_pod_that_reads_slowly_pauses_its_client() -> None:
    """Until it has caught up; and the connection is read again for the next request."""
    world = World()
    client = world.client()
    world.link.transport.room = 100
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", b"x" * 500)
    assert client.transport.calls == ["pause"]
    world.link.transport.drain()
    assert client.transport.calls == ["pause", "resume"]
    world.link.transport.room = 1
    client.send(b"x" * 500)
    world.link.say(OK)
    assert client.transport.calls == ["pause", "resume", "pause", "resume"]
    assert client.answer(b"POST").status == 200


# -- endings


def test_an_early_answer_closes_in_good_order_and_throws_away_what_comes() -> None:
    """Our side is closed first; the client is given time to notice."""
    world = World()
    client = world.client().send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    world.link.say(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
    assert (client.answer(b"POST").status, client.answer(b"POST").fields[b"connection"]) == (413, b"close")
    assert (client.transport.eof, client.transport.end) == (True, None)
    client.send(b"more", GET)
    world.advance(LINGER_SECONDS + 0.1)
    assert client.transport.end == "abort"


def test_an_early_answer_that_streams_lets_the_upload_go_on() -> None:
    """Both at once."""
    world = World()
    client = world.client().send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhalf")
    world.link.say(HEAD_ONLY)
    client.send(b"more")
    assert read_request(world.link.received)[1] == b"halfmore"
    world.link.say(b"done")
    assert client.answer(b"POST").body == b"done"


def test_a_client_that_closes_while_we_linger_is_gone() -> None:
    """Nothing more is waited for."""
    client = alone().client().send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
    client.close()
    assert client.transport.lost


def test_connection_close_is_honoured() -> None:
    """The client's; a pod's concerns its own connection alone."""
    world = World(idle=2)
    client = world.client().send(GET[:-2] + b"Connection: close\r\n\r\n")
    world.link.say(OK)
    assert (client.answer().fields[b"connection"], client.transport.end) == (b"close", "close")
    client = world.client().send(GET)
    world.link.say(OK[:17] + b"Connection: close\r\n" + OK[17:])
    assert (b"connection" in client.answer().fields, client.transport.end) == (False, None)
    assert world.link.transport.end == "close"


def test_a_client_that_closed_already_is_not_reset() -> None:
    """There is nothing to abort."""
    world = World()
    client = world.client().send(GET)
    world.link.say(HEAD_ONLY)
    client.transport.end = "close"
    world.link.hang_up()
    assert client.transport.socket.lingers


def test_a_client_whose_transport_has_no_socket_is_aborted() -> None:
    """As good as can be."""
    world = World()
    client = world.client().send(GET)
    client.transport.socket = None  # type: ignore[assignment]
    world.link.say(HEAD_ONLY)
    client.transport._end = lambda how: setattr(client.transport, "end", how)  # type: ignore[method-assign]
    client.transport.abort = lambda: client.transport._end("abort")  # type: ignore[method-assign]
    world.link.hang_up()
    assert client.transport.end == "abort"


# -- half-closed


def half_closing(**options: Any) -> World:
    """A world whose route answers clients that have closed their side."""
    world = World(**options)
    world.ref.half_close = True
    return world


@pytest.mark.parametrize("half_close", [False, True])
def test_a_client_that_closes_its_side_gets_its_answer_where_the_route_says_so(half_close: bool) -> None:
    """Then the connection closes; elsewhere it has left."""
    world = World()
    world.ref.half_close = half_close
    client = world.client().send(GET)
    client.close()
    world.link.say(OK)
    if half_close:
        assert (client.answer().body, client.answer().fields[b"connection"]) == (b"ok", b"close")
    assert (client.transport.end, world.codes) == (("close", {200: 1}) if half_close else ("reset", {499: 1}))
    world.assert_at_rest()


def test_an_answer_that_streams_goes_on_after_half_a_close() -> None:
    """Its head said that the connection stays; it closes nevertheless."""
    world = half_closing()
    client = world.client().send(GET)
    world.link.say(HEAD_ONLY)
    client.close()
    assert client.transport.end is None
    world.link.say(b"done")
    assert (client.answer().body, client.transport.end) == (b"done", "close")


def test_a_waiting_client_may_have_closed_its_side() -> None:
    """In the queue, too."""
    world = half_closing(limits=Limits(concurrency=1))
    world.client().send(GET)
    client = world.client().send(GET)
    client.close()
    assert world.backend.breaker.queued == 1
    world.link.say(OK)
    world.link.say(OK)
    assert client.answer().body == b"ok"


@pytest.mark.parametrize(
    "request_", [b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf", GET + GET[:20]]
)
def test_a_client_that_closes_in_the_middle_of_a_request_has_left(request_: bytes) -> None:
    """What was whole before is answered."""
    world = half_closing()
    client = world.client().send(request_)
    client.close()
    if request_.startswith(b"POST"):
        assert (client.transport.end, world.codes) == ("reset", {499: 1})
    else:
        world.link.say(OK)
        assert (client.answer().body, client.transport.end, world.codes) == (b"ok", "close", {200: 1})
    world.assert_at_rest()


def test_requests_that_were_whole_before_half_a_close_are_all_answered() -> None:
    """Sent in one packet, in two, and the last cut in two."""
    upload = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n"
    world = half_closing()
    client = world.client().send(GET + GET + upload, b"up", b"load" + GET)
    client.close()
    for _ in range(4):
        world.link.say(OK)
    answers = client.answers(b"GET", b"GET", b"POST", b"GET")
    assert [answer.body for answer in answers] == [b"ok"] * 4
    assert [b"connection" in answer.fields for answer in answers] == [False, False, False, True]
    assert b"upload" in world.link.received
    assert client.transport.end == "close"


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nhalf", id="cut"),
        pytest.param(b"GET /a HTTP/1.1\r\nHost : x\r\n\r\n", id="bad"),
        pytest.param(
            b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", id="offer"
        ),
        pytest.param(b"GET /other HTTP/1.1\r\nHost: other\r\n\r\n", id="another route"),
        pytest.param(b"GET /none HTTP/1.1\r\nHost: none\r\n\r\n", id="no route"),
    ],
)
def test_what_a_client_that_has_gone_asked_for_is_not_begun(behind: bytes) -> None:
    """A request whose route does not answer half-closed clients, or that is not whole, ends the connection when its turn comes."""
    world = half_closing(idle=2)
    other = BackendRef(world.backend, "other")
    world.gateway.table = RouteTable(
        (
            Route("iris", world.route.split, hosts=(b"x",)),
            Route("other", Split({"iris": other}, {"iris": 1}), hosts=(b"other",)),
        )
    )
    client = world.client().send(GET + behind + GET)
    client.close()
    world.link.say(OK)
    assert (client.answer().body, client.transport.end) == (b"ok", "close")
    assert (world.codes, world.backend.traffic_of("other").codes) == ({200: 1}, {})
    world.assert_at_rest()


def test_what_waits_for_a_slow_reader_is_answered_after_half_a_close() -> None:
    """No Exchange had begun when the client closed its side."""
    world = half_closing()
    client = world.client()
    client.transport.room = 10
    client.send(GET)
    world.link.take()
    world.link.say(OK)
    client.send(GET)
    assert world.link.take() == b""
    client.close()
    assert client.transport.end is None
    client.transport.drain()
    world.link.say(OK)
    assert [answer.body for answer in client.answers(b"GET", b"GET")] == [b"ok", b"ok"]
    assert client.transport.end == "close"


def test_a_slow_reader_that_closed_its_side_and_asked_nothing_more_is_closed() -> None:
    """As ever."""
    world = half_closing()
    client = world.client()
    client.transport.room = 10
    client.send(GET)
    world.link.say(OK)
    client.close()
    assert client.transport.end == "close"


def test_over_tls_a_client_that_closes_has_left() -> None:
    """There is no half of such a connection."""
    world = half_closing()
    client = world.client().send(GET)
    client.transport.can_write_eof = lambda: False  # type: ignore[method-assign]
    client.close()
    assert world.codes == {499: 1}


def test_a_half_closed_connection_is_not_read_again() -> None:
    """The loop would tell of its end a second time."""
    world = half_closing()
    client = world.client().send(GET, b"x" * (AHEAD_MOST + 1))
    assert client.transport.calls == ["pause"]
    client.protocol._govern_reading()
    client.transport.calls.clear()
    client.protocol.eof_received()
    world.link.say(OK)
    assert client.transport.calls == []


def test_a_half_closed_client_that_vanishes_has_left() -> None:
    """If it is noticed."""
    world = half_closing()
    client = world.client().send(GET)
    client.close()
    client.vanish()
    assert world.codes == {499: 1}
    world.assert_at_rest()


def test_a_client_that_closes_its_side_and_does_not_read_is_broken_off() -> None:
    """What was written to it is not kept for ever."""
    world = World()
    client = world.client().send(GET)
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    client.transport.room = 1
    world.link.say(b"xx")
    assert client.protocol.eof_received() is False
    assert client.transport.end == "reset"


# -- deadlines


def told(client: Client) -> Answer:
    return client.answer()


def test_a_head_that_takes_too_long_is_408() -> None:
    """From the connection's first moment, whenever its first byte came."""
    world = World()
    client = world.client()
    world.advance(6)
    client.send(b"GET / HT")
    world.advance(3.9)
    assert client.received == b""
    client.send(b"TP")
    world.advance(0.2)
    assert (told(client).status, client.transport.eof) == (408, True)
    world.advance(LINGER_SECONDS + 0.1)
    assert client.transport.lost


def test_a_silent_connection_is_closed_without_a_word() -> None:
    """Nobody asked anything."""
    world = World()
    client = world.client()
    world.advance(10.1)
    assert (client.received, client.transport.end) == (b"", "abort")
    assert world.gateway.clients == set()


@pytest.mark.parametrize("early", [True, False], ids=["sent ahead", "sent later"])
def test_the_next_head_has_its_own_deadline(early: bool) -> None:
    """From its first byte, or from the answer before it if it came ahead of that."""
    world = World()
    client = world.client().send(GET + b"GET /slow" if early else GET)
    world.advance(20)
    world.link.say(OK)
    if not early:
        world.advance(30)
        client.send(b"GET /slow")
    world.advance(9.9)
    assert len(client.answers(b"GET")) == 1
    world.advance(0.2)
    assert [answer.status for answer in client.answers(b"GET", b"GET")] == [200, 408]


def test_a_head_kept_unparsed_has_a_deadline_too() -> None:
    """It arrived while the one before was answered."""
    world = World()
    client = world.client().send(GET, b"GET /slow")
    world.link.say(OK)
    world.advance(10.1)
    assert [answer.status for answer in client.answers(b"GET", b"GET")] == [200, 408]


def test_an_idle_connection_is_closed_after_its_time() -> None:
    """Within a tick, not early."""
    world = World()
    client = world.client().send(GET)
    world.link.say(OK)
    world.advance(KEEP_ALIVE_SECONDS - 0.1)
    assert client.transport.end is None
    world.advance(0.2)
    assert client.transport.end == "abort"


def test_connections_that_come_and_go_leave_nothing_behind() -> None:
    """10,000 of them, in several states."""
    world = alone()
    for n in range(10_000):
        client = world.client()
        if n % 2:
            client.send(GET if n % 3 else GET + b"GET /par")
        client.vanish()
    assert repr(world.gateway) == "<Gateway 1 backends, 0 connections>"
    assert repr(world.gateway.wheel) == "<TimerWheel 0 items, 0 slots>"
    assert world.gateway.unrouted.codes == {404: 5000}


# -- drain


def test_a_drain_closes_idle_connections_and_lets_busy_ones_finish() -> None:
    """The answer says so, even when its head was out before."""
    world = World(idle=3)
    idle, partial = world.client(), world.client().send(b"GET /par")
    busy = world.client().send(GET)
    first = world.link
    streaming = world.client().send(GET)
    second = next(link for link in world.pod.connections if link is not first and link.received)
    second.say(HEAD_ONLY)
    world.gateway.draining = True
    for client in (idle, partial, busy, streaming):
        client.protocol.shut()
    world.loop.run()
    assert [client.transport.end for client in (idle, partial, busy, streaming)] == [
        "close",
        None,
        None,
        None,
    ]
    first.say(OK)
    second.say(b"done")
    partial.send(b"tial HTTP/1.1\r\nHost: x\r\n\r\n")
    next(link for link in world.pod.connections if b"/partial" in link.received).say(OK)
    assert busy.answer().fields[b"connection"] == b"close"
    assert partial.answer().fields[b"connection"] == b"close"
    assert busy.transport.end == streaming.transport.end == partial.transport.end == "close"
    assert repr(world.gateway).endswith(", draining>")


def test_a_body_that_was_held_up_is_read_again_after_a_refusal() -> None:
    """A client asked to pause in the queue is not left paused as it lingers."""
    world = World(limits=Limits(concurrency=1, queue_timeout=1.0))
    world.client().send(GET)
    client = world.client().send(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n" + b"x" * (HELD_MOST + 1)
    )
    assert not client.transport.reading
    world.advance(1.1)
    assert (client.answer(b"POST").status, client.transport.reading) == (503, True)


def test_it_tells_its_state() -> None:
    """In its repr."""
    client = World().client()
    assert repr(client.protocol) == "<Downstream idle>"
    client.vanish()
    assert repr(client.protocol) == "<Downstream closing>"


# -- limits


def test_the_last_request_that_a_connection_may_send_closes_it() -> None:
    """Its answer says so."""
    world = World()
    world.gateway.admission.limits = ConnectionLimits(requests=2)
    client = world.client()
    for _ in range(2):
        assert client.transport.end is None
        client.send(GET)
        world.link.say(OK)
    first, last = client.answers(b"GET", b"GET")
    assert (first.fields.get(b"connection"), last.fields[b"connection"]) == (None, b"close")
    assert client.transport.end == "close"


def test_what_was_sent_behind_the_last_request_does_not_destroy_its_answer() -> None:
    """Only our side is closed, and what comes is thrown away for a while."""
    world = World()
    world.gateway.admission.limits = ConnectionLimits(requests=1)
    client = world.client().send(GET + GET)
    world.link.say(OK)
    client.send(GET)
    assert (client.transport.end, client.transport.eof) == (None, True)
    assert (client.answer().status, world.codes) == (200, {200: 1})
    world.advance(LINGER_SECONDS + 0.1)
    assert client.transport.end == "abort"


def test_a_connection_keeps_the_limits_that_it_began_with() -> None:
    """Whatever is configured meanwhile."""
    world = World()
    client = world.client()
    world.gateway.admission.limits = ConnectionLimits(requests=1)
    client.send(GET)
    world.link.say(OK)
    assert client.transport.end is None


def test_a_client_that_takes_its_last_answer_slowly_has_its_time() -> None:
    """For as long as it takes anything; then its connection is reset, since what it has is not the whole."""
    world = World()
    client = world.client().send(GET)
    client.transport.room = 1
    client.transport.unsent = 3000
    world.link.say(OK)
    world.advance(KEEP_ALIVE_SECONDS + 0.1)
    assert client.transport.end is None
    client.transport.unsent = 2000
    world.advance(KEEP_ALIVE_SECONDS + 0.1)
    assert client.transport.end is None
    world.advance(KEEP_ALIVE_SECONDS + 0.1)
    assert client.transport.end == "reset"


def test_a_client_that_does_not_take_an_answer_that_was_the_last_is_reset() -> None:
    """A close would wait for it for good."""
    world = World()
    client = world.client().send(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    client.transport.room = 1
    client.transport.unsent = 3000
    client.transport._end = lambda how: setattr(client.transport, "end", how)  # type: ignore[method-assign]
    world.link.say(OK)
    assert client.transport.end == "close"
    world.advance(2 * KEEP_ALIVE_SECONDS + 0.2)
    assert not client.transport.socket.lingers


def test_a_client_that_closes_with_an_answer_on_its_way_out_is_not_served_any_more() -> None:
    """What it had sent ahead is nobody's."""
    world = World()
    client = world.client().send(GET)
    client.transport.room = 1
    world.link.say(OK)
    client.send(GET)
    world.link.take()
    assert client.protocol.eof_received()
    client.transport.drain()
    assert (world.link.received, client.transport.end) == (b"", "close")


def test_a_head_may_take_for_ever_where_there_is_no_limit() -> None:
    """0 is none."""
    world = World()
    world.gateway.head_timeout = 0.0
    client = world.client()
    world.advance(20)
    client.send(GET[:10])
    world.advance(20)
    world.connect(world.pod)
    client.send(GET[10:])
    world.link.say(OK)
    assert client.answer().body == b"ok"
