"""Whoever needs the cluster is told in the configuration's words why there is none."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import Config, ConfigError, load
from gateway.kube.connect import connect
from tests.kube.apiserver import ApiServer

IRIS = {"deployment": "iris", "namespace": "models", "port": 8080}
URLS = {"urls": ["http://127.0.0.1:9001"]}


def config(folder: Path, target: dict[str, Any], **sections: Any) -> Config:
    path = folder / "tidegate.yaml"
    routes = [{"name": "all", "split": {"iris": 1}}]
    path.write_text(yaml.safe_dump({"backends": {"iris": {"target": target}}, "routes": routes, **sections}))
    return load(path)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where there are no credentials."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    return tmp_path


async def test_the_cluster_is_the_one_that_kubectl_would_take(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the module that needs it is there."""
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "config")))
    cluster = await connect(config(tmp_path, IRIS), "gateway.kube.feeds")
    assert cluster.url == api.url
    assert "gateway.kube.feeds" in sys.modules
    await cluster.close()


async def test_missing_credentials_are_a_problem_of_the_first_target(nowhere: Path) -> None:
    """With its line."""
    with pytest.raises(ConfigError, match=r":3 backends\.iris\.target: no credentials for a cluster"):
        await connect(config(nowhere, IRIS), "gateway.kube.feeds")


async def test_or_of_the_gateways_that_are_looked_for(nowhere: Path) -> None:
    """Where no target is in a cluster."""
    found = config(nowhere, URLS, autoscaler={"gateways": {"service": "tidegate-gateways"}})
    with pytest.raises(ConfigError, match=r"autoscaler\.gateways: no credentials for a cluster"):
        await connect(found, "gateway.kube.feeds")


async def test_without_the_extra_the_person_is_told_what_to_install(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words of the command that does it."""
    monkeypatch.delitem(sys.modules, "gateway.kube.client", raising=False)
    monkeypatch.setitem(sys.modules, "kubernetes_asyncio", None)
    with pytest.raises(ConfigError, match=r"backends\.iris\.target: .*pip install 'tidegate\[kubernetes\]'"):
        await connect(config(nowhere, IRIS), "gateway.kube.client")
