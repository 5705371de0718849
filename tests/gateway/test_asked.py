"""What a request says of itself."""

import pytest

from gateway.asked import UNKNOWN, Asked, Source
from gateway.http1 import RequestHead, field_line
from gateway.jsonscan import scan


def asked(target: bytes = b"/", *fields: tuple[bytes, bytes], length: int = -1) -> Asked:
    head = RequestHead(b"POST", target)
    head.lines += [field_line(*field) for field in fields]
    head.content_length = length
    return Asked(head, lambda _: "10.0.0.1")


def test_a_field_is_found_by_its_name_in_any_case() -> None:
    """As often as it is there."""
    one = asked(b"/", (b"X-Cohort", b"beta"), (b"x-cohort", b"b"), (b"a", b""))
    assert one.header(b"x-cohort") == b"beta, b"
    assert (one.header(b"a"), one.header(b"b")) == (b"", None)


def test_a_cookie_is_found_in_all_of_the_fields() -> None:
    """The first of two counts; quotes around it do not."""
    one = asked(b"/", (b"cookie", b'a=1; b="2";c=x=y; a=3; d'), (b"Cookie", b"e=5"))
    assert [one.cookie(name) for name in (b"a", b"b", b"c", b"d", b"e")] == [b"1", b"2", b"x=y", None, b"5"]


def test_a_parameter_is_found_without_its_encoding() -> None:
    """Its name, too; the first of two counts."""
    one = asked(b"/p?a=1&b=x%20y+z&%63=%C3%A4&a=2&d&=e")
    assert [one.parameter(name) for name in (b"a", b"b", b"c", b"d", b"e")] == [
        b"1",
        b"x y z",
        "ä".encode(),
        b"",
        None,
    ]
    assert asked(b"/p").parameter(b"a") is None


@pytest.mark.parametrize(
    ("target", "model"),
    [
        (b"/v1/models/iris", "iris"),
        (b"/v1/models/iris:predict", "iris"),
        (b"/v1/models/iris/x?y", "iris"),
        (b"/v1/models/iris?y", "iris"),
        (b"/v2/models/iris/infer", "iris"),
        (b"/v2/models/ns:iris/versions/2/infer", "ns:iris"),
        (b"/v1/models/org%2Firis:predict", "org/iris"),
        (b"/v1/models", None),
        (b"/v1/models/", None),
        (b"/x/v1/models/iris", None),
        (b"/v3/models/iris", None),
    ],
)
def test_a_model_is_named_by_the_path(target: bytes, model: str | None) -> None:
    """Of KServe's two protocols; without percent-encoding."""
    assert asked(target).model == model


def test_a_model_is_named_by_the_body_once_that_is_known() -> None:
    """Before, nobody knows."""
    body = b'{"model": "iris"}'
    one = asked(b"/v1/completions", length=len(body))
    assert one.model is UNKNOWN
    assert not one.looked_into
    one.look(body, scan(body, frozenset(("model",))))
    assert one.model == "iris"
    assert one.looked_into
    assert repr(one).endswith("looked into>")


def test_the_path_goes_before_the_body() -> None:
    """It says where the request goes at the pod as well."""
    assert asked(b"/v1/models/iris:predict", length=10).model == "iris"


@pytest.mark.parametrize("body", [b"{}", b'{"model": 1}', b'{"model": null}', b"[]"])
def test_a_body_without_a_name_names_none(body: bytes) -> None:
    """Nor does one that is not there."""
    one = asked(length=len(body))
    one.look(body, scan(body, frozenset(("model",))))
    assert one.model is None
    assert asked().model is None
    assert asked().looked_into


def test_a_source_finds_its_value() -> None:
    """Whichever it is."""
    one = asked(b"/?q=1", (b"x-user", b"ann"), (b"cookie", b"c=2"))
    sources = (
        Source("header", b"x-user"),
        Source("cookie", b"c"),
        Source("query", b"q"),
        Source("client_address"),
    )
    assert [source.of(one) for source in sources] == [b"ann", b"2", b"1", b"10.0.0.1"]
    assert [str(source) for source in sources] == ["header x-user", "cookie c", "query q", "client address"]
