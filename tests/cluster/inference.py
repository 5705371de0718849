"""InferenceServices in an installation: their definitions, models that are the demo's server, and what becomes of them."""

import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

from deploy.crds import make
from tests.cluster.installation import MODEL, ROOT, Installation
from tests.kube.nodeapi import ApiError

Object = dict[str, Any]
GROUP = "apis/serving.kserve.io/v1beta1"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SERVER = [sys.executable, str(ROOT / "deploy/demo/server.py"), "--host", "0.0.0.0", "--port", str(MODEL)]
PROBE: Object = {"httpGet": {"path": "/v2/health/ready", "port": MODEL}, "periodSeconds": 1}
QUICK = {
    "autoscaling.knative.dev/window": "6s",
    "autoscaling.knative.dev/scale-to-zero-pod-retention-period": "0s",
}
"""Scaling that a test can wait for."""
RUNTIMES: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "servingruntimes.serving.kserve.io"},
    "spec": {
        "group": "serving.kserve.io",
        "names": {
            "kind": "ServingRuntime",
            "listKind": "ServingRuntimeList",
            "plural": "servingruntimes",
            "singular": "servingruntime",
        },
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}
"""As much of it as the tests need, where KServe's own is not installed."""


class Services:
    """The InferenceServices of one installation."""

    def __init__(self, installation: Installation) -> None:
        self.there = installation
        self.namespace = installation.namespace
        self._defined: list[str] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, installation: Installation) -> AsyncIterator["Services"]:
        """With their definitions, which are removed in the end unless they were there before."""
        services = cls(installation)
        try:
            for definition in (*map(make.definition, make.GROUPS), RUNTIMES):
                await services._define(definition)
            yield services
        finally:
            for name in services._defined:
                with contextlib.suppress(ApiError):
                    await installation.api.delete(f"{_DEFINITIONS}/{name}")

    async def _define(self, definition: Object) -> None:
        """Until its objects are served, which takes an API server a moment, as does forgetting one that a test before had."""
        name, spec = definition["metadata"]["name"], definition["spec"]
        await self.there.until(lambda: self._made(name, definition))
        [version] = spec["versions"]
        path = f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}"
        await self.there.until(lambda: self.there.api.get(path))

    async def _made(self, name: str, definition: Object) -> bool:
        try:
            await self.there.api.post(_DEFINITIONS, definition)
        except ApiError as error:
            if error.status != 409:
                raise
            found = await self.there.api.get(f"{_DEFINITIONS}/{name}")
            return "deletionTimestamp" not in found["metadata"]
        self._defined.append(name)
        return True

    async def begin(self, **more: Any) -> str:
        """Run Tidegate with them; the gateway's URL."""
        section = {"namespaces": [self.namespace], "gateway_host": "none", **more}
        backends = {"other": {"target": {"service": "other", "port": 80}}}
        routes = [{"name": "other", "hosts": ["other.example.com"], "split": {"other": 1}}]
        await self.there.configure(backends, routes, inference_services=section)
        return await self.there.start()

    def path(self, name: str = "") -> str:
        return f"/{GROUP}/namespaces/{self.namespace}/inferenceservices/{name}".rstrip("/")

    def host(self, name: str = "iris") -> str:
        return f"{name}-{self.namespace}.example.com"

    def container(self, version: str = "v1", *arguments: str, image: str = "tidegate-demo") -> Object:
        """A predictor that is the demo's server."""
        options = ["--version", version, "--load-time", "0s", "--request-time", "50ms", *arguments]
        container = {
            "name": "kserve-container",
            "image": image,
            "command": SERVER,
            "args": options,
            "ports": [{"containerPort": MODEL}],
            "readinessProbe": PROBE,
        }
        return {"containers": [container], "containerConcurrency": 2, "maxReplicas": 4}

    async def apply(self, predictor: Object, name: str = "iris", **spec: Any) -> None:
        """Create it, or put this in the place of its spec."""
        item = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "annotations": {"tidegate.dev/class": "tidegate", **QUICK},
            },
            "spec": {"predictor": predictor, **spec},
        }
        try:
            await self.there.api.post(self.path(), item)
        except ApiError as error:
            if error.status != 409:
                raise
            nothing = {"canaryTrafficPercent": None, "minReplicas": None}
            changed = {"predictor": {**nothing, **predictor}, **spec}
            await self.there.api.patch(self.path(name), {"spec": changed})

    async def status(self, name: str = "iris") -> Object:
        found: Object = (await self.there.api.get(self.path(name))).get("status") or {}
        return found

    async def condition(self, kind: str, name: str = "iris") -> Object:
        conditions: list[Object] = (await self.status(name)).get("conditions") or []
        return next((one for one in conditions if one["type"] == kind), {})

    async def is_ready(self, name: str = "iris") -> bool:
        """All of what was applied last is."""
        found = await self.there.api.get(self.path(name))
        status = found.get("status") or {}
        told = status.get("observedGeneration") == found["metadata"]["generation"]
        ready = [one["status"] for one in status.get("conditions") or () if one["type"] == "Ready"]
        return told and ready == ["True"]

    async def traffic(self, name: str = "iris") -> dict[str, int]:
        """By revision, in percent."""
        told = ((await self.status(name)).get("components") or {}).get("predictor") or {}
        return {one["revisionName"]: one["percent"] for one in told.get("traffic") or ()}

    async def deployments(self) -> dict[str, int]:
        """The count of each revision."""
        items = (await self.there.listed("deployments", labelSelector="serving.kserve.io/inferenceservice"))[
            "items"
        ]
        return {item["metadata"]["name"]: item["spec"].get("replicas", 1) for item in items}
