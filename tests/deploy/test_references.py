"""Names, labels, selectors and ports that refer to each other agree, in every overlay and in every example on top of the usual one."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from tests.deploy.kustomize import Object, build, combine, containers, pod_spec
from tests.deploy.manifests import DEPLOY, EXAMPLES, OVERLAYS, ROOT, installed, name

OTHERS = {("Secret", "tidegate", "tidegate-tls"), ("Rollout", "models", "iris"), ("Namespace", "", "models")}
"""What an installation may refer to and somebody else makes."""

folders = pytest.mark.parametrize("folder", [*OVERLAYS, *EXAMPLES], ids=name)


class Cluster:
    """The objects of one installation, found by what refers to them."""

    def __init__(self, folder: Path) -> None:
        self.objects = installed(folder)
        self._there = {
            (o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in self.objects
        } | OTHERS

    def of(self, *kinds: str) -> list[Object]:
        return [obj for obj in self.objects if obj["kind"] in kinds]

    def has(self, kind: str, namespace: str, name: str) -> bool:
        return (kind, namespace, name) in self._there

    def workloads(self) -> list[Object]:
        return [obj for obj in self.objects if pod_spec(obj) is not None]

    def selected(self, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """The workloads whose pods a selector takes."""
        return [
            obj
            for obj in self.workloads()
            if obj["metadata"]["namespace"] == namespace
            and labels.items() <= obj["spec"]["template"]["metadata"]["labels"].items()
        ]


def ports(workload: Object) -> set[int | str]:
    """Numbers and names."""
    every = [port for container in containers(workload) for port in container.get("ports", ())]
    return {port["containerPort"] for port in every} | {port["name"] for port in every}


@folders
def test_every_namespace_is_there(folder: Path) -> None:
    """Made here, or, for models, by whoever runs them."""
    cluster = Cluster(folder)
    used = {obj["metadata"]["namespace"] for obj in cluster.objects if "namespace" in obj["metadata"]}
    assert [space for space in used if not cluster.has("Namespace", "", space)] == []


@folders
def test_a_workload_selects_its_own_pods(folder: Path) -> None:
    """And no other's in its namespace."""
    cluster = Cluster(folder)
    assert cluster.workloads()
    for obj in cluster.workloads():
        labels = obj["spec"]["selector"]["matchLabels"]
        assert cluster.selected(obj["metadata"]["namespace"], labels) == [obj]


@folders
def test_services_lead_to_ports_of_pods(folder: Path) -> None:
    """By labels in their namespace, and by the port's name or number."""
    cluster = Cluster(folder)
    for service in cluster.of("Service"):
        (workload,) = cluster.selected(service["metadata"]["namespace"], service["spec"]["selector"])
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports(workload)


@folders
def test_policies_and_budgets_are_about_pods_that_exist(folder: Path) -> None:
    """Their ports too."""
    cluster = Cluster(folder)
    for obj in cluster.of("NetworkPolicy", "PodDisruptionBudget"):
        selector = obj["spec"].get("podSelector") or obj["spec"]["selector"]
        (workload,) = cluster.selected(obj["metadata"]["namespace"], selector["matchLabels"])
        rules = obj["spec"].get("ingress", ())
        assert {port["port"] for rule in rules for port in rule["ports"]} <= ports(workload)


@folders
def test_bindings_name_a_role_and_an_account_that_exist(folder: Path) -> None:
    """A binding to nothing is taken by the API server without a word."""
    cluster = Cluster(folder)
    for binding in cluster.of("RoleBinding", "ClusterRoleBinding"):
        role, space = binding["roleRef"], binding["metadata"].get("namespace", "")
        assert cluster.has(role["kind"], space if role["kind"] == "Role" else "", role["name"])
        assert all(cluster.has(s["kind"], s["namespace"], s["name"]) for s in binding["subjects"])


@folders
def test_pods_find_their_account_their_volumes_and_their_ports(folder: Path) -> None:
    """What a pod names, in its namespace."""
    cluster = Cluster(folder)
    for obj in cluster.workloads():
        spec, space = pod_spec(obj) or {}, obj["metadata"]["namespace"]
        assert "serviceAccountName" not in spec or cluster.has(
            "ServiceAccount", space, spec["serviceAccountName"]
        )
        claims = {claim["metadata"]["name"] for claim in obj["spec"].get("volumeClaimTemplates", ())}
        assert {v["name"] for v in spec.get("volumes", ())} | claims == set(mounts(obj))
        assert all(cluster.has(kind, space, made) for kind, made in sources(spec))
        for container in containers(obj):
            probes = [
                container[p]["httpGet"]["port"] for p in ("readinessProbe", "livenessProbe") if p in container
            ]
            assert set(probes) <= {port["name"] for port in container["ports"]}


def mounts(workload: Object) -> Iterator[str]:
    for container in containers(workload):
        yield from (mount["name"] for mount in container.get("volumeMounts", ()))


def sources(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for volume in spec.get("volumes", ()):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]


@folders
def test_a_mount_is_a_whole_folder(folder: Path) -> None:
    """A subPath is never updated, so that no reload would come."""
    for obj in Cluster(folder).workloads():
        mounted = [mount for container in containers(obj) for mount in container.get("volumeMounts", ())]
        assert not any("subPath" in mount or "subPathExpr" in mount for mount in mounted)


@folders
def test_what_others_scale_is_there(folder: Path) -> None:
    """An HPA's or a ScaledObject's target."""
    cluster = Cluster(folder)
    for scaler in cluster.of("HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        assert cluster.has(target["kind"], scaler["metadata"]["namespace"], target["name"])


@folders
def test_scraped_ports_are_ports_of_the_service(folder: Path) -> None:
    """A ServiceMonitor that selects nothing is silent as well."""
    cluster = Cluster(folder)
    for monitor in cluster.of("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = (s for s in cluster.of("Service") if wanted <= s["metadata"].get("labels", {}).items())
        assert service["metadata"]["namespace"] in monitor["spec"]["namespaceSelector"]["matchNames"]
        names = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} == names


def tidegate(folder: Path) -> Object:
    (deployment,) = (
        o for o in installed(folder) if o["kind"] == "Deployment" and o["metadata"]["name"] == "tidegate"
    )
    return deployment


@folders
def test_arguments_are_those_of_the_command_and_bind_the_containers_ports(folder: Path) -> None:
    """Explicit commands, and addresses that are not left to the configuration."""
    for container in containers(tidegate(folder)):
        assert container["command"] == ["tidegate"]
        command, *args = container["args"]
        context = main.commands[command].make_context(command, args)
        bound = [context.params[option] for option in ("listen", "admin") if option in context.params]
        assert bound == [f"0.0.0.0:{port['containerPort']}" for port in container["ports"]]


@folders
def test_the_configuration_is_where_the_arguments_say(folder: Path) -> None:
    """The mount, the ConfigMap and its key."""
    cluster, deployment = Cluster(folder), tidegate(folder)
    volumes = {
        v["name"]: v["configMap"]["name"] for v in (pod_spec(deployment) or {})["volumes"] if "configMap" in v
    }
    for container in containers(deployment):
        path = Path(container["args"][1])
        (mount,) = (m for m in container["volumeMounts"] if m["mountPath"] == str(path.parent))
        (config,) = (c for c in cluster.of("ConfigMap") if c["metadata"]["name"] == volumes[mount["name"]])
        assert path.name in config["data"]


@pytest.mark.parametrize("folder", OVERLAYS, ids=name)
def test_one_gateway_takes_over_before_the_other_goes(folder: Path) -> None:
    """One replica, since a second one would admit the limit again; a surge of one while it is replaced."""
    spec = tidegate(folder)["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }


@folders
def test_every_pod_is_confined(folder: Path) -> None:
    """What the `restricted` pod security standard asks for, and a file system that cannot be written."""
    for obj in Cluster(folder).workloads():
        spec = pod_spec(obj) or {}
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(obj):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


def test_a_models_count_is_left_to_whoever_scales_it() -> None:
    """Applying a manifest again must not reset it."""
    models = [obj for folder in EXAMPLES for obj in build(folder) if pod_spec(obj) is not None]
    assert models
    assert not any("replicas" in obj["spec"] for obj in models)


def test_no_examples_selector_takes_anothers_pods() -> None:
    """Applied side by side they would have each other's pods."""
    built = combine(*(build(folder) for folder in EXAMPLES))
    models = [obj for obj in built if pod_spec(obj) is not None]
    for model in models:
        wanted = model["spec"]["selector"]["matchLabels"].items()
        taken = [obj for obj in models if wanted <= obj["spec"]["template"]["metadata"]["labels"].items()]
        assert taken == [model]


def test_images_have_the_projects_version() -> None:
    """The base's and the examples'; an overlay may take them from elsewhere."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    objects = combine(*(build(folder) for folder in [DEPLOY / "base", *EXAMPLES]))
    images = {container["image"] for obj in objects for container in containers(obj)}
    assert images == {f"tidegate:{version}", f"tidegate-demo:{version}"}


def test_tls_moves_the_service_to_443() -> None:
    """Nothing speaks plain HTTP any more."""
    (service,) = (
        o
        for o in build(DEPLOY / "overlays/tls")
        if o["kind"] == "Service" and o["metadata"]["name"] == "tidegate"
    )
    assert [port["port"] for port in service["spec"]["ports"]] == [443]


def test_the_autoscaler_cannot_make_the_gateway_unready() -> None:
    """A pod is ready when all of its containers are."""
    gateway, autoscaler = containers(tidegate(DEPLOY / "overlays/default"))
    assert gateway["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert "readinessProbe" not in autoscaler
    assert {c["livenessProbe"]["httpGet"]["path"] for c in (gateway, autoscaler)} == {"/livez"}


def test_names_of_ports_are_short_enough() -> None:
    """An API server takes 15 characters for a container's."""
    objects = combine(*(build(folder) for folder in [*OVERLAYS, *EXAMPLES]))
    names = {port["name"] for obj in objects for container in containers(obj) for port in container["ports"]}
    assert [name for name in names if len(name) > 15] == []
