"""The pace of a queue: who comes in vain, and when to come again. What ends a wait is in the tests of `backend`."""

from typing import Any

import pytest

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


def test_who_comes_in_vain_is_told_at_once() -> None:
    """One a second, twenty seconds to wait: beyond one and a half times as many nobody else waits."""
    line = Line(1.0)
    line.come(50)
    line.serve(SOUND)
    line.come()
    error = refusal(line)
    assert (error.reason.slug, error.retry_after) == ("queue_timeout", 42.0)
    assert error.detail == (
        "42 requests wait in front of this one for backend iris, which takes on 1 per second: its turn would not come within 20 s"
    )
    assert line.backend.stats.sheds == {"late": 1}
    line.serve(12)
    line.come(1)


def test_one_is_let_in_for_each_slot_that_comes_free() -> None:
    """Those in front may have given up by then, and nobody would be left."""
    line = Line(1.0)
    line.come(50)
    line.serve(SOUND)
    line.come()
    line.now += 0.5
    refusal(line)
    line.now += 0.75
    line.come()


def test_a_requests_own_deadline_counts_as_well() -> None:
    """Of the two the one that is nearer."""
    line = Line(1.0)
    line.come(20)
    line.serve(SOUND)
    line.come(due=line.now + 9)
    assert "within 5 s" in refusal(line, due=line.now + 5).detail


def test_the_first_in_a_queue_is_never_told_so() -> None:
    """However slow it is."""
    line = Line(100.0, queue_timeout=1000.0)
    line.come(SOUND)
    line.serve(SOUND)
    line.come(due=line.now + 1)


def test_a_higher_priority_has_fewer_in_front() -> None:
    """The pace is the queue's, the place is one's own."""
    line = Line(1.0, discipline="round_robin")
    line.come(50)
    line.serve(SOUND)
    line.come()
    refusal(line)
    line.come(standing=Standing(1))
    line.come(standing=Standing(0, b"another"))


def test_nobody_is_told_so_while_a_pod_is_on_its_way() -> None:
    """With it the pace will be another."""
    line = Line(1.0)
    line.come(50)
    line.serve(SOUND)
    line.backend.update(Endpoints((info("pod"), info("new", ready=False))), line.now)
    line.come()
    line.backend.update(Endpoints((info("pod"),)), line.now)
    refusal(line)


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
