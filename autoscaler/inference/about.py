"""What an InferenceService's metadata asks for and does not get: its name, labels and annotations.

KServe, Knative and their neighbours are told much by labels and annotations. Those that mean nothing here are told of, as are those of KServe that nobody
knows: a misspelt one would else be lost in silence. A core. Neighbour: `resource`, which reads the rest.
"""

import re
from collections.abc import Iterator

from autoscaler.inference.shapes import Fault, Json, text, texts

NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LONGEST = 63
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_KSERVE = "serving.kserve.io/"
_MODE = f"{_KSERVE}deploymentMode"
_READ = {
    _MODE,
    *(f"{_KSERVE}{key}" for key in ("autoscalerClass", "metrics", "targetUtilizationPercentage", "stop")),
    f"{_KSERVE}storageSecretName",
}
"""Here, or by `scaling` and `pods`."""
_ANNOTATED = {
    f"{_KSERVE}enable-prometheus-scraping": "not looked at: annotate the pods by spec.predictor.annotations",
    f"{_KSERVE}enable-tag-routing": "not looked at: there are no routes by tag",
    f"{_KSERVE}enable-metric-aggregation": "not looked at: there is no queue-proxy whose metrics to add",
    f"{_KSERVE}disable-auto-update": "not looked at: a changed runtime is rolled out",
    "storage.kserve.io/readonly": "not looked at: models are mounted read-only",
    "serving.knative.dev/rollout-duration": "not looked at: a new revision takes everything once its pods are ready",
}
_VISIBILITY = ("networking.kserve.io/visibility", "networking.knative.dev/visibility")


def about_faults(about: Json) -> Iterator[Fault]:
    """What is refused of it, and what is only told."""
    name = text(about.get("name"))
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        says = "must be small letters, digits and `-`, begin with a letter, and have at most 63 characters"
        yield Fault("metadata.name", says, refused=True)
    if not _NAMESPACE.fullmatch(text(about.get("namespace")) or "default"):
        yield Fault("metadata.namespace", "is not a namespace's name", refused=True)
    annotations = texts(about.get("annotations"))
    if annotations.get(_MODE) == "ModelMesh":
        says = "ModelMesh is not supported: each InferenceService has pods of its own"
        yield Fault(f"metadata.annotations[{_MODE}]", says, refused=True)
    for key in annotations:
        unknown = key.startswith(_KSERVE) and key not in _READ
        says = _ANNOTATED.get(key, "is not known" if unknown else "")
        if says:
            yield Fault(f"metadata.annotations[{key}]", says, refused=False)
    labels = texts(about.get("labels"))
    for key in _VISIBILITY:
        if labels.get(key) == "cluster-local":
            says = "not looked at: its host and path are answered to whoever reaches the gateways"
            yield Fault(f"metadata.labels[{key}]", says, refused=False)
