"""As much of kustomize as `deploy/` uses: resources, components, patches, namespace, labels, images.

What it does not know it refuses, so that a manifest never passes a test in another form than a cluster would get it in. Where `kubectl` or
`kustomize` is on the PATH, `test_kustomize` compares both. Neighbours: `patches.py` applies one patch, `manifests.py` names the folders.
"""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from tests.deploy.patches import json_patch, merge
from tests.deploy.strictyaml import documents

Object = dict[str, Any]
Key = tuple[str, str, str, str]
"""API group, kind, namespace, name."""

_BASE = {"apiVersion", "kind", "resources", "components", "patches"}
_FIELDS = {
    "Kustomization": ("kustomize.config.k8s.io/v1beta1", _BASE | {"namespace", "labels", "images"}),
    "Component": ("kustomize.config.k8s.io/v1alpha1", _BASE | {"namespace", "labels", "images"}),
}
_CLUSTER_SCOPED = {
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "Node",
    "PersistentVolume",
}


def build(folder: Path) -> list[Object]:
    """What `kubectl kustomize FOLDER` prints, as objects in the order of their files."""
    objects: list[Object] = []
    _accumulate(folder, "Kustomization", objects)
    return objects


def key(obj: Object) -> Key:
    group, _, _ = obj["apiVersion"].rpartition("/")
    meta = obj["metadata"]
    return group, obj["kind"], meta.get("namespace", ""), meta["name"]


def _accumulate(folder: Path, kind: str, objects: list[Object]) -> None:
    """Add what `folder` holds to `objects`, then change them as it says."""
    spec = _kustomization(folder, kind)
    for entry in spec.get("resources", ()):
        path = folder / entry
        found = build(path) if path.is_dir() else documents(path)
        for obj in found:
            if key(obj) in map(key, objects):
                raise ValueError(f"{path}: {key(obj)} is there already")
            objects.append(obj)
    for entry in spec.get("components", ()):
        _accumulate(folder / entry, "Component", objects)
    for patch in spec.get("patches", ()):
        _patch(folder, patch, objects)
    if "namespace" in spec:
        _set_namespace(spec["namespace"], objects)
    for entry in spec.get("labels", ()):
        _label(entry, objects)
    for image in spec.get("images", ()):
        _retag(image, objects)


def _kustomization(folder: Path, kind: str) -> Mapping[str, Any]:
    path = folder / "kustomization.yaml"
    (spec,) = documents(path)
    version, fields = _FIELDS[kind]
    if (spec.get("apiVersion"), spec.get("kind")) != (version, kind):
        raise ValueError(f"{path}: must be a {kind} of {version}")
    if unknown := set(spec) - fields:
        raise ValueError(f"{path}: unknown here: {', '.join(sorted(unknown))}")
    return spec


# -- patches


def _patch(folder: Path, entry: Mapping[str, Any], objects: list[Object]) -> None:
    if unknown := set(entry) - {"path", "patch", "target"}:
        raise ValueError(f"{folder}: unknown in a patch: {', '.join(sorted(unknown))}")
    content = documents(folder / entry["path"]) if "path" in entry else documents(entry["patch"])
    for patch in content:
        selector = entry.get("target")
        chosen = [obj for obj in objects if (_selects(selector, obj) if selector else key(obj) == key(patch))]
        if not chosen:
            raise ValueError(f"{folder}: a patch changes nothing: {selector or key(patch)}")
        for obj in chosen:
            if isinstance(patch, list):
                json_patch(obj, patch)
            else:
                merge(obj, patch)


def _selects(selector: Mapping[str, str], obj: Object) -> bool:
    group, _, version = obj["apiVersion"].rpartition("/")
    meta = obj["metadata"]
    have = {"group": group, "version": version, "kind": obj["kind"], "name": meta["name"]}
    have["namespace"] = meta.get("namespace", "")
    if unknown := set(selector) - set(have):
        raise ValueError(f"unknown in a target: {', '.join(sorted(unknown))}")
    return all(re.fullmatch(pattern, have[field]) for field, pattern in selector.items())


# -- transformers


def _set_namespace(name: str, objects: Iterable[Object]) -> None:
    """Namespaced objects move; a Namespace takes the name; subjects follow their ServiceAccounts."""
    moved = {
        (obj["metadata"].get("namespace", "default"), obj["metadata"]["name"])
        for obj in objects
        if obj["kind"] == "ServiceAccount"
    }
    for obj in objects:
        if obj["kind"] == "Namespace":
            obj["metadata"]["name"] = name
        elif obj["kind"] not in _CLUSTER_SCOPED:
            obj["metadata"]["namespace"] = name
        for subject in obj.get("subjects", ()):
            if (subject.get("namespace", "default"), subject["name"]) in moved:
                subject["namespace"] = name


def _label(entry: Mapping[str, Any], objects: Iterable[Object]) -> None:
    if set(entry) != {"pairs"}:
        raise ValueError("labels: only `pairs` are known, on the objects themselves")
    for obj in objects:
        obj["metadata"].setdefault("labels", {}).update(entry["pairs"])


def _retag(image: Mapping[str, str], objects: Iterable[Object]) -> None:
    for obj in objects:
        for container in containers(obj):
            name, _, tag = container["image"].partition(":")
            if name == image["name"]:
                container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"


def pod_spec(obj: Object) -> Object | None:
    """Of an object that makes pods, how they are."""
    spec = obj.get("spec") or {}
    return spec.get("template", {}).get("spec") if obj["kind"] in {"Deployment", "StatefulSet"} else None


def containers(obj: Object) -> list[Object]:
    spec = pod_spec(obj) or {}
    return [*spec.get("initContainers", ()), *spec.get("containers", ())]


def combine(*builds: Iterable[Object]) -> list[Object]:
    """What a cluster has after each was applied, the later ones over the earlier."""
    merged: dict[Key, Object] = {}
    for objects in builds:
        merged |= {key(obj): deepcopy(obj) for obj in objects}
    return list(merged.values())
