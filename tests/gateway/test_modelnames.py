"""Another name in a model's place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.jsonscan import scan
from gateway.modelnames import in_body, in_target, put_into_body, put_into_target


@pytest.mark.parametrize(
    ("target", "renamed"),
    [
        (b"/v1/models/a:predict?a=/v1/models/a", b"/v1/models/x%2Fy:predict?a=/v1/models/a"),
        (b"/v2/models/a/versions/1/infer", b"/v2/models/x%2Fy/versions/1/infer"),
        (b"/v1/completions", b"/v1/completions"),
    ],
)
def test_a_path_changes_at_its_name_alone(target: bytes, renamed: bytes) -> None:
    """What a path cannot hold is written as %XX."""
    assert put_into_target(target, "x/y") == renamed


@given(st.text(min_size=1))
def test_a_name_in_a_path_reads_back(name: str) -> None:
    """Whatever it is made of."""
    name = name.encode("utf-8", "replace").decode()
    assert in_target(put_into_target(b"/v2/models/a/infer", name)) == name


@given(st.text(), st.text())
def test_a_body_changes_at_its_name_alone(before: str, name: str) -> None:
    """Space, order, numbers and escapes elsewhere stay as they were."""
    body = b'{ "x": [1.50, "\\u0061"],\n"model" : %b , "y":1e3 }' % json.dumps(before).encode()
    found = scan(body, frozenset(("model",)))
    renamed = put_into_body(body, found, name)
    assert renamed == b'{ "x": [1.50, "\\u0061"],\n"model" : %b , "y":1e3 }' % json.dumps(name).encode()
    assert in_body(renamed, scan(renamed, frozenset(("model",)))) == name


@pytest.mark.parametrize("body", [b'"model"', b'["model"]', b"{}", b'{"model": 1}', b'{"model": ["x"]}'])
def test_a_body_may_name_none(body: bytes) -> None:
    """A text that is a whole body is no name."""
    assert in_body(body, scan(body, frozenset(("model",)))) is None
