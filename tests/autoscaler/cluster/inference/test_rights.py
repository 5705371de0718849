"""What the component `inference-services` grants is what running InferenceServices takes: one story that needs all of it."""

from pathlib import Path
from typing import Any

import pytest

from autoscaler.cluster.inference.terms import Terms
from autoscaler.inference.shapes import Settings
from tests.autoscaler.cluster.inference.place import GROUP, Place, running, service
from tests.cluster.inference import RUNTIMES
from tests.deploy.kustomize import build
from tests.deploy.manifests import DEPLOY
from tests.deploy.test_rbac import Grant, with_inference_services
from tests.eventually import eventually

Object = dict[str, Any]
RIGHTS = [
    obj
    for obj in build(DEPLOY / "overlays/inference-services")
    if obj["kind"] in {"Namespace", "ServiceAccount"} or "Role" in obj["kind"]
]
IN_STEP = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
NAMESPACED = ("models",)


def cluster_runtimes() -> Object:
    names = {
        "kind": "ClusterServingRuntime",
        "listKind": "ClusterServingRuntimeList",
        "plural": "clusterservingruntimes",
        "singular": "clusterservingruntime",
    }
    spec = {**RUNTIMES["spec"], "names": names, "scope": "Cluster"}
    return {**RUNTIMES, "metadata": {"name": "clusterservingruntimes.serving.kserve.io"}, "spec": spec}


async def test_what_is_granted_is_what_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more, no less; but for what an admission asks in our name."""
    rights = [*RIGHTS, RUNTIMES, cluster_runtimes()]
    wide = Settings(gateway_host="tidegate.tidegate.svc.cluster.local")
    async with running(tmp_path, monkeypatch, Terms(wide, namespaces=NAMESPACED), rights=rights) as place:
        older = {**service("rose", "models"), "apiVersion": "serving.kubeflow.org/v1beta1"}
        await place.api.apply([scaled_on_cpu(maxReplicas=3), older])
        await eventually(lambda: len(place.documents()) == 2 and there(place, "iris"))
        await place.api.apply(fetching())
        await eventually(lambda: len(place.documents()) == 3)
        place.api.store.delete(GROUP, "models", "lily")
        await eventually(lambda: len(place.documents()) == 2)
        await eventually(lambda: place.names("horizontalpodautoscalers", "models"))
        await place.api.apply(scaled_on_cpu(maxReplicas=4))
        await eventually(lambda: autoscalers(place) == [4])
        place.api.store.change(
            GROUP, "models", "iris", lambda o: o["spec"]["predictor"].pop("scaleMetric") and None
        )
        await eventually(lambda: autoscalers(place) == [])
        [first] = revisions(place)
        place.api.store.change(GROUP, "models", "iris", newer)
        await eventually(lambda: len(revisions(place)) == 2)
        place.api.store.change("deployments", "models", first, lambda o: o["spec"].update(replicas=0))
        await eventually(lambda: scaled_up(place, first))
        await eventually(lambda: first not in revisions(place))
        await place.controller.reconfigure(Terms(Settings(), namespaces=NAMESPACED))
        await eventually(lambda: "iris" not in place.names("services", "models"))
        place.api.store.delete(GROUP, "models", "iris")
        await eventually(lambda: len(place.documents()) == 1)
        used = {grant(one) for one in place.api.requests}
        refused = place.api.refusals
    assert refused == []
    granted = {g for g in with_inference_services("models") if not g[1].endswith("/finalizers")}
    granted |= {(verb, "deployments.apps", "models", "*") for verb in ("list", "watch")}  # as any target's
    others = {"leases.coordination.k8s.io", "events"}
    assert {one for one in used if one[1] not in others} == granted


def grant(one: Any) -> Grant:
    kind, _, sub = one.resource.partition("/")
    full = (f"{kind}.{one.group}" if one.group else kind) + (f"/{sub}" if sub else "")
    wide = kind == "clusterservingruntimes"
    return one.verb, full, "*" if wide else one.namespace, "*"


def scaled_on_cpu(**predictor: Any) -> Object:
    return service("iris", "models", scaleMetric="cpu", deploymentStrategy=IN_STEP, **predictor)


def fetching() -> list[Object]:
    """One whose model is in a private bucket."""
    about = {"name": "keys", "namespace": "models"}
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "fetcher", "namespace": "models"},
    }
    lily = service("lily", "models", serviceAccountName="fetcher")
    lily["spec"]["predictor"]["containers"][0]["env"] = [{"name": "STORAGE_URI", "value": "s3://b/m"}]
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": {"awsSecretAccessKey": "eA=="}},
        {**account, "secrets": [{"name": "keys"}]},
        lily,
    ]


def newer(item: Object) -> None:
    item["spec"]["predictor"]["containers"][0]["image"] = "iris:2"


def there(place: Place, name: str) -> bool:
    return any(n.startswith(f"{name}-predictor") for n in place.names("deployments", "models"))


def revisions(place: Place) -> list[str]:
    return [n for n in place.names("deployments", "models") if n.startswith("iris-")]


def scaled_up(place: Place, first: str) -> bool:
    """The autoscaler's part, which is not here."""
    for name in set(revisions(place)) - {first}:
        place.api.store.change("deployments", "models", name, lambda o: o["spec"].update(replicas=1))
    return True


def autoscalers(place: Place) -> list[int]:
    records = place.api.store.records("horizontalpodautoscalers", "models")
    return [record.obj["spec"]["maxReplicas"] for record in records]
