"""When the images of a pod were pulled: a kubelet says so in Events alone, which are asked for once for a pod that a request waited for.

Only the leader asks, and nothing waits for it. What cannot be found out (no right to list Events, none there any more) is left out, and that
is logged once. Neighbours: `scaler` asks, `targets` holds.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from autoscaler.cluster.lease import Lease
from gateway.kube.client import Cluster, ClusterError
from gateway.kube.objects import epoch
from gateway.kube.pods import Pod

logger = logging.getLogger(__name__)

PAUSES = (0.5, 2.0, 4.0)
"""Seconds before each attempt: Events come a little after what they tell."""
MOST = 100
"""Pods that are remembered."""
_MOST_EVENTS = "50"
"""Of one pod; one for each of its containers is usual."""


class Pulls:
    """Of all targets."""

    def __init__(self, cluster: Cluster, lease: Lease) -> None:
        self._cluster = cluster
        self._lease = lease
        self._known: dict[str, float | None] = {}
        """By uid, the oldest first; None: not (yet) known."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._problem = ""

    def of(self, pod: Pod) -> float | None:
        """When the last of its images was there, in seconds since 1970, if that is known by now; else it is found out."""
        if pod.uid not in self._known and self._lease.leads():
            while len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[pod.uid] = None
            task = asyncio.get_running_loop().create_task(self._find(pod))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return self._known.get(pod.uid)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _find(self, pod: Pod) -> None:
        which = f"involvedObject.uid={pod.uid},reason=Pulled"
        params = {"fieldSelector": which, "limit": _MOST_EVENTS}
        for pause in PAUSES:
            await asyncio.sleep(pause)
            try:
                answer = await self._cluster.get(f"/api/v1/namespaces/{pod.namespace}/events", params)
            except ClusterError as error:
                if not self._problem:
                    logger.warning("when images were pulled is not known: %s", error)
                self._problem = str(error)
                return
            self._problem = ""
            found = pulled(answer.get("items") or ())
            if found is not None:
                if pod.uid in self._known:
                    self._known[pod.uid] = found
                return

    def __repr__(self) -> str:
        failing = f", failing: {self._problem}" if self._problem else ""
        return f"<Pulls of {len(self._known)} pods{failing}>"


def pulled(events: Iterable[dict[str, Any]]) -> float | None:
    """When the last image was pulled, or found to be there already, leaving out those of init containers."""
    times = [
        epoch(event.get("lastTimestamp") or event.get("eventTime")) for event in events if _counts(event)
    ]
    return max(times, default=0.0) or None


def _counts(event: dict[str, Any]) -> bool:
    path = (event.get("involvedObject") or {}).get("fieldPath") or ""
    return not path.startswith("spec.initContainers")
