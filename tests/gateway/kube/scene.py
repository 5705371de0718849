"""Objects for tests of what the gateway and the autoscaler see of a cluster."""

from typing import Any

PORT = 8080


def deployment(
    name: str = "iris",
    replicas: int = 1,
    *,
    image: str = "model:1",
    probe: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    return workload("Deployment", name, replicas, image=image, probe=probe, **spec)


def workload(
    kind: str,
    name: str,
    replicas: int,
    *,
    image: str = "model:1",
    probe: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    container = {"name": "model", "image": image, **({"readinessProbe": probe} if probe else {})}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "models"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
            **spec,
        },
    }


def service(name: str = "iris") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "models"},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": PORT}]},
    }


LLAMAS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "llamasets.example.com"},
    "spec": {
        "group": "example.com",
        "names": {
            "plural": "llamasets",
            "singular": "llamaset",
            "kind": "LlamaSet",
            "listKind": "LlamaSetList",
        },
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.size",
                        "statusReplicasPath": ".status.size",
                        "labelSelectorPath": ".status.selector",
                    },
                },
            }
        ],
    },
}
"""A custom resource whose count is in a place of its own."""


def llamas(size: int = 1, selector: str = "app=llama") -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "LlamaSet",
        "metadata": {"name": "llama", "namespace": "models"},
        "spec": {"size": size},
        "status": {"selector": selector, "size": size},
    }
