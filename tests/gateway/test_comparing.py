"""Two answers to one request, compared."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comparing import HEARD_MOST, Comparison, Heard
from gateway.http1 import ResponseHead

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


def heard(body: Any, status: int = 200, *, ended: bool = True, field: bytes = b"") -> Heard:
    made = Heard()
    head = ResponseHead(status)
    head.lines += [field] if field else []
    made.begin(head, 0.1)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    made.add(data[:3], ended=False)
    made.add(data[3:], ended=ended)
    return made


def compared(first: Any, second: Any, tolerance: float = 1e-6) -> Comparison:
    made = Comparison(
        *(each if isinstance(each, Heard) else heard(each) for each in (first, second)), tolerance
    )
    for _ in range(1000):
        if made.step():
            return made
    pytest.fail("takes more steps than there are values")


@given(JSON)
def test_whatever_json_is_there_equals_itself(value: Any) -> None:
    """However it is written."""
    spaced = json.dumps(value, indent=1).encode()
    assert compared(value, spaced).result == "same"


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        ({"a": [1, 2]}, {"a": [1, 3]}, "$.a[1]: 2 and 3"),
        ({"a": 1}, {"b": 1}, "$.a: there and not there"),
        ([1], [1, 2], "$: 1 values and 2 values"),
        ([1], {"a": 1}, '$: [1] and {"a": 1}'),
        (True, 1, "$: true and 1"),
        ("1", 1, '$: "1" and 1'),
        (None, False, "$: null and false"),
        (1.0, 1.1, "$: 1.0 and 1.1"),
        (10**400, 10**400 + 1, "$: " + "1" + "0" * 58 + "… and " + "1" + "0" * 58 + "…"),
        (b"<p>", b"<h1>", "bodies that are not JSON"),
        (b"[" * 30000, b"[[" * 30000, "bodies that are not JSON"),
    ],
)
def test_what_differs_first_is_told(first: Any, second: Any, difference: str) -> None:
    """With its place, and both values, shortened."""
    made = compared(first, second)
    assert (made.result, made.difference) == ("body", difference)


def test_numbers_may_differ_by_the_tolerance() -> None:
    """As such, or as a share of the larger one; whole and broken numbers are one kind."""
    assert compared({"p": [0.1, 1e9, 2]}, {"p": [0.1000009, 1e9 + 100, 2.0]}).result == "same"
    assert compared([0.1], [0.11]).result == "body"
    assert compared([0.1], [0.11], tolerance=0.05).result == "same"
    assert compared([float("nan")], [float("nan")]).result == "same"


def test_statuses_are_compared_first() -> None:
    """An error's body is no answer."""
    made = compared(heard([1]), heard([1], 500))
    assert (made.result, made.difference) == ("status", "status: 200 and 500")


@pytest.mark.parametrize(
    "second",
    [
        heard([2], ended=False),
        heard(b"x" * (HEARD_MOST + 1)),
        heard(b"zipped", field=b"Content-Encoding: gzip\r\n"),
        Heard(),
    ],
    ids=["cut", "large", "compressed", "nothing"],
)
def test_what_cannot_be_known_is_left_open(second: Heard) -> None:
    """A guess would be counted as a difference."""
    assert compared(heard([1]), second).result == "skipped"


def test_many_values_take_many_steps() -> None:
    """So that no step holds the loop for long."""
    made = Comparison(heard([1] * 5000), heard([1] * 4999 + [2]), 0.0)
    steps = 1
    while not made.step():
        steps += 1
    assert (made.result, made.difference) == ("body", "$[4999]: 1 and 2")
    assert steps > 10


def test_the_way_to_a_difference_is_told_in_short() -> None:
    """A key may be as long as an answer."""
    difference = compared({"k" * 60000: 1}, {"k" * 60000: 2}).difference
    assert difference == f"$.{'k' * 199}…: 1 and 2"
