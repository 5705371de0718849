"""Field types for one value each: durations, sizes, percentages, counts, names.

A duration is text with its unit (`10s`, `500ms`, `1m30s`) and becomes float seconds; a share is `70%` or 0.7 and becomes
the fraction; a size is `64KiB` or a number of bytes. What has no unit and needs one is refused with the things that may have been meant.
Addresses, hosts and paths are in `addresses`; the models that use all of these in `models` and `scale`.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from gateway.config.problems import fault, shorten, show

_LONGEST = 366 * 24 * 3600.0
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION = rf"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?"
_DURATION_RE = re.compile(_DURATION)
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_PERCENT_RE = re.compile(rf"{_NUMBER}%")
_SIZES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = r"([0-9]+(?:\.[0-9]+)?)(KiB|MiB|GiB)"
_SIZE_RE = re.compile(_SIZE)
_NEAR_SIZE_RE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmg])(?:i?b)?", re.IGNORECASE)
_LARGEST_SIZE = 2**40
_BARE_RE = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def parse_duration(value: object) -> float:
    """Seconds in `1d2h3m4s5ms` or any part of it; a bare 0 needs no unit."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise fault(f"must be a duration such as 10s, got {show(value)}")
    if value == 0:
        return 0.0
    text = value if isinstance(value, str) else show(value)
    if _BARE_RE.fullmatch(text):
        raise fault(f"{shorten(text)} has no unit: write {shorten(text)}s or {shorten(text)}ms")
    if text.startswith("-"):
        raise fault(f"must not be negative, got {shorten(text)}")
    match = _DURATION_RE.fullmatch(text)
    if not match or not text:
        raise fault(f"{show(value)} is not a duration: write it as 500ms, 10s, 1m30s or 2h")
    seconds = sum(float(n) * unit for n, unit in zip(match.groups(), _UNITS, strict=True) if n)
    if seconds > _LONGEST:
        raise fault(f"{show(value)} is longer than a year")
    # 100ms is 0.1, not 0.1 plus what the sum of floats adds; no one states less than a nanosecond.
    return round(seconds, 9)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back: 90.0 is `1m30s`."""
    milliseconds = round(seconds * 1000)
    parts = []
    for size, unit in ((3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_size(value: object) -> int:
    """Bytes in `64KiB`, `1.5MiB` or `2GiB`; a plain number is bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE_RE.fullmatch(value)):
        # So many digits may be infinity to a float.
        size = round(min(float(match[1]) * _SIZES[match[2]], 2.0 * _LARGEST_SIZE))
    elif isinstance(value, str) and (near := _NEAR_SIZE_RE.fullmatch(value)):
        raise fault(f"{show(value)} is not a size: write {near[1]}{near[2].upper()}iB")
    else:
        raise fault(f"must be a size such as 64KiB, 10MiB or a number of bytes, got {show(value)}")
    if size < 0:
        raise fault(f"must not be negative, got {show(value)}")
    if size > _LARGEST_SIZE:
        raise fault(f"{show(value)} is more than {format_size(_LARGEST_SIZE)}")
    return size


def format_size(size: float) -> str:
    """The shortest text for a whole number of some unit: 65536 is `64KiB`."""
    for unit, factor in reversed(_SIZES.items()):
        if size and size % factor == 0:
            return f"{int(size // factor)}{unit}"
    return "0"


def parse_share(value: object) -> float:
    """The fraction in `70%` or 0.7. A whole number is refused: 1 may be 1% or all."""
    if isinstance(value, str) and (match := _PERCENT_RE.fullmatch(value)):
        return float(match[1]) / 100
    if isinstance(value, float) and 0 <= value <= 1:
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 100:
        raise fault(
            f"{value:g} may be a percentage or a factor: write {value:g}%, or {value / 100:g} for the same"
        )
    raise fault(f"must be a percentage such as 70%, or a fraction such as 0.7, got {show(value)}")


def parse_percentage(value: object) -> object:
    """The number of percent in `10%` or 10: for keys that, as in Knative, say percentage in their name."""
    match = _PERCENT_RE.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) if match else value


def between(low: float, high: float, text: Callable[[float], str]) -> AfterValidator:
    """Holds a value to [low, high]; `text` writes the bounds in the value's own unit."""

    def check(value: float) -> float:
        if not low <= value <= high:
            raise fault(f"must be between {text(low)} and {text(high)}, got {text(value)}")
        return value

    return AfterValidator(check)


def _more_than_nothing(seconds: float) -> float:
    if seconds <= 0:
        raise fault("must be more than 0s")
    return seconds


def _whole_seconds(seconds: float) -> float:
    if seconds % 1:
        raise fault(f"must be whole seconds, got {format_duration(seconds)}")
    return seconds


def _percent(share: float) -> str:
    return f"{share * 100:g}%"


def default(text: str) -> Any:  # noqa: ANN401 - it stands for a value of the field's type
    """A field's default, written as a person would write it, so that the schema shows it that way."""
    return Field(default=text, validate_default=True)


_DURATION_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": f"^(?=.){_DURATION}$"}, {"const": 0}],
    "examples": ["500ms", "10s", "1m30s"],
}
_SIZE_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": f"^{_SIZE}$"}, {"type": "integer", "minimum": 0}],
    "examples": ["64KiB", "10MiB", 1048576],
}
_SHARE_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": f"^{_NUMBER}%$"}, {"type": "number", "minimum": 0, "maximum": 1}],
    "examples": ["70%", 0.7],
}
_PERCENTAGE_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": f"^{_NUMBER}%$"}, {"type": "number"}],
    "examples": [10, "10%"],
}

Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
"""Bytes."""
PositiveDuration = Annotated[Duration, AfterValidator(_more_than_nothing)]
Window = Annotated[Duration, AfterValidator(_whole_seconds), between(6.0, 3600.0, format_duration)]
Delay = Annotated[Duration, AfterValidator(_whole_seconds), between(0.0, 3600.0, format_duration)]
Interval = Annotated[Duration, between(1.0, 300.0, format_duration)]
"""Between two looks at something."""
Retention = Annotated[Duration, between(0.0, 3600.0, format_duration)]
Share = Annotated[
    float, BeforeValidator(parse_share), between(0.01, 1.0, _percent), WithJsonSchema(_SHARE_SCHEMA)
]
PanicWindow = Annotated[
    float,
    BeforeValidator(parse_percentage),
    between(1.0, 100.0, "{:g}%".format),
    WithJsonSchema(_PERCENTAGE_SCHEMA),
]
PanicThreshold = Annotated[
    float,
    BeforeValidator(parse_percentage),
    between(110.0, 1000.0, "{:g}%".format),
    WithJsonSchema(_PERCENTAGE_SCHEMA),
]
HeadSize = Annotated[Size, between(2**10, 2**20, format_size)]
InspectSize = Annotated[Size, between(2**10, 2**26, format_size)]
TargetSize = Annotated[Size, between(2**7, 2**20, format_size)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
"""A number of pods, requests or turns; the bound keeps a slip of the finger from asking for a billion of them."""
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,126}\z")]
"""It names log files and labels metrics, so it is kept to what both take: two names of Kubernetes' and a dot between them fit."""
