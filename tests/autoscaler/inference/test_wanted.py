"""wanted: what InferenceServices become, and that what was made of it changes nothing."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoscaler.inference.shapes import Observed, Settings
from autoscaler.inference.wanted import wanted
from gateway.config.checks import cross_faults, document_faults
from gateway.config.models import Document
from tests.inferences import (
    GOLDEN,
    SETTINGS,
    SHIPPED,
    Cluster,
    asked,
    condition,
    container_of,
    golden,
    isvc,
    kinds,
    model,
)

EXAMPLES = sorted(path for path in GOLDEN.glob("*.yaml") if not path.name.endswith(".out.yaml"))


def passes(document: dict[str, Any] | None) -> Document | None:
    """The gateways' configuration takes it."""
    if document is None or not document["routes"]:
        return None
    found = Document.model_validate(deepcopy(document))
    assert [*document_faults(found), *cross_faults(document)] == []
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_becomes_what_the_golden_file_shows(path: Path) -> None:
    """`tests/golden/inference/make.py` writes those files anew: read what changed."""
    assert golden(path.read_text()) == path.with_suffix(".out.yaml").read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_examples_document_passes_the_configuration(path: Path) -> None:
    """Gateways take it over as any of people's."""
    document = passes(asked(next(yaml.safe_load_all(path.read_text()))).document)
    assert document is not None
    (backend,) = document.backends.values()
    assert backend.scale.max in {5, 10}


def test_there_are_the_examples() -> None:
    """An empty list would make the others pass for nothing."""
    assert {"flowers", "torchserve", "custom", "custom-9000"} <= {path.stem for path in EXAMPLES}


def test_the_framework_and_the_model_spelling_are_one_revision() -> None:
    """Nothing is rolled out for a manifest written anew."""
    old = isvc(sklearn={"storageUri": "gs://b/m"})
    del old["spec"]["predictor"]["containers"]
    (one,), (other,) = kinds(asked(old), "Deployment"), kinds(asked(model()), "Deployment")
    assert one["metadata"]["name"] == other["metadata"]["name"]


@pytest.mark.parametrize(
    "change",
    [
        {"minReplicas": 3},
        {"maxReplicas": 9},
        {"containerConcurrency": 4},
        {"timeout": 9},
        {"canaryTrafficPercent": 5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_no_part_of_a_pod_makes_no_revision(change: dict[str, int]) -> None:
    """Pods go on."""
    (one,), (other,) = kinds(asked(isvc()), "Deployment"), kinds(asked(isvc(**change)), "Deployment")
    assert one["metadata"]["name"] == other["metadata"]["name"]


def test_a_deployment_that_is_there_keeps_its_template_and_its_count() -> None:
    """Neither a newer Tidegate nor what the server filled in rolls pods in place."""
    (made,) = kinds(asked(isvc()), "Deployment")
    made["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    (again,) = kinds(asked(isvc(), made), "Deployment")
    assert again["spec"]["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    assert "replicas" not in again["spec"]
    digests = [item["metadata"]["annotations"]["tidegate.dev/wanted"] for item in (made, again)]
    assert digests[0] == digests[1]


def test_a_long_name_still_names_everything() -> None:
    """Labels, Backends and routes take 63 characters."""
    item = isvc()
    item["metadata"] |= {"name": "a" * 63, "namespace": "n" * 63}
    answer = asked(item)
    assert passes(answer.document) is not None
    for made in answer.objects:
        labels = [*made["metadata"]["labels"].values(), made["metadata"]["name"]]
        assert max(map(len, labels)) <= 63
    assert answer.status["url"] == f"http://{'a' * 63}.{'n' * 63}.svc.cluster.local"


def test_what_is_refused_leaves_everything_as_it_is() -> None:
    """A mistake takes nothing from those who are served."""
    cluster = Cluster(isvc(minReplicas=1))
    cluster.settle()
    before = cluster.last.document
    cluster.change(image="flowers:2", logger={"mode": "all"})
    answer = cluster.settle()
    assert answer.document == before
    assert cluster.weights == {"flowers:1": 100}
    assert condition(answer.status, "Ready")["status"] == "False"
    assert "spec.predictor.logger" in condition(answer.status, "Ready")["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"minReplicas": "3"},
        {"minReplicas": 0, "logger": {}},
        {"maxReplicas": 2},
        {"containerConcurrency": -1},
        {"timeout": "9s"},
        {"scaleMetric": "gpu"},
    ],
    ids=str,
)
@pytest.mark.parametrize("metric", ["rps", "cpu"])
def test_what_is_refused_leaves_the_scaling_as_it_was(change: dict[str, Any], metric: str) -> None:
    """Neither a pod nor a limit goes for a slip of the pen, whichever field it is in."""
    cluster = Cluster(
        isvc(minReplicas=4, maxReplicas=9, containerConcurrency=3, timeout=30, scaleMetric=metric), load=5
    )
    cluster.settle()
    before, objects = cluster.last.document, deepcopy(cluster.objects)
    cluster.change(**change)
    assert cluster.settle().document == before
    assert cluster.objects == objects
    assert cluster.pods == {"flowers:1": 5}
    assert condition(cluster.last.status, "Ready")["reason"] == "InvalidPredictorSpec"
    # And as a whole once it is mended.
    cluster.service["spec"] = isvc(minReplicas=6)["spec"]
    cluster.settle()
    assert cluster.pods == {"flowers:1": 6}


def test_a_refused_spec_leaves_each_canary_its_own_bounds() -> None:
    """They are asked for apart."""
    cluster = Cluster(isvc(minReplicas=1), load=10)
    entry = isvc(image="flowers:2", name="next", minReplicas=3)["spec"]["predictor"]
    cluster.service["spec"]["canary"] = [{"predictor": entry, "trafficPercent": 20}]
    cluster.settle()
    before = cluster.last.document
    entry["minReplicas"] = "x"
    assert cluster.settle().document == before


def test_a_refused_one_that_is_new_has_nothing_but_a_status() -> None:
    """There is nothing to run."""
    answer = asked(isvc(workerSpec={}))
    assert (answer.objects, answer.document) == ((), None)
    assert answer.status["modelStatus"]["transitionStatus"] == "InvalidSpec"
    assert [event[:2] for event in answer.events] == [("Warning", "InvalidPredictorSpec")]


def test_one_that_is_stopped_has_no_pods_and_starts_again() -> None:
    """By KServe's annotation."""
    cluster = Cluster(isvc(minReplicas=2))
    cluster.settle()
    cluster.service["metadata"]["annotations"] = {"serving.kserve.io/stop": "true"}
    answer = cluster.settle()
    assert cluster.pods == {"flowers:1": 0}
    assert condition(answer.status, "Stopped")["status"] == "True"
    assert condition(answer.status, "Ready")["reason"] == "Stopped"
    del cluster.service["metadata"]["annotations"]
    answer = cluster.settle()
    assert cluster.ready == {"flowers:1": 2}
    assert condition(answer.status, "Ready")["status"] == "True"


def test_no_gateway_host_no_service_of_its_own_name() -> None:
    """Nothing would be behind it."""
    answer = wanted(isvc(), SHIPPED, Observed(), Settings(), 1e9)
    assert [item["metadata"]["name"] for item in kinds(answer, "Service")] == ["flowers-predictor"]


def test_the_placeholders_of_a_runtime_are_filled() -> None:
    """The model's name in its server's arguments."""
    assert "--model_name=flowers" in container_of(asked(model()))["args"]


# Laws.

_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=5,
)
_COUNTS = st.integers(0, 12)
_CONTAINER = st.fixed_dictionaries(
    {"image": st.sampled_from(["a:1", "a:2", "b"])},
    optional={
        "ports": st.just([{"containerPort": 9000}]),
        "env": st.just([{"name": "STORAGE_URI", "value": "gs://b/m"}]),
    },
)
_MODEL = st.fixed_dictionaries(
    {"storageUri": st.sampled_from(["gs://b/m", "pvc://c/m", "s3://b/m.mar", "hf://x/y"])},
    optional={
        "runtimeVersion": st.just("2"),
        "args": st.just(["--x"]),
        "resources": st.just({"limits": {"cpu": "3"}}),
    },
)
_STRATEGIES = st.sampled_from(
    [
        {"type": "Recreate"},
        {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "50%"}},
        {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}},
    ]
)
_SCALING = {
    "minReplicas": st.integers(0, 3),
    "maxReplicas": st.sampled_from([0, 3, 8]),
    "containerConcurrency": _COUNTS,
    "scaleTarget": st.integers(1, 200),
    "scaleMetric": st.sampled_from(["concurrency", "rps", "cpu", "memory"]),
    "timeout": _COUNTS,
    "canaryTrafficPercent": st.sampled_from([0, 10, 50, 100]),
    "deploymentStrategy": _STRATEGIES,
    "labels": st.just({"team": "x"}),
}
_KNATIVE = st.dictionaries(
    st.sampled_from(
        [
            "min-scale",
            "maxScale",
            "target",
            "window",
            "metric",
            "initial-scale",
            "activation-scale",
            "class",
            "odd",
        ]
    ).map(lambda key: f"autoscaling.knative.dev/{key}"),
    st.sampled_from(["0", "1", "3", "70", "60s", "rps", "cpu", "x", "-1", ""]),
    max_size=3,
)


@st.composite
def services(draw: st.DrawFn) -> dict[str, Any]:
    """InferenceServices that people might write, some of them wrong."""
    predictor = draw(st.fixed_dictionaries({}, optional=_SCALING))
    kind = draw(st.sampled_from(["containers", "sklearn", "tensorflow", "onnx", "pytorch"]))
    predictor[kind] = [draw(_CONTAINER)] if kind == "containers" else draw(_MODEL)
    item = isvc()
    item["spec"]["predictor"] = predictor
    item["metadata"]["annotations"] = draw(_KNATIVE)
    if draw(st.integers(0, 5)) == 0:
        item["spec"]["canary"] = [
            {"trafficPercent": 20, "predictor": {**predictor, "name": "next", "labels": {"a": "b"}}}
        ]
    return item


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(services(), services(), st.integers(0, 5))
def test_observing_what_it_made_changes_nothing(first: Any, second: Any, load: int) -> None:
    """For any InferenceService, and for any that it becomes; the document passes at every step."""
    cluster = Cluster(first, load=load)
    for spec in (first["spec"], second["spec"]):
        cluster.service["spec"] = deepcopy(spec)
        for _ in range(80):
            before = deepcopy((cluster.objects, cluster.service.get("status")))
            answer = cluster.turn()
            passes(answer.document)
            if before == (cluster.objects, cluster.service["status"]) and not answer.events:
                break
        else:
            raise AssertionError(f"nothing settles: {cluster.weights} {cluster.pods}")
        again = cluster._asked()
        assert again.events == ()
        assert (again.document, again.status) == (answer.document, answer.status)
        kept = {key: {**item, "spec": None, "status": None} for key, item in cluster.objects.items()}
        for item in again.objects:
            key = item["kind"], item["metadata"]["name"]
            assert item["metadata"].items() <= kept[key]["metadata"].items()


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["metadata", "spec", "status", "apiVersion"]), _JUNK),
    st.lists(_JUNK, max_size=3),
)
def test_nothing_that_a_loose_schema_lets_through_makes_it_raise(item: Any, objects: Any) -> None:
    """Whatever the object and what is there hold."""
    observed = Observed([o for o in objects if isinstance(o, dict)])
    passes(wanted(item, SHIPPED, observed, SETTINGS, 1e9).document)


_KEYS = st.sampled_from(
    [
        "containers",
        "model",
        "sklearn",
        "name",
        "labels",
        "annotations",
        "minReplicas",
        "maxReplicas",
        "scaleTarget",
        "scaleMetric",
        "autoScaling",
        "containerConcurrency",
        "timeout",
        "canaryTrafficPercent",
        "deploymentStrategy",
        "storageUris",
        "volumes",
        "initContainers",
        "workerSpec",
        "batcher",
        "affinity",
        "modelFormat",
        "storageUri",
        "runtime",
        "ports",
        "env",
        "args",
        "image",
        "resources",
        "type",
        "rollingUpdate",
        "maxSurge",
        "metrics",
        "resource",
        "target",
        "predictor",
        "trafficPercent",
        "containerPort",
        "value",
    ]
)
_NEAR = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 3)
    | st.sampled_from(["a", "cpu", "gs://a/b", "sklearn", "25%", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_KEYS, _NEAR, max_size=6), _NEAR, st.dictionaries(_KEYS, _NEAR, max_size=3))
def test_nothing_near_an_inference_service_makes_it_raise(predictor: Any, canary: Any, rest: Any) -> None:
    """Right keys, wrong values: it is made anyway, or refused."""
    item = isvc(**predictor)
    item["spec"] |= {"canary": canary, **rest}
    answer = asked(item)
    passes(answer.document)
    made = kinds(answer, "Deployment")
    passes(asked({**item, "status": answer.status}, *made).document)


@settings(max_examples=100, deadline=None)
@given(services(), _JUNK, _JUNK)
def test_whatever_a_deployment_has_become_it_does_not_raise(item: Any, spec: Any, status: Any) -> None:
    """People edit what is there, too."""
    for made in asked(item).objects:
        about = {**made["metadata"], "annotations": {"tidegate.dev/budget": "x"}}
        passes(asked(item, {**made, "metadata": about, "spec": spec, "status": status}).document)


def test_the_documentation_shows_the_golden_example_as_it_is() -> None:
    """What it becomes, too, but for what needs no words."""
    page = (GOLDEN.parents[2] / "docs" / "inference-services.md").read_text()
    deployment, *_, document, _ = (GOLDEN / "flowers.out.yaml").read_text().split("---\n")
    for text in ((GOLDEN / "flowers.yaml").read_text(), deployment, document):
        assert "".join(f"    {line}\n" for line in text.splitlines()) in page
