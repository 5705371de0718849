"""What is known of each target, kept true by shared list-watches."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.kube import listwatch, owners, starting
from gateway.kube.client import Cluster
from gateway.kube.discovery import Discovery, View
from gateway.targets import ClusterTarget, ScaleTarget, ServiceTarget
from tests.eventually import eventually
from tests.gateway.kube.scene import LLAMAS, PORT, deployment, llamas, service, workload
from tests.kube.apiserver import ApiServer
from tests.kube.simulated import SimulatedNode

IRIS = ScaleTarget("apps/v1", "Deployment", "iris", "models", PORT)


class Looker:
    """Follows targets and counts how often it was told."""

    def __init__(self, discovery: Discovery) -> None:
        self.discovery = discovery
        self.told = 0

    def follow(self, name: str, target: ClusterTarget) -> None:
        self.discovery.follow(name, target, self._tell)

    def _tell(self) -> None:
        self.told += 1

    def view(self, name: str = "iris") -> View:
        return self.discovery.view(name) or View()

    def pods(self, name: str = "iris") -> list[str]:
        return [pod.name for pod in self.view(name).pods]

    @property
    def ready(self) -> int:
        return sum(pod.ready and not pod.terminating for pod in self.view().pods)


@pytest.fixture
async def looker(cluster: Cluster, node: SimulatedNode) -> AsyncIterator[Looker]:  # noqa: ARG001 (it runs the pods)
    discovery = Discovery(cluster)
    yield Looker(discovery)
    await discovery.stop()


async def test_a_deployments_pods_are_those_of_its_selector(api: ApiServer, looker: Looker) -> None:
    """A Service is not needed; other pods of the namespace are none of its."""
    await api.apply([deployment("iris", 2), deployment("other", 1)])
    looker.follow("iris", IRIS)
    await eventually(lambda: looker.ready == 2)
    workload = looker.view().workload
    assert workload is not None
    assert (workload.replicas, workload.path) == (2, "/apis/apps/v1/namespaces/models/deployments/iris")
    assert all(name.startswith("iris-") for name in looker.pods())


async def test_a_count_that_changes_is_seen_with_its_pods(api: ApiServer, looker: Looker) -> None:
    """Whoever changed it; pods that end are seen as terminating until they are gone."""
    await api.apply(deployment("iris", 1))
    looker.follow("iris", IRIS)
    await eventually(lambda: looker.ready == 1)
    await api.apply(deployment("iris", 3))
    await eventually(lambda: looker.ready == 3)
    await api.apply(deployment("iris", 0))
    await eventually(lambda: not looker.pods())
    workload = looker.view().workload
    assert workload is not None
    assert workload.replicas == 0


async def test_a_target_that_does_not_exist_is_told_and_seen_when_it_comes(
    api: ApiServer, looker: Looker
) -> None:
    """And told again when it goes."""
    looker.follow("iris", IRIS)
    await eventually(lambda: looker.discovery.missing("iris") == "deployment models/iris does not exist")
    assert looker.discovery.view("iris") is None
    await api.apply(deployment())
    await eventually(lambda: looker.ready == 1)
    api.store.delete("deployments", "models", "iris")
    await eventually(lambda: looker.discovery.view("iris") is None)


async def test_a_thousand_backends_share_one_watch_per_resource(api: ApiServer, looker: Looker) -> None:
    """One for the pods of the namespace, one for its Deployments."""
    await api.apply([deployment(f"d{number}", 0) for number in range(50)])
    for number in range(50):
        looker.follow(f"d{number}", ScaleTarget("apps/v1", "Deployment", f"d{number}", "models", PORT))
    await eventually(lambda: all(looker.discovery.view(f"d{number}") for number in range(50)))
    await eventually(lambda: len(api.faults.watches) == 2)
    for number in range(50):
        looker.discovery.forget(f"d{number}")
    await eventually(lambda: not api.faults.watches)


async def test_a_statefulset_says_that_it_is_ordered(api: ApiServer, looker: Looker) -> None:
    """Its pods have ordinals."""
    await api.apply(workload("StatefulSet", "iris", 2, serviceName="iris"))
    looker.follow("iris", ScaleTarget("apps/v1", "StatefulSet", "iris", "models", PORT))
    await eventually(lambda: looker.ready == 2)
    found = looker.view().workload
    assert found is not None
    assert found.ordered
    assert [pod.ordinal for pod in looker.view().pods] == [0, 1]


async def test_any_object_with_a_scale_is_followed_through_it(api: ApiServer, looker: Looker) -> None:
    """Where it keeps its count, and whose pods are its own, is the API server's to know."""
    await api.apply(LLAMAS)
    await api.apply([llamas(2), deployment("llama", 1)])
    looker.follow("iris", ScaleTarget("example.com/v1", "LlamaSet", "llama", "models", PORT))
    await eventually(lambda: looker.ready == 1)
    found = looker.view().workload
    assert found is not None
    assert (found.replicas, found.kind, found.ordered) == (2, "LlamaSet", False)
    await api.apply(llamas(5))
    await eventually(lambda: (looker.view().workload or found).replicas == 5)


async def test_a_kind_that_there_is_not_is_told_and_found_when_it_comes(
    api: ApiServer, looker: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose definition is installed later."""
    monkeypatch.setattr(owners, "RETRY", 0.01)
    looker.follow("iris", ScaleTarget("example.com/v1", "LlamaSet", "llama", "models", PORT))
    await eventually(lambda: looker.discovery.missing("iris"))
    await api.apply(LLAMAS)
    await api.apply(llamas(2))
    await eventually(lambda: looker.view().workload)
    assert not looker.discovery.missing("iris").endswith("not found")


async def test_a_kind_without_a_scale_is_told(looker: Looker) -> None:
    """It cannot be scaled."""
    looker.follow("iris", ScaleTarget("v1", "ConfigMap", "llama", "models", PORT))
    await eventually(lambda: looker.discovery.missing("iris") == "ConfigMap (v1) has no scale subresource")
    looker.follow("other", ScaleTarget("v1", "Llama", "llama", "models", PORT))
    await eventually(lambda: looker.discovery.missing("other") == "v1 has no kind Llama")


async def test_a_service_is_followed_through_its_slices(api: ApiServer, looker: Looker) -> None:
    """Others scale what is behind it."""
    await api.apply([deployment("iris", 2), service("iris"), service("other")])
    looker.follow("iris", ServiceTarget("iris", "models", "http"))
    await eventually(lambda: sum(len(one.places) for one in looker.view().slices) == 2)
    assert {one.service for one in looker.view().slices} == {"iris"}
    assert looker.view().workload is None


async def test_an_image_that_cannot_be_pulled_is_given_up_after_a_while(
    api: ApiServer, looker: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else changes by then: the time alone does it."""
    monkeypatch.setattr(starting, "PATIENCE", 0.2)
    await api.apply(deployment(image="missing/model:1"))
    looker.follow("iris", IRIS)
    await eventually(lambda: "ImagePullBackOff" in (looker.view().pending or ""))
    await eventually(lambda: "missing/model:1" in (looker.view().cannot_start or ""))


async def test_while_the_server_is_away_views_stay(
    api: ApiServer, looker: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as it takes; then they are brought up to date."""
    monkeypatch.setattr(listwatch, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(listwatch, "LAST_RETRY", 0.05)
    await api.apply(deployment("iris", 2))
    looker.follow("iris", IRIS)
    await eventually(lambda: looker.ready == 2)
    await api.faults.away()
    await api.apply(deployment("iris", 3))
    told = looker.told
    await eventually(lambda: "Cannot connect" in repr(looker.discovery))
    assert (looker.ready, looker.told) == (2, told)
    await api.faults.back()
    await eventually(lambda: looker.ready == 3)


async def test_equal_news_is_not_told(api: ApiServer, looker: Looker) -> None:
    """As labels that say nothing about who a pod belongs to."""
    await api.apply(deployment("iris", 1))
    looker.follow("iris", IRIS)
    await eventually(lambda: looker.ready == 1)
    told = looker.told
    await api.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "x", "namespace": "models", "labels": {"app": "else"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }
    )
    await api.apply(deployment("other", 1))
    await eventually(lambda: len(api.store.list("pods", "models")) == 3)
    assert looker.told == told


async def test_a_pod_whose_labels_change_is_no_longer_there(api: ApiServer, looker: Looker) -> None:
    """Taken out by hand, to look at it."""
    await api.apply(deployment("iris", 1))
    looker.follow("iris", IRIS)
    await eventually(lambda: looker.ready == 1)
    [name] = looker.pods()
    pod = api.store.get("pods", "models", name)
    labels = {**pod["metadata"]["labels"], "app": "quarantine"}
    api.store.replace("pods", {**pod, "metadata": {**pod["metadata"], "labels": labels}})
    await eventually(lambda: name not in looker.pods())


async def test_the_namespace_is_that_of_the_credentials_unless_one_is_given(
    api: ApiServer, looker: Looker
) -> None:
    """Here `models`."""
    await api.apply(deployment())
    looker.follow("iris", ScaleTarget("apps/v1", "Deployment", "iris", None, PORT))
    await eventually(lambda: looker.ready == 1)


async def test_what_is_not_followed_is_not_known(looker: Looker) -> None:
    """And is said to be so."""
    assert looker.discovery.view("x") is None
    assert looker.discovery.missing("x") == "it is not followed"
    looker.follow("x", IRIS)
    assert looker.discovery.missing("x") == "deployment models/iris is not known yet"


async def test_two_namespaces_have_watches_of_their_own(api: ApiServer, looker: Looker) -> None:
    """Rights are given by namespace."""
    looker.follow("a", IRIS)
    looker.follow("b", ScaleTarget("apps/v1", "Deployment", "iris", "default", PORT))
    await eventually(lambda: len(api.faults.watches) == 4)


async def test_pods_of_another_owner_are_left_alone_though_the_selector_chooses_them(
    api: ApiServer, looker: Looker
) -> None:
    """As those of a canary that has all labels of the stable one and one more: the controllers keep them apart, too."""
    canary = deployment("iris-canary", 1)
    canary["spec"]["selector"]["matchLabels"] = {"app": "iris", "track": "canary"}
    canary["spec"]["template"]["metadata"]["labels"] = {"app": "iris", "track": "canary"}
    await api.apply([deployment("iris", 2), canary])
    looker.follow("iris", IRIS)
    looker.follow("canary", ScaleTarget("apps/v1", "Deployment", "iris-canary", "models", PORT))
    await eventually(lambda: looker.ready == 2 and looker.pods("canary"))
    assert all("canary" not in name for name in looker.pods())
    assert all("canary" in name for name in looker.pods("canary"))


async def test_an_object_that_went_while_its_scale_was_asked_for_is_gone(
    api: ApiServer, looker: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is answered by then, nothing comes of it, and nobody asks on."""
    monkeypatch.setattr(owners, "RETRY", 0.01)
    await api.apply(LLAMAS)
    await api.apply(llamas(2))
    looker.follow("iris", ScaleTarget("example.com/v1", "LlamaSet", "llama", "models", PORT))
    await eventually(lambda: looker.discovery.view("iris"))
    api.faults.delay(0.1, times=1, resource="llamasets/scale")
    await api.apply(llamas(3))
    api.store.delete("llamasets.example.com", "models", "llama")
    gone = "llamaset models/llama does not exist"
    await eventually(lambda: looker.discovery.missing("iris") == gone)
    await asyncio.sleep(0.2)
    assert looker.discovery.missing("iris") == gone


async def test_a_scale_that_names_no_selector_is_told(api: ApiServer, looker: Looker) -> None:
    """Its pods cannot be found, and to wait for them is in vain."""
    await api.apply(LLAMAS)
    await api.apply(llamas(2, selector=""))
    looker.follow("iris", ScaleTarget("example.com/v1", "LlamaSet", "llama", "models", PORT))
    await eventually(lambda: "names no selector" in (looker.view().pending or ""))
    await api.apply(llamas(2))
    await eventually(lambda: looker.view().workload and looker.view().pending is None)


@pytest.mark.parametrize(
    "target",
    [
        IRIS,
        ScaleTarget("example.com/v1", "LlamaSet", "llama", "models", PORT),
        ServiceTarget("iris", "models", None),
    ],
    ids=lambda target: type(target).__name__ + getattr(target, "kind", ""),
)
async def test_a_target_is_listed_once_the_server_has_spoken_of_it(
    api: ApiServer, looker: Looker, target: ClusterTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when it does not exist; and for good, however long the server is away from then on."""
    monkeypatch.setattr(owners, "RETRY", 0.01)
    await api.apply(LLAMAS)
    await api.faults.away()
    looker.follow("iris", target)
    await eventually(lambda: "Cannot connect" in looker.discovery.missing("iris"))
    [lack] = looker.discovery.unlisted()
    assert lack.startswith(f"{target.named('models')}: ")
    assert "Cannot connect" in lack
    assert not looker.discovery.listed
    await api.faults.back()
    await eventually(lambda: not looker.discovery.unlisted())
    assert looker.discovery.listed
    await api.faults.away()
    await asyncio.sleep(0.01)
    assert not looker.discovery.unlisted()
    await api.faults.back()
