"""What requests have in common that should meet the same pod: the key of consistent hashing, for one Backend as one Route leads to it.

Core. A header field, a cookie, a parameter, or the beginning of the prompt in a JSON body, whose work that pod's cache may still hold. Where only the
body tells, it must be looked into first (a Look); one that is no JSON by its Content-Type, is compressed or is too long to be looked into has no
key, and goes to the least busy pod. `steering` asks, once the Backend is known.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.conditions import Look
from gateway.hashring import hashed
from gateway.jsonscan import prompt_key

if TYPE_CHECKING:
    from gateway.asked import Asked, Source


@dataclass(frozen=True, slots=True)
class Affinity:
    """Where the key is found."""

    source: "Source | None" = None
    prompt: int = 0
    """Characters of what the user says first; when there is no source."""
    look: Look = field(default_factory=lambda: Look(0))
    """How much of a body is looked into for that."""

    def key(self, asked: "Asked") -> int | Look | None:
        """The key, or what must be done to tell; None: the request has nothing in common with others."""
        if self.source is not None:
            value = self.source.of(asked)
            return hashed(value) if value else None
        if asked.looked_into:
            return prompt_key(asked.body, asked.found, self.prompt) if asked.body else None
        return self.look if self._readable(asked) else None

    def _readable(self, asked: "Asked") -> bool:
        kind = asked.header(b"content-type")
        return (
            (kind is None or b"json" in kind.lower())
            and asked.header(b"content-encoding") in {None, b"", b"identity"}
            and asked.head.content_length <= self.look.limit
        )
