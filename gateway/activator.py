"""When nothing is ready: asking for a pod, telling how the start went and how long it took, knowing that it will not.

A Backend starves while it has no available Endpoint. The Activator says when the autoscaler must be nudged: at the first
waiter at once, then whenever the waiters have doubled, so that a burst of 64 asks at 1, 2, 4, … 64 and not 64 times. The
regular beats carry the rest. Times are monotonic seconds, told; waiting and its deadlines belong to `backend`.
"""

from typing import Literal

Outcome = Literal["ready", "timeout", "cannot_start", "abandoned"]


class Activator:
    """One Backend's way up from nothing ready."""

    __slots__ = ("_answered", "_asked_for", "_woken", "began", "cannot_start", "pending")

    def __init__(self) -> None:
        self.began: float | None = None
        """When the present start was first asked for; None while nobody waits for one."""
        self.cannot_start: str | None = None
        """Why the pods cannot start, in words for the person who called."""
        self.pending: str | None = None
        """Why they take long."""
        self._asked_for = 0
        self._woken: tuple[float, float] | None = None
        """When the last start was asked for and when a pod was ready, until a request that waited for it is answered."""
        self._answered: dict[str, tuple[float, float, float]] = {}
        """By uid of the pod that answered first: when it was asked for, ready, and answering. Until it is told."""

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

    def over(self, now: float, *, ready: bool = False) -> float | None:
        """The start has ended, however; how long it took, or None when none was under way. `ready`: with a pod."""
        began, self.began = self.began, None
        self._asked_for = 0
        if began is None:
            return None
        self._woken = (began, now) if ready else None
        return now - began

    def answered(self, uid: str, now: float) -> None:
        """A request that waited for a start has the first byte of its answer."""
        if self._woken is not None:
            self._answered[uid] = (*self._woken, now)
            self._woken = None

    def told(self, now: float) -> dict[str, tuple[float, float, float]]:
        """By pod: how many seconds ago a start that is not told yet was asked for, was ready, and answered."""
        if not self._answered:
            return {}
        found, self._answered = self._answered, {}
        return {uid: (now - asked, now - ready, now - first) for uid, (asked, ready, first) in found.items()}

    def __repr__(self) -> str:
        state = "idle" if self.began is None else f"starting since {self.began:.3f}"
        return f"<Activator {state}{', cannot start' if self.cannot_start else ''}>"
