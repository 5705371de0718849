"""What a cluster's pods use, from the API server emulation with a metrics API."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from autoscaler.signals.asked import NoValueError, PodAt, Usage
from autoscaler.signals.metricsapi import ClusterUsage, Measured, MetricsApi, measured_of
from gateway.kube.client import Cluster
from tests.kube.apiserver import ApiServer

CPU = Usage("cpu", "cpu", target=1.0)
MEMORY = Usage("memory", "memory", target=2.0**30)
METRICS_API = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "pods.metrics.k8s.io"},
    "spec": {
        "group": "metrics.k8s.io",
        "names": {"kind": "PodMetrics", "plural": "pods", "singular": "podmetrics"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}


def usage(name: str, *containers: tuple[str, str], at: str = "2030-01-01T00:01:00Z") -> dict[str, Any]:
    return {
        "apiVersion": "metrics.k8s.io/v1beta1",
        "kind": "PodMetrics",
        "metadata": {"name": name, "namespace": "models"},
        "timestamp": at,
        "window": "20s",
        "containers": [
            {"name": f"c{i}", "usage": {"cpu": c, "memory": m}} for i, (c, m) in enumerate(containers)
        ],
    }


def pod(name: str, **more: Any) -> PodAt:
    return PodAt(f"uid-{name}", "10.0.0.1", 80, namespace="models", name=name, **more)


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with ApiServer.running() as server:
        await server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "models"}})
        yield server


@pytest.fixture
async def metrics(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MetricsApi]:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "config")))
    cluster = await Cluster.connect()
    found = MetricsApi(cluster)
    yield found
    await found.stop()
    await cluster.close()


def test_containers_are_summed() -> None:
    """In cores and bytes."""
    item = usage("a", ("250m", "1Gi"), ("125000000n", "1024Ki"))
    assert measured_of(item) == Measured(1893456060.0, 0.375, 2.0**30 + 2.0**20)
    assert measured_of({"metadata": {"name": "a"}}) == Measured(0.0, 0.0, 0.0)


async def test_pods_are_summed(api: ApiServer, metrics: MetricsApi) -> None:
    """Each Backend's own, of one list."""
    await api.apply(
        [METRICS_API, usage("a", ("250m", "1Mi")), usage("b", ("1", "2Mi")), usage("c", ("9", "9Gi"))]
    )
    assert await ClusterUsage(CPU, metrics).value([pod("a"), pod("b")]) == 1.25
    assert await ClusterUsage(MEMORY, metrics).value([pod("a"), pod("b")]) == 3 * 2.0**20
    assert sum(count for (verb, of), count in api.counts.items() if verb == "list" and "pods" in of) == 1
    assert repr(metrics) == "<MetricsApi of ['models']>"


async def test_a_share_is_one_of_what_each_pod_requests(api: ApiServer, metrics: MetricsApi) -> None:
    """And needs the requests."""
    await api.apply([METRICS_API, usage("a", ("250m", "1Mi")), usage("b", ("1", "2Mi"))])
    share = ClusterUsage(Usage("cpu", "cpu", target=0.7, share=True), metrics)
    assert await share.value([pod("a", requests=(0.5, None)), pod("b", requests=(2.0, None))]) == 1.0
    with pytest.raises(NoValueError, match="pod b has a container without a request for cpu"):
        await share.value([pod("a", requests=(0.5, None)), pod("b")])


async def test_a_new_pod_is_not_known_yet(api: ApiServer, metrics: MetricsApi) -> None:
    """Nor is one known by what another of its name used, before it."""
    await api.apply([METRICS_API, usage("a-0", ("5", "1Mi")), usage("a-1", ("2", "1Mi"))])
    cpu = ClusterUsage(CPU, metrics)
    reborn = pod("a-0", created=1893456061.0)
    assert await cpu.value([reborn, pod("a-1", created=1893456059.0)]) == 2.0
    with pytest.raises(NoValueError, match="pod uid-a-0: the metrics API does not know it yet"):
        await cpu.value([reborn])


async def test_without_a_metrics_api_it_says_what_to_install(metrics: MetricsApi) -> None:
    """The API server answers 404."""
    with pytest.raises(NoValueError, match=r"the cluster has no metrics API.*install metrics-server"):
        await ClusterUsage(CPU, metrics).value([pod("a")])


async def test_a_metrics_api_that_is_not_available_is_told(api: ApiServer, metrics: MetricsApi) -> None:
    """As while metrics-server restarts; and the API server itself may be away."""
    await api.apply([METRICS_API, usage("a", ("1", "1Mi"))])
    api.faults.answer(503, times=1, verb="list", resource="pods")
    with pytest.raises(NoValueError, match="the metrics API is not available, as metrics-server is not"):
        await ClusterUsage(CPU, metrics).value([pod("a")])
    await api.faults.away()
    with pytest.raises(NoValueError, match="the metrics API: http"):
        await ClusterUsage(CPU, metrics).value([pod("a")])
    await api.faults.back()
    assert await ClusterUsage(CPU, metrics).value([pod("a")]) == 1.0


async def test_an_answer_that_is_no_list_is_a_failure(api: ApiServer, metrics: MetricsApi) -> None:
    """An adapter may answer anything."""
    await api.apply([METRICS_API, usage("a", ("lots", "1Mi"))])
    with pytest.raises(NoValueError, match="answer cannot be read: 'lots' is not a quantity"):
        await ClusterUsage(CPU, metrics).value([pod("a")])
