"""Deployments scaled by what their pods say and use, in the API server emulation with the rights that `deploy/` gives."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import Config, load
from gateway.stats import Beat, Stat
from tests.autoscaler.cluster.test_in_a_cluster import ACCOUNT, BINDING, ROOT, Scene
from tests.autoscaler.signals.stage import ModelServer
from tests.autoscaler.signals.test_metricsapi import METRICS_API, usage
from tests.deploy.kustomize import build
from tests.eventually import eventually
from tests.gateway.kube.scene import deployment
from tests.kube.apiserver import ApiServer
from tests.kube.simulated import SimulatedNode


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    async with ApiServer.running() as server, SimulatedNode.running(server, addresses=lambda _: "127.0.0.1"):
        for name in ("tidegate", "models"):
            await server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        await server.apply((ROOT / "deploy" / "base" / "rbac.yaml").read_text())
        await server.apply([BINDING, METRICS_API])
        monkeypatch.setenv(
            "KUBECONFIG", str(server.kubeconfig(tmp_path / "config", user=ACCOUNT, namespace="tidegate"))
        )
        yield server


class BusyScene(Scene):
    """Its gateway always has a request."""

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            self._seq += 1
            stats = {"iris": Stat(in_flight_seconds=0.02, in_flight=1, begun=1)}
            self.autoscaler.receive(Beat("gw-1", self._seq, 0.02, stats))


@pytest.fixture
def scene(api: ApiServer, tmp_path: Path) -> Scene:
    return BusyScene(api, tmp_path)


def config(scene: Scene, metric: dict[str, Any], port: int = 8080) -> Config:
    document = {
        "backends": {
            "iris": {
                "target": {"deployment": "iris", "namespace": "models", "port": port},
                "scale": {"min": 1, "max": 5, "metrics": [metric]},
            }
        },
        "routes": [{"name": "all", "split": {"iris": 1}}],
    }
    scene.path.write_text(yaml.safe_dump(document))
    return load(scene.path)


def reason(scene: Scene) -> str:
    return scene.autoscaler.decisions().get("iris", (0, ""))[1]


async def test_a_deployment_is_scaled_by_its_pods_own_gauge(scene: Scene) -> None:
    """Each pod's page is read, on the port that requests go to."""
    await scene.api.apply(deployment("iris", 1))
    async with ModelServer("depth 6\n").serving() as port:
        metric = {"type": "pod", "metric": "depth", "target": 2, "interval": "1s"}
        async with scene.started(config(scene, metric, port)):
            await eventually(lambda: scene.replicas() == 5)
            assert "pod depth" in reason(scene)


async def test_a_deployment_is_scaled_by_the_cpu_that_it_uses(scene: Scene) -> None:
    """With the right that a component gives; without it the reason names that."""
    await scene.api.apply(deployment("iris", 1))
    async with scene.started(config(scene, {"type": "cpu", "target": "500m", "interval": "1s"})):
        await eventually(lambda: "add the component deploy/components/resource-metrics" in reason(scene))
        role = next(
            each
            for each in build(ROOT / "deploy" / "overlays" / "resource-metrics")
            if (each["kind"], each["metadata"]["name"]) == ("ClusterRole", "tidegate-targets")
        )
        await scene.api.apply(role)
        (pod,) = scene.pods()
        await scene.api.apply(usage(pod["metadata"]["name"], ("1900m", "1Mi"), at="2100-01-01T00:00:00Z"))
        await eventually(lambda: scene.replicas() == 4)
        assert "cpu" in reason(scene)
