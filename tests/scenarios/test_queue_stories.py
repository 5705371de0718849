"""Queues under load in virtual time, told as stories: who gets what, who is refused, and that nobody was refused who would have been served.

`Shop` is one Backend whose pods take each request for as long as it says. Time goes from event to event; whoever is granted a slot has it
for that long.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import patience
from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.breaker import Endpoint, Waiter
from gateway.errors import GatewayError
from gateway.standing import ANYONE, Standing


@dataclass(eq=False)
class Call:
    """One request, and what became of it."""

    at: float
    seconds: float = 1.0
    standing: Standing = ANYONE
    name: str = ""
    begun: float | None = None
    refused: str | None = None
    told_at: float | None = None

    @property
    def waited(self) -> float:
        assert self.begun is not None, self.refused
        return self.begun - self.at


@dataclass
class Shop:
    """Some pods, and those who come."""

    pods: int = 1
    limits: dict[str, Any] = field(default_factory=dict)
    now: float = 0.0

    def __post_init__(self) -> None:
        limits = {"concurrency": 1, "depth": 1000, "queue_timeout": 1000.0} | self.limits
        self.backend = Backend("shop", Limits(**limits), 0.0)
        pods = tuple(EndpointInfo(f"pod-{n}", "127.0.0.1", 9000 + n, ready=True) for n in range(self.pods))
        self.backend.update(Endpoints(pods), 0.0)
        self._events: list[tuple[float, int, Any, Endpoint | None]] = []
        self._numbers = count()

    def run(self, calls: Iterable[Call]) -> None:
        """Until all have been served or refused."""
        calls = list(calls)
        for call in calls:
            heappush(self._events, (call.at, next(self._numbers), call, None))
        while self._events:
            self.now, _, call, endpoint = heappop(self._events)
            self._tell(self.backend.expire(self.now))
            if endpoint is None:
                self._come(call)
            else:
                self.backend.ends(call.standing, self.now)
                self._serve(self.backend.leave(endpoint, self.now))
            free = [e for e in self.backend.endpoints.values() if not e.in_flight]
            assert not (free and self.backend.breaker.queued), "a slot is free while somebody waits"

    def _come(self, call: Call) -> None:
        endpoint = self.backend.enter(self.now)
        if endpoint is not None:
            self.backend.begins(call.standing, self.now)
            self._begin(call, endpoint)
            return
        waiter: Waiter = Waiter(call, self.now, standing=call.standing)  # type: ignore[arg-type]
        try:
            self._tell(self.backend.wait(waiter, self.now))
        except GatewayError as error:
            self._refuse(call, error)

    def _begin(self, call: Call, endpoint: Endpoint) -> None:
        call.begun = self.now
        heappush(self._events, (self.now + call.seconds, next(self._numbers), call, endpoint))

    def _serve(self, granted: Iterable[tuple[Waiter, Endpoint]]) -> None:
        for waiter, endpoint in granted:
            self._begin(waiter.request, endpoint)  # type: ignore[arg-type]

    def _tell(self, refused: Iterable[tuple[Waiter, GatewayError]]) -> None:
        for waiter, error in refused:
            self._refuse(waiter.request, error)  # type: ignore[arg-type]

    def _refuse(self, call: Call, error: GatewayError) -> None:
        call.refused, call.told_at = error.reason.slug, self.now


def of(tenant: str, priority: int = 0) -> Standing:
    return Standing(priority, tenant.encode(), metered=True)


@pytest.mark.parametrize("discipline", ["round_robin", "least_use"])
@given(seconds=st.integers(1, 10), served=st.integers(0, 90), part=st.floats(0.01, 0.99))
@settings(deadline=None, max_examples=30)
def test_a_flood_delays_anothers_single_request_by_one_service_time_at_most(
    discipline: str, seconds: int, served: int, part: float
) -> None:
    """Beyond the rest of the one that is being served, which it would wait for in any case."""
    flood = [Call(0.0, seconds, of("flood")) for _ in range(101)]
    one = Call(seconds * (served + part), seconds, of("one"))
    Shop(limits={"discipline": discipline}).run([*flood, one])
    assert one.waited <= seconds * (1 - part) + seconds + 1e-6


def test_high_priorities_do_not_notice_the_low_ones() -> None:
    """Their longest wait is the rest of what is being served."""
    low = [Call(n * 0.1, 1.0, of("batch", -1)) for n in range(100)]
    high = [Call(5.05 + 2 * n, 0.5, of("people", 1)) for n in range(10)]
    Shop(limits={"discipline": "round_robin"}).run(low + high)
    assert max(call.waited for call in high) <= 1.0
    assert all(call.begun is not None for call in low)


def test_with_least_use_tenants_get_equal_time_not_equal_turns() -> None:
    """Requests of four seconds and of one, both without end."""
    calls = [Call(0.0, 4.0, of("long"), "long") for _ in range(60)] + [
        Call(0.0, 1.0, of("short"), "short") for _ in range(240)
    ]
    Shop(pods=2, limits={"discipline": "least_use"}).run(calls)
    early = Counter[str]()
    for call in calls:
        if call.begun is not None and call.begun < 100:
            early[call.name] += round(call.seconds)
    assert early["long"] / early["short"] == pytest.approx(1.0, abs=0.15)


CALLS = st.lists(
    st.builds(
        Call,
        at=st.floats(0, 60),
        seconds=st.floats(0.5, 5),
        standing=st.builds(of, st.sampled_from("abc"), st.integers(-1, 1)),
    ),
    max_size=60,
)


@given(calls=CALLS, pods=st.integers(1, 3), discipline=st.sampled_from(["fifo", "round_robin", "least_use"]))
@settings(deadline=None, max_examples=60)
def test_nobody_waits_while_a_slot_is_free_and_all_are_served(
    calls: list[Call], pods: int, discipline: str
) -> None:
    """Whatever the order: the work that is done is the same (work conservation)."""
    Shop(pods=pods, limits={"discipline": discipline}).run(calls)
    assert all(call.refused is None and call.begun is not None for call in calls)


@given(
    gaps=st.lists(st.floats(0, 1.5), min_size=40, max_size=150),
    seconds=st.floats(0.8, 1.2),
    pods=st.integers(1, 2),
)
@settings(deadline=None, max_examples=40)
def test_as_many_are_served_whether_or_not_others_are_refused_early(
    gaps: list[float], seconds: float, pods: int
) -> None:
    """The same load twice. Each slot is used all the same; but for a few of the last ones of a load that ends while all in front give up."""
    limits = {"queue_timeout": 10.0}

    def load() -> list[Call]:
        at, calls = 0.0, []
        for gap in gaps:
            at += gap / pods / 2
            calls.append(Call(at, seconds))
        return calls

    early, patient = load(), load()
    Shop(pods, limits).run(early)
    with patch.object(patience, "MARGIN", inf):
        Shop(pods, limits).run(patient)
    served = [sum(call.begun is not None for call in calls) for calls in (early, patient)]
    assert served[0] >= 0.9 * served[1] - pods


def test_an_overload_is_told_early() -> None:
    """Twice what the pod can take: most of those who are refused hear it at once, not after their time."""
    calls = [Call(n * 0.5, 1.0) for n in range(400)]
    Shop(limits={"queue_timeout": 10.0}).run(calls)
    refused = [call for call in calls if call.refused == "queue_timeout"]
    at_once = [call for call in refused if call.told_at == call.at]
    assert len(at_once) > len(refused) / 4
    assert sum(call.begun is not None for call in calls) >= 199
