"""Tidegate as pods of a cluster: from zero and back, canaries, failures of everything around it, and no lost request."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.cluster.installation import MODEL, Installation
from tests.cluster.load import BODY, PATH, loaded
from tests.cluster.scenes import QUICK, backend, ready_pods, replicas_are, route, true

pytestmark = pytest.mark.timeout(300)

Object = dict[str, Any]


async def ask(url: str) -> tuple[int, Object]:
    async with aiohttp.ClientSession() as session, session.post(url + PATH, json=BODY) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_from_zero_to_five_pods_and_back_under_load(installation: Installation) -> None:
    """No request fails: not while the first pod starts, not while five come, not while they go."""
    await installation.model()
    await installation.configure({"iris-v1": backend()}, route(iris_v1=1))
    url = await installation.start()
    assert await installation.replicas() == 0
    async with loaded(url, 16) as load:
        await installation.until(lambda: ready_pods(installation, 5))
        await asyncio.sleep(3)
        load.want(1)
        await installation.until(lambda: replicas_are(installation, 1))
    await installation.until(lambda: replicas_are(installation, 0))
    assert load.failed == {}, load.details[:3]
    assert load.answers["200"] > 100
    assert await installation.events("ScaledUp")
    assert await installation.events("ScaledDown")


async def test_a_canary_begins_by_editing_the_config_map(installation: Installation) -> None:
    """The split is exact, and nothing fails while it changes."""
    await installation.model("iris-v1")
    await installation.model("iris-v2", version="v2")
    backends = {name: backend(name, concurrency=0) for name in ("iris-v1", "iris-v2")}
    await installation.configure(backends, route(iris_v1=1, iris_v2=0))
    url = await installation.start()
    async with loaded(url, 2) as load:
        await installation.until(lambda: true(load.answers["200"] > 10))
        assert set(load.versions) == {"v1"}
        await installation.configure(backends, route(iris_v1=80, iris_v2=20))
        await installation.until(lambda: true(load.versions["v2"] > 5), within=120)
    assert load.failed == {}, load.details[:3]
    before = dict(load.versions)
    async with loaded(url, 1) as exact:
        await installation.until(lambda: true(exact.answers["200"] >= 50))
    assert abs(exact.versions["v2"] / exact.answers.total() - 0.2) < 0.02, before


async def test_a_bad_images_message_is_in_the_answer(installation: Installation) -> None:
    """503, as soon as it is sure, not 504 after minutes; and an Event on the Deployment."""
    await installation.model(image="missing/iris:1")
    await installation.configure({"iris-v1": backend()}, route(iris_v1=1))
    url = await installation.start()
    status, problem = await ask(url)
    assert (status, problem["reason"]) == (503, "cannot_start")
    assert "missing/iris:1" in problem["detail"]
    [event, *_] = await installation.until(lambda: installation.events("CannotStart"))
    assert event["involvedObject"]["name"] == "iris-v1"
    assert "missing/iris:1" in event["message"]


async def test_the_next_success_clears_it(installation: Installation) -> None:
    """A corrected image is tried by the next request."""
    await installation.model(image="missing/iris:1")
    await installation.configure({"iris-v1": backend()}, route(iris_v1=1))
    url = await installation.start()
    assert (await ask(url))[0] == 503
    await installation.model()

    async def served() -> bool:
        return (await ask(url))[0] == 200

    await installation.until(served)


async def test_the_leader_is_killed_in_a_surge(installation: Installation) -> None:
    """The other one goes on within fifteen seconds; no request fails, no pod too many comes."""
    await installation.model()
    await installation.configure({"iris-v1": backend()}, route(iris_v1=1))
    url = await installation.start(autoscalers=2)
    first = await installation.leader()
    async with loaded(url, 1) as load:
        await installation.until(lambda: ready_pods(installation, 1))
        load.want(16)
        await installation.api.delete(installation.path("pods", first), gracePeriodSeconds="0")
        loop = asyncio.get_running_loop()
        killed = loop.time()

        async def other_leads() -> bool:
            leader = await installation.leader()
            return leader not in ("", first)

        await installation.until(other_leads)
        took = loop.time() - killed
        await installation.until(lambda: ready_pods(installation, 5))
        load.want(1)
        await installation.until(lambda: replicas_are(installation, 1))
    await installation.until(lambda: replicas_are(installation, 0))
    assert load.failed == {}, load.details[:3]
    assert took < 17  # the Lease's fifteen, and the two that this test looks at it


async def test_the_api_server_is_away(installation: Installation, away: float) -> None:
    """What is known serves on; scaling waits, and recovers by itself."""
    await installation.model()
    await installation.configure({"iris-v1": backend()}, route(iris_v1=1))
    url = await installation.start()
    async with loaded(url, 1) as load:
        await installation.until(lambda: ready_pods(installation, 1))
        before = load.answers["200"]
        installation.relay.cut()
        load.want(16)
        await asyncio.sleep(away)
        assert load.answers["200"] > before + 10
        assert await installation.replicas() == 1
        await installation.relay.mend()
        await installation.until(lambda: ready_pods(installation, 5))
        load.want(1)
        await installation.until(lambda: replicas_are(installation, 1))
    await installation.until(lambda: replicas_are(installation, 0))
    assert load.failed == {}, load.details[:3]


async def test_a_statefulset_loses_its_highest_ordinals(installation: Installation) -> None:
    """However busy they are: they are drained first."""
    await installation.model(kind="StatefulSet")
    backends = {"iris-v1": backend(key="statefulset", scale={**QUICK, "max": 3})}
    await installation.configure(backends, route(iris_v1=1))
    url = await installation.start()
    async with loaded(url, 8) as load:
        await installation.until(lambda: ready_pods(installation, 3))
        load.want(1)
        await installation.until(lambda: replicas_are(installation, 1, "statefulsets"))
        [pod] = await installation.until(lambda: _just(installation, 1))
        assert pod["metadata"]["name"] == "iris-v1-0"
    assert load.failed == {}, load.details[:3]


async def test_what_others_scale_is_found_behind_its_service(installation: Installation) -> None:
    """Pods come and go with whoever scales them; the gateway follows."""
    await installation.model(replicas=1)
    await installation.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "iris"},
            "spec": {
                "selector": {"app": "iris-v1"},
                "ports": [{"name": "http", "port": 80, "targetPort": MODEL}],
            },
        }
    )
    await installation.configure({"iris": {"target": {"service": "iris", "port": "http"}}}, route(iris=1))
    url = await installation.start()
    await installation.until(lambda: ready_pods(installation, 1))
    async with loaded(url, 4) as load:
        await installation.model(replicas=3)
        await installation.until(lambda: _endpoints(installation, 3))
        await installation.model(replicas=1)
        await installation.until(lambda: _endpoints(installation, 1))
    assert load.failed == {}, load.details[:3]
    assert await installation.replicas() == 1


async def _just(installation: Installation, count: int) -> list[Object]:
    pods = await installation.pods("iris-v1")
    return pods if len(pods) == count else []


async def _endpoints(installation: Installation, count: int) -> bool:
    endpoints = (await installation.state())["backends"]["iris"]["endpoints"]
    return sum(one["ready"] for one in endpoints) == count
