import base64
from pathlib import Path
from typing import Any

import pytest

from tests.kube import podspec
from tests.kube.podspec import ConfigError, File

POD: dict[str, Any] = {
    "metadata": {"name": "iris-0", "namespace": "models", "uid": "u-1", "labels": {"app": "iris"}},
    "spec": {"nodeName": "node-1"},
}
SETTINGS = {"data": {"version": "v2"}}
OBJECTS = {
    ("configmaps", "settings"): SETTINGS,
    ("configmaps", "gone"): None,
    ("secrets", "keys"): {"data": {"token": base64.b64encode(b"hush").decode()}},
}


def env(*entries: dict[str, Any]) -> dict[str, str]:
    return podspec.environment({"env": list(entries)}, POD, OBJECTS, "127.9.0.2")


def test_a_variable_may_use_those_before_it() -> None:
    """`$(NAME)` is expanded in values, in the order of the list."""
    assert env({"name": "A", "value": "x"}, {"name": "B", "value": "$(A)$(C)$$(A)"})["B"] == "x$(C)$(A)"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "iris-0"),
        ("metadata.namespace", "models"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "iris"),
        ("spec.nodeName", "node-1"),
        ("status.podIP", "127.9.0.2"),
    ],
)
def test_fields_of_the_pod_become_variables(path: str, value: str) -> None:
    """The downward API gives what the pod is."""
    assert env({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}) == {"A": value}


def test_keys_of_config_maps_and_secrets_become_variables() -> None:
    """A Secret's value is decoded."""
    config = {"configMapKeyRef": {"name": "settings", "key": "version"}}
    secret = {"secretKeyRef": {"name": "keys", "key": "token"}}
    assert env({"name": "A", "valueFrom": config}, {"name": "B", "valueFrom": secret}) == {
        "A": "v2",
        "B": "hush",
    }


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "gone", "key": "a"}}, 'configmap "gone" not found'),
        (
            {"configMapKeyRef": {"name": "settings", "key": "a"}},
            "couldn't find key a in ConfigMap models/settings",
        ),
        ({"secretKeyRef": {"name": "keys", "key": "a"}}, "couldn't find key a in Secret models/keys"),
    ],
    ids=["no object", "no key", "no key of a secret"],
)
def test_what_is_missing_is_told_in_a_kubelets_words(source: dict[str, Any], message: str) -> None:
    """The message ends up in the container's state."""
    with pytest.raises(ConfigError) as error:
        env({"name": "A", "valueFrom": source})
    assert str(error.value) == message


def test_an_optional_key_that_is_missing_leaves_the_variable_out() -> None:
    """Neither a missing object nor a missing key is a fault then."""
    for name in ("gone", "settings"):
        source = {"configMapKeyRef": {"name": name, "key": "a", "optional": True}}
        assert env({"name": "A", "valueFrom": source}) == {}


def test_the_command_line_gets_the_pods_address_and_the_real_folders() -> None:
    """Variables first, then addresses and mounted paths, wherever they stand in a word."""
    container = {
        "command": ["tidegate", "gateway", "/etc/tidegate/tidegate.yaml"],
        "args": [
            "--listen",
            "0.0.0.0:$(PORT)",
            "--only=10.0.0.0/8",
            "--ca=/etc/tidegate",
            "/etc/tidegate2/x",
        ],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/tidegate/"}],
    }
    places = podspec.mounts(container, {"config": Path("/tmp/v")})  # noqa: S108 - not made
    assert podspec.arguments(container, {"PORT": "80"}, places, "127.9.0.2") == [
        "tidegate",
        "gateway",
        "/tmp/v/tidegate.yaml",  # noqa: S108
        "--listen",
        "127.9.0.2:80",
        "--only=10.0.0.0/8",
        "--ca=/tmp/v",
        "/etc/tidegate2/x",
    ]


def test_the_longest_mount_wins() -> None:
    """A mount below another has its own folder."""
    places = {"/etc": Path("/a"), "/etc/tls": Path("/b")}
    assert podspec.relocate("/etc/tls/key:/etc/x", places) == "/b/key:/a/x"


def test_a_container_without_a_command_cannot_be_run() -> None:
    """There are no images here that could have one."""
    with pytest.raises(ConfigError, match="no command specified"):
        podspec.arguments({"args": ["x"]}, {}, {}, "127.9.0.2")


def test_a_volume_of_a_config_map_has_a_file_per_key() -> None:
    """Or per item, under the path and mode that it names."""
    volume: dict[str, Any] = {"configMap": {"name": "settings"}}
    assert podspec.contents(volume, POD, OBJECTS, {}, "") == {"version": File(b"v2", 0o644)}
    volume["configMap"]["items"] = [{"key": "version", "path": "a/b", "mode": 0o400}]
    assert podspec.contents(volume, POD, OBJECTS, {}, "") == {"a/b": File(b"v2", 0o400)}


def test_a_projected_volume_holds_all_its_sources() -> None:
    """As the one that service accounts' credentials come in."""
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"secret": {"name": "keys", "items": [{"key": "token", "path": "key"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    volume = {"projected": {"sources": sources, "defaultMode": 0o600}}
    assert list(podspec.volume_references(volume)) == [("secrets", "keys")]
    assert podspec.contents(volume, POD, OBJECTS, {"token": "jwt"}, "") == {
        "token": File(b"jwt", 0o600),
        "key": File(b"hush", 0o600),
        "namespace": File(b"models", 0o600),
    }


def test_a_volumes_file_cannot_leave_it() -> None:
    """The files are written on this machine."""
    volume = {"configMap": {"name": "settings", "items": [{"key": "version", "path": "../x"}]}}
    with pytest.raises(ConfigError, match="must stay in it"):
        podspec.contents(volume, POD, OBJECTS, {}, "")
