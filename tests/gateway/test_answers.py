"""Answers that a Route gives by itself."""

import pytest

from gateway.answers import Fixed, Placeholder, Redirect
from gateway.errors import GatewayError
from gateway.http1 import RequestHead
from gateway.rewriting import Move


def head(target: bytes = b"/old/a?b=c", host: bytes = b"shop.example.com:8080") -> RequestHead:
    made = RequestHead(b"GET", target)
    made.host = host
    return made


def location(redirect: Redirect, request: RequestHead) -> bytes:
    answer, body = redirect.answer(request)
    assert (answer.status, answer.content_length, body) == (redirect.status, 0, b"")
    (line,) = answer.lines
    return line.removeprefix(b"location: ").removesuffix(b"\r\n")


def test_what_a_redirect_leaves_out_stays() -> None:
    """Another scheme has another port; a scheme that stays is not named, since only the client knows it."""
    move = Move((b"/old",), frozenset(), b"/new")
    assert location(Redirect(308, b"https"), head()) == b"https://shop.example.com/old/a?b=c"
    assert location(Redirect(308, host=b"h:1"), head()) == b"//h:1/old/a?b=c"
    assert location(Redirect(308, move=move), head()) == b"/new/a?b=c"
    assert location(Redirect(308, b"https", b"h", move), head()) == b"https://h/new/a?b=c"
    assert location(Redirect(308, b"https"), head(host=b"[::1]:80")) == b"https://[::1]/old/a?b=c"


def test_nobody_is_led_to_a_host_that_a_path_names() -> None:
    """Two slashes in front of a path would be one, and to browsers a backslash is a slash."""
    to_root = Redirect(302, move=Move((b"/old",), frozenset(), b"/"))
    for slashes in (b"//", b"/\\", b"/\\/", b"/\\\\"):
        assert location(to_root, head(b"/old" + slashes + b"evil.example.com")) == b"/evil.example.com"


def test_a_redirect_that_cannot_know_the_host_says_so() -> None:
    """HTTP/1.0 need not name one."""
    with pytest.raises(GatewayError, match="names none"):
        Redirect(301, b"https").answer(head(host=b""))


def test_a_fixed_answer_is_a_new_one_for_each() -> None:
    """Whoever sends it writes into its lines."""
    fixed = Fixed(503, (b"retry-after: 600\r\n",), b"closed")
    (first, body), (second, _) = fixed.answer(head()), fixed.answer(head())
    first.lines.append(b"x: y\r\n")
    assert (second.status, second.content_length, second.lines, body) == (
        503,
        6,
        [b"retry-after: 600\r\n"],
        b"closed",
    )


def test_a_placeholder_is_for_browsers() -> None:
    """Programs ask for something else, or do not say."""
    placeholder = Placeholder(1.0, Fixed(503))
    request = head()
    assert not placeholder.suits(request)
    request.lines.append(b"Accept: application/json, */*\r\n")
    assert not placeholder.suits(request)
    request.lines[-1] = b"accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"
    assert placeholder.suits(request)
    request.method = b"POST"
    assert not placeholder.suits(request)


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_tells_no_length(status: int) -> None:
    """It would be that of another answer."""
    answer, body = Fixed(status).answer(head())
    assert (answer.content_length, body) == (-1, b"")
