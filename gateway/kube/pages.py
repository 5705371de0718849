"""The items of a list, decoded one at a time: a page of pods is half a megabyte of JSON, and to decode it in one go holds the loop for 5 ms.

A core. Everything around the items is small and decoded as it comes; keys may stand in any order.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

_decode = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\r\n]*")


class Page:
    """One answer to a list. Its items can be gone through once; what else it says is there when that is done."""

    def __init__(self, text: str) -> None:
        self.rest: dict[str, Any] = {}
        """All but the items: `metadata` is what matters."""
        self.is_list = False
        """It has items, if only none."""
        self._text = text
        self._at = 0

    def items(self) -> Iterator[Any]:
        """Raises ValueError, after the items before it, when the text is no JSON object."""
        self._expect("{")
        more = not self._take("}")
        while more:
            key = self._value()
            if not isinstance(key, str):
                raise ValueError(f"a name is expected before character {self._at} of a list")  # noqa: TRY004 (of the text)
            self._expect(":")
            self.is_list |= key == "items"
            if key == "items" and self._take("["):
                yield from self._list()
            else:
                self.rest[key] = self._value()
            more = self._goes_on("}")

    def _list(self) -> Iterator[Any]:
        more = not self._take("]")
        while more:
            yield self._value()
            more = self._goes_on("]")

    def _goes_on(self, end: str) -> bool:
        if self._take(","):
            return True
        self._expect(end)
        return False

    def _value(self) -> Any:  # noqa: ANN401 (JSON)
        value, self._at = _decode(self._text, self._skip())
        return value

    def _expect(self, character: str) -> None:
        if not self._take(character):
            raise ValueError(f"{character!r} expected at character {self._at} of a list")

    def _take(self, character: str) -> bool:
        """Go past it, if it is what comes next."""
        at = self._skip()
        found = self._text.startswith(character, at)
        self._at = at + len(character) if found else at
        return found

    def _skip(self) -> int:
        found = _SPACE.match(self._text, self._at)
        return found.end() if found else self._at

    def __repr__(self) -> str:
        return f"<Page read up to {self._at} of {len(self._text)}>"
