"""Regular expressions that a client could make slow: warnings for `checks`.

What may be longer or shorter within something that repeats without end may be divided in 2^n ways: `/([a-z]+)*x` takes 1.6 s to find
that it does not fit 26 letters, and twice as long for each letter more, while the gateway does nothing else. It is harmless when something
stands between two turns that the inner part cannot be, as in `(/[a-z]+)*`, or when the inner part never gives back what it has (`++`).
"""

import re
from collections.abc import Iterable, Iterator
from re import _parser as parser  # type: ignore[attr-defined]  # typeshed does not know it; nothing else knows Python's syntax
from typing import TYPE_CHECKING, Any

from gateway.config.problems import Fault, KeyPath

if TYPE_CHECKING:
    from gateway.config.matching import Matching
    from gateway.config.models import Document

_MANY = 10
"""Turns from which a bounded repetition counts as one without end."""
_GREEDY = {parser.MAX_REPEAT, parser.MIN_REPEAT}
"""Repetitions that give back what they have."""
_CATEGORIES = {parser.CATEGORY_DIGIT: rb"\d", parser.CATEGORY_WORD: rb"\w", parser.CATEGORY_SPACE: rb"\s"}
_TEXT = (
    "repeats what may be longer or shorter within: a client can make it take minutes, in which nobody is served; write the inner `+` or `*` as `++` or "
    "`*+`, which give nothing back"
)

Item = tuple[object, Any]
"""An operation and what it is about, as the parser of `re` has them."""


def slow_patterns(document: "Document") -> Iterator[Fault]:
    """A warning for each, where it stands."""
    for i, route in enumerate(document.routes):
        for j, rule in enumerate(route.paths):
            if rule.kind == "regex" and is_slow(rule.value):
                yield Fault(("routes", i, "paths", j), _TEXT)
        yield from _conditions(("routes", i), route)
        for j, cohort in enumerate(route.rules):
            yield from _conditions(("routes", i, "rules", j), cohort)


def _conditions(path: KeyPath, asks: "Matching") -> Iterator[Fault]:
    for key, values in (("headers", asks.headers), ("cookies", asks.cookies), ("query", asks.query)):
        for name, (kind, value) in values.items():
            if kind == "regex" and is_slow(value):
                yield Fault((*path, key, name), _TEXT)


def is_slow(pattern: bytes) -> bool:
    """Whether it may take time that grows exponentially with what it is tried on. May be True of one that does not; errs that way."""
    return any(map(_slow, parser.parse(pattern)))


def _slow(item: Item) -> bool:
    """Whether it, or anything within, repeats something that may be divided in more than one way."""
    op, about = item
    if op in _GREEDY and about[1] >= _MANY and _divides(about[2]):
        return True
    return any(_slow(each) for part in _within(item) for each in part)


def _divides(body: Iterable[Item]) -> bool:
    """Whether a part of it may be longer or shorter, and nothing in each turn is certain to be none of that part."""
    certain = [about for op, about in _flat(body) if op is parser.LITERAL]
    return any(all(_fits(part, byte) for byte in certain) for part in _loose(body))


def _loose(items: Iterable[Item]) -> Iterator[list[Item]]:
    """What may be there more often or less, or in more than one way, at any depth, and may give back what it has."""
    for item in items:
        op, about = item
        if op in _GREEDY and about[0] < about[1]:
            yield list(about[2])
        elif op is parser.BRANCH and not _apart(about[1]):
            yield from (list(way) for way in about[1] if way)
        if op not in {parser.POSSESSIVE_REPEAT, parser.ATOMIC_GROUP}:
            for part in _within(item):
                yield from _loose(part)


def _apart(ways: Iterable[Iterable[Item]]) -> bool:
    """Whether the first byte tells which one it is."""
    firsts = [list(_flat(way))[:1] for way in ways]
    return all(firsts) and all(sum(_fits(first, byte) for first in firsts) <= 1 for byte in range(256))


def _flat(items: Iterable[Item]) -> Iterator[Item]:
    """Without the groups around them."""
    for op, about in items:
        if op is parser.SUBPATTERN:
            yield from _flat(about[3])
        else:
            yield op, about


def _within(item: Item) -> list[Iterable[Item]]:
    op, about = item
    if op in _GREEDY or op is parser.POSSESSIVE_REPEAT:
        return [about[2]]
    if op is parser.SUBPATTERN:
        return [about[3]]
    if op is parser.BRANCH:
        return list(about[1])
    if op in {parser.ASSERT, parser.ASSERT_NOT}:
        return [about[1]]
    return [about] if op is parser.ATOMIC_GROUP else []


def _fits(items: list[Item], byte: int) -> bool:
    """Whether this one item takes that byte, in either case; True where that is hard to say."""
    items = list(_flat(items))
    both = {byte, *bytes([byte]).lower(), *bytes([byte]).upper()}
    return len(items) != 1 or any(_takes(items[0], each) for each in both)


def _takes(item: Item, byte: int) -> bool:
    op, about = item
    if op is parser.LITERAL:
        return bool(about == byte)
    if op is parser.NOT_LITERAL:
        return bool(about != byte)
    if op is parser.RANGE:
        return bool(about[0] <= byte <= about[1])
    if op is parser.IN:
        negated = about[0][0] is parser.NEGATE
        return any(_takes(member, byte) for member in about[negated:]) != negated
    pattern = _CATEGORIES.get(about) if op is parser.CATEGORY else None
    return pattern is None or re.fullmatch(pattern, bytes([byte])) is not None
