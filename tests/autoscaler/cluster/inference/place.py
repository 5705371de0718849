"""The controller of InferenceServices on the API server emulation, in one loop, with pods that are ready after a moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from autoscaler.cluster.events import Events
from autoscaler.cluster.inference.controller import InferenceServices
from autoscaler.cluster.inference.terms import Terms
from autoscaler.cluster.lease import Lease
from autoscaler.inference.shapes import Settings
from deploy.crds import make
from gateway.kube.client import Cluster
from tests.kube.apiserver import ApiServer
from tests.kube.errors import ApiError
from tests.kube.simulated import SimulatedNode

Object = dict[str, Any]
GROUP = "inferenceservices.serving.kserve.io"
WRITES = {"create", "update", "patch", "delete"}


@cache
def definitions() -> list[Object]:
    return [make.definition(group) for group in make.GROUPS]


def service(name: str = "iris", namespace: str = "default", *, ours: bool = True, **predictor: Any) -> Object:
    """An InferenceService with a container of its own."""
    container = {"name": "kserve-container", "image": "iris:1"}
    about: Object = {"name": name, "namespace": namespace}
    if ours:
        about["annotations"] = {"tidegate.dev/class": "tidegate"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": about,
        "spec": {"predictor": {"containers": [container], **predictor}},
    }


@dataclass
class Place:
    """A cluster, and a controller in it."""

    api: ApiServer
    cluster: Cluster
    lease: Lease
    controller: InferenceServices
    stuck: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def names(self, what: str, namespace: str = "") -> list[str]:
        return sorted(record.key[1] for record in self.api.store.records(what, namespace))

    def get(self, what: str, name: str, namespace: str = "default") -> Object:
        return self.api.store.get(what, namespace, name)

    def status(self, name: str = "iris", what: str = GROUP) -> Object:
        try:
            found: Object = self.get(what, name).get("status") or {}
        except ApiError:
            return {}
        return found

    def is_ready(self, name: str = "iris", what: str = GROUP) -> bool:
        conditions = self.status(name, what).get("conditions") or ()
        return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)

    def documents(self) -> list[str]:
        return [n for n in self.names("configmaps", "tidegate") if n.startswith("isvc.")]

    def reasons(self) -> list[str]:
        return [record.obj["reason"] for record in self.api.store.records("events")]

    def writes(self) -> int:
        """Of whatever but the Lease."""
        return sum(
            count for (verb, what), count in self.api.counts.items() if verb in WRITES and what != "leases"
        )


@asynccontextmanager
async def running(
    folder: Path,
    patch: pytest.MonkeyPatch,
    terms: Terms | None = None,
    *,
    defined: bool = True,
    rights: list[Object] | None = None,
) -> AsyncIterator[Place]:
    """`rights`: of the account `tidegate`, that acts then; without them it is the admin."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(ApiServer.running())
        await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tidegate"}})
        if defined:
            await api.apply(definitions())
        await stack.enter_async_context(SimulatedNode.running(api, delay=0.05))
        await api.apply(rights or [])
        user = "kubernetes-admin" if rights is None else "system:serviceaccount:tidegate:tidegate"
        patch.setenv("KUBECONFIG", str(api.kubeconfig(folder / "kubeconfig", user, "tidegate")))
        cluster = await Cluster.connect()
        stack.push_async_callback(cluster.close)
        lease = Lease(cluster, "one")
        lease.start()
        stack.push_async_callback(lease.stop)
        stuck: dict[str, str] = {}
        left_out: dict[str, str] = {}
        controller = InferenceServices(
            cluster,
            lease,
            Events(cluster, lease),
            stuck.get,
            terms or Terms(Settings()),
            left_out=left_out.get,
        )
        stack.push_async_callback(controller.stop)
        yield Place(api, cluster, lease, controller, stuck, left_out)


async def quiet(place: Place, seconds: float) -> int:
    """The writes of so long a time."""
    before = place.writes()
    await asyncio.sleep(seconds)
    return place.writes() - before
