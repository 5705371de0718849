"""When nothing is ready: asking for a pod, telling how the start went, knowing that it will not.

A Backend starves while it has no available Endpoint. The Activator says when the autoscaler must be nudged: at the first
waiter at once, then whenever the waiters have doubled, so that a burst of 64 asks at 1, 2, 4, … 64 and not 64 times. The
regular beats carry the rest. Times are monotonic seconds, told; waiting and its deadlines belong to `backend`.
"""

from typing import Literal

Outcome = Literal["ready", "timeout", "cannot_start", "abandoned"]


class Activator:
    """One Backend's way up from nothing ready."""

    __slots__ = ("_asked_for", "began", "cannot_start")

    def __init__(self) -> None:
        self.began: float | None = None
        """When the present start was first asked for; None while nobody waits for one."""
        self.cannot_start: str | None = None
        """Why the pods cannot start, in words for the person who called."""
        self._asked_for = 0

    def wanted(self, queued: int, now: float, *, starting: bool) -> bool:
        """Somebody waits and nothing is available: is it time to nudge?

        `starting`: no pod is ready at all, so that one has to start; else those that are ready drain, or refuse connections.
        """
        if starting and self.began is None:
            self.began = now
        if queued < 2 * self._asked_for:
            return False
        self._asked_for = queued
        return True

    def over(self, now: float) -> float | None:
        """The start has ended, however; how long it took, or None when none was under way."""
        began, self.began = self.began, None
        self._asked_for = 0
        return None if began is None else now - began

    def __repr__(self) -> str:
        state = "idle" if self.began is None else f"starting since {self.began:.3f}"
        return f"<Activator {state}{', cannot start' if self.cannot_start else ''}>"
