"""Starts that requests waited for: put together from what is told, in whatever order and with whatever missing."""

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.coldstarts import MOST_OPEN, PATIENCE, PHASES, ColdStart, ColdStarts
from autoscaler.plan import Milestones

WHOLE = Milestones(created=9.0, scheduled=8.0, initialized=6.0, pulled=4.0, started=3.0)
"""Seconds ago at 20."""
LOCAL = Milestones(created=9.5, started=9.0)


def start(pod: str = "a", asked: float = 10.0, ready: float = 18.5, first_byte: float = 19.0) -> ColdStart:
    return ColdStart(pod, asked, ready, first_byte)


def told(known: Milestones | None, *, decided: float | None = 10.25) -> ColdStarts:
    """One start that was decided, answered and looked at."""
    starts = ColdStarts()
    if decided is not None:
        starts.decided("iris", decided)
    starts.answered("iris", start())
    starts.look(lambda *_: known, 20.0, counts=True)
    return starts


def phases(starts: ColdStarts) -> dict[str, float]:
    last = starts.last("iris")
    assert last is not None
    return last.phases()


def counted(starts: ColdStarts) -> dict[str, float]:
    return {phase: histogram.sum for _, each in starts.seconds() for phase, histogram in each.items()}


def test_a_start_in_a_cluster_has_all_phases() -> None:
    """From the first that asked to the first byte, without a gap."""
    starts = told(WHOLE)
    assert phases(starts) == {
        "decided": 0.25,
        "created": 0.75,
        "scheduled": 1.0,
        "initialized": 2.0,
        "pulled": 2.0,
        "started": 1.0,
        "ready": 1.5,
        "first_byte": 0.5,
    }
    assert counted(starts) == phases(starts)
    assert repr(starts) == "<ColdStarts of 1 backends, 0 waking, 0 open>"


def test_a_local_start_has_those_that_a_process_has() -> None:
    """Nothing is scheduled or pulled."""
    assert list(phases(told(LOCAL))) == ["decided", "created", "started", "ready", "first_byte"]


def test_a_decision_that_seems_to_come_before_it_was_asked_for_is_the_starts() -> None:
    """A beat takes milliseconds, and tells how long ago: what it tells of seems later than it was."""
    assert phases(told(LOCAL, decided=9.99))["decided"] == 0.0
    assert "decided" not in phases(told(LOCAL, decided=8.0))


def test_what_nobody_tells_counts_for_the_next_phase() -> None:
    """The sum stays the whole; once patience ends, it is counted as it is."""
    starts = told(None, decided=None)
    assert phases(starts) == {"ready": 8.5, "first_byte": 0.5}
    assert counted(starts) == {}
    starts.look(lambda *_: None, 19.0 + PATIENCE + 0.1, counts=True)
    assert counted(starts) == {"ready": 8.5, "first_byte": 0.5}


def test_what_becomes_known_later_is_taken_in() -> None:
    """And what was known before stays, though the pod is gone by then."""
    starts = told(WHOLE._replace(pulled=None))
    assert "pulled" not in phases(starts)
    starts.look(lambda *_: Milestones(pulled=5.0), 21.0, counts=True)
    assert phases(starts)["pulled"] == 2.0
    starts.look(lambda *_: None, 23.0, counts=True)
    assert phases(starts)["started"] == 1.0


ages = st.none() | st.floats(-5.0, 30.0)


@given(st.builds(Milestones, ages, ages, ages, ages, ages), st.none() | st.floats(0.0, 30.0))
def test_phases_are_never_negative_and_add_up(known: Milestones, decided: float | None) -> None:
    """Whatever clocks say that are not ours."""
    found = phases(told(known, decided=decided))
    assert all(seconds >= 0 for seconds in found.values())
    assert abs(sum(found.values()) - 9.0) < 1e-6
    assert list(found) == [phase for phase in PHASES if phase in found]


def test_the_first_decision_of_a_waking_counts() -> None:
    """It is made anew every two seconds until a pod is ready; one of a start that was given up is another's."""
    starts = ColdStarts()
    starts.decided("iris", 1.0)
    for at in (10.1, 12.1, 14.1):
        starts.decided("iris", at)
    starts.answered("iris", start())
    assert abs(phases(starts)["decided"] - 0.1) < 1e-9


def test_of_several_gateways_the_first_to_tell_counts() -> None:
    """They waited for the same; what is asked for after its end is another start, be it of the same pod."""
    starts = told(LOCAL)
    starts.answered("iris", start("b", asked=12.0, ready=18.6, first_byte=19.2))
    assert (last := starts.last("iris")) is not None
    assert last.pod == "a"
    starts.answered("iris", start("a", asked=30.0, ready=31.0, first_byte=32.0))
    assert (last := starts.last("iris")) is not None
    assert last.seconds == 2.0


def test_only_one_that_leads_counts() -> None:
    """Others know the last start as well."""
    starts = ColdStarts()
    starts.answered("iris", start())
    starts.look(lambda *_: LOCAL, 20.0, counts=False)
    assert list(starts.seconds()) == []
    assert "started" in phases(starts)


def test_memory_is_bounded() -> None:
    """Of too many at once the oldest are taken as they are."""
    starts = ColdStarts()
    for index in range(MOST_OPEN + 7):
        starts.answered(f"b{index}", start())
    starts.look(lambda *_: None, 20.0, counts=True)
    assert [backend for backend, _ in starts.seconds()] == [f"b{index}" for index in range(7)]
    for index in range(MOST_OPEN + 7):
        starts.decided(f"b{index}", 20.0)
        starts.drop(f"b{index}")
    assert repr(starts) == "<ColdStarts of 0 backends, 0 waking, 0 open>"
    assert list(starts.seconds()) == []
