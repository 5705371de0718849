"""What each policy picks; the laws that all of them keep are in test_breaker."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.endpoint import Endpoint
from gateway.hashring import hashed
from gateway.picking import ConsistentHash, FirstAvailable, LeastRequests, Picker, RoundRobin
from gateway.warmpicking import WarmLeastRequests


def filled(picker: Any, count: int) -> list[Endpoint]:
    endpoints = [Endpoint(f"pod-{number}", "127.0.0.1", 9000 + number) for number in range(count)]
    for number, endpoint in enumerate(endpoints):
        endpoint.number = number
        picker.add(endpoint)
    return endpoints


def picked(picker: Picker, count: int, key: int | None = None) -> list[str]:
    """Who gets so many requests, none of which ends."""
    found = [picker.take((), key) for _ in range(count)]
    return [endpoint.uid.removeprefix("pod-") if endpoint else "-" for endpoint in found]


def taken(picker: Picker, key: int) -> Endpoint:
    """Who gets a request that ends at once."""
    endpoint = picker.take((), key)
    assert endpoint is not None
    picker.give_back(endpoint)
    return endpoint


def test_round_robin_takes_turns_whatever_is_open() -> None:
    """A slow pod gets as many as the others."""
    picker = RoundRobin(0)
    _, quick, _ = filled(picker, 3)
    assert picked(picker, 4) == ["0", "1", "2", "0"]
    picker.give_back(quick)
    assert picked(picker, 4) == ["1", "2", "0", "1"]


def test_round_robin_passes_over_who_has_no_free_slot() -> None:
    """Until it has one again."""
    picker = RoundRobin(2)
    first, *_ = filled(picker, 2)
    assert picked(picker, 5) == ["0", "1", "0", "1", "-"]
    picker.give_back(first)
    assert picked(picker, 2) == ["0", "-"]


def test_round_robin_puts_one_that_comes_back_behind_the_others() -> None:
    """One that fails each request is out and back again in between, and would have every turn."""
    picker = RoundRobin(0)
    bad, *_ = filled(picker, 3)
    met = []
    for _ in range(9):
        endpoint = picker.take()
        assert endpoint is not None
        met.append(endpoint.uid)
        picker.give_back(endpoint)
        if endpoint is bad:
            picker.remove(bad)
            picker.add(bad)
    assert Counter(met) == {"pod-0": 3, "pod-1": 3, "pod-2": 3}


@given(st.lists(st.sampled_from([0.1, 0.25, 0.5, 1.0]), min_size=2, max_size=6))
def test_round_robin_gives_turns_in_proportion_to_warmth(warmths: list[float]) -> None:
    """Over any stretch that is long enough, to within one."""
    picker = RoundRobin(0)
    for endpoint, warmth in zip(filled(picker, len(warmths)), warmths, strict=True):
        picker.rewarm(endpoint, warmth)
    turns = Counter(picked(picker, 400))
    for number, warmth in enumerate(warmths):
        assert abs(turns[str(number)] - 400 * warmth / sum(warmths)) <= 1 + len(warmths)


def test_first_available_packs() -> None:
    """The first that came gets all that it may have; what is freed there is used first."""
    picker = FirstAvailable(2)
    first, _, third = filled(picker, 3)
    assert picked(picker, 5) == ["0", "0", "1", "1", "2"]
    picker.give_back(third)
    picker.give_back(first)
    assert picked(picker, 3) == ["0", "2", "2"]


def test_first_available_keeps_places_of_those_that_come_back() -> None:
    """A pod that was out for a while is first again, with what is open to it still."""
    picker = FirstAvailable(2)
    first, *_ = filled(picker, 2)
    assert picked(picker, 1) == ["0"]
    picker.remove(first)
    assert picked(picker, 1) == ["1"]
    picker.add(first)
    assert picked(picker, 3) == ["0", "1", "-"]


@pytest.mark.parametrize("picker", [FirstAvailable(1), RoundRobin(1)], ids=repr)
def test_what_is_freed_again_and_again_leaves_nothing_behind(picker: Any) -> None:
    """The heap has each pod a few times at most."""
    endpoints = filled(picker, 3)
    for _ in range(3):
        picker.take()
    for number in range(1000):
        endpoint = endpoints[2 - number % 3 % 2]
        picker.give_back(endpoint)
        assert picker.take() is endpoint
    assert len(picker._heap if isinstance(picker, FirstAvailable) else picker._turns) < 10


def test_what_has_a_key_in_common_meets_the_same_pod() -> None:
    """As long as that has not more than its share."""
    picker = ConsistentHash(0, 1.25)
    endpoints = filled(picker, 8)
    key = hashed(b"a user")
    alone = [taken(picker, key) for _ in range(5)]
    assert len(set(alone)) == 1
    together = [picker.take((), key) for _ in range(8)]
    assert together.count(alone[0]) == 2  # 1.25 times the average of 8 over 8 pods
    for endpoint in filter(None, together):
        picker.give_back(endpoint)
    assert {taken(picker, hashed(b"%d" % user)) for user in range(100)} == set(endpoints)


@given(
    st.integers(1, 12), st.sampled_from([1.0, 1.25, 2.0]), st.lists(st.integers(0, 2**64 - 1), max_size=200)
)
def test_nobody_has_more_than_its_share(pods: int, bound: float, keys: list[int]) -> None:
    """Whatever the keys, even all the same: no pod has more than `bound` times the average, rounded up."""
    picker = ConsistentHash(0, bound)
    endpoints = filled(picker, pods)
    for number, key in enumerate(keys, 1):
        picker.take((), key)
        assert max(endpoint.in_flight for endpoint in endpoints) <= -(-bound * number // pods)


def test_many_pods_come_onto_the_ring_a_few_at_a_time() -> None:
    """So that thousands at once do not hold the loop; meanwhile those on it take what has a key."""
    picker = ConsistentHash(0, 100.0)
    filled(picker, 101)
    assert {taken(picker, hashed(b"%d" % user)).number for user in range(25)} <= set(range(100))
    assert len(picker._waiting) == 1
    taken(picker, 1)
    assert not picker._waiting


def test_without_a_key_the_least_busy_is_taken() -> None:
    """As with least requests."""
    picker = ConsistentHash(0, 1.25)
    filled(picker, 3)
    assert picked(picker, 6) == ["0", "1", "2", "0", "1", "2"]


def test_a_pod_that_goes_moves_its_own_keys_only() -> None:
    """And one that comes takes its share from all."""
    picker = ConsistentHash(0, 100.0)
    endpoints = filled(picker, 10)
    keys = [hashed(b"%d" % number) for number in range(500)]

    def places() -> dict[int, Endpoint]:
        return {key: taken(picker, key) for key in keys}

    before = places()
    assert set(before.values()) == set(endpoints)
    picker.remove(endpoints[3])
    after = places()
    assert all(before[key] in {after[key], endpoints[3]} for key in keys)
    picker.add(endpoints[3])
    assert places() == before


def test_a_new_pod_holds_its_share_of_what_the_others_do() -> None:
    """At half its warmth half as much; an idle one gets its turn."""
    picker = WarmLeastRequests(0)
    new, *others = filled(picker, 3)
    picker.rewarm(new, 0.5)
    for _ in range(25):
        picker.take()
    assert (new.in_flight, [endpoint.in_flight for endpoint in others]) == (5, [10, 10])
    picker.rewarm(new, 1.0)
    assert picked(picker, 5) == ["0"] * 5


def test_nobody_waits_for_the_sake_of_a_new_pod() -> None:
    """Its free slots are used when no other is free."""
    picker = WarmLeastRequests(4)
    new, _ = filled(picker, 2)
    picker.rewarm(new, 0.1)
    found = picked(picker, 9)
    assert (found[:4], found[8], Counter(found[:8])) == (["0", "1", "1", "1"], "-", {"0": 4, "1": 4})
    picker.relimit(5)
    assert sorted(picked(picker, 3)) == ["-", "0", "1"]


@pytest.mark.parametrize(
    ("picker", "told"),
    [
        (LeastRequests(1), "<LeastRequests of 2>"),
        (WarmLeastRequests(1), "<WarmLeastRequests of 2>"),
        (RoundRobin(1), "<RoundRobin of 2>"),
        (FirstAvailable(1), "<FirstAvailable of 2>"),
        (ConsistentHash(1, 1.25), "<ConsistentHash of 2 bound=1.25>"),
    ],
    ids=repr,
)
def test_a_picker_tells_its_state(picker: Any, told: str) -> None:
    """In one line, and takes one of those to avoid rather than nobody."""
    endpoints = filled(picker, 2)
    assert picker.take(endpoints) in endpoints
    assert not picker.spare(endpoints)
    assert repr(picker) == told
