"""Which requests are copied, and how much that may take."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.backend import Backend, Limits
from gateway.mirrors import MOST_BYTES, Compare, Mirror, Mirrors, Turns
from gateway.terms import BackendRef


def mirror(share: float = 0.1, route: str = "r") -> Mirror:
    ref = BackendRef(Backend("b", Limits(), 0.0), route)
    return Mirror(ref, Turns(share), share * 100, compare=Compare(0.0, Turns(0.5)))


@given(st.integers(0, 1000), st.integers(1, 300))
def test_a_share_is_exact_over_any_number_from_the_first(thousandths: int, count: int) -> None:
    """Rounded up: the first one belongs to it, if any does."""
    turns = Turns(thousandths / 1000)
    taken = [turns.take() for _ in range(count)]
    assert sum(taken) == -(-count * thousandths // 1000)
    assert taken[0] == (thousandths > 0)


def test_turns_go_on_over_a_reload() -> None:
    """Where the share is the same."""
    old, new, other = mirror(), mirror(), mirror(0.2)
    assert [old.turns.take() for _ in range(5)].count(True) == 1
    new.continue_from(old)
    other.continue_from(old)
    assert [new.turns.take() for _ in range(5)].count(True) == 0
    assert other.turns.take()


def test_counts_are_kept_by_route_and_backend() -> None:
    """Whatever Mirror of whatever table asks."""
    mirrors = Mirrors()
    mirrors.of(mirror()).count("answered")
    mirrors.of(mirror()).count("answered")
    mirrors.of(mirror(route="s")).count("failed")
    assert {key: item.outcomes for key, item in mirrors.traffic.items()} == {
        ("r", "b"): {"answered": 2},
        ("s", "b"): {"failed": 1},
    }


def test_bytes_are_bounded_over_all() -> None:
    """What does not fit is not held."""
    mirrors = Mirrors()
    assert mirrors.hold(MOST_BYTES)
    assert not mirrors.hold(1)
    mirrors.release(1)
    assert mirrors.hold(1)
