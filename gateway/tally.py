"""Health checks of one pod, counted: when a row of them means something.

Core. `health` asks; what it then means for requests, `ejection` decides.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class HealthCheck:
    """What is asked, how often, and what counts. Times are seconds."""

    path: str
    interval: float = 10.0
    timeout: float = 1.0
    unhealthy: int = 3
    healthy: int = 2


class Tally:
    """One Endpoint's checks."""

    __slots__ = ("due", "failures", "successes", "under_way")

    def __init__(self, due: float) -> None:
        self.due = due
        self.failures = 0
        """In a row."""
        self.successes = 0
        self.under_way = False

    def count(self, check: HealthCheck, *, passed: bool) -> bool | None:
        """Note one more; returns what the row has come to mean, if that is certain now."""
        self.failures = 0 if passed else self.failures + 1
        self.successes = self.successes + 1 if passed else 0
        if passed:
            return True if self.successes >= check.healthy else None
        return False if self.failures >= check.unhealthy else None
