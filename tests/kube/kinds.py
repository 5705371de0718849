"""Which resources the API server serves: the built-in ones, and those that CustomResourceDefinitions add."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.kube.errors import no_such_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
METADATA_FIELDS = ("metadata.name", "metadata.namespace")


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where the scale subresource finds its numbers. Without `selector` it is `spec.selector`, a LabelSelector, put as a string."""

    spec: tuple[str, ...] = ("spec", "replicas")
    status: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = False
    """Has a status subresource, so that a plain write leaves the status alone."""
    scale: ScalePaths | None = None
    custom: bool = False
    unconditional: bool = True
    """A PUT may leave out metadata.resourceVersion."""
    create_on_update: bool = False
    short: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    """What a fieldSelector may name besides the metadata's."""
    more: tuple[str, ...] = ()
    """Subresources besides status and scale."""
    schema: dict[str, Any] | None = field(default=None, compare=False, repr=False)
    """Of a custom resource: what its definition says."""

    @property
    def key(self) -> tuple[str, str]:
        return self.group, self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As messages name it: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def subresources(self) -> tuple[str, ...]:
        return (("scale",) if self.scale else ()) + (("status",) if self.status else ()) + self.more

    def has_generation(self) -> bool:
        return self.custom or self.group in {
            "apps",
            "discovery.k8s.io",
            "policy",
            "networking.k8s.io",
            "autoscaling",
        }


_SCALE = ScalePaths()
_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)
_EVENT_FIELDS = (
    *(
        f"involvedObject.{name}"
        for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    ),
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_APPS, _RBAC, _NET = "apps", "rbac.authorization.k8s.io", "networking.k8s.io"

BUILT_IN = (
    Resource(
        "",
        "v1",
        "namespaces",
        "Namespace",
        False,
        True,
        short=("ns",),
        fields=("status.phase",),
        more=("finalize",),
    ),
    Resource("", "v1", "nodes", "Node", False, True, short=("no",), fields=("spec.unschedulable",)),
    Resource("", "v1", "pods", "Pod", True, True, short=("po",), fields=_POD_FIELDS, more=("binding",)),
    Resource("", "v1", "services", "Service", True, True, short=("svc",)),
    Resource("", "v1", "configmaps", "ConfigMap", short=("cm",)),
    Resource("", "v1", "secrets", "Secret", fields=("type",)),
    Resource("", "v1", "serviceaccounts", "ServiceAccount", short=("sa",), more=("token",)),
    Resource("", "v1", "events", "Event", short=("ev",), fields=_EVENT_FIELDS),
    Resource("", "v1", "endpoints", "Endpoints", short=("ep",), create_on_update=True),
    Resource("", "v1", "resourcequotas", "ResourceQuota", True, True, short=("quota",)),
    Resource(_APPS, "v1", "deployments", "Deployment", True, True, _SCALE, short=("deploy",)),
    Resource(_APPS, "v1", "replicasets", "ReplicaSet", True, True, _SCALE, short=("rs",)),
    Resource(_APPS, "v1", "statefulsets", "StatefulSet", True, True, _SCALE, short=("sts",)),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    Resource("coordination.k8s.io", "v1", "leases", "Lease", unconditional=False, create_on_update=True),
    Resource(_RBAC, "v1", "roles", "Role"),
    Resource(_RBAC, "v1", "rolebindings", "RoleBinding"),
    Resource(_RBAC, "v1", "clusterroles", "ClusterRole", False),
    Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", False),
    Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True, True, short=("pdb",)),
    Resource(_NET, "v1", "networkpolicies", "NetworkPolicy", short=("netpol",)),
    Resource(_NET, "v1", "ingresses", "Ingress", True, True, short=("ing",)),
    Resource(
        "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True, True, short=("hpa",)
    ),
    Resource(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        False,
        True,
        short=("crd",),
        unconditional=False,
    ),
)


class Registry:
    """Resources by path, by name and by kind."""

    def __init__(self, resources: Iterable[Resource] = BUILT_IN) -> None:
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self._by_name: dict[str, Resource] = {}
        self._by_kind: dict[tuple[str, str], Resource] = {}
        for resource in resources:
            self.add(resource)

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._by_path.values()))

    def add(self, resource: Resource) -> None:
        self._by_path[resource.group, resource.version, resource.plural] = resource
        self._by_name.setdefault(resource.plural, resource)
        self._by_name[resource.qualified] = resource
        self._by_kind[resource.api_version, resource.kind] = resource

    def remove(self, resource: Resource) -> None:
        self._by_path.pop((resource.group, resource.version, resource.plural), None)
        self._by_kind.pop((resource.api_version, resource.kind), None)
        for name in (resource.plural, resource.qualified):
            if self._by_name.get(name) == resource:
                del self._by_name[name]

    def named(self, what: str | Resource) -> Resource:
        """`pods`, `deployments` or `widgets.example.com`."""
        return what if isinstance(what, Resource) else self._by_name[what]

    def at(self, group: str, version: str, plural: str) -> Resource:
        try:
            return self._by_path[group, version, plural]
        except KeyError:
            raise no_such_path() from None

    def of(self, obj: dict[str, Any]) -> Resource:
        """The resource of an object, by its apiVersion and kind."""
        try:
            return self._by_kind[obj["apiVersion"], obj["kind"]]
        except KeyError:
            what = f"{obj.get('apiVersion')}, {obj.get('kind')}"
            raise LookupError(f"no resource of apiVersion and kind {what} is served here") from None

    def groups(self) -> dict[str, list[str]]:
        """Every group with its versions, in the order of their arrival."""
        groups: dict[str, list[str]] = {}
        for group, version, _ in self._by_path:
            versions = groups.setdefault(group, [])
            if version not in versions:
                versions.append(version)
        return groups


def custom_resources(definition: dict[str, Any]) -> list[Resource]:
    """What a CustomResourceDefinition asks to be served: its storage version last, so that names mean that one."""
    spec, found = definition["spec"], []
    names = spec["names"]
    for version in sorted(spec["versions"], key=lambda entry: bool(entry.get("storage"))):
        if not version.get("served", True):
            continue
        sub = version.get("subresources") or {}
        found.append(
            Resource(
                spec["group"],
                version["name"],
                names["plural"],
                names["kind"],
                spec.get("scope", "Namespaced") == "Namespaced",
                "status" in sub,
                _scale_paths(sub["scale"]) if "scale" in sub else None,
                custom=True,
                unconditional=False,
                short=tuple(names.get("shortNames", ())),
                schema=(version.get("schema") or {}).get("openAPIV3Schema"),
            )
        )
    return found


def _scale_paths(scale: dict[str, str]) -> ScalePaths:
    selector = scale.get("labelSelectorPath")
    return ScalePaths(
        _path(scale["specReplicasPath"]),
        _path(scale["statusReplicasPath"]),
        _path(selector) if selector else (),
    )


def _path(dotted: str) -> tuple[str, ...]:
    return tuple(dotted.strip(".").split("."))


def dig(obj: Any, path: Iterable[str]) -> Any:
    """What stands at a path in nested dicts; None where a step is missing."""
    for step in path:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(step)
    return obj
