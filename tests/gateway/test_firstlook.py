"""May clients be sent to a gateway that has just started? In virtual time."""

import pytest

from gateway.firstlook import PATIENCE, FirstLook

LACKS = ["deployment models/iris: not listed yet", "deployment models/rose: forbidden"]


def lacks(
    look: FirstLook, now: float, unlisted: list[str], *, any_listed: bool = False, elsewhere: bool = False
) -> str | None:
    return look.lacks(unlisted, now, any_listed=any_listed, elsewhere=elsewhere)


def test_a_gateway_waits_until_each_target_was_listed_once() -> None:
    """And tells what it waits for."""
    look = FirstLook(100.0)
    told = "waiting for the cluster: deployment models/iris: not listed yet and 1 more"
    assert lacks(look, 100.0, LACKS) == told
    assert lacks(look, 101.0, LACKS[:1], any_listed=True) == f"waiting for the cluster: {LACKS[0]}"
    assert repr(look) == "<FirstLook since 100.000>"
    assert lacks(look, 102.0, [], any_listed=True) is None
    assert repr(look) == "<FirstLook over>"


def test_what_was_enough_once_is_enough_for_good() -> None:
    """As when a reload names a target while the API server is away."""
    look = FirstLook(0.0)
    assert lacks(look, 0.0, []) is None
    assert lacks(look, 1.0, LACKS) is None


@pytest.mark.parametrize("known", ["any_listed", "elsewhere"])
def test_a_target_that_cannot_be_listed_holds_the_others_up_for_a_while_only(known: str) -> None:
    """As one in a namespace without rights."""
    look = FirstLook(100.0)
    assert lacks(look, 100.0 + PATIENCE - 0.1, LACKS, **{known: True})
    assert lacks(look, 100.0 + PATIENCE, LACKS, **{known: True}) is None


def test_a_gateway_that_knows_nothing_at_all_takes_nobodys_place() -> None:
    """However long the API server is away."""
    look = FirstLook(0.0)
    assert lacks(look, 86_400.0, LACKS)
