"""Heads: what is forwarded, what is not, and how it is written."""

import json

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import METHOD_NOT_ALLOWED, QUEUE_FULL, GatewayError
from gateway.http1 import (
    DROP,
    KEEP,
    LAST_CHUNK,
    REQUEST_FIELDS,
    FieldTable,
    HeadLimits,
    RequestHead,
    ResponseHead,
    capabilities,
    chunk,
    last_chunk,
    problem,
)
from gateway.reader import RequestReader

TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789!#$%&'*+-.^_`|~", min_size=1, max_size=12).map(
    str.encode
)
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=0, max_size=20).map(
    str.encode
)


def parse(*fields: tuple[bytes, bytes], line: bytes = b"GET /a HTTP/1.1", host: bytes = b"x") -> RequestHead:
    data = line + b"\r\n" + (b"Host: " + host + b"\r\n" if host else b"")
    reader = RequestReader(HeadLimits())
    reader.feed(data + b"".join(name + b": " + value + b"\r\n" for name, value in fields) + b"\r\n")
    return reader.inbox[0].head


def names(head: RequestHead) -> set[bytes]:
    return {line.partition(b":")[0].lower() for line in head.lines} - {b"host"}


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=8))
def test_random_heads_are_forwarded_field_by_field(fields: list[tuple[bytes, bytes]]) -> None:
    """What h11 reads at the pod is what the client sent, but for what is not forwarded."""
    fields = [(name, value) for name, value in fields if REQUEST_FIELDS[name] == KEEP]
    head = parse(*fields)
    assert head.fault is None
    pod = h11.Connection(h11.SERVER)
    pod.receive_data(head.render(b"pod:1", b"via: 1.1 tidegate\r\n", b""))
    request = pod.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (b"GET", b"/a")
    sent = [(name.lower(), value) for name, value in fields]
    assert [item for item in request.headers if item in sent] == sent


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Trailer", "Upgrade", "HTTP2-Settings",
        "Forwarded", "X-Forwarded-For", "x-forwarded-PROTO", "X-Real-IP", "X-Tidegate-Anything", "x-tidegate-",
    ],
)  # fmt: skip
def test_hop_by_hop_and_our_own_fields_are_not_forwarded(name: str) -> None:
    """Whatever their spelling."""
    assert names(parse((name.encode(), b"v"), (b"Accept", b"*"))) == {b"accept"}


def test_fields_that_connection_names_are_not_forwarded() -> None:
    """They were for this hop alone; the framing cannot be named away."""
    head = parse(
        (b"Connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"X-Other", b"2"),
        (b"Connection", b"content-length"),
        (b"Content-Length", b"0"),
    )
    assert names(head) == {b"x-other", b"content-length"}
    assert b"content-length: 0\r\n" in head.render(b"", b"", b"")


def test_connection_may_name_what_is_not_there() -> None:
    """Nothing changes."""
    assert names(parse((b"Connection", b"keep-alive, X-Hop"), (b"X-Other", b"2"))) == {b"x-other"}


def test_the_host_of_an_absolute_target_counts() -> None:
    """Not the Host field (RFC 9112, 3.2.2)."""
    for target, host, path in (
        (b"http://b:80/p?q", b"b:80", b"/p?q"),
        (b"HTTP://b", b"b", b"/"),
        (b"https://b?q=/", b"b", b"/?q=/"),
    ):
        head = parse(line=b"GET " + target + b" HTTP/1.1")
        assert (head.host, head.target, head.fault) == (host, path, None)


def test_an_old_client_needs_no_host() -> None:
    """The pod's address stands in."""
    assert b"host: pod:1\r\n" in parse(line=b"GET / HTTP/1.0", host=b"").render(b"pod:1", b"", b"")


def test_expectations_other_than_100_continue_are_dropped() -> None:
    """That one is passed on."""
    assert b"expect: 100-continue\r\n" in parse((b"Expect", b"100-Continue")).render(b"", b"", b"")
    assert b"expect" not in parse((b"Expect", b"miracles")).render(b"", b"", b"")


def test_a_tag_is_noted_and_not_forwarded() -> None:
    """By its own name alone: names like it are dropped as all of ours are."""
    for name, tag in ((b"X-Tidegate-Tag", b"canary"), (b"x_tidegate_tag", None), (b"x-tidegate-tags", None)):
        head = parse((name, b"canary"))
        assert (head.tag, names(head)) == (tag, set())


def test_a_request_id_that_is_too_long_is_not_kept() -> None:
    """Nor an empty one."""
    assert parse((b"X-Request-Id", b"a" * 128)).request_id == b"a" * 128
    assert parse((b"X-Request-Id", b"a" * 129)).request_id is None
    assert parse((b"X-Request-Id", b"")).request_id is None


def test_spellings_are_learned_up_to_a_bound() -> None:
    """A client that invents names cannot grow the process."""
    table = FieldTable({b"te": DROP})
    for n in range(3000):
        assert table[b"x-%d" % n] == KEEP
    assert table[b"Te"] == table[b"TE"] == DROP
    assert len(table) <= 1024


def test_chunks_are_read_by_h11() -> None:
    """With trailers or without."""
    assert chunk(b"") == b""
    assert chunk(b"a" * 17) == b"11\r\n" + b"a" * 17 + b"\r\n"
    assert last_chunk([]) is LAST_CHUNK
    assert last_chunk([b"X", b": ", b"1", b"\r\n"]) == b"0\r\nX: 1\r\n\r\n"


def test_an_unknown_status_has_an_empty_phrase() -> None:
    """As the RFC allows."""
    assert ResponseHead(299).render(b"", b"") == b"HTTP/1.1 299 \r\n\r\n"
    assert (
        ResponseHead(404).render(b"a: b\r\n", b"c: d\r\n")
        == b"HTTP/1.1 404 Not Found\r\nc: d\r\na: b\r\n\r\n"
    )
    assert repr(ResponseHead(404)) == "<ResponseHead 404>"


def test_a_problem_tells_its_reason_and_when_to_come_back() -> None:
    """RFC 9457."""
    head, body = problem(GatewayError(QUEUE_FULL, "voll: 100 wartén", 2.4), b"id")
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "The backend's queue is full",
        "status": 503,
        "detail": "voll: 100 wartén",
        "reason": "queue_full",
        "request_id": "id",
    }
    assert head.content_length == len(body)
    assert b"retry-after: 2\r\n" in head.render(b"", b"")


def test_a_method_that_is_not_allowed_comes_with_those_that_are() -> None:
    """As RFC 9110, 15.5.6 demands; so does OPTIONS *."""
    head, _ = problem(GatewayError(METHOD_NOT_ALLOWED, "no"), b"id")
    assert b"allow: GET, " in head.render(b"", b"")
    assert b"allow: GET, " in capabilities().render(b"", b"")


def test_the_first_fault_counts() -> None:
    """The others may come of it."""
    head = ResponseHead(200)
    head.blame("first")
    head.blame("second")
    assert head.fault == "first"
