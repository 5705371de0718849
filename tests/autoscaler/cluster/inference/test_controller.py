"""What is made of InferenceServices in a cluster, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.cluster.inference import controller, looking
from autoscaler.cluster.inference.terms import Terms
from autoscaler.inference.shapes import Settings
from tests.autoscaler.cluster.inference.place import GROUP, Place, definitions, quiet, running, service
from tests.eventually import eventually
from tests.kube import errors
from tests.kube.kinds import Resource

OLDER_GROUP = "inferenceservices.serving.kubeflow.org"
NAMESPACED = Settings(gateway_host="tidegate.tidegate.svc.cluster.local")


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    async with running(tmp_path, monkeypatch, Terms(NAMESPACED)) as made:
        yield made


async def test_one_is_made_ready(place: Place) -> None:
    """A Deployment, Services, a document in our namespace, a status, Events; then nothing more is written."""
    await place.api.apply(service())
    await eventually(place.is_ready, within=15)
    [deployment] = place.names("deployments", "default")
    assert deployment.startswith("iris-predictor-")
    assert place.names("services", "default") == ["iris", "iris-predictor"]
    assert place.documents() == ["isvc.default.iris"]
    document = yaml.safe_load(
        place.get("configmaps", "isvc.default.iris", "tidegate")["data"]["tidegate.yaml"]
    )
    assert [b["target"]["deployment"] for b in document["backends"].values()] == [deployment]
    await eventually(lambda: {"RevisionCreated", "InferenceServiceReady"} <= set(place.reasons()), within=5)
    assert await quiet(place, 2.0) == 0


async def test_the_older_spelling_is_served_as_well(place: Place) -> None:
    """In its own group."""
    await place.api.apply({**service(), "apiVersion": "serving.kubeflow.org/v1beta1"})
    await eventually(lambda: place.is_ready(what=OLDER_GROUP), within=15)


async def test_those_of_another_class_are_left_alone(place: Place) -> None:
    """Unless all are wanted."""
    await place.api.apply(service(ours=False))
    await place.api.apply(service("rose"))
    await eventually(lambda: place.is_ready("rose"), within=15)
    assert place.status("iris") == {}
    await place.controller.reconfigure(Terms(NAMESPACED, everything=True))
    await eventually(place.is_ready, within=15)


async def test_a_deleted_one_leaves_nothing(place: Place) -> None:
    """What is in its namespace goes with its owner, the document by us."""
    await place.api.apply(service())
    await eventually(place.is_ready, within=15)
    place.api.store.delete(GROUP, "default", "iris")
    await eventually(lambda: not place.documents(), within=10)
    assert place.names("deployments", "default") == place.names("services", "default") == []


async def test_a_document_whose_service_went_while_nobody_led_is_deleted(place: Place) -> None:
    """It is known by its label."""
    left = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "isvc.default.gone",
            "namespace": "tidegate",
            "labels": {"tidegate.dev/document": "inference-service"},
            "annotations": {"tidegate.dev/inference-service": "default/gone"},
        },
    }
    await place.api.apply(left)
    await eventually(lambda: not place.documents(), within=10)


async def test_a_document_that_does_not_say_whose_it_is_is_left_alone(place: Place) -> None:
    """Somebody wrote it with our label; gateways take it in as well."""
    about = {
        "name": "mine",
        "namespace": "tidegate",
        "labels": {"tidegate.dev/document": "inference-service"},
    }
    await place.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about})
    await place.api.apply(service())
    await eventually(place.is_ready, within=15)
    await asyncio.sleep(0.5)
    assert "mine" in place.names("configmaps", "tidegate")


async def test_one_that_is_not_ours_any_more_loses_what_we_made(place: Place) -> None:
    """Its own object stays as it is."""
    await place.api.apply(service())
    await eventually(place.is_ready, within=15)
    place.api.store.change(GROUP, "default", "iris", lambda o: o["metadata"].pop("annotations") and None)
    await eventually(lambda: not place.documents() and not place.names("deployments", "default"), within=10)
    assert place.names(GROUP) == ["iris"]


async def test_what_is_not_supported_is_told(place: Place) -> None:
    """On the status and as an Event."""
    obj = service()
    obj["spec"]["transformer"] = {"containers": [{"name": "x", "image": "x"}]}
    await place.api.apply(obj)
    await eventually(lambda: bool(place.status()), within=15)
    [ready] = [one for one in place.status()["conditions"] if one["type"] == "PredictorReady"]
    assert ready["status"] == "False"
    assert "transformer" in ready["message"]
    await eventually(lambda: "InvalidPredictorSpec" in place.reasons(), within=5)
    assert place.names("deployments", "default") == []


async def test_why_pods_cannot_start_is_told(place: Place) -> None:
    """As soon as it is known."""
    await place.api.apply(service())
    await eventually(lambda: bool(place.documents()), within=15)
    [name] = place.names("deployments", "default")
    place.api.store.change("deployments", "default", name, lambda o: o["spec"].update(replicas=0))
    document = yaml.safe_load(
        place.get("configmaps", "isvc.default.iris", "tidegate")["data"]["tidegate.yaml"]
    )
    [backend] = document["backends"]
    await eventually(lambda: place.get("deployments", name)["status"].get("readyReplicas", 0) == 0, within=5)
    place.stuck[backend] = "no such image"
    place.controller.found(backend)
    await eventually(lambda: "no such image" in str(place.status().get("conditions")), within=5)


async def test_a_document_that_is_left_out_is_told(place: Place) -> None:
    """Clients are not led to it, whatever its pods do."""
    await place.api.apply(service())
    await eventually(place.is_ready, within=15)
    place.left_out["configmap tidegate/isvc.default.iris"] = "host x belongs to tidegate.yaml"
    place.controller.look_again()
    await eventually(lambda: "belongs to" in str(place.status().get("conditions")), within=5)
    assert not place.is_ready()
    await eventually(lambda: "NotRouted" in place.reasons(), within=5)
    place.left_out.clear()
    place.controller.look_again()
    await eventually(place.is_ready, within=5)


async def test_the_count_of_a_deployment_is_kept(place: Place) -> None:
    """Whoever scales it, another revision of the objects does not take it back."""
    await place.api.apply(service())
    await eventually(place.is_ready, within=15)
    [name] = place.names("deployments", "default")
    place.api.store.change("deployments", "default", name, lambda o: o["spec"].update(replicas=3))
    await place.api.apply({**service(), "metadata": {"name": "iris", "labels": {"team": "blue"}}})
    await asyncio.sleep(1.0)
    counts = [record.obj["spec"]["replicas"] for record in place.api.store.records("deployments", "default")]
    assert 3 in counts


async def test_what_another_hand_changed_is_put_back(place: Place) -> None:
    """What we set of it; then nothing more is written."""
    await place.api.apply(service())
    await eventually(place.is_ready, within=15)
    port = place.get("services", "iris-predictor")["spec"]["ports"][0]["targetPort"]

    def turn(obj: dict[str, Any]) -> None:
        obj["spec"]["ports"][0]["targetPort"] = 1
        obj["metadata"]["labels"]["team"] = "blue"

    place.api.store.change("services", "default", "iris-predictor", turn)
    await eventually(
        lambda: place.get("services", "iris-predictor")["spec"]["ports"][0]["targetPort"] == port, within=10
    )
    assert place.get("services", "iris-predictor")["metadata"]["labels"]["team"] == "blue"
    assert await quiet(place, 2.0) == 0


async def test_what_the_api_server_makes_of_a_write_is_not_fought(place: Place) -> None:
    """An admission that sets another value would be asked for ever."""

    def insist(_store: object, resource: Resource, obj: dict[str, Any], _old: object) -> None:
        if resource.plural == "services" and obj["spec"].get("ports"):
            obj["spec"]["ports"][0]["name"] = "web"

    place.api.store.admission.append(insist)
    await place.api.apply(service())
    await eventually(place.is_ready, within=15)
    await place.api.apply({**service(), "metadata": {"name": "iris", "labels": {"team": "blue"}}})
    await asyncio.sleep(1.0)
    assert await quiet(place, 2.0) == 0


async def test_definitions_may_come_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked for again."""
    monkeypatch.setattr(looking, "MISSING_AGAIN", 0.2)
    async with running(tmp_path, monkeypatch, defined=False) as place:
        await asyncio.sleep(0.5)
        await place.api.apply(definitions())
        await place.api.apply(service())
        await eventually(place.is_ready, within=15)


async def test_an_api_server_that_was_away_makes_no_definition_of_what_is_missing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has ServingRuntimes here; what is looked at goes on being known."""
    monkeypatch.setattr(looking, "MISSING_AGAIN", 0.1)
    monkeypatch.setattr(looking, "UNKNOWN_AGAIN", 0.1)
    await place.api.apply(service())
    await eventually(place.is_ready, within=15)
    # The wait that has begun is a minute's: as after one, by another look.
    await place.controller.reconfigure(Terms(NAMESPACED, namespaces=("default",)))
    await eventually(lambda: "acts" in repr(place.controller), within=10)
    await place.api.faults.away()
    await asyncio.sleep(0.5)
    await place.api.faults.back()
    await place.api.apply(service("rose"))
    await eventually(lambda: place.is_ready("rose"), within=20)


async def test_what_another_has_made_is_not_taken_over(place: Place) -> None:
    """It is told, and holds up no other."""
    taken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "iris-predictor"}, "spec": {}}
    await place.api.apply(taken)
    await place.api.apply([service(), service("rose")])
    await eventually(lambda: place.is_ready("rose"), within=15)
    await eventually(lambda: "CannotApply" in place.reasons(), within=30)
    assert place.get("services", "iris-predictor")["metadata"].get("ownerReferences") is None


@pytest.mark.parametrize("name", ["iris-predictor", "iris"])
async def test_a_service_of_anothers_holds_up_nothing_else_of_it(place: Place, name: str) -> None:
    """Gateways need none of the two, so it is served and its status says so."""
    taken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {}}
    await place.api.apply([taken, service()])
    await eventually(place.is_ready, within=15)
    assert place.documents() == ["isvc.default.iris"]
    await eventually(lambda: "CannotApply" in place.reasons(), within=30)
    assert place.is_ready()


async def test_a_document_of_anothers_is_left_alone_and_told_in_the_status(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients are not led to it, so it is not ready."""
    monkeypatch.setattr(controller, "FIRST_RETRY", 0.05)
    about = {"name": "isvc.default.iris", "namespace": "tidegate"}
    await place.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"a": "b"}})
    await place.api.apply(service())
    await eventually(lambda: "another has made" in str(place.status().get("conditions")), within=20)
    assert not place.is_ready()
    assert place.get("configmaps", "isvc.default.iris", "tidegate")["data"] == {"a": "b"}
    place.api.store.delete("configmaps", "tidegate", "isvc.default.iris")
    await eventually(place.is_ready, within=20)


async def test_a_deployment_of_anothers_is_left_alone_and_told_in_the_status(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the very name that a revision has."""
    monkeypatch.setattr(controller, "FIRST_RETRY", 0.05)
    await place.api.apply(service())
    await eventually(place.is_ready, within=15)
    [name] = place.names("deployments", "default")
    theirs = place.get("deployments", name)
    place.api.store.delete(GROUP, "default", "iris")
    await eventually(lambda: not place.names("deployments", "default"), within=10)
    await place.api.apply({**theirs, "metadata": {"name": name, "namespace": "default"}})
    await place.api.apply(service())
    await eventually(lambda: "another has made" in str(place.status().get("conditions")), within=20)
    assert place.get("deployments", name)["metadata"].get("ownerReferences") is None


async def test_a_deployment_that_is_refused_is_told_in_the_status(place: Place) -> None:
    """And once as an Event, however often it is tried."""

    def refuse(_store: object, resource: Resource, obj: dict[str, Any], _old: object) -> None:
        if resource.plural == "deployments":
            raise errors.invalid(resource, obj["metadata"]["name"], "spec", "Forbidden: not today")

    place.api.store.admission.append(refuse)
    await place.api.apply(service())
    await eventually(lambda: "not today" in str(place.status().get("conditions")), within=15)
    await asyncio.sleep(1.5)
    assert place.reasons().count("CannotApply") == 1
    place.api.store.admission.remove(refuse)
    await eventually(place.is_ready, within=30)


async def test_an_api_server_with_too_much_to_do_is_not_told_of_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again when it says, and no Event is one more request for each."""
    monkeypatch.setattr(controller, "FIRST_RETRY", 0.05)
    await eventually(lambda: "acts" in repr(place.controller), within=10)
    place.api.faults.answer(429, times=3, verb="create", resource="deployments", retry_after=1)
    await place.api.apply(service())
    await asyncio.sleep(0.8)
    assert place.api.counts["create", "deployments"] == 1
    await eventually(place.is_ready, within=20)
    assert "CannotApply" not in place.reasons()


async def test_one_that_fails_is_tried_again_by_one_timer_however_often_it_is_looked_at(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each half minute of a long failure would otherwise add one more that never ends."""
    monkeypatch.setattr(controller, "FIRST_RETRY", 0.4)
    monkeypatch.setattr(controller, "LAST_RETRY", 0.4)
    tries: list[float] = []

    def refuse(_store: object, resource: Resource, obj: dict[str, Any], _old: object) -> None:
        if resource.plural == "deployments":
            tries.append(0.0)
            raise errors.invalid(resource, obj["metadata"]["name"], "spec", "Forbidden: not today")

    place.api.store.admission.append(refuse)
    await place.api.apply(service())
    await eventually(lambda: len(tries) > 0, within=15)
    for _ in range(30):
        place.controller.look_again()
        await asyncio.sleep(0.03)
    tries.clear()
    await asyncio.sleep(2.0)
    assert 1 <= len(tries) <= 12


async def test_of_two_with_one_name_the_older_is_served(place: Place) -> None:
    """The other is told, and nothing of it is made."""
    older = {**service(), "apiVersion": "serving.kubeflow.org/v1beta1"}
    await place.api.apply(older)
    await eventually(lambda: place.is_ready(what=OLDER_GROUP), within=15)
    await asyncio.sleep(1.1)  # creation times have seconds
    await place.api.apply(service())
    await eventually(lambda: "NameTaken" in place.reasons(), within=10)
    assert place.status() == {}
    place.api.store.delete(OLDER_GROUP, "default", "iris")
    await eventually(place.is_ready, within=20)


async def test_five_hundred_are_made_with_few_writes_and_then_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each object once, a status and a document for each thing that becomes true; afterwards not one write."""
    async with running(tmp_path, monkeypatch) as place:
        await place.api.apply([service(f"iris-{number}") for number in range(500)])
        await eventually(lambda: all(place.is_ready(f"iris-{n}") for n in range(500)), within=120)
        await asyncio.sleep(2.0)
        counts = place.api.counts
        made = {what: counts["create", what] for what in ("deployments", "services", "configmaps")}
        assert made == {"deployments": 500, "services": 500, "configmaps": 500}
        assert {what: counts["update", what] for what in made} == dict.fromkeys(made, 0)
        assert counts["update", "inferenceservices/status"] <= 3 * 500
        assert await quiet(place, 4.0) == 0
