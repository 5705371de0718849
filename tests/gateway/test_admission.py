"""Who may connect: counts, and the bounds that they are held to."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.admission import Admission, ConnectionLimits
from gateway.errors import TOO_MANY_CONNECTIONS


def admission(**limits: int) -> Admission:
    made = Admission()
    made.limits = ConnectionLimits(**limits)
    return made


def test_without_limits_everybody_enters() -> None:
    """And is counted."""
    door = admission()
    assert [door.enter("a") for _ in range(100)] == [None] * 100
    assert door.open == 100


def test_the_total_is_never_exceeded() -> None:
    """The next one is told why and when to come again; one that leaves makes room."""
    door = admission(total=2)
    assert (door.enter("a"), door.enter("b")) == (None, None)
    refusal = door.enter("c")
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after) == (TOO_MANY_CONNECTIONS, 1.0)
    assert refusal.detail == "2 connections are open, as many as the gateway takes"
    assert (door.open, door.refused) == (2, {"total": 1, "per_client": 0})
    door.leave("a")
    assert door.enter("c") is None


def test_a_client_has_no_more_than_its_share() -> None:
    """The others have theirs."""
    door = admission(per_client=1)
    assert door.enter("10.0.0.1") is None
    refusal = door.enter("10.0.0.1")
    assert refusal is not None
    assert refusal.detail == "1 connections of 10.0.0.1 are open, as many as a client may have"
    assert door.enter("10.0.0.2") is None
    assert (door.open, door.refused) == (2, {"total": 0, "per_client": 1})


def test_nobody_has_no_share() -> None:
    """A trusted proxy's connections are limited in total alone."""
    door = admission(per_client=1, total=3)
    assert [door.enter("") for _ in range(3)] == [None] * 3
    assert door.enter("") is not None
    door.leave("")
    assert door.open == 2


def test_a_lowered_limit_ends_nothing() -> None:
    """It refuses the next ones until enough have left."""
    door = admission()
    for _ in range(3):
        door.enter("a")
    door.limits = ConnectionLimits(total=2)
    assert door.open == 3
    assert door.enter("a") is not None
    door.leave("a")
    assert door.enter("a") is not None
    door.leave("a")
    assert door.enter("a") is None


@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.booleans()), max_size=60),
    st.integers(0, 6),
    st.integers(0, 3),
)
def test_nothing_is_kept_of_those_who_left(
    moves: list[tuple[str, bool]], total: int, per_client: int
) -> None:
    """Whatever the order: the bounds hold at any time, and in the end no client is remembered."""
    door = admission(total=total, per_client=per_client)
    inside: list[str] = []
    for group, comes in moves:
        if comes and door.enter(group) is None:
            inside.append(group)
        elif not comes and group in inside:
            inside.remove(group)
            door.leave(group)
        assert door.open == len(inside) <= (total or 60)
        assert all(inside.count(name) <= (per_client or 60) for name in "abc")
    for group in inside:
        door.leave(group)
    assert repr(door) == f"<Admission 0 open of 0 clients, refused {sum(door.refused.values())}>"
