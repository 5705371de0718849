"""What is wrong with a configuration: one Problem per line, and all of them in one ConfigError.

A Fault says what is wrong with the value at a key path and knows neither file nor line; validators collect those.
A Problem is a Fault placed in its file. Every Problem prints as exactly one line, whatever the file contained.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticCustomError

KeyPath = tuple[str | int, ...]
UP = ".."
"""In the path of a validator's fault: the mapping that holds the validated value."""

_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the value at `path`."""

    path: KeyPath
    text: str
    at: KeyPath = ()
    """The key path whose line is to be named; `path`'s own when empty."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One line for the person who edits the file: `config/x.yaml:12 routes[0].split: unknown backend 'iris-v3'`."""

    file: str
    """As the person gave it; for a command-line option, its name."""
    line: int | None
    """From 1; None when the problem is with the file as a whole."""
    where: str
    text: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return printable(f"{place} {self.where}: {self.text}" if self.where else f"{place}: {self.text}")


class ConfigError(Exception):
    """A configuration that cannot be used, with everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def printable(text: str) -> str:
    """`text` on one line: whatever a terminal would obey rather than show is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def where(path: KeyPath) -> str:
    """`("routes", 0, "split")` as `routes[0].split`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{shorten(part)}" for part in path)
    return text.removeprefix(".")


def shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def show(value: object) -> str:
    """A value as a person would recognise it from the file, cut when it is long."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case str():
            return shorten(repr(value))
        case _:
            return shorten(str(value))


def fault(text: str, *under: str | int) -> PydanticCustomError:
    """The error for a validator to raise; `under` leads from the validated value to the wrong part of it."""
    return faults([(under, text)])


def faults(found: list[tuple[KeyPath, str]]) -> PydanticCustomError:
    """Several faults of one value, raised as one error: pydantic takes no more from a validator."""
    context: dict[str, Any] = {"faults": found}
    return PydanticCustomError("tidegate", "{faults}", context)
