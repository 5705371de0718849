"""The subscriptions to all gateways, of which there may be others at any time.

A gateway that is named counts as missing until it is heard of, so that nothing is scaled down without knowing its requests. One that
is named no more has left. Neighbours: `subscription` follows one gateway, `collector` holds what they say.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

from autoscaler.collector import Collector
from autoscaler.subscription import subscribe
from gateway.stats import Beat

logger = logging.getLogger(__name__)

SEVERAL_FOR = 120.0
"""Seconds: for longer than one takes over from another, whose drain takes 70 s as `deploy/` has it."""


class Streams:
    """One task per gateway, known by the URL of its admin side."""

    def __init__(
        self,
        receive: Callable[[Beat, str], object],
        collector: Collector,
        clock: Callable[[], float],
    ) -> None:
        """`receive` gets each beat and the URL that it is from; `clock` is the collector's."""
        self._receive = receive
        self._collector = collector
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._warned = False
        self._doubted: asyncio.TimerHandle | None = None
        """Until it is worth a warning that there are several."""

    def follow(self, urls: Iterable[str]) -> None:
        """Begin with those that are new, and end those that are named no more."""
        named = set(urls)
        for url in self._tasks.keys() - named:
            self._tasks.pop(url).cancel()
            self._collector.left(url)
        for url in sorted(named - self._tasks.keys()):
            self._collector.expect(url, self._clock())
            receive = partial(self._from, url)
            left = partial(self._collector.left, url)
            self._tasks[url] = asyncio.get_running_loop().create_task(subscribe(url, receive, left))

    def check_limits(self, limited: Iterable[str]) -> None:
        """Warn, once, when several gateways go on admitting requests to Backends whose pods have limits; `limited` names these."""
        names = sorted(limited)
        if len(self._tasks) < 2 or not names:
            self._doubt(None)
        elif self._doubted is None and not self._warned:
            self._doubt(asyncio.get_running_loop().call_later(SEVERAL_FOR, self._warn, names))

    def _doubt(self, timer: asyncio.TimerHandle | None) -> None:
        if self._doubted is not None:
            self._doubted.cancel()
        self._doubted = timer

    def _warn(self, names: list[str]) -> None:
        self._warned, self._doubted = True, None
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        logger.warning(
            "there are %d gateways, and each keeps to `concurrency` on its own: a pod of %s%s may get so many times as many requests "
            "at once; run one gateway where the limit must hold",
            len(self._tasks),
            ", ".join(names[:3]),
            more,
        )

    async def stop(self) -> None:
        self._doubt(None)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _from(self, url: str, beat: Beat) -> None:
        self._receive(beat, url)

    def __repr__(self) -> str:
        return f"<Streams of {sorted(self._tasks)}>"
