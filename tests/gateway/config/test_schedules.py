"""The `schedules` of a `scale` section: cron lines, time zones, and what does not fit together."""

from collections.abc import Callable
from zoneinfo import ZoneInfo

import pytest

from gateway.config import Config
from gateway.config.schedules import ResolvedSchedule

BACKEND = "backends: {{a: {{target: {{urls: [http://h]}}, scale: {{{scale}}}}}}}"
HOURS = 'start: "0 8 * * mon-fri", end: "0 18 * * mon-fri"'


def test_a_schedule_is_resolved_with_its_zone(loaded: Callable[[str], Config]) -> None:
    """A floor or a fixed count; the zone is UTC unless it is named, and spaces do not matter."""
    text = f'schedules: [{{{HOURS}, timezone: Europe/Berlin, min: 3}}, {{start: "0  20 * * *", end: "0 6 * * *", replicas: 1}}]'
    scale = loaded(BACKEND.format(scale=text)).backends["a"].resolved_scale(runs_command=False)
    assert scale.schedules == (
        ResolvedSchedule("0 8 * * mon-fri", "0 18 * * mon-fri", ZoneInfo("Europe/Berlin"), 3, None),
        ResolvedSchedule("0 20 * * *", "0 6 * * *", ZoneInfo("UTC"), None, 1),
    )


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        (f"{HOURS}", "replicas: must be given, or `min`"),
        (f"{HOURS}, min: 1, replicas: 2", "replicas: must not stand beside `min`"),
        (f"{HOURS}, min: 0", "min: must be at least 1, got 0"),
        (f"{HOURS}, replicas: 0", "replicas: must be at least 1, got 0"),
        (
            f"{HOURS}, min: 1, timezone: europe/berlim",
            "timezone: 'europe/berlim' is no time zone: did you mean Europe/Berlin?",
        ),
        (
            f"{HOURS}, min: 1, timezone: CEST",
            "timezone: 'CEST' is no time zone: write it as Europe/Berlin, or UTC",
        ),
        (
            f"{HOURS}, min: 1, timezone: ../zone",
            "timezone: '../zone' is no time zone: write it as Europe/Berlin, or UTC",
        ),
        (
            f"{HOURS}, min: 1, timezone: Europe",
            "timezone: 'Europe' is no time zone: did you mean Europe/Rome?",
        ),
        (
            'start: "0 8 * *", end: "0 9 * * *", min: 1',
            "start: '0 8 * *' is not minute, hour, day of month, month and weekday, as in \"0 8 * * mon-fri\"",
        ),
        (
            'start: "0 8 * * *", end: "0 25 * * *", min: 1',
            "end: '0 25 * * *' has a wrong hour, which is 0 to 23: write cron lines such as 0 8 * * mon-fri",
        ),
        (
            'start: "0 8 30 2 *", end: "0 9 * * *", min: 1',
            "start: '0 8 30 2 *' has a wrong day-of-month, which is 1 to the last day that the month can have: write cron lines such as 0 8 * * mon-fri",
        ),
        (
            'start: "0 8 */30 2 mon#2", end: "0 9 * * *", min: 1',
            "start: '0 8 */30 2 mon#2' never comes",
        ),
        (
            'start: "0 8 * * *", end: "0 8 * * *", min: 1',
            "end: must not be as start, '0 8 * * *': it would never be active",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    refused: Callable[[str], list[str]], schedule: str, problem: str
) -> None:
    """With the place in the file, and what to write."""
    text = BACKEND.format(scale=f"schedules: [{{{schedule}}}]")
    assert refused(text) == [f"x.yaml:1 backends.a.scale.schedules[0].{problem}"]


def test_schedules_keep_to_max_and_leave_others_theirs(refused: Callable[[str], list[str]]) -> None:
    """`max` holds in any case, and with `by: hpa` the count is another's."""
    text = BACKEND.format(
        scale=f"max: 2, by: hpa, schedules: [{{{HOURS}, min: 3}}, {{{HOURS}, replicas: 4}}]"
    )
    assert sorted(refused(text)) == [
        "x.yaml:1 backends.a.scale.schedules: cannot stand beside `by: hpa`, which leaves the count to another from one pod on",
        "x.yaml:1 backends.a.scale.schedules[0].min: must not be above max, 2, got 3",
        "x.yaml:1 backends.a.scale.schedules[1].replicas: must not be above max, 2, got 4",
    ]
