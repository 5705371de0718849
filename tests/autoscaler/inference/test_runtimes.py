"""runtimes: which model server serves a format, by KServe's rules."""

from typing import Any

import pytest

from autoscaler.inference.runtimes import Model, NoRuntime, Runtime, runtimes_of, shipped


def runtime(name: str, *formats: dict[str, Any], namespace: str = "", **spec: Any) -> dict[str, Any]:
    """One of the cluster, or of a namespace."""
    about = {"name": name, **({"namespace": namespace} if namespace else {})}
    kind = "ServingRuntime" if namespace else "ClusterServingRuntime"
    container = {"name": "kserve-container", "image": f"{name}:1"}
    return {
        "kind": kind,
        "metadata": {**about, "creationTimestamp": spec.pop("created", "2026-01-01T00:00:00Z")},
        "spec": {"supportedModelFormats": list(formats), "containers": [container], **spec},
    }


def auto(name: str, **entry: Any) -> dict[str, Any]:
    return {"name": name, "autoSelect": True, **entry}


def chosen(
    *items: dict[str, Any], protocol: str = "", named: str = "", version: str = "", form: str = "sklearn"
) -> str:
    found = runtimes_of(items).choose(Model(form, version, protocol, named), "models")
    return found.name if isinstance(found, Runtime) else found.reason


@pytest.mark.parametrize(
    ("form", "protocol", "name"),
    [
        ("tensorflow", "", "kserve-tensorflow-serving"),
        ("pytorch", "", "kserve-torchserve"),
        ("sklearn", "", "kserve-sklearnserver"),
        ("xgboost", "", "kserve-xgbserver"),
        ("lightgbm", "", "kserve-lgbserver"),
        ("onnx", "v2", "tidegate-onnx"),
        ("triton", "v2", "kserve-tritonserver"),
        ("huggingface", "v2", "kserve-huggingfaceserver"),
        ("tensorflow", "v2", "kserve-tritonserver"),
    ],
)
def test_the_package_serves_a_format(form: str, protocol: str, name: str) -> None:
    """Without any object in the cluster, under the names that people know."""
    assert chosen(form=form, protocol=protocol) == name


def test_those_of_the_package_are_whole() -> None:
    """An image, a port that is ours to ask, formats."""
    for one in shipped():
        (container,) = one.spec["containers"]
        assert container["image"]
        assert container["ports"][0]["containerPort"] == 8080
        assert one.spec["supportedModelFormats"]


def test_a_namespace_goes_before_the_cluster_and_that_before_the_package() -> None:
    """Whatever the priorities."""
    own, everyones = (
        runtime("own", auto("sklearn"), namespace="models"),
        runtime("all", auto("sklearn", priority=9)),
    )
    assert chosen(own, everyones) == "own"
    assert chosen(everyones) == "all"
    assert chosen(runtime("elsewhere", auto("sklearn"), namespace="other")) == "kserve-sklearnserver"


def test_a_higher_priority_goes_first_and_none_goes_last() -> None:
    """Of one kind."""
    items = [
        runtime("a", auto("sklearn")),
        runtime("b", auto("sklearn", priority=1)),
        runtime("c", auto("sklearn", priority=2)),
    ]
    assert chosen(*items) == "c"


def test_of_equals_the_oldest_protocol_the_newest_object_the_first_name() -> None:
    """In this order."""
    first = runtime("b", auto("sklearn"), protocolVersions=["v1", "v2"])
    newer = runtime("c", auto("sklearn"), protocolVersions=["v1"], created="2026-02-01T00:00:00Z")
    unknown = runtime("a", auto("sklearn"), created="2026-03-01T00:00:00Z")
    assert chosen(unknown, first, newer) == "c"
    assert chosen(unknown, first) == "b"
    assert chosen(runtime("e", auto("sklearn")), runtime("d", auto("sklearn"))) == "d"


@pytest.mark.parametrize(
    "spec",
    [{"disabled": True}, {"multiModel": True}, {"workerSpec": {}}, {"protocolVersions": ["v2"]}],
    ids=["disabled", "for many models", "over nodes", "of another protocol"],
)
def test_what_cannot_serve_is_not_chosen(spec: dict[str, Any]) -> None:
    """The next is."""
    assert chosen(runtime("a", auto("sklearn"), **spec)) == "kserve-sklearnserver"


def test_a_version_must_be_there() -> None:
    """As the runtime writes it."""
    assert chosen(runtime("a", auto("sklearn", version="7")), version="7") == "a"
    assert chosen(version="7") == "NoSupportingRuntime"


def test_one_that_is_named_need_not_be_for_automatic_choice() -> None:
    """That is what naming is for."""
    assert chosen(runtime("a", {"name": "sklearn"})) == "kserve-sklearnserver"
    assert chosen(runtime("a", {"name": "sklearn"}), named="a") == "a"


def test_one_of_the_cluster_replaces_that_of_the_package() -> None:
    """By its name, whether it is named or not."""
    other = runtime("kserve-sklearnserver", auto("sklearn"))
    found = runtimes_of([other]).choose(Model("sklearn", "", "", "kserve-sklearnserver"), "models")
    assert isinstance(found, Runtime)
    assert not found.shipped
    assert chosen({**other, "spec": {**other["spec"], "disabled": True}}) == "NoSupportingRuntime"


@pytest.mark.parametrize(
    ("item", "protocol", "reason"),
    [
        (None, "", "RuntimeNotRecognized"),
        (runtime("a", auto("sklearn"), disabled=True), "", "RuntimeDisabled"),
        (runtime("a", auto("xgboost")), "", "NoSupportingRuntime"),
        (runtime("a", auto("sklearn"), protocolVersions=["v1"]), "v2", "NoSupportingRuntime"),
    ],
    ids=["not there", "disabled", "another format", "another protocol"],
)
def test_why_one_that_is_named_does_not_do(item: dict[str, Any] | None, protocol: str, reason: str) -> None:
    """With KServe's reasons."""
    assert chosen(*([item] if item else []), named="a", protocol=protocol) == reason


def test_what_there_is_is_told_when_a_name_is_wrong() -> None:
    """A slip is easily seen."""
    found = runtimes_of([]).choose(Model("sklearn", "", "", "kserve-sklearn"), "models")
    assert isinstance(found, NoRuntime)
    assert "kserve-sklearnserver" in found.text
