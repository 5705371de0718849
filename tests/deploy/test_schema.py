"""Every manifest is one that an API server takes; and the check that says so finds mistakes."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.kustomize import Object, build
from tests.deploy.manifests import EXAMPLES, FILES, KUSTOMIZATIONS, NOT_MANIFESTS, OVERLAYS, name
from tests.deploy.schema import faults
from tests.deploy.strictyaml import documents


def test_there_is_what_an_installation_needs() -> None:
    """An empty list would make the others pass for nothing."""
    kinds = {obj["kind"] for folder in KUSTOMIZATIONS for obj in build(folder)}
    assert {"Deployment", "NetworkPolicy", "PodDisruptionBudget", "ServiceMonitor", "PrometheusRule"} <= kinds
    names = {"default", "namespaced", "cluster-wide", "load-balancer", "tls", "service-monitor", "production"}
    names |= {"resource-metrics", "inference-services"}
    assert {folder.name for folder in OVERLAYS} == names
    assert {"first-model", "canary", "statefulset", "hpa"} <= {folder.name for folder in EXAMPLES}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_is_used(path: Path) -> None:
    """A manifest that no kustomization names would reach no cluster; a patch counts."""
    if path not in NOT_MANIFESTS:
        (spec,) = documents(path.parent / "kustomization.yaml")
        assert path.name in [
            *spec.get("resources", ()),
            *(patch.get("path") for patch in spec.get("patches", ())),
        ]


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=name)
def test_what_is_built_is_valid(folder: Path) -> None:
    """Strictly: no unknown field, no wrong type, nothing missing."""
    objects = build(folder)
    assert objects
    assert [
        f"{obj['kind']} {obj['metadata']['name']} {fault}" for obj in objects for fault in faults(obj)
    ] == []


def deployment() -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "iris", "namespace": "models"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "iris"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"app": "iris"}},
                "spec": {"containers": [{"name": "model", "resources": {"limits": {"memory": "1Gi"}}}]},
            },
        },
    }


MISTAKES: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "unknown field": (("spec", "replica"), 1, "spec.replica: is unknown"),
    "wrong type": (("spec", "replicas"), "1", "spec.replicas: must be int, is '1'"),
    "a bool is no number": (("spec", "replicas"), True, "spec.replicas: must be int, is True"),
    "missing": (("spec", "selector"), ..., "spec.selector: is required"),
    "enum": (
        ("spec", "strategy", "type"),
        "Rolling",
        "spec.strategy.type: 'Rolling' is none of Recreate, RollingUpdate",
    ),
    "number or name": (
        ("spec", "strategy", "rollingUpdate", "maxSurge"),
        0.5,
        "spec.strategy.rollingUpdate.maxSurge: must be a number or a name",
    ),
    "not a list": (
        ("spec", "template", "spec", "containers"),
        {},
        "spec.template.spec.containers: must be a list",
    ),
    "not a mapping": (("spec", "template", "spec"), [], "spec.template.spec: must be a mapping"),
    "quantity": (
        ("spec", "template", "spec", "containers", 0, "resources", "limits", "memory"),
        "1 GB",
        "spec.template.spec.containers[0].resources.limits.memory: '1 GB' is no quantity",
    ),
    "label": (
        ("spec", "selector", "matchLabels", "app"),
        "a b",
        "spec.selector.matchLabels.app: 'a b' is no label's value",
    ),
    "name": (("metadata", "name"), "Iris_1", "metadata.name: 'Iris_1' is no name"),
    "kind": (("apiVersion",), "apps/v1beta1", "apps/v1beta1 Deployment is no kind that is known here"),
}


@pytest.mark.parametrize(("path", "value", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_found(path: tuple[str | int, ...], value: object, said: str) -> None:
    """Each alone, in an otherwise valid Deployment."""
    obj: Any = deployment()
    assert faults(obj) == []
    inner: Any = obj
    for step in path[:-1]:
        inner = inner[step]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    assert faults(obj) == [said]


def test_a_mistake_in_a_kind_of_others_is_found() -> None:
    """By the short schemas of our own."""
    monitor: Any = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {"name": "x"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "endpoints": [{"port": "admin"}]},
    }
    assert faults(monitor) == []
    wrong = deepcopy(monitor)
    wrong["spec"]["endpoints"] = [{"port": 8081, "paht": "/"}]
    del wrong["spec"]["selector"]
    assert faults(wrong) == [
        "spec.selector: is required",
        "spec.endpoints[0].port: must be str, is 8081",
        "spec.endpoints[0].paht: is unknown",
    ]


def test_a_key_given_twice_is_refused() -> None:
    """PyYAML would let the last one win."""
    with pytest.raises(yaml.constructor.ConstructorError, match="'a' is given twice"):
        documents("{a: 1, a: 2}")
