"""A cluster to look at: the API server emulation, and a client of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.kube.client import Cluster
from tests.kube.apiserver import ApiServer
from tests.kube.simulated import SimulatedNode


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with ApiServer.running() as server:
        await server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "models"}})
        yield server


@pytest.fixture
async def node(api: ApiServer) -> AsyncIterator[SimulatedNode]:
    async with SimulatedNode.running(api, addresses=lambda _: "127.0.0.1") as found:
        yield found


@pytest.fixture
async def cluster(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "config", namespace="models")))
    found = await Cluster.connect()
    yield found
    await found.close()
