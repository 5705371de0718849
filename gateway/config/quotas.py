"""Field types for what a pod may use of a machine: processor time and memory, as a size or as a share of what it requests.

Sizes are written as Kubernetes writes them (`500m`, `2Gi`); `2GiB`, as the rest of the file has it, is the same.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from gateway.config.problems import fault, show

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_PERCENT = rf"({_NUMBER})%"
_CORES = r"([0-9]+)m"
_MEMORY = rf"({_NUMBER})(Ki|Mi|Gi|Ti)B?"
_SURE_CORES = 10
"""A bare number from here on is more often a percentage without its sign: one pod seldom uses so many cores."""
_SIZES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@dataclass(frozen=True, slots=True)
class Quota:
    """What one pod shall use: of cores or bytes, or a share."""

    value: float
    share: bool


def parse_cores(value: object) -> Quota:
    """`70%`, `500m` or 1.5."""
    if isinstance(value, str) and (share := re.fullmatch(_PERCENT, value)):
        return _more_than_nothing(Quota(float(share[1]) / 100, share=True), value)
    if isinstance(value, str) and (cores := re.fullmatch(_CORES, value)):
        return _more_than_nothing(Quota(int(cores[1]) / 1000, share=False), value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if _SURE_CORES <= value < float("inf"):
            raise fault(
                f"{value:g} may be a percentage or cores: write {value:g}%, or {value * 1000:.0f}m for the cores"
            )
        return _more_than_nothing(Quota(float(value), share=False), value)
    raise fault(f"must be a percentage such as 70%, or cores such as 500m or 1.5, got {show(value)}")


def parse_memory(value: object) -> Quota:
    """`70%` or `2Gi`."""
    if isinstance(value, str) and (share := re.fullmatch(_PERCENT, value)):
        return _more_than_nothing(Quota(float(share[1]) / 100, share=True), value)
    if isinstance(value, str) and (size := re.fullmatch(_MEMORY, value)):
        return _more_than_nothing(Quota(float(size[1]) * _SIZES[size[2]], share=False), value)
    raise fault(f"must be a percentage such as 70%, or a size such as 512Mi or 2Gi, got {show(value)}")


def _more_than_nothing(quota: Quota, value: object) -> Quota:
    if not 0 < quota.value < float("inf"):
        raise fault(f"must be more than 0, got {show(value)}")
    return quota


def _schema(*texts: str, examples: list[Any], number: bool) -> WithJsonSchema:
    kinds: list[dict[str, Any]] = [{"type": "string", "pattern": f"^{text}$"} for text in texts]
    return WithJsonSchema(
        {
            "anyOf": [*kinds, {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": _SURE_CORES}]
            if number
            else kinds,
            "examples": examples,
        }
    )


Cores = Annotated[
    Quota, PlainValidator(parse_cores), _schema(_PERCENT, _CORES, examples=["70%", "500m", 1.5], number=True)
]
MemorySize = Annotated[
    Quota, PlainValidator(parse_memory), _schema(_PERCENT, _MEMORY, examples=["70%", "2Gi"], number=False)
]
