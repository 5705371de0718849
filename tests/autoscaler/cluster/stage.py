"""A Deployment or StatefulSet on a FakeCluster, a leader's Lease, and views that a test may let fall behind."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from autoscaler.plan import Superseded
from gateway.kube.discovery import View
from gateway.kube.pods import pod_of
from gateway.kube.workloads import workload_of
from tests.autoscaler.cluster.fakecluster import FakeCluster

PODS = "/api/v1/namespaces/models/pods"


class FakeLease:
    """Leads for as long as a test says."""

    identity = "me-1"

    def __init__(self) -> None:
        self.term = 1
        self.left = 9.0

    def leads(self) -> bool:
        return self.left > 0

    async def write(self, request: Callable[[float], Coroutine[Any, Any, Any]]) -> Any:
        if not self.left:
            raise Superseded("another autoscaler leads")
        return await request(self.left)


class Stage:
    """`view` is what the watches told last: `see` brings it up to date."""

    def __init__(self, kind: str = "Deployment", replicas: int = 0, first_ordinal: int = 0) -> None:
        self.kind = kind
        self.path = f"/apis/apps/v1/namespaces/models/{kind.lower()}s/iris"
        self.cluster = FakeCluster()
        self.lease = FakeLease()
        self.view: View | None = None
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "iris"}}}
        if first_ordinal:
            spec["ordinals"] = {"start": first_ordinal}
        self.cluster.put(self.path, {"metadata": self._meta("iris"), "spec": spec})
        self.born = 0
        self.see()

    @property
    def replicas(self) -> int:
        found: int = self.cluster.objects[self.path]["spec"]["replicas"]
        return found

    def pod(self, name: str, *, ready: bool = True, host: str | None = "10.0.0.1", **extra: Any) -> None:
        """One more, younger than those before. Its uid is `uid-` and its name."""
        self.born += 1
        meta = self._meta(name) | {"creationTimestamp": f"2030-01-01T00:00:{self.born:02}Z"} | extra
        if self.kind == "StatefulSet":
            meta["ownerReferences"] = [{"kind": "StatefulSet", "name": "iris"}]
        status = {"podIP": host, "conditions": [{"type": "Ready", "status": str(ready)}]}
        self.cluster.put(f"{PODS}/{name}", {"metadata": meta, "spec": {}, "status": status})
        self.see()

    def annotations(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self.cluster.objects[f"{PODS}/{name}"]["metadata"].get("annotations", {})
        return found

    def end(self, name: str) -> None:
        """The pod is being deleted."""
        self.cluster.objects[f"{PODS}/{name}"]["metadata"]["deletionTimestamp"] = "2030-01-01T00:01:00Z"
        self.see()

    def set_by_hand(self, replicas: int, manager: str = "kubectl") -> None:
        item = self.cluster.objects[self.path]
        field = {"manager": manager, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        meta = item["metadata"] | {"managedFields": [field]}
        self.cluster.put(self.path, item | {"metadata": meta, "spec": item["spec"] | {"replicas": replicas}})

    def touch(self) -> None:
        """Something else about the object changes, as its status does all the time."""
        self.cluster.put(self.path, self.cluster.objects[self.path])

    def see(self) -> None:
        items = self.cluster.objects
        pods = [pod_of(item) for path, item in items.items() if path.startswith(PODS)]
        pods.sort(key=lambda pod: pod.created)
        self.view = View(workload_of(items[self.path], "apps/v1", self.kind, self.path), tuple(pods))

    @staticmethod
    def _meta(name: str) -> dict[str, Any]:
        return {"name": name, "namespace": "models", "uid": f"uid-{name}"}


async def settle() -> None:
    await asyncio.sleep(0.01)
