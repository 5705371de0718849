"""When waking takes too long."""

from autoscaler.cluster.waking import Waking
from autoscaler.decision import Observed
from autoscaler.demand import Reading


def observed(waiting: int = 0, ready: int = 0) -> Observed:
    return Observed((Reading(None, None),), ready=ready, replicas=1, waiting=waiting)


def looks(waking: Waking, *seen: tuple[float, Observed]) -> list[float]:
    """The times of those that found it overdue."""
    return [now for now, what in seen if waking.overdue(what, now)]


def test_it_is_overdue_once_requests_waited_for_the_timeout() -> None:
    """And again after another."""
    seen = [(float(now), observed(waiting=1)) for now in range(100, 130, 2)]
    assert looks(Waking(10.0), *seen) == [110.0, 120.0]


def test_requests_that_just_gave_up_count() -> None:
    """The last one left at its deadline, a moment before the look."""
    seen = [(100.0, observed(2)), (108.0, observed(1)), (110.5, observed(0)), (112.5, observed(0))]
    assert looks(Waking(10.0), *seen) == [110.5]


def test_requests_that_left_long_ago_do_not() -> None:
    """Their clients went away; the next ones have their own time."""
    seen = [(100.0, observed(1)), (106.0, observed(0)), (110.0, observed(1)), (119.0, observed(1))]
    assert looks(Waking(10.0), *seen) == []


def test_a_ready_pod_ends_it() -> None:
    """However short."""
    waking = Waking(10.0)
    assert looks(waking, (100.0, observed(1))) == []
    assert repr(waking) == "<Waking since 100>"
    assert looks(waking, (105.0, observed(1, ready=1)), (112.0, observed(1))) == []


def test_nothing_waits_nothing_is_overdue() -> None:
    """At zero without requests all is well."""
    waking = Waking(10.0)
    assert looks(waking, (100.0, observed()), (200.0, observed())) == []
    assert repr(waking) == "<Waking no>"
