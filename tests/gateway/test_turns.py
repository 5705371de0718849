"""Whose turn it is among tenants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.turns import HALF_LIFE, MOST_ACCOUNTS, Accounts, LeastUse, RoundRobin


def test_tenants_take_turns() -> None:
    """One each; who comes new is last, who got nothing for its turn is first."""
    turns = RoundRobin()
    for tenant in (b"a", b"b"):
        turns.join(tenant, 0.0, first=False)
    turns.served(turns.next(0.0), 0.0)
    turns.join(b"c", 0.0, first=False)
    turns.join(b"d", 0.0, first=True)
    seen = []
    for _ in range(8):
        seen.append(turns.next(0.0))
        turns.served(seen[-1], 0.0)
    assert b"".join(seen) == b"dbacdbac"
    turns.leave(b"d")
    assert turns.next(0.0) == b"b"


def test_use_counts_half_after_its_half_life() -> None:
    """And all of it while it is used."""
    accounts = Accounts()
    accounts.begin(b"a", 0.0)
    assert accounts.used(b"a", 1.0) == pytest.approx(1.0, rel=0.01)
    accounts.end(b"a", 1.0)
    assert accounts.used(b"a", 1.0 + HALF_LIFE) == pytest.approx(0.5, rel=0.01)
    assert accounts.used(b"b", 1.0) == 0.0


def test_a_slot_that_was_not_counted_is_not_given_back() -> None:
    """Requests that began before anybody kept accounts end, too."""
    accounts = Accounts()
    accounts.end(b"a", 1.0)
    accounts.begin(b"a", 2.0)
    accounts.end(b"a", 2.0)
    accounts.end(b"a", 3.0)
    assert accounts.used(b"a", 100.0) == 0.0


def test_accounts_are_bounded() -> None:
    """Those with open slots and those with the most use are kept."""
    accounts = Accounts()
    accounts.begin(b"open", 0.0)
    accounts.begin(b"much", 0.0)
    accounts.end(b"much", 1.0)
    for number in range(5 * MOST_ACCOUNTS):
        accounts.begin(b"%d" % number, 1.0)
        accounts.end(b"%d" % number, 1.0)
    assert repr(accounts) in {
        f"<Accounts of {n} tenants>" for n in range(MOST_ACCOUNTS, 2 * MOST_ACCOUNTS + 1)
    }
    assert accounts.used(b"much", 1.0) > 0.9
    assert accounts.used(b"open", 1.0) > 0.9


def test_requests_that_are_still_open_count() -> None:
    """Ten long ones weigh before the first of them ends."""
    accounts = Accounts()
    turns = LeastUse(accounts)
    for _ in range(10):
        accounts.begin(b"long", 0.0)
    accounts.begin(b"short", 0.0)
    accounts.end(b"short", 5.0)
    turns.join(b"long", 5.0, first=False)
    turns.join(b"short", 5.0, first=False)
    assert turns.next(5.0) == b"short"


def test_equals_take_turns() -> None:
    """Nobody has used anything: as round robin."""
    turns = LeastUse(Accounts())
    for tenant in (b"a", b"b", b"c"):
        turns.join(tenant, 0.0, first=False)
    seen = []
    for _ in range(6):
        seen.append(turns.next(0.0))
        turns.served(seen[-1], 0.0)
    assert b"".join(seen) == b"abcabc"
    turns.leave(b"a")
    assert repr(turns) == "<LeastUse of 2 tenants>"


EVENT = st.tuples(
    st.sampled_from(["begin", "end", "join", "leave", "serve"]),
    st.sampled_from([b"a", b"b", b"c", b"d"]),
    st.floats(0, 200),
)


@given(st.lists(EVENT, max_size=80))
def test_the_next_has_used_least(events: list[tuple[str, bytes, float]]) -> None:
    """Whatever happened: an oracle looks at all accounts."""
    accounts = Accounts()
    turns = LeastUse(accounts)
    waiting: set[bytes] = set()
    now = 0.0
    for what, tenant, seconds in events:
        now += seconds
        if what == "begin":
            accounts.begin(tenant, now)
        elif what == "end":
            accounts.end(tenant, now)
        elif what == "join" and tenant not in waiting:
            waiting.add(tenant)
            turns.join(tenant, now, first=False)
        elif what == "leave" and tenant in waiting:
            waiting.remove(tenant)
            turns.leave(tenant)
        elif what == "serve" and tenant in waiting and turns.next(now) == tenant:
            accounts.begin(tenant, now)
            turns.served(tenant, now)
        if waiting:
            least = min(accounts.used(each, now) for each in waiting)
            assert accounts.used(turns.next(now), now) == pytest.approx(least, rel=1e-6, abs=1e-12)
