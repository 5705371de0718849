"""When the autoscaler is asked for a pod, and when a start is over."""

from gateway.activator import Activator


def test_a_burst_asks_at_every_doubling() -> None:
    """64 waiters ask at 1, 2, 4 … 64, not 64 times."""
    activator = Activator()
    assert [n for n in range(1, 65) if activator.wanted(n, 0.0, starting=True)] == [1, 2, 4, 8, 16, 32, 64]


def test_a_start_takes_from_the_first_that_asked_until_it_is_over() -> None:
    """However many asked in between."""
    activator = Activator()
    activator.wanted(1, 10.0, starting=True)
    activator.wanted(2, 11.0, starting=True)
    assert repr(activator) == "<Activator starting since 10.000>"
    assert activator.over(12.5) == 2.5


def test_a_start_that_nobody_asked_for_is_not_over() -> None:
    """A pod that turns ready unasked is no cold start."""
    assert Activator().over(1.0) is None


def test_the_next_start_asks_from_the_first_waiter_again() -> None:
    """What was asked for before is settled."""
    activator = Activator()
    activator.wanted(8, 0.0, starting=True)
    activator.over(1.0)
    assert activator.wanted(1, 2.0, starting=True)


def test_a_start_is_told_once_with_the_pod_that_answered_first() -> None:
    """When it was asked for, was ready, and answered; whoever answers later is not told of."""
    activator = Activator()
    activator.wanted(1, 10.0, starting=True)
    activator.over(12.0, ready=True)
    assert activator.told(12.5) == {}
    activator.answered("a", 13.0)
    activator.answered("b", 13.5)
    assert activator.told(14.0) == {"a": (4.0, 2.0, 1.0)}
    assert activator.told(15.0) == {}


def test_a_start_that_failed_is_not_told_by_an_answer() -> None:
    """It may be the pod's of the start before."""
    activator = Activator()
    activator.wanted(1, 10.0, starting=True)
    activator.over(12.0)
    activator.answered("a", 13.0)
    assert activator.told(14.0) == {}


def test_it_tells_that_pods_cannot_start() -> None:
    """In its repr, for logs."""
    activator = Activator()
    activator.cannot_start = "no such file"
    assert repr(activator) == "<Activator idle, cannot start>"


def test_a_nudge_for_pods_that_drain_is_no_start() -> None:
    """They are up; one of them is only to be taken back."""
    activator = Activator()
    assert activator.wanted(1, 1.0, starting=False)
    assert activator.began is None
