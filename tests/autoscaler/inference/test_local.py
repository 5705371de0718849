"""InferenceServices as processes of this machine."""

from typing import Any

import pytest

from autoscaler.inference.local import local_document, local_faults
from autoscaler.inference.offline import rendered
from tests.inferences import SETTINGS, SHIPPED, isvc, model


def own(**container: Any) -> dict[str, Any]:
    """One with a command on port 9000."""
    ports = [{"containerPort": 9000}]
    given = {"image": "flowers:1", "command": ["serve", "--port=9000"], "ports": ports, **container}
    return isvc(containers=[{key: value for key, value in given.items() if value is not None}])


def backend(item: dict[str, Any]) -> dict[str, Any]:
    assert local_faults(item) == []
    (found,) = local_document(rendered(item, SHIPPED, SETTINGS, 1e9))["backends"].values()
    result: dict[str, Any] = found
    return result


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("9000", "{port}"),
        ("--port=9000", "--port={port}"),
        ("0.0.0.0:9000", "0.0.0.0:{port}"),
        ("19000", "19000"),
        ("9000.5", "9000.5"),
        ("v9000", "v9000"),
    ],
)
def test_the_port_of_the_container_is_each_process_own(word: str, becomes: str) -> None:
    """Wherever it stands as a number; longer numbers and names stay."""
    target = backend(own(args=[word]))["target"]
    assert target == {"command": ["serve", "--port={port}", becomes]}


def test_variables_are_put_in_as_the_kubelet_does() -> None:
    """`$(NAME)` of those above, `$$` for a dollar; what is not known stays."""
    env = [{"name": "PORT", "value": "9000"}, {"name": "AT", "value": "host:$(PORT)"}]
    target = backend(own(command=["serve"], args=["$(AT)", "$$(AT)", "$(NO)"], env=env))["target"]
    assert target["command"] == ["serve", "host:{port}", "$(AT)", "$(NO)"]
    assert target["env"] == {"PORT": "{port}", "AT": "host:{port}"}


def test_a_probe_over_http_says_when_it_is_ready() -> None:
    """Any other is the usual one: the port accepts connections."""
    probe = {"httpGet": {"path": "/ready", "port": 9000}}
    assert backend(own(readinessProbe=probe))["target"]["ready"] == "/ready"
    assert "ready" not in backend(own())["target"]


def test_limits_and_scaling_stay() -> None:
    """As in a cluster; no HorizontalPodAutoscaler counts processes."""
    item = own()
    item["spec"]["predictor"] |= {"containerConcurrency": 2, "maxReplicas": 3, "scaleMetric": "cpu"}
    found = backend(item)
    assert found["concurrency"] == 2
    assert found["scale"]["max"] == 3
    assert "by" not in found["scale"]


@pytest.mark.parametrize(
    ("item", "path"),
    [
        (model(), "spec.predictor.model"),
        (own(command=None), "spec.predictor.containers[0]"),
        (own(command=["serve"]), "spec.predictor.containers[0]"),
        (own(workingDir="/srv"), "spec.predictor.containers[0].workingDir"),
        (own(volumeMounts=[{"name": "x"}]), "spec.predictor.containers[0].volumeMounts"),
        (own(envFrom=[{"secretRef": {}}]), "spec.predictor.containers[0].envFrom"),
        (own(env=[{"name": "X", "valueFrom": {}}]), "spec.predictor.containers[0].env[0].valueFrom"),
        (own(env=[{"name": "STORAGE_URI", "value": "gs://x/y"}]), "spec.predictor.containers[0].env[0]"),
        (isvc(initContainers=[{"name": "x", "image": "x"}]), "spec.predictor.initContainers"),
    ],
)
def test_what_takes_an_image_or_a_cluster_is_refused(item: dict[str, Any], path: str) -> None:
    """Each with its place."""
    faults = local_faults(item)
    assert path in [fault.path for fault in faults]
    assert all(fault.refused for fault in faults)
