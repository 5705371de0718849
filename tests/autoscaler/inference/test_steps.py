"""steps: how many pods each may have while one replaces the other."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.inference.steps import RECREATE, Counts, Step, Strategy, step, strategy_of

IN_PLACE = Strategy(0, 1)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (Counts(4, 0, 0), Step(3, 0)),
        (Counts(3, 0, 0), Step(3, 1)),
        (Counts(3, 1, 1), Step(2, 1)),
        (Counts(2, 1, 1), Step(2, 2)),
        (Counts(1, 3, 3), Step(0, 3)),
        (Counts(0, 3, 3), Step(0, 4)),
    ],
)
def test_a_place_is_free_before_a_pod_takes_it(there: Counts, expected: Step) -> None:
    """Budget 4, surge 0, one unavailable."""
    assert step(IN_PLACE, 4, there) == expected


def test_what_was_given_up_holds_its_places_until_it_is_gone() -> None:
    """The old one may not grow into them."""
    assert step(IN_PLACE, 4, Counts(2, 0, 0, others=2)) == Step(2, 0)


def test_recreate_waits_for_the_last_old_pod() -> None:
    """Never both at once."""
    assert step(RECREATE, 3, Counts(1, 0, 0)) == Step(0, 0)
    assert step(RECREATE, 3, Counts(0, 0, 0)) == Step(0, 3)


@pytest.mark.parametrize(
    ("spec", "budget", "expected"),
    [
        ({}, 10, (3, 2)),
        ({"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "10%"}}, 5, (0, 1)),
        ({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}, 5, (0, 1)),
        ({"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}, 5, (2, 0)),
        ({"type": "Recreate"}, 5, (0, 5)),
    ],
)
def test_a_strategy_in_pods(spec: dict[str, Any], budget: int, expected: tuple[int, int]) -> None:
    """Surge is rounded up, unavailable down, as a Deployment's; both 0 would never move."""
    strategy, wrong = strategy_of(spec)
    assert strategy is not None
    assert wrong == ""
    assert strategy.within(budget) == expected


@pytest.mark.parametrize(
    "spec", [1, {"type": "Blue"}, {"rollingUpdate": {"maxSurge": "x"}}, {"rollingUpdate": {"maxSurge": -1}}]
)
def test_a_strategy_that_is_none_is_told(spec: Any) -> None:
    """It is refused with this."""
    assert strategy_of(spec)[0] is None
    assert strategy_of(spec)[1]


_AMOUNT = st.integers(0, 5)


@given(_AMOUNT, _AMOUNT, st.integers(1, 12), st.builds(Counts, _AMOUNT, _AMOUNT, _AMOUNT, _AMOUNT))
def test_bounds_and_what_leaves_fit_into_the_budget(
    surge: int, unavailable: int, budget: int, there: Counts
) -> None:
    """As long as what is there did."""
    strategy = Strategy(surge, unavailable)
    most = budget + strategy.within(budget)[0]
    now = step(strategy, budget, there)
    if there.old + there.new + there.others <= most:
        assert max(now.old, there.old) + now.new + there.others <= max(
            most, there.old + there.new + there.others
        )
        assert now.old + now.new <= most
