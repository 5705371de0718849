"""What of a request and of its answer is rewritten."""

import pytest

from gateway.http1 import RequestHead
from gateway.rewriting import Edits, Move, Rewriting


def moved(target: bytes, to: bytes, *prefixes: bytes, exact: tuple[bytes, ...] = ()) -> bytes:
    return Move(prefixes, frozenset(exact), to).target(target)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/v1", b"/v2"),
        (b"/v1/", b"/v2/"),
        (b"/v1/a/b", b"/v2/a/b"),
        (b"/v1:predict", b"/v2:predict"),
        (b"/v1?a=/v1", b"/v2?a=/v1"),
        (b"/v1/%2Fv1//x?", b"/v2/%2Fv1//x?"),
    ],
)
def test_what_was_matched_is_replaced_and_the_rest_stays(target: bytes, expected: bytes) -> None:
    """Byte for byte, the query included."""
    assert moved(target, b"/v2", b"/v1") == expected


@pytest.mark.parametrize("prefix", [b"/v1", b"/v1/"])
@pytest.mark.parametrize("to", [b"/new", b"/new/"])
def test_a_slash_at_an_end_makes_no_second_one(prefix: bytes, to: bytes) -> None:
    """Of what is replaced, and of what replaces it."""
    assert moved(b"/v1/a", to, prefix) == b"/new/a"


def test_everything_can_move_below_a_path_and_back() -> None:
    """The root is a prefix as any other."""
    assert moved(b"/a?b", b"/new", b"/") == b"/new/a?b"
    assert moved(b"/", b"/new", b"/") == b"/new/"
    assert moved(b"/old/a", b"/", b"/old") == b"/a"
    assert moved(b"/old", b"/", b"/old") == b"/"
    assert moved(b"/old:x", b"/", b"/old") == b"/:x"


def test_the_longest_prefix_counts_and_an_exact_path_goes_as_a_whole() -> None:
    """As they are matched."""
    assert moved(b"/v1/models/a", b"/m", b"/v1", b"/v1/models") == b"/m/a"
    assert moved(b"/v1/modelsa", b"/m", b"/v1", b"/v1/models") == b"/m/modelsa"
    assert moved(b"/health?x", b"/ready", b"/", exact=(b"/health",)) == b"/ready?x"


def test_fields_are_taken_out_replaced_and_added() -> None:
    """Whatever their spelling; the others stay in their order."""
    edits = Edits({b"x-a": b"1"}, {b"x-b": b"2"}, frozenset((b"x-c",)))
    lines = [b"X-A: old\r\n", b"x-b: old\r\n", b"X-C: old\r\n", b"x-d: old\r\n", b"x-a: older\r\n"]
    assert edits.apply(lines) == [b"x-b: old\r\n", b"x-d: old\r\n", b"x-a: 1\r\n", b"x-b: 2\r\n"]


def test_a_host_is_replaced_and_the_clients_stays_known() -> None:
    """For X-Forwarded-Host."""
    head = RequestHead(b"GET", b"/")
    head.host, head.lines = b"shop.example.com", [b"host: shop.example.com\r\n", b"accept: */*\r\n"]
    Rewriting(host=b"internal").apply(head)
    assert head.lines == [b"host: internal\r\n", b"accept: */*\r\n"]
    assert head.host == b"shop.example.com"


def test_a_request_without_a_host_gets_one_and_not_two() -> None:
    """As HTTP/1.0 may come."""
    head = RequestHead(b"GET", b"/")
    head.host = b""
    Rewriting(host=b"internal").apply(head)
    assert head.render(b"10.0.0.1:80", b"", b"").count(b"host:") == 1


def test_it_tells_what_it_writes() -> None:
    """For /v1/state."""
    rewriting = Rewriting(
        Move((b"/v1",), frozenset(), b"/v2"), b"internal", None, Edits(remove=frozenset((b"server",)))
    )
    assert rewriting.told == {"prefix": "/v2", "host": "internal", "response_headers": ["server"]}
