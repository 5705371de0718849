"""A cluster to look at: the API server emulation, and a client of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.kube.client import Cluster
from tests.kube.apiserver import ApiServer


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with ApiServer.running() as server:
        await server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "models"}})
        yield server


@pytest.fixture
async def cluster(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "config", namespace="models")))
    found = await Cluster.connect()
    yield found
    await found.close()
