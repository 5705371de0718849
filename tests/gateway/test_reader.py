"""Requests from bytes: however the input is cut, what comes out is the same; and what is not valid goes no further."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BAD_REQUEST, HEAD_TIMEOUT, OVERLOADED, GatewayError
from gateway.http1 import HeadLimits
from gateway.reader import PIECE, RequestReader

HOST = b"Host: x\r\n"
LIMITS = HeadLimits()


def read(*pieces: bytes) -> RequestReader:
    """As a connection does: what is of the usual shape is taken as it is, the rest fed."""
    reader = RequestReader(LIMITS)
    taken = []
    for piece in pieces:
        incoming = reader.take(piece)
        if incoming is not None:
            taken.append(incoming)
            continue
        rest = piece
        while rest:
            rest = reader.feed(rest)
    reader.inbox.extendleft(reversed(taken))
    return reader


def seen(reader: RequestReader) -> list[Any]:
    """Everything that can be told of what was read."""
    return [
        (
            incoming.error.reason.slug
            if incoming.error
            else (incoming.head.method, incoming.head.target, incoming.head.host, incoming.head.lines),
            None if incoming.error else (b"".join(incoming.body), incoming.trailers, incoming.complete),
            incoming.error is None and incoming.head.keep_alive,
        )
        for incoming in reader.inbox
    ] + [reader.ended]


def fault(data: bytes) -> str | None:
    """The first request's fault, in words."""
    error = read(data).inbox[0].error
    return f"{error.reason.slug}: {error.detail}" if error else None


CHUNKED = b"POST /c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
PIECES = [
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"HEAD /h?q HTTP/1.1\r\n" + HOST + b"Accept: a\r\nX:\r\n\r\n",
    b"POST /p HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    CHUNKED + b"5;x=y\r\nhello\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
    b"\r\nGET http://other:80/abs HTTP/1.1\r\n" + HOST + b"\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /u HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"POST /u HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    CHUNKED + b"xyz\r\n",
    b"POST /p HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhe",
    b"G",
    b"\x00",
]


@given(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join), st.data())
def test_whole_input_and_single_bytes_give_the_same(data: bytes, how: st.DataObject) -> None:
    """Good and bad requests in any order, cut anywhere."""
    whole = seen(read(data))
    assert seen(read(*(data[at : at + 1] for at in range(len(data))))) == whole
    cuts = sorted(how.draw(st.lists(st.integers(0, len(data)), max_size=4)))
    assert seen(read(*(data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)))) == whole


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        pytest.param(
            b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "can't be present", id="CL and TE"
        ),
        pytest.param(
            b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "can't be present", id="TE and CL"
        ),
        pytest.param(b"Content-Length: 1\r\nContent-Length: 1\r\n", "Duplicate", id="two CLs"),
        pytest.param(b"Content-Length: 1, 1\r\n", "Content-Length", id="list of CLs"),
        pytest.param(b"Content-Length: +1\r\n", "Content-Length", id="signed CL"),
        pytest.param(b"Content-Length: \r\n", "Content-Length", id="empty CL"),
        pytest.param(b"Content-Length: " + b"9" * 30 + b"\r\n", "overflow", id="huge CL"),
        pytest.param(b"X: a\r\n b\r\n", "whitespace", id="obs-fold"),
        pytest.param(b"X: a\nY: b\r\n", "CR", id="bare LF"),
        pytest.param(b"X: a\rY: b\r\n", "LF", id="bare CR"),
        pytest.param(b"X : a\r\n", "token", id="space before colon"),
        pytest.param(b"X: a\x00\r\n", "value char", id="NUL"),
        pytest.param(b"X: a\x01\r\n", "value char", id="control byte"),
        pytest.param(b"Transfer-Encoding: xchunked\r\n", "other than chunked", id="xchunked"),
        pytest.param(b"Transfer-Encoding: gzip, chunked\r\n", "other than chunked", id="gzip, chunked"),
        pytest.param(b"Transfer-Encoding: chunked, gzip\r\n", "Transfer-Encoding", id="chunked not last"),
        pytest.param(
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding", id="two TEs"
        ),
        pytest.param(b"Host: y\r\n", "more than one Host", id="two Hosts"),
    ],
)
def test_a_head_that_smuggles_is_refused(request_: bytes, words: str) -> None:
    """400, and nothing after it is read."""
    told = fault(b"POST / HTTP/1.1\r\n" + HOST + request_ + b"\r\n0\r\n\r\n")
    assert told is not None
    assert told.startswith("bad_request: ")
    assert words in told


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no Host"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"),
        (b"GET ftp://x/ HTTP/1.1\r\n" + HOST + b"\r\n", "neither"),
        (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", "neither"),
        (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", "method"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI"),
        (CHUNKED + b"+1\r\na\r\n0\r\n\r\n", "chunk size"),
        (CHUNKED + b"1\na\r\n0\r\n\r\n", "chunk size"),
        (CHUNKED + b"fffffffffffffffff\r\n", "overflow"),
        (CHUNKED + b"1\r\nab\r\n0\r\n\r\n", "chunk data"),
    ],
)
def test_a_request_that_is_not_valid_is_refused(data: bytes, words: str) -> None:
    """400."""
    told = fault(data)
    assert told is not None
    assert told.startswith("bad_request: ")
    assert words in told


def test_another_version_is_505() -> None:
    """As far as the parser knows it."""
    assert (
        fault(b"GET / HTTP/2.0\r\n" + HOST + b"\r\n") == "version_not_supported: HTTP/2.0 is not spoken here"
    )


@pytest.mark.parametrize("step", [1 << 20, 4096])
def test_a_long_target_is_414(step: int) -> None:
    """Complete or not, and whatever else is wrong with the head."""
    for rest in (
        b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"",
        b" HTTP/1.1\r\nHost : x\r\n\r\n",
        b" HTTP/1.1\r\n\r\n",
    ):
        data = b"GET /" + b"a" * LIMITS.target + rest
        told = read(*(data[at : at + step] for at in range(0, len(data), step))).inbox[0].error
        assert told is not None
        assert told.reason.slug == "target_too_long"


@pytest.mark.parametrize("step", [1 << 20, 1000])
def test_a_large_head_is_431(step: int) -> None:
    """By its size, or by its fields."""
    for fields in (b"X: " + b"a" * LIMITS.size + b"\r\n", b"X: a\r\n" * (LIMITS.fields + 1)):
        data = b"GET / HTTP/1.1\r\n" + HOST + fields + b"\r\n"
        told = read(*(data[at : at + step] for at in range(0, len(data), step))).inbox[0].error
        assert told is not None
        assert told.reason.slug == "headers_too_large"


def test_a_head_that_never_ends_is_431() -> None:
    """It is not kept for ever."""
    reader = read(b"GET / HTTP/1.1\r\n" + HOST + b"X: ", *[b"a" * 1000] * 200)
    assert reader.ended
    assert reader.inbox[0].error is not None
    assert reader.inbox[0].error.reason.slug == "headers_too_large"


def test_a_body_before_a_head_does_not_count_as_head() -> None:
    """A large body and the next request's first bytes in one packet."""
    body = b"b" * (4 * LIMITS.size)
    first = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body)
    reader = read(first + body + b"GET /next", b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert [incoming.error for incoming in reader.inbox] == [None, None]


@pytest.mark.parametrize("trailers", [b"X: a\r\n" * (LIMITS.fields + 2), b"X: " + b"a" * 3 * LIMITS.size])
def test_trailers_have_bounds_as_well(trailers: bytes) -> None:
    """They are kept until the body's end."""
    data = CHUNKED + b"1\r\na\r\n0\r\n" + trailers
    reader = read(CHUNKED)
    (incoming,) = reader.inbox
    for at in range(len(CHUNKED), len(data), 1000):
        reader.feed(data[at : at + 1000])
        incoming.take()
    assert incoming.error is not None
    assert incoming.error.reason.slug == "headers_too_large"


def test_a_head_may_be_refused_from_outside() -> None:
    """When it takes too long."""
    reader = read(b"GET /slow")
    assert reader.partial
    assert repr(reader) == "<RequestReader in a head, 0 in the inbox>"
    reader.give_up(GatewayError(HEAD_TIMEOUT, "10 s"))
    assert (reader.partial, reader.ended) == (False, True)
    assert repr(reader.inbox[0]) == "<Incoming <RequestHead  /slow host=None> refused>"


def test_thousands_of_upgrade_offers_in_one_packet_are_dropped_one_by_one() -> None:
    """Not one within the other."""
    offer = b"GET /u HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    assert len(read(offer * 3000).inbox) == 3000


OFFER = b"GET /u HTTP/1.1\r\n" + HOST + b"Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\r\n"


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_nothing_behind_a_websocket_offer_is_ever_parsed(step: int) -> None:
    """It is a body without end, whatever it looks like."""
    data = PIECES[0] + OFFER + PIECES[0] * 3 + b"\x00 nonsense\r\n\r\n"
    reader = read(*(data[at : at + step] for at in range(0, len(data), step)))
    first, offer = reader.inbox
    assert (reader.offer is offer, offer.complete, reader.ended, reader.receiving) == (
        True,
        False,
        False,
        True,
    )
    assert (first.complete, offer.take()) == (True, data[len(PIECES[0] + OFFER) :])
    assert offer.head.lines[-1] == b"connection: upgrade\r\nupgrade: websocket\r\n"
    assert repr(reader) == "<RequestReader switched, 2 in the inbox>"
    reader.close()
    reader.feed(PIECES[0])
    assert len(reader.inbox) == 0


NOT_BY_THE_BOOK = {
    "POST": OFFER.replace(b"GET", b"POST"),
    "HTTP/1.0": OFFER.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "two protocols": OFFER.replace(b"WebSocket", b"websocket, h2c"),
    "two fields": OFFER.replace(b"Connection", b"Upgrade: h2c\r\nConnection"),
    "a version": OFFER.replace(b"WebSocket", b"websocket/13"),
}


@pytest.mark.parametrize("data", NOT_BY_THE_BOOK.values(), ids=NOT_BY_THE_BOOK.keys())
def test_an_offer_that_is_not_by_the_book_is_dropped_and_nothing_behind_it_is_read(data: bytes) -> None:
    """The request goes on as a plain one, and is the last: its sender may take what follows for frames."""
    reader = read(data + PIECES[0])
    (incoming,) = reader.inbox
    assert (incoming.error, incoming.complete, incoming.head.keep_alive) == (None, True, False)
    assert (reader.offer, reader.ended) == (None, True)
    assert b"pgrade" not in b"".join(incoming.head.lines)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_an_offer_with_a_body_is_dropped_and_its_body_stays_framed(framing: bytes, step: int) -> None:
    """Nothing behind the body is read: it could be in either protocol."""
    data = OFFER[:-2] + framing + PIECES[0]
    reader = read(*(data[at : at + step] for at in range(0, len(data), step)))
    (incoming,) = reader.inbox
    assert (incoming.take(), incoming.complete, incoming.head.keep_alive) == (b"abc", True, False)
    assert (reader.offer, len(reader.inbox)) == (None, 1)
    assert b"pgrade" not in b"".join(incoming.head.lines)


@pytest.mark.parametrize("line", [b"Upgrade: websocket\r\n", b"Connection: upgrade\r\n"])
def test_half_an_offer_is_none(line: bytes) -> None:
    """Both fields make one (RFC 9110, 7.8); what follows is the next request."""
    reader = read(b"GET /u HTTP/1.1\r\n" + HOST + line + b"\r\n" + PIECES[0])
    assert (reader.offer, len(reader.inbox), reader.inbox[0].complete) == (None, 2, True)


def test_a_faulty_offer_is_refused() -> None:
    """Nothing behind it is read."""
    reader = read(OFFER.replace(HOST, b"") + PIECES[0])
    (incoming,) = reader.inbox
    assert incoming.error is not None
    assert (reader.offer, reader.ended) == (None, True)


def test_it_tells_its_state() -> None:
    """In its repr."""
    reader = read(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nab")
    assert repr(reader) == "<RequestReader in a body, 1 in the inbox>"
    assert repr(reader.inbox[0]) == "<Incoming <RequestHead POST / host=b'x'> coming>"
    assert reader.inbox[0].take() == b"ab"
    reader.feed(b"cde")
    assert repr(reader) == "<RequestReader between requests, 1 in the inbox>"
    assert repr(reader.inbox[0]).endswith("complete>")
    reader.close()
    assert repr(reader) == "<RequestReader ended, 0 in the inbox>"
    reader.feed(b"GET")


def test_a_head_in_pieces_may_not_have_fields_without_end() -> None:
    """However small they are, and however much room there is."""
    reader = RequestReader(HeadLimits(1 << 20, 10, 100))
    reader.feed(b"GET / HTTP/1.1\r\n" + HOST)
    for _ in range(30):
        reader.feed(b"a: b\r\n")
    (incoming,) = reader.inbox
    assert incoming.error is not None
    assert incoming.error.reason.slug == "headers_too_large"
    assert incoming.error.detail.endswith("at most 10 are taken")


def test_requests_that_wait_in_the_inbox_stop_the_reading() -> None:
    """What is left comes back unread, so that a packet of tiny requests is not thousands of them at once."""
    reader = RequestReader(LIMITS)
    request = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    data = request * (3 * PIECE // len(request))
    rest = reader.feed(data)
    assert len(rest) == len(data) - PIECE
    assert len(reader.inbox) == PIECE // len(request)


def test_after_the_end_nothing_is_left_unread() -> None:
    """Nobody will read it."""
    reader = RequestReader(LIMITS)
    assert reader.feed(b"\0" * 3 * PIECE) == b""
    assert reader.ended


def test_giving_up_refuses_what_has_begun() -> None:
    """A head, a body, or what would come next; an earlier fault stays."""
    head, body = read(b"GET / HTT"), read(CHUNKED + b"1\r\na\r\n")
    nothing, faulty = RequestReader(LIMITS), read(CHUNKED + b"1\r\na\r\n")
    faulty.inbox[0].error = GatewayError(BAD_REQUEST, "earlier")
    for reader in (head, body, nothing, faulty):
        reader.give_up(GatewayError(OVERLOADED, "no room"))
        assert reader.ended
        assert len(reader.inbox) == 1
    assert [reader.inbox[0].error.detail for reader in (head, body, nothing, faulty)] == [  # type: ignore[union-attr]
        "no room",
        "no room",
        "no room",
        "earlier",
    ]


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n"])
def test_a_trusted_proxys_word_is_kept(begin: bytes) -> None:
    """Read in one piece or by the parser; nobody else's is."""
    line = b"X-Forwarded-For: 1.2.3.4\r\n"
    for trusted in (False, True):
        reader = RequestReader(LIMITS)
        if trusted:
            reader.trust()
        data = begin + HOST + line + b"X-Tidegate-A: b\r\n\r\n"
        incoming = reader.take(data)
        if incoming is None:
            reader.feed(data)
            incoming = reader.inbox.popleft()
        assert (line in incoming.head.lines) is trusted
        assert b"tidegate" not in b"".join(incoming.head.lines).lower()


def test_a_counted_body_is_handed_on_as_it_is() -> None:
    """To its last byte, and not one further."""
    reader = RequestReader(LIMITS)
    incoming = reader.take(b"POST /c HTTP/1.1\r\n" + HOST + b"Content-Length: 6\r\n\r\nab")
    assert incoming is not None
    assert (reader.count(b"cd"), incoming.complete) == (True, False)
    assert not reader.count(b"efGET")
    assert (reader.count(b"ef"), incoming.complete, reader.receiving) == (True, True, False)
    assert not reader.count(b"g")
    assert incoming.take() == b"ab"


def test_a_connection_field_that_names_too_much_is_refused() -> None:
    """Each of its words is looked at."""
    assert fault(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: " + b"a," * 3000 + b"a\r\n\r\n") is not None
    assert fault(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: " + b"a," * 1000 + b"a\r\n\r\n") is None


def test_trailers_that_connection_names_are_looked_up_not_reckoned_anew() -> None:
    """The words were taken apart once, with the head."""
    reader = read(
        CHUNKED.replace(HOST, HOST + b"Connection: x-a, x-b\r\n") + b"0\r\nX-A: 1\r\nX-C: 1\r\n\r\n"
    )
    incoming = reader.inbox[0]
    assert incoming.trailers == [b"X-C: 1\r\n"]
    assert incoming.head.named is incoming.head.named
