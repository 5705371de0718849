"""A node without processes, in the server's own loop: pods become ready after a while, at addresses that the test names.

    async with SimulatedNode.running(api, delay=0.05, addresses=lambda pod: "127.0.0.1") as node:
        node.hold("ImagePullBackOff", 'Back-off pulling image "x:2"', image="x:2")

An image named `missing/…` is never pulled. A pod that is deleted goes after `termination` seconds.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.kube.podfacts import with_condition
from tests.kube.selectors import LabelSelector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.kube.apiserver import ApiServer
    from tests.kube.history import Event, Record

HOST = "192.0.2.1"
PLENTY = {"cpu": "10000", "memory": "10Ti", "pods": "100000"}


@dataclass(frozen=True, slots=True)
class Hold:
    """Why pods with these labels and this image do not start."""

    reason: str
    message: str
    labels: LabelSelector
    image: str
    restarts: int

    def takes(self, pod: dict[str, Any]) -> bool:
        images = [container.get("image", "") for container in pod["spec"]["containers"]]
        fits = not self.image or any(image.startswith(self.image) for image in images)
        return fits and self.labels.matches(pod["metadata"].get("labels") or {})


class SimulatedNode:
    """One Node. `capacity` is what it has to give, as its status says it."""

    def __init__(
        self,
        api: ApiServer,
        *,
        name: str = "node-1",
        delay: float | Callable[[dict[str, Any]], float] = 0.0,
        addresses: Callable[[dict[str, Any]], str] | None = None,
        termination: float = 0.0,
        capacity: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.delay = delay
        self.termination = termination
        self._store = api.store
        self._addresses = addresses or self._next_address
        self._capacity = PLENTY | (capacity or {})
        self._given = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._holds = [Hold("ImagePullBackOff", "", LabelSelector([]), "missing/", 0)]
        self._held: dict[tuple[str, str], None] = {}

    @classmethod
    @asynccontextmanager
    async def running(cls, api: ApiServer, **options: Any) -> AsyncIterator[SimulatedNode]:
        node = cls(api, **options)
        node.start()
        try:
            yield node
        finally:
            node.stop()

    def start(self) -> None:
        status = {
            "capacity": self._capacity,
            "allocatable": self._capacity,
            "addresses": [{"type": "InternalIP", "address": HOST}],
        }
        status["conditions"] = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
        labels = {"kubernetes.io/hostname": self.name}
        self._store.listeners.append(self._take)
        self._store.create(
            "nodes", {"metadata": {"name": self.name, "labels": labels}, "spec": {}, "status": status}
        )

    def stop(self) -> None:
        self._store.listeners.remove(self._take)
        for timer in self._timers.values():
            timer.cancel()

    # For tests

    def hold(
        self, reason: str, message: str = "", *, selector: str = "", image: str = "", restarts: int = 0
    ) -> None:
        """Keep pods that start from now on waiting, by label and by how their image's name begins."""
        self._holds.append(Hold(reason, message, LabelSelector.parse(selector), image, restarts))

    def release(self) -> None:
        """End every hold; the pods that are held start."""
        self._holds.clear()
        held, self._held = self._held, {}
        for key in held:
            if record := self._store.find("pods", *key):
                self._begin(record)

    def set_ready(self, namespace: str, name: str, ready: bool = True) -> None:
        """As if a pod's readiness probe had changed its mind."""
        record = self._store.record("pods", namespace, name)
        self._write(
            record,
            _containers(record.obj, {"running": {"startedAt": self._store.now()}}, ready=ready),
            ready=ready,
        )

    def crash(self, namespace: str, name: str, restarts: int = 2, exit_code: int = 1) -> None:
        """Leave a pod waiting in CrashLoopBackOff."""
        record = self._store.record("pods", namespace, name)
        container, uid = record.obj["spec"]["containers"][0]["name"], record.obj["metadata"]["uid"]
        message = f"back-off 10s restarting failed container={container} pod={name}_{namespace}({uid})"
        containers = _containers(
            record.obj, {"waiting": {"reason": "CrashLoopBackOff", "message": message}}, restarts=restarts
        )
        for each in containers:
            each["lastState"] = {
                "terminated": {"exitCode": exit_code, "reason": "Error", "finishedAt": self._store.now()}
            }
        self._write(record, containers, ready=False)

    # Inside

    def _take(self, event: Event) -> None:
        record = event.record
        if record.resource.key != ("", "pods") or record.obj["spec"].get("nodeName") != self.name:
            return
        uid = record.obj["metadata"]["uid"]
        before = event.previous.obj if event.previous else {"metadata": {}, "spec": {}}
        if event.type == "DELETED":
            self._cancel(uid)
        elif "deletionTimestamp" in record.obj["metadata"]:
            if "deletionTimestamp" not in before["metadata"]:
                self._after(self.termination, self._end, record)
        elif before["spec"].get("nodeName") != self.name:
            self._begin(record)

    def _begin(self, record: Record) -> None:
        hold = next((hold for hold in self._holds if hold.takes(record.obj)), None)
        if hold is None:
            self._wait(record, {"reason": "ContainerCreating"})
            self._after(self.delay(record.obj) if callable(self.delay) else self.delay, self._run, record)
            return
        self._held[record.key] = None
        image = record.obj["spec"]["containers"][0].get("image", "")
        message = hold.message or f'Back-off pulling image "{image}"'
        self._wait(record, {"reason": hold.reason, "message": message}, hold.restarts)

    def _wait(self, record: Record, waiting: dict[str, str], restarts: int = 0) -> None:
        self._write(record, _containers(record.obj, {"waiting": waiting}, restarts=restarts), ready=False)

    def _after(self, seconds: float, what: Callable[[str, str, str], None], record: Record) -> None:
        uid = record.obj["metadata"]["uid"]
        self._cancel(uid)
        self._timers[uid] = asyncio.get_running_loop().call_later(seconds, what, uid, *record.key)

    def _cancel(self, uid: str) -> None:
        if timer := self._timers.pop(uid, None):
            timer.cancel()

    def _run(self, uid: str, namespace: str, name: str) -> None:
        del self._timers[uid]
        record = self._store.record("pods", namespace, name)
        containers = _containers(record.obj, {"running": {"startedAt": self._store.now()}}, ready=True)
        address = (record.obj.get("status") or {}).get("podIP") or self._addresses(record.obj)
        self._write(record, containers, ready=True, address=address)

    def _end(self, uid: str, namespace: str, name: str) -> None:
        del self._timers[uid]
        self._held.pop((namespace, name), None)
        self._store.delete("pods", namespace, name, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})

    def _write(
        self, record: Record, containers: list[dict[str, Any]], *, ready: bool, address: str = ""
    ) -> None:
        record = self._store.record("pods", *record.key)
        old, now = record.obj.get("status") or {}, self._store.now()
        status = {
            **old,
            "hostIP": HOST,
            "startTime": old.get("startTime", now),
            "containerStatuses": containers,
        }
        started = any("running" in each["state"] or each["restartCount"] for each in containers)
        status["phase"] = "Running" if started else "Pending"
        if address:
            status |= {"podIP": address, "podIPs": [{"ip": address}]}
        conditions = with_condition(
            old.get("conditions") or [], {"type": "Initialized", "status": "True"}, now
        )
        unready = {} if ready else {"reason": "ContainersNotReady", "message": _unready(containers)}
        for type_ in ("Ready", "ContainersReady"):
            conditions = with_condition(conditions, {"type": type_, "status": str(ready), **unready}, now)
        self._store.set_status(record, {**status, "conditions": conditions})

    def _next_address(self, _pod: dict[str, Any]) -> str:
        self._given += 1
        return f"10.{self._given >> 16 & 255}.{self._given >> 8 & 255}.{self._given & 255}"

    def __repr__(self) -> str:
        return f"<SimulatedNode {self.name}, {len(self._timers)} pods on their way, {len(self._held)} held>"


def _containers(
    pod: dict[str, Any], state: dict[str, Any], *, ready: bool = False, restarts: int = 0
) -> list[dict[str, Any]]:
    known = {each["name"]: each for each in (pod.get("status") or {}).get("containerStatuses") or ()}
    return [
        {
            "name": container["name"],
            "state": state,
            "lastState": known.get(container["name"], {}).get("lastState", {}),
            "ready": ready,
            "restartCount": restarts or known.get(container["name"], {}).get("restartCount", 0),
            "image": container.get("image", ""),
            "imageID": "",
            "started": "running" in state,
        }
        for container in pod["spec"]["containers"]
    ]


def _unready(containers: list[dict[str, Any]]) -> str:
    return f"containers with unready status: [{' '.join(each['name'] for each in containers)}]"
