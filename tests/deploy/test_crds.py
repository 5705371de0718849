"""The definitions of InferenceService are those that the generator makes, and as strict as people know them from KServe."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from deploy.crds import make
from tests.deploy.manifests import DEPLOY
from tests.kube.errors import ApiError
from tests.kube.kinds import Resource, custom_resources
from tests.kube.structural import shape

Object = dict[str, Any]
FIRST: Object = {
    "minReplicas": 2,
    "maxReplicas": 10,
    "containerConcurrency": 2,
    "tensorflow": {
        "storageUri": "gs://bucket/flowers",
        "resources": {"requests": {"cpu": 1, "memory": "2Gi"}, "limits": {"cpu": 2, "memory": "4Gi"}},
    },
}


@cache
def resource(group: str = "serving.kserve.io") -> Resource:
    (found,) = custom_resources(make.definition(group))
    return found


def shaped(spec: Object, status: Object | None = None) -> Object:
    obj: Object = {"metadata": {"name": "iris"}, "spec": spec, **({"status": status} if status else {})}
    shape(resource(), obj)
    return obj


@pytest.mark.parametrize("group", make.GROUPS)
def test_the_files_are_what_the_generator_makes(group: str) -> None:
    """`make crds` writes them."""
    name = f"{group}.yaml"
    assert (DEPLOY / "crds" / name).read_text() == make.files()[name], "run: make crds"


@pytest.mark.parametrize("group", make.GROUPS)
def test_an_inference_service_has_a_status_of_its_own(group: str) -> None:
    """A plain write leaves it alone."""
    assert resource(group).subresources == ("status",)


@pytest.mark.parametrize("group", make.GROUPS)
def test_no_default_is_empty(group: str) -> None:
    """Kubernetes 1.20 takes an empty text for null, and the whole definition for wrong."""
    assert "" not in list(defaults(make.definition(group)))


def defaults(schema: object) -> Iterator[object]:
    if isinstance(schema, dict):
        if "type" in schema and "default" in schema:
            yield schema["default"]
        for part in schema.values():
            yield from defaults(part)


PODS: Object = {
    "containers": [{"name": "kserve-container", "image": "x", "ports": [{"containerPort": 9000}]}],
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
    "deploymentStrategy": {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"},
    },
}
GOOD = {
    "as the documentation began": FIRST,
    "a format of its own": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://a/b"}},
    "a container": PODS,
    "a probe whose port is the server's": {"sklearn": {"readinessProbe": {"httpGet": {"path": "/"}}}},
    "a metric of pods": {
        "autoScaling": {
            "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}}
            ]
        }
    },
}


@pytest.mark.parametrize("predictor", GOOD.values(), ids=GOOD)
def test_what_people_write_is_kept_whole(predictor: Object) -> None:
    """But for defaults, that are added."""
    kept = shaped({"predictor": predictor})["spec"]["predictor"]
    for port in (port for one in kept.get("containers", ()) for port in one.get("ports", ())):
        assert port.pop("protocol") == "TCP"
    assert kept == predictor


def test_unknown_fields_are_pruned() -> None:
    """At any depth."""
    spec = {"predictor": {"minReplica": 1, "tensorflow": {"storageUrl": "x", "resources": {"limit": {}}}}}
    assert shaped(spec)["spec"] == {"predictor": {"tensorflow": {"resources": {}}}}


BAD = {
    "no predictor": ({}, "spec.predictor: Required value"),
    "a number as text": ({"predictor": {"minReplicas": "2"}}, "minReplicas in body must be of type integer"),
    "another metric": ({"predictor": {"scaleMetric": "qps"}}, "supported values"),
    "no quantity": ({"predictor": {"sklearn": {"resources": {"limits": {"cpu": "two"}}}}}, "should match"),
    "a container without a name": ({"predictor": {"containers": [{"image": "x"}]}}, "name: Required value"),
    "percent": (
        {"predictor": {}, "canary": [{"predictor": {}, "trafficPercent": 101}]},
        "less than or equal",
    ),
    "a canary without": ({"predictor": {}, "canary": [{"trafficPercent": 1}]}, "predictor: Required value"),
}


@pytest.mark.parametrize(("spec", "said"), BAD.values(), ids=BAD)
def test_a_mistake_is_refused(spec: Object, said: str) -> None:
    """With its place."""
    with pytest.raises(ApiError, match=said):
        shaped(spec)


def test_what_another_version_wrote_into_the_status_stays() -> None:
    """The status is open."""
    status = {"url": "http://x", "somethingNew": {"a": 1}}
    assert shaped({"predictor": {}}, status)["status"] == status
