"""pods and storage: what a predictor's pods are made of."""

from typing import Any

import pytest

from autoscaler.inference.runtimes import runtimes_of
from autoscaler.inference.shapes import Observed, Settings, StorageInitializer
from autoscaler.inference.wanted import wanted
from tests.inferences import SHIPPED, asked, container_of, isvc, kinds, model, pod_of


def backend_port(item: dict[str, Any]) -> int:
    document = asked(item).document
    assert document is not None
    port: int = document["backends"].popitem()[1]["target"]["port"]
    return port


def custom(**container: Any) -> dict[str, Any]:
    item = isvc()
    item["spec"]["predictor"]["containers"][0] |= container
    return item


@pytest.mark.parametrize(
    ("ports", "port"),
    [
        (None, 8080),
        ([{"containerPort": 9000}], 9000),
        ([{"containerPort": 9000, "name": "grpc"}, {"containerPort": 9001}], 9001),
        ([{"containerPort": 9000}, {"containerPort": 9001, "name": "http1"}], 9001),
        ([{"containerPort": 9000, "protocol": "UDP"}, {"containerPort": 9001}], 9001),
    ],
    ids=["none", "one", "beside gRPC", "one called http", "beside UDP"],
)
def test_pods_are_asked_on_the_port_that_speaks_http(ports: Any, port: int) -> None:
    """The gateway, the probe and the Service go there."""
    item = custom(**({"ports": ports} if ports else {}))
    assert backend_port(item) == port
    assert container_of(asked(item))["readinessProbe"]["tcpSocket"]["port"] == port
    service = next(s for s in kinds(asked(item), "Service") if s["metadata"]["name"] == "flowers-predictor")
    assert service["spec"]["ports"][0]["targetPort"] == port


def test_a_probe_of_ones_own_stays() -> None:
    """Nobody knows better when it is ready."""
    probe = {"httpGet": {"path": "/ready", "port": 9000}}
    assert container_of(asked(custom(readinessProbe=probe)))["readinessProbe"] == probe


def test_a_models_own_words_go_over_its_runtimes() -> None:
    """Arguments behind, variables by name, sizes one by one."""
    item = model(
        args=["--workers=2"], env=[{"name": "A", "value": "1"}], resources={"requests": {"cpu": "4"}}
    )
    container = container_of(asked(item))
    assert container["args"][-1] == "--workers=2"
    assert container["args"][0] == "--model_name=flowers"
    assert container["env"] == [{"name": "A", "value": "1"}]
    assert container["resources"] == {"requests": {"cpu": "4", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}


@pytest.mark.parametrize(
    ("spec", "image"),
    [
        ({}, "pytorch/torchserve-kfs:0.9.0"),
        ({"runtimeVersion": "0.8"}, "pytorch/torchserve-kfs:0.8"),
        ({"resources": {"limits": {"nvidia.com/gpu": 1}}}, "pytorch/torchserve-kfs:0.9.0-gpu"),
        ({"image": "mine@sha256:0"}, "mine@sha256:0"),
    ],
    ids=["as the runtime has it", "of a version", "with a GPU", "by digest"],
)
def test_an_image(spec: dict[str, Any], image: str) -> None:
    """As KServe puts it together."""
    assert container_of(asked(model(modelFormat={"name": "pytorch"}, **spec)))["image"] == image


@pytest.mark.parametrize(("protocol", "envelope"), [("v1", "kserve"), ("v2", "kservev2")])
def test_torchserve_is_told_the_protocol(protocol: str, envelope: str) -> None:
    """By the variable that its image reads."""
    container = container_of(asked(model(modelFormat={"name": "pytorch"}, protocolVersion=protocol)))
    assert {"name": "TS_SERVICE_ENVELOPE", "value": envelope} in container["env"]


def test_a_model_is_fetched_before_its_server_starts() -> None:
    """By the init container of the settings; the server cannot write there."""
    by = StorageInitializer("mine:1", ("fetch",), ("--from={uri}", "--to={path}"))
    answer = wanted(model(), SHIPPED, Observed(), Settings(storage_initializer=by), 1e9)
    (fetch,) = pod_of(answer)["initContainers"]
    assert (fetch["image"], fetch["command"]) == ("mine:1", ["fetch"])
    assert fetch["args"] == ["--from=gs://b/m", "--to=/mnt/models"]
    assert container_of(answer)["volumeMounts"] == [
        {"name": "kserve-provision-location", "mountPath": "/mnt/models", "readOnly": True}
    ]


@pytest.mark.parametrize(("uri", "sub"), [("pvc://claim", None), ("pvc://claim/a/b", "a/b")])
def test_a_claim_is_mounted_as_it_is(uri: str, sub: str | None) -> None:
    """Read-only, without copying anything."""
    pod = pod_of(asked(model(storageUri=uri)))
    assert "initContainers" not in pod
    assert pod["volumes"] == [
        {"name": "kserve-pvc-source", "persistentVolumeClaim": {"claimName": "claim", "readOnly": True}}
    ]
    assert pod["containers"][0]["volumeMounts"][0].get("subPath") == sub


def test_several_models_have_a_folder_each() -> None:
    """`storageUris`."""
    uris = [
        {"uri": "gs://b/m"},
        {"uri": "pvc://claim/n", "mountPath": "/mnt/n"},
        {"uri": "s3://b/o", "mountPath": "/mnt/o"},
    ]
    item = model()
    del item["spec"]["predictor"]["model"]["storageUri"]
    item["spec"]["predictor"]["storageUris"] = uris
    answer = asked(item)
    mounts = {m["mountPath"] for m in container_of(answer)["volumeMounts"]}
    assert mounts == {"/mnt/models", "/mnt/n", "/mnt/o"}
    assert pod_of(answer)["initContainers"][0]["args"] == ["gs://b/m", "/mnt/models", "s3://b/o", "/mnt/o"]


def test_a_container_of_ones_own_asks_by_a_variable() -> None:
    """STORAGE_URI, which it keeps."""
    item = custom(env=[{"name": "STORAGE_URI", "value": "gs://b/m"}])
    pod = pod_of(asked(item))
    assert pod["initContainers"][0]["args"] == ["gs://b/m", "/mnt/models"]
    assert pod["containers"][0]["env"] == [{"name": "STORAGE_URI", "value": "gs://b/m"}]


def test_what_a_pod_needs_besides_goes_into_it() -> None:
    """Service account, nodes, tolerations, volumes, side containers."""
    rest = {
        "serviceAccountName": "reader",
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "volumes": [{"name": "cache", "emptyDir": {}}],
    }
    item = model()
    item["spec"]["predictor"] |= {**rest, "containers": [{"name": "side", "image": "side:1"}]}
    pod = pod_of(asked(item))
    assert {
        key: pod[key] for key in ("serviceAccountName", "nodeSelector", "tolerations")
    }.items() <= rest.items()
    assert {"name": "cache", "emptyDir": {}} in pod["volumes"]
    assert [c["name"] for c in pod["containers"]] == ["kserve-container", "side"]


def test_pods_get_the_labels_and_annotations_that_are_not_for_controllers() -> None:
    """Of the object and of its predictor; the nearer one counts."""
    item = isvc(labels={"team": "b"}, annotations={"sidecar": "no", "autoscaling.knative.dev/window": "60s"})
    item["metadata"]["labels"] = {"team": "a", "tidegate.dev/x": "1"}
    item["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "1"}
    (deployment,) = kinds(asked(item), "Deployment")
    about = deployment["spec"]["template"]["metadata"]
    assert about["labels"]["team"] == "b"
    assert about["labels"]["serving.kserve.io/inferenceservice"] == "flowers"
    assert about["annotations"] == {"a": "1", "sidecar": "no"}


def test_a_variable_of_the_runtime_is_replaced_by_the_predictors() -> None:
    """By its name; the others stay."""
    spec = {"modelFormat": {"name": "pytorch"}, "env": [{"name": "TS_SERVICE_ENVELOPE", "value": "json"}]}
    assert container_of(asked(model(**spec)))["env"] == [{"name": "TS_SERVICE_ENVELOPE", "value": "json"}]


def test_a_runtime_without_containers_is_refused() -> None:
    """There would be nothing to run."""
    empty = {
        "kind": "ClusterServingRuntime",
        "metadata": {"name": "empty"},
        "spec": {"supportedModelFormats": [{"name": "sklearn"}]},
    }
    answer = wanted(model(runtime="empty"), runtimes_of([empty]), Observed(), Settings(), 1e9)
    assert [(fault.path, fault.refused) for fault in answer.faults] == [
        ("spec.predictor.model.runtime", True)
    ]


@pytest.mark.parametrize(
    ("ports", "refused"),
    [
        ([{"containerPort": 9000, "name": "h2c"}], True),
        ([{"containerPort": "x"}], True),
        ([{"containerPort": 9000, "name": "h2c"}, {"containerPort": 8000}], False),
        (None, False),
    ],
)
def test_a_runtime_without_a_port_for_http_is_refused(ports: Any, refused: bool) -> None:
    """Its pods would wait for a port that nobody opens."""
    spec = {
        "supportedModelFormats": [{"name": "sklearn"}],
        "containers": [{"name": "kserve-container", "image": "mine:1", "ports": ports}],
    }
    about = {"name": "mine", "namespace": "models"}
    known = runtimes_of([{"kind": "ServingRuntime", "metadata": about, "spec": spec}])
    answer = wanted(model(runtime="mine"), known, Observed(), Settings(), 1e9)
    assert [fault.path for fault in answer.faults] == ["spec.predictor.model.runtime"] * refused
