"""What runs is what the configuration asks for, over real sockets."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.test_utils import unused_port

from autoscaler.signals.asked import PodAt, PodMetric, Prometheus, Query, Usage
from autoscaler.signals.signals import Signals
from gateway.kube.client import Cluster
from tests.autoscaler.signals.stage import Clock, ModelServer, Told, pods
from tests.autoscaler.signals.test_metricsapi import METRICS_API, pod, usage
from tests.autoscaler.signals.test_prometheus import FakePrometheus
from tests.eventually import eventually
from tests.kube.apiserver import ApiServer

DEPTH = PodMetric("pod depth", "depth", interval=0.02)


class Scene:
    def __init__(self) -> None:
        self.told = Told()
        self.signals = Signals(self.told, Clock())

    def told_of(self, backend: str, metric: str) -> list[float]:
        return [value for name, what, value in self.told.samples if (name, what) == (backend, metric)]

    def quiet(self) -> bool:
        """No task of a source is left."""
        return not any("run" in str(task.get_coro()) for task in asyncio.all_tasks())


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    await made.signals.stop()


async def test_a_backend_is_told_of_all_that_it_asks_for(scene: Scene) -> None:
    """From the pods, from a Prometheus, from this machine."""
    async with pods(ModelServer("depth 2\n")) as there, FakePrometheus().serving() as url:
        own = [replace(there[0], pid=os.getpid())]
        query = Query("prometheus", "load", Prometheus(url), interval=0.05)
        memory = Usage("memory", "memory", target=1.0, interval=0.05)
        scene.signals.put("iris", [DEPTH, query, memory], lambda: own)
        await eventually(
            lambda: {metric for _, metric, _ in scene.told.samples} == {"pod depth", "prometheus", "memory"}
        )
        assert scene.told_of("iris", "pod depth")[0] == 2.0
        assert scene.told_of("iris", "prometheus")[0] == 7.0
        assert scene.told_of("iris", "memory")[0] > 2**20
        assert repr(scene.signals) == "<Signals: 2 sources of 1 backends, 1 queries>"


async def test_metrics_of_one_page_are_asked_for_together(scene: Scene) -> None:
    """Those of another path or port are not."""
    server = ModelServer("depth 2\nrunning 3\n")
    async with pods(server) as there:
        slow = replace(DEPTH, interval=600.0)
        running = PodMetric("pod running", "running", interval=600.0)
        scene.signals.put("iris", [slow, running], lambda: there)
        await eventually(lambda: len(scene.told.samples) == 2)
    assert server.asked == 1


async def test_what_stays_in_a_reload_goes_on_with_what_it_knows(scene: Scene) -> None:
    """A counter needs no second answer again."""
    server = ModelServer("done_total 1\n")
    counter = PodMetric("pod done_total", "done_total", rate=True, interval=600.0)
    async with pods(server) as there:
        scene.signals.put("iris", [counter], lambda: there)
        await eventually(lambda: scene.told.failures)
        before = asyncio.all_tasks()
        scene.signals.put("iris", [counter], lambda: there)
        assert asyncio.all_tasks() == before


async def test_other_pods_are_asked_after_a_reload(scene: Scene) -> None:
    """The Backend has another target now."""
    async with pods(ModelServer("depth 1\n"), ModelServer("depth 5\n")) as there:
        scene.signals.put("iris", [DEPTH], lambda: there[:1])
        await eventually(lambda: scene.told_of("iris", "pod depth")[-1:] == [1.0])
        scene.signals.put("iris", [DEPTH], lambda: there[1:])
        await eventually(lambda: scene.told_of("iris", "pod depth")[-1:] == [5.0])


async def test_what_changes_begins_anew_and_what_goes_ends(scene: Scene) -> None:
    """After that nothing asks for it."""
    async with pods(ModelServer("depth 1\nrunning 2\n")) as there:
        scene.signals.put("iris", [DEPTH], lambda: there)
        await eventually(lambda: scene.told.samples)
        scene.signals.put("iris", [PodMetric("pod running", "running", interval=0.02)], lambda: there)
        await eventually(lambda: scene.told_of("iris", "pod running"))
        told = len(scene.told_of("iris", "pod depth"))
        await eventually(lambda: len(scene.told_of("iris", "pod running")) > 5)
        assert len(scene.told_of("iris", "pod depth")) == told
        scene.signals.put("iris", [], lambda: there)
        await eventually(scene.quiet)


async def test_what_is_asked_otherwise_under_its_old_name_is_told(scene: Scene) -> None:
    """Its values may be in another unit now; how often it is looked at, and what is aimed at, changes nothing of them."""
    cpu = Usage("cpu", "cpu", target=1.0)
    query = Query("backlog", "jobs", Prometheus(f"http://127.0.0.1:{unused_port()}"))
    scene.signals.put("iris", [cpu, query], tuple)
    scene.signals.put("iris", [replace(cpu, target=2.0, interval=5.0), replace(query, interval=5.0)], tuple)
    assert scene.told.renewed == []
    scene.signals.put("iris", [replace(cpu, share=True), replace(query, query="bytes")], tuple)
    assert scene.told.renewed == [("iris", "cpu"), ("iris", "backlog")]


async def test_a_query_is_put_once_for_all_backends(scene: Scene) -> None:
    """And goes on until the last who reads it is dropped."""
    fake = FakePrometheus()
    async with fake.serving() as url:
        query = Query("prometheus", "load", Prometheus(url), interval=0.5)
        scene.signals.put("a", [query], tuple)
        scene.signals.put("b", [replace(query, name="prometheus load")], tuple)
        await eventually(lambda: len(scene.told.samples) == 2)
        assert len(fake.forms) == 1
        scene.signals.drop("a")
        await eventually(lambda: len(scene.told_of("b", "prometheus load")) == 2)
        assert len(scene.told_of("a", "prometheus")) == 1
        scene.signals.drop("b")
        await eventually(scene.quiet)
    assert repr(scene.signals) == "<Signals: 0 sources of 0 backends, 0 queries>"


async def test_a_backend_may_read_a_query_by_another_name(scene: Scene) -> None:
    """It is told under the new one only."""
    async with FakePrometheus().serving() as url:
        query = Query("prometheus", "load", Prometheus(url), interval=0.05)
        scene.signals.put("a", [query], tuple)
        await eventually(lambda: scene.told_of("a", "prometheus"))
        scene.signals.put("a", [replace(query, name="prometheus load")], tuple)
        told = len(scene.told_of("a", "prometheus"))
        await eventually(lambda: len(scene.told_of("a", "prometheus load")) > 2)
        assert len(scene.told_of("a", "prometheus")) == told


async def test_a_failure_is_told_round_after_round(scene: Scene) -> None:
    """So that whoever keeps samples knows that it lasts."""
    nowhere = PodAt("p", "127.0.0.1", unused_port())
    scene.signals.put("iris", [DEPTH], lambda: [nowhere])
    await eventually(lambda: len(scene.told.failures) > 2)
    assert not scene.told.samples


async def test_a_clusters_metrics_are_asked_once_it_is_connected(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its API server's, by the credentials of the autoscaler."""
    async with ApiServer.running() as api:
        await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "models"}})
        await api.apply([METRICS_API, usage("a", ("250m", "1Mi"))])
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "config")))
        cluster = await Cluster.connect()
        cpu = Usage("cpu", "cpu", target=1.0, interval=0.05)
        scene.signals.put("iris", [cpu], lambda: [pod("a")])
        await eventually(lambda: scene.told.reasons[-1:] == ["there is no connection to a cluster"])
        scene.signals.connect(cluster)
        await eventually(lambda: scene.told_of("iris", "cpu")[-1:] == [0.25])
        await scene.signals.stop()
        await cluster.close()


async def test_stopping_ends_all_and_dropping_what_is_unknown_does_nothing(scene: Scene) -> None:
    """Whatever was asked for."""
    scene.signals.drop("nobody")
    scene.signals.put("iris", [DEPTH], tuple)
    await scene.signals.stop()
    await eventually(scene.quiet)
