"""The last minute's beats, for an autoscaler that was away: it asks for them when it connects, and nothing is missing from its averages.

Core: told the time. Kept are lines, encoded once, and only where somebody reads lines or lately did: a gateway that is in one process with its
autoscaler keeps nothing. `admin`'s hub is told every line.
"""

from collections import deque

MOST = 60
"""Beats, each of about a second."""
MOST_BYTES = 4 * 2**20
"""Of all of them; a thousand busy Backends have 250 KB a beat, and so 16 s are kept."""


class Lately:
    """What was published last."""

    def __init__(self) -> None:
        self._lines: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._unread = MOST
        """Beats since somebody last read; nobody has yet."""

    @property
    def wanted(self) -> bool:
        """Somebody reads, or may come back."""
        return self._unread < MOST

    def publish(self, line: bytes, now: float) -> None:
        """Keep a line, and let go of what is too much."""
        self._lines.append((now, line))
        self._bytes += len(line)
        while len(self._lines) > MOST or self._bytes > MOST_BYTES:
            self._bytes -= len(self._lines.popleft()[1])

    def count(self, *, read: bool) -> None:
        """A beat was made, and somebody read lines or nobody did."""
        self._unread = 0 if read else min(MOST, self._unread + 1)
        if not self.wanted:
            self._lines.clear()
            self._bytes = 0

    def last(self, beats: int, now: float) -> list[bytes]:
        """The last lines, each with its age."""
        lines = list(self._lines)[-beats:] if beats > 0 else []
        return [b'{"age":%.3f,%s' % (max(0.001, now - made), line[1:]) for made, line in lines]

    def __repr__(self) -> str:
        return f"<Lately {len(self._lines)} beats, {self._bytes} bytes>"
