"""A cluster's controllers, on the loop of the API server: each change makes keys due, and each due key is brought one step nearer.

What to do about a key is pure (`deployments`, `replicasets`, `statefulsets`, `slices`, `scheduling`, `namespaces`); here is when. With no `lag` it
is done in the next turn of the loop, some keys a turn, so that requests are answered in between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.kube import deployments, replicasets, slices, statefulsets
from tests.kube.errors import ApiError
from tests.kube.history import Event
from tests.kube.namespaces import Namespaces
from tests.kube.podfacts import controller_of
from tests.kube.scheduling import Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kube.admission import Admission
    from tests.kube.store import Store

    Key = tuple[str, str, str]
    """Which controller, and of which object: namespace and name."""

AT_ONCE = 20
"""Keys that one turn of the loop deals with."""
RETRY = 0.05
_BY_RESOURCE = {
    ("apps", "deployments"): "deployments",
    ("apps", "replicasets"): "replicasets",
    ("apps", "statefulsets"): "statefulsets",
    ("", "services"): "slices",
    ("", "namespaces"): "namespaces",
}


class Controllers:
    """`lag` seconds pass before a change is dealt with; it may be changed at any time."""

    def __init__(self, store: Store, admission: Admission, ca: str = "", lag: float = 0.0) -> None:
        self.lag = lag
        self.failures: list[Exception] = []
        """What went wrong in here and should not have."""
        self._store = store
        self._admission = admission
        self._scheduler = Scheduler()
        self._reconcilers: dict[str, Callable[[Store, str, str], float | None]] = {
            "namespaces": Namespaces(ca).reconcile,
            "deployments": deployments.reconcile,
            "replicasets": replicasets.reconcile,
            "statefulsets": statefulsets.reconcile,
            "scheduler": self._scheduler.reconcile,
            "slices": slices.reconcile,
        }
        self._due: dict[Key, None] = {}
        self._turn: asyncio.Handle | None = None
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._services: dict[str, dict[str, dict[str, str]]] = {}
        """Selectors by namespace and name."""
        self._paused = False

    # Life

    def start(self) -> None:
        """Deal with what is there, and with each change from now on."""
        for resource in self._store.registry:
            for record in self._store.records(resource):
                self._take(Event("ADDED", record, None))
        self._store.listeners.append(self._take)

    def stop(self) -> None:
        self._store.listeners.remove(self._take)
        for timer in (*self._later.values(), *([self._turn] if self._turn else [])):
            timer.cancel()
        self._later.clear()
        self._turn = None
        if self.failures:
            raise ExceptionGroup("controllers of the test's API server failed", self.failures)

    # For tests

    def quota(self, namespace: str, pods: int | None) -> None:
        """Refuse pods of a namespace beyond this number; None lifts that."""
        if pods is None:
            self._admission.quotas.pop(namespace, None)
        else:
            self._admission.quotas[namespace] = pods
        for record in self._store.records("replicasets.apps", namespace):
            self._add("replicasets", *record.key)

    def pause(self) -> None:
        """Do nothing until `resume`, as if the controller manager were gone."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._schedule()

    async def settled(self) -> None:
        """Return once nothing is due. What is tried again later does not count."""
        while self._due:
            await asyncio.sleep(self.lag)

    # Inside

    def _take(self, event: Event) -> None:
        for key in self._concerned(event):
            self._add(*key)

    def _concerned(self, event: Event) -> Iterator[Key]:
        resource, (namespace, name) = event.record.resource, event.record.key
        if controller := _BY_RESOURCE.get(resource.key):
            yield controller, namespace, name
        if event.type == "DELETED" and namespace:
            found = self._store.find("namespaces", "", namespace)
            if found and "deletionTimestamp" in found.obj["metadata"]:
                yield "namespaces", "", namespace
        match resource.key:
            case "", "pods":
                yield from self._concerned_by_pod(event)
            case "apps", "replicasets":
                yield "deployments", namespace, controller_of(event.record.obj, "Deployment")
            case "", "nodes":
                yield from (("scheduler", *key) for key in self._scheduler.waiting)
            case "", "services":
                self._note(event)
            case "discovery.k8s.io", "endpointslices":
                yield "slices", namespace, controller_of(event.record.obj, "Service")

    def _concerned_by_pod(self, event: Event) -> Iterator[Key]:
        pod, namespace = event.record.obj, event.record.key[0]
        self._scheduler.take(event)
        if owner := controller_of(pod, "ReplicaSet"):
            yield "replicasets", namespace, owner
        if owner := controller_of(pod, "StatefulSet"):
            yield "statefulsets", namespace, owner
        if event.type == "DELETED":
            yield from (("scheduler", *key) for key in self._scheduler.waiting)
            yield "deployments", namespace, self._deployment_of(event)
        elif not pod["spec"].get("nodeName"):
            yield "scheduler", *event.record.key
        known = [
            record.obj["metadata"].get("labels") or {} for record in (event.record, event.previous) if record
        ]
        for service, selector in self._services.get(namespace, {}).items():
            if any(selector.items() <= labels.items() for labels in known):
                yield "slices", namespace, service

    def _deployment_of(self, event: Event) -> str:
        """Whose pod it was: one that replaces all at once waits for the last."""
        namespace, owner = event.record.key[0], controller_of(event.record.obj, "ReplicaSet")
        found = self._store.find("replicasets.apps", namespace, owner)
        return controller_of(found.obj, "Deployment") if found else ""

    def _note(self, event: Event) -> None:
        namespace, name = event.record.key
        selector = event.record.obj["spec"].get("selector")
        services = self._services.setdefault(namespace, {})
        if event.type == "DELETED" or not selector:
            services.pop(name, None)
        else:
            services[name] = selector

    def _add(self, controller: str, namespace: str, name: str) -> None:
        if name:
            self._due[controller, namespace, name] = None
            self._schedule()

    def _schedule(self) -> None:
        if self._turn is None and self._due and not self._paused:
            self._turn = asyncio.get_running_loop().call_later(self.lag, self._run)

    def _run(self) -> None:
        self._turn = None
        for key in list(self._due)[:AT_ONCE]:
            if self._paused:
                break
            del self._due[key]
            self._reconcile(key)
        self._schedule()

    def _reconcile(self, key: Key) -> None:
        controller, namespace, name = key
        try:
            again = self._reconcilers[controller](self._store, namespace, name)
        except ApiError:
            again = RETRY
        except Exception as error:  # noqa: BLE001 (kept for `stop`, which raises it)
            self.failures.append(error)
            return
        if again is not None:
            if earlier := self._later.pop(key, None):
                earlier.cancel()
            self._later[key] = asyncio.get_running_loop().call_later(again, self._again, key)

    def _again(self, key: Key) -> None:
        self._later.pop(key, None)
        self._add(*key)

    def __repr__(self) -> str:
        state = ", paused" if self._paused else ""
        return f"<Controllers, {len(self._due)} due, {len(self._later)} later{state}, {self._scheduler!r}>"
