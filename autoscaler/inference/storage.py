"""Where a model comes from: an init container that fetches it into a volume, or a claim that is mounted as it is.

A core. `pvc://CLAIM/PATH` is mounted read-only; everything else is fetched by the container of the settings, which is called with the URI and the
folder, as KServe's storage initializer takes them.
"""

import re
from collections.abc import Iterator, Sequence

from autoscaler.inference.credentials import give
from autoscaler.inference.shapes import Credentials, Fault, Json, StorageInitializer, mappings

MODELS = "/mnt/models"
_VOLUME = "kserve-provision-location"
_FETCHED = ("gs", "s3", "hdfs", "webhdfs", "http", "https", "hf", "file", "abfs", "abfss", "azure")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://.+", re.IGNORECASE)
_CLAIM = re.compile(r"pvc://([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)(?:/(.*))?")
_SIZE = {"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}


def storage_faults(uris: Sequence[tuple[str, str]], path: str) -> Iterator[Fault]:
    for uri, folder in uris:
        scheme = _SCHEME.fullmatch(uri)
        kind = scheme[1].lower() if scheme else ""
        if kind == "oci":
            yield Fault(
                path,
                "models in images (oci://) are not supported: put the image into containers",
                refused=True,
            )
        elif kind == "pvc":
            claim = _CLAIM.fullmatch(uri)
            if not claim or ".." in (claim[3] or "").split("/"):
                yield Fault(path, "must be pvc://CLAIM or pvc://CLAIM/PATH", refused=True)
        elif kind not in _FETCHED:
            yield Fault(
                path, f"must begin with pvc://, {', '.join(f'{k}://' for k in _FETCHED)}", refused=True
            )
        if not folder.startswith("/") or ".." in folder.split("/"):
            yield Fault(path, f"the folder {folder} must be a path from /", refused=True)
    folders = [folder for _, folder in uris]
    if len(set(folders)) != len(folders):
        yield Fault(path, "each needs a mountPath of its own", refused=True)


def is_fetched(uri: str) -> bool:
    return not uri.startswith("pvc://")


def with_storage(
    pod: Json,
    serving: Json,
    uris: Sequence[tuple[str, str]],
    by: StorageInitializer,
    credentials: Credentials,
) -> None:
    """Put into a pod, and into the container in it that serves, what gives it its models."""
    fetched: list[tuple[str, str]] = []
    for i, (uri, folder) in enumerate(uris):
        claim = _CLAIM.fullmatch(uri)
        if claim is None:
            fetched.append((uri, folder))
            continue
        name = f"kserve-pvc-source{f'-{i}' if i else ''}"
        source = {"claimName": claim[1], "readOnly": True}
        _add(pod, "volumes", {"name": name, "persistentVolumeClaim": source})
        mount = {"name": name, "mountPath": folder, "readOnly": True}
        _add(serving, "volumeMounts", mount | ({"subPath": claim[3]} if claim[3] else {}))
    if fetched:
        container = _fetch(pod, serving, fetched, by)
        give(pod, container, [uri for uri, _ in fetched], credentials)
        pod["initContainers"] = [container, *mappings(pod.get("initContainers"))]


def _fetch(pod: Json, serving: Json, uris: list[tuple[str, str]], by: StorageInitializer) -> Json:
    mounts, words = [], []
    for i, (uri, folder) in enumerate(uris):
        name = f"{_VOLUME}{f'-{i}' if i else ''}"
        _add(pod, "volumes", {"name": name, "emptyDir": {}})
        mounts.append({"name": name, "mountPath": folder})
        _add(serving, "volumeMounts", {"name": name, "mountPath": folder, "readOnly": True})
        args = ("{uri}", "{path}") if by.args is None else by.args
        words += [word.replace("{uri}", uri).replace("{path}", folder) for word in args]
    container: Json = {"name": "storage-initializer", "image": by.image}
    if by.command:
        container["command"] = list(by.command)
    return container | {"args": words, "resources": _SIZE, "volumeMounts": mounts}


def _add(to: Json, key: str, what: Json) -> None:
    to[key] = [*mappings(to.get(key)), what]
