"""What the clock on the wall asks for: hours, weekends, gaps and doubled hours, and a clock that is set."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.schedules import Bounds, Schedules, following, is_active, last
from autoscaler.spec import ScheduleSpec

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("UTC")]
OFFICE = ScheduleSpec("0 8 * * mon-fri", "0 18 * * mon-fri", BERLIN, floor=3)
NIGHT = ScheduleSpec("0 22 * * *", "0 6 * * *", BERLIN, fixed=1)


def at(text: str, fold: int = 0) -> float:
    """Berlin's clock; `fold` 1: the second time that it says so."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


def said(time: float | None) -> str:
    return "never" if time is None else datetime.fromtimestamp(time, BERLIN).isoformat()


@pytest.mark.parametrize(
    ("when", "active"),
    [
        ("2026-11-26T07:59:59", False),
        ("2026-11-26T08:00", True),
        ("2026-11-26T17:59:59", True),
        ("2026-11-26T18:00", False),
        ("2026-11-28T12:00", False),
    ],
    ids=["before", "start", "last second", "end", "Saturday"],
)
def test_a_schedule_is_active_from_its_start_to_its_end(when: str, active: bool) -> None:
    """The start included, the end not."""
    assert is_active(OFFICE, at(when)) == active


@pytest.mark.parametrize(
    ("when", "active"), [("23:00", True), ("05:59", True), ("06:00", False), ("21:59", False)]
)
def test_a_night_goes_past_midnight(when: str, active: bool) -> None:
    """The last start is yesterday's."""
    assert is_active(NIGHT, at(f"2026-11-26T{when}")) == active


def test_what_never_started_is_not_active_and_what_never_ended_is() -> None:
    """A 29th of February long ago, and one that is yet to come."""
    assert said(last("0 0 29 2 *", BERLIN, at("2026-11-26T12:00"))) == "2024-02-29T00:00:00+01:00"
    assert said(following("0 0 29 2 *", BERLIN, at("2026-11-26T12:00"))) == "2028-02-29T00:00:00+01:00"


def test_a_start_in_a_gap_comes_at_its_end() -> None:
    """On 29 March there is no 02:30: the clock goes from 02:00 to 03:00."""
    nightly = ScheduleSpec("30 2 * * *", "0 5 * * *", BERLIN, floor=1)
    assert not is_active(nightly, at("2026-03-29T01:59:59"))
    assert said(following("30 2 * * *", BERLIN, at("2026-03-29T01:00"))) == "2026-03-29T03:00:00+02:00"
    assert is_active(nightly, at("2026-03-29T03:00"))
    assert said(last("30 2 * * *", BERLIN, at("2026-03-29T03:00"))) == "2026-03-29T03:00:00+02:00"


def test_in_a_doubled_hour_it_comes_the_first_time_only() -> None:
    """On 25 October 02:30 comes twice. The second 02:15 is later than the first 02:30, so it has started long since."""
    nightly = ScheduleSpec("30 2 * * *", "0 2 * * *", BERLIN, floor=1)
    assert not is_active(nightly, at("2026-10-25T02:15", fold=0))
    assert is_active(nightly, at("2026-10-25T02:15", fold=1))
    assert said(last("30 2 * * *", BERLIN, at("2026-10-25T02:45", fold=1))) == "2026-10-25T02:30:00+02:00"
    assert (
        said(following("30 2 * * *", BERLIN, at("2026-10-25T02:15", fold=1))) == "2026-10-26T02:30:00+01:00"
    )


def test_lines_without_an_hour_follow_real_hours() -> None:
    """Every hour is every hour, in a doubled one too."""
    assert said(following("0 * * * *", BERLIN, at("2026-10-25T02:10", fold=0))) == "2026-10-25T02:00:00+01:00"


MINUTES = st.sampled_from(["0", "30", "15,45", "59"])
HOURS = st.sampled_from(["0", "1", "2", "3", "23", "2,3"])
DAYS = st.sampled_from(["*", "mon-fri", "sun", "sat,sun"])
TURNS = st.sampled_from(["2026-03-29", "2026-10-25", "2026-11-01", "2026-03-08", "2026-04-05", "2026-10-04"])


LINES = st.tuples(MINUTES, HOURS, st.just("* *"), DAYS).map(" ".join)


@given(LINES, st.sampled_from(ZONES), TURNS, st.integers(-86_400, 2 * 86_400))
def test_looking_back_finds_what_going_forward_met(line: str, zone: ZoneInfo, turn: str, offset: int) -> None:
    """Around the days on which clocks are changed, in four zones."""
    now = datetime.fromisoformat(turn).replace(tzinfo=zone).timestamp() + offset
    begin = datetime.fromtimestamp(now, zone) - timedelta(days=9)
    met = None
    for moment in CronSim(line, begin):
        if moment.timestamp() > now:
            assert following(line, zone, now) == moment.timestamp()
            break
        met = moment.timestamp()
    assert last(line, zone, now) == met


@given(st.integers(0, 20 * 86_400), st.lists(st.sampled_from([OFFICE, NIGHT]), max_size=3))
def test_nothing_changes_before_the_next_change(offset: int, chosen: list[ScheduleSpec]) -> None:
    """So that it is enough to look at the clock until then."""
    wall = at("2026-10-15T00:00") + offset
    bounds = Schedules(chosen).bounds(wall, 0.0)
    if bounds.until is None:
        assert not chosen
    else:
        assert bounds.until > wall
        for share in (0.0, 0.5, 0.999):
            between = wall + share * (bounds.until - wall)
            assert [is_active(one, between) for one in chosen] == [is_active(one, wall) for one in chosen]


def bounds(*schedules: ScheduleSpec, wall: float) -> tuple[int | None, int | None, str, str]:
    found = Schedules(schedules).bounds(wall, 0.0)
    return found.floor, found.fixed, found.words, said(found.until)


def test_of_several_the_largest_floor_holds() -> None:
    """Whichever of them begins or ends next is the next change."""
    lunch = ScheduleSpec("0 12 * * *", "0 14 * * *", BERLIN, floor=5)
    assert bounds(OFFICE, lunch, wall=at("2026-11-26T13:00")) == (
        5,
        None,
        str(lunch),
        "2026-11-26T14:00:00+01:00",
    )
    assert bounds(OFFICE, lunch, wall=at("2026-11-26T15:00")) == (
        3,
        None,
        str(OFFICE),
        "2026-11-26T18:00:00+01:00",
    )
    assert str(OFFICE) == "schedule 0 8 * * mon-fri to 0 18 * * mon-fri (Europe/Berlin)"


def test_a_fixed_count_goes_before_floors_and_the_first_before_others() -> None:
    """As they are written in the file."""
    sale = ScheduleSpec("0 0 26 11 *", "0 0 27 11 *", BERLIN, fixed=9)
    always = ScheduleSpec("0 0 1 * *", "0 0 31 12 *", BERLIN, fixed=2)
    assert bounds(OFFICE, sale, always, wall=at("2026-11-26T13:00"))[:3] == (None, 9, str(sale))


def test_without_an_active_one_the_next_is_known() -> None:
    """For people who ask what will be."""
    assert bounds(OFFICE, wall=at("2026-11-28T12:00")) == (None, None, "", "2026-11-30T08:00:00+01:00")
    assert Schedules(()).bounds(0.0, 0.0) == Bounds()


def test_bounds_change_on_time() -> None:
    """Asked every two seconds, on one object."""
    schedules, start = Schedules([OFFICE]), at("2026-11-26T07:59:56")
    assert [schedules.bounds(start + t, t).floor for t in (0, 2, 3.9, 4, 6)] == [None, None, None, 3, 3]
    assert repr(schedules).startswith("<Schedules 1, Bounds(floor=3")


def test_a_clock_that_is_set_is_believed_and_told() -> None:
    """Ten hours ahead: the office is closed. Back again: it is open. When and by how much travels with the bounds."""
    schedules, noon = Schedules([OFFICE]), at("2026-11-26T12:00")
    assert schedules.bounds(noon, 100.0).set_at is None
    ahead = schedules.bounds(noon + 36_002, 102.0)
    assert (ahead.floor, ahead.set_at, ahead.set_by) == (None, 102.0, 36_000.0)
    assert schedules.bounds(noon + 36_004, 104.0).set_at == 102.0
    back = schedules.bounds(noon + 6, 106.0)
    assert (back.floor, back.set_at, back.set_by) == (3, 106.0, -36_000.0)


def test_a_clock_kept_right_is_not_set() -> None:
    """A second here and there, an hour in all."""
    schedules, noon = Schedules([OFFICE]), at("2026-11-26T12:00")
    assert all(schedules.bounds(noon + 3 * t, 2.0 * t).set_at is None for t in range(3600))
