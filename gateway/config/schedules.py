"""The `schedules` of a `scale` section: counts of pods at hours of the clock, as cron lines in a time zone.

Each line is tried here, so that one that can never come is a mistake with a place in the file. What they mean at a given moment is worked out in
the autoscaler. Neighbours: `scale` holds them.
"""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from difflib import get_close_matches
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from gateway.config.problems import fault, show
from gateway.config.section import Section
from gateway.config.units import Count

_FIELDS = 5
_RANGES = {
    "minute": ", which is 0 to 59",
    "hour": ", which is 0 to 23",
    "day-of-month": ", which is 1 to the last day that the month can have",
    "month": ", which is 1 to 12, or jan to dec",
    "day-of-week": ", which is 0 to 7 (0 and 7: sunday), or sun to sat",
}
_ANY_DAY = datetime(2024, 1, 1)  # noqa: DTZ001 (whether a line ever comes is the same in any zone)


@dataclass(frozen=True, slots=True)
class ResolvedSchedule:
    """Active from each `start` to the next `end`; one of `floor` and `fixed` is given."""

    start: str
    end: str
    zone: tzinfo
    floor: int | None
    """Pods at least."""
    fixed: int | None
    """Exactly so many."""


def _cron(text: str) -> str:
    if len(text.split()) != _FIELDS:
        raise fault(
            f'{show(text)} is not minute, hour, day of month, month and weekday, as in "0 8 * * mon-fri"'
        )
    try:
        comes = next(CronSim(text, _ANY_DAY), None)
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        within = _RANGES.get(field, "")
        raise fault(
            f"{show(text)} has a wrong {field}{within}: write cron lines such as 0 8 * * mon-fri"
        ) from error
    if comes is None:
        raise fault(f"{show(text)} never comes")
    return " ".join(text.split())


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError) as error:  # unknown; a path, not a name; a folder
        known = available_timezones()
        if not known:
            raise fault("this machine knows no time zones: install the package tzdata") from error
        names = {name.lower(): name for name in sorted(known)}
        # Of a short name (CEST) a near one (EST) is another place's, so none is offered.
        near = [names[name] for name in get_close_matches(text.lower(), names, n=1) if "/" in name]
        hint = f": did you mean {near[0]}?" if near else ": write it as Europe/Berlin, or UTC"
        raise fault(f"{show(text)} is no time zone{hint}") from error
    return text


Cron = Annotated[str, AfterValidator(_cron), Field(examples=["0 8 * * mon-fri"])]
Zone = Annotated[str, AfterValidator(_zone), Field(examples=["Europe/Berlin"])]
_Some = Annotated[Count, Field(ge=1)]


class ScheduleConfig(Section):
    """A number of pods from each `start` to the next `end`."""

    start: Cron
    """Minute, hour, day of month, month, weekday."""
    end: Cron
    """The same."""
    timezone: Zone = "UTC"
    """Whose clock is meant."""
    min: _Some | None = None
    """Pods at least, in place of a lower `min` of the backend."""
    replicas: Annotated[_Some | None, Field(validate_default=True)] = None
    """Pods exactly, whatever the demand."""

    @field_validator("end")
    @classmethod
    def _ends_otherwise(cls, value: str, info: ValidationInfo) -> str:
        if value == info.data.get("start"):
            raise fault(f"must not be as start, {show(value)}: it would never be active")
        return value

    @field_validator("replicas")
    @classmethod
    def _one_of_both(cls, value: int | None, info: ValidationInfo) -> int | None:
        if "min" in info.data and (value is None) == (info.data["min"] is None):
            raise fault("must not stand beside `min`" if value else "must be given, or `min`")
        return value

    def resolve(self) -> ResolvedSchedule:
        """With the time zone's rules."""
        return ResolvedSchedule(self.start, self.end, ZoneInfo(self.timezone), self.min, self.replicas)
