"""Events on what is scaled, where `kubectl describe` shows them: counts that were set, and why pods do not get ready.

Only the leader writes, and nothing waits for it: an Event that cannot be written is lost, and that is logged once. A Warning that is equal
but for a length of time in it is written once in five minutes. Neighbours: `scaler` tells of counts, `targets` of decisions.
"""

import asyncio
import logging
import re
import time
from typing import Any, Literal, Protocol

from autoscaler.cluster.lease import Lease
from autoscaler.hands import Change
from gateway.kube.client import Cluster, ClusterError
from gateway.kube.objects import rfc3339
from gateway.kube.workloads import Workload

logger = logging.getLogger(__name__)

REPEATED_AFTER = 300.0
"""Seconds until an equal Warning is written again."""
_DURATION = re.compile(r"\b(?:[0-9.]+(?:h|ms|m|s))+\b")
"""As in "back-off 20s", "back-off 2m40s", whose growth is no news."""
_LONGEST_MESSAGE = 1024
"""Bytes that the API server takes."""
_LONGEST_NAME = 230
"""Characters of the object's name in that of an Event, which has 253 at most."""
_MOST_AT_ONCE = 50
"""Events under way; more are lost."""


class Thing(Protocol):
    """What an Event is about; a Workload is one."""

    @property
    def api_version(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...


class Events:
    """Writes the Events of all targets, and of what else the leader looks after."""

    def __init__(self, cluster: Cluster, lease: Lease) -> None:
        self._cluster = cluster
        self._lease = lease
        self._warned: dict[tuple[str, str, str], float] = {}
        """When each Warning was last written, the oldest first."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._problem = ""

    def scaled(self, workload: Workload, before: int, after: int, reason: str) -> None:
        """A count was set."""
        name = "ScaledUp" if after > before else "ScaledDown"
        self._begin(workload, "Normal", name, f"from {before} to {after}: {reason}")

    def changed(self, workload: Workload, change: Change) -> None:
        """Another hand has set the count."""
        kind: Literal["Normal", "Warning"] = "Warning" if change.contests else "Normal"
        self._begin(workload, kind, "ReplicasChanged", str(change))

    def warn(
        self, workload: Workload, reason: Literal["CannotStart", "ActivationTimeout"], message: str
    ) -> None:
        """Something keeps requests waiting; told as often as one likes."""
        if not self._lease.leads():
            return
        now = asyncio.get_running_loop().time()
        for key, at in list(self._warned.items()):
            if now - at < REPEATED_AFTER:
                break
            del self._warned[key]
        key = (workload.uid, reason, _DURATION.sub("", message))
        if key not in self._warned:
            self._warned[key] = now
            self._begin(workload, "Warning", reason, message)

    async def tell(self, thing: Thing, kind: str, reason: str, message: str) -> None:
        """Write one, and wait for that: for who has many to tell, of which none shall be lost for being one too many."""
        await self._write(thing.namespace, _event(thing, kind, reason, message, self._lease.identity))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, workload: Workload, kind: str, reason: str, message: str) -> None:
        if len(self._tasks) >= _MOST_AT_ONCE or not self._lease.leads():
            return
        event = _event(workload, kind, reason, message, self._lease.identity)
        task = asyncio.get_running_loop().create_task(self._write(workload.namespace, event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, namespace: str, event: dict[str, Any]) -> None:
        try:
            await self._cluster.create(f"/api/v1/namespaces/{namespace}/events", event)
        except ClusterError as error:
            if not self._problem:
                logger.warning("events cannot be written: %s", error)
            self._problem = str(error)
        else:
            self._problem = ""

    def __repr__(self) -> str:
        failing = f", failing: {self._problem}" if self._problem else ""
        return f"<Events {len(self._tasks)} under way{failing}>"


def _event(thing: Thing, kind: str, reason: str, message: str, identity: str) -> dict[str, Any]:
    now = time.time_ns()
    at = rfc3339(now / 10**9)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{thing.name[:_LONGEST_NAME].rstrip('-.')}.{now:x}",
            "namespace": thing.namespace,
        },
        "involvedObject": {
            "apiVersion": thing.api_version,
            "kind": thing.kind,
            "name": thing.name,
            "namespace": thing.namespace,
            "uid": thing.uid,
        },
        "type": kind,
        "reason": reason,
        "message": message.encode()[:_LONGEST_MESSAGE].decode(errors="ignore"),
        "source": {"component": "tidegate"},
        "reportingComponent": "tidegate",
        "reportingInstance": identity,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
