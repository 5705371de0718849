"""What a request must be like."""

import pytest

from gateway.asked import Asked, Source
from gateway.conditions import Condition, Conditions, Look
from gateway.http1 import RequestHead, field_line

COHORT = Source("header", b"x-cohort")


def asked(method: bytes = b"GET", target: bytes = b"/", *, length: int = -1, **fields: bytes) -> Asked:
    head = RequestHead(method, target)
    head.lines += [field_line(name.replace("_", "-").encode(), value) for name, value in fields.items()]
    head.content_length = length
    return Asked(head, lambda _: "")


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        (Condition(COHORT, "exact", b"beta"), b"beta", True),
        (Condition(COHORT, "exact", b"beta"), b"Beta", False),
        (Condition(COHORT, "exact", b"beta"), b"beta2", False),
        (Condition(COHORT, "present"), b"", True),
        (Condition(COHORT, "regex", rb"2\..*"), b"2.1", True),
        (Condition(COHORT, "regex", rb"2\..*"), b"12.1", False),
        (Condition(COHORT, "regex", b"a|ab"), b"ab", True),
    ],
)
def test_a_condition_holds_for_the_whole_value(condition: Condition, value: bytes, holds: bool) -> None:
    """In its own case."""
    assert condition.holds(asked(x_cohort=value)) == holds


@pytest.mark.parametrize("kind", ["exact", "present", "regex"])
def test_a_value_that_is_not_there_fulfils_nothing(kind: str) -> None:
    """Not even a pattern that takes nothing."""
    assert not Condition(COHORT, kind, b"").holds(asked())  # type: ignore[arg-type]


def test_all_must_hold_at_once() -> None:
    """One that does not is enough."""
    both = Conditions(
        frozenset((b"POST",)),
        frozenset((Condition(COHORT, "exact", b"b"), Condition(Source("query", b"q"), "present"))),
    )
    assert both.hold(asked(b"POST", b"/?q", x_cohort=b"b")) is True
    assert both.hold(asked(b"GET", b"/?q", x_cohort=b"b")) is False
    assert both.hold(asked(b"POST", b"/", x_cohort=b"b")) is False
    assert both.hold(asked(b"POST", b"/?q")) is False


def test_a_models_name_may_need_a_look() -> None:
    """Only where the head has not decided already, and there is a body."""
    conditions = Conditions(frozenset((b"POST",)), models=frozenset(("iris",)), look=Look(100))
    assert conditions.hold(asked(b"POST", b"/v1/completions", length=5)) == Look(100)
    assert conditions.hold(asked(b"PUT", b"/v1/completions", length=5)) is False
    assert conditions.hold(asked(b"POST", b"/v1/completions")) is False
    assert conditions.hold(asked(b"POST", b"/v1/models/iris:predict", length=5)) is True


def test_equal_conditions_are_equal() -> None:
    """In whatever order they were written, however much of a body is looked into."""
    first, second = Condition(COHORT, "regex", b"a"), Condition(COHORT, "exact", b"a")
    assert Conditions(values=frozenset((first, second)), look=Look(1)) == Conditions(
        values=frozenset((second, first))
    )
    assert Conditions(values=frozenset((first,))) != Conditions(values=frozenset((second,)))


def test_more_and_more_exact_conditions_rank_higher() -> None:
    """Their number first, then how many are exact, then patterns before presence."""
    exact, regex, present = (Condition(COHORT, kind, b"a") for kind in ("exact", "regex", "present"))
    ordered = [
        Conditions(values=frozenset((present,))),
        Conditions(values=frozenset((regex,))),
        Conditions(values=frozenset((exact,))),
        Conditions(values=frozenset((regex, present))),
        Conditions(frozenset((b"GET",)), frozenset((present,))),
        Conditions(frozenset((b"GET",)), models=frozenset(("a",))),
    ]
    assert sorted(ordered, key=lambda conditions: conditions.rank) == ordered


def test_conditions_are_told_in_words() -> None:
    """For errors and for `/v1/state`."""
    conditions = Conditions(
        frozenset((b"PUT", b"POST")),
        frozenset(
            (
                Condition(COHORT, "exact", b"b"),
                Condition(Source("query", b"q"), "present"),
                Condition(Source("cookie", b"c"), "regex", b"x.*"),
            )
        ),
        frozenset(("iris",)),
    )
    assert (
        str(conditions)
        == "method POST|PUT, cookie c regex x.*, header x-cohort b, query q present, model iris"
    )
