"""The rhythm of all sources: a round each interval, on a grid of its own.

The first round comes at once or nearly so, since a metric without a sample is a metric that is missing; the second after half to
a whole interval, by chance, so that a thousand sources that start together do not stay together. A round that takes longer than its interval
leaves out those that it missed. No exception ends it.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import NoReturn

logger = logging.getLogger(__name__)

_FIRST_WITHIN = 0.5
"""Seconds."""
_LONGEST_WAIT = 10.0
"""Seconds."""
_SHARE_OF_INTERVAL = 0.8


def patience(interval: float) -> float:
    """Seconds that an answer may take, so that it is there before the next round."""
    return min(_LONGEST_WAIT, _SHARE_OF_INTERVAL * interval)


async def repeat(
    interval: float,
    work: Callable[[], Awaitable[None]],
    what: object,
    chance: Callable[[], float] = random.random,
) -> NoReturn:
    """Do `work` each `interval` seconds until cancelled; `what` names it in the log."""
    loop = asyncio.get_running_loop()
    due = loop.time() + chance() * min(_FIRST_WITHIN, interval)
    step = interval * (0.5 + chance() / 2)
    while True:
        await asyncio.sleep(due - loop.time())
        try:
            await work()
        except Exception:
            logger.exception("%s: a round was given up", what)
        due = max(due + step, loop.time())
        step = interval
