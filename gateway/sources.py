"""Where a gateway's Feeds get their pods from: fixed URLs, the cluster, or whoever else publishes (local processes in `tidegate up`).

One Feed per Backend, for as long as the gateway knows it. The cluster is connected to when a configuration first needs it.
Neighbours: `server`, which keeps one of these; `kube.feeds`, imported only then, since its library is an extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.backend import EndpointInfo
from gateway.firstlook import FirstLook
from gateway.kube.connect import connect

if TYPE_CHECKING:
    from gateway.config import Address, BackendConfig, Config, Role
    from gateway.endpoints import Feed
    from gateway.kube.client import Cluster
    from gateway.kube.feeds import ClusterFeeds
    from gateway.targets import ClusterTarget
    from gateway.tls import Trust


class PodSources:
    """The Feeds of a gateway's Backends, and what publishes into them."""

    def __init__(self, role: Role, now: float) -> None:
        self.feeds: dict[str, Feed] = {}
        """By Backend."""
        self._role = role
        self._cluster: ClusterFeeds | None = None
        self._first_look = FirstLook(now)

    def lacks(self, now: float) -> str | None:
        """Why a gateway that has just started knows too little for clients to be sent there; None once they may."""
        if self._cluster is None:
            return self._first_look.lacks((), now, any_listed=False, elsewhere=True)
        found = self._cluster.discovery
        elsewhere = len(self.feeds) > len(found)
        return self._first_look.lacks(found.unlisted(), now, any_listed=found.listed, elsewhere=elsewhere)

    @property
    def cluster(self) -> Cluster | None:
        """Once something in it was named."""
        return None if self._cluster is None else self._cluster.discovery.cluster

    async def prepare(self, config: Config) -> None:
        """Connect to the cluster, if the configuration names things in one. Raises ConfigError, with nothing changed."""
        named = any(self._target(backend) is not None for backend in config.backends.values())
        named = named or (config.inference_services is not None and self._role != "up")
        if named and self._cluster is None:
            self._cluster = await _connect(config)

    def put(self, name: str, backend: BackendConfig, trust: Trust | None) -> None:
        """Have the Backend's pods published from where it says now; `trust` is what fixed URLs are held to."""
        target = self._target(backend)
        if self._cluster is not None:
            if target is None:
                self._cluster.drop(name)
            else:
                self._cluster.put(name, target, self.feeds[name])
        if backend.target.urls is not None:
            self.feeds[name].publish(_fixed(url, trust) for url in backend.target.urls)

    def forget(self, name: str) -> None:
        """The Backend is no more."""
        del self.feeds[name]
        if self._cluster is not None:
            self._cluster.drop(name)

    async def stop(self) -> None:
        if self._cluster is not None:
            await self._cluster.stop()

    def _target(self, backend: BackendConfig) -> ClusterTarget | None:
        """`up` runs commands, and leaves the cluster to those who run beside it."""
        return None if self._role == "up" else backend.target.cluster

    def __repr__(self) -> str:
        return f"<PodSources {len(self.feeds)} feeds{f', {self._cluster}' if self._cluster else ''}>"


async def _connect(config: Config) -> ClusterFeeds:
    cluster = await connect(config, "gateway.kube.feeds")
    from gateway.kube.discovery import Discovery  # noqa: PLC0415 (imported by then, with its library)
    from gateway.kube.feeds import ClusterFeeds  # noqa: PLC0415

    return ClusterFeeds(Discovery(cluster))


def _fixed(url: Address, trust: Trust | None) -> EndpointInfo:
    """A pod at a fixed URL is taken to be ready; the first refused connection tells otherwise."""
    return EndpointInfo(uid=url.url, host=url.host, port=url.port, ready=True, trust=trust)
