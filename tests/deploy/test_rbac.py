"""What Tidegate's identity may do, as a table: nothing is granted that is not in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.kustomize import Object, build
from tests.deploy.manifests import DEPLOY, OVERLAYS, ROOT, name

Grant = tuple[str, str, str, str]
"""Verb, resource with its API group, namespace (`*`: any), name (`*`: any)."""

OWN = {
    ("create", "leases.coordination.k8s.io", "tidegate", "*"),
    ("get", "leases.coordination.k8s.io", "tidegate", "tidegate-autoscaler"),
    ("update", "leases.coordination.k8s.io", "tidegate", "tidegate-autoscaler"),
    ("list", "endpointslices.discovery.k8s.io", "tidegate", "*"),
    ("watch", "endpointslices.discovery.k8s.io", "tidegate", "*"),
}
"""In the installation's namespace."""

TARGETS = {
    ("list", "pods"),
    ("watch", "pods"),
    ("patch", "pods"),
    ("get", "deployments.apps"),
    ("list", "deployments.apps"),
    ("watch", "deployments.apps"),
    ("patch", "deployments.apps/scale"),
    ("get", "statefulsets.apps"),
    ("list", "statefulsets.apps"),
    ("watch", "statefulsets.apps"),
    ("patch", "statefulsets.apps/scale"),
    ("list", "endpointslices.discovery.k8s.io"),
    ("watch", "endpointslices.discovery.k8s.io"),
    ("create", "events"),
    ("list", "events"),
}
"""Where models run."""


RESOURCE_METRICS = ("list", "pods.metrics.k8s.io")
"""There, too, with the component `resource-metrics` and no other."""


_ALL = ("list", "watch", "create", "update", "delete")
SERVED = {
    *(
        (verb, f"inferenceservices{of}")
        for verb in ("list", "watch")
        for of in (".serving.kserve.io", ".serving.kubeflow.org")
    ),
    ("update", "inferenceservices.serving.kserve.io/status"),
    ("update", "inferenceservices.serving.kubeflow.org/status"),
    ("update", "inferenceservices.serving.kserve.io/finalizers"),
    ("update", "inferenceservices.serving.kubeflow.org/finalizers"),
    ("list", "servingruntimes.serving.kserve.io"),
    ("watch", "servingruntimes.serving.kserve.io"),
    *((verb, "deployments.apps") for verb in ("create", "update", "delete")),
    ("get", "serviceaccounts"),
    ("get", "secrets"),
    *((verb, resource) for verb in _ALL for resource in ("services", "horizontalpodautoscalers.autoscaling")),
}
"""There, too, with the component `inference-services` and no other."""
DOCUMENTS = {(verb, "configmaps", "tidegate", "*") for verb in _ALL}
"""Of the same, in the installation's namespace."""
RUNTIMES = {(verb, "clusterservingruntimes.serving.kserve.io", "*", "*") for verb in ("list", "watch")}
"""Of the same, in none."""


def with_inference_services(namespace: str) -> set[Grant]:
    return {(verb, resource, namespace, "*") for verb, resource in SERVED} | DOCUMENTS | RUNTIMES


def targets(namespace: str) -> set[Grant]:
    return {(verb, resource, namespace, "*") for verb, resource in TARGETS}


def grants(objects: list[Object]) -> set[Grant]:
    """Everything that the bindings give."""
    roles = {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in objects}
    found: set[Grant] = set()
    for binding in objects:
        if binding["kind"] in {"RoleBinding", "ClusterRoleBinding"}:
            assert [subject["name"] for subject in binding["subjects"]] == ["tidegate"]
            space, ref = binding["metadata"].get("namespace", ""), binding["roleRef"]
            role = roles[ref["kind"], space if ref["kind"] == "Role" else "", ref["name"]]
            found |= set(rules(role, space or "*"))
    return found


def rules(role: Object, namespace: str) -> Iterator[Grant]:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                kind, _, sub = resource.partition("/")
                full = (f"{kind}.{group}" if group else kind) + (f"/{sub}" if sub else "")
                for verb in rule["verbs"]:
                    yield from ((verb, full, namespace, n) for n in rule.get("resourceNames", ["*"]))


@pytest.mark.parametrize("folder", OVERLAYS, ids=name)
def test_an_overlay_grants_the_table_and_nothing_else(folder: Path) -> None:
    """Where models run: one namespace, or all for `cluster-wide`."""
    where = "*" if folder.name == "cluster-wide" else "models"
    more = {(*RESOURCE_METRICS, "models", "*")} if folder.name == "resource-metrics" else set()
    if folder.name == "inference-services":
        more = with_inference_services("models")
    assert grants(build(folder)) == OWN | targets(where) | more


def test_the_base_alone_grants_nothing_on_models() -> None:
    """Which namespaces, a component says."""
    assert grants(build(DEPLOY / "base")) == OWN


def test_nothing_is_granted_by_a_wildcard() -> None:
    """Neither verbs nor resources nor groups, in any file."""
    for folder in (DEPLOY / "base", DEPLOY / "examples/custom-resource"):
        for role in (o for o in build(folder) if o["kind"] in {"Role", "ClusterRole"}):
            words = {word for rule in role["rules"] for values in rule.values() for word in values}
            assert not any("*" in word for word in words)


def test_a_custom_resource_needs_its_object_and_its_scale() -> None:
    """What the example adds to the table."""
    objects = build(DEPLOY / "examples/custom-resource")
    assert grants(objects) == {
        *((verb, "rollouts.argoproj.io", "models", "*") for verb in ("list", "watch")),
        *((verb, "rollouts.argoproj.io/scale", "models", "*") for verb in ("get", "patch")),
    }


def test_the_page_tells_the_same_table() -> None:
    """`docs/kubernetes.md`, under Rights: verbs, resource, where."""
    lines = (ROOT / "docs/kubernetes.md").read_text().partition("## Rights")[2].splitlines()
    cells = [
        [cell.strip().replace("`", "") for cell in line.split("|")[1:-1]]
        for line in lines
        if line.startswith("| ")
    ]
    told = {
        (verb.strip(), resource.strip(), where)
        for resources, verbs, where, *_ in cells[1:]
        for resource in resources.split(",")
        for verb in verbs.split(",")
    }
    own = {(verb, resource, "tidegate") for verb, resource, _, _ in OWN}
    own |= {(verb, resource, "tidegate") for verb, resource, *_ in DOCUMENTS}
    own |= {(verb, resource, "none") for verb, resource, *_ in RUNTIMES}
    there = {*TARGETS, RESOURCE_METRICS, *SERVED}
    assert told == own | {(verb, resource, "models") for verb, resource in there}
