"""The feed of Endpoints of one Backend: what is known of its pods, by whoever knows it.

One publisher (local processes, fixed URLs, later the cluster) and one subscriber (the gateway's Backend).
Each publication is the whole truth: an Endpoint that is not in it is gone. Feeds live on the event loop and
call their subscriber at once, in the same turn, so that a pod that turned ready gets its first request now.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway.backend import EndpointInfo, Endpoints

__all__ = ["EndpointInfo", "Endpoints", "Feed"]


@dataclass(slots=True)
class Feed:
    """The latest Endpoints of one Backend, told to its subscriber as they change."""

    backend: str
    latest: Endpoints = field(default_factory=Endpoints)
    _subscriber: Callable[[Endpoints], None] | None = None

    def publish(self, pods: Iterable[EndpointInfo], cannot_start: str | None = None) -> None:
        """Replace what is known; equal news is no news."""
        news = Endpoints(tuple(pods), cannot_start)
        if news != self.latest:
            self.latest = news
            if self._subscriber is not None:
                self._subscriber(news)

    def subscribe(self, subscriber: Callable[[Endpoints], None]) -> None:
        """Tell `subscriber` what is known now, and from now on what changes."""
        self._subscriber = subscriber
        subscriber(self.latest)
