"""InferenceServices in a cluster: from an object to answers, and through all that becomes of it, with no lost request."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.cluster.emulation import Emulation
from tests.cluster.inference import PROBE, SERVER, Services
from tests.cluster.installation import MODEL, ROOT, Installation
from tests.cluster.load import BODY, PATH, headers_for, loaded
from tests.cluster.scenes import true

pytestmark = pytest.mark.timeout(300)

Object = dict[str, Any]
SDK = ROOT / ".venv-sdk/bin/python"
"""An interpreter of its own, since KServe's SDK asks for older packages than the rest."""


@pytest.fixture
async def services(installation: Installation) -> AsyncIterator[Services]:
    async with Services.running(installation) as made:
        yield made


async def ask(url: str, host: str) -> tuple[int, str]:
    """The status, and the version that answered."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + PATH, json=BODY, headers=headers_for(host)) as answer,
    ):
        await answer.read()
        return answer.status, answer.headers.get("x-model-version", "")


async def served(services: Services, url: str, version: str = "v1") -> None:
    """Ready, and asked."""
    await services.there.until(services.is_ready, within=90)

    async def answered() -> bool:
        return await ask(url, services.host()) == (200, version)

    await services.there.until(answered)


async def test_one_is_applied_ready_and_served(services: Services) -> None:
    """By the host that its status tells; what is made of it goes with it."""
    url = await services.begin()
    await services.apply(services.container())
    await served(services, url)
    assert (await services.status())["url"] == f"http://{services.host()}"
    assert await services.there.events("InferenceServiceReady")
    await services.there.api.delete(services.path("iris"))

    async def nothing() -> bool:
        made = "serving.kserve.io/inferenceservice"
        left = [
            await services.there.listed(what, labelSelector=made)
            for what in ("deployments", "services", "pods")
        ]
        left.append(await services.there.listed("configmaps", labelSelector="tidegate.dev/document"))
        return not any(found["items"] for found in left)

    await services.there.until(nothing)

    async def unknown() -> bool:
        return (await ask(url, services.host()))[0] == 404

    await services.there.until(unknown)


async def test_one_goes_to_zero_and_comes_back(services: Services) -> None:
    """It stays ready, and the request that wakes it is answered."""
    url = await services.begin()
    await services.apply({**services.container(), "minReplicas": 0})
    await served(services, url)

    async def asleep() -> bool:
        return list((await services.deployments()).values()) == [0]

    await services.there.until(asleep, within=120)
    assert await services.is_ready()
    assert (await ask(url, services.host()))[0] == 200


async def test_a_canary_of_a_tenth_is_promoted(services: Services) -> None:
    """Its share is exact; then it has all, and the old revision goes. No request fails."""
    url = await services.begin()
    await services.apply(services.container("v1"))
    await served(services, url)
    async with loaded(url, 2, services.host()) as load:
        await services.apply({**services.container("v2"), "canaryTrafficPercent": 10})
        await services.there.until(lambda: _shares(services, [10, 90]), within=90)
        await services.there.until(lambda: true(load.versions["v2"] > 0))
    async with loaded(url, 1, services.host()) as exact:
        await services.there.until(lambda: true(exact.answers["200"] >= 100))
    assert abs(exact.versions["v2"] / exact.answers.total() - 0.1) < 0.02
    async with loaded(url, 2, services.host()) as more:
        await services.apply(services.container("v2"))
        await services.there.until(lambda: _shares(services, [100]), within=90)
        await services.there.until(lambda: _revisions(services, 1), within=120)
    assert (load.failed, exact.failed, more.failed) == ({}, {}, {}), [*load.details, *more.details][:3]
    assert await ask(url, services.host()) == (200, "v2")


async def test_a_canary_is_rolled_back(services: Services) -> None:
    """With a share of nothing the revision before it has all again."""
    url = await services.begin()
    await services.apply(services.container("v1"))
    await served(services, url)
    async with loaded(url, 2, services.host()) as load:
        await services.apply({**services.container("v2"), "canaryTrafficPercent": 50})
        await services.there.until(lambda: _shares(services, [50, 50]), within=90)
        await services.apply({**services.container("v2"), "canaryTrafficPercent": 0})
        await services.there.until(lambda: _shares(services, [100]), within=90)
        await asyncio.sleep(1)
        before = load.versions["v2"]
        await services.there.until(lambda: true(load.answers.total() > 50))
        assert load.versions["v2"] <= before + 2
    assert load.failed == {}, load.details[:3]
    assert await ask(url, services.host()) == (200, "v1")


async def test_a_new_storage_uri_under_load(services: Services) -> None:
    """The new revision takes over once it is ready; the old one's pods finish what they have."""
    url = await services.begin(
        storage_initializer={"image": "tidegate-demo", "command": [sys.executable, "-c", "pass"]}
    )
    await services.there.api.post(
        f"/apis/serving.kserve.io/v1alpha1/namespaces/{services.namespace}/servingruntimes", runtime()
    )
    await services.apply(stored("https://models.example.com/1"))
    await served(services, url)
    async with loaded(url, 4, services.host()) as load:
        await services.there.until(lambda: true(load.answers["200"] > 20))
        first = set(await services.deployments())
        await services.apply(stored("https://models.example.com/2"))

        async def moved() -> bool:
            return await services.is_ready() and not first & set(await services.deployments())

        await services.there.until(moved, within=150)
        await services.there.until(lambda: true(load.answers["200"] > 100))
    assert load.failed == {}, load.details[:3]


async def test_others_come_change_and_go_beside_one_under_load(services: Services) -> None:
    """Every document that changes is taken over by a gateway that answers; the one under load loses no request."""
    url = await services.begin()
    await services.apply(services.container())
    await served(services, url)
    async with loaded(url, 4, services.host()) as load:
        for turn in range(3):
            name = f"rose-{turn}"
            await services.apply(services.container("v1"), name)
            await services.apply({**services.container("v1"), "minReplicas": 0}, name)
            await services.there.until(lambda name=name: services.is_ready(name), within=60)
            await services.apply({**services.container("v2"), "canaryTrafficPercent": 50}, name)
            await services.there.until(lambda: true(load.answers["200"] > 20))
            await services.there.api.delete(services.path(name))
        await services.there.until(lambda: true(load.answers["200"] > 100))
    assert load.failed == {}, load.details[:3]
    assert load.answers["200"] > 100


async def test_a_rollout_outlives_the_autoscaler(emulation: Emulation) -> None:
    """Killed while the new revision comes up; it goes on with what is there, and no request is lost."""
    there = emulation.installation
    async with Services.running(there) as services:
        url = await services.begin()
        await services.apply(services.container("v1"))
        await served(services, url)
        async with loaded(url, 4, services.host()) as load:
            first = set(await services.deployments())
            await services.apply(services.container("v2", "--load-time", "3s"))
            await there.until(lambda: _revisions(services, 2))
            emulation.signal(await there.leader(), signal.SIGKILL)
            await there.until(lambda: _revisions(services, 1), within=120)
            await there.until(lambda: true(load.versions["v2"] > 20))
        assert not first & set(await services.deployments())
    assert load.failed == {}, load.details[:3]


def runtime() -> Object:
    """A ServingRuntime whose command is the demo's server."""
    container = {
        "name": "kserve-container",
        "image": "tidegate-demo",
        "command": SERVER,
        "args": ["--version", "v1", "--load-time", "0s", "--request-time", "50ms"],
        "ports": [{"containerPort": MODEL}],
        "readinessProbe": PROBE,
    }
    formats = [{"name": "demo", "version": "1", "autoSelect": True}]
    spec = {"supportedModelFormats": formats, "protocolVersions": ["v1"], "containers": [container]}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": "demo"},
        "spec": spec,
    }


def stored(uri: str) -> Object:
    model = {"modelFormat": {"name": "demo"}, "storageUri": uri}
    return {"model": model, "containerConcurrency": 2, "minReplicas": 1, "maxReplicas": 3}


async def test_what_is_not_supported_is_reported(services: Services) -> None:
    """On the status and as an Event; nothing is made of it."""
    await services.begin()
    container = services.container()
    await services.apply(container, transformer={"containers": container["containers"]})

    async def refused() -> bool:
        told = await services.condition("PredictorReady")
        return told.get("status") == "False" and "transformer" in told.get("message", "")

    await services.there.until(refused)
    assert await services.deployments() == {}
    [event, *_] = await services.there.until(lambda: services.there.events("InvalidPredictorSpec"))
    assert event["involvedObject"]["kind"] == "InferenceService"


async def test_pods_that_cannot_start_are_told_of(services: Services) -> None:
    """In the status of who applied it; the revision before goes on serving."""
    url = await services.begin()
    await services.apply(services.container("v1"))
    await served(services, url)
    await services.apply(services.container("v2", image="missing/iris:1"))

    async def told() -> bool:
        return "missing/iris:1" in (await services.condition("PredictorReady")).get("message", "")

    await services.there.until(told, within=90)
    assert await ask(url, services.host()) == (200, "v1")


@pytest.mark.skipif(not SDK.exists(), reason="KServe's SDK is not set up: `make sdk` does it")
async def test_the_sdk_of_kserve_creates_waits_and_deletes(services: Services) -> None:
    """As its users do, unchanged; in a process of its own, since it blocks."""
    url = await services.begin()
    given = json.dumps({"container": services.container()["containers"][0], "namespace": services.namespace})
    script = str(ROOT / "tests/cluster/sdk.py")
    kubeconfig = str(services.there.access)
    for act in ("create", "wait", "delete"):
        process = await asyncio.create_subprocess_exec(
            *(str(SDK), script, act, kubeconfig, given),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        if act == "wait":
            await served(services, url)

    async def gone() -> bool:
        return await services.deployments() == {}

    await services.there.until(gone)


async def _shares(services: Services, percents: list[int]) -> bool:
    return sorted((await services.traffic()).values()) == percents


async def _revisions(services: Services, count: int) -> bool:
    return len(await services.deployments()) == count
