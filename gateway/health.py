"""Asking pods again and again whether they are well, where their Backend wants that.

One task per Backend goes round its Endpoints: each is asked once per interval, the first time at a moment of its own within one, so that 2,000
pods are asked evenly and not at once; over all Backends AT_ONCE questions are open. A pod counts as well until it has failed so many
checks in a row, since whoever publishes it has seen it ready. What a row of checks means for requests, `ejection` decides.
"""

import asyncio
import random
from collections.abc import Callable, Iterable

from gateway.endpoint import Endpoint
from gateway.probe import probe
from gateway.tally import HealthCheck, Tally

AT_ONCE = 64
"""Checks under way."""
LEAST_WAIT = 0.1
"""Seconds between two looks at who is due."""


class Checker:
    """The health checks of all Backends."""

    def __init__(self) -> None:
        self._rounds: dict[str, tuple[HealthCheck, asyncio.Task[None]]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._asking: set[asyncio.Task[None]] = set()

    def follow(
        self,
        backend: str,
        check: HealthCheck | None,
        endpoints: Callable[[], Iterable[Endpoint]],
        tell: Callable[[Endpoint, str | None], None],
    ) -> None:
        """Check a Backend's Endpoints from now on, or no longer (None). `tell` is called after each check whose row is certain, with what
        failed.
        """
        known = self._rounds.get(backend)
        if known is not None and known[0] == check:
            return
        if known is not None:
            del self._rounds[backend]
            known[1].cancel()
        if check is not None:
            task = asyncio.get_running_loop().create_task(self._go_round(check, endpoints, tell))
            self._rounds[backend] = (check, task)

    async def _go_round(
        self,
        check: HealthCheck,
        endpoints: Callable[[], Iterable[Endpoint]],
        tell: Callable[[Endpoint, str | None], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        tallies: dict[Endpoint, Tally] = {}
        while True:
            now = loop.time()
            known = tallies
            tallies = {}
            for endpoint in list(endpoints()):
                if not endpoint.ready or endpoint.draining or endpoint.suspect:
                    continue  # nobody relies on it, or the prober looks
                tally = known.get(endpoint)
                if tally is None:
                    tally = Tally(now + check.interval * random.random())  # noqa: S311  # it spreads load
                tallies[endpoint] = tally
                if tally.due <= now and not tally.under_way:
                    tally.due = now + check.interval * random.uniform(0.9, 1.1)  # noqa: S311
                    tally.under_way = True
                    await self._slots.acquire()
                    task = loop.create_task(self._ask(check, endpoint, tally, tell))
                    self._asking.add(task)
                    task.add_done_callback(self._asking.discard)
            soonest = min((tally.due for tally in tallies.values()), default=now + check.interval)
            await asyncio.sleep(max(LEAST_WAIT, min(soonest - loop.time(), 1.0)))

    async def _ask(
        self,
        check: HealthCheck,
        endpoint: Endpoint,
        tally: Tally,
        tell: Callable[[Endpoint, str | None], None],
    ) -> None:
        try:
            passed = await probe(endpoint.host, endpoint.port, check.path, check.timeout, endpoint.trust)
        finally:
            self._slots.release()
            tally.under_way = False
        meaning = tally.count(check, passed=passed)
        if meaning is not None:
            why = f"failed {tally.failures} health checks in a row (GET {check.path})"
            tell(endpoint, None if meaning else why)

    def stop(self) -> None:
        for _, task in self._rounds.values():
            task.cancel()
        for task in self._asking:
            task.cancel()

    def __repr__(self) -> str:
        return f"<Checker of {sorted(self._rounds)}, {len(self._asking)} asked>"
