"""The pace of a queue: who comes in vain, and when to come again. What ends a wait is in the tests of `backend`."""

from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.breaker import Endpoint, Waiter
from gateway.errors import GatewayError
from gateway.patience import KEPT, SOUND, STALE
from gateway.standing import Standing


def info(uid: str, *, ready: bool = True) -> EndpointInfo:
    return EndpointInfo(uid, "127.0.0.1", 9000, ready=ready)


class Line:
    """One pod that takes `seconds` for a request, and those who wait for it."""

    def __init__(self, seconds: float = 1.0, **limits: Any) -> None:
        self.seconds = seconds
        self.now = 0.0
        settings: dict[str, Any] = {"concurrency": 1, "depth": 1000, "queue_timeout": 20.0, **limits}
        self.backend = Backend("iris", Limits(**settings), 0.0)
        self.backend.update(Endpoints((info("pod"),)), 0.0)
        self.endpoint: Endpoint | None = self.backend.enter(0.0)

    def come(self, count: int = 1, due: float = float("inf"), standing: Standing | None = None) -> None:
        for _ in range(count):
            one = (
                Waiter("w", self.now, due=due)
                if standing is None
                else Waiter("w", self.now, standing=standing)
            )
            self.backend.wait(one, self.now)

    def serve(self, count: int) -> None:
        for _ in range(count):
            self.now += self.seconds
            assert self.endpoint is not None
            self.backend.leave(self.endpoint, self.now)

    @property
    def pace(self) -> float | None:
        return self.backend.patience.pace.per_second(self.now)


def refusal(line: Line, **standing: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        line.come(**standing)
    return caught.value


def test_the_pace_is_known_from_nine_grants() -> None:
    """Eight times between them."""
    line = Line(0.5)
    line.come(50)
    line.serve(SOUND - 1)
    assert line.pace is None
    line.serve(1)
    assert line.pace == pytest.approx(2.0)


def test_a_queue_that_stands_still_gets_slower() -> None:
    """The time since the last grant counts as well."""
    line = Line(1.0)
    line.come(50)
    line.serve(SOUND)
    line.now += 8.0
    assert line.pace == pytest.approx(0.5)


def test_the_latest_grants_count() -> None:
    """What was before is forgotten."""
    line = Line(1.0)
    line.come(200)
    line.serve(20)
    line.seconds = 0.1
    line.serve(KEPT)
    assert line.pace == pytest.approx(10.0)


def test_time_without_a_queue_does_not_count() -> None:
    """Nobody could have been granted a slot then."""
    line = Line(1.0)
    line.come(SOUND)
    line.serve(SOUND)
    line.now += STALE - 1
    line.come()
    assert line.pace == pytest.approx(1.0)


def test_an_old_pace_is_none() -> None:
    """A minute without a queue, and it is measured anew."""
    line = Line(1.0)
    line.come(SOUND)
    line.serve(SOUND)
    line.now += STALE + 1
    line.come()
    assert line.pace is None


def crowded(**limits: Any) -> Line:
    """One a second, twenty seconds to wait, and far more than that waiting, for as long as anyone may."""
    line = Line(1.0, **limits)
    line.come(60)
    line.serve(20)
    line.come()
    return line


def test_who_comes_in_vain_is_told_at_once() -> None:
    """Beyond one and a half times as many as can be served in time nobody else waits."""
    line = crowded()
    error = refusal(line)
    assert (error.reason.slug, error.retry_after) == ("queue_timeout", 41.0)
    assert error.detail == (
        "41 requests wait in front of this one for backend iris, which takes on 1 per second: its turn would not come within 20 s"
    )
    assert line.backend.stats.sheds == {"late": 1}
    line.serve(11)
    line.come(1)


def test_one_is_let_in_for_each_slot_that_comes_free() -> None:
    """Those in front may have given up by then, and nobody would be left."""
    line = crowded()
    line.now += 0.5
    refusal(line)
    line.now += 0.75
    line.come()


def test_a_requests_own_deadline_counts_as_well() -> None:
    """Of the two the one that is nearer."""
    line = Line(1.0)
    line.come(30)
    line.serve(20)
    line.come(due=line.now + 9)
    assert "within 5 s" in refusal(line, due=line.now + 5).detail


def test_the_first_in_a_queue_is_never_told_so() -> None:
    """However slow it is."""
    line = Line(100.0, queue_timeout=800.0)
    line.come(SOUND)
    line.serve(SOUND - 1)
    line.come()
    line.serve(1)
    line.serve(1)
    assert line.backend.breaker.queued == 0
    line.come(due=line.now + 1)


def test_a_higher_priority_has_fewer_in_front() -> None:
    """The pace is the queue's, the place is one's own."""
    line = crowded(discipline="round_robin")
    refusal(line)
    line.come(standing=Standing(1))
    line.come(standing=Standing(0, b"another"))


class TestHoldingBack:
    """Who would have been served is never refused: the pace of late may not last."""

    def test_at_the_first_requests(self) -> None:
        """More pods may be started for them: nothing is said before as much time has gone by as anyone may wait, with nothing changed."""
        line = Line(1.0)
        line.come(60)
        line.serve(19)
        line.come(20)
        line.serve(1)
        line.come()
        refusal(line)

    def test_after_a_quiet_time(self) -> None:
        """However short: what comes now may be of another kind, and others may have gone home."""
        line = crowded()
        line.serve(line.backend.breaker.queued)
        line.now += 0.1
        line.come(60)
        assert line.pace is not None
        line.serve(19)
        line.come()
        line.serve(1)
        line.come()
        refusal(line)

    def test_while_a_pod_is_on_its_way(self) -> None:
        """And, should it not come, for as long again as anyone may wait."""
        line = crowded()
        line.backend.update(Endpoints((info("pod"), info("new", ready=False))), line.now)
        line.come(10)
        line.backend.update(Endpoints((info("pod"),)), line.now)
        line.come()
        line.serve(20)
        line.come()
        refusal(line)

    def test_while_a_pod_cannot_be_placed_yet(self) -> None:
        """Nobody has an address for it, but the cluster says why it takes long."""
        line = crowded()
        line.backend.update(Endpoints((info("pod"),), pending="no node has room"), line.now)
        line.come(10)

    def test_when_a_pod_has_come(self) -> None:
        """The pace is measured anew, over as long a time."""
        line = crowded()
        line.backend.update(Endpoints((info("pod"), info("new"))), line.now)
        line.come(10)
        assert line.pace is None
        line.serve(SOUND)
        line.come(10)

    def test_while_a_pod_is_out_that_may_come_back(self) -> None:
        """It refuses connections, or is out for its answers."""
        line = Line(1.0)
        line.backend.update(Endpoints((info("pod"), info("other"))), 0.0)
        line.backend.suspect(line.backend.endpoints["other"], 0.0, suspect=True)
        line.come(60)
        line.serve(30)
        line.come(10)

    def test_from_zero(self) -> None:
        """Nothing is served yet, and the first to be served tell nothing."""
        backend = Backend("iris", Limits(concurrency=1, depth=1000, queue_timeout=20.0), 0.0)
        for number in range(500):
            backend.wait(Waiter("w", number * 0.1), number * 0.1)
        now = 50.0
        ((_, endpoint),) = backend.update(Endpoints((info("pod"),)), now).granted
        for _ in range(19):
            now += 1.0
            backend.leave(endpoint, now)
            backend.wait(Waiter("w", now), now)

    def test_while_pods_stall(self) -> None:
        """What they took on over all that time counts, if it was more."""
        line = Line(0.1)
        line.come(500)
        line.serve(300)
        line.now += 10.0
        assert line.pace < 4.0
        assert line.backend.breaker.queued > 1.5 * line.pace * 20.0
        line.come(10)

    def test_when_there_is_longer_to_wait(self) -> None:
        """A reload gave them more time."""
        line = crowded()
        limits = line.backend.limits
        line.backend.relimit(replace(limits, queue_timeout=21.0), line.now)
        line.come(10)


@given(
    seconds=st.floats(0.05, 5.0),
    timeout=st.floats(1.0, 30.0),
    pods=st.integers(1, 3),
    arrivals=st.lists(st.tuples(st.floats(0, 2.0), st.integers(1, 30)), min_size=1, max_size=60),
)
@settings(max_examples=300)
@example(
    seconds=0.9375,
    timeout=1.0,
    pods=2,
    arrivals=[(0.0, 4), (0.5, 1), (1.5, 4), (1.5, 2), (1.0, 2), (1.0, 3)],
)
def test_nobody_is_refused_who_would_have_been_served(
    seconds: float, timeout: float, pods: int, arrivals: list[tuple[float, int]]
) -> None:
    """Of requests that take equally long: whoever is refused would have waited longer than it may, should those in front of it not give up.
    That as many are served, whoever gives up, is held by the stories of queues.
    """
    backend = Backend("iris", Limits(concurrency=1, depth=10**6, queue_timeout=timeout), 0.0)
    backend.update(Endpoints(tuple(info(f"pod-{n}") for n in range(pods))), 0.0)
    busy: list[tuple[float, int, Endpoint]] = []
    order = count()
    now = 0.0

    def begin(granted: list[tuple[Waiter, Endpoint]]) -> None:
        for _, endpoint in granted:
            heappush(busy, (now + seconds, next(order), endpoint))

    for gap, number in arrivals:
        until = now + gap
        while busy and busy[0][0] <= until:
            now, _, endpoint = heappop(busy)
            begin(backend.leave(endpoint, now))
            backend.expire(now)
        now = until
        for _ in range(number):
            endpoint = backend.enter(now)
            if endpoint is not None:
                heappush(busy, (now + seconds, next(order), endpoint))
                continue
            try:
                backend.wait(Waiter("w", now), now)
            except GatewayError:
                # Its turn is after all in front of it; those that are served now may end this very moment.
                assert (backend.breaker.queued - pods) * seconds / pods >= timeout


def test_other_pods_make_another_pace() -> None:
    """It is measured anew."""
    line = Line(1.0)
    line.come(50)
    line.serve(SOUND)
    line.backend.update(Endpoints((info("pod"), info("new"))), line.now)
    assert line.pace is None
    line.come()


def test_a_raised_limit_makes_another_pace() -> None:
    """The same pods take more."""
    line = Line(1.0)
    line.come(50)
    line.serve(SOUND)
    line.backend.relimit(Limits(2, 1000), line.now)
    assert line.pace is None


def test_when_to_come_again_follows_the_pace() -> None:
    """As long as those who wait will take: a second at least, a minute at most."""
    line = Line(0.5, depth=40)
    line.come(40)
    line.serve(SOUND)
    line.come(SOUND)
    assert refusal(line).retry_after == pytest.approx(20.0)
    slow = Line(10.0, depth=40, queue_timeout=1000.0)
    slow.come(40)
    slow.serve(SOUND)
    slow.come(SOUND)
    assert refusal(slow).retry_after == 60.0


def test_it_tells_its_state() -> None:
    """In one line."""
    assert repr(Line().backend.patience) == "<Patience iris <Pace of 0 grants>>"
