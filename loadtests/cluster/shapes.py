"""Deployments and pods as large as real ones are: what operators, sidecars and the API server's own bookkeeping put into them.

The emulation makes pods of the Deployments' templates; who owned which field is added to them afterwards, as an API server would have done.
"""

import json
from typing import Any

LABEL = "app.kubernetes.io/name"
COMMON = {"app.kubernetes.io/component": "server"}
"""A label that all Deployments select by as well, and that comes first, as charts have it."""
NAMESPACE = "models"


def deployment(number: int, replicas: int, port: int, *, probed: bool = True) -> dict[str, Any]:
    """A model server's. `probed`: its pods have a readiness probe; else they are ready by the API server's word alone."""
    name = name_of(number)
    made: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels(name)},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": COMMON | {LABEL: name}},
            "template": {
                "metadata": {"labels": labels(name), "annotations": annotations(port)},
                "spec": pod_spec(name, port, probed=probed),
            },
        },
    }
    made["metadata"]["managedFields"] = managed(made, "kubectl-client-side-apply")
    return made


def name_of(number: int) -> str:
    return f"model-{number:03}"


def labels(name: str) -> dict[str, str]:
    return {
        **COMMON,
        LABEL: name,
        "app.kubernetes.io/part-of": "models",
        "app.kubernetes.io/version": "2024-05-17",
        "app.kubernetes.io/managed-by": "Helm",
        "topology.example.com/pool": "gpu-a100",
    }


def annotations(port: int) -> dict[str, str]:
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "checksum/config": "8d1f5c3a7b5e9d2c4f6a8b0c1d3e5f7a9b2c4d6e8f0a1b3c5d7e9f1a2b4c6d8e",
        "kubectl.kubernetes.io/restartedAt": "2024-05-17T09:30:00Z",
    }


def pod_spec(name: str, port: int, *, probed: bool) -> dict[str, Any]:
    server: dict[str, Any] = {
        "name": "model",
        "image": "registry.example.com/models/server@sha256:" + "5e" * 32,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/opt/server/bin/serve"],
        "args": [
            "--model",
            f"/models/{name}",
            "--port",
            str(port),
            "--max-batch",
            "16",
            "--log-level",
            "info",
        ],
        "env": env(name),
        "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": "2", "memory": "2Gi"},
            "limits": {"cpu": "4", "memory": "4Gi"},
        },
        "volumeMounts": [
            {"name": volume, "mountPath": f"/{volume}", "readOnly": True} for volume in ("models", "config")
        ]
        + [{"name": "cache", "mountPath": "/cache"}, api_access()],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if probed:
        server["readinessProbe"] = probe("/v2/health/ready", 5)
        server["livenessProbe"] = probe("/v2/health/live", 10)
    return {
        "containers": [server],
        "volumes": volumes(name),
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 60,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "schedulerName": "default-scheduler",
        "priority": 0,
        "enableServiceLinks": False,
        "preemptionPolicy": "PreemptLowerPriority",
        "tolerations": [
            {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            for state in ("not-ready", "unreachable")
        ],
    }  # fmt: skip


def env(name: str) -> list[dict[str, Any]]:
    plain = {
        "MODEL_NAME": name,
        "OMP_NUM_THREADS": "2",
        "CUDA_VISIBLE_DEVICES": "0",
        "OTEL_SERVICE_NAME": name,
    }
    fields = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}
    return [
        *({"name": key, "value": value} for key, value in plain.items()),
        *(
            {"name": key, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
            for key, path in fields.items()
        ),
        {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": f"{name}-key", "key": "token"}}},
    ]  # fmt: skip


def volumes(name: str) -> list[dict[str, Any]]:
    token = {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    ca = {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    return [
        {"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
        {"name": "config", "configMap": {"name": f"{name}-config", "defaultMode": 420}},
        {"name": "cache", "emptyDir": {"sizeLimit": "20Gi"}},
        {"name": "kube-api-access-x7k2p", "projected": {"defaultMode": 420, "sources": [token, ca]}},
    ]


def api_access() -> dict[str, Any]:
    where = "/var/run/secrets/kubernetes.io/serviceaccount"
    return {"name": "kube-api-access-x7k2p", "mountPath": where, "readOnly": True}


def probe(path: str, period: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 1,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def managed(item: dict[str, Any], manager: str) -> list[dict[str, Any]]:
    """`managedFields`: one entry for what was asked for, one for the status."""
    asked = ("labels", "annotations", "generateName", "ownerReferences")
    metadata = {key: value for key, value in item["metadata"].items() if key in asked}
    owned = {"metadata": metadata, "spec": item["spec"]}
    entries = [entry(manager, owned)]
    if item.get("status"):
        entries.append(entry("kubelet", {"status": item["status"]}) | {"subresource": "status"})
    return entries


def entry(manager: str, owned: dict[str, Any]) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2024-05-17T09:30:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields(owned),
    }


def fields(value: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
    """A set of fields as the API server writes it: lists by their items' keys, anything else by name."""
    if isinstance(value, dict):
        return {f"f:{key}": fields(inner) for key, inner in value.items() if key != "managedFields"}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {item_key(item): {".": {}, **fields(item)} for item in value}
    return {}


def item_key(item: dict[str, Any]) -> str:
    key = next((key for key in ("name", "uid", "type", "mountPath", "ip") if key in item), None)
    return "k:" + json.dumps({key: item[key]} if key else item, separators=(",", ":"))
