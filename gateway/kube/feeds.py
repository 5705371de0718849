"""Publishes what the cluster says of each Backend's pods into the gateway's Feeds.

A pod gets requests once it is ready, by the kubelet's word or by its answer to us; one that is marked as draining, or being deleted,
gets nothing new from that moment on, and stays known until it is gone, so that it may finish what it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.backend import EndpointInfo
from gateway.endpoints import Feed
from gateway.kube.discovery import Discovery, View
from gateway.kube.pods import Pod
from gateway.kube.readiness import Readiness
from gateway.kube.slices import endpoints_of
from gateway.targets import ClusterTarget, ScaleTarget


@dataclass(slots=True)
class _Fed:
    target: ClusterTarget
    feed: Feed
    readiness: Readiness


class ClusterFeeds:
    """The Feeds of all Backends whose targets are in the cluster."""

    def __init__(self, discovery: Discovery) -> None:
        self.discovery = discovery
        self._fed: dict[str, _Fed] = {}

    def put(self, name: str, target: ClusterTarget, feed: Feed) -> None:
        """Publish into `feed` from now on; nothing is published before the cluster has told something."""
        known = self._fed.get(name)
        if known is not None and (known.target, known.feed) == (target, feed):
            return
        if known is not None:
            known.readiness.stop()
        self._fed[name] = _Fed(target, feed, Readiness(lambda: self._publish(name)))
        self.discovery.follow(name, target, lambda: self._told(name))
        self._told(name)

    def drop(self, name: str) -> None:
        """Publish nothing more of it."""
        fed = self._fed.pop(name, None)
        if fed is not None:
            self.discovery.forget(name)
            fed.readiness.stop()

    async def stop(self) -> None:
        """Publish nothing more at all, and leave the cluster."""
        for name in list(self._fed):
            self.drop(name)
        await self.discovery.stop()
        await self.discovery.cluster.close()

    def _told(self, name: str) -> None:
        view = self.discovery.view(name)
        self._fed[name].readiness.keep(view.pods if view else ())
        self._publish(name)

    def _publish(self, name: str) -> None:
        fed, view = self._fed[name], self.discovery.view(name)
        if view is None:
            fed.feed.publish((), pending=self.discovery.missing(name))
        elif isinstance(fed.target, ScaleTarget):
            self._publish_pods(fed.feed, fed.target.port, fed.readiness, view)
        else:
            fed.feed.publish(endpoints_of(view.slices, fed.target.port), pending=view.pending)

    @staticmethod
    def _publish_pods(feed: Feed, port: int, readiness: Readiness, view: View) -> None:
        pods = [_endpoint(pod, port, readiness) for pod in view.pods if pod.host]
        started = any(pod.ready for pod in pods)
        if started:
            feed.publish(pods)
        else:
            feed.publish(pods, view.cannot_start, _answer(view.pods, readiness) or view.pending)

    def __repr__(self) -> str:
        return f"<ClusterFeeds {sorted(self._fed)}>"


def _answer(pods: Sequence[Pod], readiness: Readiness) -> str | None:
    """What the newest pod answers to us instead of being ready: that says more than what its condition does."""
    newest = next((pod for pod in reversed(pods) if not pod.terminating), None)
    return readiness.fault(newest) if newest is not None else None


def _endpoint(pod: Pod, port: int, readiness: Readiness) -> EndpointInfo:
    return EndpointInfo(
        uid=pod.uid,
        host=pod.host or "",
        port=port,
        ready=readiness.ready(pod) and not pod.terminating,
        draining=pod.draining or pod.terminating,
    )
