"""Says what is wrong with a manifest, as strict validation by an API server would: unknown fields, types, what is required, enums.

The schemas are those that kubernetes_asyncio's models were generated from. Kinds of other projects have a short one of their own below.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from kubernetes_asyncio.client import Configuration, models

KINDS = {
    "Namespace": "v1",
    "ServiceAccount": "v1",
    "ConfigMap": "v1",
    "Service": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
}
FOREIGN: dict[str, tuple[str, dict[str, Any]]] = {
    "ServiceMonitor": (
        "monitoring.coreos.com/v1",
        {
            "selector!": {"matchLabels": {"*": str}},
            "namespaceSelector": {"matchNames": [str], "any": bool},
            "endpoints!": [{"port": str, "path": str, "interval": str, "scrapeTimeout": str}],
        },
    ),
    "PrometheusRule": (
        "monitoring.coreos.com/v1",
        {
            "groups!": [
                {
                    "name!": str,
                    "rules!": [
                        {
                            "alert": str,
                            "expr!": str,
                            "for": str,
                            "labels": {"*": str},
                            "annotations": {"*": str},
                        }
                    ],
                }
            ]
        },
    ),
    "ScaledObject": (
        "keda.sh/v1alpha1",
        {
            "scaleTargetRef!": {"apiVersion": str, "kind": str, "name!": str},
            "minReplicaCount": int,
            "maxReplicaCount": int,
            "pollingInterval": int,
            "cooldownPeriod": int,
            "triggers!": [{"type!": str, "metadata!": {"*": str}}],
        },
    ),
}
"""By kind: its version, and its `spec`. `!`: required; `*`: any name."""

ENUMS = {
    ("V1ServiceSpec", "type"): {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"},
    ("V1ServicePort", "protocol"): {"TCP", "UDP", "SCTP"},
    ("V1ContainerPort", "protocol"): {"TCP", "UDP", "SCTP"},
    ("V1NetworkPolicyPort", "protocol"): {"TCP", "UDP", "SCTP"},
    ("V1NetworkPolicySpec", "policyTypes"): {"Ingress", "Egress"},
    ("V1Container", "imagePullPolicy"): {"Always", "IfNotPresent", "Never"},
    ("V1PodSpec", "restartPolicy"): {"Always"},
    ("V1SeccompProfile", "type"): {"RuntimeDefault", "Localhost", "Unconfined"},
    ("V1DeploymentStrategy", "type"): {"RollingUpdate", "Recreate"},
    ("V1StatefulSetSpec", "podManagementPolicy"): {"OrderedReady", "Parallel"},
    ("V1PersistentVolumeClaimSpec", "accessModes"): {
        "ReadWriteOnce",
        "ReadOnlyMany",
        "ReadWriteMany",
        "ReadWriteOncePod",
    },
    ("RbacV1Subject", "kind"): {"ServiceAccount", "User", "Group"},
    ("V1RoleRef", "kind"): {"Role", "ClusterRole"},
    ("V1RoleRef", "apiGroup"): {"rbac.authorization.k8s.io"},
    ("V2MetricSpec", "type"): {"Object", "Pods", "Resource", "ContainerResource", "External"},
    ("V2MetricTarget", "type"): {"Utilization", "Value", "AverageValue"},
    ("V2HPAScalingPolicy", "type"): {"Pods", "Percent"},
    ("V2HPAScalingRules", "selectPolicy"): {"Max", "Min", "Disabled"},
}
"""The models know most of them as any string."""

_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i)?")
_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_PLAIN: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "bool": bool, "float": (int, float)}


def faults(obj: dict[str, Any]) -> list[str]:
    """One line each, with where it is; none when all is well."""
    kind = str(obj.get("kind"))
    version = KINDS.get(kind) or FOREIGN.get(kind, ("",))[0]
    if not version or obj.get("apiVersion") != version:
        return [f"{obj.get('apiVersion')} {kind} is no kind that is known here"]
    name = (obj.get("metadata") or {}).get("name", "")
    found = [] if _SUBDOMAIN.fullmatch(name) else [f"metadata.name: {name!r} is no name"]
    if kind in FOREIGN:
        found += _model(obj["metadata"], "V1ObjectMeta", "metadata")
        found += _shape(
            {key: obj[key] for key in obj if key not in {"apiVersion", "kind", "metadata"}},
            {"spec!": FOREIGN[kind][1]},
            "",
        )
    else:
        found += _model(obj, f"V{version[-1]}{kind}", "")
    return found


def _model(value: object, model: str, where: str) -> Iterator[str]:
    """Against a class of kubernetes_asyncio."""
    if not isinstance(value, dict):
        yield f"{where}: must be a mapping"
        return
    cls = getattr(models, model)
    types = {cls.attribute_map[name]: text for name, text in cls.openapi_types.items()}
    for field in sorted(_required(model) - value.keys()):
        yield f"{_at(where, field)}: is required"
    for field, item in value.items():
        if field not in types:
            yield f"{_at(where, field)}: is unknown"
        else:
            yield from _typed(item, types[field], _at(where, field))
            yield from _enum(item, ENUMS.get((model, field)), _at(where, field))


def _typed(value: object, text: str, where: str) -> Iterator[str]:
    """Against a type as the models write it: `str`, `list[V1Container]`, `dict(str, str)`."""
    if listed := re.fullmatch(r"list\[(.*)\]", text):
        yield from _list(value, where, lambda item, at: _typed(item, listed[1], at))
    elif mapped := re.fullmatch(r"dict\(str, (.*)\)", text):
        yield from _mapping(value, mapped[1], where)
    elif text == "object":  # a number or a name, in what we use; within a schema anything
        if "openAPIV3Schema" in where or where.endswith("subresources.status"):
            return
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield f"{where}: must be a number or a name"
    elif text in _PLAIN:
        if not isinstance(value, _PLAIN[text]) or (isinstance(value, bool) and text != "bool"):
            yield f"{where}: must be {text}, is {value!r}"
        elif (
            text == "str"
            and where.endswith(("averageValue", "storage"))
            and not _QUANTITY.fullmatch(str(value))
        ):
            yield f"{where}: {value!r} is no quantity"
    else:
        yield from _model(value, text, where)


def _mapping(value: object, text: str, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: must be a mapping"
        return
    for key, item in value.items():
        yield from _typed(item, text, _at(where, key))
        quantity = where.endswith(("requests", "limits")) and isinstance(item, str)
        if quantity and not _QUANTITY.fullmatch(item):
            yield f"{_at(where, key)}: {item!r} is no quantity"
        if where.endswith(("labels", "matchLabels")) and not _LABEL.fullmatch(str(item)):
            yield f"{_at(where, key)}: {item!r} is no label's value"


def _list(value: object, where: str, check: Callable[[object, str], Iterator[str]]) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{where}: must be a list"
        return
    for i, item in enumerate(value):
        yield from check(item, f"{where}[{i}]")


def _enum(value: object, allowed: set[str] | None, where: str) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        if allowed is not None and item not in allowed:
            yield f"{where}: {item!r} is none of {', '.join(sorted(allowed))}"


@cache
def _required(model: str) -> set[str]:
    """The fields that a model refuses to be without."""
    lenient, strict = Configuration(), Configuration()
    lenient.client_side_validation, strict.client_side_validation = False, True
    instance = getattr(models, model)(local_vars_configuration=lenient)
    instance.local_vars_configuration = strict
    required = set()
    for attribute, field in instance.attribute_map.items():
        try:
            setattr(instance, attribute, None)
        except ValueError as error:
            if "must not be `None`" in str(error):
                required.add(field)
    return required


def _shape(value: object, shape: Any, where: str) -> Iterator[str]:
    """Against a schema of our own."""
    if isinstance(shape, list):
        yield from _list(value, where, lambda item, at: _shape(item, shape[0], at))
    elif not isinstance(shape, dict):
        if not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool):
            yield f"{where}: must be {shape.__name__}, is {value!r}"
    elif not isinstance(value, dict):
        yield f"{where}: must be a mapping"
    else:
        fields = {field.rstrip("!"): inner for field, inner in shape.items()}
        missing = {field[:-1] for field in shape if field.endswith("!")} - value.keys()
        yield from (f"{_at(where, field)}: is required" for field in sorted(missing))
        for field, item in value.items():
            if field in fields or "*" in fields:
                yield from _shape(item, fields.get(field, fields.get("*")), _at(where, field))
            else:
                yield f"{_at(where, field)}: is unknown"


def _at(where: str, field: object) -> str:
    return f"{where}.{field}" if where else str(field)
