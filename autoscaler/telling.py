"""What an autoscaler says of its Backends, as text for a terminal: why there are N pods, what would change that, and how it came to it.

Core: reads the answer of `/v1/decisions`, of which an older or newer autoscaler may leave parts out. `inquiry` asks, `tidegate explain` prints.
"""

from collections.abc import Iterator
from typing import Any

Told = dict[str, Any]
"""Of one Backend."""
_WIDEST_NAME = 40
_OF_CHANGE = {"age_seconds", "desired", "rule", "reason"}
_OF_START = {"age_seconds", "seconds", "pod", "phases"}


def overview(backends: dict[str, Told]) -> list[str]:
    """One line for each Backend."""
    width = min(max(map(len, backends), default=0), _WIDEST_NAME)
    return [f"{name:<{width}}  {_line(told.get('why', ''))}" for name, told in backends.items()]


def whole(name: str, told: Told, last: float) -> list[str]:
    """All of one Backend, with its changes of the `last` seconds."""
    return [
        name,
        f"  why:           {_line(told.get('why', 'this autoscaler does not say'))}",
        f"  would change:  {_line(told.get('would_change', 'this autoscaler does not say'))}",
        "",
        *_history([change for change in told.get("history") or () if _has(change, _OF_CHANGE)], last),
        *(_cold_start(told["cold_start"]) if _has(told.get("cold_start"), _OF_START) else ()),
    ]


def _history(changes: list[dict[str, Any]], last: float) -> Iterator[str]:
    shown = [change for change in changes if change["age_seconds"] <= last]
    if not shown:
        yield f"  no change in the last {age(last)}" + (
            f", the last one was {age(changes[0]['age_seconds'])} ago" if changes else ""
        )
        return
    cells = [
        (age(change["age_seconds"]), _step(change), change["rule"], _line(change["reason"]))
        for change in shown
    ]
    yield f"  changes in the last {age(last)}:"
    rows = [("age", "pods", "rule", "reason"), *cells]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        first = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False))
        yield f"    {first}  {row[3]}"


def _step(change: dict[str, Any]) -> str:
    before, after = change.get("from"), change["desired"]
    return str(after) if before in {after, None} else f"{before} → {after}"


def _has(part: object, keys: set[str]) -> bool:
    return isinstance(part, dict) and part.keys() >= keys


def _cold_start(start: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield f"  last cold start, {age(start['age_seconds'])} ago: {start['seconds']:.3f} s, pod {start['pod']}"
    phases = start["phases"].items()
    yield "    " + ", ".join(f"{phase.replace('_', ' ')} {seconds:.3f}" for phase, seconds in phases)


def age(seconds: float) -> str:
    """`12 s`, `4 min`, `2 h`: what a person needs to know."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _line(text: object) -> str:
    """On one line, without what would move a terminal's cursor: reasons quote what pods and the cluster say."""
    return "".join(char if char.isprintable() else " " for char in str(text))
