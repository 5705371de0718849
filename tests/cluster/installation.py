"""Tidegate in a namespace of its own, on any cluster: its rights from `deploy/`, its processes as pods, models beside it.

Pods give explicit commands that are run with the interpreter that runs the tests; bind addresses are arguments. Our pods reach the API server
through a Relay, by a kubeconfig with a token of the service account that `deploy/` makes. Nothing stays when it ends.
"""

import asyncio
import base64
import contextlib
import json
import random
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yaml

from tests.cluster.relay import Relay
from tests.deploy.kustomize import build
from tests.kube.nodeapi import FAILURES, Api, ApiError

ROOT = Path(__file__).parents[2]
Object = dict[str, Any]
MODEL = 8080
RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
COLLECTIONS = {
    "ConfigMap": "api/v1",
    "Service": "api/v1",
    "ServiceAccount": "api/v1",
    "Deployment": "apis/apps/v1",
    "StatefulSet": "apis/apps/v1",
    "Role": "apis/rbac.authorization.k8s.io/v1",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1",
    "ClusterRole": "apis/rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "apis/rbac.authorization.k8s.io/v1",
}


class Installation:
    """One namespace with everything in it."""

    def __init__(self, api: Api, kubeconfig: Path, relay: Relay, name: str) -> None:
        self.api = api
        self.access = kubeconfig
        """How others than our pods reach the cluster."""
        self.relay = relay
        self.namespace = name
        self._kubeconfig = yaml.safe_load(kubeconfig.read_text())
        self._token = ""
        # Below the checkout, which every pod can read that runs this interpreter's packages.
        self._folder = ROOT / ".tidegate" / name
        self._wide: list[str] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, api: Api, kubeconfig: Path) -> AsyncIterator["Installation"]:
        """With its rights, and nothing running yet. All of it is removed at the end.

        The tests act through `api`; our pods reach the server that `kubeconfig` names.
        """
        config = yaml.safe_load(kubeconfig.read_text())
        url = urlsplit(_cluster(config)["server"])
        name = f"tidegate-test-{random.randrange(16**6):06x}"  # noqa: S311
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        async with Relay.running(host, port) as relay:
            found = cls(api, kubeconfig, relay, name)
            try:
                await found._begin()
                yield found
            finally:
                await found._end()

    async def _begin(self) -> None:
        self._folder.mkdir(parents=True)
        await self.api.post("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        for item in build(ROOT / "deploy/overlays/inference-services"):
            if item["kind"] in RIGHTS:
                await self.apply(self._own(item))
        account = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/tidegate"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 7200},
        }
        self._token = (await self.api.post(f"{account}/token", request))["status"]["token"]
        self._write_access("kubeconfig", self._through_relay())

    async def _end(self) -> None:
        with contextlib.suppress(*FAILURES):
            await self._scale_down()
        for path in (*self._wide, f"/api/v1/namespaces/{self.namespace}"):
            with contextlib.suppress(*FAILURES):
                await self.api.delete(path)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _scale_down(self) -> None:
        """A namespace that goes takes its pods along, at a pace of its own; processes should end now."""
        for item in (await self.listed("pods"))["items"]:
            with contextlib.suppress(ApiError):
                await self.api.delete(self.path("pods", item["metadata"]["name"]), gracePeriodSeconds="1")

    def _own(self, item: Object) -> Object:
        """One of deploy/'s objects, moved into this namespace; what is of the whole cluster gets a name of its own."""
        text = json.dumps(item)
        moved: Object = json.loads(
            text.replace('"namespace": "tidegate"', f'"namespace": "{self.namespace}"').replace(
                '"namespace": "models"', f'"namespace": "{self.namespace}"'
            )
        )
        kind = moved["kind"]
        if kind.startswith("Cluster"):
            name = moved["metadata"]["name"] = f"{moved['metadata']['name']}-{self.namespace}"
            self._wide.append(f"/{COLLECTIONS[kind]}/{kind.lower()}s/{name}")
        if moved.get("roleRef", {}).get("kind") == "ClusterRole":
            moved["roleRef"]["name"] += f"-{self.namespace}"
        return moved

    def _through_relay(self) -> Object:
        cluster = _cluster(self._kubeconfig)
        url = urlsplit(cluster["server"])
        moved = {**cluster, "server": f"{url.scheme}://127.0.0.1:{self.relay.port}"}
        if url.scheme == "https":
            moved.setdefault("tls-server-name", url.hostname)
            file = moved.pop("certificate-authority", None)
            if file is not None:
                moved["certificate-authority-data"] = base64.b64encode(Path(file).read_bytes()).decode()
        return moved

    def _write_access(self, name: str, cluster: Object) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": self._token}}],
            "contexts": [
                {"name": "c", "context": {"cluster": "c", "user": "u", "namespace": self.namespace}}
            ],
            "current-context": "c",
        }
        (self._folder / name).write_text(yaml.safe_dump(document))

    # -- objects

    def path(self, plural: str, name: str = "") -> str:
        groups = {
            "deployments": "apis/apps/v1",
            "statefulsets": "apis/apps/v1",
            "leases": "apis/coordination.k8s.io/v1",
        }
        return f"/{groups.get(plural, 'api/v1')}/namespaces/{self.namespace}/{plural}/{name}".rstrip("/")

    async def listed(self, plural: str, **params: str) -> Object:
        return await self.api.get(self.path(plural), **params)

    async def get(self, plural: str, name: str) -> Object:
        return await self.api.get(self.path(plural, name))

    async def apply(self, item: Object) -> None:
        """Create it, or merge it into what is there."""
        plural = f"{item['kind'].lower()}s"
        namespace = "" if item["kind"].startswith("Cluster") else f"namespaces/{self.namespace}/"
        path = f"/{COLLECTIONS[item['kind']]}/{namespace}{plural}"
        if namespace:
            item = {**item, "metadata": {**item["metadata"], "namespace": self.namespace}}
        try:
            await self.api.post(path, item)
        except ApiError as error:
            if error.status != 409:
                raise
            await self.api.patch(f"{path}/{item['metadata']['name']}", item)

    # -- what runs

    async def model(
        self,
        name: str = "iris-v1",
        *,
        version: str = "v1",
        replicas: int = 0,
        kind: str = "Deployment",
        arguments: tuple[str, ...] = (),
        image: str = "tidegate-demo",
        probed: bool = True,
    ) -> None:
        """The demo model server; without `probed` it is ready for the kubelet as soon as it runs."""
        command = [
            sys.executable,
            str(ROOT / "deploy/demo/server.py"),
            "--host",
            "0.0.0.0",
            "--port",
            str(MODEL),
        ]
        options = ["--version", version, "--load-time", "0s", "--request-time", "50ms", *arguments]
        probe = {"httpGet": {"path": "/v2/health/ready", "port": MODEL}, "periodSeconds": 1}
        container = {"name": "model", "image": image, "command": [*command, *options]}
        if probed:
            container["readinessProbe"] = probe
        spec: Object = {"replicas": replicas, **_selecting(name, container)}
        spec["template"]["spec"]["terminationGracePeriodSeconds"] = 20
        if kind == "StatefulSet":
            spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}
        await self.apply({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})

    async def configure(self, backends: Object, routes: list[Object], **more: Any) -> None:
        """Write the ConfigMap; pods that run take it over."""
        for backend in backends.values():
            backend["target"].setdefault("namespace", self.namespace)
        document = {
            "autoscaler": {
                "gateways": {"service": "tidegate-gateways", "namespace": self.namespace, "port": "admin"}
            },
            "drain": {"delay": "1s", "timeout": "20s"},
            "backends": backends,
            "routes": routes,
            **more,
        }
        data = {"tidegate.yaml": yaml.safe_dump(document)}
        await self.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tidegate"}, "data": data}
        )

    async def start(self, *, gateways: int = 1, autoscalers: int = 1) -> str:
        """Run gateway and autoscaler, apart from each other; the gateway's URL once it is ready and somebody leads."""
        await self.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "tidegate-gateways"},
                "spec": {
                    "clusterIP": "None",
                    "publishNotReadyAddresses": True,
                    "selector": {"app": "gateway"},
                    "ports": [{"name": "admin", "port": 8081, "targetPort": 8081}],
                },
            }
        )
        await self._process(
            "gateway", gateways, ["--listen", "0.0.0.0:8080", "--admin", "0.0.0.0:8081"], 8081
        )
        await self._process("autoscaler", autoscalers, ["--admin", "0.0.0.0:8082"], 8082)
        await self.until(lambda: self.ready("gateway", gateways))
        await self.until(lambda: self.ready("autoscaler", autoscalers))
        await self.until(self.leader)
        return await self.url()

    async def autoscaler(self, name: str, server: str) -> None:
        """One more, as a Deployment of its own, which reaches the API server at another URL."""
        self._write_access(name, {"server": server})
        await self._process("autoscaler", 1, ["--admin", "0.0.0.0:8082"], 8082, name=name, access=name)
        await self.until(lambda: self.ready(name, 1))

    async def _process(
        self,
        role: str,
        replicas: int,
        arguments: list[str],
        admin: int,
        *,
        name: str = "",
        access: str = "kubeconfig",
    ) -> None:
        name = name or role
        folder = f"/etc/tidegate-{self.namespace}"
        container = {
            "name": role,
            "image": "tidegate",
            "command": [sys.executable, "-m", role],
            "args": [f"{folder}/tidegate.yaml", *arguments],
            "env": [
                {"name": "KUBECONFIG", "value": str(self._folder / access)},
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": admin}, "periodSeconds": 1},
            "volumeMounts": [{"name": "config", "mountPath": folder}],
        }
        spec: Object = {"replicas": replicas, **_selecting(name, container)}
        spec["template"]["spec"] |= {
            "serviceAccountName": "tidegate",
            "terminationGracePeriodSeconds": 30,
            "volumes": [{"name": "config", "configMap": {"name": "tidegate"}}],
        }
        await self.apply(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
        )

    # -- what is seen

    async def until(self, condition: Callable[[], Any], within: float = 60.0) -> Any:
        """What the (async) condition yields, once that is true."""
        last = ""
        try:
            async with asyncio.timeout(within):
                while True:
                    try:
                        if value := await condition():
                            return value
                    except FAILURES as error:
                        last = str(error)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(
                f"not true within {within} s: {condition} {last}\n{await self.describe()}"
            ) from None

    async def pods(self, app: str) -> list[Object]:
        """Those that are not being deleted."""
        items: list[Object] = (await self.listed("pods", labelSelector=f"app={app}"))["items"]
        return [item for item in items if "deletionTimestamp" not in item["metadata"]]

    async def ready(self, app: str, count: int) -> bool:
        return sum(map(is_ready, await self.pods(app))) >= count

    async def replicas(self, name: str = "iris-v1", plural: str = "deployments") -> int:
        count: int = (await self.get(plural, name))["spec"].get("replicas", 1)
        return count

    async def url(self, port: int = 8080, app: str = "gateway") -> str:
        [pod] = [item for item in await self.pods(app) if is_ready(item)]
        return f"http://{pod['status']['podIP']}:{port}"

    async def leader(self) -> str:
        """The name of the pod that holds the Lease; empty when none of those that are there does."""
        holder = (await self.get("leases", "tidegate-autoscaler"))["spec"].get("holderIdentity") or ""
        pods = (await self.listed("pods"))["items"]
        there = {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}
        name = holder.rpartition("-")[0]
        return name if name in there else ""

    async def events(self, reason: str) -> list[Object]:
        return [item for item in (await self.listed("events"))["items"] if item["reason"] == reason]

    async def state(self) -> Object:
        async with (
            aiohttp.ClientSession() as session,
            session.get(await self.url(8081) + "/v1/state") as answer,
        ):
            state: Object = await answer.json()
            return state

    async def decisions(self, autoscaler: Object) -> Object:
        """Those of one of its pods."""
        url = f"http://{autoscaler['status']['podIP']}:8082/v1/decisions"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            decisions: Object = await answer.json()
            return decisions

    async def describe(self) -> str:
        """What is there, for whoever reads why a test failed."""
        lines = []
        for pod in (await self.listed("pods"))["items"]:
            status = pod.get("status", {})
            states = [one.get("state") for one in status.get("containerStatuses", [])]
            marks = pod["metadata"].get("annotations")
            lines.append(
                f"{pod['metadata']['name']} {status.get('phase')} ready={is_ready(pod)} {states} {marks}"
            )
        with contextlib.suppress(Exception):
            lines.append(json.dumps((await self.state())["backends"], indent=1)[:3000])
        return "\n".join(lines)


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _selecting(name: str, container: Object) -> Object:
    labels = {"app": name}
    return {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }


def _cluster(config: Object) -> Object:
    """The cluster that the kubeconfig's current context names."""
    name = next(one for one in config["contexts"] if one["name"] == config["current-context"])["context"][
        "cluster"
    ]
    found: Object = next(one for one in config["clusters"] if one["name"] == name)["cluster"]
    return found
