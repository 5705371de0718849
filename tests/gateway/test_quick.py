"""What is read in one piece is read as the parser reads it; whatever is unusual is left to the parser."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import quick
from gateway.http1 import KEEP, HeadLimits, RequestHead
from gateway.quick import REMEMBERED, LineTable, StatusTable
from gateway.reader import RequestReader
from tests.fakes import World

LIMITS = HeadLimits()
LINES = st.sampled_from(
    [
        b"Host: x", b"host:x", b"Host: y", b"Host:", b"Accept: */*", b"X-A:  b\t", b"x-a:", b"Content-Length: 3", b"content-length:03",
        b"Content-Length: +3", b"Content-Length: 3, 3", b"Content-Length: 99999999999999999999", b"Connection: keep-alive",
        b"Connection: close", b"Connection: x-a", b"Transfer-Encoding: chunked", b"Upgrade: h2c", b"Expect: 100-continue", b"TE: trailers",
        b"X-Request-Id: mine", b"X-Request-Id: " + b"i" * 200, b"X-Tidegate-Tag: a", b"X-Forwarded-For: 1.2.3.4", b"X A: b", b": b", b"nocolon",
        b" folded", b"X-A: \x00", b"X-A: \xe9", b"X-A\x80: b", b"X-A: a\rb", b"X-A : b", b"",
    ]
)  # fmt: skip
STARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1", b"POST /v1/models/iris:predict?a=b HTTP/1.1", b"HEAD /h HTTP/1.1", b"GET / HTTP/1.0", b"GET / HTTP/1.2", b"get / HTTP/1.1",
        b"GET  / HTTP/1.1", b"GET /a b HTTP/1.1", b"GET http://a/ HTTP/1.1", b"OPTIONS * HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"GET /\xe9 HTTP/1.1",
        b"GET /\x7f HTTP/1.1", b"GET / http/1.1", b"GET /", b"PURGE / HTTP/1.1", b"GET /#a HTTP/1.1", b"",
    ]
)  # fmt: skip
BODIES = st.sampled_from([b"", b"abc", b"ab", b"abcd", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
HEADS = st.tuples(STARTS, st.lists(LINES, max_size=5), BODIES).map(
    lambda parts: b"\r\n".join((parts[0], *parts[1], b"", parts[2]))
)


TOLD = (
    "chunked", "connection", "content_length", "expect_continue", "fault", "host", "http10", "keep_alive", "lines",
    "method", "request_id", "target", "upgrade",
)  # fmt: skip


def told(head: RequestHead) -> dict[str, Any]:
    values = {name: getattr(head, name) for name in TOLD}
    named: dict[bytes, list[bytes]] = {}
    for line in filter(None, head.lines):
        name, _, value = line.partition(b": ")
        named.setdefault(name, []).append(value)
    return values | {"lines": named}


@given(HEADS)
@example(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nAccept: */*\r\n\r\nabc")
def test_what_is_read_in_one_piece_the_parser_reads_likewise(data: bytes) -> None:
    """Every field of the head, and the body; and the parser finds no fault with it."""
    found = quick.request(data, LIMITS, quick.REQUEST_LINES)
    if found is None:
        return
    head, begin = found
    reader = RequestReader(LIMITS)
    reader.feed(data)
    (incoming,) = reader.inbox
    assert incoming.error is None
    assert told(head) == told(incoming.head)
    assert data[begin:] == b"".join(incoming.body)


ANSWER_LINES = st.sampled_from(
    [
        b"Server: n", b"Content-Length: 3", b"Content-Length: 2", b"content-length: 0", b"Connection: keep-alive", b"Connection: close", b"X-Request-Id: p",
        b"Transfer-Encoding: chunked", b"Keep-Alive: timeout=5", b"Set-Cookie: a=b", b"Set-Cookie: c=d ", b"X: \x01", b"Bad line",
    ]
)  # fmt: skip
ANSWER_STARTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 500 ", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 N", b"HTTP/1.1 100 C",
        b"HTTP/1.1 200", b"HTTP/1.0 200 OK", b"HTTP/1.1 2x0 OK", b"HTTP/1.1 999 OK", b"HTTP/1.1 200 \x01", b"ICY 200 OK",
    ]
)  # fmt: skip


@given(
    st.tuples(
        ANSWER_STARTS, st.lists(ANSWER_LINES, max_size=5), st.sampled_from([b"", b"ab", b"abc", b"abcd"])
    ),
    st.booleans(),
)
def test_an_answer_goes_through_alike_whole_and_in_two_pieces(
    parts: tuple[bytes, list[bytes], bytes], second: bool
) -> None:
    """In two pieces it is the parser's; what the client gets is the same, and so is what becomes of the connection."""
    data = b"\r\n".join((parts[0], *parts[1], b"", parts[2]))
    seen = []
    for pieces in ([data], [data[:10], data[10:]]):
        world = World(idle=2)
        client = world.client().send(b"GET /a HTTP/1.1\r\nHost: x\r\nX-Request-Id: me\r\n\r\n")
        link = world.link
        link.say(*pieces)
        if second and not client.transport.is_closing():
            client.send(b"GET /b HTTP/1.1\r\nHost: x\r\nX-Request-Id: me\r\n\r\n")
        links = [(each.received, each.transport.end) for each in world.pod.connections]
        seen.append((client.received, client.transport.end, links, world.codes))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET ",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET /" + b"a" * LIMITS.target + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * LIMITS.fields + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * LIMITS.size + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n\r\n",
    ],
    ids=["another behind it", "no end", "a long target", "many fields", "a large head", "no host"],
)
def test_the_unusual_is_left_to_the_parser(data: bytes) -> None:
    """Also what may be refused: the words are the parser's and the reader's."""
    assert quick.request(data, LIMITS, quick.REQUEST_LINES) is None


def test_lines_are_remembered_up_to_a_bound() -> None:
    """A client that never repeats itself empties the table; long lines never enter it."""
    table = LineTable({b"a": KEEP})
    table[b"a:" + b"b" * 600]
    assert len(table) == 0
    for number in range(REMEMBERED + 10):
        assert table[b"a:%d" % number] == b"a: %d\r\n" % number
    assert len(table) == 10


def test_status_lines_are_remembered_up_to_a_bound() -> None:
    """The same for what pods say."""
    table = StatusTable()
    for number in range(REMEMBERED + 10):
        assert table[b"HTTP/1.1 200 %d" % number] == 200
    assert len(table) == REMEMBERED
