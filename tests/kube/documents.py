"""Discovery: what is served, for clients that ask before they use it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kube.errors import no_such_path
from tests.kube.kinds import VERBS, Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kube.kinds import Resource

VERSION = {
    "major": "1",
    "minor": "33",
    "gitVersion": "v1.33.0",
    "gitCommit": "0" * 40,
    "gitTreeState": "clean",
    "buildDate": "2025-04-23T13:00:00Z",
    "goVersion": "go1.24.2",
    "compiler": "gc",
    "platform": "linux/amd64",
}
ADDRESSES = "serverAddressByClientCIDRs"
REVIEWS = "authorization.k8s.io"


def document(registry: Registry, path: str, address: str) -> dict[str, Any] | None:
    """What stands at a discovery path; None if it is none."""
    match [part for part in path.split("/") if part]:
        case ["version"]:
            return VERSION
        case ["api"]:
            return {
                "kind": "APIVersions",
                "versions": ["v1"],
                ADDRESSES: [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
            }
        case ["apis"]:
            groups = [_group(group, versions) for group, versions in _groups(registry).items() if group]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", group]:
            if group not in _groups(registry):
                raise no_such_path()
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, _groups(registry)[group])}
        case ["api", "v1"]:
            return _resources(registry, "", "v1")
        case ["apis", group, version]:
            return _resources(registry, group, version)
    return None


def _groups(registry: Registry) -> dict[str, list[str]]:
    return {**registry.groups(), REVIEWS: ["v1"]}


def _group(group: str, versions: list[str]) -> dict[str, Any]:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def _resources(registry: Registry, group: str, version: str) -> dict[str, Any]:
    if version not in _groups(registry).get(group, ()):
        raise no_such_path()
    found = [entry for entry in registry if (entry.group, entry.version) == (group, version)]
    resources = [listed for resource in found for listed in _listed(resource)]
    if group == REVIEWS:
        names = {
            "subjectaccessreviews": "SubjectAccessReview",
            "selfsubjectaccessreviews": "SelfSubjectAccessReview",
        }
        resources = [
            {"name": name, "singularName": "", "namespaced": False, "kind": kind, "verbs": ["create"]}
            for name, kind in names.items()
        ]
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}


def _listed(resource: Resource) -> Iterator[dict[str, Any]]:
    entry = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
    }
    verbs = [verb for verb in VERBS if not (resource.kind == "Namespace" and verb == "deletecollection")]
    entry |= {"kind": resource.kind, "verbs": verbs}
    if resource.short:
        entry["shortNames"] = list(resource.short)
    yield entry
    for subresource in resource.subresources:
        yield _listed_subresource(resource, subresource)


def _listed_subresource(resource: Resource, name: str) -> dict[str, Any]:
    entry = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
    match name:
        case "scale":
            return {
                **entry,
                "group": "autoscaling",
                "version": "v1",
                "kind": "Scale",
                "verbs": ["get", "patch", "update"],
            }
        case "token":
            return {
                **entry,
                "group": "authentication.k8s.io",
                "version": "v1",
                "kind": "TokenRequest",
                "verbs": ["create"],
            }
        case "binding":
            return {**entry, "kind": "Binding", "verbs": ["create"]}
    return {**entry, "kind": resource.kind, "verbs": ["get", "patch", "update"]}
