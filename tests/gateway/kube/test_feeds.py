"""What the cluster says becomes what the gateway's Feeds publish."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port

from gateway.endpoints import Feed
from gateway.kube.client import Cluster
from gateway.kube.discovery import Discovery
from gateway.kube.feeds import ClusterFeeds
from gateway.targets import ScaleTarget, ServiceTarget
from tests.eventually import eventually
from tests.gateway.kube.scene import PORT, deployment, service
from tests.kube.apiserver import ApiServer
from tests.kube.simulated import SimulatedNode

IRIS = ScaleTarget("apps/v1", "Deployment", "iris", "models", PORT)


@pytest.fixture
async def feeds(cluster: Cluster, node: SimulatedNode) -> AsyncIterator[ClusterFeeds]:  # noqa: ARG001 (it runs the pods)
    found = ClusterFeeds(Discovery(cluster))
    yield found
    await found.stop()


@pytest.fixture
def feed() -> Feed:
    return Feed("iris")


async def test_ready_pods_are_published_with_their_address(
    api: ApiServer, feeds: ClusterFeeds, feed: Feed
) -> None:
    """Known by their uid."""
    await api.apply(deployment("iris", 2))
    feeds.put("iris", IRIS, feed)
    await eventually(lambda: sum(pod.ready for pod in feed.latest.pods) == 2)
    uids = {pod["metadata"]["uid"] for pod in api.store.list("pods", "models")}
    assert {pod.uid for pod in feed.latest.pods} == uids
    assert {(pod.host, pod.port) for pod in feed.latest.pods} == {("127.0.0.1", PORT)}


async def test_a_pod_that_is_marked_drains_at_once(api: ApiServer, feeds: ClusterFeeds, feed: Feed) -> None:
    """It stays ready: the mark may be taken back."""
    await api.apply(deployment("iris", 1))
    feeds.put("iris", IRIS, feed)
    await eventually(lambda: feed.latest.pods and feed.latest.pods[0].ready)
    [pod] = api.store.list("pods", "models")
    marked = {**pod, "metadata": {**pod["metadata"], "annotations": {"tidegate.dev/draining": "now"}}}
    api.store.replace("pods", marked)
    await eventually(lambda: feed.latest.pods[0].draining)
    assert feed.latest.pods[0].ready


async def test_a_pod_that_is_deleted_gets_nothing_from_that_moment(
    api: ApiServer, feeds: ClusterFeeds, feed: Feed, node: SimulatedNode
) -> None:
    """It is known until it is gone, so that it may finish what it has."""
    node.termination = 60.0
    await api.apply(deployment("iris", 1))
    feeds.put("iris", IRIS, feed)
    await eventually(lambda: feed.latest.pods and feed.latest.pods[0].ready)
    [before] = feed.latest.pods
    await api.apply(deployment("iris", 0))
    await eventually(lambda: feed.latest.pods[0].draining)
    [after] = feed.latest.pods
    assert (after.uid, after.ready) == (before.uid, False)


async def test_why_nothing_starts_is_published(api: ApiServer, feeds: ClusterFeeds, feed: Feed) -> None:
    """For those who wait."""
    feeds.put("iris", IRIS, feed)
    await eventually(lambda: feed.latest.pending == "deployment models/iris does not exist")
    await api.apply(deployment("iris", 1, image="missing/model:1"))
    await eventually(lambda: "ImagePullBackOff" in (feed.latest.pending or ""))
    assert feed.latest.cannot_start is None


async def test_a_services_endpoints_are_published(api: ApiServer, feeds: ClusterFeeds, feed: Feed) -> None:
    """With the pods' port."""
    await api.apply([deployment("iris", 2), service("iris")])
    feeds.put("iris", ServiceTarget("iris", "models", "http"), feed)
    await eventually(lambda: sum(pod.ready for pod in feed.latest.pods) == 2)
    assert {pod.port for pod in feed.latest.pods} == {PORT}


async def test_a_target_that_changed_is_published_anew(
    api: ApiServer, feeds: ClusterFeeds, feed: Feed
) -> None:
    """The pods of before are gone, those of now come; the same target again changes nothing."""
    await api.apply([deployment("iris", 1), deployment("rose", 1)])
    feeds.put("iris", IRIS, feed)
    await eventually(lambda: feed.latest.pods and feed.latest.pods[0].ready)
    old = feed.latest.pods
    feeds.put("iris", IRIS, feed)
    assert feed.latest.pods == old
    feeds.put("iris", ScaleTarget("apps/v1", "Deployment", "rose", "models", PORT), feed)
    await eventually(lambda: feed.latest.pods and feed.latest.pods != old)
    feeds.drop("iris")
    assert repr(feeds) == "<ClusterFeeds []>"


async def test_what_is_known_already_survives_a_change_of_port_without_the_server(
    api: ApiServer, feeds: ClusterFeeds, feed: Feed
) -> None:
    """In the same turn: nobody waits for a list meanwhile, least of all for one that cannot be had."""
    await api.apply([deployment("iris", 1), service("iris")])
    for target in (IRIS, ServiceTarget("iris", "models", "http")):
        feeds.put("iris", target, feed)
        await eventually(lambda: feed.latest.pods and feed.latest.pods[0].ready)
        [before] = feed.latest.pods
        await api.faults.away()
        feeds.put("iris", replace(target, namespace=None, port=PORT if target.port == "http" else 8081), feed)
        [after] = feed.latest.pods
        assert (after.uid, after.ready) == (before.uid, True)
        await asyncio.sleep(0.01)
        assert feed.latest.pods == (after,)
        await api.faults.back()


async def test_the_connection_to_the_server_ends_with_the_feeds(
    feeds: ClusterFeeds, feed: Feed, cluster: Cluster
) -> None:
    """Nobody else has it."""
    feeds.put("iris", IRIS, feed)
    await eventually(lambda: feed.latest.pending)
    await feeds.stop()
    with pytest.raises(RuntimeError, match="closed"):
        await cluster.get("/version")


async def test_a_pod_that_answers_is_ready_before_the_kubelet_says_so(
    api: ApiServer, feeds: ClusterFeeds, feed: Feed, node: SimulatedNode
) -> None:
    """Its own readiness probe is asked; and it is asked again while the kubelet has not agreed."""
    healthy = asyncio.Event()
    healthy.set()

    async def ready(_request: web.Request) -> web.Response:
        return web.Response(status=200 if healthy.is_set() else 503)

    app = web.Application()
    app.router.add_get("/ready", ready)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    probe = {"httpGet": {"port": port, "path": "/ready"}, "periodSeconds": 1}
    await api.apply(deployment("iris", 0, probe=probe))
    feeds.put("iris", IRIS, feed)
    await api.apply(deployment("iris", 1, probe=probe))
    await eventually(lambda: api.store.list("pods", "models"))
    [pod] = api.store.list("pods", "models")
    await eventually(lambda: feed.latest.pods and feed.latest.pods[0].ready)
    node.set_ready("models", pod["metadata"]["name"], ready=False)
    await eventually(lambda: feed.latest.pods[0].ready)
    healthy.clear()
    await eventually(lambda: not feed.latest.pods[0].ready)
    healthy.set()
    await eventually(lambda: feed.latest.pods[0].ready)
    await runner.cleanup()


async def test_what_a_service_lacks_is_published(api: ApiServer, feeds: ClusterFeeds, feed: Feed) -> None:
    """For those who wait."""
    feeds.put("iris", ServiceTarget("iris", "models", "htpp"), feed)
    await eventually(
        lambda: (feed.latest.pending or "").startswith("service models/iris has no EndpointSlices")
    )
    await api.apply([deployment("iris", 1), service("iris")])
    lack = f"service models/iris has no port htpp, but http ({PORT})"
    await eventually(lambda: feed.latest.pending == lack)
    feeds.put("iris", ServiceTarget("iris", "models", "http"), feed)
    await eventually(lambda: feed.latest.pods and feed.latest.pending is None)


async def test_what_a_pod_answers_instead_of_being_ready_is_published(
    api: ApiServer, feeds: ClusterFeeds, feed: Feed, node: SimulatedNode
) -> None:
    """For those who wait."""
    probe = {"httpGet": {"port": unused_port(), "path": "/nope"}, "periodSeconds": 1}
    feeds.put("iris", IRIS, feed)
    await api.apply(deployment("iris", 1, probe=probe))
    await eventually(lambda: api.store.list("pods", "models"))
    [pod] = api.store.list("pods", "models")
    await eventually(lambda: feed.latest.pods)
    node.set_ready("models", pod["metadata"]["name"], ready=False)
    await eventually(lambda: (feed.latest.pending or "").endswith("connection refused"))
    assert feed.latest.pending is not None
    assert feed.latest.pending.startswith(f"pod {pod['metadata']['name']} runs; GET /nope at 127.0.0.1:")
