"""The configurations in the ConfigMaps load, and fit what is installed around them."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, check_role, json_schema, load
from gateway.config.units import parse_duration
from gateway.config.yamltree import compose
from tests.deploy.kustomize import Object, containers, key, pod_spec
from tests.deploy.manifests import DEPLOY, EXAMPLES, OVERLAYS, installed, name
from tests.deploy.strictyaml import documents

folders = pytest.mark.parametrize("folder", [*OVERLAYS, *EXAMPLES], ids=name)


def find(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = (o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name))
    return found


def text(folder: Path) -> str:
    content: str = find(installed(folder), "ConfigMap", "tidegate")["data"]["tidegate.yaml"]
    return content


def plain(folder: Path) -> dict[str, Any]:
    """As it is written, before models."""
    tree, _ = compose(text(folder))
    assert tree is not None
    value: dict[str, Any] = tree.plain()
    return value


def loaded(folder: Path, tmp_path: Path) -> Config:
    path = tmp_path / "tidegate.yaml"
    path.write_text(text(folder))
    return load(path)


@folders
@pytest.mark.skipif(
    "scale_target_ref" not in json.dumps(json_schema()), reason="the configuration does not know clusters yet"
)
def test_it_loads_without_problem_or_warning(folder: Path, tmp_path: Path) -> None:
    """As `tidegate check` would tell, and as each container would."""
    config = loaded(folder, tmp_path)
    assert config.warnings == ()
    for role in ("check", "gateway", "autoscaler"):
        assert check_role(config, role) == []  # type: ignore[arg-type]


@folders
def test_the_autoscaler_finds_the_gateways(folder: Path) -> None:
    """By a headless Service that lists pods that are not ready too, and by its port's name."""
    objects, gateways = installed(folder), plain(folder)["autoscaler"]["gateways"]
    service = find(objects, "Service", gateways["service"])
    assert service["metadata"]["namespace"] == gateways["namespace"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"]
    assert gateways["port"] in {port["name"] for port in service["spec"]["ports"]}


@folders
def test_a_pod_has_time_to_drain(folder: Path) -> None:
    """The grace period outlasts both of drain's; readiness outlasts the delay, in which clients still come."""
    deployment, drain = find(installed(folder), "Deployment", "tidegate"), plain(folder)["drain"]
    delay, timeout = (parse_duration(drain[field]) for field in ("delay", "timeout"))
    assert delay
    assert (pod_spec(deployment) or {})["terminationGracePeriodSeconds"] > delay + timeout
    probe = containers(deployment)[0]["readinessProbe"]
    assert probe["periodSeconds"] * (probe["failureThreshold"] - 1) >= delay


@pytest.mark.parametrize("folder", [f for f in EXAMPLES if f.name != "monitoring"], ids=name)
def test_an_examples_backends_are_its_workloads(folder: Path) -> None:
    """By name, with a port that is the pods' or the Service's."""
    objects = {
        (o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]): o for o in installed(folder)
    }
    for backend in plain(folder)["backends"].values():
        target = backend["target"]
        if "scale_target_ref" in target:
            assert folder.name == "custom-resource"
            continue
        kind = next(kind for kind in ("deployment", "statefulset", "service") if kind in target)
        named = {"deployment": "Deployment", "statefulset": "StatefulSet", "service": "Service"}[kind]
        obj = objects[named, target["namespace"], target[kind]]
        if kind == "service":
            assert target["port"] in {port["name"] for port in obj["spec"]["ports"]}
        else:
            assert target["port"] in {p["containerPort"] for c in containers(obj) for p in c["ports"]}


@pytest.mark.parametrize("folder", [f for f in EXAMPLES if f.name in {"hpa", "keda"}], ids=name)
def test_only_one_scales(folder: Path) -> None:
    """What an HPA or KEDA scales is a Service to Tidegate, with no `scale`."""
    backends = plain(folder)["backends"].values()
    assert all("service" in backend["target"] and "scale" not in backend for backend in backends)


def test_whoever_scales_from_one_on_is_named() -> None:
    """A Deployment that an HPA scales as well is left to it; the HPA's own floor is one, or it would not rest at zero."""
    folder = DEPLOY / "examples/hpa-from-zero"
    hpa = find(installed(folder), "HorizontalPodAutoscaler", "iris-v1")["spec"]
    (backend,) = plain(folder)["backends"].values()
    assert backend["target"]["deployment"] == hpa["scaleTargetRef"]["name"]
    assert (backend["scale"], hpa["minReplicas"]) == ({"by": "hpa"}, 1)


def test_tls_only_adds_its_section() -> None:
    """A patch cannot reach into a file, so the component holds a whole one: the base's and `tls`."""
    base, tls = plain(DEPLOY / "overlays/default"), plain(DEPLOY / "overlays/tls")
    section = tls.pop("tls")
    assert tls == base
    objects = installed(DEPLOY / "overlays/tls")
    gateway = containers(find(objects, "Deployment", "tidegate"))[0]
    folders = {mount["mountPath"] for mount in gateway["volumeMounts"]}
    assert {str(Path(section[field]).parent) for field in ("cert", "key")} <= folders


def test_the_name_has_no_hash() -> None:
    """An edit in place is a reload; a new name would be a roll-out."""
    for folder in OVERLAYS:
        assert ("", "ConfigMap", "tidegate", "tidegate") in map(key, installed(folder))


def test_the_hpas_metrics_are_those_of_the_adapters_rules() -> None:
    """By the names that the rules give them, for backends of the configuration."""
    folder = DEPLOY / "examples/hpa"
    (values,) = documents(folder / "prometheus-adapter-values.yaml")
    offered = {rule["name"]["as"] for rule in values["rules"]["external"]}
    metrics = [
        m["external"]["metric"]
        for m in find(installed(folder), "HorizontalPodAutoscaler", "iris-v1")["spec"]["metrics"]
    ]
    assert {metric["name"] for metric in metrics} == offered
    assert {metric["selector"]["matchLabels"]["backend"] for metric in metrics} == set(
        plain(folder)["backends"]
    )
