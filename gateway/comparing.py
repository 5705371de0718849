"""Two answers to one request, compared: whether a new version of a model says what the present one says.

Core. First the statuses, then the bodies: byte for byte, or, where both are JSON, value for value, numbers within a tolerance. It goes in small
steps, so that answers of some size hold the event loop for less than a millisecond at a time. `mirroring` gathers what was heard.
"""

import json
from collections.abc import Iterator
from math import isclose
from typing import Any, Literal

from gateway.http1 import ResponseHead

HEARD_MOST = 65536
"""Bytes of an answer's body that are kept to be compared; to parse so many takes half a millisecond."""
_NODES = 500
"""Values that one step looks at."""
_SHOWN = 60
_WAY_SHOWN = 200
"""Characters of the way to a difference that the log tells."""

Result = Literal["same", "status", "body", "skipped"]
Path = tuple[Any, Any] | None
"""The way to what is within, and its key or index: nothing is copied on the way down."""
_Pairs = Iterator[tuple[Path, Any, Any]]


class Heard:
    """What is known of one answer."""

    __slots__ = ("_pieces", "_size", "began", "coded", "complete", "status")

    def __init__(self) -> None:
        self.status = 0
        """0: nothing was heard."""
        self.began = 0.0
        """Seconds from the request's sending to the answer's head."""
        self.coded = False
        self.complete = False
        self._pieces: list[bytes] = []
        self._size = 0

    def begin(self, head: ResponseHead, seconds: float) -> None:
        self.status, self.began = head.status, seconds
        self.coded = any(line[:17].lower() == b"content-encoding:" for line in head.lines)

    def add(self, data: bytes, *, ended: bool) -> None:
        self._size += len(data)
        self.complete = ended
        if self._size <= HEARD_MOST:
            self._pieces.append(data)
        else:
            self._pieces.clear()

    @property
    def body(self) -> bytes | None:
        """None: it was cut, is too large, or cannot be read."""
        known = self.complete and self._size <= HEARD_MOST and not self.coded
        return b"".join(self._pieces) if known else None

    def __repr__(self) -> str:
        return f"<Heard {self.status}, {self._size} bytes{'' if self.complete else ', incomplete'}>"


class Comparison:
    """Takes steps until it knows."""

    def __init__(self, first: Heard, second: Heard, tolerance: float) -> None:
        """Numbers are equal when they differ by no more than `tolerance`, or that share of the larger one."""
        self.first = first
        self.second = second
        self.result: Result = "skipped"
        self.difference = ""
        """What was different first, in words."""
        self._tolerance = tolerance
        self._parsed: list[Any] = []
        self._stack: list[_Pairs] | None = None

    def step(self) -> bool:
        """True when it is done."""
        if self._stack is None:
            return self._begin()
        for _ in range(_NODES):
            if not self._stack:
                self.result = "same"
                return True
            pair = next(self._stack[-1], None)
            if pair is None:
                self._stack.pop()
            elif self._differs(*pair):
                self.result = "body"
                return True
        return False

    def _begin(self) -> bool:
        first, second = self.first, self.second
        if first.status != second.status and first.status and second.status:
            self.result = "status"
            self.difference = f"status: {first.status} and {second.status}"
            return True
        bodies = (first.body, second.body)
        if bodies[0] is None or bodies[1] is None or bodies[0] == bodies[1]:
            self.result = "skipped" if None in bodies else "same"
            return True
        return self._parse(bodies[len(self._parsed)] or b"")

    def _parse(self, body: bytes) -> bool:
        try:
            self._parsed.append(json.loads(body))
        except (ValueError, RecursionError):
            self.result, self.difference = "body", "bodies that are not JSON"
            return True
        if len(self._parsed) == 2:
            self._stack = [iter([(None, *self._parsed)])]
        return False

    def _differs(self, path: Path, a: Any, b: Any) -> bool:  # noqa: ANN401  # JSON has many types
        assert self._stack is not None  # noqa: S101  # it is being walked
        if isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                odd = min(a.keys() ^ b.keys())
                return self._note((path, odd), *("there" if odd in each else "not there" for each in (a, b)))
            self._stack.append(((path, key), a[key], b[key]) for key in a)
            return False
        if isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return self._note(path, f"{len(a)} values", f"{len(b)} values")
            self._stack.append(((path, i), x, y) for i, (x, y) in enumerate(zip(a, b, strict=True)))
            return False
        return not self._equal(a, b) and self._note(path, _shown(a), _shown(b))

    def _equal(self, a: Any, b: Any) -> bool:  # noqa: ANN401
        if isinstance(a, bool) or isinstance(b, bool) or not (_is_number(a) and _is_number(b)):
            return type(a) is type(b) and bool(a == b)
        try:
            return isclose(a, b, rel_tol=self._tolerance, abs_tol=self._tolerance) or (a != a and b != b)  # noqa: PLR0124  # NaN
        except OverflowError:
            return bool(a == b)

    def _note(self, path: Path, a: str, b: str) -> bool:
        parts: list[str] = []
        while path is not None:
            path, part = path
            parts.append(f"[{part}]" if isinstance(part, int) else f".{part}")
        where = "".join(reversed(parts))
        shown = where if len(where) <= _WAY_SHOWN else f"{where[:_WAY_SHOWN]}…"
        self.difference = f"${shown}: {a} and {b}"
        return True

    def __repr__(self) -> str:
        return f"<Comparison of {self.first!r} and {self.second!r}: {self.result}>"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
