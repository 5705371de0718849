"""What is known of the pods of one Backend, by whoever knows it; and finding out whether a suspect one accepts again.

A Feed has one publisher (local processes, fixed URLs, the cluster) and one subscriber (the gateway's Backend). Each
publication is the whole truth: an Endpoint that is not in it is gone. Feeds live on the event loop and call their subscriber at
once, in the same turn, so that a pod that turned ready gets its first request now.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway.backend import EndpointInfo, Endpoints
from gateway.breaker import Endpoint
from gateway.probe import intervals, probe

__all__ = ["EndpointInfo", "Endpoints", "Feed", "Prober"]

PROBE_TIMEOUT = 1.0
"""Seconds for a connection to be accepted."""
HANDSHAKE_TIMEOUT = 5.0
"""Seconds for a TLS connection: the kernel accepts for a pod that is busy, its handshake it has to do itself."""


@dataclass(slots=True)
class Feed:
    """The latest Endpoints of one Backend, told to its subscriber as they change."""

    backend: str
    latest: Endpoints = field(default_factory=Endpoints)
    _subscriber: Callable[[Endpoints], None] | None = None

    def publish(
        self, pods: Iterable[EndpointInfo], cannot_start: str | None = None, pending: str | None = None
    ) -> None:
        """Replace what is known; equal news is no news."""
        news = Endpoints(tuple(pods), cannot_start, pending)
        if news != self.latest:
            self.latest = news
            if self._subscriber is not None:
                self._subscriber(news)

    def subscribe(self, subscriber: Callable[[Endpoints], None]) -> None:
        """Tell `subscriber` what is known now, and from now on what changes."""
        self._subscriber = subscriber
        subscriber(self.latest)


class Prober:
    """Tries suspect Endpoints, a few milliseconds apart at first, until they accept connections or are gone."""

    def __init__(self) -> None:
        self._tasks: dict[Endpoint, asyncio.Task[None]] = {}

    def watch(self, endpoint: Endpoint, wanted: Callable[[], bool], accepted: Callable[[], None]) -> None:
        """Call `accepted` once a connection gets through; give up when `wanted` says no. Once per Endpoint at a time."""
        if endpoint not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._try(endpoint, wanted, accepted))
            self._tasks[endpoint] = task
            task.add_done_callback(lambda done: self._over(endpoint, done))

    async def _try(
        self, endpoint: Endpoint, wanted: Callable[[], bool], accepted: Callable[[], None]
    ) -> None:
        for wait in intervals():
            await asyncio.sleep(wait)
            if not wanted():
                return
            timeout = PROBE_TIMEOUT if endpoint.trust is None else HANDSHAKE_TIMEOUT
            if await probe(endpoint.host, endpoint.port, None, timeout, endpoint.trust):
                break
        # Before `accepted`: in this very turn it may refuse again, and must be watched again.
        self._tasks.pop(endpoint, None)
        if wanted():
            accepted()

    def _over(self, endpoint: Endpoint, task: asyncio.Task[None]) -> None:
        if self._tasks.get(endpoint) is task:
            del self._tasks[endpoint]

    def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def __repr__(self) -> str:
        return f"<Prober of {[endpoint.uid for endpoint in self._tasks]}>"
