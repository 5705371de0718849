"""The Scaler of one object in the cluster: its pods are marked by annotations, its count is set by its scale subresource.

Which pods a lowered count costs is the cluster's choice, led by the deletion cost that the marks carry (a StatefulSet loses its last).
Every write is the leader's, and ends before another may lead. The count is set only from the one that the plan began with: whatever
another hand has set is planned with anew, never overwritten. What was written counts at once, though watches tell of it later.
Neighbours: `target` calls, `gateway.kube.discovery` has the views, `events` tells of counts.
"""

import asyncio
import re
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from autoscaler.cluster.events import Events
from autoscaler.cluster.lease import Lease
from autoscaler.cluster.pulls import Pulls
from autoscaler.hands import OURS
from autoscaler.plan import Milestones, PodState, Superseded, TargetState, Unknown
from gateway.kube.client import ApiError, Cluster
from gateway.kube.discovery import View
from gateway.kube.objects import epoch, rfc3339, setter_of
from gateway.kube.pods import DELETION_COST, DRAINING, Pod
from gateway.kube.workloads import Workload

AT_ONCE = 10
"""Pods that are marked at the same time."""
COST = "-1000"
"""The deletion cost of a marked pod."""
NAMED_COST = "-2000"
"""That of one which a lowered count shall cost, while other marked pods still have requests."""
_TRIES = 4
_UNMARKED = {DRAINING: None, DELETION_COST: None}
_OTHER_UID = re.compile("metadata.uid|uid mismatch|UID in precondition")
"""How a server words that another pod has the name now: 422 of what can never change, as kube-apiserver does, or 409 of a precondition."""


@dataclass(frozen=True, slots=True)
class _Count:
    """A count as the API server said it is, and the version of the object by then."""

    uid: str
    replicas: int
    version: str
    setter: str

    @classmethod
    def of(cls, item: Mapping[str, Any], workload: Workload, setter: str | None = None) -> "_Count":
        """Of a scale, or of an object that has its count in the same place. `setter`: who has just set it."""
        meta = item.get("metadata") or {}
        replicas = (item.get("spec") or {}).get("replicas", 0)
        uid, version = meta.get("uid") or workload.uid, meta.get("resourceVersion", "")
        return cls(uid, replicas, version, setter_of(item) if setter is None else setter)

    def reached(self, workload: Workload) -> bool:
        """Whether a view is as new as this."""
        if workload.uid != self.uid:
            return True
        seen = workload.resource_version
        if seen.isdecimal() and self.version.isdecimal():
            return int(seen) >= int(self.version)
        return workload.replicas == self.replicas


class ClusterScaler:
    """Told nothing: it asks for the latest view when it needs it."""

    def __init__(
        self,
        cluster: Cluster,
        lease: Lease,
        events: Events,
        pulls: Pulls,
        *,
        view: Callable[[], View | None],
        missing: Callable[[], str],
    ) -> None:
        """`missing`: why there is no view, for people."""
        self.reason = ""
        """Why the count will be what it will be, for Events."""
        self._cluster = cluster
        self._lease = lease
        self._events = events
        self._pulls = pulls
        self._view = view
        self._missing = missing
        self._written: _Count | None = None
        """What was last written or read, until the view is as new."""
        self._named: set[str] = set()
        """Pods that lowered counts have cost, while they are there."""
        self._ours: set[str] = set()
        """Pods that were marked from here, in this term of leadership."""
        self._term = 0
        self._sure_in = 0
        """The term of leadership in which the count is known for sure; 0: in none."""
        self._asked = 0
        """How often the count was asked for to be sure: what that finds is no change."""

    # -- observing

    def observe(self) -> TargetState | Unknown:
        view = self._view()
        if view is None or view.workload is None:
            return Unknown(f"waiting: {self._missing()}")
        self._begin_term()
        uids = {pod.uid for pod in view.pods if not pod.terminating}
        self._named &= uids
        self._ours &= uids
        workload = view.workload
        pods = tuple(_state(pod, workload) for pod in self._staying(view.pods, workload))
        return TargetState(
            self._count(workload),
            pods,
            ordered=workload.ordered,
            setter=workload.setter if self._written is None else self._written.setter,
            known_of=f"{workload.uid} {self._lease.term} {self._asked}",
            stuck=workload.failure or "",
        )

    def milestones(self, uid: str) -> Milestones | None:
        pod = next(iter(self._pods((uid,))), None)
        if pod is None:
            return None
        now = time.time()
        scheduled, initialized, started = (now - epoch(at) if at else None for at in pod.times)
        pulled = self._pulls.of(pod)
        since = None if pulled is None else now - pulled
        return Milestones(now - pod.created, scheduled, initialized, since, started)

    def _begin_term(self) -> None:
        """What was marked before another led may have been named by it."""
        if self._term != self._lease.term:
            self._ours.clear()
        self._term = self._lease.term

    def _count(self, workload: Workload) -> int:
        if self._written is not None and self._written.reached(workload):
            self._written = None
        return workload.replicas if self._written is None else self._written.replicas

    def _staying(self, pods: Iterable[Pod], workload: Workload) -> list[Pod]:
        """Those that the count has not cost; what it has is there for a little while until it is being deleted."""
        live = [pod for pod in pods if not pod.terminating]
        cost = self._cost(workload, live, self._count(workload))
        return [pod for pod in live if pod.uid not in cost]

    def _cost(self, workload: Workload, live: list[Pod], count: int) -> set[str]:
        """The marked pods that the count has cost already."""
        marked = [pod for pod in live if pod.draining]
        if workload.ordered:
            return {pod.uid for pod in marked if (_ordinal(pod, workload) or 0) >= count}
        # Those that were named; of what was marked elsewhere, as a ReplicaSet chooses: not ready, then the lowest cost, then the newest.
        # A pod too many that nobody named may also be a rolling update's.
        marked = [pod for pod in marked if pod.uid in self._named or pod.uid not in self._ours]
        marked.sort(key=lambda pod: (pod.uid not in self._named, pod.ready, pod.cost, -pod.created))
        return {pod.uid for pod in marked[: max(0, len(live) - count)]}

    # -- acting

    async def drain(self, uids: Collection[str]) -> None:
        with self._steady():
            await self._make_sure()
            self._begin_term()
            self._ours.update(uids)
            await self._annotate(self._pods(uids), {DRAINING: rfc3339(time.time()), DELETION_COST: COST})

    async def undrain(self, uids: Collection[str]) -> None:
        with self._steady():
            await self._make_sure()
            await self._annotate(self._pods(uids), _UNMARKED)

    async def scale(self, replicas: int, remove: Collection[str]) -> None:
        with self._steady():
            await self._make_sure()
            await self._name(remove)
        workload = self._workload()
        before = self._count(workload)
        # Until it is answered, nobody knows whether it was done.
        self._named.update(remove)
        term, self._sure_in = self._sure_in, 0
        self._written = await self._set(workload, before, replicas)
        self._sure_in = term
        self._events.scaled(workload, before, replicas, self.reason)

    def leave(self) -> Coroutine[Any, Any, None]:
        """Take all marks back from pods that will not be scaled any longer. To be awaited; which pods they are is found out now."""
        view = self._view()
        if view is None or view.workload is None:
            return self._annotate((), _UNMARKED)
        marked = [pod for pod in self._staying(view.pods, view.workload) if pod.draining]
        return self._annotate(marked, _UNMARKED)

    @contextmanager
    def _steady(self) -> Iterator[None]:
        """The plan that is carried out began with what is known now; raises Superseded when it changes meanwhile."""
        workload = self._workload()
        planned = self._count(workload)
        yield
        now = self._workload()
        if (now.uid, self._count(now)) != (workload.uid, planned):
            raise Superseded(f"{workload} was set to {self._count(now)} by another hand, from {planned}")

    def _workload(self) -> Workload:
        view = self._view()
        if view is None or view.workload is None:
            raise Superseded(self._missing())
        return view.workload

    async def _make_sure(self) -> None:
        """Ask for the count before the first write as a leader, and after one whose fate is unknown.

        A watch that is late would else have pods unmarked that a count has cost already.
        """
        term = self._lease.term
        if self._sure_in != term:
            with self._steady():
                self._written = await self._read(self._workload())
                self._asked += 1
            self._sure_in = term

    # -- pods

    def _pods(self, uids: Collection[str]) -> list[Pod]:
        view = self._view()
        return [pod for pod in view.pods if pod.uid in uids] if view is not None else []

    async def _name(self, remove: Collection[str]) -> None:
        """Have the cluster take these and not others that are marked as well; a StatefulSet does not ask."""
        view = self._view()
        if not remove or self._workload().ordered:
            return
        pods = view.pods if view is not None else ()
        others = (pod for pod in pods if pod.draining and not pod.terminating and pod.uid not in self._named)
        if any(pod.uid not in remove for pod in others):
            await self._annotate(self._pods(remove), {DELETION_COST: NAMED_COST})

    async def _annotate(self, pods: Collection[Pod], annotations: Mapping[str, str | None]) -> None:
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(pod: Pod) -> None:
            async with limit:
                body = {"metadata": {"uid": pod.uid, "annotations": annotations}}
                try:
                    await self._patch(pod.path, body)
                except ApiError as error:
                    if not _gone(error):
                        raise

        done = await asyncio.gather(*(one(pod) for pod in pods), return_exceptions=True)
        for failure in done:
            if isinstance(failure, BaseException):
                raise failure

    # -- the count

    async def _set(self, workload: Workload, before: int, replicas: int) -> _Count:
        version = workload.resource_version if self._written is None else self._written.version
        path = f"{workload.path}/scale"
        for last in range(1 - _TRIES, 1):
            body = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
            try:
                return _Count.of(await self._patch(path, body), workload, OURS)
            except ApiError as error:
                if error.status != 409 or not last:
                    raise
            found = await self._read(workload)
            if (found.uid, found.replicas) != (workload.uid, before):
                self._written = found
                raise Superseded(f"{workload} was set to {found.replicas} by another hand, from {before}")
            version = found.version
        raise AssertionError

    async def _read(self, workload: Workload) -> _Count:
        """Of the kinds that are known the object tells it as well, and reading that is allowed anyway."""
        path = workload.path if workload.api_version == "apps/v1" else f"{workload.path}/scale"
        found = await self._lease.write(lambda left: self._cluster.get(path, timeout=left))
        return _Count.of(found, workload)

    async def _patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._lease.write(lambda left: self._cluster.patch(path, body, timeout=left))

    def __repr__(self) -> str:
        there = self.observe()
        if isinstance(there, Unknown):
            return f"<ClusterScaler {there.reason}>"
        return f"<ClusterScaler {self._workload()} replicas={there.replicas}>"


def _gone(error: ApiError) -> bool:
    """Whether a patch of a pod was refused since there is no such pod any more."""
    return error.status == 404 or (error.status in {409, 422} and bool(_OTHER_UID.search(str(error))))


def _state(pod: Pod, workload: Workload) -> PodState:
    return PodState(
        pod.uid, pod.ready, pod.draining, ordinal=_ordinal(pod, workload), probed=pod.host is not None
    )


def _ordinal(pod: Pod, workload: Workload) -> int | None:
    """From 0, wherever the object begins to count."""
    if pod.ordinal is None or pod.ordinal < workload.first_ordinal:
        return None
    return pod.ordinal - workload.first_ordinal
