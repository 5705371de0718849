"""What the API server completes, and what it refuses, as a real one does."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.kube.admission import Admission
from tests.kube.errors import ApiError
from tests.kube.objects import deployment, pod, service
from tests.kube.store import Store


@pytest.fixture
def store() -> Store:
    """A store with admission and the namespaces default and other."""
    made = Store(lambda: 1e9, random.Random(3))  # noqa: S311 (repeatable)
    made.admission.append(Admission())
    for name in ("default", "other"):
        made.create("namespaces", {"metadata": {"name": name}})
    return made


def lease(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "l", "namespace": "default"}, "spec": spec}


def event(namespace: str = "default", about: str = "default", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "e", "namespace": namespace},
        "involvedObject": {"kind": "Pod", "namespace": about},
        **more,
    }


TOLD = {"reportingComponent": "c", "reportingInstance": "i", "action": "a", "reason": "r", "type": "Normal"}


@pytest.mark.parametrize(
    ("what", "obj", "code", "words"),
    [
        (
            "deployments",
            deployment("web", selector={"matchLabels": {"app": "x"}}),
            422,
            "`selector` does not match",
        ),
        ("deployments", deployment("web", -1), 422, "spec.replicas: Invalid value: -1: must be greater"),
        (
            "leases",
            lease(renewTime="2026-01-01T00:00:00Z"),
            400,
            "cannot be handled as a Lease: parsing time",
        ),
        ("leases", lease(leaseDurationSeconds=0), 422, "spec.leaseDurationSeconds: Invalid value: 0"),
        ("events", event("other"), 422, "does not match event.namespace"),
        ("events", event("other", ""), 422, "does not match event.namespace"),
        ("events", event(eventTime="2026-01-01T00:00:00.000000Z"), 422, "reportingComponent: Required value"),
        ("pods", pod("a", namespace="none"), 404, 'namespaces "none" not found'),
        ("pods", pod("a", serviceAccountName="none"), 403, 'serviceaccount "none" not found'),
    ],
)
def test_what_is_refused(store: Store, what: str, obj: dict[str, Any], code: int, words: str) -> None:
    """With the code and the words of a real server."""
    with pytest.raises(ApiError) as refused:
        store.create(what, obj)
    assert (refused.value.code, words in refused.value.message) == (code, True), refused.value.message


@pytest.mark.parametrize(
    ("what", "obj"),
    [
        ("leases", lease(renewTime="2026-01-01T00:00:00.000000+00:00", leaseDurationSeconds=1)),
        ("events", event(firstTimestamp="2026-01-01T00:00:00Z")),
        ("events", event(about="")),
        ("events", event(eventTime="2026-01-01T00:00:00.000000Z", **TOLD)),
    ],
)
def test_what_is_taken(store: Store, what: str, obj: dict[str, Any]) -> None:
    """Near to what is refused."""
    assert store.create(what, obj).rv == store.rv


def test_a_pods_spec_stays(store: Store) -> None:
    """But for its images; its metadata may change."""
    store.create("pods", pod("a"))
    store.change("pods", "default", "a", lambda obj: obj["metadata"].update(annotations={"a": "b"}))
    store.change("pods", "default", "a", lambda obj: obj["spec"]["containers"][0].update(image="model:2"))
    with pytest.raises(ApiError, match="pod updates may not change fields other than"):
        store.change("pods", "default", "a", lambda obj: obj["spec"].update(hostname="x"))


def test_a_selector_stays(store: Store) -> None:
    """422, as long as the Deployment is there."""
    store.create("deployments", deployment("web"))
    other = {"selector": {"matchLabels": {"app": "x"}}}
    with pytest.raises(ApiError, match="field is immutable"):
        store.change("deployments", "default", "web", lambda obj: obj["spec"].update(other))


def test_what_is_left_out_is_completed(store: Store) -> None:
    """As clients find it in objects that they read back."""
    probed = deployment("web")
    probed["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": 8080}}
    spec = store.create("deployments", probed).obj["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }
    probe = spec["template"]["spec"]["containers"][0]["readinessProbe"]
    assert probe["httpGet"] == {"port": 8080, "path": "/", "scheme": "HTTP"}
    assert (probe["periodSeconds"], probe["timeoutSeconds"], probe["failureThreshold"]) == (10, 1, 3)
    ports = store.create("services", service("web", 8080)).obj["spec"]["ports"]
    assert ports == [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]


def test_a_name_that_is_on_its_way_out_is_taken(store: Store) -> None:
    """The refusal says so."""
    store.create("nodes", {"metadata": {"name": "n"}})
    store.create("pods", pod("a", nodeName="n"))
    store.delete("pods", "default", "a")
    with pytest.raises(ApiError, match='object is being deleted: pods "a" already exists'):
        store.create("pods", pod("a"))
