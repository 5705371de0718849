"""How a process of Tidegate is told to end: by SIGTERM or SIGINT, in good order the first time, at once the second.

At once means without the interpreter's own end, which waits for threads and calls that may never come back. What must not
be left behind (pods, a terminal without a cursor) is seen to by what was handed to `at_once`. Used by `cli` and the autoscaler.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

logger = logging.getLogger(__name__)

AT_ONCE = 130
"""The exit code after the second signal: what a shell tells of a process that Ctrl-C ended."""


class Ending:
    """Takes over both signals on the running loop, for the rest of the process's life."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._last: list[Callable[[], object]] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)

    async def wait(self) -> None:
        """Until the first signal."""
        await self._asked.wait()

    def at_once(self, work: Callable[[], object]) -> None:
        """Have `work`, which must be quick, done at the second signal, in the order in which it was handed in."""
        self._last.append(work)

    def _on_signal(self) -> None:
        if not self._asked.is_set():
            self._asked.set()
            return
        logger.warning("a second signal: ending at once")
        for work in (
            *self._last,
            *(handler.flush for handler in logging.getLogger().handlers),
            sys.stderr.flush,
        ):
            with suppress(Exception):  # nothing may keep the process from ending
                work()
        os._exit(AT_ONCE)

    def __repr__(self) -> str:
        return f"<Ending {'asked for' if self._asked.is_set() else 'not asked for'}, {len(self._last)} things to see to>"
