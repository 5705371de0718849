"""Tidegate in the API server emulation, with every switch of it at hand.

The cluster has two API servers: the tests and the node speak to `server`, Tidegate's pods to `front`. What is broken at `front` alone happens to
Tidegate alone: its watches fall silent, while pods go on coming and going. Neighbour: `installation`, which knows nothing of this.
"""

import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.kube.pods import DRAINING
from tests.cluster.installation import Installation
from tests.kube.apiserver import ApiServer, Recorded
from tests.kube.history import Event
from tests.kube.kubelet import Kubelet
from tests.kube.nodeapi import Api, access_of

Object = dict[str, Any]
WRITES = {"create", "update", "patch", "delete"}


@dataclass
class Emulation:
    """One cluster of our own."""

    server: ApiServer
    front: ApiServer
    node: Kubelet
    installation: Installation

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, folder: Path) -> AsyncIterator["Emulation"]:
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(ApiServer.running())
            front = await stack.enter_async_context(ApiServer.running(beside=server))
            running = Kubelet.running(server.url, server.admin_token, folder=folder / "node")
            node = await stack.enter_async_context(running)
            api = Api(access_of(server.kubeconfig(folder / "kubeconfig")))
            stack.push_async_callback(api.close)
            kubeconfig = front.kubeconfig(folder / "front")
            installation = await stack.enter_async_context(Installation.running(api, kubeconfig))
            yield cls(server, front, node, installation)

    def signal(self, pod: str, number: signal.Signals) -> None:
        """To the processes of the pod of this name."""
        uid = self.server.store.get("pods", self.installation.namespace, pod)["metadata"]["uid"]
        self.node.signal(uid, number)

    def watch_counts(self, name: str = "iris-v1") -> list[int]:
        """Every count that the Deployment has from now on, the present one first; at once, whatever is broken."""
        counts: list[int] = [
            self.server.store.get("deployments.apps", self.installation.namespace, name)["spec"]["replicas"]
        ]

        def take(event: Event) -> None:
            record = event.record
            if record.key[1] == name and (count := record.obj["spec"]["replicas"]) != counts[-1]:
                counts.append(count)

        self._listen("deployments", take)
        return counts

    def when_marked(self, told: Callable[[Object], object]) -> None:
        """Call with each pod in the moment in which it is marked as draining, before anybody else hears of it."""

        def take(event: Event) -> None:
            before = event.previous is not None and DRAINING in _annotations(event.previous.obj)
            if not before and DRAINING in _annotations(event.record.obj):
                told(event.record.obj)

        self._listen("pods", take)

    def when_held(self, told: Callable[[str], object]) -> None:
        """Call with the holder of the Lease, in the moment in which it is written."""
        self._listen("leases", lambda event: told(event.record.obj["spec"].get("holderIdentity") or ""))

    def _listen(self, plural: str, told: Callable[[Event], object]) -> None:
        namespace = self.installation.namespace

        def take(event: Event) -> None:
            if (event.record.resource.plural, event.record.key[0]) == (plural, namespace):
                told(event)

        self.server.store.listeners.append(take)


def _annotations(pod: Object) -> Object:
    return pod["metadata"].get("annotations") or {}


def writes(requests: list[Recorded]) -> list[Recorded]:
    """Those that change something, other than the Lease, of which its version decides."""
    return [one for one in requests if one.verb in WRITES and one.resource != "leases"]
