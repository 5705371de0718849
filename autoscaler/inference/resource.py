"""An InferenceService of the API to a typed one, with everything of it that is not done as it says.

Both spellings of a predictor become one: `tensorflow: {storageUri}` is `model: {modelFormat: {name: tensorflow}, storageUri}`. What would change
what is served, and is not there, is refused; what can be left out without harm is reported. Nothing raises, whatever the object holds.
A core. `about` looks at the metadata, `pods` makes pods of a Predictor, `scaling` its bounds, `wanted` asks for both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autoscaler.inference.about import LONGEST, NAME, about_faults
from autoscaler.inference.shapes import (
    REVISION_OURS,
    Fault,
    Json,
    listing,
    mapping,
    mappings,
    meta,
    text,
    texts,
)

FRAMEWORKS = (
    "sklearn",
    "xgboost",
    "tensorflow",
    "pytorch",
    "triton",
    "onnx",
    "huggingface",
    "pmml",
    "lightgbm",
    "paddle",
)
SERVING = "kserve-container"
"""The container that answers."""
STOP = "serving.kserve.io/stop"
_V2 = {"triton", "onnx", "huggingface"}
"""Frameworks that speak V2 unless told otherwise; of formats under `model`, Triton's and vLLM's."""
_V2_MODELS = {"triton", "vllm"}

EXTENSION = (
    "minReplicas",
    "maxReplicas",
    "scaleTarget",
    "scaleMetric",
    "scaleMetricType",
    "autoScaling",
    "containerConcurrency",
    "timeout",
    "canaryTrafficPercent",
    "deploymentStrategy",
)
_POD = frozenset(
    [
        "activeDeadlineSeconds",
        "affinity",
        "automountServiceAccountToken",
        "containers",
        "dnsConfig",
        "dnsPolicy",
        "enableServiceLinks",
        "hostAliases",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "hostUsers",
        "hostname",
        "imagePullSecrets",
        "initContainers",
        "nodeName",
        "nodeSelector",
        "os",
        "overhead",
        "preemptionPolicy",
        "priority",
        "priorityClassName",
        "readinessGates",
        "resourceClaims",
        "runtimeClassName",
        "schedulerName",
        "schedulingGates",
        "securityContext",
        "serviceAccount",
        "serviceAccountName",
        "setHostnameAsFQDN",
        "shareProcessNamespace",
        "subdomain",
        "terminationGracePeriodSeconds",
        "tolerations",
        "topologySpreadConstraints",
        "volumes",
    ]
)
_CONTAINER = frozenset(
    [
        "args",
        "command",
        "env",
        "envFrom",
        "image",
        "imagePullPolicy",
        "lifecycle",
        "livenessProbe",
        "name",
        "ports",
        "readinessProbe",
        "resizePolicy",
        "resources",
        "restartPolicy",
        "securityContext",
        "startupProbe",
        "stdin",
        "stdinOnce",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "tty",
        "volumeDevices",
        "volumeMounts",
        "workingDir",
    ]
)
_MODEL = _CONTAINER | {"modelFormat", "runtime", "storageUri", "runtimeVersion", "protocolVersion"}
_REFUSED = {
    "workerSpec": "models over several nodes are not supported",
    "batcher": "requests are not put together here: let the model server do it, or leave it out",
    "logger": "requests are not copied anywhere: leave it out",
    "ephemeralContainers": "containers are added to a pod that runs, not to a template",
}
_REPORTED = {
    "storageContainerName": "not looked at: the init container is that of the settings",
    "restartPolicy": "not looked at: pods of a Deployment are always restarted",
}


@dataclass(frozen=True, slots=True)
class Predictor:
    """One set of equal pods, in the newer spelling."""

    path: str
    name: str
    model: Json | None
    """None: a container of one's own, in `pod`."""
    storage: tuple[tuple[str, str], ...]
    """`storageUris`: the URI and where it is mounted."""
    pod: Json
    labels: dict[str, str]
    annotations: dict[str, str]
    extension: Json
    """How it is scaled and rolled out, as the object has it."""

    @property
    def part(self) -> Json:
        """What a pod is made of: any change of it is a new revision."""
        return {
            "name": self.name,
            "model": self.model,
            "storage": [list(pair) for pair in self.storage],
            "pod": self.pod,
            "labels": self.labels,
            "annotations": {k: v for k, v in self.annotations.items() if not k.startswith(REVISION_OURS)},
        }


@dataclass(frozen=True, slots=True)
class Canary:
    """One of `spec.canary`."""

    predictor: Predictor
    percent: int


@dataclass(frozen=True, slots=True)
class InferenceService:
    """An InferenceService."""

    name: str
    namespace: str
    uid: str
    generation: int
    api_version: str
    labels: dict[str, str]
    annotations: dict[str, str]
    predictor: Predictor
    canaries: tuple[Canary, ...]
    percent: int | None
    """`canaryTrafficPercent`."""
    status: Json
    faults: tuple[Fault, ...]

    @property
    def stopped(self) -> bool:
        return self.annotations.get(STOP, "").lower() == "true"

    def told(self, given: dict[str, str]) -> dict[str, str]:
        """Those of its labels or annotations that its pods get, too."""
        ours = (*REVISION_OURS, "kubectl.kubernetes.io/")
        return {k: v for k, v in given.items() if not k.startswith(ours)}


def read(item: Mapping[str, Any]) -> InferenceService:
    """Whatever it holds; what is wrong with it is in `faults`."""
    about, spec = meta(item), mapping(item.get("spec"))
    annotations = texts(about.get("annotations"))
    predictor = _predictor(mapping(spec.get("predictor")), "spec.predictor")
    percent, wrong = _percent(predictor.extension.get("canaryTrafficPercent"))
    canaries = tuple(_canary(entry, i) for i, entry in enumerate(mappings(spec.get("canary"))))
    faults = [
        *about_faults(about),
        *_spec_faults(spec, predictor, canaries),
        *([Fault("spec.predictor.canaryTrafficPercent", wrong, refused=True)] if wrong else ()),
    ]
    generation = about.get("generation")
    return InferenceService(
        name=text(about.get("name")),
        namespace=text(about.get("namespace")) or "default",
        uid=text(about.get("uid")),
        generation=generation if isinstance(generation, int) else 0,
        api_version=text(item.get("apiVersion")) or "serving.kserve.io/v1beta1",
        labels=texts(about.get("labels")),
        annotations=annotations,
        predictor=predictor,
        canaries=canaries,
        percent=percent,
        status=mapping(item.get("status")),
        faults=tuple(faults),
    )


def _percent(value: object) -> tuple[int | None, str]:
    if value is None:
        return None, ""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100:
        return value, ""
    return None, "must be a whole number from 0 to 100"


def _canary(entry: Json, i: int) -> Canary:
    percent, _ = _percent(entry.get("trafficPercent"))
    return Canary(_predictor(mapping(entry.get("predictor")), f"spec.canary[{i}].predictor"), percent or 0)


def _predictor(spec: Json, path: str) -> Predictor:
    model = mapping(spec["model"]) if isinstance(spec.get("model"), Mapping) else None
    for framework in FRAMEWORKS:
        if model is None and isinstance(spec.get(framework), Mapping):
            model = {**mapping(spec[framework]), "modelFormat": {"name": framework}}
            if framework in _V2:
                model.setdefault("protocolVersion", "v2")
    if model is not None:
        form = text(mapping(model.get("modelFormat")).get("name"))
        if form in _V2_MODELS and not model.get("protocolVersion"):
            model["protocolVersion"] = "v2"
        model = {k: v for k, v in model.items() if k in _MODEL and v is not None}
    storage = mappings(spec.get("storageUris"))
    return Predictor(
        path=path,
        name=text(spec.get("name")),
        model=model,
        storage=tuple((text(s.get("uri")), text(s.get("mountPath")) or "/mnt/models") for s in storage),
        pod={k: v for k, v in spec.items() if k in _POD and v is not None},
        labels=texts(spec.get("labels")),
        annotations=texts(spec.get("annotations")),
        extension={k: spec[k] for k in EXTENSION if spec.get(k) is not None},
    )


def _spec_faults(spec: Json, predictor: Predictor, canaries: tuple[Canary, ...]) -> Iterator[Fault]:
    for key in ("transformer", "explainer"):
        if spec.get(key) is not None:
            says = "is not supported: deploy it as an InferenceService or a Deployment of its own that asks this one"
            yield Fault(f"spec.{key}", says, refused=True)
    for key in spec:
        if key not in {"predictor", "transformer", "explainer", "canary"}:
            says = (
                "is v1alpha2's: write `predictor`, as v1beta1 has it" if key == "default" else "is not known"
            )
            yield Fault(f"spec.{key}", says, refused=False)
    yield from _predictor_faults(mapping(spec.get("predictor")), predictor)
    entries = mappings(spec.get("canary"))
    names = [predictor.name]
    for i, (entry, canary) in enumerate(zip(entries, canaries, strict=True)):
        yield from _predictor_faults(mapping(entry.get("predictor")), canary.predictor)
        name, path = canary.predictor.name, f"spec.canary[{i}]"
        if not name or name in names:
            yield Fault(
                f"{path}.predictor.name", "must be given, and be another than the others'", refused=True
            )
        names.append(name)
        if _percent(entry.get("trafficPercent"))[0] is None:
            yield Fault(f"{path}.trafficPercent", "must be a whole number from 0 to 100", refused=True)
    if len(entries) != len(listing(spec.get("canary"))):
        yield Fault("spec.canary", "must be a list of mappings", refused=True)
    if sum(canary.percent for canary in canaries) > 100:
        yield Fault("spec.canary", "all trafficPercent together must not be above 100", refused=True)


def _predictor_faults(spec: Json, predictor: Predictor) -> Iterator[Fault]:
    path = predictor.path
    if predictor.name and (not NAME.fullmatch(predictor.name) or len(predictor.name) > LONGEST):
        yield Fault(
            f"{path}.name", "must be small letters, digits and `-`, and begin with a letter", refused=True
        )
    given = [key for key in (*FRAMEWORKS, "model") if isinstance(spec.get(key), Mapping)]
    own = any(c.get("name") == SERVING for c in mappings(spec.get("containers")))
    if len(given) + own > 1:
        found = " and ".join([*given, *["a container of one's own"] * own])
        yield Fault(
            path, f"must have one of model, {', '.join(FRAMEWORKS)} or containers, got {found}", refused=True
        )
    known = {*FRAMEWORKS, "model", "name", "storageUris", "labels", "annotations", *EXTENSION, *_POD}
    for key, value in spec.items():
        if value is None or (key in known and key not in _REPORTED):
            continue
        if key in _REFUSED:
            yield Fault(f"{path}.{key}", _REFUSED[key], refused=True)
        elif key in _REPORTED:
            yield Fault(f"{path}.{key}", _REPORTED[key], refused=False)
        else:
            yield Fault(f"{path}.{key}", "is not known", refused=False)
    for key in ("labels", "annotations"):
        if spec.get(key) is not None and texts(spec[key]) != spec[key]:
            yield Fault(f"{path}.{key}", "must be texts by name: put numbers in quotes", refused=True)
    yield from _container_faults(spec, path)
    if given:
        yield from _model_faults(mapping(spec[given[0]]), predictor, f"{path}.{given[0]}")
    elif not mappings(spec.get("containers")):
        yield Fault(path, f"must have one of model, {', '.join(FRAMEWORKS)} or containers", refused=True)


def _container_faults(spec: Json, path: str) -> Iterator[Fault]:
    names: list[str] = []
    for key in ("initContainers", "containers"):
        containers = mappings(spec.get(key))
        if len(containers) != len(listing(spec.get(key))) or (spec.get(key) and not containers):
            yield Fault(f"{path}.{key}", "must be a list of containers", refused=True)
        for i, container in enumerate(containers):
            name = text(container.get("name")) or (SERVING if key == "containers" and not i else "")
            if not name or name in names:
                yield Fault(
                    f"{path}.{key}[{i}].name", "must be given, and be another than the others'", refused=True
                )
            names.append(name)
            if not text(container.get("image")):
                yield Fault(f"{path}.{key}[{i}].image", "must be given", refused=True)


def _model_faults(spec: Json, predictor: Predictor, path: str) -> Iterator[Fault]:
    model = predictor.model or {}
    if not text(mapping(model.get("modelFormat")).get("name")):
        yield Fault(f"{path}.modelFormat.name", "must be given", refused=True)
    if spec.get("storage") is not None:
        says = "the Secret of storage is not read: give the storageUri, and the credentials by serviceAccountName"
        yield Fault(f"{path}.storage", says, refused=True)
    if mapping(spec.get("confidential")).get("enabled"):
        yield Fault(f"{path}.confidential", "encrypted models are not supported", refused=True)
    if predictor.storage and model.get("storageUri"):
        yield Fault(f"{path}.storageUri", "cannot stand beside storageUris", refused=True)
    if text(model.get("protocolVersion")).startswith("grpc"):
        yield Fault(
            f"{path}.protocolVersion", "gRPC is not supported: pods are spoken to over HTTP/1.1", refused=True
        )
    if text(spec.get("name")) not in {"", SERVING}:
        yield Fault(f"{path}.name", f"must be {SERVING}, or left out", refused=True)
    for key in ("image", "storageUri", "runtime", "runtimeVersion", "protocolVersion"):
        if model.get(key) is not None and not isinstance(model[key], str):
            yield Fault(f"{path}.{key}", "must be text: put it in quotes", refused=True)
    if model.get("image") == "":
        yield Fault(f"{path}.image", "must be an image's name", refused=True)
    for key in spec:
        if key not in _MODEL and key not in {"storage", "confidential"}:
            yield Fault(f"{path}.{key}", "is not known", refused=False)
