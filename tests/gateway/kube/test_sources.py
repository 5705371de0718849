"""Where a gateway's Feeds get their pods from, and whether it knows enough of them to begin."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.endpoints import Feed
from gateway.firstlook import PATIENCE
from gateway.kube.client import Cluster
from gateway.sources import PodSources
from tests.eventually import eventually
from tests.gateway.kube.scene import deployment
from tests.kube.apiserver import ApiServer
from tests.kube.simulated import SimulatedNode

CONFIG = """
backends:
  iris:
    target: {deployment: iris, namespace: models, port: 8080}
  rose:
    target: %s
routes:
  - {name: iris, split: {iris: 1, rose: 1}}
"""
CLUSTER = "{deployment: rose, namespace: models, port: 8080}"
Taken = Callable[[str], "Config"]


@pytest.fixture
def taken(tmp_path: Path) -> Taken:
    """A configuration whose second target is the one given."""

    def made(target: str) -> Config:
        path = tmp_path / "tidegate.yaml"
        path.write_text(CONFIG % target)
        return load(path)

    return made


@pytest.fixture
async def sources(cluster: Cluster) -> AsyncIterator[PodSources]:  # noqa: ARG001 (its credentials are found)
    found = PodSources("gateway", 0.0)
    yield found
    await found.stop()


async def follow(sources: PodSources, config: Config) -> None:
    await sources.prepare(config)
    for name, backend in config.backends.items():
        sources.feeds.setdefault(name, Feed(name))
        sources.put(name, backend, None)


async def test_a_gateway_that_knows_no_pods_yet_takes_no_clients(
    api: ApiServer,
    node: SimulatedNode,  # noqa: ARG001 (it runs the pods)
    sources: PodSources,
    taken: Taken,
) -> None:
    """While the API server is away, however long; a list of everything is enough, even of what does not exist."""
    await api.apply(deployment("iris", 1))
    await eventually(lambda: any("podIP" in pod["status"] for pod in api.store.list("pods", "models")))
    await api.faults.away()
    await follow(sources, taken(CLUSTER))
    told = sources.lacks(0.0) or ""
    assert told == "waiting for the cluster: deployment models/iris: not listed yet and 1 more"
    await eventually(lambda: "Cannot connect" in (sources.lacks(PATIENCE + 1) or ""))
    await api.faults.back()
    await eventually(lambda: sources.lacks(1.0) is None)
    assert sources.feeds["iris"].latest.pods


async def test_once_begun_it_goes_on_without_the_server(
    api: ApiServer, sources: PodSources, taken: Taken
) -> None:
    """With a target, too, that it never heard of."""
    await follow(sources, taken(CLUSTER))
    await eventually(lambda: sources.lacks(1.0) is None)
    await api.faults.away()
    await follow(sources, taken(CLUSTER.replace("deployment", "statefulset")))
    assert sources.lacks(2.0) is None


async def test_pods_outside_of_the_cluster_are_served_after_half_a_minute(
    api: ApiServer, sources: PodSources, taken: Taken
) -> None:
    """Even when the cluster says nothing at all."""
    await api.faults.away()
    await follow(sources, taken("{urls: ['http://127.0.0.1:9']}"))
    assert sources.lacks(PATIENCE - 1)
    assert sources.lacks(PATIENCE) is None


async def test_a_gateway_without_a_cluster_waits_for_nothing() -> None:
    """Its pods are fixed, or processes of this machine."""
    assert PodSources("up", 0.0).lacks(0.0) is None
