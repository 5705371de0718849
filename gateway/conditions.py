"""What a request must be like, beyond its host and path, for a Route or one of its rules to take it.

Core. A Route's Conditions hold all at once. Those on the model's name may need the request's body: then the answer is a Look, which says
how much of a body is looked into for that, and the same question is asked again with the body. `routing` orders Routes that claim one place
by their conditions; `steering` goes through a Route's rules.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from gateway.asked import Asked, Source, Unknown


@dataclass(frozen=True, slots=True, order=True)
class Look:
    """The body has to be looked into first: so many bytes of it at most."""

    limit: int


@dataclass(frozen=True, slots=True)
class Condition:
    """One value of a request, and what it must be."""

    source: Source
    kind: Literal["exact", "regex", "present"]
    value: bytes = b""
    """For `regex` the pattern, which the whole value must fit."""
    _pattern: re.Pattern[bytes] | None = field(init=False, compare=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if self.kind == "regex":
            object.__setattr__(self, "_pattern", re.compile(self.value, re.DOTALL))

    def holds(self, asked: Asked) -> bool:
        found = self.source.of(asked)
        if found is None or self.kind == "present":
            return found is not None
        pattern = self._pattern
        return found == self.value if pattern is None else pattern.fullmatch(found) is not None

    def __str__(self) -> str:
        text = self.value.decode("utf-8", "backslashreplace")
        return f"{self.source} {text if self.kind == 'exact' else f'{self.kind} {text}'.rstrip()}"


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that a request must be, at once. What is left empty is not asked for."""

    methods: frozenset[bytes] = frozenset()
    values: frozenset[Condition] = frozenset()
    models: frozenset[str] = frozenset()
    look: Look = field(compare=False, default=Look(0))
    """How much of a body is looked into for the model's name."""

    def hold(self, asked: Asked) -> bool | Look:
        """Whether they do, or what must be done to tell. What the head can tell is asked first."""
        if self.methods and asked.head.method not in self.methods:
            return False
        for condition in self.values:
            if not condition.holds(asked):
                return False
        if not self.models:
            return True
        model = asked.model
        return self.look if isinstance(model, Unknown) else model in self.models

    @property
    def rank(self) -> tuple[int, int, int]:
        """The higher, the more specific: how many there are, then how many ask for one value, then for a pattern."""
        kinds = [condition.kind for condition in self.values]
        named = bool(self.methods) + bool(self.models)
        return len(kinds) + named, kinds.count("exact") + named, kinds.count("regex")

    def __iter__(self) -> Iterator[str]:
        """In words, one after the other."""
        if self.methods:
            yield f"method {'|'.join(sorted(method.decode() for method in self.methods))}"
        yield from sorted(map(str, self.values))
        if self.models:
            yield f"model {'|'.join(sorted(self.models))}"

    def __str__(self) -> str:
        return ", ".join(self) or "anything"
