"""When a pod that died is started again, and when to say that none can start. Pure: told the time.

Deaths are counted in rounds: pods that were started together and die together count once, so that five pods that
meet one fault wait as long as one would. A round without a pod that got ready is a failure to start.
"""

FIRST_DELAY = 0.1
LONGEST_DELAY = 10.0
STEADY = 10.0
"""Seconds of being ready after which a death is bad luck and not a habit: the next start is at once."""
HOPELESS = 3
"""Failures to start in a row after which the backend's pods are said to be unable to start."""


class Restarts:
    """One Backend's deaths in a row."""

    def __init__(self) -> None:
        self.failures = 0
        """Rounds in a row in which pods died before they were ready."""
        self._streak = 0
        self._not_before = float("-inf")
        self._last_death = float("-inf")
        self._quiet_since: float | None = None
        """When a pod got ready, if none died since."""

    def __repr__(self) -> str:
        return f"<Restarts: {self._streak} deaths, {self.failures} failures to start in a row>"

    @property
    def hopeless(self) -> bool:
        return self.failures >= HOPELESS

    def wait(self, now: float) -> float:
        """Seconds until the next start is allowed; 0 when it is."""
        return max(0.0, self._not_before - now)

    def ready(self, now: float) -> None:
        """A pod got ready: pods can start."""
        self.failures = 0
        if self._quiet_since is None:
            self._quiet_since = now

    def died(self, now: float, started: float, ready_at: float | None) -> None:
        """A pod that was started at `started` and was ready from `ready_at` (None: never) died, unasked, at `now`."""
        steady_before = self._quiet_since is not None and now - self._quiet_since >= STEADY
        self._quiet_since = None
        if steady_before:
            self._streak = 0
        if ready_at is not None and now - ready_at >= STEADY:
            return
        if started < self._last_death:
            return  # of the round that was counted already
        self._last_death = now
        self.failures += ready_at is None
        # 0.1 s, 0.2 s, 0.4 s … 10 s; the exponent is bounded because 2.0 ** 1024 overflows.
        self._not_before = now + min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self._streak, 16))
        self._streak += 1
