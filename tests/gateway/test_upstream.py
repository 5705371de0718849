"""The pod's side on mock transports: what a pod says, what is made of it, and the pool."""

import errno
import ssl
from typing import Any

import pytest

from gateway.http1 import POD_LIMITS
from gateway.pool import IDLE_SECONDS, MOST_IDLE, ConnectionPool
from gateway.tls import Trust, load_trust
from tests.fakes import Client, World

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def pool_of(world: World) -> ConnectionPool:
    pool: ConnectionPool = world.endpoint(world.pod).pool
    return pool


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", id="two CLs"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", id="CL and TE"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", id="gzip"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", id="bare LF"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nzz", id="upgrade"),
        pytest.param(b"HTTP/1.1 101 Switching\r\n\r\n", id="101"),
        pytest.param(b"HTTP/1.1 000 Nothing\r\n\r\n", id="000"),
        pytest.param(b"HTTP/1.1 42 Short\r\n\r\n", id="42"),
    ],
)
def test_an_answer_that_makes_no_sense_is_502(reply: bytes) -> None:
    """Nothing of it reaches the client, and the connection is dropped."""
    world = World()
    client = world.client().send(GET)
    world.link.say(reply)
    assert (client.answer().status, client.answer().interims) == (502, [])
    assert world.reasons == {"upstream_invalid": 1}
    assert world.link.transport.end == "abort"
    assert pool_of(world).idle == []


@pytest.mark.parametrize(
    "more",
    [
        b"HTTP/1.1 200 OK\r\nX-Evil: 1\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n",
        b"garbage",
    ],
)
def test_what_follows_an_answer_is_no_part_of_it(more: bytes) -> None:
    """Neither body nor trailers; and the connection is of no further use."""
    for reply in (OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"):
        world = World()
        client = world.client().send(GET)
        world.link.say(reply + more)
        assert (client.answer().body, client.answer().trailers) == (b"ok", {})
        assert world.link.transport.end == "close"
        assert pool_of(world).idle == []


def test_a_body_that_comes_in_pieces_is_counted_to_its_end() -> None:
    """Piece by piece to the client as it comes; what follows is no part of it."""
    for surplus, kept in ((b"", True), (OK, False)):
        world = World()
        client = world.client().send(GET)
        world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", b"ab")
        assert (client.answer().body, client.answer().complete) == (b"ab", False)
        world.link.say(b"cd", b"ef" + surplus)
        assert (client.answer().body, client.answer().complete) == (b"abcdef", True)
        assert (len(pool_of(world).idle) == 1) is kept


def test_a_body_that_ends_before_its_length_is_never_taken_for_a_whole_one() -> None:
    """The client's connection is reset, and the next answer starts afresh."""
    world = World()
    client = world.client().send(GET)
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
    world.link.hang_up()
    assert client.transport.end == "reset"
    assert world.reasons == {"upstream_reset": 1}
    world.probe()
    world.connect(world.pod)
    client = world.client().send(GET)
    world.link.say(OK)
    assert client.answer().body == b"ok"


def test_a_body_after_an_answer_to_head_is_not_forwarded() -> None:
    """It should not be there; who knows where the next answer begins?"""
    world = World()
    client = world.client().send(HEAD)
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    assert client.answer(b"HEAD").complete
    assert world.link.transport.end == "close"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_connection_is_kept_when_the_pod_means_to(line: bytes, kept: bool, method: bytes) -> None:
    """HTTP/1.0 closes unless it says otherwise, HTTP/1.1 keeps."""
    world = World()
    client = world.client().send(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
    world.link.say(line + b"Content-Length: 2\r\n\r\n" + (b"ok" if method == b"GET" else b""))
    assert client.answer(method).status == 200
    assert (len(pool_of(world).idle), world.link.transport.end) == ((1, None) if kept else (0, "close"))


def test_a_pod_that_talks_unasked_is_not_trusted() -> None:
    """Its words could be taken for an answer to somebody else."""
    world = World()
    world.link.say(OK)
    assert world.link.transport.end == "abort"
    assert pool_of(world).take(world.loop.now) is None


def test_interim_answers_come_one_by_one_and_only_the_last_ends() -> None:
    """102, 103, then 200."""
    world = World()
    client = world.client().send(GET)
    world.link.say(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK)
    assert (client.answer().interims, client.answer().status) == ([102, 103], 200)


def test_an_answer_before_the_upload_is_done_ends_the_connection() -> None:
    """At once: the pod may never read the rest."""
    world = World()
    world.client().send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
    world.link.say(OK)
    assert world.link.transport.end == "abort"


def test_an_answer_before_the_pod_took_the_upload_ends_the_connection() -> None:
    """What is still to be written would stand before the next request."""
    world = World()
    client = world.client()
    world.link.transport.room = 1
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
    world.link.say(OK)
    assert client.answer(b"POST").status == 200
    assert world.link.transport.end == "abort"


def test_a_pool_gives_the_last_that_came_back_and_lets_the_others_age() -> None:
    """And closes what is too old."""
    world = World(idle=3)
    pool = pool_of(world)
    first, second, third = (link.protocol for link in world.pod.connections)
    assert pool.take(world.loop.now) is third
    world.loop.now += 1
    pool.put(third)
    world.loop.now += IDLE_SECONDS - 0.5
    world.gateway.reap()
    world.loop.run()
    assert pool.idle == [third]
    assert first.transport.lost
    assert second.transport.lost
    world.loop.now += 1
    assert pool.take(world.loop.now) is None
    assert third.transport.end == "close"


def test_a_connection_that_is_lost_while_idle_leaves_the_pool() -> None:
    """At once."""
    world = World(idle=2)
    world.link.hang_up()
    assert repr(pool_of(world)) == "<ConnectionPool 127.0.0.1:9001 idle=1>"


def test_a_pool_keeps_so_many_and_no_more() -> None:
    """The rest is closed."""
    world = World(idle=MOST_IDLE + 1)
    assert len(pool_of(world).idle) == MOST_IDLE
    assert world.link.transport.end == "close"


def test_a_closed_pool_closes_what_comes_back() -> None:
    """Its Endpoint is gone; what is busy finishes."""
    world = World(idle=2)
    client = world.client().send(GET)
    busy = world.link
    world.pods.clear()
    world.publish()
    assert repr(busy.protocol.pool) == "<ConnectionPool 127.0.0.1:9001 idle=0 closed>"
    assert repr(busy.protocol) == "<Upstream 127.0.0.1:9001 busy>"
    busy.say(OK)
    assert client.answer().status == 200
    assert busy.transport.end == "close"


def test_an_ipv6_address_stands_in_brackets() -> None:
    """As an authority must."""
    world = World()
    pool: Any = ConnectionPool("::1", 80, world.gateway.loop, world.gateway.lookout)
    assert (pool.name, pool.authority) == ("[::1]:80", b"[::1]:80")


def test_a_pause_is_asked_for_once_and_ends_with_the_answer() -> None:
    """The connection goes back to the pool reading."""
    world = World()
    client = world.client().send(GET)
    client.transport.room = 1
    world.link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
    assert world.link.transport.calls == ["pause"]
    world.link.protocol.pause()
    world.link.say(b"done")
    assert world.link.transport.calls == ["pause", "resume"]
    assert repr(world.link.protocol).endswith("idle>")


def test_a_connection_that_is_closing_is_not_paused_or_resumed() -> None:
    """There is nothing to read."""
    world = World()
    protocol = world.link.protocol
    protocol.pause()
    world.link.transport.end = "close"
    protocol.resume()
    protocol.pause()
    assert world.link.transport.calls == ["pause"]


def test_an_idle_connection_may_block_and_drain() -> None:
    """Nobody needs to know."""
    world = World()
    world.link.protocol.pause_writing()
    world.link.protocol.resume_writing()
    assert pool_of(world).take(world.loop.now) is world.link.protocol


# -- bounds


def endless(*pieces: bytes) -> None:
    """These are refused, and nothing more is kept of them."""
    world = World()
    client = world.client().send(GET)
    world.link.say(*pieces)
    assert (client.answer().status, world.link.transport.end) == (502, "abort")
    assert b"that are no body, or more than 1000 fields" in client.answer().body


def test_a_head_with_too_many_fields_is_502() -> None:
    """However short they are."""
    fields = b"".join(b"a%d: b\r\n" % number for number in range(POD_LIMITS.fields + 1))
    endless(b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 2\r\n\r\nok")


def test_a_head_that_is_too_large_is_502() -> None:
    """Whole, or one that never ends."""
    large = b"a: " + b"b" * (POD_LIMITS.size // 2) + b"\r\n"
    endless(b"HTTP/1.1 200 OK\r\n" + large * 2 + b"\r\n")
    endless(b"HTTP/1.1 200 OK\r\n", large, large)


def test_interim_answers_without_end_are_502() -> None:
    """They are no body either."""
    world = World()
    client = world.client().send(GET)
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 65536 + b"\r\n\r\n"
    world.link.say(*[interim] * 5)
    assert world.link.transport.end == "abort"
    assert (client.answer().status, client.answer().interims) == (502, [103] * 4)


@pytest.mark.parametrize(
    "more",
    [
        [b"0\r\n" + b"a: b\r\n" * (POD_LIMITS.fields + 2)],
        [b"0\r\na: "] + [b"b" * 65536] * 5,
        [b"1;"] + [b"x" * 65536] * 5,
    ],
)
def test_trailers_and_what_stands_between_chunks_are_bounded(more: list[bytes]) -> None:
    """The answer has begun, so that it is broken off."""
    world = World()
    client = world.client().send(GET)
    world.link.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", *more)
    assert (client.transport.end, world.link.transport.end) == ("reset", "abort")
    assert world.reasons == {"upstream_invalid": 1}


def test_a_body_may_be_of_any_size() -> None:
    """And several answers on one connection, each with a large head, are no endless one."""
    world = World()
    for _ in range(3):
        client = world.client().send(GET)
        head = (
            b"HTTP/1.1 200 OK\r\na: "
            + b"b" * (POD_LIMITS.size // 2)
            + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        world.link.say(head, *[b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 6, b"0\r\n\r\n")
        assert len(client.answer().body) == 6 * 65536


# -- a pod that ends while it is not read

COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
PARSED = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"


def stuck(*pieces: bytes, in_kernel: float, monkeypatch: pytest.MonkeyPatch) -> tuple[World, Client]:
    """A pod that is not read since its client reads nothing, with so many bytes in the kernel."""
    monkeypatch.setattr("gateway.upstream.unread", lambda _transport: in_kernel)
    world = World()
    client = world.client().send(GET)
    client.transport.room = 1
    world.link.say(*pieces)
    assert world.link.protocol.paused
    return world, client


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("head", [COUNTED, PARSED])
@pytest.mark.parametrize("pieces", [[b""], [b"abc"], [b"a", b"b", b"c"]])
def test_a_pod_that_ends_too_early_is_noticed_while_it_is_not_read(
    head: bytes, pieces: list[bytes], reset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is still to come can be no whole body, whoever reckoned its length: this or the parser."""
    got = sum(map(len, pieces))
    first, *more = pieces
    world, client = stuck(head + first, *more, in_kernel=10 - got - 1, monkeypatch=monkeypatch)
    world.link.protocol.on_end(reset=reset)
    world.loop.run()
    assert (client.transport.end, world.link.transport.end) == ("reset", "abort")
    assert world.reasons == {"upstream_reset": 1}
    world.assert_at_rest()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("head", [COUNTED, PARSED])
@pytest.mark.parametrize("pieces", [[b""], [b"abc"], [b"a", b"b", b"c"]])
def test_an_answer_that_is_whole_in_the_kernel_is_still_read(
    head: bytes, pieces: list[bytes], reset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod has done its part."""
    got = sum(map(len, pieces))
    first, *more = pieces
    world, client = stuck(head + first, *more, in_kernel=10 - got, monkeypatch=monkeypatch)
    world.link.protocol.on_end(reset=reset)
    client.transport.drain()
    world.link.say(b"x" * (10 - got))
    assert (len(client.answer().body), client.answer().complete) == (10, True)


def test_the_reckoning_begins_anew_with_each_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser's count of one answer is nothing to the next."""
    monkeypatch.setattr("gateway.upstream.unread", lambda _transport: 8)
    world = World()
    client = world.client()
    client.send(GET)
    world.link.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlong\r\n0\r\n\r\n")
    client.send(GET)
    client.transport.room = 1
    world.link.say(COUNTED + b"ab")
    world.link.protocol.on_end(reset=False)
    assert (client.transport.end, world.link.transport.end) == (None, None)


@pytest.mark.parametrize(("reset", "end"), [(False, None), (True, "abort")])
def test_without_a_length_only_a_reset_is_an_early_end(
    reset: bool, end: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a FIN what waits may be the whole rest: its end will tell."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
    world, _ = stuck(chunked, in_kernel=5, monkeypatch=monkeypatch)
    world.link.protocol.on_end(reset=reset)
    assert world.link.transport.end == end


def test_the_end_of_a_pod_that_nobody_waits_for_is_nothing() -> None:
    """Its Exchange is over."""
    world = World()
    world.link.protocol.on_end(reset=True)
    assert (world.link.transport.end, world.link.protocol.paused) == (None, False)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (ssl.SSLError(1, "x"), (ConnectionError, None, "the TLS handshake failed: ")),
        (ConnectionResetError(), (ConnectionError, None, "it closed the connection during")),
        (OSError(errno.EMFILE, "Too many open files"), (OSError, errno.EMFILE, "")),
    ],
)
async def test_only_the_pods_part_in_a_failed_tls_connection_gets_words(
    failure: OSError, told: tuple[type[OSError], int | None, str]
) -> None:
    """What the machine lacks is no fault of the pod's, and whoever dials must see that."""

    class Failing:
        async def create_connection(self, *_: object, **_options: object) -> None:
            raise failure

    trust = Trust("nobody", None, load_trust(None, verify=False))
    pool = ConnectionPool("127.0.0.1", 443, Failing(), World().gateway.lookout, trust)  # type: ignore[arg-type]
    with pytest.raises(told[0]) as caught:
        await pool.dial(1.0)
    assert caught.value.errno == told[1]
    assert told[2] in str(caught.value)
