"""A server for each test that asks for one, and a real client of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kubernetes_asyncio import client, config

from tests.kube.apiserver import ApiServer

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
