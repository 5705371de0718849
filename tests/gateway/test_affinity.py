"""What requests have in common: the key, and when the body has to be looked into for it."""

import pytest

from gateway.affinity import Affinity
from gateway.asked import Asked, Source
from gateway.backend import Backend, Limits
from gateway.conditions import Look
from gateway.hashring import hashed
from gateway.http1 import RequestHead, field_line
from gateway.jsonscan import PROMPT_MEMBERS, scan
from gateway.routing import Route
from gateway.search import Search
from gateway.splits import Split
from gateway.steering import Steering
from gateway.terms import BackendRef

PROMPT = Affinity(prompt=20, look=Look(1000))


def asked(target: bytes = b"/", length: int = -1, **fields: bytes) -> Asked:
    head = RequestHead(b"POST", target)
    head.lines += [field_line(name.replace("_", "-").encode(), value) for name, value in fields.items()]
    head.content_length = length
    return Asked(head, lambda _: "10.0.0.1")


def said(body: bytes) -> int | Look | None:
    one = asked(length=len(body))
    one.look(body, scan(body, PROMPT_MEMBERS))
    return PROMPT.key(one)


@pytest.mark.parametrize(
    "source", [Source("header", b"x-session"), Source("cookie", b"s"), Source("query", b"s")], ids=str
)
def test_a_value_of_the_head_is_a_key(source: Source) -> None:
    """Without one, or with an empty one, there is none."""
    affinity = Affinity(source)
    assert affinity.key(asked(b"/?s=ann", x_session=b"ann", cookie=b"s=ann")) == hashed(b"ann")
    assert affinity.key(asked(b"/?s=", x_session=b"", cookie=b"s=")) is None
    assert affinity.key(asked()) is None


def test_a_conversation_has_one_key() -> None:
    """What the user says first, whatever follows, and whatever all have in front of it."""
    first = b'{"messages": [{"role": "user", "content": "What is a tidegate, and why?"}]}'
    second = (
        b'{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a tidegate, in short?"},'
        b' {"role": "assistant", "content": "A gate."}, {"role": "user", "content": "And then?"}]}'
    )
    assert said(first) == said(second) is not None
    assert said(b'{"prompt": "What is a tidegate, really?"}') == said(first)
    assert said(b'{"prompt": "Another"}') not in {said(first), None}
    assert said(b'{"input": "x"}') is None


def test_the_body_is_looked_into_for_it() -> None:
    """Once; a request without one has no key."""
    assert PROMPT.key(asked(length=10)) == Look(1000)
    assert PROMPT.key(asked()) is None
    empty = asked(length=10)
    empty.look(b"", {})
    assert PROMPT.key(empty) is None


@pytest.mark.parametrize(
    ("length", "fields"),
    [
        (1001, {}),
        (10, {"content_type": b"multipart/form-data"}),
        (10, {"content_encoding": b"gzip"}),
    ],
    ids=["too long", "no JSON", "compressed"],
)
def test_what_cannot_be_looked_into_has_no_key(length: int, fields: dict[str, bytes]) -> None:
    """It is not refused: any pod will do."""
    assert PROMPT.key(asked(length=length, **fields)) is None
    assert PROMPT.key(asked(length=10, content_type=b"application/json; charset=utf-8")) == Look(1000)


def test_a_search_takes_a_turn_once_however_often_it_looks() -> None:
    """The Backend is chosen, then the body is looked into for the key, then the request goes there."""
    refs = {name: BackendRef(Backend(name, Limits(), 0.0), "r", affinity=PROMPT) for name in ("v1", "v2")}
    route = Route("r", Split(refs, {"v1": 1, "v2": 1}), steering=Steering())
    went = []
    for _ in range(4):
        one = asked(length=30)
        search = Search(route, one, bytes)
        assert search.advance() == Look(1000)
        (expected,) = search.upcoming()
        body = b'{"prompt": "a question of mine"}'
        one.look(body, scan(body, PROMPT_MEMBERS))
        ref = search.advance()
        assert ref is expected
        assert search.key == said(body)
        went.append(ref.backend.name)
    assert sorted(went) == ["v1", "v1", "v2", "v2"]
