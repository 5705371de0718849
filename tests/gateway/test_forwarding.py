"""What a valid request becomes at its pod, as h11 reads it there, however the client's bytes are cut.

Exactly one request, the same body, and nothing that was meant for this hop alone. What is refused is in `test_smuggling`.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.routing import Route, RouteTable
from gateway.splits import Split
from tests.fakes import World, read_request
from tests.wire import OK, Fields, Got, send, ways

HOST = b"Host: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 5\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
CL5 = [(b"content-length", b"5")]
TE = [(b"transfer-encoding", b"chunked")]
POD = b"127.0.0.1:9001"


@dataclass
class At:
    """What is expected at the pod."""

    method: bytes = b"POST"
    target: bytes = b"/p"
    host: bytes = b"x"
    framing: Fields = field(default_factory=list)
    plain: Fields = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)


def seen(got: Got) -> At:
    assert got.whole
    host = got.value(b"host") or b""
    return At(got.method, got.target, host, got.framing, got.plain, got.body, got.trailers)


def post(
    fields: bytes = b"", body: bytes = b"", line: bytes = b"POST /p HTTP/1.1", host: bytes = HOST
) -> bytes:
    return line + b"\r\n" + host + fields + b"\r\n" + body


def get(line: bytes = b"GET /p HTTP/1.1", host: bytes = HOST) -> bytes:
    return post(line=line, host=host)


def chunked(body: bytes, fields: bytes = b"") -> bytes:
    return post(CHUNKED + fields, body)


def sized(fields: bytes) -> bytes:
    return post(fields + LENGTH, b"hello")


def to(target: bytes, host: bytes = b"x") -> At:
    return At(b"GET", target, host)


def gap(reason: str) -> Any:
    """Marks what the gateway does not do yet."""
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)


FIVE = At(framing=CL5, body=b"hello")
CHUNKS = At(framing=TE, body=b"hello")
FRAMING = {
    "no body": (post(), At()),
    "length": (sized(b""), FIVE),
    "length 0": (post(b"Content-Length: 0\r\n"), At(framing=[(b"content-length", b"0")])),
    "length with zeros in front": (post(b"Content-Length: 0005\r\n", b"hello"), FIVE),
    "length with spaces around": (post(b"Content-Length: \t 5 \t\r\n", b"hello"), FIVE),
    "length without a space": (post(b"Content-Length:5\r\n", b"hello"), FIVE),
    "length, upper case": (post(b"CONTENT-LENGTH: 5\r\n", b"hello"), FIVE),
    "length in a GET": (post(LENGTH, b"hello", b"GET /p HTTP/1.1"), At(b"GET", framing=CL5, body=b"hello")),
    "length in HTTP/1.0": (post(LENGTH, b"hello", b"POST /p HTTP/1.0"), FIVE),
    "a body that looks like a request": (
        post(b"Content-Length: 18\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        At(framing=[(b"content-length", b"18")], body=b"GET / HTTP/1.1\r\n\r\n"),
    ),
    "a body of NULs and line ends": (post(LENGTH, b"\x00\n\r\n\x00"), At(framing=CL5, body=b"\x00\n\r\n\x00")),
    "chunked": (chunked(HELLO), CHUNKS),
    "chunked, upper case": (post(b"TRANSFER-ENCODING: CHUNKED\r\n", HELLO), CHUNKS),
    "chunked, mixed case": (post(b"transfer-Encoding: ChUnKeD\r\n", HELLO), CHUNKS),
    "chunked, tab in front": (post(b"Transfer-Encoding:\tchunked\r\n", HELLO), CHUNKS),
    "chunked, no space": (post(b"Transfer-Encoding:chunked\r\n", HELLO), CHUNKS),
    "chunked, nothing": (chunked(b"0\r\n\r\n"), At(framing=TE)),
    "chunked, zeros in front": (chunked(b"0005\r\nhello\r\n000\r\n\r\n"), CHUNKS),
    "chunked, hex in both cases": (
        chunked(b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n"),
        At(framing=TE, body=b"01234567890123456789a"),
    ),
    "chunked, several": (chunked(b"1\r\nh\r\n3\r\nell\r\n1\r\no\r\n0\r\n\r\n"), CHUNKS),
    "chunked, data that looks like the end": (chunked(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"), At(framing=TE, body=b"0\r\n\r\n")),
    "chunked in a GET": (post(CHUNKED, HELLO, b"GET /p HTTP/1.1"), At(b"GET", framing=TE, body=b"hello")),
    "extension": (chunked(b"5;a\r\nhello\r\n0\r\n\r\n"), CHUNKS),
    "extension with a value": (chunked(b"5;a=b;c=d\r\nhello\r\n0;e=f\r\n\r\n"), CHUNKS),
    "extension, quoted": (chunked(b'5;a="b;c"\r\nhello\r\n0\r\n\r\n'), CHUNKS),
    "extension, quoted pair": (chunked(b'5;a="\\"0"\r\nhello\r\n0\r\n\r\n'), CHUNKS),
    "trailer": (chunked(b"5\r\nhello\r\n0\r\nX-T: 1\r\nx-u:2\r\n\r\n"), At(framing=TE, body=b"hello", trailers=[(b"x-t", b"1"), (b"x-u", b"2")])),
    "trailer without a body": (chunked(b"0\r\nX-T: 1\r\n\r\n"), At(framing=TE, trailers=[(b"x-t", b"1")])),
    "trailers of this hop": (
        chunked(
            b"5\r\nhello\r\n0\r\nHost: evil\r\nConnection: x-t\r\nUpgrade: h2c\r\nTE: trailers\r\nTrailer: a\r\nKeep-Alive: a\r\n"
            b"Proxy-Authorization: a\r\nX-T: 1\r\n\r\n"
        ),
        At(framing=TE, body=b"hello", trailers=[(b"x-t", b"1")]),
    ),
    "trailers that are ours": (
        chunked(
            b"5\r\nhello\r\n0\r\nX-Request-Id: a\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=a\r\nX-Real-IP: a\r\n"
            b"X-Tidegate-Backend: a\r\nX-T: 1\r\n\r\n"
        ),
        At(framing=TE, body=b"hello", trailers=[(b"x-t", b"1")]),
    ),
}  # fmt: skip
CONNECTION = {
    "close": (sized(b"Connection: close\r\n"), FIVE),
    "keep-alive": (sized(b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n"), FIVE),
    "a field": (sized(b"Connection: X-A\r\nX-A: 1\r\nX-B: 2\r\n"), At(framing=CL5, body=b"hello", plain=[(b"x-b", b"2")])),
    "a field that comes before": (sized(b"X-A: 1\r\nConnection: x-a\r\n"), FIVE),
    "a field that comes twice": (sized(b"X-A: 1\r\nConnection: x-a\r\nx-A: 2\r\n"), FIVE),
    "several": (sized(b"Connection: close , x-a,,\tX-B\r\nX-A: 1\r\nX-B: 2\r\n"), FIVE),
    "two fields": (sized(b"Connection: x-a\r\nX-A: 1\r\nConnection: x-b\r\nX-B: 2\r\n"), FIVE),
    "empty": (sized(b"Connection:\r\n"), FIVE),
    "nonsense": (sized(b'Connection: ;;="\r\n'), FIVE),
    "Content-Length": (sized(b"Connection: content-length\r\n"), FIVE),
    "Transfer-Encoding": (chunked(HELLO, b"Connection: transfer-encoding\r\n"), CHUNKS),
    "Host and Transfer-Encoding": (sized(b"connection: host, transfer-encoding\r\n"), FIVE),
    "Connection": (sized(b"Connection: connection\r\n"), FIVE),
    "what we add": (sized(b"Connection: x-forwarded-for, via, x-request-id, x-forwarded-host\r\n"), FIVE),
    "hop by hop": (
        sized(
            b"Keep-Alive: a\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: a\r\nProxy-Authenticate: a\r\nTE: trailers\r\n"
            b"Trailer: x-t\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\nX-B: 2\r\n"
        ),
        At(framing=CL5, body=b"hello", plain=[(b"x-b", b"2")]),
    ),
    "our own control fields": (sized(b"X-Tidegate-Backend: a\r\nx-tidegate-: a\r\nX-TIDEGATE-ANY: a\r\n"), FIVE),
}  # fmt: skip
FIELDS = {
    "order, case and repetition": (
        sized(b"Cookie: a=1\r\nB: 1\r\nCOOKIE: b=2\r\n"),
        At(framing=CL5, body=b"hello", plain=[(b"cookie", b"a=1"), (b"b", b"1"), (b"cookie", b"b=2")]),
    ),
    "space around a value": (sized(b"A: \t 1 \t \r\nB:2\r\n"), At(framing=CL5, body=b"hello", plain=[(b"a", b"1"), (b"b", b"2")])),
    "empty values": (sized(b"A:\r\nB: \r\n"), At(framing=CL5, body=b"hello", plain=[(b"a", b""), (b"b", b"")])),
    "any visible and high bytes": (
        sized(b"A: " + bytes(range(33, 127)) + b"\t " + bytes(range(128, 256)) + b"\r\n"),
        At(framing=CL5, body=b"hello", plain=[(b"a", bytes(range(33, 127)) + b"\t " + bytes(range(128, 256)))]),
    ),
    "any bytes of a token in a name": (
        sized(b"!#$%&'*+-.^_`|~09azAZ: 1\r\n"), At(framing=CL5, body=b"hello", plain=[(b"!#$%&'*+-.^_`|~09azaz", b"1")])
    ),
    "a colon in a value": (sized(b"X:Y: Z:\r\n"), At(framing=CL5, body=b"hello", plain=[(b"x", b"Y: Z:")])),
    "names that look like framing": (
        sized(b"Content-Length-X: 9\r\nX-Content-Length: 9\r\nTransfer-Encodin: chunked\r\n"),
        At(framing=CL5, body=b"hello", plain=[(b"content-length-x", b"9"), (b"x-content-length", b"9"), (b"transfer-encodin", b"chunked")]),
    ),
    "a hundred": (
        post(b"".join(b"X-%d: 1\r\n" % n for n in range(99))), At(plain=[(b"x-%d" % n, b"1") for n in range(99)])
    ),
}  # fmt: skip
EXPECT = {
    "100-continue": (sized(b"Expect: 100-continue\r\n"), At(framing=CL5, body=b"hello", plain=[(b"expect", b"100-continue")])),
    "in upper case": (sized(b"Expect: 100-CONTINUE\r\n"), At(framing=CL5, body=b"hello", plain=[(b"expect", b"100-continue")])),
    "unknown": (sized(b"Expect: bar\r\n"), FIVE),
    "empty": (sized(b"Expect:\r\n"), FIVE),
    "almost": (sized(b"Expect: 100-continue;a=b\r\n"), FIVE),
    "without a body": (post(b"Expect: bar\r\n"), At()),
}  # fmt: skip
TARGETS = {
    "root": (get(b"GET / HTTP/1.1"), to(b"/")),
    "query": (get(b"GET /p?a=b&c HTTP/1.1"), to(b"/p?a=b&c")),
    "query alone": (get(b"GET /? HTTP/1.1"), to(b"/?")),
    "two slashes": (get(b"GET //y/p HTTP/1.1"), to(b"//y/p")),
    "dots are not resolved": (get(b"GET /a/../p/./ HTTP/1.1"), to(b"/a/../p/./")),
    "percent signs are not decoded": (get(b"GET /%2e%2E/%00/%zz HTTP/1.1"), to(b"/%2e%2E/%00/%zz")),
    "bytes that URIs should not have": (get(b'GET /<>"{}|\\^` HTTP/1.1'), to(b'/<>"{}|\\^`')),
    "a URL in the path": (get(b"GET /http://y/p HTTP/1.1"), to(b"/http://y/p")),
    "a URL in the query": (get(b"GET /p?http://y/%23? HTTP/1.1"), to(b"/p?http://y/%23?")),
    "absolute": (get(b"GET http://x/p HTTP/1.1"), to(b"/p")),
    "absolute with another host": (get(b"GET http://y:8080/p?q HTTP/1.1"), to(b"/p?q", b"y:8080")),
    "absolute, https": (get(b"GET https://y/p HTTP/1.1"), to(b"/p", b"y")),
    "absolute, upper case": (get(b"GET HTTP://Y/p HTTP/1.1"), to(b"/p", b"Y")),
    "absolute without a path": (get(b"GET http://y HTTP/1.1"), to(b"/", b"y")),
    "absolute with a query alone": (get(b"GET http://y?q/r HTTP/1.1"), to(b"/?q/r", b"y")),
    "absolute, IPv6": (get(b"GET http://[::1]:80/p HTTP/1.1"), to(b"/p", b"[::1]:80")),
    "absolute in HTTP/1.0": (get(b"GET http://y/p HTTP/1.0", b""), to(b"/p", b"y")),
    "an empty line before": (b"\r\n" + get(), to(b"/p")),
    "two spaces after the method": (get(b"GET  /p HTTP/1.1"), to(b"/p")),
    "two spaces before the version": (get(b"GET /p  HTTP/1.1"), to(b"/p")),
    "HTTP/1.0": (get(b"GET /p HTTP/1.0"), to(b"/p")),
    "HTTP/1.0 without a Host": (get(b"GET /p HTTP/1.0", b""), to(b"/p", POD)),
    "empty Host": (get(host=b"Host:\r\n"), to(b"/p", POD)),
    "Host with a port": (get(host=b"Host: x:80\r\n"), to(b"/p", b"x:80")),
    "Host with an empty port": (get(host=b"Host: x:\r\n"), to(b"/p", b"x:")),
    "Host in upper case": (get(host=b"HOST: X\r\n"), to(b"/p", b"X")),
    "Host, IPv4": (get(host=b"Host: 127.0.0.1:80\r\n"), to(b"/p", b"127.0.0.1:80")),
    "Host, IPv6": (get(host=b"Host: [2001:db8::1]:80\r\n"), to(b"/p", b"[2001:db8::1]:80")),
    "Host with all that a name may have": (get(host=b"Host: a-b_c.d~e!$&'()*+;=%41\r\n"), to(b"/p", b"a-b_c.d~e!$&'()*+;=%41")),
    "Host with a dot at the end": (get(host=b"Host: x.\r\n"), to(b"/p", b"x.")),
    "Host last": (get(host=b"A: 1\r\nHost: x\r\n"), At(b"GET", plain=[(b"a", b"1")])),
    "Host with space around": (get(host=b"Host:  \t x \t\r\n"), to(b"/p")),
}  # fmt: skip
ODD = {
    "Expect in HTTP/1.0": (post(b"Expect: 100-continue\r\n" + LENGTH, b"hello", b"POST /p HTTP/1.0"), FIVE),
    "a trailer that Connection names": (
        chunked(b"5\r\nhello\r\n0\r\nX-A: 1\r\nX-T: 1\r\n\r\n", b"Connection: x-a\r\n"),
        At(framing=TE, body=b"hello", trailers=[(b"x-t", b"1")]),
    ),
    "Transfer-Encoding, space after": (post(b"Transfer-Encoding: chunked \r\n", HELLO), CHUNKS),
    "Expect, space after": (
        sized(b"Expect: 100-continue \r\n"), At(framing=CL5, body=b"hello", plain=[(b"expect", b"100-continue")])
    ),
}  # fmt: skip
METHODS = {
    method.decode(): (get(method + b" /p HTTP/1.1"), At(method))
    for method in (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND", b"M-SEARCH", b"QUERY")
}  # fmt: skip
NOT_YET = {
    "Transfer-Encoding, tab after": (
        post(b"Transfer-Encoding: chunked\t\r\n", HELLO), CHUNKS, gap("RFC 9112 5: the tab is no part of the value; the parser refuses it")
    ),
}  # fmt: skip


def table(**groups: dict[str, tuple[bytes, At]]) -> list[Any]:
    return [
        pytest.param(*case, id=f"{group}: {name}")
        for group, cases in groups.items()
        for name, case in cases.items()
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        *table(
            framing=FRAMING,
            connection=CONNECTION,
            field=FIELDS,
            expect=EXPECT,
            target=TARGETS,
            method=METHODS,
            odd=ODD,
        ),
        *(pytest.param(*case, id=f"gap: {name}", marks=mark) for name, (*case, mark) in NOT_YET.items()),
    ],
)
def test_a_valid_request_comes_to_its_pod_once_and_as_it_was(data: bytes, expected: At) -> None:
    """Whole, byte by byte, or in two: the same request at the pod and one answer."""
    for pieces in ways(data):
        outcome = send(*pieces, methods=(expected.method,))
        assert [seen(got) for got in outcome.requests] == [expected]
        assert [answer.status for answer in outcome.answers] == [200]


def test_a_request_to_head_is_head_at_the_pod() -> None:
    """Its answer has no body."""
    for pieces in ways(get(b"HEAD /p HTTP/1.1")):
        outcome = send(*pieces, methods=(b"HEAD",), answer=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        assert [seen(got) for got in outcome.requests] == [At(b"HEAD")]
        assert outcome.answers[0].fields[b"content-length"] == b"9"


@pytest.mark.parametrize(
    "fields",
    [
        b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 6.6.6.6\r\n",
        b"x-forwarded-for:6.6.6.6\r\nForwarded: for=6.6.6.6;host=evil\r\n",
        b"X-FORWARDED-FOR: 6.6.6.6\r\nX-FORWARDED-FOR: 6.6.6.6\r\n",
    ],
)  # fmt: skip
def test_what_a_client_says_of_itself_is_replaced(fields: bytes) -> None:
    """Its address, its host and its protocol are as the gateway sees them, once."""
    for pieces in ways(get(host=HOST + fields)):
        (got,) = send(*pieces).requests
        assert got.value(b"x-forwarded-for") == b"10.1.2.3"
        assert got.value(b"x-forwarded-host") == b"x"
        assert got.value(b"x-forwarded-proto") == b"http"
        assert not any(b"6.6.6.6" in value or b"evil" in value for _, value in got.ours + got.fields)


@pytest.mark.parametrize(
    ("requests", "kept"),
    [
        pytest.param([get(), get()], 2, id="HTTP/1.1"),
        pytest.param([get(host=HOST + b"Connection: close\r\n"), get()], 1, id="close"),
        pytest.param([get(host=HOST + b"Connection: x, Close\r\n"), get()], 1, id="close in a list"),
        pytest.param([get(b"GET /p HTTP/1.0"), get()], 1, id="HTTP/1.0"),
        pytest.param(
            [get(b"GET /p HTTP/1.0", HOST + b"Connection: keep-alive\r\n"), get()],
            2,
            id="HTTP/1.0, kept alive",
        ),
        pytest.param([sized(b"") + b"\r\n", get()], 2, id="an empty line after a body"),
        pytest.param(
            [sized(b""), chunked(HELLO), get(), chunked(b"0\r\nX: y\r\n\r\n"), get()], 5, id="five kinds"
        ),
    ],
)
def test_pipelined_requests_come_one_by_one(requests: list[bytes], kept: int) -> None:
    """Until one says that it is the last."""
    for pieces in ways(b"".join(requests)):
        outcome = send(*pieces, methods=tuple(request.split(b" ")[0].strip() for request in requests))
        assert [got.whole for got in outcome.requests] == [True] * kept
        assert [answer.status for answer in outcome.answers] == [200] * kept
        assert outcome.closed == (kept < len(requests))


@pytest.mark.parametrize(
    "host",
    [
        b"Host: x", b"Host:x", b"host: X:80", b"Host: x.",
        b"Host: x ",
        b"Host: x\t",
    ],
)  # fmt: skip
def test_a_host_is_matched_however_it_is_written(host: bytes) -> None:
    """Case, port, final dot and the space around it do not count."""
    for pieces in ways(get(host=host + b"\r\n")):
        world = World()
        split = Split({"iris": world.ref}, {"iris": 1})
        route = Route("x", split, hosts=(b"x",))
        world.gateway.table = RouteTable((route,))
        client = world.client().send(*pieces)
        assert world.link.received
        assert read_request(world.link.received)[3]
        world.link.say(OK)
        assert client.answer().status == 200
