"""What an autoscaler says, on a terminal."""

from typing import Any

import pytest

from autoscaler.telling import age, overview, whole


def change(seconds: float, before: int | None, after: int, reason: str = "so") -> dict[str, Any]:
    return {"age_seconds": seconds, "from": before, "desired": after, "rule": "stable", "reason": reason}


TOLD: dict[str, Any] = {
    "why": "2 pods: so",
    "would_change": "more",
    "history": [change(5, 1, 2), change(130, 1, 1, "line\nand \x1b[31mred"), change(9000, 0, 1)],
    "cold_start": {
        "age_seconds": 130,
        "seconds": 2.3456,
        "pod": "iris-1",
        "phases": {"ready": 2.3, "first_byte": 0.0456},
    },
}


def test_all_of_one_backend() -> None:
    """Two sentences, a table of the changes that were asked for, and the last cold start."""
    assert whole("iris", TOLD, 600.0) == [
        "iris",
        "  why:           2 pods: so",
        "  would change:  more",
        "",
        "  changes in the last 10 min:",
        "    age    pods   rule    reason",
        "    5 s    1 → 2  stable  so",
        "    2 min  1      stable  line and  [31mred",
        "",
        "  last cold start, 2 min ago: 2.346 s, pod iris-1",
        "    ready 2.300, first byte 0.046",
    ]


def test_no_change_is_told_with_the_last_one() -> None:
    """So that one knows how far back to look."""
    lines = whole("iris", {**TOLD, "history": [change(9000, 0, 1)], "cold_start": None}, 60.0)
    assert lines[4:] == ["  no change in the last 60 s, the last one was 2 h ago"]
    assert whole("iris", {}, 60.0)[1:] == [
        "  why:           this autoscaler does not say",
        "  would change:  this autoscaler does not say",
        "",
        "  no change in the last 60 s",
    ]


def test_a_line_of_each() -> None:
    """Side by side."""
    assert overview({"iris": TOLD, "lily-v2": {"why": "0 pods"}}) == [
        "iris     2 pods: so",
        "lily-v2  0 pods",
    ]
    assert overview({}) == []


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7300, "2 h")])
def test_ages_are_short(seconds: float, text: str) -> None:
    """What a person needs to know."""
    assert age(seconds) == text


@pytest.mark.parametrize(
    "told",
    [
        {"why": None, "would_change": 5},
        {"history": None},
        {"history": [3, {"desired": 1}]},
        {"cold_start": {"pod": "iris-1"}},
    ],
    ids=str,
)
def test_parts_that_are_not_as_they_should_be_are_left_out(told: dict[str, Any]) -> None:
    """Another version said it."""
    assert whole("iris", told, 60.0)[-1] == "  no change in the last 60 s"
    assert len(overview({"iris": told})) == 1
