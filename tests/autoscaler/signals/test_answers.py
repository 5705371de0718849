"""The number in a Prometheus's answer."""

import json
from typing import Any

import pytest

from autoscaler.signals.answers import value_of
from autoscaler.signals.asked import LONGEST_WORDS, NoValueError


def answer(kind: str, result: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


@pytest.mark.parametrize(
    ("kind", "result", "value"),
    [
        ("scalar", [1435781451.781, "1.5"], 1.5),
        ("vector", [{"metric": {}, "value": [1435781451.781, "42"]}], 42.0),
        ("vector", [{"metric": {"a": "b"}, "value": [1, "1e3"]}], 1000.0),
    ],
)
def test_a_scalar_or_one_series_is_the_value(kind: str, result: Any, value: float) -> None:
    """Its labels do not matter."""
    assert value_of(200, answer(kind, result)) == value


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, answer("vector", []), "no data: the query gives no series; where that means zero, end it in `or vector(0)`"),
        (200, answer("vector", [{}, {}]), "the query gives 2 series, not one: put `sum(…)`, `max(…)` or `avg(…)` around it"),
        (200, answer("matrix", []), "the query gives a matrix, not a number"),
        (200, answer("string", [1, "x"]), "the query gives a string, not a number"),
        (200, answer("scalar", [1, "NaN"]), "the query gives NaN, which is no number of anything"),
        (200, answer("scalar", [1, "+Inf"]), "the query gives +Inf, which is no number of anything"),
        (200, answer("scalar", [1, "x"]), "its answer cannot be read: {'resultType': 'scalar', 'result': [1, 'x']}"),
        (200, answer("vector", [{}]), "its answer cannot be read: {'resultType': 'vector', 'result': [{}]}"),
        (200, answer("scalar", [1, 10**400]), f"its answer cannot be read: {str({'resultType': 'scalar', 'result': [1, 10**400]})[:LONGEST_WORDS]}"),
        (200, b"[" * 100_000, "it answered 200, and that is not what a Prometheus says: " + "[" * LONGEST_WORDS),
        (200, b'{"status": "success"}', "its answer cannot be read: None"),
        (
            400,
            b'{"status":"error","errorType":"bad_data","error":"invalid parameter \\"query\\": 1:5: parse error"}',
            'it answered 400, bad_data: invalid parameter "query": 1:5: parse error',
        ),
        (422, b'{"status":"error","errorType":"execution","error":"too many samples"}', "it answered 422, execution: too many samples"),
        (503, b'{"status":"error","errorType":"timeout","error":"query timed out"}', "it answered 503, timeout: query timed out"),
        (502, b"<html>Bad Gateway</html>", "it answered 502, and that is not what a Prometheus says: <html>Bad Gateway</html>"),
        (200, b"", "it answered 200, and that is not what a Prometheus says: nothing"),
        (200, b"[]", "it answered 200, and that is not what a Prometheus says: []"),
        (500, answer("scalar", [1, "1"]), "it answered 500, error: "),
    ],
)  # fmt: skip
def test_what_is_no_value_says_why(status: int, body: bytes, words: str) -> None:
    """In words for whoever wrote the query, or runs the server."""
    with pytest.raises(NoValueError) as failure:
        value_of(status, body)
    assert str(failure.value) == words
