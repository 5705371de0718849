"""What the controllers make of Services, pods and namespaces, with a node that runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.eventually import eventually
from tests.kube.looking import endpoints, pods, ready, scale
from tests.kube.objects import config_map, deployment, pod, service
from tests.kube.podfacts import condition, is_ready
from tests.kube.scheduling import quantity
from tests.kube.simulated import SimulatedNode

if TYPE_CHECKING:
    from tests.kube.apiserver import ApiServer


# Services


@pytest.mark.usefixtures("node")
async def test_a_service_has_its_endpoints(api: ApiServer) -> None:
    """Addresses, conditions, the pod's uid, and the number that the port's name has in the pods."""
    await api.apply([deployment("web", 2), service("web")])
    await eventually(lambda: sum(each["conditions"]["ready"] for each in endpoints(api)) == 2)
    [record] = api.store.records("endpointslices")
    assert record.obj["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert record.obj["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
    assert {each["targetRef"]["uid"] for each in endpoints(api)} == {
        each["metadata"]["uid"] for each in pods(api)
    }
    assert {each["addresses"][0] for each in endpoints(api)} == {
        each["status"]["podIP"] for each in pods(api)
    }


async def test_a_terminating_endpoint_says_so(api: ApiServer, node: SimulatedNode) -> None:
    """It serves, is not ready, and goes with its pod."""
    node.termination = 0.05
    await api.apply([deployment("web", 1), service("web")])
    await eventually(lambda: [each["conditions"]["ready"] for each in endpoints(api)] == [True])
    scale(api, 0)
    terminating = {"ready": False, "serving": True, "terminating": True}
    await eventually(lambda: [each["conditions"] for each in endpoints(api)] == [terminating])
    await eventually(lambda: not endpoints(api))


async def test_a_headless_service_may_publish_what_is_not_ready(api: ApiServer, node: SimulatedNode) -> None:
    """Such an endpoint is called ready, and says under `serving` that it is not."""
    await api.apply([deployment("web", 1), service("web", clusterIP="None", publishNotReadyAddresses=True)])
    await eventually(lambda: len(ready(api)) == 1)
    node.set_ready("default", ready(api)[0], ready=False)
    unready = {"ready": True, "serving": False, "terminating": False}
    await eventually(lambda: [each["conditions"] for each in endpoints(api)] == [unready])
    assert (
        "service.kubernetes.io/headless" in api.store.records("endpointslices")[0].obj["metadata"]["labels"]
    )


@pytest.mark.usefixtures("node")
async def test_a_slice_holds_a_hundred(api: ApiServer) -> None:
    """More go into further ones; whoever stays is not moved."""
    await api.apply([deployment("web", 230), service("web")])
    await eventually(lambda: len(endpoints(api)) == 230 and len(ready(api)) == 230)
    assert sorted(len(each.obj["endpoints"]) for each in api.store.records("endpointslices")) == [
        30,
        100,
        100,
    ]
    scale(api, 0)
    await eventually(lambda: not endpoints(api))


async def test_a_service_without_pods_has_an_empty_slice(api: ApiServer) -> None:
    """With null where a client may expect a list."""
    await api.apply(service("web"))
    await eventually(lambda: api.store.records("endpointslices"))
    [record] = api.store.records("endpointslices")
    assert (record.obj["endpoints"], record.obj["ports"]) == (None, None)
    api.store.delete("services", "default", "web")
    assert not api.store.records("endpointslices")


@pytest.mark.usefixtures("node")
async def test_a_service_that_selects_others_has_others(api: ApiServer) -> None:
    """Its old endpoints go with its old selector."""

    def behind() -> list[str]:
        return [each["targetRef"]["name"][:3] for each in endpoints(api)]

    await api.apply([deployment("web", 1), deployment("api", 1), service("web")])
    await eventually(lambda: behind() == ["web"])
    api.store.change("services", "default", "web", lambda obj: obj["spec"].update(selector={"app": "api"}))
    await eventually(lambda: behind() == ["api"])
    api.store.change("deployments", "default", "api", lambda obj: obj["spec"].update(replicas=2))
    await eventually(lambda: behind() == ["api", "api"])


# Pods and nodes


@pytest.mark.usefixtures("node")
async def test_a_pod_that_asks_too_much_is_not_scheduled(api: ApiServer) -> None:
    """It says what is missing, and is placed once another pod gives it back."""
    gpus = [{"name": "m", "image": "x:1", "resources": {"limits": {"nvidia.com/gpu": "2"}}}]
    await api.apply(pod("a", containers=gpus))
    await eventually(lambda: ready(api) == ["a"])
    await api.apply(pod("b", containers=gpus))
    await eventually(lambda: condition(api.store.get("pods", "default", "b"), "PodScheduled"))
    told = condition(api.store.get("pods", "default", "b"), "PodScheduled")
    assert (told["status"], told["reason"]) == ("False", "Unschedulable")
    assert told["message"].startswith(
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes"
    )
    api.store.delete("pods", "default", "a")
    await eventually(lambda: ready(api) == ["b"])


async def test_without_a_node_pods_wait(api: ApiServer) -> None:
    """Until one comes."""
    await api.apply(pod("a"))
    await eventually(lambda: condition(api.store.get("pods", "default", "a"), "PodScheduled"))
    assert (
        condition(api.store.get("pods", "default", "a"), "PodScheduled")["message"]
        == "no nodes available to schedule pods"
    )
    async with SimulatedNode.running(api):
        await eventually(lambda: ready(api) == ["a"])


@pytest.mark.usefixtures("node")
async def test_a_missing_image_is_told(api: ApiServer) -> None:
    """As a kubelet tells it, and the rest of the rollout waits."""
    await api.apply(deployment("web", 1, "missing/model:1"))
    await eventually(lambda: pods(api) and "containerStatuses" in pods(api)[0]["status"])
    [container] = pods(api)[0]["status"]["containerStatuses"]
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "missing/model:1"'}
    assert (container["state"], container["ready"]) == ({"waiting": waiting}, False)
    assert pods(api)[0]["status"]["phase"] == "Pending"


async def test_a_crash_is_told(api: ApiServer, node: SimulatedNode) -> None:
    """With its restarts and how it ended."""
    await api.apply(pod("a"))
    await eventually(lambda: ready(api) == ["a"])
    node.crash("default", "a", restarts=3, exit_code=137)
    [container] = pods(api)[0]["status"]["containerStatuses"]
    assert (container["state"]["waiting"]["reason"], container["restartCount"]) == ("CrashLoopBackOff", 3)
    assert container["lastState"]["terminated"]["exitCode"] == 137
    assert not ready(api)


@pytest.mark.parametrize(
    ("text", "value"), [("500m", 0.5), ("2", 2.0), ("1Gi", 2**30), ("3k", 3000.0), (4, 4.0)]
)
def test_quantities(text: str | int, value: float) -> None:
    """Plain, decimal and binary."""
    assert quantity(text) == value


# Namespaces, and the controllers themselves


async def test_a_namespace_has_what_each_has_and_goes_whole(api: ApiServer, node: SimulatedNode) -> None:
    """While it goes nothing new comes into it."""
    await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    await eventually(lambda: api.store.find("serviceaccounts", "team", "default"))
    assert api.store.find("configmaps", "team", "kube-root-ca.crt")
    node.termination = 0.02
    await api.apply(pod("a", namespace="team"))
    await eventually(lambda: is_ready(api.store.get("pods", "team", "a")))
    api.store.delete("namespaces", "", "team")
    assert api.store.get("namespaces", "", "team")["status"] == {"phase": "Terminating"}
    with pytest.raises(Exception, match="because it is being terminated"):
        await api.apply(config_map("late", "team"))
    await eventually(lambda: not api.store.find("namespaces", "", "team"))
    assert not api.store.records("pods", "team")


@pytest.mark.usefixtures("node")
async def test_paused_controllers_do_nothing_and_then_catch_up(api: ApiServer) -> None:
    """As if the controller manager were gone for a while."""
    api.controllers.pause()
    await api.apply(deployment("web", 1))
    assert not api.store.records("replicasets")
    api.controllers.resume()
    await eventually(lambda: len(ready(api)) == 1)


async def test_pods_are_where_a_test_says(api: ApiServer) -> None:
    """Addresses are asked for per pod."""
    async with SimulatedNode.running(api, addresses=lambda each: f"127.1.0.{each['metadata']['name'][-1]}"):
        await api.apply([pod("p1"), pod("p2")])
        await eventually(lambda: len(ready(api)) == 2)
        assert [each["status"]["podIP"] for each in pods(api)] == ["127.1.0.1", "127.1.0.2"]
