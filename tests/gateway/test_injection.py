"""What the gateway writes itself, out of what a client or a pod said: never a field more, never broken JSON.

h11 is strict about what a head may hold, so that it reads each answer; what a pod gets is read by it too.
"""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.backend import Limits
from gateway.routing import RouteTable
from tests.fakes import Answer, World
from tests.wire import OK, Reading, cut

FIELD_BYTES = bytes([9, *range(32, 127), *range(128, 256)])
"""All that a field's value may hold."""
TARGET_BYTES = bytes(range(33, 127)).replace(b"#", b"")
EVIL = b"\r\nX-Evil: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

values = st.binary(max_size=140).map(
    lambda data: bytes(FIELD_BYTES[byte % len(FIELD_BYTES)] for byte in data)
)
targets = st.binary(max_size=60).map(
    lambda data: b"/" + bytes(TARGET_BYTES[b % len(TARGET_BYTES)] for b in data)
)
anything = st.lists(
    st.binary(max_size=8) | st.sampled_from([EVIL, b"\r", b"\n", b"\x00", b'"', b"\\", b"\x85", b"{"])
).map(b"".join)

REFUSED = {b"content-type", b"content-length", b"x-request-id", b"connection", b"retry-after", b"allow"}
"""Every field that an answer of our own may have."""


def check_problem(answer: Answer) -> dict[str, Any]:
    """An answer of our own: these fields, and JSON that says the same."""
    assert set(answer.fields) <= REFUSED
    assert answer.complete
    details: dict[str, Any] = json.loads(answer.body)
    assert set(details) == {"type", "title", "status", "detail", "reason", "request_id"}
    assert details["status"] == answer.status
    assert details["request_id"].encode("latin-1").strip(b" \t") == answer.fields[b"x-request-id"]
    return details


def alone() -> World:
    world = World()
    world.gateway.table = RouteTable(())
    return world


@settings(max_examples=200, deadline=None)
@given(values)
@example(b'"}{"reason": "none')
@example(b"a\tb \\ \x7f".replace(b"\x7f", b"\x9b"))
def test_a_request_id_is_told_as_it_came_or_not_at_all(value: bytes) -> None:
    """In the problem's field and in its JSON alike."""
    client = alone().client().send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + value + b"\r\n\r\n")
    answer = client.answer()
    assert answer.status == 404
    check_problem(answer)
    told = value.strip(b" \t")
    if 0 < len(value) <= 128 and told:
        assert answer.fields[b"x-request-id"] == told
    else:
        assert answer.fields[b"x-request-id"] != told


@settings(max_examples=200, deadline=None)
@given(values)
def test_a_request_id_comes_to_pod_and_client_as_one_field(value: bytes) -> None:
    """With nothing beside it that was not there."""
    world = World()
    client = world.client().send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + value + b"\r\n\r\n")
    reading = Reading(world.link)
    assert reading.look()
    (got,) = reading.requests
    assert (got.plain, got.body) == ([], b"")
    world.link.say(OK)
    answer = client.answer()
    assert set(answer.fields) == {b"x-request-id", b"content-length"}
    assert got.value(b"x-request-id") == answer.fields[b"x-request-id"]


@settings(max_examples=200, deadline=None)
@given(targets, values)
def test_a_path_and_a_host_that_match_nothing_are_told_within_the_json(target: bytes, host: bytes) -> None:
    """Quotes, backslashes and high bytes in them do no harm."""
    client = alone().client().send(b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    answer = client.answer()
    assert answer.status in {400, 404}
    check_problem(answer)


@settings(max_examples=300, deadline=None)
@given(
    anything,
    st.sampled_from([b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n"])
    | st.just(b"%b"),
    st.lists(st.integers(1, 80), max_size=3),
)
def test_whatever_stands_in_a_request_the_answer_has_our_fields_alone(
    data: bytes, frame: bytes, places: list[int]
) -> None:
    """However many answers there are, none has a field of the client's."""
    client = alone().client().send(*cut(frame % data, places))
    for answer in client.answers(*[b"GET"] * 20):
        assert b"x-evil" not in answer.fields
        assert answer.status != 200
        check_problem(answer)


@settings(max_examples=200, deadline=None)
@given(
    anything,
    st.sampled_from(
        [b"%b", b"HTTP/1.1 %b\r\n\r\n", b"HTTP/1.1 200 OK\r\n%b\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: %b\r\n\r\n"]
    ),
)
def test_whatever_a_pod_says_of_itself_a_refusal_is_ours(data: bytes, frame: bytes) -> None:
    """502 tells what was wrong in words of our own."""
    world = World()
    client = world.client().send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    world.link.say(frame % data)
    world.link.hang_up()
    if client.received.startswith(b"HTTP/1.1 502") and world.reasons:
        check_problem(client.answer())


@pytest.mark.parametrize(
    "why",
    ['exit code 1: "\\', "\r\nX-Evil: 1\r\n\r\n", "é \u2028 \U0001f600 \x85 \x00", "}" * 3],
    ids=["quotes", "CRLF", "Unicode", "braces"],
)
def test_why_pods_cannot_start_is_told_within_the_json(why: str) -> None:
    """Their own words, whatever they are."""
    world = World(pods=0, limits=Limits(depth=1))
    world.publish(cannot_start=why)
    details = check_problem(world.client().send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").answer())
    assert (details["reason"], details["detail"]) == ("cannot_start", why)
