"""A server for each test that asks for one, and a real client of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
from kubernetes_asyncio import client, config

from tests.kube.apiserver import ApiServer
from tests.kube.plain import Plain
from tests.kube.simulated import SimulatedNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with ApiServer.running(bookmarks=0.05) as server:
        yield server


@pytest.fixture
async def kube(api: ApiServer, tmp_path: Path) -> AsyncIterator[client.ApiClient]:
    """kubernetes_asyncio's client, by a kubeconfig, as the admin."""
    configuration = client.Configuration()
    await config.load_kube_config(
        str(api.kubeconfig(tmp_path / "config")), client_configuration=configuration
    )
    async with client.ApiClient(configuration) as made:
        yield made


@pytest.fixture
async def plain(api: ApiServer) -> AsyncIterator[Plain]:
    async with aiohttp.ClientSession() as session:
        yield Plain(api, session)


@pytest.fixture
async def node(api: ApiServer) -> AsyncIterator[SimulatedNode]:
    """A node without processes, with two graphics cards."""
    async with SimulatedNode.running(api, capacity={"nvidia.com/gpu": "2"}) as made:
        yield made
