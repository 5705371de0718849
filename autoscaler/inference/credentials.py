"""What the init container that fetches models gets of a service account: variables, volumes and mounts, as KServe gives them.

A core. It knows Secrets by their names, their keys and KServe's annotations; a value is never read, but for the host that headers are for, and that is only
compared. Values come to the pod by reference, when it starts. Neighbours: `storage`, which makes the container; `cluster.inference.credentials` and
`autoscaler.offline`, which look the objects up.
"""

import base64
import binascii
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from autoscaler.inference.shapes import (
    Credentials,
    Json,
    Secret,
    mapping,
    mappings,
    meta,
    name_of,
    text,
    texts,
)

NAMED = "serving.kserve.io/storageSecretName"
"""An InferenceService's annotation: the one Secret that counts, in place of its service account's."""
_S3 = "serving.kserve.io/s3-"
_ROLE = "eks.amazonaws.com/role-arn"
_HOST = "https-host"
_S3_ENV = {
    "verifyssl": "S3_VERIFY_SSL",
    "useanoncredential": "awsAnonymousCredential",
    "region": "AWS_DEFAULT_REGION",
    "usevirtualbucket": "S3_USER_VIRTUAL_BUCKET",
    "useaccelerate": "S3_USE_ACCELERATE",
    "cabundle": "AWS_CA_BUNDLE",
}
"""Variables by annotation; a Secret may have them as keys instead."""
_BUNDLES = "/etc/ssl/custom-certs"
_GOOGLE = "gcloud-application-credentials.json"
_GOOGLE_FOLDER = "/var/secrets/"
_HADOOP_FOLDER = "/var/secrets/kserve-hdfscreds"
_AZURE_OLDER = {
    f"AZURE_{key}": f"AZ_{key}" for key in ("SUBSCRIPTION_ID", "TENANT_ID", "CLIENT_ID", "CLIENT_SECRET")
}
_AZURE = (
    *_AZURE_OLDER,
    *(f"AZURE_{k}" for k in ("STORAGE_ACCESS_KEY", "ACCESS_TOKEN", "ACCESS_EXPIRES_ON_SECONDS")),
    "AZURE_ACCOUNT_NAME",
    "AZURE_SERVICE_URL",
)
_AZURE_MARKS = {"AZ_CLIENT_ID", "AZURE_CLIENT_ID", "AZURE_ACCESS_TOKEN"}


def secret_of(item: Mapping[str, Any]) -> Secret:
    """What is known of a Secret; its values end here."""
    data, plain = mapping(item.get("data")), mapping(item.get("stringData"))
    given = {k: v for k, v in texts(meta(item).get("annotations")).items() if k.startswith(_S3)}
    host = text(plain.get(_HOST)) or _decoded(text(data.get(_HOST)))
    return Secret(name_of(item), frozenset({*data, *plain}), given, host.strip().lower())


def secret_names(account: Mapping[str, Any], named: str) -> list[str]:
    """Of the Secrets that count; `named`: by the InferenceService."""
    listed = [text(reference.get("name")) for reference in mappings(account.get("secrets"))]
    return [named] if named else [name for name in dict.fromkeys(listed) if name]


def account_annotations(account: Mapping[str, Any]) -> dict[str, str]:
    """How its bucket is reached, when it gets there by a role and without a key."""
    given = texts(meta(account).get("annotations"))
    return {k: v for k, v in given.items() if k.startswith(_S3)} if _ROLE in given else {}


def give(pod: Json, container: Json, uris: Sequence[str], credentials: Credentials) -> None:
    """Put them into the container, and their volumes into its pod."""
    given = _Given()
    given.env |= _s3_settings(Secret("", frozenset(), credentials.annotations))
    for secret in credentials.secrets:
        _take(secret, uris, given)
    _take_bundle(given)
    volumes = mappings(pod.get("volumes"))
    there = {text(volume.get("name")) for volume in volumes}
    volumes += [{"name": name, **source} for name, (source, _) in given.volumes.items() if name not in there]
    mounts = [{"name": n, "mountPath": folder, "readOnly": True} for n, (_, folder) in given.volumes.items()]
    if given.env:
        container["env"] = [{"name": name, **value} for name, value in given.env.items()]
    if mounts:
        container["volumeMounts"] = [*mappings(container.get("volumeMounts")), *mounts]
        pod["volumes"] = volumes


@dataclass(slots=True)
class _Given:
    """Collected, of equal names the last variable and the first volume."""

    env: dict[str, Json] = field(default_factory=dict)
    volumes: dict[str, tuple[Json, str]] = field(default_factory=dict)
    """By name: the source, and where it is mounted."""


def _take(secret: Secret, uris: Sequence[str], given: _Given) -> None:
    """By the first key that is known, as KServe does."""
    keys = secret.keys
    if "awsSecretAccessKey" in keys:
        given.env |= _s3(secret)
    elif _GOOGLE in keys:
        given.volumes.setdefault("user-gcp-sa", (_files(secret), _GOOGLE_FOLDER))
        given.env["GOOGLE_APPLICATION_CREDENTIALS"] = {"value": f"{_GOOGLE_FOLDER}{_GOOGLE}"}
    elif keys & _AZURE_MARKS:
        given.env |= _azure(secret)
    elif "AZURE_STORAGE_ACCESS_KEY" in keys:
        given.env["AZURE_STORAGE_ACCESS_KEY"] = _reference(secret, "AZURE_STORAGE_ACCESS_KEY")
    elif _HOST in keys:
        given.env |= dict(_headers(secret, uris))
    elif "HDFS_NAMENODE" in keys:
        given.volumes.setdefault("hdfs-secrets", (_files(secret), _HADOOP_FOLDER))
    elif "HF_TOKEN" in keys:
        given.env["HF_TOKEN"] = _reference(secret, "HF_TOKEN")


def _s3(secret: Secret) -> dict[str, Json]:
    keys = {
        "AWS_ACCESS_KEY_ID": _reference(secret, "awsAccessKeyID"),
        "AWS_SECRET_ACCESS_KEY": _reference(secret, "awsSecretAccessKey"),
    }
    return keys | _s3_settings(secret)


def _s3_settings(secret: Secret) -> dict[str, Json]:
    """By annotations, or by keys of the Secret."""
    found = _endpoint(secret)
    found |= {n: value for key, n in _S3_ENV.items() if (value := _setting(secret, key, n))}
    bundle = _setting(secret, "cabundle-configmap", "")
    return found | ({"AWS_CA_BUNDLE_CONFIGMAP": bundle} if bundle else {})


def _setting(secret: Secret, key: str, name: str) -> Json:
    annotated = secret.annotations.get(f"{_S3}{key}")
    if annotated is not None:
        return {"value": annotated} if annotated else {}
    return _reference(secret, name) if name in secret.keys else {}


def _endpoint(secret: Secret) -> dict[str, Json]:
    """A scheme in it goes before what is said of https. One that is a value is put into the URL by the kubelet."""
    endpoint = _setting(secret, "endpoint", "S3_ENDPOINT")
    if not endpoint:
        return {}
    place = text(endpoint.get("value")).strip()
    scheme, marked, rest = place.partition("://")
    if marked and scheme.lower() in {"http", "https"}:
        secure = "1" if scheme.lower() == "https" else "0"
        return _reached({"value": secure}, {"value": rest}, place)
    secure_setting = _setting(secret, "usehttps", "S3_USE_HTTPS")
    prefix = "http" if secure_setting.get("value") == "0" else "https"
    url = f"{prefix}://{place or '$(S3_ENDPOINT)'}"
    return _reached(secure_setting, {"value": place} if place else endpoint, url)


def _reached(secure: Json, endpoint: Json, url: str) -> dict[str, Json]:
    found = {"S3_USE_HTTPS": secure} if secure else {}
    return found | {"S3_ENDPOINT": endpoint, "AWS_ENDPOINT_URL": {"value": url}}


def _take_bundle(given: _Given) -> None:
    """Certificates in a ConfigMap."""
    name = text(given.env.get("AWS_CA_BUNDLE_CONFIGMAP", {}).get("value"))
    if name:
        file = text(given.env.get("AWS_CA_BUNDLE", {}).get("value"))
        folder = posixpath.dirname(file) or _BUNDLES
        given.env["CA_BUNDLE_CONFIGMAP_NAME"] = {"value": name}
        given.env["CA_BUNDLE_VOLUME_MOUNT_POINT"] = {"value": folder}
        given.volumes["cabundle-cert"] = ({"configMap": {"name": name}}, folder)


def _azure(secret: Secret) -> Iterator[tuple[str, Json]]:
    for name in _AZURE:
        older = _AZURE_OLDER.get(name, name)
        key = older if older in secret.keys else name
        if key in secret.keys:
            yield name, _reference(secret, key)


def _headers(secret: Secret, uris: Sequence[str]) -> Iterator[tuple[str, Json]]:
    """For its own host only, which is written as the URI has it: another must not be shown them."""
    if "headers" in secret.keys:
        for uri in uris:
            try:
                host = urlsplit(uri).hostname or ""
            except ValueError:
                continue
            if host and host == secret.host and uri.lower().startswith(("http://", "https://")):
                yield f"{host}-headers", _reference(secret, "headers")


def _reference(secret: Secret, key: str) -> Json:
    return {"valueFrom": {"secretKeyRef": {"name": secret.name, "key": key}}}


def _files(secret: Secret) -> Json:
    return {"secret": {"secretName": secret.name}}


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
