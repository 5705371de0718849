"""What pods may say (RFC 9112), and what they may not: each with what its client gets, however the bytes are cut.

A fault before the head went on is 502, one after it resets the client; the pod's connection is not used again, and nothing of what it
said gets into the next answer. What is valid, however odd, goes through.
"""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.backend import Limits
from gateway.terms import Timeouts
from tests.fakes import Answer, World, read_answers
from tests.wire import OK, bytewise, ways

LINE = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 5\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
SECRET = b"HTTP/1.1 200 OK\r\nX-Evil: 1\r\nContent-Length: 4\r\n\r\nevil"


def says(fields: bytes = b"", body: bytes = b"", line: bytes = LINE) -> bytes:
    return line + fields + b"\r\n" + body


def sized(fields: bytes = b"", line: bytes = LINE) -> bytes:
    return says(fields + LENGTH, b"hello", line)


def chunked(body: bytes, line: bytes = LINE) -> bytes:
    return says(CHUNKED, body, line)


def length(value: bytes) -> bytes:
    return says(b"Content-Length: " + value + b"\r\n", b"hello")


def coding(value: bytes) -> bytes:
    return says(b"Transfer-Encoding: " + value + b"\r\n", HELLO)


def line(line: bytes) -> bytes:
    return sized(line=line + b"\r\n")


def gap(reason: str) -> Any:
    """Marks what the gateway does not do yet."""
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)


@dataclass
class Heard:
    """What came of a pod's words."""

    answers: list[Answer]
    raw: bytes
    reset: bool
    reused: bool
    """The next request went out on the same connection."""
    reasons: dict[str, int]


def hear(
    pieces: list[bytes],
    *,
    method: bytes = b"GET",
    old: bool = False,
    end: str | None = None,
    next_: bool = True,
) -> Heard:
    """Let a pod answer a request with `pieces`, and hang up if `end` is FIN or RST; then let another client ask.

    Its answer must be its own.
    """
    world = World(limits=Limits(concurrency=2), idle=2)
    version = b"1.0" if old else b"1.1"
    client = world.client().send(method + b" /first HTTP/" + version + b"\r\nHost: x\r\n\r\n")
    link = world.link
    assert link.take().startswith(method)
    link.say(*pieces)
    if end is not None and not link.transport.is_closing():
        link.hang_up(ConnectionResetError() if end == "RST" else None)
    reset, reasons = client.transport.end == "reset", dict(world.reasons)
    answers = [] if reset else read_answers(client.received, (method,), closed=client.transport.is_closing())
    reused = False
    world.probe()
    if next_:
        other = world.client().send(b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n")
        (busy,) = [each for each in world.pod.connections if each.take()]
        reused = busy is link
        busy.say(OK)
        assert (other.answer().status, other.answer().body, other.answer().interims) == (200, b"ok", [])
        assert sum(world.codes.values()) == 2
        world.assert_at_rest()
    return Heard(answers, client.received, reset, reused, reasons)


def assert_invalid(heard: Heard, *, head_only: bool = True) -> None:
    assert heard.reasons == {"upstream_invalid": 1}
    assert not heard.reused
    if heard.reset:
        assert not head_only
        return
    (answer,) = heard.answers
    assert (answer.status, answer.complete) == (502, True)
    assert not answer.body or json.loads(answer.body)["reason"] == "upstream_invalid"
    assert b"X-Evil" not in heard.raw


FRAMING = {
    "both, length first": says(LENGTH + CHUNKED, HELLO), "both, coding first": says(CHUNKED + LENGTH, HELLO),
    "both, length 0": says(b"Content-Length: 0\r\n" + CHUNKED, HELLO), "two lengths, equal": says(LENGTH + LENGTH, b"hello"),
    "two lengths, different": says(LENGTH + b"Content-Length: 6\r\n", b"hello"),
    "length with a plus": length(b"+5"), "length with a minus": length(b"-5"), "length in hex": length(b"0x5"), "length with a space inside": length(b"5 5"),
    "length, a list": length(b"5, 5"), "length, empty": length(b""), "length, words": length(b"five"), "length past 2**64": length(b"18446744073709551621"),
    "length with NUL": length(b"5\x00"), "xchunked": coding(b"xchunked"), "gzip": coding(b"gzip"), "gzip, chunked": coding(b"gzip, chunked"),
    "chunked, gzip": coding(b"chunked, gzip"), "identity": coding(b"identity"), "identity, chunked": coding(b"identity, chunked"),
    "chunked, chunked": coding(b"chunked, chunked"), "coding, empty": coding(b""), "coding, space before the colon": says(b"Transfer-Encoding : chunked\r\n", HELLO),
    "length, space before the colon": says(b"Content-Length : 5\r\n", b"hello"), "coding, folded": coding(b"\r\n chunked"), "length, folded": length(b"\r\n 5"),
}  # fmt: skip
FRAMING |= {"two codings": says(CHUNKED + CHUNKED, HELLO), "length 2**63": length(b"9223372036854775808")}
FIELDS = {
    "folded": sized(b"X-Evil: a\r\n b\r\n"), "folded with a tab": sized(b"X-Evil: a\r\n\tb\r\n"), "LF after a field": sized(b"X-Evil: a\nY: b\r\n"),
    "CR after a field": sized(b"X-Evil: a\rY: b\r\n"), "LF at the head's end": LINE + LENGTH + b"\nhello", "LF everywhere": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "CR at the head's end": LINE + LENGTH + b"\rhello", "NUL": sized(b"X-Evil: a\x00\r\n"), "control byte": sized(b"X-Evil: \x01\r\n"), "DEL": sized(b"X-Evil: \x7f\r\n"),
    "space before the colon": sized(b"X-Evil : a\r\n"), "empty name": sized(b": a\r\n"), "no colon": sized(b"abc\r\n"), "name with a space": sized(b"X Y: a\r\n"),
    "name with NUL": sized(b"X\x00: a\r\n"), "name in UTF-8": sized("é: a\r\n".encode()), "space in front": sized(b" X: a\r\n"),
}  # fmt: skip
LINES = {
    "LF": sized(line=b"HTTP/1.1 200 OK\n"), "CR": sized(line=b"HTTP/1.1 200 OK\r"), "LF in the reason": line(b"HTTP/1.1 200 O\nK"), "CR in the reason": line(b"HTTP/1.1 200 O\rK"),
    "HTTP/1.2": line(b"HTTP/1.2 200 OK"), "HTTP/3.0": line(b"HTTP/3.0 200 OK"), "lower case": line(b"http/1.1 200 OK"), "space in front": line(b" HTTP/1.1 200 OK"),
    "two digits": line(b"HTTP/1.1 20 OK"), "four digits": line(b"HTTP/1.1 2000 OK"), "negative": line(b"HTTP/1.1 -200 OK"), "words": line(b"HTTP/1.1 OK"), "letters in it": line(b"HTTP/1.1 2x0 OK"),
    "000": line(b"HTTP/1.1 000 OK"), "099": line(b"HTTP/1.1 099 OK"), "two spaces": line(b"HTTP/1.1  200 OK"), "tabs": line(b"HTTP/1.1\t200\tOK"), "no space before the reason": line(b"HTTP/1.1 200OK"),
    "no status": line(b"HTTP/1.1"), "no version": line(b"200 OK"), "ICY": line(b"ICY 200 OK"), "a request": line(b"GET / HTTP/1.1"), "a greeting": b"SSH-2.0-OpenSSH_9.9\r\n",
    "HTTP/0.9": b"<html>hello</html>\r\n", "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x0a", "NULs": b"\x00" * 16,
}  # fmt: skip
VERSIONS = {"HTTP/2.0": line(b"HTTP/2.0 200 OK"), "HTTP/0.9, named": line(b"HTTP/0.9 200 OK")}
UNASKED = {
    "101": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + SECRET, "101 with an upgrade": b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + SECRET,
    "101 with a length": b"HTTP/1.1 101 S\r\nContent-Length: 5\r\n\r\nhello",
}  # fmt: skip
OTHER_PROTOCOL = gap("RFC 9112 2.3: the parser also speaks RTSP and ICE, and does not tell")
EMPTY_LINE = gap("RFC 9112 2.2 lets servers skip an empty line, not clients; the parser skips any CR and LF")
ONE_READ = gap(
    "overhead is counted by reads: what is over in the read that began it is not; no socket gives so much in one"
)
SIZES = {
    "a field of a megabyte": sized(b"X: " + b"a" * (1 << 20) + b"\r\n"),
    "ten thousand fields": sized(b"X: a\r\n" * 10_000),
}
NOT_YET = {
    "RTSP": (line(b"RTSP/1.0 200 OK"), OTHER_PROTOCOL),
    "ICE": (line(b"ICE/1.0 200 OK"), OTHER_PROTOCOL),
    "an empty line in front": (line(b"\r\nHTTP/1.1 200 OK"), EMPTY_LINE),
    "LF in front": (line(b"\nHTTP/1.1 200 OK"), EMPTY_LINE),
    "a reason of a megabyte": (line(b"HTTP/1.1 200 " + b"a" * (1 << 20)), ONE_READ),
}  # fmt: skip


def table(**groups: dict[str, bytes]) -> list[Any]:
    return [
        pytest.param(data, id=f"{group}: {name}")
        for group, cases in groups.items()
        for name, data in cases.items()
    ]


def cuts(data: bytes) -> list[list[bytes]]:
    """All of them, but for what is so large that only its size matters."""
    return (
        list(ways(data))
        if len(data) < 4096
        else [[data], [data[at : at + 4096] for at in range(0, len(data), 4096)]]
    )


@pytest.mark.parametrize(
    "data",
    [
        *table(framing=FRAMING, field=FIELDS, line=LINES, version=VERSIONS, unasked=UNASKED, size=SIZES),
        *(pytest.param(data, id=f"gap: {name}", marks=mark) for name, (data, mark) in NOT_YET.items()),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_head_that_is_not_valid_is_502_and_nothing_of_it_goes_on(data: bytes, method: bytes) -> None:
    """And the connection that it came on is not used again."""
    for pieces in cuts(data):
        assert_invalid(hear(pieces, method=method))


CHUNKS = {
    "LF after the size": b"5\nhello\r\n0\r\n\r\n", "CR after the size": b"5\rhello\r\n0\r\n\r\n", "plus": b"+5\r\nhello\r\n0\r\n\r\n", "minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n", "space in front": b" 5\r\nhello\r\n0\r\n\r\n", "space after": b"5 \r\nhello\r\n0\r\n\r\n", "past 2**64": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "empty size": b"\r\nhello\r\n0\r\n\r\n", "not hex": b"g\r\nhello\r\n0\r\n\r\n", "data longer than told": b"5\r\nhello!\r\n0\r\n\r\n", "data shorter than told": b"6\r\nhello\r\n0\r\n\r\n",
    "LF after the data": b"5\r\nhello\n0\r\n\r\n", "LF in an extension": b"5;a\nhello\r\n0\r\n\r\n", "NUL in an extension": b"5;\x00\r\nhello\r\n0\r\n\r\n",
    "trailer, folded": b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n", "trailer, LF": b"5\r\nhello\r\n0\r\nX: a\n\r\n", "trailer, NUL": b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
    "trailer, space before the colon": b"5\r\nhello\r\n0\r\nX : a\r\n\r\n", "trailer, no colon": b"5\r\nhello\r\n0\r\nabc\r\n\r\n", "trailer, a Content-Length": b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
    "LF at the end": b"5\r\nhello\r\n0\r\n\n", "another answer in place of a chunk": SECRET, "another answer in place of the end": b"5\r\nhello\r\n" + SECRET,
}  # fmt: skip


@pytest.mark.parametrize("body", table(chunk=CHUNKS))
def test_a_chunked_answer_that_is_not_valid_does_not_look_whole(body: bytes) -> None:
    """502 when it was found in time, else a reset."""
    for pieces in ways(chunked(body)):
        assert_invalid(hear(pieces), head_only=False)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"5;" + b"a" * (1 << 20) + b"\r\nhello\r\n0\r\n\r\n", id="extension", marks=ONE_READ),
        pytest.param(
            b"5\r\nhello\r\n0\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n", id="trailer", marks=ONE_READ
        ),
        pytest.param(b"5\r\nhello\r\n0\r\n" + b"X: a\r\n" * 10_000 + b"\r\n", id="trailers"),
    ],
)
def test_the_framing_of_an_answers_body_is_bounded(body: bytes) -> None:
    """As a client's is."""
    for pieces in cuts(chunked(body)):
        assert_invalid(hear(pieces), head_only=False)


def test_a_head_that_never_ends_is_given_up() -> None:
    """It is not kept for ever."""
    for piece in (b"a" * 4096, b"X: " + b"a" * 4091 + b"\r\n"):
        assert_invalid(hear([LINE + b"X: ", *[piece] * 512]))


def test_trailers_that_never_end_are_given_up() -> None:
    """They are not kept for ever."""
    assert_invalid(hear([chunked(b"0\r\n"), *[b"X: " + b"a" * 4091 + b"\r\n"] * 512]), head_only=False)


INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"


@pytest.mark.parametrize(
    "bad",
    [
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\nabc" + OK,
        b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + OK,
        INTERIM + b"HTTP/1.1 101 Switching\r\n\r\n",
        INTERIM + b"HTTP/1.1 200 OK\r\nX-Evil : 1\r\n\r\n",
        INTERIM + b"nonsense\r\n\r\n",
    ],
    ids=[
        "103 with a length and a body",
        "103 with a chunked body",
        "101",
        "space before the colon",
        "nonsense",
    ],
)
def test_a_fault_after_an_interim_answer_is_502(bad: bytes) -> None:
    """The final answer is still open."""
    for pieces in ways(bad):
        heard = hear(pieces)
        assert_invalid(heard)
        assert heard.answers[0].interims in ([103], [])


@pytest.mark.parametrize("end", ["FIN", "RST"])
@pytest.mark.parametrize(
    "said",
    [
        b"H", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r",
        INTERIM, INTERIM + b"HTTP/1.1 200 OK\r\nX-Evil: 1\r\n",
    ],
)  # fmt: skip
def test_a_head_that_breaks_off_is_502(said: bytes, end: str) -> None:
    """Nothing of it goes on. (An upload, so that it is not asked again.)"""
    for pieces in ways(said):
        world = World()
        client = world.client().send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        world.link.say(*pieces)
        world.link.hang_up(ConnectionResetError() if end == "RST" else None)
        assert client.answer().status == 502
        assert b"X-Evil" not in client.received
        assert world.reasons == {"upstream_reset": 1}
        world.assert_at_rest()


@pytest.mark.parametrize("end", ["FIN", "RST"])
@pytest.mark.parametrize(
    "said",
    [
        says(LENGTH), says(LENGTH, b"hell"), says(CHUNKED), says(CHUNKED, b"5"), says(CHUNKED, b"5\r\nhel"), says(CHUNKED, b"5\r\nhello\r\n"),
        says(CHUNKED, b"5\r\nhello\r\n0\r\n"), says(CHUNKED, b"5\r\nhello\r\n0\r\nX: a\r\n"), says(CHUNKED, b"5\r\nhello\r\n0\r\n\r"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("old", [False, True], ids=["HTTP/1.1 client", "HTTP/1.0 client"])
def test_a_body_that_breaks_off_resets_the_client(said: bytes, end: str, old: bool) -> None:
    """Even a client that would take a close for the end."""
    for pieces in ways(said):
        heard = hear(pieces, end=end, old=old)
        assert (heard.reset, heard.reasons) == (True, {"upstream_reset": 1})


SURPLUS = {"an answer": SECRET, "an interim answer": INTERIM, "noise": b"noise", "NUL": b"\x00"}
COMPLETE = {
    "length": sized(), "chunked": chunked(HELLO), "length 0": says(b"Content-Length: 0\r\n"), "204": says(line=b"HTTP/1.1 204 No Content\r\n"),
    "304": says(LENGTH, line=b"HTTP/1.1 304 Not Modified\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("more", SURPLUS.values(), ids=SURPLUS)
@pytest.mark.parametrize("said", COMPLETE.values(), ids=COMPLETE)
def test_what_follows_an_answer_goes_nowhere(said: bytes, more: bytes) -> None:
    """The answer stands; the connection is not used again."""
    for pieces in ways(said, more):
        heard = hear(pieces)
        (answer,) = heard.answers
        assert (answer.complete, answer.interims) == (True, [])
        assert answer.body in {b"hello", b""}
        assert b"evil" not in heard.raw.lower()
        assert not heard.reused


@pytest.mark.parametrize("said", [sized(), chunked(HELLO)], ids=["length", "chunked"])
@gap("the parser skips CR and LF between answers, so that what comes in the same read passes unseen")
def test_an_empty_line_after_an_answer_ends_the_connection_as_well(said: bytes) -> None:
    """It is no part of the answer."""
    for pieces in ways(said, b"\r\n"):
        assert not hear(pieces).reused


@pytest.mark.parametrize("said", COMPLETE.values(), ids=COMPLETE)
def test_a_switch_of_protocols_after_an_answer_goes_nowhere_as_well(said: bytes) -> None:
    """The answer stands, as it does when they come one by one."""
    for pieces in ways(said, b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n" + SECRET):
        heard = hear(pieces)
        assert [answer.status for answer in heard.answers] != [502]
        assert b"evil" not in heard.raw.lower()
        assert not heard.reused


WITHOUT_BODY = {
    "204 with a length": (b"GET", says(LENGTH, b"hello", b"HTTP/1.1 204 No Content\r\n")),
    "204 with chunks": (b"GET", says(CHUNKED, HELLO, b"HTTP/1.1 204 No Content\r\n")),
    "204 with another answer inside": (b"GET", says(b"", SECRET, b"HTTP/1.1 204 No Content\r\n")),
    "304 with a length": (b"GET", says(LENGTH, b"hello", b"HTTP/1.1 304 Not Modified\r\n")),
    "304 with chunks": (b"GET", says(CHUNKED, HELLO, b"HTTP/1.1 304 Not Modified\r\n")),
}


@pytest.mark.parametrize(
    ("method", "said"),
    [
        *(pytest.param(*case, id=name) for name, case in WITHOUT_BODY.items()),
        pytest.param(b"HEAD", sized(), id="HEAD with a length"),
        pytest.param(b"HEAD", chunked(HELLO), id="HEAD with chunks"),
        pytest.param(b"HEAD", says(LENGTH, b"hello", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"), id="HEAD from HTTP/1.0"),
        pytest.param(b"HEAD", says(LENGTH, b"hell"), id="HEAD with a part"),
        pytest.param(b"HEAD", says(LENGTH, b"hello" + SECRET), id="HEAD with more than its length"),
        pytest.param(b"HEAD", says(b"", b"hello"), id="HEAD up to the close"),
    ],
)  # fmt: skip
def test_a_body_where_none_may_be_goes_nowhere(method: bytes, said: bytes) -> None:
    """The head goes on; the connection is not used again."""
    for pieces in ways(said):
        heard = hear(pieces, method=method)
        (answer,) = heard.answers
        assert (answer.complete, answer.body) == (True, b"")
        assert heard.raw.endswith(b"\r\n\r\n")
        assert b"evil" not in heard.raw.lower()
        assert not heard.reused


def test_answers_before_any_question_end_the_connection() -> None:
    """They would be taken for an answer to whoever asks next."""
    for pieces in ways(SECRET):
        world = World(idle=2)
        silent, talker = world.pod.connections
        talker.say(*pieces)
        client = world.client().send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        silent.say(OK)
        assert client.answer().body == b"ok"
        assert talker.received == b""
        assert talker.transport.is_closing()


# -- valid, however odd


@dataclass
class As:
    """What the client gets."""

    status: int = 200
    body: bytes = b"hello"
    fields: tuple[tuple[bytes, bytes], ...] = ()
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    interims: tuple[int, ...] = ()
    reused: bool = True


VALID = {
    "length": (sized(), As()),
    "length with zeros in front": (length(b"0005"), As()),
    "length with space around": (length(b" \t5 \t"), As()),
    "chunked": (chunked(HELLO), As()),
    "chunked, upper case": (coding(b"CHUNKED"), As()),
    "chunked, tab in front": (coding(b"\tchunked"), As()),
    "chunks with zeros in front": (chunked(b"0005\r\nhello\r\n00\r\n\r\n"), As()),
    "chunk extensions": (chunked(b'5;a=b;c="d;e"\r\nhello\r\n0;f\r\n\r\n'), As()),
    "trailers": (chunked(b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"), As(trailers=((b"x-t", b"1"),))),
    "trailers of this hop": (
        chunked(b"5\r\nhello\r\n0\r\nConnection: x\r\nX-Request-Id: a\r\nX-Tidegate-A: 1\r\nTransfer-Encoding: chunked\r\nX-T: 1\r\n\r\n"),
        As(trailers=((b"x-t", b"1"),)),
    ),
    "no reason": (line(b"HTTP/1.1 200"), As()),
    "an empty reason": (line(b"HTTP/1.1 200 "), As()),
    "a reason in Latin-1": (line(b"HTTP/1.1 200 \xe9\t!"), As()),
    "an unknown status": (line(b"HTTP/1.1 299 Odd"), As(299)),
    "an unknown 4xx": (line(b"HTTP/1.1 499 Odd"), As(499)),
    "205 with a body": (line(b"HTTP/1.1 205 Reset"), As(205)),
    "lower-case names": (sized(b"x-a: 1\r\n"), As(fields=((b"x-a", b"1"),))),
    "no space after the colon": (sized(b"X-A:1\r\n"), As(fields=((b"x-a", b"1"),))),
    "high bytes in a value": (sized(b"X-A: caf\xe9\r\n"), As(fields=((b"x-a", b"caf\xe9"),))),
    "tab in a value": (sized(b"X-A: a\tb\r\n"), As(fields=((b"x-a", b"a\tb"),))),
    "empty value": (sized(b"X-A:\r\n"), As(fields=((b"x-a", b""),))),
    "103": (INTERIM + sized(), As(interims=(103,))),
    "102 and 103": (b"HTTP/1.1 102 Processing\r\n\r\n" + INTERIM + sized(), As(interims=(102, 103))),
    "100 unasked": (b"HTTP/1.1 100 Continue\r\n\r\n" + sized(), As(interims=(100,))),
    "an unknown 1xx": (b"HTTP/1.1 199 Odd\r\n\r\n" + sized(), As(interims=(199,))),
    "103 without a reason": (b"HTTP/1.1 103\r\n\r\n" + sized(), As(interims=(103,))),
    "204": (says(line=b"HTTP/1.1 204 No Content\r\n"), As(204, b"")),
    "304 with the length of what it stands for": (says(LENGTH, line=b"HTTP/1.1 304 Not Modified\r\n"), As(304, b"", ((b"content-length", b"5"),))),
    "close": (sized(b"Connection: close\r\n"), As(reused=False)),
    "close in a list": (sized(b"Connection: x, Close\r\n"), As(reused=False)),
    "HTTP/1.0": (line(b"HTTP/1.0 200 OK"), As(reused=False)),
    "HTTP/1.0, kept alive": (sized(b"Connection: keep-alive\r\n", b"HTTP/1.0 200 OK\r\n"), As()),
    "HTTP/1.0, Keep-Alive in a list": (sized(b"Connection: x, Keep-Alive\r\n", b"HTTP/1.0 200 OK\r\n"), As()),
    "HTTP/1.0, chunked": (chunked(HELLO, b"HTTP/1.0 200 OK\r\n"), As(reused=False)),
    "an upgrade offered with a body": (sized(b"Connection: upgrade\r\nUpgrade: h2c\r\n"), As()),
    "an upgrade offered with chunks": (says(b"Connection: upgrade\r\nUpgrade: h2c\r\n" + CHUNKED, HELLO), As()),
    "chunked, space after": (coding(b"chunked "), As()),
    "426": (sized(b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"HTTP/1.1 426 Upgrade Required\r\n"), As(426)),
    "HTTP/1.0, chunked and kept alive": (says(CHUNKED + b"Connection: keep-alive\r\n", HELLO, b"HTTP/1.0 200 OK\r\n"), As(reused=False)),
    "a trailer that Connection names": (says(CHUNKED + b"Connection: x-a\r\n", b"5\r\nhello\r\n0\r\nX-A: 1\r\n\r\n"), As()),
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        *(pytest.param(*case, id=name) for name, case in VALID.items()),
    ],
)
def test_a_valid_answer_goes_through(said: bytes, expected: As) -> None:
    """However odd, and the connection is kept where it may be."""
    for pieces in ways(said):
        heard = hear(pieces)
        (answer,) = heard.answers
        assert (answer.status, answer.body, answer.complete) == (expected.status, expected.body, True)
        assert tuple(answer.trailers.items()) == expected.trailers
        assert tuple(answer.interims) == expected.interims
        for name, value in expected.fields:
            assert answer.fields[name] == value
        assert heard.reused == expected.reused


@pytest.mark.parametrize(
    "head",
    [
        LINE,
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n",
        LINE + b"Connection: close\r\n",
    ],
)
@pytest.mark.parametrize("old", [False, True], ids=["HTTP/1.1 client", "HTTP/1.0 client"])
def test_an_answer_may_end_with_its_connection(head: bytes, old: bool) -> None:
    """A FIN ends it; its chunks tell an HTTP/1.1 client so, an HTTP/1.0 client sees a close."""
    for pieces in ways(head + b"\r\nhello"):
        heard = hear(pieces, old=old, end="FIN")
        (answer,) = heard.answers
        assert (answer.status, answer.body, answer.complete, heard.reused) == (200, b"hello", True, False)


def test_fields_of_this_hop_do_not_reach_the_client() -> None:
    """Nor does what Connection names, nor what is ours to say."""
    fields = (
        b"Connection: x-a, x-b\r\nX-A: 1\r\nx-b: 2\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: a\r\nProxy-Connection: a\r\nTE: a\r\n"
        b"Trailer: x\r\nUpgrade: h2c\r\nX-Request-Id: pod\r\nX-Tidegate-Backend: pod\r\nX-Tidegate-Cold-Start: 9\r\nX-C: 3\r\n"
    )
    for pieces in ways(sized(fields)):
        (answer,) = hear(pieces).answers
        assert set(answer.fields) - {b"x-request-id", b"content-length"} == {b"x-c"}
        assert answer.fields[b"x-request-id"] != b"pod"


def test_a_reason_is_not_passed_on() -> None:
    """Whatever bytes a pod puts there, control bytes as well, the client gets the usual words."""
    for pieces in ways(line(b"HTTP/1.1 200 \x00\x01X-Evil: 1\x7f")):
        heard = hear(pieces)
        if heard.answers[0].status == 200:
            assert heard.raw.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"X-Evil" not in heard.raw


def test_a_flood_of_interim_answers_waits_for_a_slow_client() -> None:
    """The pod is paused, as for a body; the final answer still comes last."""
    world = World()
    client = world.client().send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.transport.room = 1000
    world.link.say(INTERIM * 50)
    assert not world.link.transport.reading
    client.transport.drain()
    assert world.link.transport.reading
    world.link.say(*bytewise(INTERIM * 50), OK)
    assert (client.answer().interims, client.answer().status) == ([103] * 100, 200)


def test_a_flood_of_interim_answers_does_not_put_off_the_deadline() -> None:
    """A final answer has to come in time."""
    world = World(timeouts=Timeouts(response=3.0))
    client = world.client().send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(5):
        world.link.say(INTERIM)
        world.advance(0.5)
    world.advance(0.6)
    assert (client.answer().interims, client.answer().status) == ([103] * 5, 504)
    assert world.link.transport.is_closing()
    world.assert_at_rest()
