"""What is remembered of decisions: changes, packed, and no more than so many."""

from autoscaler.decision import Observed
from autoscaler.demand import Reading
from autoscaler.history import MOST, Change, History
from autoscaler.kpa import State, decide
from autoscaler.spec import MetricSpec, ScalingSpec

START = 1_700_000_000.0
CONCURRENCY = MetricSpec("concurrency", "concurrency", 1.0, 0.7)
RPS = MetricSpec("rps", "rps", 50.0, 35.0)
SPEC = ScalingSpec(metrics=(CONCURRENCY, RPS))


class Backend:
    def __init__(self) -> None:
        self.state, self.count, self.now = State.initial(SPEC, 1, START), 1, START
        self.history = History()

    def see(self, concurrency: float | None, rps: float | None = 0.0) -> None:
        readings = Reading(concurrency, concurrency), Reading(rps, rps)
        observed = Observed(readings, self.count, self.count, in_flight=3)
        self.state, decision = decide(SPEC, self.state, observed, self.now)
        self.history.note(decision, self.count)
        self.count, self.now = decision.desired, self.now + 2


def test_a_change_is_remembered_with_what_it_was_decided_on() -> None:
    """As it was, to the last digit."""
    backend = Backend()
    backend.see(1.9)
    [change] = backend.history
    assert change == Change(
        at=START,
        before=1,
        desired=3,
        rule="stable",
        metric="concurrency",
        reason="panic: 1.9 in flight over 60 s want 3 at target 0.7; rps wants 0",
        panic=True,
        ready=1,
        replicas=1,
        in_flight=3,
        waiting=0,
        absence="",
        readings=[["concurrency", 0.7, 1.9, 1.9, ""], ["rps", 35.0, 0.0, 0.0, ""]],
    )


def test_count_rule_and_metric_make_a_change_and_nothing_else_does() -> None:
    """Equal decisions are one."""
    backend = Backend()
    for concurrency, rps in ((1.9, 0.0), (1.91, 0.0), (1.91, 90.0), (0.0, 90.0), (None, None), (None, None)):
        backend.see(concurrency, rps)
    assert [(change.desired, change.metric) for change in backend.history] == [
        (3, "concurrency"),
        (3, "rps"),
        (3, ""),
    ]


def test_it_stays_small() -> None:
    """Ten thousand Backends have one each: of entries with sentences as long as they get."""
    backend = Backend()
    for index in range(3 * MOST):
        backend.see(1.234567 + 0.7 * index, 33.333333)
    assert len(backend.history) == MOST
    assert [change.desired for change in backend.history] == list(range(2 + 2 * MOST, 2 + 3 * MOST))
    packed = sum(len(entry) for entry in backend.history._packed)
    assert packed < 130 * MOST
    assert repr(backend.history) == f"<History of {MOST} changes>"
