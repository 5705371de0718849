"""The autoscaler wired to a cluster, against the API server emulation, with the rights that `deploy/` gives it."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.admin import describe
from autoscaler.server import Autoscaler
from autoscaler.standalone import run
from gateway.config import Config, ConfigError, load
from gateway.stats import Beat, Stat
from gateway.targets import ServiceTarget
from tests.eventually import eventually
from tests.gateway.kube.scene import LLAMAS, deployment, llamas, service, workload
from tests.kube.apiserver import ApiServer
from tests.kube.simulated import SimulatedNode

ROOT = Path(__file__).parents[3]
DRAINING = "tidegate.dev/draining"
ACCOUNT = "system:serviceaccount:tidegate:tidegate"
IRIS = {"deployment": "iris", "namespace": "models", "port": 8080}
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "RoleBinding",
    "metadata": {"name": "tidegate", "namespace": "models"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tidegate-targets"},
    "subjects": [{"kind": "ServiceAccount", "name": "tidegate", "namespace": "tidegate"}],
}
LLAMA_ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "llamas"},
    "rules": [
        {"apiGroups": ["example.com"], "resources": ["llamasets"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["example.com"], "resources": ["llamasets/scale"], "verbs": ["get", "patch"]},
    ],
}


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    async with ApiServer.running() as server, SimulatedNode.running(server):
        for name in ("tidegate", "models"):
            await server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        await server.apply((ROOT / "deploy" / "base" / "rbac.yaml").read_text())
        llama_binding = {**BINDING, "metadata": {"name": "llamas", "namespace": "models"}}
        llama_binding["roleRef"] = {**BINDING["roleRef"], "name": "llamas"}  # type: ignore[dict-item]
        await server.apply([BINDING, LLAMA_ROLE, llama_binding])
        kubeconfig = server.kubeconfig(tmp_path / "config", user=ACCOUNT, namespace="tidegate")
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        yield server


class Scene:
    """Configurations of one Backend, `iris`, and a gateway that knows what the cluster says at any time."""

    def __init__(self, api: ApiServer, folder: Path) -> None:
        self.api = api
        self.path = folder / "tidegate.yaml"
        self.autoscaler: Autoscaler
        self._seq = 0

    def config(self, target: dict[str, Any], name: str = "iris", **scale: Any) -> Config:
        document = {
            "backends": {name: {"target": target, "scale": scale}},
            "routes": [{"name": "all", "split": {name: 1}}],
        }
        self.path.write_text(yaml.safe_dump(document))
        return load(self.path)

    @asynccontextmanager
    async def started(self, config: Config) -> AsyncIterator[Autoscaler]:
        self.autoscaler = Autoscaler(config)
        await self.autoscaler.connect(config)
        await self.autoscaler.start()
        beating = asyncio.create_task(self._beat())
        try:
            yield self.autoscaler
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            await self.autoscaler.stop()

    def nudge(self) -> None:
        self.autoscaler.receive(Beat("gw-1", self._seq, 0.0, {"iris": Stat(queued=2)}, nudge=True))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            self._seq += 1
            draining = {pod["metadata"]["uid"]: 0 for pod in self.pods() if DRAINING in _annotations(pod)}
            self.autoscaler.receive(Beat("gw-1", self._seq, 0.02, {}, {"iris": draining} if draining else {}))

    def pods(self) -> list[dict[str, Any]]:
        found = self.api.store.list("pods", "models")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def marked(self) -> list[str]:
        return sorted(pod["metadata"]["name"] for pod in self.pods() if DRAINING in _annotations(pod))

    def ready(self) -> int:
        return self.autoscaler.controller.targets["iris"].ready

    def replicas(self, kind: str = "deployments") -> int:
        found: int = self.api.store.get(kind, "models", "iris")["spec"]["replicas"]
        return found

    def events(self) -> list[tuple[str, str]]:
        return [(event["reason"], event["message"]) for event in self.api.store.list("events", "models")]

    def scaled(self) -> int:
        """How often the count was set."""
        return sum(reason == "ScaledUp" for reason, _ in self.events())


def by(manager: str, item: dict[str, Any]) -> dict[str, Any]:
    """As it is kept once `manager` has set its count."""
    field = {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    return item | {"metadata": item["metadata"] | {"managedFields": [field]}}


def _annotations(pod: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = pod["metadata"].get("annotations") or {}
    return found


def pulled(pod: dict[str, Any]) -> dict[str, Any]:
    """The Event that a kubelet writes about it."""
    meta = pod["metadata"]
    named = {key: meta[key] for key in ("name", "namespace", "uid")}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name']}.1", "namespace": meta["namespace"]},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", **named, "fieldPath": "spec.containers{c}"},
        "type": "Normal",
        "reason": "Pulled",
        "message": "Successfully pulled image",
        "lastTimestamp": meta["creationTimestamp"],
    }


@pytest.fixture
def scene(api: ApiServer, tmp_path: Path) -> Scene:
    return Scene(api, tmp_path)


async def test_a_nudge_wakes_a_deployment_from_zero(scene: Scene) -> None:
    """The leader sets the count, and an Event on the Deployment says why."""
    await scene.api.apply(deployment("iris", 0))
    async with scene.started(scene.config(IRIS)) as autoscaler:
        await eventually(
            lambda: "iris" in autoscaler.controller.targets and autoscaler.decisions()["iris"][0] == 0
        )
        await eventually(autoscaler.controller.leads)
        scene.nudge()
        await eventually(lambda: scene.ready() == 1)
        await eventually(
            lambda: scene.events() == [("ScaledUp", "from 0 to 1: 2 queued and no pod ready: waking with 1")]
        )


async def test_a_cold_start_is_told_by_phase(scene: Scene) -> None:
    """The pod's own steps, and its image's pull, which only an Event tells."""
    await scene.api.apply(deployment("iris", 0))
    async with scene.started(scene.config(IRIS)) as autoscaler:
        await eventually(autoscaler.controller.leads)
        await eventually(lambda: "iris" in autoscaler.decisions())
        scene.nudge()
        await eventually(lambda: scene.ready() == 1)
        [pod] = scene.pods()
        await scene.api.apply(pulled(pod))
        uid = pod["metadata"]["uid"]
        starts = autoscaler.controller.starts
        autoscaler.receive(Beat("gw-1", 10**6, 1.0, {"iris": Stat(started={uid: (9.0, 0.2, 0.1)})}))
        await eventually(lambda: list(starts.seconds()))
        assert (last := starts.last("iris")) is not None
        assert set(last.phases()) == {
            "decided",
            "created",
            "scheduled",
            "pulled",
            "started",
            "ready",
            "first_byte",
        }


async def test_pods_are_marked_then_the_count_falls(scene: Scene) -> None:
    """Two of three are drained at the gateways' word, and gone."""
    await scene.api.apply(deployment("iris", 3))
    async with scene.started(scene.config(IRIS, min=3, max=3)) as autoscaler:
        await eventually(lambda: scene.ready() == 3)
        await autoscaler.reload(scene.config(IRIS, min=1, max=1))
        await eventually(lambda: (scene.replicas(), len(scene.pods()), scene.marked()) == (1, 1, []))
        await eventually(lambda: {reason for reason, _ in scene.events()} == {"ScaledDown"})


async def test_a_stateful_set_loses_its_last_pods(scene: Scene) -> None:
    """In order, from the top."""
    await scene.api.apply(workload("StatefulSet", "iris", 3, serviceName="iris"))
    target = {"statefulset": "iris", "namespace": "models", "port": 8080}
    async with scene.started(scene.config(target, min=3, max=3)) as autoscaler:
        await eventually(lambda: scene.ready() == 3)
        await autoscaler.reload(scene.config(target, min=1, max=1))
        await eventually(lambda: [pod["metadata"]["name"] for pod in scene.pods()] == ["iris-0"])
        assert (scene.replicas("statefulsets"), scene.marked()) == (1, [])


async def test_any_object_with_a_scale_is_scaled(scene: Scene) -> None:
    """By its own path, wherever it keeps its count."""
    await scene.api.apply([LLAMAS, llamas(0)])
    ref = {"apiVersion": "example.com/v1", "kind": "LlamaSet", "name": "llama"}
    target = {"scale_target_ref": ref, "namespace": "models", "port": 8080}
    async with scene.started(scene.config(target, min=2)):
        await eventually(
            lambda: scene.api.store.get("llamasets.example.com", "models", "llama")["spec"]["size"] == 2
        )


async def test_a_services_pods_are_only_looked_at(scene: Scene) -> None:
    """Somebody else scales them, as an HPA does."""
    await scene.api.apply([deployment("iris", 2), service("iris")])
    target = {"service": "iris", "namespace": "models", "port": "http"}
    async with scene.started(scene.config(target, min=5)) as autoscaler:
        await eventually(lambda: scene.ready() == 2)
        await eventually(lambda: "others scale it: 2 pods" in autoscaler.decisions()["iris"][1])
        assert scene.replicas() == 2


async def test_what_does_not_exist_is_waited_for(scene: Scene) -> None:
    """Nothing is decided; once it is there, all goes on."""
    async with scene.started(scene.config(IRIS, min=1)) as autoscaler:
        await eventually(lambda: "deployment models/iris" in autoscaler.decisions()["iris"][1])
        await scene.api.apply(deployment("iris", 0))
        await eventually(lambda: scene.ready() == 1)


async def test_another_hands_count_stands(scene: Scene) -> None:
    """Somebody scales by hand: it is told whose it is, and nothing is set until something else is asked for."""
    await scene.api.apply(deployment("iris", 1))
    async with scene.started(scene.config(IRIS, min=1, max=1)) as autoscaler:
        await eventually(lambda: scene.ready() == 1 and autoscaler.controller.leads())
        autoscaler.controller.targets["iris"].decide()  # a new leader begins with what it finds
        await scene.api.apply(by("kubectl", deployment("iris", 4)))
        await eventually(lambda: scene.ready() == 4)
        told = ("ReplicasChanged", "kubectl has set the count from 1 to 4: that stands")
        await eventually(lambda: scene.events() == [told])
        hands = autoscaler.controller.targets["iris"].hands
        assert (scene.replicas(), hands.standing, autoscaler.controller.targets["iris"].errors) == (
            4,
            True,
            0,
        )
        await autoscaler.reload(scene.config(IRIS, min=2, max=2))
        await eventually(lambda: (scene.replicas(), len(scene.pods())) == (2, 2))


async def test_by_hpa_the_count_is_anothers_from_one_on(scene: Scene) -> None:
    """From zero goes one; what the HPA makes of it stays, and is no other hand's."""
    await scene.api.apply(deployment("iris", 0))
    async with scene.started(scene.config(IRIS, by="hpa")) as autoscaler:
        await eventually(lambda: "iris" in autoscaler.controller.targets and autoscaler.controller.leads())
        scene.nudge()
        await eventually(lambda: scene.ready() == 1)
        await scene.api.apply(by("kube-controller-manager", deployment("iris", 3)))
        await eventually(lambda: scene.ready() == 3)
        await eventually(lambda: autoscaler.decisions()["iris"][1].startswith("by hpa: leaving 3"))
        assert (scene.replicas(), autoscaler.controller.targets["iris"].hands.changes) == (3, 0)


async def test_what_was_deleted_comes_back(scene: Scene) -> None:
    """Meanwhile nothing is decided, and it is said why; then it goes on, whatever count it comes back with."""
    await scene.api.apply(deployment("iris", 2))
    async with scene.started(scene.config(IRIS, min=2)) as autoscaler:
        await eventually(lambda: scene.ready() == 2)
        scene.api.store.delete("deployments", "models", "iris")
        await eventually(
            lambda: autoscaler.decisions()["iris"][1] == "waiting: deployment models/iris does not exist"
        )
        await scene.api.apply(deployment("iris", 0))
        await eventually(lambda: scene.replicas() == 2)
        target = autoscaler.controller.targets["iris"]
        assert (target.errors, target.hands.changes) == (0, 0)


async def test_a_quota_costs_no_second_write(scene: Scene) -> None:
    """The count is set once; why there are no more pods stands beside it."""
    scene.api.controllers.quota("models", pods=1)
    await scene.api.apply(deployment("iris", 0))
    async with scene.started(scene.config(IRIS, min=3)) as autoscaler:
        await eventually(lambda: (scene.replicas(), scene.ready()) == (3, 1))
        target = autoscaler.controller.targets["iris"]
        await eventually(lambda: "exceeded quota" in (describe(target, 0.0)["stuck"] or ""))
        for _ in range(3):
            target.decide()
            await asyncio.sleep(0.05)
        assert (target.wish, target.errors, scene.scaled()) == (3, 0, 1)
        scene.api.controllers.quota("models", pods=None)
        await eventually(lambda: scene.ready() == 3 and describe(target, 0.0)["stuck"] is None)


async def test_conflicts_are_no_failures(scene: Scene) -> None:
    """The Deployment changed in between, its count did not."""
    await scene.api.apply(deployment("iris", 0))
    async with scene.started(scene.config(IRIS)) as autoscaler:
        await eventually(autoscaler.controller.leads)
        scene.api.faults.answer(409, times=2, verb="patch", resource="deployments/scale")
        scene.nudge()
        await eventually(lambda: scene.ready() == 1)
        assert autoscaler.controller.targets["iris"].errors == 0


async def test_a_removed_backend_leaves_its_pods_alone(scene: Scene) -> None:
    """Its count stays, and marks are taken back."""
    await scene.api.apply([deployment("iris", 2), deployment("rose", 0)])
    async with scene.started(scene.config(IRIS, min=2, max=2)) as autoscaler:
        await eventually(lambda: scene.ready() == 2)
        scene.autoscaler.receive(Beat("gw-2", 1, 1.0, {"iris": Stat(in_flight=1)}))
        await autoscaler.reload(scene.config(IRIS, max=1))
        await eventually(lambda: len(scene.marked()) == 1)
        rose = {"deployment": "rose", "namespace": "models", "port": 8080}
        await autoscaler.reload(scene.config(rose, name="rose"))
        await eventually(lambda: scene.marked() == [])
        assert (scene.replicas(), list(autoscaler.controller.targets)) == (2, ["rose"])


async def test_of_two_autoscalers_one_writes(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Both decide; when the leader ends in good order, the other goes on at once."""
    caplog.set_level(logging.INFO, "autoscaler")
    await scene.api.apply(deployment("iris", 0))
    config = scene.config(IRIS, min=1, max=1)
    first, second = Autoscaler(config), Autoscaler(config)
    for each in (first, second):
        await each.connect(config)
        await each.start()
        await eventually(first.controller.leads)
    await eventually(lambda: second.decisions().get("iris", (0, ""))[0] == 1)
    assert not second.controller.leads()
    await first.stop()
    await eventually(second.controller.leads)
    await second.reload(scene.config(IRIS, min=2, max=2))
    await eventually(lambda: scene.replicas() == 2)
    await second.stop()
    holder = scene.api.store.get("leases.coordination.k8s.io", "tidegate", "tidegate-autoscaler")["spec"]
    assert holder["holderIdentity"] == ""


async def test_gateways_are_found_behind_their_service(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """All endpoints, ready or not, and as they change."""
    await scene.api.apply([deployment("iris", 2), service("iris")])
    document = yaml.safe_load(scene.config(IRIS).path.read_text())
    document["autoscaler"] = {"gateways": {"service": "iris", "namespace": "models", "port": "http"}}
    scene.path.write_text(yaml.safe_dump(document))
    config = load(scene.path)
    async with scene.started(config) as autoscaler:
        told: list[list[str]] = []
        assert autoscaler.link is not None
        autoscaler.link.follow_gateways(config.gateway_service, told.append)
        await eventually(lambda: told and len(told[-1]) == 2)
        assert all(url.startswith("http://") and url.endswith(":8080") for url in told[-1])
        await scene.api.apply(deployment("iris", 3))
        await eventually(lambda: len(told[-1]) == 3)
        lacking = replace(config.gateway_service or ServiceTarget("", None, None), port="admn")
        autoscaler.link.follow_gateways(lacking, told.append)
        await eventually(lambda: "has no port admn" in caplog.text)
        autoscaler.link.follow_gateways(None, told.append)


async def test_the_api_server_may_be_away(scene: Scene) -> None:
    """Nothing is written meanwhile; leadership and scaling come back by themselves."""
    await scene.api.apply(deployment("iris", 1))
    async with scene.started(scene.config(IRIS, min=1, max=1)) as autoscaler:
        await eventually(lambda: scene.ready() == 1 and autoscaler.controller.leads())
        await scene.api.faults.away()
        await autoscaler.reload(scene.config(IRIS, min=2, max=2))
        await eventually(lambda: autoscaler.controller.targets["iris"].error)
        await scene.api.faults.back()
        await eventually(lambda: scene.ready() == 2)
        assert scene.replicas() == 2


async def test_on_its_own_it_follows_the_service_of_its_gateways_and_ends_in_good_order(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the file to a count in the cluster; a signal ends it with 0, and its Lease is released."""
    await scene.api.apply([deployment("iris", 0), service("gateways")])
    document = yaml.safe_load(scene.config(IRIS, min=2).path.read_text())
    document["autoscaler"] = {
        "admin": "127.0.0.1:0",
        "gateways": {"service": "gateways", "namespace": "models", "port": "http"},
    }
    scene.path.write_text(yaml.safe_dump(document))
    running = asyncio.create_task(run(scene.path))
    await eventually(lambda: scene.replicas() == 2)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, 15) == 0
    lease = scene.api.store.get("leases.coordination.k8s.io", "tidegate", "tidegate-autoscaler")
    assert (lease["spec"]["holderIdentity"], capsys.readouterr().err) == ("", "")


async def test_without_credentials_it_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the target and what to do."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    path = tmp_path / "tidegate.yaml"
    document = {"backends": {"iris": {"target": IRIS}}, "routes": [{"name": "all", "split": {"iris": 1}}]}
    path.write_text(yaml.safe_dump(document))
    assert await run(path) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{path}:3 backends.iris.target: no credentials for a cluster")


async def test_a_service_of_gateways_needs_the_cluster_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the targets are."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    path = tmp_path / "tidegate.yaml"
    document = {
        "autoscaler": {"gateways": {"service": "tidegate-gateways"}},
        "backends": {"iris": {"target": {"urls": ["http://127.0.0.1:9001"]}}},
        "routes": [{"name": "all", "split": {"iris": 1}}],
    }
    path.write_text(yaml.safe_dump(document))
    config = load(path)
    with pytest.raises(ConfigError, match=r"autoscaler\.gateways: no credentials"):
        await Autoscaler(config).connect(config)
