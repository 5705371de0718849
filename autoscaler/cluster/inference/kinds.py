"""Which resources the controller of InferenceServices looks at, where the API server has them, and how its copies of them are kept.

A core. Objects stay the API's JSON, without what the server keeps book of; their `kind`, which items of lists lack, is put in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoscaler.inference.shapes import SERVICE_LABEL, meta, text, texts

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name of an InferenceService."""

DOCUMENT_LABEL = "tidegate.dev/document"
DOCUMENT = "inference-service"
"""The label's value on ConfigMaps with the backends and routes of an InferenceService."""
DOCUMENT_OF = "tidegate.dev/inference-service"
"""On such a ConfigMap, as an annotation: NAMESPACE/NAME of its InferenceService."""
DOCUMENT_KEY = "tidegate.yaml"


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource."""

    api_version: str
    kind: str
    plural: str
    selector: str = ""
    """What its lists are narrowed by."""
    optional: bool = False
    """Its definition may be missing, and come later."""
    wide: bool = False
    """It belongs to no namespace."""

    def path(self, namespace: str = "", name: str = "") -> str:
        """Of one object, of those in a namespace, or of all."""
        base = "/api" if "/" not in self.api_version else "/apis"
        place = f"/namespaces/{namespace}" if namespace else ""
        return f"{base}/{self.api_version}{place}/{self.plural}" + (f"/{name}" if name else "")

    def kept(self, item: Mapping[str, Any]) -> Object:
        """The copy of an object."""
        about = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
        return {**item, "apiVersion": self.api_version, "kind": self.kind, "metadata": about}

    def __str__(self) -> str:
        return f"{self.plural} of {self.api_version}"


SERVICES = tuple(
    Kind(f"{group}/v1beta1", "InferenceService", "inferenceservices", optional=True)
    for group in ("serving.kserve.io", "serving.kubeflow.org")
)
"""In the order in which they have a name that both have."""
RUNTIMES = (
    Kind("serving.kserve.io/v1alpha1", "ServingRuntime", "servingruntimes", optional=True),
    Kind(
        "serving.kserve.io/v1alpha1",
        "ClusterServingRuntime",
        "clusterservingruntimes",
        optional=True,
        wide=True,
    ),
)
MADE = (
    Kind("apps/v1", "Deployment", "deployments", selector=SERVICE_LABEL),
    Kind("v1", "Service", "services", selector=SERVICE_LABEL),
    Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", selector=SERVICE_LABEL),
)
DOCUMENTS = Kind("v1", "ConfigMap", "configmaps", selector=f"{DOCUMENT_LABEL}={DOCUMENT}")

_BY_KIND = {kind.kind: kind for kind in MADE}


def made_kind(item: Mapping[str, Any]) -> Kind:
    """The resource of something that is made of an InferenceService."""
    return _BY_KIND[item["kind"]]


def key_of(item: Mapping[str, Any]) -> Key:
    """Of an InferenceService itself."""
    return text(meta(item).get("namespace")), text(meta(item).get("name"))


def owner_of(item: Mapping[str, Any]) -> Key:
    """Of something that is made of one: which it says it belongs to."""
    about = meta(item)
    if item.get("kind") == DOCUMENTS.kind:
        namespace, _, name = texts(about.get("annotations")).get(DOCUMENT_OF, "").partition("/")
        return namespace, name
    return text(about.get("namespace")), texts(about.get("labels")).get(SERVICE_LABEL, "")


def version_of(item: Mapping[str, Any]) -> str:
    return text(meta(item).get("resourceVersion"))


def is_older(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether it is a state from before the other's. Where versions are no numbers nobody can tell, and what comes later counts."""
    mine, others = version_of(one), version_of(other)
    same = meta(one).get("uid") == meta(other).get("uid")
    return same and mine.isdecimal() and others.isdecimal() and int(mine) < int(others)
