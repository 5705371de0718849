"""Whether a Backend takes longer to wake than its requests wait.

A core, told of each decision's inputs. Requests that give up at their deadline vanish from the counts in that very moment, so a
look shortly after it still counts them. Told to by `events`.
"""

from autoscaler.decision import Observed

_REMEMBERED = 5.0
"""Seconds for which requests that no longer wait are taken to be those that gave up; two ticks, and a beat's age."""


class Waking:
    """Times are seconds of one clock."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        """How long requests wait for the first pod."""
        self._since: float | None = None
        self._waited_at = 0.0

    def overdue(self, observed: Observed, now: float) -> bool:
        """True once for each time that `timeout` passed with nothing ready and requests waiting."""
        if observed.ready:
            self._since = None
            return False
        if observed.waiting:
            self._waited_at = now
            if self._since is None:
                self._since = now
        if self._since is None or now - self._waited_at > _REMEMBERED:
            self._since = None
            return False
        if now - self._since < self.timeout:
            return False
        self._since = now if observed.waiting else None
        return True

    def __repr__(self) -> str:
        return f"<Waking {'no' if self._since is None else f'since {self._since:.0f}'}>"
