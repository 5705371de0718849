"""What the controllers make of Deployments, StatefulSets, Services, pods and namespaces, with a node that runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_asyncio import client

from tests.eventually import eventually
from tests.kube.deployments import bounds
from tests.kube.objects import config_map, deployment, pod, service, stateful_set, template
from tests.kube.podfacts import condition, is_ready
from tests.kube.replicasets import DELETION_COST, rank
from tests.kube.scheduling import quantity
from tests.kube.simulated import SimulatedNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kube.apiserver import ApiServer
    from tests.kube.history import Event


@pytest.fixture
async def node(api: ApiServer) -> AsyncIterator[SimulatedNode]:
    async with SimulatedNode.running(api, capacity={"nvidia.com/gpu": "2"}) as made:
        yield made


def pods(api: ApiServer, selector: str = "") -> list[dict[str, Any]]:
    return [record.obj for record in api.store.records("pods", "default", selector)]


def ready(api: ApiServer, selector: str = "") -> list[str]:
    return [each["metadata"]["name"] for each in pods(api, selector) if is_ready(each)]


def status(api: ApiServer, what: str, name: str = "web") -> dict[str, Any]:
    return api.store.record(what, "default", name).obj["status"]


def scale(api: ApiServer, replicas: int, what: str = "deployments") -> None:
    api.store.change(what, "default", "web", lambda obj: obj["spec"].update(replicas=replicas))


def endpoints(api: ApiServer) -> list[dict[str, Any]]:
    return [each for record in api.store.records("endpointslices") for each in record.obj["endpoints"] or ()]


# Deployments


async def test_a_deployment_has_its_pods(api: ApiServer, node: SimulatedNode) -> None:
    """Through a ReplicaSet, under the template's labels and its hash."""
    await api.apply(deployment("web", 3))
    await eventually(lambda: status(api, "deployments").get("availableReplicas") == 3)
    [replica_set] = api.store.records("replicasets")
    hash_ = replica_set.obj["metadata"]["labels"]["pod-template-hash"]
    assert {each["metadata"]["labels"]["pod-template-hash"] for each in pods(api)} == {hash_}
    assert replica_set.key[1] == f"web-{hash_}"
    assert all(each["metadata"]["name"].startswith(f"web-{hash_}-") for each in pods(api))
    assert (
        condition(api.store.get("deployments", "default", "web"), "Progressing")["reason"]
        == "NewReplicaSetAvailable"
    )
    assert node.name == pods(api)[0]["spec"]["nodeName"]


async def test_a_deployment_is_scaled_to_zero_by_a_real_client(
    api: ApiServer, node: SimulatedNode, kube: client.ApiClient
) -> None:
    """Counts that are zero are absent from its status, as from a real one's."""
    await api.apply(deployment("web", 2))
    await eventually(lambda: len(ready(api)) == 2)
    apps = client.AppsV1Api(kube)
    await apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 0}})
    await eventually(lambda: not pods(api) and "replicas" not in status(api, "deployments"))
    assert (await apps.read_namespaced_deployment("web", "default")).status.ready_replicas is None
    assert repr(node) == "<SimulatedNode node-1, 0 pods on their way, 0 held>"


async def test_a_rollout_stays_within_its_bounds(api: ApiServer, node: SimulatedNode) -> None:
    """Never more than maxSurge above nor less available than maxUnavailable allows; the old ReplicaSet ends at zero."""
    node.delay = 0.01
    await api.apply(deployment("web", 4, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}))
    await eventually(lambda: len(ready(api)) == 4)
    active: list[int] = []
    available: list[int] = []

    def look(_event: Event) -> None:
        present = [each for each in pods(api) if "deletionTimestamp" not in each["metadata"]]
        active.append(len(present))
        available.append(sum(map(is_ready, present)))

    api.store.listeners.append(look)
    await api.apply(deployment("web", 4, image="model:2"))
    await eventually(lambda: len(api.store.records("replicasets")) == 2)
    await eventually(lambda: status(api, "deployments").get("updatedReplicas") == 4 == len(pods(api)))
    assert (max(active), min(available)) == (5, 4)
    assert sorted(record.obj["spec"]["replicas"] for record in api.store.records("replicasets")) == [0, 4]
    assert {each["spec"]["containers"][0]["image"] for each in pods(api)} == {"model:2"}


async def test_a_rollout_back_takes_up_the_old_replica_set(api: ApiServer, node: SimulatedNode) -> None:
    """Numbered as a new revision."""
    for image in ("model:1", "model:2", "model:1"):
        await api.apply(deployment("web", 1, image))
        await eventually(
            lambda image=image: [each["spec"]["containers"][0]["image"] for each in pods(api)] == [image]
        )
    revision = "deployment.kubernetes.io/revision"
    revisions = {
        record.obj["metadata"]["annotations"][revision] for record in api.store.records("replicasets")
    }
    assert revisions == {"2", "3"}
    assert node.name


async def test_recreate_ends_the_old_pods_first(api: ApiServer, node: SimulatedNode) -> None:
    """At no moment do both templates have pods."""
    node.termination = 0.02
    await api.apply(deployment("web", 2, strategy={"type": "Recreate"}))
    await eventually(lambda: len(ready(api)) == 2)
    images: list[set[str]] = []
    api.store.listeners.append(
        lambda _: images.append({each["spec"]["containers"][0]["image"] for each in pods(api)})
    )
    await api.apply(deployment("web", 2, "model:2", strategy={"type": "Recreate"}))
    await eventually(lambda: len(ready(api)) == 2 and images[-1] == {"model:2"})
    assert {"model:1", "model:2"} not in images


async def test_a_quota_shows_as_a_replica_failure(api: ApiServer, node: SimulatedNode) -> None:
    """With the message of the refusal; lifted, the pods come and the condition goes."""
    api.controllers.quota("default", pods=1)
    await api.apply(deployment("web", 2))

    def failure() -> dict[str, Any]:
        return condition(api.store.record("deployments", "default", "web").obj, "ReplicaFailure")

    await eventually(lambda: failure() and len(ready(api)) == 1)
    assert failure()["reason"] == "FailedCreate"
    assert (
        "is forbidden: exceeded quota: quota, requested: pods=1, used: pods=1, limited: pods=1"
        in failure()["message"]
    )
    api.controllers.quota("default", pods=None)
    await eventually(lambda: len(ready(api)) == 2 and not failure())
    assert node.name


async def test_a_deployments_end_is_its_pods_end(api: ApiServer, node: SimulatedNode) -> None:
    """ReplicaSets and pods go after it."""
    await api.apply(deployment("web", 2))
    await eventually(lambda: len(ready(api)) == 2)
    api.store.delete("deployments", "default", "web")
    await eventually(lambda: not pods(api) and not api.store.records("replicasets"))
    assert node.name


@given(replicas=st.integers(1, 200), surge=st.integers(0, 100), unavailable=st.integers(0, 100))
def test_percentages_round_so_that_a_rollout_moves(replicas: int, surge: int, unavailable: int) -> None:
    """MaxSurge up, maxUnavailable down, and never both zero."""
    rolling = {"maxSurge": f"{surge}%", "maxUnavailable": f"{unavailable}%"}
    above, below = bounds(
        {"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}
    )
    assert above + below > 0
    assert above * 100 >= surge * replicas
    assert below * 100 <= unavailable * replicas or (surge, below) == (0, 1)


# Scaling down


async def test_the_cheap_pod_is_lost(api: ApiServer, node: SimulatedNode) -> None:
    """The deletion cost decides among ready pods."""
    await api.apply(deployment("web", 3))
    await eventually(lambda: len(ready(api)) == 3)
    cheap = ready(api)[1]
    api.store.change(
        "pods", "default", cheap, lambda obj: obj["metadata"].update(annotations={DELETION_COST: "-1000"})
    )
    scale(api, 2)
    await eventually(lambda: len(pods(api)) == 2)
    assert cheap not in ready(api)
    assert node.name


async def test_a_pod_that_is_not_ready_is_lost_before_a_cheap_one(
    api: ApiServer, node: SimulatedNode
) -> None:
    """As the real ReplicaSet controller ranks them."""
    await api.apply(deployment("web", 3))
    await eventually(lambda: len(ready(api)) == 3)
    cheap, unready, _ = ready(api)
    api.store.change(
        "pods", "default", cheap, lambda obj: obj["metadata"].update(annotations={DELETION_COST: "-1000"})
    )
    node.set_ready("default", unready, ready=False)
    scale(api, 2)
    await eventually(lambda: len(pods(api)) == 2)
    assert unready not in [each["metadata"]["name"] for each in pods(api)]


def ranked(**changes: Any) -> tuple[Any, ...]:
    seen = {
        "node": "n",
        "phase": "Running",
        "ready": True,
        "since": 100,
        "cost": "0",
        "restarts": 0,
        "created": 50,
    } | changes
    since = f"2026-01-01T00:{seen['since'] // 60:02}:{seen['since'] % 60:02}Z"
    created = f"2026-01-01T00:{seen['created'] // 60:02}:{seen['created'] % 60:02}Z"
    ready_ = {"type": "Ready", "status": str(seen["ready"]), "lastTransitionTime": since}
    metadata = {
        "creationTimestamp": created,
        "resourceVersion": "1",
        "annotations": {DELETION_COST: seen["cost"]},
    }
    containers = [{"restartCount": seen["restarts"]}]
    found = {"phase": seen["phase"], "conditions": [ready_], "containerStatuses": containers}
    return rank({"metadata": metadata, "spec": {"nodeName": seen["node"]}, "status": found})


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"node": ""}, {"phase": "Pending"}),
        ({"phase": "Pending", "cost": "9"}, {"ready": False}),
        ({"ready": False, "cost": "9"}, {"cost": "-9"}),
        ({"cost": "-1"}, {"since": 200}),
        ({"since": 200}, {"restarts": 5}),
        ({"restarts": 5}, {"created": 90}),
        ({"created": 90}, {"created": 40}),
    ],
)
def test_the_order_of_loss(first: dict[str, Any], then: dict[str, Any]) -> None:
    """Each criterion counts more than those after it."""
    assert ranked(**first) < ranked(**then)


# StatefulSets


async def test_a_stateful_set_starts_in_order(api: ApiServer, node: SimulatedNode) -> None:
    """Each pod once the one before it is ready, under its ordinal's labels."""
    node.hold("ContainerCreating", selector="apps.kubernetes.io/pod-index=1")
    await api.apply(stateful_set("web", 3))
    await eventually(lambda: len(pods(api)) == 2)
    await api.controllers.settled()
    assert (ready(api), len(pods(api))) == (["web-0"], 2)
    node.release()
    await eventually(lambda: status(api, "statefulsets").get("readyReplicas") == 3)
    assert pods(api)[2]["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "2"
    assert pods(api)[2]["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "web-2"


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
async def test_a_stateful_set_loses_its_highest(api: ApiServer, node: SimulatedNode, policy: str) -> None:
    """Whatever the pods' cost."""
    await api.apply(stateful_set("web", 4, podManagementPolicy=policy))
    await eventually(lambda: len(ready(api)) == 4)
    api.store.change(
        "pods", "default", "web-0", lambda obj: obj["metadata"].update(annotations={DELETION_COST: "-9"})
    )
    scale(api, 2, "statefulsets")
    await eventually(lambda: len(pods(api)) == 2)
    assert (ready(api), node.name) == (["web-0", "web-1"], "node-1")


async def test_a_parallel_stateful_set_starts_all_at_once(api: ApiServer, node: SimulatedNode) -> None:
    """One that does not start holds none of the others."""
    node.hold("ContainerCreating", selector="apps.kubernetes.io/pod-index=0")
    await api.apply(stateful_set("web", 3, podManagementPolicy="Parallel"))
    await eventually(lambda: len(ready(api)) == 2)
    assert len(pods(api)) == 3


async def test_a_stateful_set_rolls_from_the_highest(api: ApiServer, node: SimulatedNode) -> None:
    """One after the other, each under its own name again."""
    await api.apply(stateful_set("web", 3))
    await eventually(lambda: len(ready(api)) == 3)
    went: list[str] = []
    api.store.listeners.append(
        lambda event: went.append(event.record.key[1]) if event.type == "DELETED" else None
    )
    await api.apply(stateful_set("web", 3, template=template({"app": "web"}, "model:2")))
    await eventually(lambda: len(went) == 3 == len(ready(api)))
    assert went == ["web-2", "web-1", "web-0"]
    assert node.name


# Services


async def test_a_service_has_its_endpoints(api: ApiServer, node: SimulatedNode) -> None:
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
    assert node.name


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


async def test_a_slice_holds_a_hundred(api: ApiServer, node: SimulatedNode) -> None:
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
    assert node.name


async def test_a_service_without_pods_has_an_empty_slice(api: ApiServer) -> None:
    """With null where a client may expect a list."""
    await api.apply(service("web"))
    await eventually(lambda: api.store.records("endpointslices"))
    [record] = api.store.records("endpointslices")
    assert (record.obj["endpoints"], record.obj["ports"]) == (None, None)
    api.store.delete("services", "default", "web")
    assert not api.store.records("endpointslices")


# Pods and nodes


async def test_a_pod_that_asks_too_much_is_not_scheduled(api: ApiServer, node: SimulatedNode) -> None:
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
    assert node.name


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


async def test_a_missing_image_is_told(api: ApiServer, node: SimulatedNode) -> None:
    """As a kubelet tells it, and the rest of the rollout waits."""
    await api.apply(deployment("web", 1, "missing/model:1"))
    await eventually(lambda: pods(api) and "containerStatuses" in pods(api)[0]["status"])
    [container] = pods(api)[0]["status"]["containerStatuses"]
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "missing/model:1"'}
    assert (container["state"], container["ready"]) == ({"waiting": waiting}, False)
    assert (pods(api)[0]["status"]["phase"], node.name) == ("Pending", "node-1")


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


async def test_paused_controllers_do_nothing_and_then_catch_up(api: ApiServer, node: SimulatedNode) -> None:
    """As if the controller manager were gone for a while."""
    api.controllers.pause()
    await api.apply(deployment("web", 1))
    assert not api.store.records("replicasets")
    api.controllers.resume()
    await eventually(lambda: len(ready(api)) == 1)
    assert node.name


async def test_pods_are_where_a_test_says(api: ApiServer) -> None:
    """Addresses are asked for per pod."""
    async with SimulatedNode.running(api, addresses=lambda each: f"127.1.0.{each['metadata']['name'][-1]}"):
        await api.apply([pod("p1"), pod("p2")])
        await eventually(lambda: len(ready(api)) == 2)
        assert [each["status"]["podIP"] for each in pods(api)] == ["127.1.0.1", "127.1.0.2"]
