"""Each second's beat, made in turns of the loop: a thousand busy Backends take 10 ms, and nothing may hold the loop for 5.

Edge, but for the clock. `beats` reads the Backends, `admin`'s hub hands the beat to whoever listens; `server` calls once a second.
"""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice

from gateway.admin import StatsHub
from gateway.backend import Backend
from gateway.beats import BeatMaker
from gateway.stats import encode_stats

AT_ONCE = 50
"""Backends that are seen to in one turn of the loop: each takes 20 us and more."""


class Pulse:
    """Makes beats of Backends and publishes them."""

    def __init__(self, beats: BeatMaker, hub: StatsHub, loop: asyncio.AbstractEventLoop) -> None:
        self._beats = beats
        self._hub = hub
        self._loop = loop

    def beat(self, backends: Iterable[Backend]) -> None:
        """Begin, and go on in the next turns of the loop until all of them were read."""
        self._beats.begin(self._loop.time())
        self._go_on(iter(list(backends)), [] if self._hub.read else None)

    def nudge(self, backend: Backend) -> None:
        """Tell of one Backend at once, in a turn of its own: deciding is no part of handling the request that asked for it."""
        self._loop.call_soon(lambda: self._hub.publish(self._beats.nudge(backend)))

    def _go_on(self, rest: Iterator[Backend], encoded: list[str] | None) -> None:
        part = list(islice(rest, AT_ONCE))
        stats = self._beats.add(part, self._loop.time())
        if encoded is not None and stats:
            encoded.append(encode_stats(stats))
        if len(part) == AT_ONCE:
            self._loop.call_soon(self._go_on, rest, encoded)
        else:
            self._hub.publish(self._beats.end(), None if encoded is None else ",".join(encoded))

    def __repr__(self) -> str:
        return f"<Pulse of {self._beats!r}>"
