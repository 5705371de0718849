"""What a client may not send (RFC 9112): each with its refusal, however the bytes are cut, and none of it for a pod to see.

A case is followed by a whole request that would be smuggled if the two sides disagreed on where the first one ends.
What is valid, and what becomes of it, is in `test_forwarding`.
"""

from typing import Any

import pytest

from tests.wire import Outcome, send, ways

HOST = b"Host: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
TAIL = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
NO_BODY = b"0\r\n\r\n"


def post(fields: bytes, body: bytes = b"", line: bytes = b"POST /p HTTP/1.1", host: bytes = HOST) -> bytes:
    return line + b"\r\n" + host + fields + b"\r\n" + body


def get(line: bytes, host: bytes = HOST) -> bytes:
    return post(b"", line=line, host=host)


def hosted(value: bytes) -> bytes:
    return post(b"", line=b"GET /p HTTP/1.1", host=b"Host: " + value + b"\r\n")


def length(value: bytes) -> bytes:
    return post(b"Content-Length: " + value + b"\r\n", b"hello")


def coding(value: bytes) -> bytes:
    return post(b"Transfer-Encoding: " + value + b"\r\n", NO_BODY)


def named(name: bytes) -> bytes:
    return post(name + b": 5\r\n", b"hello")


def valued(value: bytes) -> bytes:
    return post(b"X: " + value + b"\r\n")


def gap(reason: str) -> Any:
    """Marks what the gateway does not refuse yet."""
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)


OTHER_PROTOCOL = gap("the parser also speaks RTSP and ICE; RFC 9112 2.3 knows HTTP alone")
STRAY_LINE_END = gap("the parser skips any CR and LF before a request line; RFC 9112 2.2 allows CRLF")


def assert_refused(outcome: Outcome, statuses: tuple[int, ...]) -> None:
    (answer,) = outcome.answers
    assert answer.complete
    assert answer.status in statuses
    assert answer.fields[b"connection"] == b"close"
    assert outcome.closed


BOTH_LENGTHS = {
    "both, length first": post(b"Content-Length: 5\r\n" + CHUNKED, NO_BODY),
    "both, coding first": post(CHUNKED + b"Content-Length: 5\r\n", NO_BODY),
    "both, length 0": post(CHUNKED + b"Content-Length: 0\r\n", NO_BODY),
    "both, other fields between": post(
        b"content-length: 4\r\nA: b\r\ntransfer-encoding: chunked\r\n", NO_BODY
    ),
    "both, unknown coding": post(b"Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n", b"hello"),
    "both, identity": post(b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n", b"hello"),
    "two lengths, equal": post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"),
    "two lengths, different": post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello"),
    "two lengths, spelled differently": post(b"Content-Length: 5\r\ncontent-length: 0\r\n", b"hello"),
    "two lengths, apart": post(b"Content-Length: 0\r\nA: b\r\nContent-Length: 44\r\n"),
}
LENGTHS = {
    "plus": length(b"+5"), "minus": length(b"-5"), "minus zero": length(b"-0"), "hex": length(b"0x5"), "octal": length(b"0o5"),
    "space inside": length(b"5 5"), "tab inside": length(b"5\t5"), "list, equal": length(b"5, 5"), "list, tight": length(b"5,5"),
    "list, different": length(b"5, 6"), "comma after": length(b"5,"), "empty": length(b""), "spaces only": length(b"  "), "point": length(b"5.0"),
    "exponent": length(b"1e1"), "underscore": length(b"5_0"), "semicolon": length(b"5;"), "quoted": length(b'"5"'), "letters": length(b"five"),
    "VT before": length(b"\x0b5"), "FF after": length(b"5\x0c"), "NUL after": length(b"5\x00"), "NBSP before": length(b"\xa05"),
    "superscript": length(b"\xb2"), "Arabic digit": length(b"\xd9\xa5"), "2**64": length(b"18446744073709551616"),
    "2**64 + 5": length(b"18446744073709551621"), "thirty digits": length(b"9" * 30), "folded": length(b"\r\n 5"),
    "folded digits": length(b"1\r\n 0"),
}  # fmt: skip
CODINGS = {
    "xchunked": coding(b"xchunked"), "chunkedx": coding(b"chunkedx"), "identity": coding(b"identity"), "gzip": coding(b"gzip"),
    "chunked, identity": coding(b"chunked, identity"), "identity, chunked": coding(b"identity, chunked"), "gzip, chunked": coding(b"gzip, chunked"),
    "chunked, gzip": coding(b"chunked, gzip"), "chunked, chunked": coding(b"chunked, chunked"), "comma before": coding(b",chunked"),
    "comma after": coding(b"chunked,"), "parameter": coding(b"chunked;q=1"), "quoted": coding(b'"chunked"'), "empty": coding(b""),
    "VT before": coding(b"\x0bchunked"), "VT after": coding(b"chunked\x0b"), "NUL after": coding(b"chunked\x00"), "space inside": coding(b"chunk ed"),
    "NBSP": coding(b"\xa0chunked"), "K of Kelvin": coding("chun\u212aed".encode()), "folded": coding(b"\r\n chunked"),
    "two fields": post(CHUNKED + CHUNKED, NO_BODY), "two fields, chunked first": post(CHUNKED + b"Transfer-Encoding: identity\r\n", NO_BODY),
    "two fields, chunked last": post(b"Transfer-Encoding: identity\r\n" + CHUNKED, NO_BODY),
    "in HTTP/1.0": post(CHUNKED, NO_BODY, line=b"POST /p HTTP/1.0"),
    "in HTTP/1.0, kept alive": post(CHUNKED + b"Connection: keep-alive\r\n", NO_BODY, line=b"POST /p HTTP/1.0"),
    "in HTTP/1.0, with a length": post(CHUNKED + b"Content-Length: 5\r\n", b"hello", line=b"POST /p HTTP/1.0"),
}  # fmt: skip
NAMES = {
    "length, space before colon": named(b"Content-Length "), "length, tab before colon": named(b"Content-Length\t"),
    "length, space in front": named(b" Content-Length"), "length, tab in front": named(b"\tContent-Length"),
    "length, NUL": named(b"Content-Length\x00"), "length, VT": named(b"Content-\x0bLength"), "length, CR": named(b"Content-Length\r"),
    "length, NBSP": named(b"Content-Length\xa0"), "coding, space before colon": post(b"Transfer-Encoding : chunked\r\n", NO_BODY),
    "coding, tab before colon": post(b"Transfer-Encoding\t: chunked\r\n", NO_BODY),
    "coding, space in front": post(b" Transfer-Encoding: chunked\r\n", NO_BODY), "coding, NUL": post(b"Transfer-Encoding\x00: chunked\r\n", NO_BODY),
    "empty": named(b""), "space only": named(b" "), "no colon": post(b"X\r\n"), "no colon, last": post(b"Xabc\r\n\r\n"),
    "space inside": named(b"X Y"), "NUL": named(b"X\x00Y"), "control byte": named(b"X\x01"), "DEL": named(b"X\x7f"), "non-ASCII": named(b"X\xe9"),
    "parenthesis": named(b"X("), "quotes": named(b'"X"'), "brackets": named(b"X[]"), "braces": named(b"X{}"), "slash": named(b"X/Y"), "at": named(b"X@Y"),
    "comma": named(b"X,Y"), "semicolon": named(b"X;Y"), "equals": named(b"X=Y"), "question mark": named(b"X?"), "backslash": named(b"X\\"),
    "less than": named(b"<X>"),
    "space in front of Host": get(b"GET /p HTTP/1.1", b" Host: x\r\n"), "space before Host's colon": get(b"GET /p HTTP/1.1", b"Host : x\r\n"),
    "space in front of the first field": get(b"GET /p HTTP/1.1", b" X: y\r\nHost: x\r\n"),
}  # fmt: skip
VALUES = {
    "NUL": valued(b"a\x00b"), "NUL, last": valued(b"a\x00"), "SOH": valued(b"a\x01b"), "BS": valued(b"\x08"), "VT": valued(b"a\x0bb"),
    "FF": valued(b"a\x0cb"), "ESC": valued(b"\x1b[2J"), "US": valued(b"\x1f"), "DEL": valued(b"a\x7fb"),
    "folded with a space": valued(b"a\r\n b"), "folded with a tab": valued(b"a\r\n\tb"), "folded, empty": valued(b"a\r\n "),
    "folded Host": get(b"GET /p HTTP/1.1", b"Host: x\r\n y\r\n"),
}  # fmt: skip
LINE_ENDS = {
    "LF after the request line": b"GET /p HTTP/1.1\nHost: x\r\n\r\n", "CR after the request line": b"GET /p HTTP/1.1\rHost: x\r\n\r\n",
    "CR CRLF after the request line": b"GET /p HTTP/1.1\r\r\nHost: x\r\n\r\n", "LF after a field": valued(b"a\nY: b"), "CR after a field": valued(b"a\rY: b"),
    "CR CRLF after a field": valued(b"a\r"), "LF CR after a field": valued(b"a\n\r"), "LF in front of a field": post(b"\nX: a\r\n"),
    "CR in front of a field": post(b"\rX: a\r\n"), "LF at the head's end": b"GET /p HTTP/1.1\r\nHost: x\r\n\n",
    "CR at the head's end": b"GET /p HTTP/1.1\r\nHost: x\r\n\rX", "LF LF at the head's end": b"GET /p HTTP/1.1\r\nHost: x\n\n",
    "CR CRLF at the head's end": b"GET /p HTTP/1.1\r\nHost: x\r\n\r\r\n", "LF everywhere": b"GET /p HTTP/1.1\nHost: x\n\n",
    "CR everywhere": b"GET /p HTTP/1.1\rHost: x\r\r", "LF in the method": get(b"G\nET /p HTTP/1.1"), "LF in the target": get(b"GET /p\n HTTP/1.1"),
    "CR in the target": get(b"GET /p\r HTTP/1.1"), "CRLF in the target": get(b"GET /p\r\n HTTP/1.1"), "LF in the version": get(b"GET /p HTTP/1.\n1"),
}  # fmt: skip
REQUEST_LINES = {
    "NUL in the method": get(b"GE\x00T /p HTTP/1.1"), "control byte in the method": get(b"GE\x01T /p HTTP/1.1"), "non-ASCII method": get(b"G\xcb\x9aT /p HTTP/1.1"),
    "lower-case method": get(b"get /p HTTP/1.1"), "no method": get(b" /p HTTP/1.1"), "colon after the method": get(b"GET: /p HTTP/1.1"),
    "tab after the method": get(b"GET\t/p HTTP/1.1"), "space in front": get(b" GET /p HTTP/1.1"), "no target": get(b"GET HTTP/1.1"),
    "empty target": get(b"GET  HTTP/1.1"), "space in the target": get(b"GET /p q HTTP/1.1"), "tab in the target": get(b"GET /p\tq HTTP/1.1"),
    "VT in the target": get(b"GET /p\x0bq HTTP/1.1"), "NUL in the target": get(b"GET /p\x00 HTTP/1.1"), "control byte in the target": get(b"GET /p\x01 HTTP/1.1"),
    "DEL in the target": get(b"GET /p\x7f HTTP/1.1"), "UTF-8 in the target": get("GET /é HTTP/1.1".encode()), "0xff in the target": get(b"GET /\xff HTTP/1.1"),
    "UTF-8 in the query": get("GET /p?é HTTP/1.1".encode()), "NUL in the query": get(b"GET /p?\x00 HTTP/1.1"), "target without a slash": get(b"GET p HTTP/1.1"),
    "asterisk, not OPTIONS": get(b"GET * HTTP/1.1"), "asterisk and more": get(b"OPTIONS *x HTTP/1.1"), "another scheme": get(b"GET ftp://x/p HTTP/1.1"),
    "scheme alone": get(b"GET http: HTTP/1.1"), "absolute with a space": get(b"GET http://x y/p HTTP/1.1"), "absolute with a backslash": get(b"GET http://x\\y/p HTTP/1.1"),
    "absolute without a Host field": get(b"GET http://x/p HTTP/1.1", b""), "absolute with two Host fields": get(b"GET http://x/p HTTP/1.1", HOST + HOST),
    "fragment after the host": get(b"GET http://x#f HTTP/1.1"),
    "space after the version": get(b"GET /p HTTP/1.1 "), "tab before the version": get(b"GET /p\tHTTP/1.1"), "words after the version": get(b"GET /p HTTP/1.1 x"),
    "lower-case version": get(b"GET /p http/1.1"), "HTTPS as version": get(b"GET /p HTTPS/1.1"), "no dot": get(b"GET /p HTTP/1"), "no minor": get(b"GET /p HTTP/1."),
    "comma for dot": get(b"GET /p HTTP/1,1"), "two digits": get(b"GET /p HTTP/1.10"), "leading zero": get(b"GET /p HTTP/01.1"), "plus": get(b"GET /p HTTP/+1.1"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a SOCKS hello": b"\x05\x01\x00", "another protocol's greeting": b"SSH-2.0-OpenSSH_9.9\r\n", "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "PROXY protocol": b"PROXY TCP4 10.0.0.1 10.0.0.2 5 6\r\n" + get(b"GET /p HTTP/1.1"), "an unknown method": get(b"FOO /p HTTP/1.1"),
}  # fmt: skip
HOSTS = {
    "none": get(b"GET /p HTTP/1.1", b""), "none, with others": get(b"GET /p HTTP/1.1", b"X-Forwarded-Host: x\r\nA: b\r\n"),
    "two, equal": get(b"GET /p HTTP/1.1", HOST + HOST), "two, different": get(b"GET /p HTTP/1.1", HOST + b"Host: y\r\n"),
    "two, spelled differently": get(b"GET /p HTTP/1.1", HOST + b"hOST: y\r\n"), "two, one empty": get(b"GET /p HTTP/1.1", b"Host:\r\n" + HOST),
    "two, in HTTP/1.0": get(b"GET /p HTTP/1.0", HOST + b"Host: y\r\n"), "NUL": hosted(b"x\x00"), "control byte": hosted(b"x\x01"), "DEL": hosted(b"x\x7f"),
}  # fmt: skip
VERSIONS = {
    "HTTP/0.9, bare": b"GET /p\r\n",
    "HTTP/0.9, with a head": b"GET /p\r\nHost: x\r\n\r\n",
    "HTTP/0.9, named": get(b"GET /p HTTP/0.9"),
    "HTTP/1.2": get(b"GET /p HTTP/1.2"),
    "HTTP/1.9": get(b"GET /p HTTP/1.9"),
    "HTTP/2.0": get(b"GET /p HTTP/2.0"),
    "HTTP/3.0": get(b"GET /p HTTP/3.0"),
    "HTTP/9.9": get(b"GET /p HTTP/9.9"),
    "HTTP/0.0": get(b"GET /p HTTP/0.0"),
}
TARGETS_AND_HOSTS = {
    "length 2**63": length(b"9223372036854775808"),
    "length 2**64 - 1": length(b"18446744073709551615"),
    "fragment": get(b"GET /p#f HTTP/1.1"),
    "fragment that hides a path": get(b"GET /p#/../admin HTTP/1.1"),
    "fragment in the query": get(b"GET /p?q#f HTTP/1.1"),
    "absolute without a host": get(b"GET http:///p HTTP/1.1"),
    "absolute with nothing": get(b"GET http:// HTTP/1.1"),
    "absolute with a port alone": get(b"GET http://:80/p HTTP/1.1"),
    "absolute with a user": get(b"GET http://u@x/p HTTP/1.1"),
    "absolute with a password": get(b"GET http://u:p@x/p HTTP/1.1"),
    "absolute with a list": get(b"GET http://x,y/p HTTP/1.1"),
    "absolute with a word for port": get(b"GET http://x:y/p HTTP/1.1"),
    "Host with a space": hosted(b"x y"),
    "Host with a tab": hosted(b"x\ty"),
    "Host with a comma": hosted(b"x,y"),
    "Host, a list": hosted(b"x, y"),
    "Host with a slash": hosted(b"x/y"),
    "Host with a backslash": hosted(b"x\\y"),
    "Host with a user": hosted(b"u@x"),
    "Host with a question mark": hosted(b"x?y"),
    "Host with a fragment": hosted(b"x#y"),
    "Host, a URL": hosted(b"http://x"),
    "Host with quotes": hosted(b'"x"'),
    "Host with angle brackets": hosted(b"<x>"),
    "Host with a bar": hosted(b"x|y"),
    "Host with a caret": hosted(b"x^y"),
    "Host with braces": hosted(b"{x}"),
    "Host with a bare percent sign": hosted(b"x%y"),
    "Host in UTF-8": hosted("é".encode()),
    "Host with a word for port": hosted(b"x:y"),
    "Host with two ports": hosted(b"x:80:80"),
    "Host with a signed port": hosted(b"x:+80"),
    "Host with a port alone": hosted(b":80"),
    "Host, bracket not closed": hosted(b"[::1"),
    "Host, bracket not opened": hosted(b"::1]"),
    "Host, IPv6 without brackets": hosted(b"::1"),
    "Host, more after the bracket": hosted(b"[::1]x"),
}
NOT_YET = {
    "LF before the request line": (b"\n" + get(b"GET /p HTTP/1.1"), STRAY_LINE_END),
    "CR before the request line": (b"\r" + get(b"GET /p HTTP/1.1"), STRAY_LINE_END),
    "CR CRLF before the request line": (b"\r\r\n" + get(b"GET /p HTTP/1.1"), STRAY_LINE_END),
    "RTSP": (get(b"DESCRIBE /p RTSP/1.0"), OTHER_PROTOCOL),
    "RTSP, method of HTTP": (get(b"GET /p RTSP/1.1"), OTHER_PROTOCOL),
    "ICE": (get(b"SOURCE /p ICE/1.0"), OTHER_PROTOCOL),
}


def table(**groups: dict[str, bytes]) -> list[Any]:
    return [
        pytest.param(data, id=f"{group}: {name}")
        for group, cases in groups.items()
        for name, data in cases.items()
    ]


@pytest.mark.parametrize(
    "data",
    [
        *table(
            framing=BOTH_LENGTHS, length=LENGTHS, coding=CODINGS, name=NAMES, value=VALUES, line_end=LINE_ENDS,
            request_line=REQUEST_LINES, host=HOSTS, place=TARGETS_AND_HOSTS,
        ),
        *(pytest.param(data, id=f"gap: {name}", marks=mark) for name, (data, mark) in NOT_YET.items()),
    ],
)  # fmt: skip
def test_a_head_that_is_not_valid_is_refused_and_no_pod_hears_of_it(data: bytes) -> None:
    """400, a closed connection, and nothing of what follows."""
    for pieces in ways(data, TAIL):
        outcome = send(*pieces)
        assert outcome.raw == b""
        assert_refused(outcome, (400,))


@pytest.mark.parametrize("data", table(version=VERSIONS))
def test_another_version_is_refused_and_no_pod_hears_of_it(data: bytes) -> None:
    """505 where the parser can tell, else 400."""
    for pieces in ways(data, TAIL):
        outcome = send(*pieces)
        assert outcome.raw == b""
        assert_refused(outcome, (400, 505))


@pytest.mark.parametrize("then", [b"", b"\x00\x01\x02", b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize(
    "fields", [b"", b"Content-Length: 5\r\n", CHUNKED], ids=["plain", "length", "chunked"]
)
def test_connect_is_405_and_what_was_meant_for_the_tunnel_goes_nowhere(fields: bytes, then: bytes) -> None:
    """It closes as well: who knows what the client means by the bytes that follow."""
    for pieces in ways(post(fields, line=b"CONNECT x:443 HTTP/1.1") + then):
        outcome = send(*pieces)
        assert outcome.raw == b""
        assert_refused(outcome, (405,))


CHUNKS = {
    "plus": b"+5\r\nhello\r\n0\r\n\r\n", "minus": b"-5\r\nhello\r\n0\r\n\r\n", "0x": b"0x5\r\nhello\r\n0\r\n\r\n", "space in front": b" 5\r\nhello\r\n0\r\n\r\n",
    "space after": b"5 \r\nhello\r\n0\r\n\r\n", "tab after": b"5\t\r\nhello\r\n0\r\n\r\n", "space inside": b"5 5\r\nhello\r\n0\r\n\r\n", "underscore": b"5_0\r\nhello\r\n0\r\n\r\n",
    "empty": b"\r\nhello\r\n0\r\n\r\n", "extension alone": b";a\r\nhello\r\n0\r\n\r\n", "not hex": b"g\r\nhello\r\n0\r\n\r\n", "point": b"5.0\r\nhello\r\n0\r\n\r\n",
    "NUL": b"5\x00\r\nhello\r\n0\r\n\r\n", "Arabic digit": b"\xd9\xa5\r\nhello\r\n0\r\n\r\n", "full-width digit": b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n",
    "2**64 + 5": b"10000000000000005\r\nhello\r\n0\r\n\r\n", "twenty digits": b"ffffffffffffffffffff\r\nhello", "two commas": b"5,5\r\nhello\r\n0\r\n\r\n",
    "LF after the size": b"5\nhello\r\n0\r\n\r\n", "CR after the size": b"5\rhello\r\n0\r\n\r\n", "CR CRLF after the size": b"5\r\r\nhello\r\n0\r\n\r\n",
    "LF after the data": b"5\r\nhello\n0\r\n\r\n", "CR after the data": b"5\r\nhello\r0\r\n\r\n", "nothing after the data": b"5\r\nhello0\r\n\r\n",
    "data longer than told": b"5\r\nhello!\r\n0\r\n\r\n", "data shorter than told": b"6\r\nhello\r\n0\r\n\r\n",
    "LF in an extension": b"5;a\nhello\r\n0\r\n\r\n", "CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n", "NUL in an extension": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    "control byte in an extension": b"5;\x01\r\nhello\r\n0\r\n\r\n", "CRLF in a quoted extension": b'5;a="b\r\nhello\r\n0\r\n\r\n', "LF in a quoted extension": b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    "LF after the last size": b"5\r\nhello\r\n0\n\r\n", "LF at the end": b"5\r\nhello\r\n0\r\n\n", "CR at the end": b"5\r\nhello\r\n0\r\n\rX",
    "LF LF at the end": b"5\r\nhello\r\n0\n\n",
}  # fmt: skip
TRAILERS = {
    "folded": b"X: a\r\n b\r\n", "LF after a field": b"X: a\nY: b\r\n", "CR after a field": b"X: a\rY: b\r\n", "space before the colon": b"X : a\r\n",
    "empty name": b": a\r\n", "no colon": b"abc\r\n", "NUL": b"X: a\x00\r\n", "control byte": b"X: a\x01\r\n", "space in front": b" X: a\r\n", "name with a space": b"X Y: a\r\n",
    "a Content-Length": b"Content-Length: 44\r\n", "a Transfer-Encoding": b"Transfer-Encoding: chunked\r\n", "a request": TAIL[:-2],
}  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        *table(chunk=CHUNKS),
        *table(
            trailer={name: b"5\r\nhello\r\n0\r\n" + fields + b"\r\n" for name, fields in TRAILERS.items()}
        ),
    ],
)
def test_a_chunked_body_that_is_not_valid_is_refused_and_no_pod_takes_it_for_whole(body: bytes) -> None:
    """400, a closed connection on both sides, and nothing of what follows."""
    for pieces in ways(post(CHUNKED, body), TAIL):
        outcome = send(*pieces)
        assert [request.whole for request in outcome.requests] in ([], [False])
        assert outcome.cut_off
        assert b"smuggled" not in outcome.raw
        assert_refused(outcome, (400,))


@pytest.mark.parametrize("in_one", [False, True], ids=["in pieces", "in one"])
@pytest.mark.parametrize("place", [b"5;", b"0\r\nX: ", b"0;"], ids=["extension", "trailer", "last extension"])
def test_overlong_framing_of_a_body_is_431(place: bytes, in_one: bool) -> None:
    """Extensions and trailers have a bound."""
    end = b"\r\nhello\r\n0\r\n\r\n" if place == b"5;" else b"\r\n\r\n"
    pieces = [post(CHUNKED), place, *[b"X" * 4096] * 17, end + TAIL]
    outcome = send(b"".join(pieces)) if in_one else send(*pieces)
    assert not any(request.whole for request in outcome.requests)
    assert outcome.cut_off
    assert b"smuggled" not in outcome.raw
    assert_refused(outcome, (431,))


@pytest.mark.parametrize(
    "bad",
    [
        post(b"Content-Length: 5\r\n" + CHUNKED, NO_BODY),
        get(b"GET /p HTTP/1.1", b"Host : x\r\n"),
        b"\x00",
        post(CHUNKED, b"zz\r\n"),
    ],
    ids=["both lengths", "space before the colon", "noise", "chunk"],
)
@pytest.mark.parametrize("good", [1, 3])
def test_good_requests_before_a_bad_one_are_answered_and_none_after_it(good: int, bad: bytes) -> None:
    """In order; the last answer is the refusal."""
    before = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(good))
    for pieces in ways(before + bad, TAIL):
        outcome = send(*pieces, methods=(b"GET",) * (good + 1))
        assert [answer.status for answer in outcome.answers] == [200] * good + [400]
        assert [request.target for request in outcome.requests if request.whole] == [
            b"/%d" % n for n in range(good)
        ]
        assert b"smuggled" not in outcome.raw
        assert outcome.closed


UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "unknown": b"Connection: upgrade\r\nUpgrade: foo/2\r\n",
    "two fields": b"Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: foo\r\n",
    "not named by Connection": b"Upgrade: h2c\r\n",
}
BODIES = {"length": b"Content-Length: %d\r\n\r\n%b", "chunked": CHUNKED + b"\r\n%x\r\n%b\r\n0\r\n\r\n"}


@pytest.mark.parametrize("offer", UPGRADES.values(), ids=UPGRADES)
@pytest.mark.parametrize("framed", BODIES.values(), ids=BODIES)
def test_the_body_of_an_upgrade_offer_stays_a_body(offer: bytes, framed: bytes) -> None:
    """It looks like a request, and so does what comes after it; the offer itself is dropped."""
    head = b"POST /p HTTP/1.1\r\n" + HOST + offer
    body = b"GET /inside HTTP/1.1\r\nHost: x\r\n\r\n"
    for pieces in ways(head + framed % (len(body), body), TAIL):
        outcome = send(*pieces, methods=(b"POST", b"GET"))
        assert [(request.target, request.whole) for request in outcome.requests][:1] == [(b"/p", True)]
        assert outcome.requests[0].body == body
        assert outcome.requests[0].plain == []
        assert b"/inside" not in [request.target for request in outcome.requests]


@pytest.mark.parametrize("offer", UPGRADES.values(), ids=UPGRADES)
def test_an_upgrade_offer_without_a_body_is_a_request_like_any_other(offer: bytes) -> None:
    """Nobody switched, so that what follows is HTTP/1.1."""
    for pieces in ways(b"GET /p HTTP/1.1\r\n" + HOST + offer + b"\r\n", TAIL):
        outcome = send(*pieces, methods=(b"GET", b"GET"))
        assert [(r.target, r.plain, r.body) for r in outcome.requests] == [
            (b"/p", [], b""),
            (b"/smuggled", [], b""),
        ]
        assert [answer.status for answer in outcome.answers] == [200, 200]


AFTER_AN_OFFER = {
    "another offer with a body": b"POST /q HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: a\r\nContent-Length: 38\r\n\r\n" + TAIL,
    "another offer with chunks": (
        b"POST /q HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: a\r\nTransfer-Encoding: chunked\r\n\r\n26\r\n" + TAIL + b"\r\n0\r\n\r\n"
    ),
    "another offer without a body": b"GET /q HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n" + TAIL,
    "CONNECT": b"CONNECT y:1 HTTP/1.1\r\nHost: y\r\n\r\n" + TAIL,
}  # fmt: skip


@pytest.mark.parametrize("then", AFTER_AN_OFFER.values(), ids=AFTER_AN_OFFER)
def test_what_follows_an_upgrade_offer_with_a_body_is_no_part_of_it(then: bytes) -> None:
    """Its length is 38, as is that of the request which would be smuggled."""
    first = (
        b"POST /p HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: a\r\nContent-Length: 38\r\n\r\n"
        + b"x" * 38
    )
    for pieces in ways(first, then):
        outcome = send(*pieces, methods=(b"POST",))
        assert [(request.target, request.body) for request in outcome.requests] == [(b"/p", b"x" * 38)]
        assert [answer.status for answer in outcome.answers] == [200]
        assert b"smuggled" not in outcome.raw
        assert outcome.closed
