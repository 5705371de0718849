"""What the clock on the wall asks for: floors and fixed counts at given hours.

A schedule is active while its last start is later than its last end. What lies between two changes is worked out once; each look only compares
times. In a time zone's gap a start or end comes at its end (02:30 at 03:00), in a doubled hour the first time only, as cron does it; lines
with `*` for the minute or the hour follow the real hours.

The wall's clock may be set, unlike the one that decisions are told: every look is told both, and a difference that has changed is such a
setting. It is believed at once, and `kpa` lets no count fall by it before a stable window has passed. Core; told by `target`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache

from cronsim import CronSim

from autoscaler.spec import ScheduleSpec

STEP = 5.0
"""Seconds by which both clocks may differ otherwise than before; less is how clocks are usually kept right."""
_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds from one change to the next."""

    floor: int | None = None
    """Pods at least."""
    fixed: int | None = None
    """Pods exactly; goes before `floor`."""
    words: str = ""
    """Which schedule that is, as in "schedule 0 8 * * mon-fri to 0 18 * * mon-fri (Europe/Berlin)"."""
    until: float | None = None
    """When the next schedule begins or ends, on the wall's clock; None: never."""
    set_at: float | None = None
    """When the wall's clock was last set, on the other one; None: not since it was first looked at."""
    set_by: float = 0.0


class Schedules:
    """Those of one Backend. Times are seconds since the epoch: `wall` of the wall's clock, `now` of one that never jumps."""

    def __init__(self, schedules: Sequence[ScheduleSpec]) -> None:
        self.schedules = schedules
        self._bounds: Bounds | None = None
        self._worked_out_at = 0.0
        self._ahead: float | None = None
        """Of the other clock is the wall's."""
        self._set: tuple[float | None, float] = (None, 0.0)

    def bounds(self, wall: float, now: float) -> Bounds:
        """What holds now."""
        self._notice(wall, now)
        known = self._bounds
        if known is None or wall < self._worked_out_at or (known.until is not None and wall >= known.until):
            known = self._bounds = self._work_out(wall)
            self._worked_out_at = wall
        return known

    def _notice(self, wall: float, now: float) -> None:
        before, self._ahead = self._ahead, wall - now
        if before is not None and abs(self._ahead - before) > STEP:
            self._set = (now, self._ahead - before)
            self._bounds = None

    def _work_out(self, wall: float) -> Bounds:
        active = [schedule for schedule in self.schedules if is_active(schedule, wall)]
        fixed = next((schedule for schedule in active if schedule.fixed is not None), None)
        chosen = fixed or max(active, key=lambda schedule: schedule.floor or 0, default=None)
        changes = (following(cron, one.zone, wall) for one in self.schedules for cron in (one.start, one.end))
        until = min((change for change in changes if change is not None), default=None)
        if chosen is None:
            return Bounds(None, None, "", until, *self._set)
        floor = None if fixed else chosen.floor
        return Bounds(floor, chosen.fixed, str(chosen), until, *self._set)

    def __repr__(self) -> str:
        return f"<Schedules {len(self.schedules)}, {self._bounds}>"


def is_active(schedule: ScheduleSpec, wall: float) -> bool:
    """Whether it has started, and not ended since."""
    started, ended = last(schedule.start, schedule.zone, wall), last(schedule.end, schedule.zone, wall)
    return started is not None and (ended is None or started > ended)


def last(cron: str, zone: tzinfo, wall: float) -> float | None:
    """When the line last came, `wall` included."""
    return _last(cron, zone, math.floor(wall / _MINUTE))


def following(cron: str, zone: tzinfo, wall: float) -> float | None:
    """When the line comes next."""
    return _following(cron, zone, math.floor(wall / _MINUTE))


# Lines come with whole minutes, and many Backends share them: a thousand that change at eight are not to take a second.


@lru_cache(maxsize=1024)
def _last(cron: str, zone: tzinfo, minute: int) -> float | None:
    now = minute * _MINUTE
    # Backwards the second of a doubled hour hides what came in the first: going on from what was found finds that.
    found = next(CronSim(cron, datetime.fromtimestamp(now + 1, zone), reverse=True), None)
    if found is None:
        return None
    latest = found.timestamp()
    for time in _from(cron, found):
        if time > now:
            break
        latest = time
    return latest


@lru_cache(maxsize=1024)
def _following(cron: str, zone: tzinfo, minute: int) -> float | None:
    now = minute * _MINUTE
    moments = _from(cron, datetime.fromtimestamp(now, zone))
    return next((time for time in moments if time > now), None)


def _from(cron: str, start: datetime) -> Iterator[float]:
    return (moment.timestamp() for moment in CronSim(cron, start))
