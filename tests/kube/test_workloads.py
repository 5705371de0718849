"""What the controllers make of Deployments and StatefulSets, with a node that runs nothing."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_asyncio import client

from tests.eventually import eventually
from tests.kube import deployments, replicasets
from tests.kube.admission import Admission
from tests.kube.deployments import bounds
from tests.kube.looking import pods, ready, scale, status
from tests.kube.objects import deployment, stateful_set, template
from tests.kube.podfacts import condition, is_ready
from tests.kube.replicasets import DELETION_COST, rank
from tests.kube.store import Store

if TYPE_CHECKING:
    from tests.kube.apiserver import ApiServer
    from tests.kube.history import Event
    from tests.kube.simulated import SimulatedNode


# Deployments


@pytest.mark.usefixtures("node")
async def test_a_deployment_has_its_pods(api: ApiServer) -> None:
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


@pytest.mark.usefixtures("node")
async def test_a_deployment_is_scaled_to_zero_by_a_real_client(
    api: ApiServer, kube: client.ApiClient
) -> None:
    """Counts that are zero are absent from its status, as from a real one's."""
    await api.apply(deployment("web", 2))
    await eventually(lambda: len(ready(api)) == 2)
    apps = client.AppsV1Api(kube)
    await apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 0}})
    await eventually(lambda: not pods(api) and "replicas" not in status(api, "deployments"))
    assert (await apps.read_namespaced_deployment("web", "default")).status.ready_replicas is None


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


@pytest.mark.usefixtures("node")
async def test_a_rollout_back_takes_up_the_old_replica_set(api: ApiServer) -> None:
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


@pytest.mark.usefixtures("node")
async def test_a_quota_shows_as_a_replica_failure(api: ApiServer) -> None:
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


@pytest.mark.usefixtures("node")
async def test_a_deployments_end_is_its_pods_end(api: ApiServer) -> None:
    """ReplicaSets and pods go after it."""
    await api.apply(deployment("web", 2))
    await eventually(lambda: len(ready(api)) == 2)
    api.store.delete("deployments", "default", "web")
    await eventually(lambda: not pods(api) and not api.store.records("replicasets"))


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


@pytest.mark.usefixtures("node")
async def test_the_cheap_pod_is_lost(api: ApiServer) -> None:
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
@pytest.mark.usefixtures("node")
async def test_a_stateful_set_loses_its_highest(api: ApiServer, policy: str) -> None:
    """Whatever the pods' cost."""
    await api.apply(stateful_set("web", 4, podManagementPolicy=policy))
    await eventually(lambda: len(ready(api)) == 4)
    api.store.change(
        "pods", "default", "web-0", lambda obj: obj["metadata"].update(annotations={DELETION_COST: "-9"})
    )
    scale(api, 2, "statefulsets")
    await eventually(lambda: len(pods(api)) == 2)
    assert ready(api) == ["web-0", "web-1"]


async def test_a_parallel_stateful_set_starts_all_at_once(api: ApiServer, node: SimulatedNode) -> None:
    """One that does not start holds none of the others."""
    node.hold("ContainerCreating", selector="apps.kubernetes.io/pod-index=0")
    await api.apply(stateful_set("web", 3, podManagementPolicy="Parallel"))
    await eventually(lambda: len(ready(api)) == 2)
    assert len(pods(api)) == 3


@pytest.mark.usefixtures("node")
async def test_a_stateful_set_rolls_from_the_highest(api: ApiServer) -> None:
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


# Rollouts that do not come to an end


@pytest.mark.usefixtures("node")
async def test_a_bad_image_takes_no_good_pod_away(api: ApiServer) -> None:
    """With maxUnavailable 0 the old pods stay while the new one waits for its image."""
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await api.apply(deployment("web", 2, strategy=strategy))
    await eventually(lambda: len(ready(api)) == 2)
    await api.apply(deployment("web", 2, "missing/model:2", strategy=strategy))
    await eventually(lambda: len(pods(api)) == 3)
    await api.controllers.settled()
    assert (len(ready(api)), len(pods(api))) == (2, 3)


def test_a_rollout_that_stands_still_says_so() -> None:
    """After its deadline Progressing is False; a clock moved by hand shows it."""
    now = [1e9]
    store = Store(lambda: now[0], random.Random(5))  # noqa: S311 (repeatable)
    store.admission.append(Admission())
    store.create("namespaces", {"metadata": {"name": "default"}})
    store.create("deployments", deployment("web", 1, progressDeadlineSeconds=60))

    def progressing() -> str:
        deployments.reconcile(store, "default", "web")
        for record in store.records("replicasets"):
            replicasets.reconcile(store, *record.key)
        deployments.reconcile(store, "default", "web")
        return str(condition(store.get("deployments", "default", "web"), "Progressing")["reason"])

    assert progressing() == "ReplicaSetUpdated"
    now[0] += 59
    assert progressing() == "ReplicaSetUpdated"
    now[0] += 2
    assert progressing() == "ProgressDeadlineExceeded"
