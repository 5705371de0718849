"""Follows one gateway's stats stream over HTTP: the edge of `collector`, for an autoscaler in a process of its own.

Long-running: a lost stream is tried again with growing, jittered pauses; only changes of state are logged. What a beat
means is `collector`'s; in `tidegate up` the beats come in process and nothing here runs.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

import aiohttp

from gateway.stats import Beat

logger = logging.getLogger(__name__)

_LONGEST_LINE = 16 * 2**20
"""Bytes; a busy Backend takes about 250 of a beat's line."""
_SILENCE = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=10.0)
_KEPT = 60
"""Beats of before the connection that a gateway is asked for. It may keep fewer; one that knows none tells none."""
_LONGEST_WORDS = 300
_FIRST_RETRY = 0.1
_LAST_RETRY = 5.0


async def subscribe(
    url: str,
    receive: Callable[[Beat], object],
    left: Callable[[], object],
    chance: Callable[[], float] = random.random,
) -> NoReturn:
    """Follow the stats stream of the gateway whose admin side is at `url`, until cancelled.

    `receive` gets each beat, `left` is called when a stream ends in good order. A lost stream is tried again, after 0.1 s at
    first and up to 5 s later, each within half to one and a half times that. Only changes of state are logged.
    """
    retry, reason = _FIRST_RETRY, ""
    async with aiohttp.ClientSession(timeout=_SILENCE, read_bufsize=_LONGEST_LINE) as session:
        while True:
            try:
                async for beat in _beats(session, url):
                    if retry or reason:
                        logger.info("stats of %s: connected", url)
                        retry, reason = 0.0, ""
                    receive(beat)
                problem = "the gateway ended the stream"
                left()
            except Exception as error:  # noqa: BLE001 (whatever a stream brings, the next try may be better)
                problem = _words(error)
            if problem != reason:
                logger.warning("stats of %s: %s; trying again", url, problem)
            reason = problem
            retry = min(_LAST_RETRY, max(_FIRST_RETRY, 2 * retry))
            await asyncio.sleep(retry * (0.5 + chance()))


def _words(error: Exception) -> str:
    """Of a connection that failed what the system said; aiohttp puts `ssl:default` before it, with http URLs as well."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


async def _beats(session: aiohttp.ClientSession, url: str) -> AsyncIterator[Beat]:
    async with session.get(f"{url.rstrip('/')}/v1/stats?last={_KEPT}") as response:
        response.raise_for_status()
        told = False
        async for line in response.content:
            try:
                beat = Beat.decode(line)
            except ValueError as error:
                # The gateway would tell it again, with all that came since, each time that it is asked for the last minute.
                if not told:
                    logger.warning("stats of %s: a line is left out: %s", url, str(error)[:_LONGEST_WORDS])
                told = True
            else:
                yield beat
