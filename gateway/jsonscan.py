"""Where the values of a few members of a JSON object stand in its bytes, without building what is in between.

Core. The whole body is checked as RFC 8259 has it, and what Python's `json` takes beyond that (NaN, Infinity) is taken here too, so that
a pod and the gateway never read different things; of a member that is given twice the last one counts, as there. Scanning goes in steps of
bounded work, for a body of a megabyte must not hold the loop: `step` returns False until it is done. Long runs of plain elements and
long strings are one match of a regular expression each, so that a prompt or a tensor costs little more than a look at its bytes.
`inspection` drives a Scan for a request whose Route asks for its body's `model` or prompt; `modelnames` puts another name in its place.
"""

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

DEEPEST = 512
"""Levels of nesting; most parsers stop at about a thousand."""
_STEP_TOKENS, _STEP_BYTES = 200, 32768
"""How much one step looks at, give or take one match: a millisecond or so, whatever stands there."""
_RUN = 64
"""Elements that one match takes at most."""

_WS = rb"[ \t\n\r]*+"
_PIECE = rb'(?:[^"\\\x00-\x1f]{1,%d}+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))'
_STRING = rb'"%b*+"' % (_PIECE % 1024)
_SHORT_STRING = rb'"%b{0,4}+"' % (_PIECE % 64)
_PART = rb"%b{1,64}+" % (_PIECE % 1024)
_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+"
_SCALAR = rb"(?:%b|%b|true|false|null|NaN|-?Infinity)" % (_SHORT_STRING, _NUMBER)
_PAIR = rb"%b%b:%b%b" % (_SHORT_STRING, _WS, _WS, _SCALAR)


def _flat(element: bytes, opening: bytes, closing: bytes) -> bytes:
    """A short array or object without another in it."""
    more = rb"(?:%b,%b%b){0,%d}+" % (_WS, _WS, element, _RUN)
    return rb"%b%b(?:%b%b)?+%b%b" % (opening, _WS, element, more, _WS, closing)


_ELEMENT = rb"(?:%b|%b|%b)" % (_SCALAR, _flat(_SCALAR, rb"\[", rb"\]"), _flat(_PAIR, rb"\{", rb"\}"))
_ELEMENTS = re.compile(rb"(?:%b%b%b,){0,%d}+" % (_WS, _ELEMENT, _WS, _RUN))
_MEMBERS = re.compile(rb"(?:%b%b%b:%b%b%b,){0,%d}+" % (_WS, _SHORT_STRING, _WS, _WS, _ELEMENT, _WS, _RUN))
_VALUE = re.compile(rb'%b(?:(\[)%b(\])?+|(\{)%b(\})?+|(%b)|("))' % (_WS, _WS, _WS, _SCALAR))
_KEY = re.compile(rb"%b(%b)%b:%b" % (_WS, _STRING, _WS, _WS))
_STRING_PART = re.compile(_PART)
_AFTER = re.compile(rb"%b([,\]}])?+" % _WS)
_ARRAY, _OBJECT = ord("["), ord("{")
_BOM = b"\xef\xbb\xbf"
_AT_VALUE, _AT_KEY, _IN_STRING, _BEHIND, _DONE = range(5)


class NotJsonError(ValueError):
    """A body that is none, and where."""


class Scan:
    """One body on its way through."""

    __slots__ = ("_at", "_begun", "_body", "_key", "_stack", "_state", "_wanted", "found")

    def __init__(self, body: bytes, wanted: frozenset[str]) -> None:
        """Raises NotJsonError when the body is not UTF-8."""
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise NotJsonError(f"byte {error.start} is not UTF-8") from error
        self.found: dict[str, tuple[int, int]] = {}
        """Where the values of the wanted members begin and end; complete once `step` has returned True."""
        self._body = body
        self._wanted = wanted
        self._at = len(_BOM) if body.startswith(_BOM) else 0
        self._stack = bytearray()
        self._state = _AT_VALUE
        self._key = ""
        self._begun = 0

    def step(self) -> bool:
        """Go on; True when all has been seen. Raises NotJsonError where it is none."""
        far = self._at + _STEP_BYTES
        for _ in range(_STEP_TOKENS):
            state = self._state
            if state == _AT_VALUE:
                self._value()
            elif state == _BEHIND:
                self._behind()
            elif state == _AT_KEY:
                self._member()
            elif state == _IN_STRING:
                self._string()
            else:
                return True
            if self._at > far:
                break
        return self._state == _DONE

    def _value(self) -> None:
        body, stack = self._body, self._stack
        if stack and stack[-1] == _ARRAY:
            run = _ELEMENTS.match(body, self._at)
            self._at = run.end() if run is not None else self._at
        found = _VALUE.match(body, self._at)
        if found is None:
            raise self._fault()
        kind = found.lastindex
        self._at = found.end()
        if kind == 5 or kind in {2, 4}:
            self._state = _BEHIND
        elif kind == 6:
            self._state = _IN_STRING
        elif len(stack) == DEEPEST:
            raise NotJsonError(f"it is nested deeper than {DEEPEST} levels at byte {self._at}")
        else:
            stack.append(_ARRAY if kind == 1 else _OBJECT)
            self._state = _AT_VALUE if kind == 1 else _AT_KEY

    def _member(self) -> None:
        outermost = len(self._stack) == 1
        if not outermost:
            run = _MEMBERS.match(self._body, self._at)
            self._at = run.end() if run is not None else self._at
        found = _KEY.match(self._body, self._at)
        if found is None:
            raise self._fault()
        if outermost:
            raw = found[1]
            self._key = json.loads(raw) if b"\\" in raw else raw[1:-1].decode()
            self._begun = found.end()
        self._at = found.end()
        self._state = _AT_VALUE

    def _string(self) -> None:
        part = _STRING_PART.match(self._body, self._at)
        if part is not None:
            self._at = part.end()
        if self._body[self._at : self._at + 1] == b'"':
            self._at += 1
            self._state = _BEHIND
        elif part is None:
            raise self._fault()

    def _behind(self) -> None:
        """A value has ended."""
        stack = self._stack
        if len(stack) == 1 and stack[0] == _OBJECT and self._key in self._wanted:
            self.found[self._key] = (self._begun, self._at)
        found = _AFTER.match(self._body, self._at)
        sign = found[1] if found is not None else None
        self._at = found.end() if found is not None else self._at
        if not stack:
            if sign is not None or self._at < len(self._body):
                raise self._fault()
            self._state = _DONE
        elif sign == b",":
            self._state = _AT_VALUE if stack[-1] == _ARRAY else _AT_KEY
        elif sign == (b"]" if stack[-1] == _ARRAY else b"}"):
            stack.pop()
        else:
            raise self._fault()

    def _fault(self) -> NotJsonError:
        if self._at >= len(self._body):
            return NotJsonError("it ends in the middle" if self._body else "it is empty")
        return NotJsonError(f"it is not valid JSON at byte {self._at}")

    def __repr__(self) -> str:
        state = "done" if self._state == _DONE else f"at {self._at}"
        return f"<Scan of {len(self._body)} bytes, {state}, found {sorted(self.found)}>"


def scan(body: bytes, wanted: frozenset[str]) -> dict[str, tuple[int, int]]:
    """All of it at once."""
    found = Scan(body, wanted)
    while not found.step():
        pass
    return found.found


_DECODER = json.JSONDecoder(parse_int=float)
"""Nobody looks at the numbers, and Python refuses to make an int of more than 4,300 digits."""
PROMPT_MEMBERS = frozenset(("messages", "prompt"))
"""What `prompt_key` needs to know of a body."""


def prompt_key(body: bytes, found: Mapping[str, tuple[int, int]], characters: int) -> int | None:
    """A stable 64-bit hash of the first `characters` of what a user says: the first message of theirs, or `prompt`. None: nothing was said.

    `found` is a Scan's, for PROMPT_MEMBERS, which has seen the body to be valid. Messages are read up to that one, no further.
    """
    said = ""
    if "messages" in found:
        said = _first_user_message(body, found["messages"])
    elif "prompt" in found:
        begin, end = found["prompt"]
        said = _text(_DECODER.decode(body[begin:end].decode()))
    begun = said[:characters].encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(begun, digest_size=8).digest(), "big") if begun else None


def _first_user_message(body: bytes, place: tuple[int, int]) -> str:
    begin, end = place
    for message in _items(body[begin:end].decode()):
        if isinstance(message, dict) and message.get("role") == "user":
            return _text(message.get("content"))
    return ""


def _items(text: str) -> Iterator[Any]:
    """The items of a valid array, one at a time; nothing when it is something else."""
    at = 1 if text.startswith("[") else len(text)
    while True:
        while at < len(text) and text[at] in " \t\n\r,":
            at += 1
        if at >= len(text) or text[at] == "]":
            return
        item, at = _DECODER.raw_decode(text, at)
        yield item


def _text(content: object) -> str:
    """Text as it is; of a list (of texts, or of parts with a `text`) the texts one after the other."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") if isinstance(part, dict) else part for part in content)
    return "".join(part for part in parts if isinstance(part, str))
