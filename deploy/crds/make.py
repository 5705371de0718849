"""Writes the CustomResourceDefinitions of InferenceService, for clusters that have none: `make crds`.

What a pod may be is taken from the Kubernetes client's own models, the rest is laid out here: names, types and what is required, as KServe's
users know them. Without descriptions; still too large for a client's `kubectl apply`: `--server-side` takes them. Two groups, one schema: the older spelling is `serving.kubeflow.org`.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from kubernetes_asyncio.client import Configuration, models

Schema = dict[str, Any]

HERE = Path(__file__).parent
GROUPS = ("serving.kserve.io", "serving.kubeflow.org")
FORMATS = (
    "huggingface",
    "lightgbm",
    "onnx",
    "paddle",
    "pmml",
    "pytorch",
    "sklearn",
    "tensorflow",
    "triton",
    "xgboost",
)

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
INT32: Schema = {"type": "integer", "format": "int32"}
INT64: Schema = {"type": "integer", "format": "int64"}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}
LABELS: Schema = {"type": "object", "additionalProperties": TEXT}
EITHER: Schema = {"x-kubernetes-int-or-string": True}
"""A whole number or a text, as in maxSurge."""
QUANTITY: Schema = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
    "x-kubernetes-int-or-string": True,
}
QUANTITIES: Schema = {"type": "object", "additionalProperties": QUANTITY}


def obj(required: str = "", /, **properties: Schema) -> Schema:
    """An object with these properties, of which those named in `required` must be there."""
    found: Schema = {"type": "object", "properties": dict(sorted(properties.items()))}
    return {**found, "required": sorted(required.split())} if required else found


def many(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


# -- of the Kubernetes client's models

_NUMBERS = {
    ("V1ResourceRequirements", "limits"): QUANTITIES,
    ("V1ResourceRequirements", "requests"): QUANTITIES,
    ("V1VolumeResourceRequirements", "limits"): QUANTITIES,
    ("V1VolumeResourceRequirements", "requests"): QUANTITIES,
    ("V1PodSpec", "overhead"): QUANTITIES,
    ("V1EmptyDirVolumeSource", "size_limit"): QUANTITY,
    ("V1ResourceFieldSelector", "divisor"): QUANTITY,
    ("V2MetricTarget", "value"): QUANTITY,
    ("V2MetricTarget", "average_value"): QUANTITY,
    ("V2HPAScalingRules", "tolerance"): QUANTITY,
}
"""Quantities, which the models take for texts."""
_KEYS = {
    ("V1PodSpec", "topology_spread_constraints"): ["topologyKey", "whenUnsatisfiable"],
    ("V1PodSpec", "resource_claims"): ["name"],
    ("V1PodSpec", "scheduling_gates"): ["name"],
    ("V1ResourceRequirements", "claims"): ["name"],
    ("V1Container", "ports"): ["containerPort", "protocol"],
    ("V1Container", "env"): ["name"],
    ("V1Container", "volume_devices"): ["devicePath"],
    ("V1Container", "volume_mounts"): ["mountPath"],
}
"""Lists whose items are known by these fields: what server-side apply merges them by."""
_DEFAULTS = {("V1ContainerPort", "protocol"): "TCP"}
_LEFT_OUT = {("V1PodSpec", "ephemeral_containers")}
_ATOMS = {"str": TEXT, "int": WHOLE, "bool": FLAG, "float": {"type": "number"}, "object": EITHER}


@cache
def _model(name: str) -> str:
    """As JSON, which can be cached and is never shared."""
    kind = getattr(models, name)
    if name == "V1ObjectMeta":  # of a claim's template
        names = obj("", annotations=LABELS, finalizers=TEXTS, labels=LABELS, name=TEXT, namespace=TEXT)
        return json.dumps(names)
    properties = {
        kind.attribute_map[field]: _field(name, field, typed)
        for field, typed in kind.openapi_types.items()
        if (name, field) not in _LEFT_OUT
    }
    required = [kind.attribute_map[field] for field in kind.openapi_types if _is_required(kind, field)]
    return json.dumps(obj(" ".join(required), **properties))


def model(name: str) -> Schema:
    """The schema of one of the client's models, such as V1Container."""
    found: Schema = json.loads(_model(name))
    return found


def _field(owner: str, field: str, typed: str) -> Schema:
    found = _NUMBERS.get((owner, field)) or _typed(typed)
    if (owner, field) in _DEFAULTS:
        found = {**found, "default": _DEFAULTS[owner, field]}
    if keys := _KEYS.get((owner, field)):
        found = {**found, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}
    return found


def _typed(typed: str) -> Schema:
    if listed := re.fullmatch(r"list\[(.+)\]", typed):
        return many(_typed(listed[1]))
    if mapped := re.fullmatch(r"dict\(str, (.+)\)", typed):
        return {"type": "object", "additionalProperties": _typed(mapped[1])}
    return _ATOMS.get(typed) or model(typed)


def _is_required(kind: type, field: str) -> bool:
    """The models say it by refusing None."""
    configuration = Configuration()
    configuration.client_side_validation = True
    try:
        setattr(_bare(kind, configuration), field, None)
    except ValueError:
        return True
    return False


def _bare(kind: type, configuration: Configuration) -> Any:  # noqa: ANN401 (an instance of any model)
    """One that was not checked, so that it can be without what it must have."""
    made = kind.__new__(kind)
    made.local_vars_configuration = configuration
    return made


# -- of InferenceService


def pod() -> Schema:
    return model("V1PodSpec")


def optional(schema: Schema, *names: str) -> Schema:
    """The same, but that these properties need not be there."""
    required = [name for name in schema.get("required", ()) if name not in names]
    rest = {key: value for key, value in schema.items() if key != "required"}
    return {**rest, "required": required} if required else rest


def merged(*schemas: Schema) -> Schema:
    """One object with the properties of all: what Go embeds."""
    properties: dict[str, Schema] = {}
    required: set[str] = set()
    for schema in schemas:
        properties |= schema["properties"]
        required |= set(schema.get("required", ()))
    return obj(" ".join(required), **properties)


STORAGE = obj("", key=TEXT, parameters=LABELS, path=TEXT)
URIS: Schema = {
    **many(
        obj(
            "uri",
            uri={**TEXT, "minLength": 1},
            mountPath={**TEXT, "default": "/mnt/models", "maxLength": 255, "pattern": "^/.*"},
        )
    ),
    "minItems": 1,
    "x-kubernetes-list-type": "atomic",
}


def served(**more: Schema) -> Schema:
    """A model server: a container that has its name and its port from its runtime, and what it serves."""
    storage = merged(STORAGE, obj("", schemaPath=TEXT))
    about = obj("", storageUri=TEXT, runtimeVersion=TEXT, storage=storage, **more)
    container = optional(model("V1Container"), "name")
    for probe in ("livenessProbe", "readinessProbe"):
        asked = container["properties"][probe]["properties"]
        asked |= {how: optional(asked[how], "port") for how in ("httpGet", "tcpSocket")}
    return merged(container, about)


def predicting(**more: Schema) -> Schema:
    confidential = obj("enabled", enabled=FLAG, resourceId=TEXT)
    return served(protocolVersion=TEXT, confidential=confidential, **more)


def scaling() -> Schema:
    target = obj(
        "",
        type=one_of("Utilization", "Value", "AverageValue"),
        value=QUANTITY,
        averageValue=QUANTITY,
        averageUtilization=INT32,
    )
    external = obj(
        "", backend=one_of("prometheus", "graphite"), serverAddress=TEXT, query=TEXT, namespace=TEXT
    )
    of_pods = obj(
        "",
        backend=one_of("opentelemetry"),
        serverAddress=TEXT,
        metricNames=TEXTS,
        query=TEXT,
        operationOverTime=TEXT,
    )
    credentials = obj("authenticationRef", authModes=TEXT, authenticationRef=obj("name", name=TEXT))
    metric = obj(
        "type",
        type=one_of("Resource", "External", "PodMetric"),
        resource=obj("name target", name=one_of("cpu", "memory"), target=target),
        external=obj("metric target", metric=external, target=target, authenticationRef=credentials),
        podmetric=obj("metric target", metric=of_pods, target=target),
    )
    return obj("", metrics=many(metric), behavior=model("V2HorizontalPodAutoscalerBehavior"))


def component() -> Schema:
    """What predictor, transformer and explainer have in common."""
    logger = obj(
        "",
        url=TEXT,
        mode=one_of("all", "request", "response"),
        metadataHeaders=TEXTS,
        metadataAnnotations=TEXTS,
        storage=merged(STORAGE, obj("", serviceAccountName=TEXT)),
        marshallerUrl=TEXT,
        batchSize=WHOLE,
        batchInterval=TEXT,
    )
    return obj(
        "",
        minReplicas=INT32,
        maxReplicas=INT32,
        scaleTarget=INT32,
        scaleMetric=one_of("cpu", "memory", "concurrency", "rps"),
        scaleMetricType=one_of("Utilization", "Value", "AverageValue"),
        autoScaling=scaling(),
        containerConcurrency=INT64,
        timeout=INT64,
        canaryTrafficPercent=INT64,
        logger=logger,
        batcher=obj("", maxBatchSize=WHOLE, maxLatency=WHOLE, timeout=WHOLE),
        labels=LABELS,
        annotations=LABELS,
        deploymentStrategy=model("V1DeploymentStrategy"),
        storageUris=URIS,
    )


def predictor() -> Schema:
    servers = {name: predicting() for name in FORMATS}
    servers["model"] = predicting(modelFormat=obj("name", name=TEXT, version=TEXT), runtime=TEXT)
    worker = merged(pod(), obj("", pipelineParallelSize=WHOLE, tensorParallelSize=WHOLE))
    own = obj(
        "",
        name={**TEXT, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"},
        storageContainerName=TEXT,
        workerSpec=optional(worker, "containers"),
        **servers,
    )
    return optional(merged(pod(), component(), own), "containers")


def spec() -> Schema:
    explainer = merged(pod(), component(), obj("", art=served(type=TEXT, config=LABELS)))
    canary = obj(
        "predictor trafficPercent",
        predictor=predictor(),
        trafficPercent={**INT32, "minimum": 0, "maximum": 100},
    )
    return obj(
        "predictor",
        predictor=predictor(),
        transformer=optional(merged(pod(), component()), "containers"),
        explainer=optional(explainer, "containers"),
        canary={**many(canary), "x-kubernetes-list-type": "atomic"},
    )


def status() -> Schema:
    """Open: what another version of KServe has written there stays."""
    address = obj("", CACerts=TEXT, audience=TEXT, name=TEXT, url=TEXT)
    traffic = obj(
        "",
        configurationName=TEXT,
        latestRevision=FLAG,
        percent=INT64,
        revisionName=TEXT,
        tag=TEXT,
        url=TEXT,
    )
    component_status = obj(
        "",
        address=address,
        url=TEXT,
        restUrl=TEXT,
        grpcUrl=TEXT,
        traffic=many(traffic),
        latestCreatedRevision=TEXT,
        latestReadyRevision=TEXT,
        latestRolledoutRevision=TEXT,
        previousRolledoutRevision=TEXT,
    )
    condition = obj(
        "status type",
        type=TEXT,
        status=TEXT,
        reason=TEXT,
        message=TEXT,
        severity=TEXT,
        lastTransitionTime=TEXT,
    )
    of_canary = obj(
        "name ready trafficPercent",
        name=TEXT,
        ready=FLAG,
        trafficPercent=INT32,
        modelStatus=_model_status(),
    )
    found = obj(
        "",
        address=address,
        annotations=LABELS,
        canaryStatuses={**many(of_canary), "x-kubernetes-list-type": "atomic"},
        clusterServingRuntimeName=TEXT,
        components={"type": "object", "additionalProperties": component_status},
        conditions=many(condition),
        deploymentMode=TEXT,
        modelStatus=_model_status(),
        observedGeneration=INT64,
        servingRuntimeName=TEXT,
        url=TEXT,
    )
    return {**found, "x-kubernetes-preserve-unknown-fields": True}


def _model_status() -> Schema:
    states = ("", "Pending", "Standby", "Loading", "Loaded", "FailedToLoad")
    reasons = (
        "ModelLoadFailed",
        "RuntimeUnhealthy",
        "RuntimeDisabled",
        "NoSupportingRuntime",
        "RuntimeNotRecognized",
        "InvalidPredictorSpec",
    )
    failure = obj(
        "",
        exitCode=INT32,
        location=TEXT,
        message=TEXT,
        modelRevisionName=TEXT,
        reason=one_of(*reasons),
        time={**TEXT, "format": "date-time"},
    )
    transition = one_of("", "UpToDate", "InProgress", "BlockedByFailedLoad", "InvalidSpec")
    return obj(
        "transitionStatus",
        copies=obj("failedCopies", failedCopies={**WHOLE, "default": 0}, totalCopies=WHOLE),
        lastFailureInfo=failure,
        states=obj(
            "activeModelState",
            activeModelState={**one_of(*states), "default": "Pending"},
            targetModelState=one_of(*states),
        ),
        transitionStatus={**transition, "default": "UpToDate"},
    )


def columns() -> list[Schema]:
    """What `kubectl get inferenceservices` shows."""
    traffic = ".status.components.predictor.traffic"
    previous, latest = f"{traffic}[?(@.tag=='prev')]", f"{traffic}[?(@.latestRevision==true)]"
    shown = [
        ("URL", "string", ".status.url"),
        ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status"),
        ("Prev", "integer", f"{previous}.percent"),
        ("Latest", "integer", f"{latest}.percent"),
        ("PrevRolledoutRevision", "string", f"{previous}.revisionName"),
        ("LatestReadyRevision", "string", f"{latest}.revisionName"),
        ("Age", "date", ".metadata.creationTimestamp"),
    ]
    return [{"name": name, "type": kind, "jsonPath": path} for name, kind, path in shown]


def definition(group: str) -> Schema:
    schema = obj("", apiVersion=TEXT, kind=TEXT, metadata={"type": "object"}, spec=spec(), status=status())
    version = {
        "name": "v1beta1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns(),
        "schema": {"openAPIV3Schema": schema},
    }
    names = {
        "kind": "InferenceService",
        "listKind": "InferenceServiceList",
        "plural": "inferenceservices",
        "singular": "inferenceservice",
    }
    if group == GROUPS[0]:
        names["shortNames"] = ["isvc"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"inferenceservices.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def files() -> dict[str, str]:
    """By name: what is to stand in this folder."""
    return {f"{group}.yaml": _yaml(definition(group)) for group in GROUPS}


def _yaml(document: Schema) -> str:
    """Block style down to the properties of a component, each of which is one line of JSON: what nobody reads takes no room."""
    head = "# Made by make.py beside this file: `make crds`.\n"
    schema = document["spec"]["versions"][0].pop("schema")
    text = yaml.safe_dump(document, sort_keys=False, width=160)
    return f"{head}{text}    schema:\n" + "\n".join(_lines(schema, 3, 8)) + "\n"


def _lines(value: Schema, indent: int, depth: int) -> Iterator[str]:
    for key, inner in value.items():
        at = f"{'  ' * indent}{key}:"
        if isinstance(inner, dict) and depth:
            yield at
            yield from _lines(inner, indent + 1, depth - 1)
        else:
            yield f"{at} {json.dumps(inner)}"


if __name__ == "__main__":
    for name, text in files().items():
        (HERE / name).write_text(text)
