"""Small objects for tests of the API server emulation."""

from __future__ import annotations

from typing import Any


def template(labels: dict[str, str], image: str = "model:1", **spec: Any) -> dict[str, Any]:
    """A pod template with one container that has a port named http."""
    container = {"name": "model", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}
    return {"metadata": {"labels": labels}, "spec": {"containers": [container], **spec}}


def pod(
    name: str, labels: dict[str, str] | None = None, namespace: str = "default", **spec: Any
) -> dict[str, Any]:
    made = template(labels or {}, **spec)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        **made,
        "metadata": {**made["metadata"], "name": name, "namespace": namespace},
    }


def deployment(name: str, replicas: int = 1, image: str = "model:1", **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    whole = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": template(labels, image),
        **spec,
    }
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": whole}


def stateful_set(name: str, replicas: int = 1, **spec: Any) -> dict[str, Any]:
    return {**deployment(name, replicas, serviceName=name, **spec), "kind": "StatefulSet"}


def service(name: str, target: int | str = "http", **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": target}]
    whole = {"selector": {"app": name}, "ports": ports, **spec}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": whole,
    }


def config_map(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }
