"""What Tidegate's identity may do and what it does are the same: one story that needs all of it, against the API server emulation."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from autoscaler.standalone import run
from tests.deploy.kustomize import Object, build
from tests.deploy.manifests import DEPLOY
from tests.deploy.test_rbac import Grant, grants
from tests.eventually import eventually
from tests.gateway.kube.scene import LLAMAS, deployment, service, workload
from tests.integration.dataplane import RealPod, answering
from tests.integration.running import Running, tidegate
from tests.kube.apiserver import ApiServer, Recorded
from tests.kube.simulated import SimulatedNode

ACCOUNT = "system:serviceaccount:tidegate:tidegate"
RIGHTS = [*build(DEPLOY / "overlays/namespaced"), *build(DEPLOY / "examples/custom-resource")]
RIGHTS = [obj for obj in RIGHTS if obj["kind"] in {"Namespace", "ServiceAccount"} or "Role" in obj["kind"]]
SCALED = [("deployments", "iris"), ("statefulsets", "rose"), ("rollouts.argoproj.io", "lily")]
ROLLOUT = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}


def rollouts() -> list[Object]:
    """The custom resource of the example, and one of it."""
    names = {"plural": "rollouts", "singular": "rollout", "kind": "Rollout", "listKind": "RolloutList"}
    (version,) = LLAMAS["spec"]["versions"]
    spec = {
        **LLAMAS["spec"],
        "group": "argoproj.io",
        "names": names,
        "versions": [{**version, "name": "v1alpha1"}],
    }
    definition = {**LLAMAS, "metadata": {"name": "rollouts.argoproj.io"}, "spec": spec}
    named = {"name": "lily", "namespace": "models"}
    lily = {**ROLLOUT, "metadata": named, "spec": {"size": 0}, "status": {"selector": "app=lily", "size": 0}}
    return [definition, lily]


def gateways(admin: int) -> list[Object]:
    """A pod that stands for the gateway, and its headless Service."""
    pods = deployment("tidegate", 1)
    port = {"name": "admin", "port": 8081, "targetPort": admin}
    headless = {"clusterIP": "None", "selector": {"app": "tidegate"}, "ports": [port]}
    found = {**service("tidegate-gateways"), "spec": headless}
    for obj in (pods, found):
        obj["metadata"] = {**obj["metadata"], "namespace": "tidegate"}
    return [pods, found]


def configuration(port: int, **scale: int) -> dict[str, Any]:
    """One Backend for each kind of target; `scale` is that of those whose pods drain."""
    place = {"namespace": "models", "port": port}
    targets: dict[str, Any] = {
        "iris": {"target": {"deployment": "iris", **place}, "scale": scale},
        "rose": {"target": {"statefulset": "rose", **place}, "scale": scale},
        "lily": {"target": {"scale_target_ref": {**ROLLOUT, "name": "lily"}, **place}, "scale": {"min": 2}},
        "tulip": {"target": {"service": "tulip", "namespace": "models", "port": "http"}},
    }
    return {
        "autoscaler": {
            "admin": "127.0.0.1:0",
            "gateways": {"service": "tidegate-gateways", "namespace": "tidegate", "port": "admin"},
        },
        "backends": targets,
        "routes": [{"name": name, "paths": [f"/{name}"], "split": {name: 1}} for name in targets],
    }


class Story:
    """The cluster, a gateway and an autoscaler as its one identity, and what both are configured with."""

    def __init__(self, api: ApiServer, gateway: Running, path: Path, port: int) -> None:
        self.api = api
        self.gateway = gateway
        self.path = path
        self.port = port

    def configure(self, **scale: int) -> None:
        self.path.write_text(json.dumps(configuration(self.port, **scale)))

    async def ask(self, name: str) -> int:
        async with self.gateway.session.get(f"{self.gateway.url}/{name}") as answer:
            return answer.status

    def replicas(self) -> tuple[int, int, int]:
        """Of the Deployment, the StatefulSet and the custom resource."""
        specs = [self.api.store.get(kind, "models", name)["spec"] for kind, name in SCALED]
        return specs[0]["replicas"], specs[1]["replicas"], specs[2]["size"]

    def did(self, verb: str, resource: str) -> bool:
        requests = self.api.requests
        return any(
            (request.verb, request.resource, request.user) == (verb, resource, ACCOUNT)
            for request in requests
        )

    def events(self) -> set[str]:
        return {event["reason"] for event in self.api.store.list("events", "models")}


@pytest.fixture
async def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Story]:
    """Everything is there; nothing of ours but the gateway runs yet."""
    model = await RealPod(answering).start()
    node = partial(SimulatedNode.running, addresses=lambda _: "127.0.0.1")
    async with ApiServer.running() as api, node(api):
        await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "models"}})
        await api.apply([*RIGHTS, *rollouts(), workload("StatefulSet", "rose", 0, serviceName="rose")])
        tulip = service("tulip")
        tulip["spec"]["ports"][0]["targetPort"] = model.port
        await api.apply([deployment("iris", 0), deployment("tulip", 1), tulip])
        kubeconfig = api.kubeconfig(tmp_path / "kubeconfig", user=ACCOUNT, namespace="tidegate")
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        async with tidegate(tmp_path, configuration(model.port), command="gateway") as gateway:
            await api.apply(gateways(int(gateway.admin.rpartition(":")[2])))
            yield Story(api, gateway, tmp_path / "autoscaler.yaml", model.port)
    await model.kill()


@asynccontextmanager
async def autoscaler(path: Path) -> AsyncIterator[None]:
    """As a process of its own would, from its file to its end by a signal."""
    running = asyncio.create_task(run(path))
    yield
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, 15) == 0


def needed(request: Recorded, granted: set[Grant]) -> Grant:
    """The grant without which it would have been refused."""
    kind, slash, sub = request.resource.partition("/")
    resource = (f"{kind}.{request.group}" if request.group else kind) + slash + sub
    (grant,) = (
        grant
        for grant in granted
        if grant[:3] == (request.verb, resource, request.namespace) and grant[3] in {"*", request.name}
    )
    return grant


async def test_what_is_granted_is_what_is_used(story: Story) -> None:
    """Woken, scaled up, drained and scaled down, for each kind of target; no right is left over, and none was missing."""
    story.configure()
    async with autoscaler(story.path):
        codes = await asyncio.gather(*(story.ask(name) for name in ("iris", "rose", "tulip")))
        assert codes == [200, 200, 200]
        await eventually(lambda: story.did("list", "events"))
        story.configure(min=2)
        await eventually(lambda: story.replicas() == (2, 2, 2))
        story.configure(max=1)
        await eventually(lambda: story.replicas() == (1, 1, 2))
        await eventually(lambda: story.events() == {"ScaledUp", "ScaledDown"})
    used = [request for request in story.api.requests if request.user == ACCOUNT]
    granted = grants(RIGHTS)
    assert {needed(request, granted) for request in used} == granted
    assert story.api.refusals == []
