"""The order in which those who wait are served, and who gives way; that nobody is lost is held by the laws of the breaker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.breaker import Breaker, Waiter
from gateway.queues import MOST_TENANTS, Discipline, FairQueue
from gateway.standing import Standing

FAIR: list[Discipline] = ["round_robin", "least_use"]


def waiter(name: str = "w", priority: int = 0, tenant: str = "", *, metered: bool = False) -> Waiter:
    return Waiter(name, 0.0, standing=Standing(priority, tenant.encode(), metered))


def fill(queue: FairQueue, *waiters: Waiter) -> None:
    for each in waiters:
        queue.add(each, 0.0, first=False)


def served(queue: FairQueue, most: int = 1000) -> list[str]:
    names = []
    while len(names) < most and queue.levels():
        best = queue.best(0.0)
        queue.serve(best, 0.0)
        names.append(best.request)
    return names


@pytest.mark.parametrize("discipline", FAIR)
def test_a_higher_priority_goes_first(discipline: Discipline) -> None:
    """Whoever came before, and whoever's turn it is."""
    queue = FairQueue(discipline)
    fill(
        queue,
        waiter("low", -1, "a"),
        waiter("normal", 0, "a"),
        waiter("high", 5, "b"),
        waiter("next", 5, "b"),
    )
    assert served(queue) == ["high", "next", "normal", "low"]
    assert queue.levels() == {}


@pytest.mark.parametrize("discipline", FAIR)
def test_one_request_does_not_wait_behind_another_tenants_hundred(discipline: Discipline) -> None:
    """It is the second to be served at the latest."""
    queue = FairQueue(discipline)
    fill(queue, *(waiter("many", 0, "a") for _ in range(100)), waiter("one", 0, "b"))
    assert "one" in served(queue, 2)


@pytest.mark.parametrize("discipline", FAIR)
def test_without_tenants_it_is_first_come_first_served(discipline: Discipline) -> None:
    """Those who name none are one tenant."""
    queue = FairQueue(discipline)
    fill(queue, *(waiter(str(number)) for number in range(5)))
    assert served(queue) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("discipline", FAIR)
def test_who_was_put_back_is_in_front_of_its_tenant(discipline: Discipline) -> None:
    """And its tenant, if it had nobody else waiting, has its turn again."""
    queue = FairQueue(discipline)
    fill(queue, waiter("a1", 0, "a"), waiter("b1", 0, "b"), waiter("b2", 0, "b"))
    queue.add(waiter("b0", 0, "b"), 0.0, first=True)
    queue.add(waiter("c0", 0, "c"), 0.0, first=True)
    assert served(queue) == ["c0", "a1", "b0", "b1", "b2"]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.data())
def test_no_tenant_has_two_turns_while_another_waits_for_one(tenants: list[str], data: st.DataObject) -> None:
    """Round robin, while others come: nobody starves within a priority."""
    queue = FairQueue("round_robin")
    waiting: list[Waiter] = []
    passed: dict[bytes, dict[bytes, int]] = {}
    while tenants or waiting:
        if tenants and (not waiting or data.draw(st.booleans())):
            waiting.append(waiter("w", 0, tenants.pop()))
            queue.add(waiting[-1], 0.0, first=False)
            continue
        best = queue.best(0.0)
        queue.serve(best, 0.0)
        waiting.remove(best)
        mine = best.standing.tenant
        passed.pop(mine, None)
        for other in {each.standing.tenant for each in waiting} - {mine}:
            counts = passed.setdefault(other, {})
            counts[mine] = counts.get(mine, 0) + 1
            assert counts[mine] == 1
        passed = {
            tenant: counts
            for tenant, counts in passed.items()
            if tenant in {e.standing.tenant for e in waiting}
        }


def test_a_slot_that_is_used_decides_who_is_next() -> None:
    """Two tenants wait; the one whose requests are long gets fewer slots, not less time."""
    queue = FairQueue("least_use")
    seconds = {b"long": 4.0, b"short": 1.0}
    used = dict.fromkeys(seconds, 0.0)
    now = 0.0
    for _ in range(40):
        fill(queue, waiter("l", 0, "long", metered=True), waiter("s", 0, "short", metered=True))
    for _ in range(40):
        best = queue.best(now)
        queue.serve(best, now)
        tenant = best.standing.tenant
        now += seconds[tenant]
        used[tenant] += seconds[tenant]
        queue.end(tenant, now)
    assert used[b"long"] / used[b"short"] == pytest.approx(1.0, abs=0.3)


def test_tenants_beyond_the_bound_share_their_turns() -> None:
    """Whoever invents names has a thousand turns in a round, and no more."""
    queue = FairQueue("round_robin")
    fill(queue, *(waiter(str(number), 0, str(number)) for number in range(MOST_TENANTS + 50)))
    assert queue.levels() == {0: (MOST_TENANTS + 50, MOST_TENANTS + 1)}
    assert len(served(queue, 5000)) == MOST_TENANTS + 50


class TestGivingWay:
    def pushed(self, queue: FairQueue, newcomer: Waiter) -> list[str]:
        return [each.request for each in queue.gives_way(newcomer)]

    def test_the_newest_of_the_lowest_priority_goes_first(self) -> None:
        """Then the older ones, then the next priority; never an equal one."""
        queue = FairQueue("round_robin")
        fill(queue, waiter("a", 0), waiter("b", -5), waiter("c", -5), waiter("d", 3))
        assert self.pushed(queue, waiter("new", 3)) == ["c", "b", "a"]
        assert self.pushed(queue, waiter("new", 0)) == ["c", "b"]
        assert self.pushed(queue, waiter("new", -5)) == []

    def test_a_tenant_with_more_than_its_share_gives_way_to_one_with_less(self) -> None:
        """Else a flood of one would fill the queue, and fairness would mean nothing to those who are refused."""
        queue = FairQueue("round_robin")
        fill(queue, *(waiter(f"a{number}", 0, "a") for number in range(5)))
        assert self.pushed(queue, waiter("new", 0, "b")) == ["a4"]
        assert self.pushed(queue, waiter("new", 0, "a")) == []
        fill(queue, *(waiter(f"b{number}", 0, "b") for number in range(3)))
        assert self.pushed(queue, waiter("new", 0, "b")) == ["a4"]
        fill(queue, waiter("b3", 0, "b"))
        assert self.pushed(queue, waiter("new", 0, "b")) == []

    def test_in_a_plain_line_nobody_gives_way(self) -> None:
        """All are equal there; to the gateway's memory they count as priority 0."""
        breaker: Breaker = Breaker(1, 2)
        for each in (waiter("a", 0, "x"), waiter("b", -1, "x")):
            breaker.enqueue(each, 0.0)
        assert breaker.room_for(waiter("new", 5, "y"), 1, 0) is None
        assert [each.request for each in breaker.worse(1)] == ["b", "a"]
        assert list(breaker.worse(0)) == []


def test_it_counts_who_is_served_before_a_newcomer_in_any_case() -> None:
    """Higher priorities, and the newcomer's own tenant."""
    queue = FairQueue("round_robin")
    fill(queue, waiter("a", 1), waiter("b", 0, "x"), waiter("c", 0, "y"), waiter("d", -1, "x"))
    counts = [queue.ahead(waiter("new", priority, "x")) for priority in (2, 1, 0, -1, -2)]
    assert counts == [0, 0, 2, 4, 4]


def test_it_tells_its_state() -> None:
    """In one line."""
    queue = FairQueue("least_use")
    fill(queue, waiter())
    assert repr(queue) == "<FairQueue least_use {0: (1, 1)}>"
