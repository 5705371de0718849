"""What a pod's spec asks a node to run: environment, arguments, files. Pure: told the objects that the spec refers to.

A container is a process of this machine here, so its world is put into its words: a `0.0.0.0` in command or arguments becomes
the pod's own address, and the paths that volumes are mounted at become the real folders.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

Object = dict[str, Any]
Reference = tuple[str, str]
"""A resource ("configmaps" or "secrets") and a name in the pod's namespace."""
Objects = Mapping[Reference, Object | None]
"""What the references lead to; None where there is nothing."""

ANY_ADDRESS = re.compile(r"(?<![\d.])0\.0\.0\.0(?![\d.])")
VARIABLE = re.compile(r"\$\$|\$\(([^)]*)\)")
GENERATED = ("configMap", "secret", "projected", "downwardAPI")
"""Volumes whose files the node writes."""
KINDS = {"configmaps": "ConfigMap", "secrets": "Secret"}


class ConfigError(Exception):
    """What a container or volume is configured with cannot be had; the message is worded as a kubelet's."""


@dataclass(frozen=True)
class File:
    """One file of a volume."""

    content: bytes
    mode: int


# Environment and arguments


def env_references(container: Object) -> Iterator[Reference]:
    """What `environment` needs."""
    for source in container.get("envFrom", []):
        for key, resource in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if key in source:
                yield resource, source[key]["name"]
    for entry in container.get("env", []):
        for key, resource in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
            if key in entry.get("valueFrom", {}):
                yield resource, entry["valueFrom"][key]["name"]


def environment(container: Object, pod: Object, objects: Objects, address: str) -> dict[str, str]:
    """The variables that the container's spec sets; ConfigError for one that cannot be had."""
    env: dict[str, str] = {}
    for source in container.get("envFrom", []):
        for key, resource in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if key in source:
                values = _values(resource, source[key], objects)
                env |= {source.get("prefix", "") + name: value.decode() for name, value in values.items()}
    for entry in container.get("env", []):
        value = _env_value(entry, pod, objects, address, env)
        if value is not None:
            env[entry["name"]] = value
    return env


def _env_value(
    entry: Object, pod: Object, objects: Objects, address: str, env: Mapping[str, str]
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value") or "", env)
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"], address)
    for key, resource in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
        if key in source:
            reference = source[key]
            value = _values(resource, reference, objects).get(reference["key"])
            if value is None and not reference.get("optional"):
                where = f"{KINDS[resource]} {pod['metadata']['namespace']}/{reference['name']}"
                raise ConfigError(f"couldn't find key {reference['key']} in {where}")
            return None if value is None else value.decode()
    raise ConfigError(f"this node cannot resolve {', '.join(source)} of the variable {entry['name']}")


def _values(resource: str, reference: Object, objects: Objects) -> dict[str, bytes]:
    """An object's data, as bytes; nothing if it may be missing and is."""
    found = objects.get((resource, reference["name"]))
    if found is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{KINDS[resource].lower()} "{reference["name"]}" not found')
    encoded = found.get("data" if resource == "secrets" else "binaryData") or {}
    plain = {} if resource == "secrets" else found.get("data") or {}
    return {name: value.encode() for name, value in plain.items()} | {
        name: base64.b64decode(value) for name, value in encoded.items()
    }


def field(pod: Object, path: str, address: str) -> str:
    """The downward API's fields."""
    metadata, spec = pod["metadata"], pod["spec"]
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = sorted((metadata.get(path.split(".")[1]) or {}).items())
        return "\n".join(f'{name}="{value}"' for name, value in pairs)
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": address,
        "status.podIPs": address,
        "status.hostIP": "127.0.0.1",
    }
    if path not in known:
        raise ConfigError(f"this node cannot resolve the field {path}")
    return str(known[path])


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable's value if there is one; `$$` is a dollar."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[1] is None else env.get(match[1], match[0])

    return VARIABLE.sub(value, text)


def mounts(container: Object, folders: Mapping[str, Path]) -> dict[str, Path]:
    """Where the container thinks each volume is, and where it is."""
    return {
        mount["mountPath"].rstrip("/"): folders[mount["name"]] / mount.get("subPath", "")
        for mount in container.get("volumeMounts", [])
        if mount["name"] in folders
    }


def relocate(text: str, places: Mapping[str, Path]) -> str:
    """Each path below a mount, wherever it stands in the text, becomes the real one."""
    if not places:
        return text
    longest_first = sorted(places, key=len, reverse=True)
    pattern = rf"(?<![\w./-])({'|'.join(map(re.escape, longest_first))})(?![\w.-])"
    return re.sub(pattern, lambda match: str(places[match[1]]), text)


def arguments(
    container: Object, env: Mapping[str, str], places: Mapping[str, Path], address: str
) -> list[str]:
    """The command line. There are no images here, and so no command but the spec's own."""
    if not container.get("command"):
        raise ConfigError("no command specified: this node runs explicit commands only")
    words = [*container["command"], *container.get("args", [])]
    return [relocate(ANY_ADDRESS.sub(address, expand(word, env)), places) for word in words]


# Volumes


def volume_references(volume: Object) -> Iterator[Reference]:
    """What `contents` needs."""
    for part in _parts(volume):
        if "configMap" in part:
            yield "configmaps", part["configMap"]["name"]
        if "secret" in part:
            yield "secrets", part["secret"].get("secretName") or part["secret"]["name"]


def token_requests(volume: Object) -> Iterator[Object]:
    """The projected tokens among a volume's sources."""
    return (part["serviceAccountToken"] for part in _parts(volume) if "serviceAccountToken" in part)


def _parts(volume: Object) -> list[Object]:
    if "projected" in volume:
        parts: list[Object] = volume["projected"].get("sources") or []
        return parts
    return [volume]


def contents(
    volume: Object, pod: Object, objects: Objects, tokens: Mapping[str, str], address: str
) -> dict[str, File]:
    """The files of a configMap, secret, downwardAPI or projected volume, by path; `tokens` by the path that a source names."""
    files: dict[str, File] = {}
    for part in _parts(volume):
        for path, content, mode in _part_files(part, pod, objects, tokens, address):
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise ConfigError(f"a volume's path must stay in it: {path}")
            files[path] = File(content, mode or _default_mode(volume))
    return files


def _default_mode(volume: Object) -> int:
    sources: list[Object] = [volume[key] for key in GENERATED if key in volume]
    return int((sources[0].get("defaultMode") if sources else None) or 0o644)


def _part_files(
    part: Object, pod: Object, objects: Objects, tokens: Mapping[str, str], address: str
) -> Iterable[tuple[str, bytes, int | None]]:
    if "serviceAccountToken" in part:
        path = part["serviceAccountToken"]["path"]
        yield path, tokens[path].encode(), None
    for item in part.get("downwardAPI", {}).get("items", []):
        yield item["path"], field(pod, item["fieldRef"]["fieldPath"], address).encode(), item.get("mode")
    for key, resource in (("configMap", "configmaps"), ("secret", "secrets")):
        if key in part:
            yield from _keys(resource, part[key], pod, objects)


def _keys(
    resource: str, source: Object, pod: Object, objects: Objects
) -> Iterable[tuple[str, bytes, int | None]]:
    reference = {**source, "name": source.get("secretName") or source["name"]}
    values = _values(resource, reference, objects)
    if not source.get("items"):
        yield from ((name, value, None) for name, value in values.items())
    for item in source.get("items") or []:
        if item["key"] in values:
            yield item["path"], values[item["key"]], item.get("mode")
        elif not source.get("optional"):
            raise ConfigError(
                f"references non-existent {KINDS[resource]} key: {item['key']} in {pod['metadata']['namespace']}/{reference['name']}"
            )
