"""Puts answers of our own that speak of trouble into the log, so that a request id leads to its reason.

Core: told the time, returns the lines. Under overload thousands of refusals come in a second: a few of each reason are told one by one, the
rest as a number. `gateway` asks, and logs what it gets.
"""

from gateway.errors import GatewayError

TOLD_PER_SECOND = 5
"""Lines of one reason and Backend in one second."""


class Reporter:
    """What was said, and what was left out, per reason and Backend."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], list[int]] = {}
        """Second, lines told in it, failures left out since the last line."""

    def lines(self, error: GatewayError, backend: str, request_id: bytes, now: float) -> list[str]:
        """What to log of one failure: nothing, its line, or its line with the number of those before it that got none."""
        second = int(now)
        entry = self._told.setdefault((error.reason.slug, backend), [second, 0, 0])
        if entry[0] != second:
            entry[0], entry[1] = second, 0
        if entry[1] >= TOLD_PER_SECOND:
            entry[2] += 1
            return []
        entry[1] += 1
        skipped, entry[2] = entry[2], 0
        where = f" backend={backend}" if backend else ""
        line = f"{error.reason.status} {error.reason.slug}{where} request_id={_plain(request_id)}: {error.detail}"
        return [f"{line} (and {skipped} more like it before)" if skipped else line]

    def __repr__(self) -> str:
        return f"<Reporter of {len(self._told)} kinds of failure>"


def _plain(request_id: bytes) -> str:
    """As it may stand in a line of the log: a client chose it, and neither words of its own nor a terminal's control codes belong there."""
    return "".join(chr(byte) if 33 <= byte <= 126 else f"\\x{byte:02x}" for byte in request_id)
