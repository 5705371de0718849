"""An API server, a node and an admin, as the tests of the node agent need them."""

from dataclasses import dataclass
from typing import Any

from tests.eventually import eventually
from tests.kube.apiserver import ApiServer
from tests.kube.kubelet import Kubelet
from tests.kube.nodeapi import Api
from tests.kube.podrunner import Pod

Object = dict[str, Any]
BARE: Object = {"automountServiceAccountToken": False}


@dataclass
class Cluster:
    """An API server, its one node, and an admin."""

    server: ApiServer
    node: Kubelet
    admin: Api

    async def pod(self, command: list[str], name: str = "p", **container: Any) -> Pod:
        """A pod that is bound to the node, as the node has it; `volumes` and `restartPolicy` go to the pod's spec."""
        spec = {key: container.pop(key) for key in ("volumes", "restartPolicy") if key in container}
        main = {"name": "main", "image": "python:3", "command": command, **container}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {**BARE, "nodeName": self.node.name, "containers": [main], **spec},
        }
        uid = (await self.admin.post("/api/v1/namespaces/default/pods", body))["metadata"]["uid"]
        await eventually(lambda: uid in self.node.pods)
        return self.node.pods[uid]

    async def config(self, **data: str) -> None:
        """Make the ConfigMap `files` hold these keys."""
        meta = {"name": "files", "namespace": "default"}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
        await self.server.apply(body)

    def status(self, name: str = "p") -> Object:
        """As the API server has it."""
        status: Object = self.server.store.get("pods", "default", name).get("status") or {}
        return status

    def main(self, name: str = "p") -> Object:
        """What is told of the one container."""
        told = self.status(name).get("containerStatuses") or [{"state": {}, "lastState": {}, "ready": False}]
        main: Object = told[0]
        return main

    def reason(self, name: str = "p") -> str | None:
        """Why it waits."""
        reason: str | None = self.main(name)["state"].get("waiting", {}).get("reason")
        return reason

    def ready(self, name: str = "p") -> bool:
        conditions = self.status(name).get("conditions") or []
        return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)

    def gone(self, name: str = "p") -> bool:
        return self.server.store.find("pods", "default", name) is None
