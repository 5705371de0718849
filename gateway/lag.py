"""How late the loop runs a timer: what every request may have waited for before anything looked at it.

A timer ten times a second costs next to nothing and sees whatever holds the loop, in proportion to the time that it is held: a 5 ms
hold once a second is seen in one of twenty. `metrics` shows the histogram as `tidegate_loop_lag_seconds`.
"""

import asyncio
from time import monotonic

from gateway.stats import Histogram

INTERVAL = 0.1
"""Seconds between two looks."""
LAG_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Upper bounds in seconds. uvloop's timers count whole milliseconds, so that the first two bounds tell little there."""


class LagWatcher:
    """One loop's lag, from `start` to `stop`."""

    def __init__(self) -> None:
        self.histogram = Histogram(LAG_BOUNDS)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin to watch the running loop."""
        self._schedule(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        # The clock itself, not loop.time(): uvloop's stands still within a turn and would hide what held that turn.
        self._due = monotonic() + INTERVAL
        self._timer = loop.call_later(INTERVAL, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self.histogram.observe(max(0.0, monotonic() - self._due))
        self._schedule(loop)

    def __repr__(self) -> str:
        return f"<LagWatcher {'watching' if self._timer else 'stopped'}, {self.histogram!r}>"
