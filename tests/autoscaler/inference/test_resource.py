"""resource: what of an InferenceService is refused, and what is only told."""

from typing import Any

import pytest

from autoscaler.inference.resource import read
from tests.inferences import asked, condition, isvc, model


def faults(item: dict[str, Any]) -> list[tuple[str, bool]]:
    return [(fault.path, fault.refused) for fault in asked(item).faults]


@pytest.mark.parametrize("key", ["transformer", "explainer"])
def test_another_component_is_refused(key: str) -> None:
    """Its work would be missing from every answer."""
    item = isvc()
    item["spec"][key] = {"containers": []}
    assert faults(item) == [(f"spec.{key}", True)]


@pytest.mark.parametrize("key", ["workerSpec", "batcher", "logger"])
def test_what_a_predictor_cannot_have_is_refused(key: str) -> None:
    """With what to do instead."""
    assert faults(isvc(**{key: {}})) == [(f"spec.predictor.{key}", True)]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"storage": {"key": "k"}}, "storage"),
        ({"confidential": {"enabled": True}}, "confidential"),
        ({"protocolVersion": "grpc-v2", "runtime": "kserve-torchserve"}, "protocolVersion"),
        ({"storageUri": "oci://registry/image"}, "storageUri"),
        ({"storageUri": "ftp://host/model"}, "storageUri"),
        ({"storageUri": "pvc://UPPER/x"}, "storageUri"),
        ({"modelFormat": {}}, "modelFormat.name"),
        ({"name": "mine"}, "name"),
        ({"image": 1}, "image"),
        ({"ports": [{"containerPort": 0}]}, "ports"),
        ({"ports": [{"containerPort": 9000, "name": "h2c"}]}, "ports"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused(spec: dict[str, Any], path: str) -> None:
    """Before anything is made of it."""
    answer = asked(model(**spec))
    assert (f"spec.predictor.model.{path}", True) in [(f.path, f.refused) for f in answer.faults]
    assert answer.objects == ()


def test_modelmesh_is_refused() -> None:
    """It asks for pods that are shared."""
    item = isvc()
    item["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "ModelMesh"}
    assert faults(item) == [("metadata.annotations[serving.kserve.io/deploymentMode]", True)]


@pytest.mark.parametrize("mode", ["Serverless", "RawDeployment", "Knative", "Standard"])
def test_any_other_deployment_mode_is_this_one(mode: str) -> None:
    """All of them are pods behind a route."""
    item = isvc()
    item["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": mode}
    assert faults(item) == []


def test_two_predictors_are_refused() -> None:
    """Nobody can tell which is meant."""
    assert faults(isvc(sklearn={"storageUri": "gs://b/m"})) == [("spec.predictor", True)]


def test_no_predictor_is_refused() -> None:
    """There is nothing to run."""
    item = isvc()
    item["spec"] = {}
    assert faults(item) == [("spec.predictor", True)]


@pytest.mark.parametrize("key", ["storageUri", "runtime", "runtimeVersion", "protocolVersion"])
def test_a_number_where_a_models_text_belongs_is_refused(key: str) -> None:
    """As YAML has it of `runtimeVersion: 2.6`: left out in silence it would be another image."""
    assert (f"spec.predictor.model.{key}", True) in faults(model(**{key: 2.6}))


@pytest.mark.parametrize("key", ["labels", "annotations"])
@pytest.mark.parametrize("value", [{"a": 1}, ["a"], {"a": None}])
def test_labels_that_are_no_texts_are_refused(key: str, value: Any) -> None:
    """None is left out in silence."""
    assert (f"spec.predictor.{key}", True) in faults(isvc(**{key: value}))


@pytest.mark.parametrize("containers", [[{}], "x", [1], [{"image": "a"}, {"image": "b"}]])
def test_containers_that_are_none_are_refused(containers: Any) -> None:
    """An image and a name for each; the first may go without a name."""
    item = isvc()
    item["spec"]["predictor"]["containers"] = containers
    assert any(refused for _, refused in faults(item))


def test_what_is_not_known_is_told_and_the_rest_goes_on() -> None:
    """On the status and as an Event, never silently."""
    answer = asked(isvc(minReplica=2, storageContainerName="mine"))
    told = condition(answer.status, "SpecSupported")
    assert (told["status"], told["severity"]) == ("False", "Info")
    assert "spec.predictor.minReplica: is not known" in told["message"]
    assert "storageContainerName" in told["message"]
    assert answer.document is not None
    assert ("Warning", "NotLookedAt", told["message"]) in answer.events


@pytest.mark.parametrize("percent", [-1, 101, "10", True])
def test_a_percentage_that_is_none_is_refused(percent: Any) -> None:
    """Traffic goes nowhere by a slip."""
    assert faults(isvc(canaryTrafficPercent=percent)) == [("spec.predictor.canaryTrafficPercent", True)]


def test_canaries_need_names_and_a_sum_that_can_be() -> None:
    """Each has a Deployment called after it."""
    entry = isvc()["spec"]["predictor"]
    item = isvc()
    item["spec"]["canary"] = [
        {"predictor": entry, "trafficPercent": 60},
        {"predictor": {**entry, "name": "b"}, "trafficPercent": 60},
    ]
    assert faults(item) == [("spec.canary[0].predictor.name", True), ("spec.canary", True)]


@pytest.mark.parametrize("name", ["", "Big", "1st", "a" * 64, "-a"])
def test_a_name_that_objects_cannot_have_is_refused(name: str) -> None:
    """As KServe's own check does."""
    item = isvc()
    item["metadata"]["name"] = name
    assert ("metadata.name", True) in faults(item)
    assert asked(item).objects == ()


def test_triton_and_onnx_speak_v2_unless_told_otherwise() -> None:
    """As KServe has it for the older spelling."""
    for framework, protocol in (("onnx", "v2"), ("triton", "v2"), ("huggingface", "v2"), ("sklearn", None)):
        item = isvc(**{framework: {"storageUri": "gs://b/m"}})
        assert (read(item).predictor.model or {}).get("protocolVersion") == protocol


def test_a_namespace_that_is_none_is_refused() -> None:
    """Nothing could be made there."""
    item = isvc()
    item["metadata"]["namespace"] = "No.Name"
    assert faults(item) == [("metadata.namespace", True)]


def test_an_annotation_of_kserve_that_means_nothing_here_is_told() -> None:
    """It changes nothing that is served."""
    item = isvc()
    item["metadata"]["annotations"] = {"serving.kserve.io/enable-tag-routing": "true"}
    assert faults(item) == [("metadata.annotations[serving.kserve.io/enable-tag-routing]", False)]


def test_a_predictors_name_is_part_of_its_objects_names() -> None:
    """So it must be one."""
    assert faults(isvc(name="Next")) == [("spec.predictor.name", True)]
    assert faults(isvc(name="next")) == []


def test_the_newer_spelling_of_triton_speaks_v2_too() -> None:
    """As KServe has it."""
    item = model(modelFormat={"name": "triton"})
    assert (read(item).predictor.model or {})["protocolVersion"] == "v2"


@pytest.mark.parametrize(
    "uris",
    [
        [{"uri": "gs://b/m", "mountPath": "mnt"}],
        [{"uri": "gs://b/m"}, {"uri": "gs://b/n"}],
    ],
    ids=["no path", "one folder twice"],
)
def test_models_that_have_no_place_are_refused(uris: Any) -> None:
    """Each needs a folder of its own."""
    item = isvc(storageUris=uris)
    assert faults(item) == [("spec.predictor.containers.storageUri", True)]


def test_one_uri_beside_several_is_refused() -> None:
    """Nobody can tell which is meant."""
    item = model()
    item["spec"]["predictor"]["storageUris"] = [{"uri": "gs://b/n"}]
    assert ("spec.predictor.model.storageUri", True) in faults(item)


def test_a_spec_of_the_first_version_is_told_what_to_write() -> None:
    """`default` was what `predictor` is."""
    item = isvc()
    item["spec"] = {"default": item["spec"]}
    (said,) = [fault.text for fault in asked(item).faults if fault.path == "spec.default"]
    assert "v1alpha2" in said
