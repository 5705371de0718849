"""What a Backend's pods belong to in a cluster, as the configuration names it.

A core: frozen, compared to see what a reload changed. `gateway.config` makes these, `discovery` follows them.
"""

from dataclasses import dataclass

_PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "ReplicaSet": "replicasets"}
"""The kinds of apps/v1 whose objects tell all that a scale tells."""


@dataclass(frozen=True, slots=True)
class ScaleTarget:
    """An object with a scale subresource, which the autoscaler scales."""

    api_version: str
    kind: str
    name: str
    namespace: str | None
    """None: the namespace that comes with the credentials."""
    port: int
    """That the pods listen on."""

    @property
    def plural(self) -> str | None:
        """The resource's name in paths; None when the API server has to be asked."""
        return _PLURALS.get(self.kind) if self.api_version == "apps/v1" else None

    def collection(self, namespace: str, plural: str) -> str:
        """The path of all such objects in a namespace."""
        return f"{group_path(self.api_version)}/namespaces/{namespace}/{plural}"

    def named(self, namespace: str) -> str:
        """For people."""
        return f"{self.kind.lower()} {namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """A Service, whose pods others scale."""

    name: str
    namespace: str | None
    port: int | str | None
    """The pods' number, or the name of the Service's port; None: the only one it has."""

    def named(self, namespace: str) -> str:
        """For people."""
        return f"service {namespace}/{self.name}"


ClusterTarget = ScaleTarget | ServiceTarget


def group_path(api_version: str) -> str:
    """Where the API server has the resources of a group and version; those of the core group stand apart."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
