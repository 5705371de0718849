"""Reads the usual shape of a message in one piece, and leaves whatever is unusual to the parser.

Core. A head that came whole, in HTTP/1.1, with nothing but plain fields and at most a Content-Length, is split into lines; each line is
checked once in full (RFC 9110, 5.5 and 5.6.2; stricter than the parser, never laxer) and remembered, so that the next message
pays a look-up per field instead of a call from the parser. Anything else (chunks, Connection with a meaning, Upgrade, Expect, a second
message behind the first, every fault) is None here, and the parser's. The law, held by tests: what is read here, the parser reads
likewise. `reader` and `upstream` try this first.
"""

from collections.abc import Mapping

from gateway.http1 import (
    BODYLESS,
    CONNECTION,
    CONTENT_LENGTH,
    DROP,
    HOST,
    KEEP,
    POD_LIMITS,
    REQUEST_FIELDS,
    REQUEST_ID,
    RESPONSE_FIELDS,
    TOKEN,
    TRUSTED_FIELDS,
    HeadLimits,
    RequestHead,
    ResponseHead,
    field_line,
    names_host,
)

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_VALUE = bytes([9, *range(32, 127), *range(128, 256)])
_TARGET = bytes(range(33, 127)).replace(b"#", b"")
_DIGITS = b"0123456789"
_LONGEST_LENGTH = 15
_END = b"\r\n\r\n"
REMEMBERED = 16_384
"""Lines kept per direction: ten thousand hosts, 12 MB at most. One that is full is emptied: clients that never repeat themselves make
the others pay a second look.
"""
_LONGEST_REMEMBERED = 256

Entry = bytes | tuple[int, bytes, int]
"""A field that is forwarded, or left out (empty), as a whole line; else what is to be done with it: action, value, and its number."""


class LineTable(dict[bytes, Entry | None]):
    """What a field line means, as it stands in a head: `table[line]`; None for a line that the parser has to judge."""

    def __init__(self, fields: Mapping[bytes, int]) -> None:
        super().__init__()
        self._fields = fields

    def __missing__(self, line: bytes) -> Entry | None:
        entry = self._read(line)
        if len(line) <= _LONGEST_REMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()
            self[line] = entry
        return entry

    def _read(self, line: bytes) -> Entry | None:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not name or name.translate(None, TOKEN) or value.translate(None, _VALUE):
            return None
        action = self._fields[name]
        if action == KEEP:
            return field_line(name, value)
        if action == DROP or (action == CONNECTION and value.lower() == b"keep-alive"):
            return b""
        if action == CONTENT_LENGTH:
            plain = value and not value.translate(None, _DIGITS) and len(value) <= _LONGEST_LENGTH
            return (action, b"content-length: %d\r\n" % int(value), int(value)) if plain else None
        if (action == HOST and names_host(value)) or (action == REQUEST_ID and value):
            return action, value, 0
        return None


class StatusTable(dict[bytes, int]):
    """The status of each status line that was seen; 0 for one that the parser has to judge."""

    def __missing__(self, line: bytes) -> int:
        version, digits, reason = line[:9], line[9:12], line[12:]
        plain = version == b"HTTP/1.1 " and len(digits) == 3 and not digits.translate(None, _DIGITS)
        status = int(digits) if plain and reason[:1] == b" " and not reason.translate(None, _VALUE) else 0
        if not 200 <= status <= 599 or status in BODYLESS:
            status = 0
        if len(line) <= _LONGEST_REMEMBERED and len(self) < REMEMBERED:
            self[line] = status
        return status


REQUEST_LINES = LineTable(REQUEST_FIELDS)
TRUSTED_LINES = LineTable(TRUSTED_FIELDS)
"""For a trusted proxy's requests."""
_RESPONSE_LINES = LineTable(RESPONSE_FIELDS)
_STATUSES = StatusTable()


def request(data: bytes, limits: HeadLimits, table: LineTable) -> tuple[RequestHead, int] | None:
    """A request's head, and where its body begins in `data`, which holds nothing beyond this request; else None."""
    end = data.find(_END)
    if not 0 < end <= limits.size:
        return None
    start, *lines = data[:end].split(b"\r\n")
    parts = start.split(b" ")
    if len(parts) != 3 or len(lines) > limits.fields:
        return None
    method, target, version = parts
    if version != b"HTTP/1.1" or method not in METHODS or len(target) > limits.target:
        return None
    if target[:1] != b"/" or target.translate(None, _TARGET):
        return None
    head = RequestHead(method, target)
    kept = head.lines
    for line in lines:
        entry = table[line]
        if entry.__class__ is bytes:
            kept.append(entry)
        elif entry is None or not _note(head, entry):  # type: ignore[arg-type]
            return None
    if head.host is None or len(data) - end - 4 > max(0, head.content_length):
        return None
    return head, end + 4


def _note(head: RequestHead, entry: tuple[int, bytes, int]) -> bool:
    action, value, number = entry
    if action == HOST:
        if head.host is not None:
            return False
        head.host = value
        head.lines.append(b"host: %b\r\n" % value)
    elif action == CONTENT_LENGTH:
        if head.content_length >= 0:
            return False
        head.content_length = number
        head.lines.append(value)
    elif len(value) <= 128:
        head.request_id = value
    return True


def response(data: bytes) -> tuple[ResponseHead, int] | None:
    """An answer with a Content-Length, after which its connection goes on: its head, and where its body begins in `data`, which holds
    nothing beyond this answer; else None.
    """
    end = data.find(_END)
    if not 0 < end <= POD_LIMITS.size:
        return None
    start, *lines = data[:end].split(b"\r\n")
    status = _STATUSES[start]
    if not status or len(lines) > POD_LIMITS.fields:
        return None
    head = ResponseHead(status)
    kept = head.lines
    length = -1
    table = _RESPONSE_LINES
    for line in lines:
        entry = table[line]
        if entry.__class__ is bytes:
            kept.append(entry)
        elif entry is None or entry[0] != CONTENT_LENGTH or length >= 0:
            return None
        else:
            length = entry[2]
    if len(data) - end - 4 > length:
        return None
    head.content_length = length
    return head, end + 4
