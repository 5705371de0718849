"""InferenceServices for tests: small ones, golden ones, and a cluster in virtual time that does what `wanted` says."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from autoscaler.inference.manifests import credentials, parse
from autoscaler.inference.runtimes import Runtimes, runtimes_of
from autoscaler.inference.shapes import Json, Observed, Settings, Wanted
from autoscaler.inference.wanted import uses_of, wanted

GOLDEN = Path(__file__).parent / "golden" / "inference"
SHIPPED: Runtimes = runtimes_of([])
SETTINGS = Settings(gateway_host="tidegate.tidegate.svc.cluster.local")
UID = "0b2c6c3e-5a43-4f0f-9d0b-6f3f1c1f7a11"


def isvc(**predictor: Any) -> Json:
    """One with a container of one's own, whose image is `image`."""
    image = predictor.pop("image", "flowers:1")
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "flowers", "namespace": "models", "uid": UID, "generation": 1},
        "spec": {"predictor": {"containers": [{"name": "kserve-container", "image": image}], **predictor}},
    }


def model(**spec: Any) -> Json:
    """One with a model."""
    item = isvc(model={"modelFormat": {"name": "sklearn"}, "storageUri": "gs://b/m", **spec})
    del item["spec"]["predictor"]["containers"]
    return item


def asked(item: Mapping[str, Any], *objects: Mapping[str, Any], **cannot_start: str) -> Wanted:
    """What is wanted of it."""
    return wanted(item, SHIPPED, Observed(objects, cannot_start), SETTINGS, 1e9)


def kinds(answer: Wanted, kind: str) -> list[Json]:
    return [item for item in answer.objects if item["kind"] == kind]


def pod_of(answer: Wanted) -> Json:
    """The spec of its only revision's pods."""
    (deployment,) = kinds(answer, "Deployment")
    spec: Json = deployment["spec"]["template"]["spec"]
    return spec


def container_of(answer: Wanted) -> Json:
    found: Json = pod_of(answer)["containers"][0]
    return found


def condition(status: Mapping[str, Any], kind: str) -> Json:
    return next((dict(c) for c in status["conditions"] if c["type"] == kind), {})


def golden(content: str) -> str:
    """What the first object of a text becomes beside the others, as one text: objects, the gateways' document, the status."""
    manifests = parse("", content)
    item = manifests[0].item
    item = {**item, "metadata": {**item["metadata"], "uid": UID, "generation": 1}}
    given = {use: credentials(manifests, "models", use) for use in uses_of(item, SETTINGS)}
    given = {use: replace(found, problem="") for use, found in given.items()}
    answer = wanted(item, SHIPPED, Observed(credentials=given), SETTINGS, 1e9)
    return yaml.safe_dump_all([*answer.objects, answer.document, {"status": answer.status}], sort_keys=False)


@dataclass
class Cluster:
    """A cluster with one InferenceService. Pods start within a turn unless their image is broken, and leave one by one."""

    service: Json
    load: int = 1
    """Pods that the traffic needs."""
    broken: set[str] = field(default_factory=set)
    """Images whose pods never start."""
    objects: dict[tuple[str, str], Json] = field(default_factory=dict)
    now: float = 1e9
    last: Wanted = field(default_factory=lambda: Wanted((), None, {}, ()))
    events: list[str] = field(default_factory=list)

    def change(self, **predictor: Any) -> None:
        """Another spec; a value None takes a field away."""
        image = predictor.pop("image", None)
        spec = self.service["spec"]["predictor"]
        if image is not None:
            spec["containers"][0]["image"] = image
        for key, value in predictor.items():
            spec[key] = value
            if value is None:
                del spec[key]
        self.service["metadata"]["generation"] += 1

    def turn(self) -> Wanted:
        """Observe, want, apply; then the autoscaler and the kubelets have their turn."""
        self.now += 1
        answer = self._asked()
        self._apply(answer)
        self._scale(answer)
        self._run()
        return answer

    def _asked(self) -> Wanted:
        why = {
            name: "image cannot be pulled" for name, item in self.deployments.items() if self._is_broken(item)
        }
        observed = Observed(tuple(deepcopy(list(self.objects.values()))), why)
        return wanted(deepcopy(self.service), SHIPPED, observed, SETTINGS, self.now)

    def settle(self, turns: int = 60) -> Wanted:
        """Until nothing changes."""
        for _ in range(turns):
            before = deepcopy((self.objects, self.service.get("status"), self.last.document))
            answer = self.turn()
            if before == (self.objects, self.service.get("status"), answer.document):
                return answer
        raise AssertionError(f"nothing settles: {self.weights} {self.pods}")

    @property
    def deployments(self) -> dict[str, Json]:
        return {name: item for (kind, name), item in self.objects.items() if kind == "Deployment"}

    def image(self, name: str) -> str:
        image: str = self.deployments[name]["spec"]["template"]["spec"]["containers"][0]["image"]
        return image

    @property
    def pods(self) -> dict[str, int]:
        """Those that there are, by image."""
        return {self.image(name): item["status"]["replicas"] for name, item in self.deployments.items()}

    @property
    def ready(self) -> dict[str, int]:
        return {self.image(name): item["status"]["readyReplicas"] for name, item in self.deployments.items()}

    @property
    def weights(self) -> dict[str, int]:
        """Of the last document's route, in percent, by image."""
        routes = (self.last.document or {}).get("routes") or []
        split = routes[0].get("split", {}) if routes else {}
        total = sum(split.values())
        named = {name.partition(".")[2]: weight for name, weight in split.items()}
        return {self.image(name): round(weight * 100 / total) for name, weight in named.items() if weight}

    @property
    def bounds(self) -> dict[str, int]:
        """The most that each may have, by image; of one that stays as it is, what it has; of one that leaves, what is left."""
        found = {}
        for name, backend in (self.last.document or {"backends": {}})["backends"].items():
            revision, scale = name.partition(".")[2], backend["scale"]
            there = self.deployments[revision]
            still = "pause" in scale or "max" not in scale or scale.get("stable_window") == "6s"
            most = there["spec"]["replicas"] if still else scale["max"]
            found[self.image(revision)] = most
        return found

    def _is_broken(self, item: Json) -> bool:
        return item["spec"]["template"]["spec"]["containers"][0]["image"] in self.broken

    def _apply(self, answer: Wanted) -> None:
        new = {}
        for asked_for in answer.objects:
            item = deepcopy(asked_for)
            key = item["kind"], item["metadata"]["name"]
            there = self.objects.get(key)
            if item["kind"] == "Deployment":
                made = {"creationTimestamp": f"2026-01-01T00:00:{len(self.objects):02}Z"}
                item["metadata"] = {**(there["metadata"] if there else made), **item["metadata"]}
                item["status"] = there["status"] if there else {"replicas": 0, "readyReplicas": 0}
                if there is not None:
                    assert "replicas" not in item["spec"]
                    item["spec"]["replicas"] = there["spec"]["replicas"]
            new[key] = item
        self.objects, self.last = new, answer
        self.service["status"] = deepcopy(answer.status)
        self.events += [reason for _, reason, _ in answer.events]

    def _scale(self, answer: Wanted) -> None:
        weights = self.weights
        for name, backend in (answer.document or {"backends": {}})["backends"].items():
            item = self.deployments[name.partition(".")[2]]
            scale, now = backend["scale"], item["spec"]["replicas"]
            need = -(-self.load * weights.get(self.image(item["metadata"]["name"]), 0) // 100)
            if "pause" not in scale:
                most = scale.get("max", 1000)
                need = min(max(need, scale["min"]), most)
                item["spec"]["replicas"] = need if need >= now else max(need, now - max(1, now // 4))

    def _run(self) -> None:
        for item in self.deployments.values():
            status, count = item["status"], item["spec"]["replicas"]
            status["readyReplicas"] = 0 if self._is_broken(item) else min(status["replicas"], count)
            status["replicas"] = count
