"""A predictor to the template of its pods: its runtime's container under its own, storage, a probe, labels.

A core. Merged as KServe does: lists with names (env, ports, mounts, volumes) by name, mappings key by key, arguments one behind the other,
anything else replaced. `{{.Name}}`, `{{.Namespace}}`, `{{.Labels.x}}` and `{{.Annotations.x}}` stand for the InferenceService's.
"""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from autoscaler.inference.credentials import NAMED
from autoscaler.inference.resource import SERVING, InferenceService, Predictor
from autoscaler.inference.runtimes import Model, Runtime
from autoscaler.inference.shapes import (
    REVISION_LABEL,
    SERVICE_LABEL,
    Credentials,
    Fault,
    Json,
    Settings,
    Use,
    listing,
    mapping,
    mappings,
    shortened,
    text,
    texts,
)
from autoscaler.inference.storage import MODELS, is_fetched, storage_faults, with_storage

DEFAULT_PORT = 8080
_LAST_PORT = 65535
_KEYS = {
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "volumes": "name",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "resourceClaims": "name",
}
_MERGED = {"resources", "securityContext", "requests", "limits", "nodeSelector"}
_PLACE = re.compile(r"\{\{\s*\.(Name|Namespace|(?:Labels|Annotations)\.[^\s}]+)\s*\}\}")
_TAG = re.compile(r":[\w.-]*$")
_RUNTIME_POD = (
    "nodeSelector",
    "affinity",
    "tolerations",
    "volumes",
    "imagePullSecrets",
    "schedulerName",
    "resourceClaims",
    "hostIPC",
)
_GPU_TAGS = {"tensorflow-serving", "torchserve", "huggingfaceserver"}
"""Servers whose images for GPUs have the same name and a tag that ends in `-gpu`."""
_ENVELOPES = {"v1": "kserve", "v2": "kservev2"}
_OF_MODEL = {"modelFormat", "runtime", "storageUri", "runtimeVersion", "protocolVersion"}


def model_of(predictor: Predictor) -> Model | None:
    """What its runtime is chosen by; None: it needs none."""
    spec = predictor.model
    if spec is None:
        return None
    form = mapping(spec.get("modelFormat"))
    return Model(
        form=text(form.get("name")),
        version=text(form.get("version")),
        protocol=text(spec.get("protocolVersion")),
        runtime=text(spec.get("runtime")),
    )


def uris_of(predictor: Predictor) -> list[tuple[str, str]]:
    """All that it is given: each URI and the folder that it is put into."""
    if predictor.storage:
        return list(predictor.storage)
    if predictor.model is not None:
        uri = text(predictor.model.get("storageUri"))
    else:
        uri = next((text(e.get("value")) for e in _env(predictor) if e.get("name") == "STORAGE_URI"), "")
    return [(uri, MODELS)] if uri else []


def named_secret(service: InferenceService, predictor: Predictor) -> str:
    """The one Secret that its annotation names, or ""."""
    return predictor.annotations.get(NAMED) or service.annotations.get(NAMED, "")


def use_of(service: InferenceService, predictor: Predictor) -> Use | None:
    """Whose credentials fetch its models; None: nothing is fetched."""
    if not any(is_fetched(uri) for uri, _ in uris_of(predictor)):
        return None
    account = predictor.pod.get("serviceAccountName") or predictor.pod.get("serviceAccount")
    return text(account) or "default", named_secret(service, predictor)


def _env(predictor: Predictor) -> list[Json]:
    container = serving_of(predictor.pod)
    return mappings(container.get("env"))


def pod_faults(predictor: Predictor, runtime: Runtime | None) -> Iterator[Fault]:
    """What of its pods cannot be made, or will hardly do."""
    where = f"{predictor.path}.{'model' if predictor.model is not None else 'containers'}"
    uris = uris_of(predictor)
    yield from storage_faults(uris, f"{where}.storageUri")
    container = serving_of(predictor.pod) if predictor.model is None else (predictor.model or {})
    ports = [mapping(port) for port in listing(container.get("ports"))]
    if any(not _is_port(port.get("containerPort")) for port in ports):
        yield Fault(
            f"{where}.ports", f"must be a list of containerPorts between 1 and {_LAST_PORT}", refused=True
        )
    elif ports and not http_ports(container):
        yield Fault(f"{where}.ports", "none speaks HTTP/1.1: gRPC and h2c are not supported", refused=True)
    if (
        runtime is not None
        and runtime.server_type == "torchserve"
        and any(u.endswith(".mar") for u, _ in uris)
    ):
        says = "TorchServe reads model-store/ and config/config.properties: if it does not start, name the folder that has both"
        yield Fault(f"{where}.storageUri", says, refused=False)
    if predictor.model is not None and runtime is not None:
        yield from _runtime_faults(runtime, container, f"{where}.runtime")


def _runtime_faults(runtime: Runtime, own: Json, path: str) -> Iterator[Fault]:
    """`own`: the predictor's, whose ports come beside the runtime's."""
    containers = mappings(runtime.spec.get("containers"))
    given = serving_of({"containers": containers})
    if not containers:
        yield Fault(path, f"{runtime.name} has no containers", refused=True)
    elif listing(given.get("ports")) and not http_ports(given) and not http_ports(own):
        says = f"{runtime.name} has no port that speaks HTTP/1.1: gRPC and h2c are not supported"
        yield Fault(path, says, refused=True)


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LAST_PORT


def http_ports(container: Mapping[str, Any]) -> list[int]:
    """The ports that speak HTTP/1.1, the named ones first."""
    ports = [p for p in mappings(container.get("ports")) if _is_port(p.get("containerPort"))]
    plain = [p for p in ports if (p.get("protocol") or "TCP") == "TCP"]
    plain = [p for p in plain if not text(p.get("name")).startswith(("h2c", "grpc", "metrics"))]
    plain.sort(key=lambda p: not text(p.get("name")).startswith("http"))
    return [p["containerPort"] for p in plain]


def serving_of(pod: Mapping[str, Any]) -> Json:
    """The container that answers; KServe's name for it, else the first."""
    containers = mappings(pod.get("containers"))
    return next((c for c in containers if c.get("name") == SERVING), containers[0] if containers else {})


def port_of(pod: Mapping[str, Any]) -> int:
    ports = http_ports(serving_of(pod))
    return ports[0] if ports else DEFAULT_PORT


def template_of(
    service: InferenceService,
    predictor: Predictor,
    runtime: Runtime | None,
    settings: Settings,
    revision: str,
    *,
    credentials: Credentials,
) -> Json:
    """The `template` of a revision's Deployment."""
    spec = _of_runtime(service, predictor, runtime) if runtime is not None else _of_containers(predictor)
    serving = serving_of(spec)
    with_storage(spec, serving, uris_of(predictor), settings.storage_initializer, credentials)
    port = port_of(spec)
    if not http_ports(serving):
        serving["ports"] = [*mappings(serving.get("ports")), {"containerPort": port, "protocol": "TCP"}]
    serving.setdefault("readinessProbe", {"tcpSocket": {"port": port}, "periodSeconds": 5})
    spec["containers"] = [serving if c.get("name") == serving["name"] else c for c in spec["containers"]]
    about = runtime.spec if runtime is not None else {}
    return {
        "metadata": {
            "labels": {
                **texts(about.get("labels")),
                **service.told(service.labels),
                **service.told(predictor.labels),
                "app": shortened(f"isvc.{service.name}-predictor"),
                "component": "predictor",
                SERVICE_LABEL: service.name,
                REVISION_LABEL: revision,
            },
            "annotations": {
                **texts(about.get("annotations")),
                **service.told(service.annotations),
                **service.told(predictor.annotations),
            },
        },
        "spec": spec,
    }


def _of_containers(predictor: Predictor) -> Json:
    pod = deepcopy(predictor.pod)
    containers = mappings(pod.get("containers"))
    if containers and not containers[0].get("name"):
        containers[0]["name"] = SERVING
    return pod | {"containers": containers}


def _of_runtime(service: InferenceService, predictor: Predictor, runtime: Runtime) -> Json:
    model = predictor.model or {}
    given = mappings(runtime.spec.get("containers"))
    base = serving_of({"containers": given})
    own = {k: v for k, v in deepcopy(model).items() if k not in _OF_MODEL}
    merged = merge(_unsized(base, own), own) | {"name": base.get("name") or SERVING}
    args = [*listing(base.get("args")), *listing(own.get("args"))]
    if args:
        merged["args"] = args
    filled = _filled(merged, service, _labels(service, predictor, runtime))
    container = {**filled, "image": _image(filled, text(model.get("runtimeVersion")), runtime, own)}
    pod = merge(
        {k: deepcopy(runtime.spec[k]) for k in _RUNTIME_POD if runtime.spec.get(k) is not None}, predictor.pod
    )
    others = [c for c in given if c is not base and c.get("name") != container["name"]]
    sides = {text(c.get("name")): c for c in (*others, *mappings(predictor.pod.get("containers")))}
    return pod | {"containers": [container, *(deepcopy(c) for c in sides.values())]}


def _unsized(base: Json, own: Json) -> Json:
    """Without the sizes that the predictor speaks of: a request of its own must not meet a smaller limit of the runtime's."""
    given = mapping(own.get("resources"))
    said = {*mapping(given.get("limits")), *mapping(given.get("requests"))}
    sizes = {
        key: {name: size for name, size in mapping(value).items() if name not in said}
        for key, value in mapping(base.get("resources")).items()
        if key in {"limits", "requests"}
    }
    return base | ({"resources": mapping(base.get("resources")) | sizes} if sizes else {})


def _labels(service: InferenceService, predictor: Predictor, runtime: Runtime) -> dict[str, str]:
    """What `{{.Labels.x}}` stands for: TorchServe is told the protocol by a label that KServe makes up."""
    protocol = text((predictor.model or {}).get("protocolVersion")) or "v1"
    envelope = (
        {"serviceEnvelope": _ENVELOPES.get(protocol, "kserve")} if runtime.server_type == "torchserve" else {}
    )
    return {**envelope, **service.labels}


def _filled(value: Any, service: InferenceService, labels: dict[str, str]) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        return _PLACE.sub(lambda m: _named(m[1], service, labels), value)
    if isinstance(value, list):
        return [_filled(item, service, labels) for item in value]
    if isinstance(value, Mapping):
        return {k: _filled(v, service, labels) for k, v in value.items()}
    return value


def _named(what: str, service: InferenceService, labels: dict[str, str]) -> str:
    if what in {"Name", "Namespace"}:
        return service.name if what == "Name" else service.namespace
    kind, _, key = what.partition(".")
    return (labels if kind == "Labels" else service.annotations).get(key, "")


def _image(container: Json, version: str, runtime: Runtime, own: Json) -> str:
    image = text(container.get("image"))
    if "@" in image:
        return image
    if version:
        return f"{_TAG.sub('', image)}:{version}"
    resources = mapping(container.get("resources"))
    names = {*mapping(resources.get("limits")), *mapping(resources.get("requests"))}
    gpu = any(name.rpartition("/")[2] == "gpu" or "/mig-" in name for name in names)
    plain = gpu and "image" not in own and runtime.server_type in _GPU_TAGS and not image.endswith("-gpu")
    return f"{image}-gpu" if plain and _TAG.search(image) else image


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Json:
    """One mapping of a pod over another."""
    merged: Json = deepcopy(dict(base))
    for key, value in over.items():
        old = merged.get(key)
        if key in _KEYS and isinstance(old, list):
            merged[key] = _by_key(mappings(old), mappings(value), _KEYS[key])
        elif key in _MERGED and isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(old, value)
        else:
            merged[key] = deepcopy(value)
    return merged


def _by_key(old: list[Json], new: list[Json], key: str) -> list[Json]:
    named = {repr(item.get(key)): item for item in new}
    kept = [named.pop(repr(item.get(key)), item) for item in old]
    return [*kept, *named.values()]
