"""What the cluster says of each Backend's pods, for the gateway and for the autoscaler.

Each target is followed through the shared list-watches of its namespace: pods and the objects that own them, or EndpointSlices. Changes
only mark a Backend; those marked are looked at together, a few in a turn of the loop, and whoever follows one is told when its
View differs. While the API server is away, Views stay as they were.
Neighbours: `watches` below; above it `feeds` (the gateway) and `autoscaler.cluster`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.kube.client import Cluster
from gateway.kube.objects import Index, Labelled, Selector
from gateway.kube.owners import Owner, OwnerWatch
from gateway.kube.pods import Pod, pod_of
from gateway.kube.slices import Slice, lack_of, slice_of
from gateway.kube.starting import Outlook, Starts
from gateway.kube.watches import Watches
from gateway.kube.workloads import Workload
from gateway.targets import ClusterTarget, ScaleTarget, ServiceTarget

AT_ONCE = 10
"""Backends that are looked at in one turn of the loop: 1 ms or less."""


@dataclass(frozen=True, slots=True)
class View:
    """What is known of one target."""

    workload: Workload | None = None
    """None for a Service."""
    pods: tuple[Pod, ...] = ()
    """Oldest first, those that are terminating included."""
    cannot_start: str | None = None
    """Why its pods cannot start, as `starting` judges."""
    pending: str | None = None
    """Why they take long."""
    slices: tuple[Slice, ...] = ()
    """A Service's."""


@dataclass(slots=True)
class _Followed:
    """One Backend's target and what was told of it."""

    target: ClusterTarget
    namespace: str
    told: Callable[[], None]
    follower: "_Pods | _Slices"
    view: View | None = None
    missing: str = ""
    listed: bool = False
    """The view is of what the API server has said once, if only that there is no such object."""
    began: bool = False
    """It was told of once."""
    again: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        if self.again is not None:
            self.again.cancel()
            self.again = None

    def stop(self) -> None:
        self.cancel()
        self.follower.stop()


class Discovery:
    """Follows the targets of a configuration."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._loop = asyncio.get_running_loop()
        self._watches = Watches(cluster)
        self._spaces: dict[str, _PodSpace] = {}
        self._followed: dict[str, _Followed] = {}
        self._marked: dict[str, None] = {}
        self._looking: asyncio.Handle | None = None

    # -- what is followed

    def follow(self, name: str, target: ClusterTarget, told: Callable[[], None]) -> None:
        """Call `told` when the view of `target` has changed, from now on; what was followed under `name` is forgotten.

        What others have had watched already is in the view at once, and told soon.
        """
        known = self._followed.get(name)
        if known is not None and known.target == target:
            known.told = told
            return
        namespace = target.namespace or self.cluster.namespace
        follower: _Pods | _Slices
        if isinstance(target, ServiceTarget):
            follower = _Slices(self._watches, namespace, target, lambda: self._mark(name))
        else:
            follower = _Pods(self._watches, self._space(namespace), target, lambda: self._mark(name))
        followed = self._followed[name] = _Followed(target, namespace, told, follower)
        if known is not None:
            known.stop()  # only now: a watch that both need goes on, with all that it knows
        self._see(name, followed)
        self._mark(name)

    def forget(self, name: str) -> None:
        followed = self._followed.pop(name, None)
        if followed is not None:
            followed.stop()

    async def stop(self) -> None:
        for name in list(self._followed):
            self.forget(name)
        if self._looking is not None:
            self._looking.cancel()
        await self._watches.stop()

    # -- what is known

    def view(self, name: str) -> View | None:
        """The latest; None while nothing is known, or when the target does not exist: `missing` says which."""
        followed = self._followed.get(name)
        return followed.view if followed else None

    def missing(self, name: str) -> str:
        """Why there is no view, for people."""
        followed = self._followed.get(name)
        if followed is None:
            return "it is not followed"
        return followed.missing or f"{followed.target.named(followed.namespace)} is not known yet"

    def unlisted(self) -> list[str]:
        """What is in the way of each target that was never listed, for people."""
        lacking = (one for one in self._followed.values() if not one.listed)
        return [
            f"{one.target.named(one.namespace)}: {one.follower.missing() or 'not listed yet'}"
            for one in lacking
        ]

    @property
    def listed(self) -> bool:
        """Whether any list of anything has come."""
        return self._watches.synced

    def __len__(self) -> int:
        return len(self._followed)

    # -- changes

    def _space(self, namespace: str) -> "_PodSpace":
        space = self._spaces.get(namespace)
        if space is None:
            space = self._spaces[namespace] = _PodSpace(self._watches, namespace)
        return space

    def _mark(self, name: str) -> None:
        self._marked[name] = None
        if self._looking is None:
            self._looking = self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._looking = None
        for name in list(self._marked)[:AT_ONCE]:
            del self._marked[name]
            self._update(name)
        if self._marked:
            self._looking = self._loop.call_soon(self._look)

    def _update(self, name: str) -> None:
        followed = self._followed.get(name)
        if followed is not None and (self._see(name, followed) or not followed.began):
            followed.began = True
            followed.told()

    def _see(self, name: str, followed: _Followed) -> bool:
        """Whether it is another view than before."""
        followed.cancel()
        view, again_in = followed.follower.look(self._loop.time())
        if again_in is not None:
            followed.again = self._loop.call_later(again_in, self._mark, name)
        missing = "" if view else followed.follower.missing()
        followed.listed = followed.listed or followed.follower.listed
        differs = (view, missing) != (followed.view, followed.missing)
        followed.view, followed.missing = view, missing
        return differs

    def __repr__(self) -> str:
        return f"<Discovery of {len(self._followed)} targets, {self._watches}>"


class _PodSpace:
    """The pods of one namespace, given to the targets whose selectors choose them."""

    def __init__(self, watches: Watches, namespace: str) -> None:
        self._watches = watches
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._index: Index[_Pods] = Index()
        self._labelled = Labelled()
        self._users: set[_Pods] = set()
        self.namespace = namespace

    def join(self, user: "_Pods") -> None:
        if not self._users:
            self._watch = self._watches.add(self._path, pod_of, self)
        self._users.add(user)

    def leave(self, user: "_Pods") -> None:
        self._users.discard(user)
        self._index.put(user, None)
        if not self._users:
            self._watches.remove(self._path, self)
            self._labelled = Labelled()

    def select(self, user: "_Pods", workload: Workload | None) -> None:
        """Those that the workload's selector chooses are the user's from now on."""
        selector = workload.selector if workload else None
        if self._index.put(user, selector):
            user.pods = self._chosen(selector) if selector else {}

    def _chosen(self, selector: Selector) -> dict[str, Pod]:
        names, pods = self._labelled.find(selector), self._watch.items
        candidates = pods.values() if names is None else [pods[name] for name in names]
        return {pod.name: pod for pod in candidates if selector.matches(dict(pod.labels))}

    @property
    def synced(self) -> bool:
        return self._watch.synced

    @property
    def problem(self) -> str:
        return self._watch.problem

    def settled(self) -> None:
        for user in self._users:
            user.changed()

    def changed(self, name: str, before: Pod | None, now: Pod | None) -> None:
        owners = self._index.find(dict(now.labels)) if now else set()
        if not (before and now and now.labels == before.labels):
            self._labelled.put(name, before.labels if before else (), now.labels if now else ())
        if before and (not now or now.labels != before.labels):
            for user in self._index.find(dict(before.labels)) - owners:
                user.put(name, None)
        for user in owners:
            user.put(name, now)

    def __repr__(self) -> str:
        return f"<PodSpace {self.namespace} {self._index}>"


class _Pods:
    """Follows an object with a scale and its pods."""

    def __init__(
        self, watches: Watches, space: _PodSpace, target: ScaleTarget, changed: Callable[[], None]
    ) -> None:
        self.pods: dict[str, Pod] = {}
        self.changed = changed
        self._space = space
        self._starts = Starts()
        self._owner = OwnerWatch(watches, Owner(target, space.namespace), self._on_owner)
        space.join(self)
        self._owner.start()

    def put(self, name: str, pod: Pod | None) -> None:
        if pod is None:
            self.pods.pop(name, None)
        else:
            self.pods[name] = pod
        self.changed()

    def _on_owner(self) -> None:
        self._space.select(self, self._owner.workload)
        self.changed()

    def look(self, now: float) -> tuple[View | None, float | None]:
        """The view, and after how many seconds it may be another without anything having changed."""
        workload = self._owner.workload
        if workload is None or not self._space.synced:
            return None, None
        own = (pod for pod in self.pods.values() if workload.owns(pod.controller))
        pods = tuple(sorted(own, key=lambda pod: (pod.created, pod.name)))
        there = [pod for pod in pods if not pod.terminating]
        outlook: Outlook = self._starts.judge(there, workload, [pod.uid for pod in there if pod.ready], now)
        pending = outlook.pending or _unfindable(workload)
        return View(workload, pods, outlook.cannot_start, pending), outlook.again_in

    @property
    def listed(self) -> bool:
        return self._owner.listed and self._space.synced

    def missing(self) -> str:
        return self._owner.missing() or self._space.problem

    def stop(self) -> None:
        self._owner.stop()
        self._space.leave(self)

    def __repr__(self) -> str:
        return f"<Pods of {self._owner}: {len(self.pods)}>"


def _unfindable(workload: Workload) -> str | None:
    if workload.selector.requirements:
        return None
    return f"{workload}: its scale names no selector (status.selector), so that its pods cannot be found"


class _Slices:
    """Follows a Service's EndpointSlices."""

    def __init__(
        self, watches: Watches, namespace: str, target: ServiceTarget, changed: Callable[[], None]
    ) -> None:
        self.settled = changed
        self._watches = watches
        self._target = target
        self._name = target.named(namespace)
        self._path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self._watch = watches.add(self._path, slice_of, self)

    def changed(self, _name: str, before: Slice | None, now: Slice | None) -> None:
        if any(one is not None and one.service == self._target.name for one in (before, now)):
            self.settled()

    def look(self, _now: float) -> tuple[View | None, float | None]:
        if not self._watch.synced:
            return None, None
        slices = tuple(one for one in self._watch.items.values() if one.service == self._target.name)
        lack = lack_of(slices, self._target.port)
        return View(slices=slices, pending=lack and f"{self._name} {lack}"), None

    @property
    def listed(self) -> bool:
        return self._watch.synced

    def missing(self) -> str:
        return self._watch.problem

    def stop(self) -> None:
        self._watches.remove(self._path, self)

    def __repr__(self) -> str:
        return f"<Slices of {self._target.name}>"
