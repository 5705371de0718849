"""What is read of the objects that are scaled."""

from typing import Any

import pytest

from gateway.kube.objects import Controller, Selector
from gateway.kube.workloads import workload_of, workload_of_scale

PATH = "/apis/apps/v1/namespaces/models/deployments/iris"


def item(spec: dict[str, Any] | None = None, *conditions: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": "iris", "namespace": "models", "uid": "u", "resourceVersion": "7"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "iris"}}, **(spec or {})},
        "status": {"conditions": list(conditions)},
    }


def test_a_deployment_tells_all_that_its_scale_tells() -> None:
    """Count, selector, version."""
    workload = workload_of(item(), "apps/v1", "Deployment", PATH)
    assert (workload.replicas, workload.resource_version, workload.ordered) == (3, "7", False)
    assert workload.selector.matches({"app": "iris"})
    assert str(workload) == "deployment models/iris"


@pytest.mark.parametrize(("spec", "count"), [({}, 3), ({"replicas": None}, 1), ({"replicas": 0}, 0)])
def test_a_count_that_is_left_out_is_the_apis_own(spec: dict[str, Any], count: int) -> None:
    """One; of a scale none."""
    assert workload_of(item(spec), "apps/v1", "Deployment", PATH).replicas == count
    scale = {"metadata": {}, "spec": {"replicas": None}}
    assert workload_of_scale(item(), scale, "x.io/v1", "LlamaSet", PATH).replicas == 0


def test_a_statefulset_is_ordered_from_where_it_starts() -> None:
    """It loses its highest ordinal."""
    workload = workload_of(item({"ordinals": {"start": 5}}), "apps/v1", "StatefulSet", PATH)
    assert (workload.ordered, workload.first_ordinal) == (True, 5)


def test_a_quota_is_told() -> None:
    """Only while it holds; the reason when there is no message."""
    failing = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "exceeded quota",
    }
    assert workload_of(item({}, failing), "apps/v1", "Deployment", PATH).failure == "exceeded quota"
    bare = {**failing, "message": ""}
    assert workload_of(item({}, bare), "apps/v1", "Deployment", PATH).failure == "FailedCreate"
    over = {**failing, "status": "False"}
    assert workload_of(item({}, over), "apps/v1", "Deployment", PATH).failure is None


def test_any_other_object_is_read_through_its_scale() -> None:
    """Whose version is the object's."""
    scale = {
        "metadata": {"resourceVersion": "9"},
        "spec": {"replicas": 2},
        "status": {"selector": "app=llama,tier in (a,b)"},
    }
    workload = workload_of_scale(
        item(), scale, "x.io/v1", "LlamaSet", "/apis/x.io/v1/namespaces/models/llamasets/iris"
    )
    assert (workload.replicas, workload.resource_version) == (2, "9")
    assert workload.selector.matches({"app": "llama", "tier": "b"})


def test_a_scale_that_says_nothing_chooses_nothing() -> None:
    """Not every pod of the namespace."""
    workload = workload_of_scale(item(), {}, "x.io/v1", "LlamaSet", "p")
    assert (workload.replicas, workload.resource_version, workload.selector) == (0, "7", Selector())


def owned(manager: str, field: str, time: str) -> dict[str, object]:
    return {"manager": manager, "time": time, "fieldsV1": {"f:spec": {f"f:{field}": {}}}}


def test_who_has_set_the_count_is_told() -> None:
    """Whoever did so last; those who own other fields have not."""
    meta = {
        "managedFields": [
            owned("kubectl-client-side-apply", "replicas", "2030-01-01T00:00:00Z"),
            owned("keda", "replicas", "2030-01-01T00:00:05Z"),
            owned("kube-controller-manager", "template", "2030-01-01T00:00:09Z"),
            {"manager": "empty"},
        ]
    }
    found = item({})
    found["metadata"] = {**found["metadata"], **meta}
    assert workload_of(found, "apps/v1", "Deployment", PATH).setter == "keda"
    assert workload_of(item({}), "apps/v1", "Deployment", PATH).setter == ""


SET = Controller("ReplicaSet", "iris-5d4f", "rs")


@pytest.mark.parametrize(
    ("kind", "controller", "own"),
    [
        ("Deployment", SET, True),
        ("Deployment", Controller("ReplicaSet", "iris-canary-5d4f", "rs"), False),
        ("Deployment", Controller("Job", "iris-5d4f", "j"), False),
        ("Deployment", None, True),
        ("StatefulSet", Controller("StatefulSet", "iris", "u"), True),
        ("StatefulSet", Controller("StatefulSet", "iris", "another"), False),
        ("StatefulSet", SET, False),
        ("ReplicaSet", Controller("ReplicaSet", "iris", "u"), True),
        ("LlamaSet", Controller("Job", "x", "j"), True),
    ],
)
def test_what_another_controls_is_not_its_own(kind: str, controller: Controller | None, own: bool) -> None:
    """Whatever the labels say. Of kinds that nobody knows the chain of owners is not known either."""
    version = "x.io/v1" if kind == "LlamaSet" else "apps/v1"
    assert workload_of(item(), version, kind, PATH).owns(controller) is own
