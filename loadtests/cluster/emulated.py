"""The API server of this load test: the emulation of `tests/kube` as a process, filled with Deployments and their pods, and a plain client of it."""

import http.client
import json
import os
import random
import signal
import ssl
import sys
import threading
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from loadtests.cluster import shapes
from loadtests.common import Child, Children, loopback, wait_until

PODS = f"/api/v1/namespaces/{shapes.NAMESPACE}/pods"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{shapes.NAMESPACE}/deployments"
NICE = 5
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
"""As the kubelet writes: conditions are merged by their type."""


class Api:
    """One connection to it, by one thread at a time."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        host, port = loopback(cluster["server"].removeprefix("https://"))
        context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
        self._connection = http.client.HTTPSConnection(host, port, timeout=60, context=context)
        self._connection.connect()
        self._headers = {"Authorization": f"Bearer {user['token']}"}

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None, kind: str = MERGE) -> None:
        """Only that; `receive` has to follow."""
        headers = self._headers | {"Content-Type": kind if method == "PATCH" else "application/json"}
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)

    def receive(self) -> dict[str, Any]:
        answer = self._connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        if answer.status >= 400:
            raise ConnectionError(f"the API server answered {answer.status}: {found.get('message')}")
        return found

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, kind: str = MERGE
    ) -> dict[str, Any]:
        self.send(method, path, body, kind)
        return self.receive()

    def pods(self, name: str) -> list[str]:
        """The names of a Deployment's."""
        found = self.ask("GET", f"{PODS}?labelSelector={shapes.LABEL}%3D{name}")
        return [item["metadata"]["name"] for item in found["items"]]


def readiness(*, ready: bool) -> dict[str, Any]:
    """The patch of a pod's status by which a kubelet says it."""
    return {"status": {"conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": now()}]}}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Emulation:
    """The process, and what is in it."""

    child: Child
    kubeconfig: Path
    deployments: int
    replicas: int
    pod_bytes: int
    """How long a pod is as JSON, on average."""

    @property
    def pods(self) -> int:
        return self.deployments * self.replicas

    def come_or_go(self) -> None:
        os.kill(self.child.process.pid, signal.SIGUSR1)

    def expire(self) -> None:
        """End all watches; those that come again get a 410."""
        os.kill(self.child.process.pid, signal.SIGUSR2)


def start(
    children: Children, core: int, ports: Mapping[int, int], *, replicas: int, address: str, unprobed: int
) -> Emulation:
    """A cluster with a Deployment per entry of `ports`, all pods ready at `address`; the pods of one of them have no probe."""
    kubeconfig = children.folder / "kubeconfig"
    command = [sys.executable, "-m", "tests.kube.apiserver", "--kubeconfig", kubeconfig, "--tls"]
    child = children.start("apiserver", [*command, "--simulate", "0", "--address", address], core)
    be_nice(child)
    wait_until(lambda: child.check() or "serving" in child.output(), 20, "the API server served")
    api = Api(kubeconfig)
    api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": shapes.NAMESPACE}})
    for number, port in ports.items():
        api.ask("POST", DEPLOYMENTS, shapes.deployment(number, replicas, port, probed=number != unprobed))
    wait_until(lambda: all_ready(api, replicas), 120, "all Deployments were ready", pause=1)
    size = sum(enlarge(api, item) for item in api.ask("GET", PODS)["items"])
    return Emulation(child, kubeconfig, len(ports), replicas, round(size / len(ports) / replicas))


def be_nice(child: Child) -> None:
    """It gives way to the load, the pods and the probe, which share its core."""
    os.setpriority(os.PRIO_PROCESS, child.process.pid, NICE)
    with suppress(OSError):  # a system without groups by session
        Path(f"/proc/{child.process.pid}/autogroup").write_text(str(NICE))


def all_ready(api: Api, replicas: int) -> bool:
    items = api.ask("GET", DEPLOYMENTS)["items"]
    return all(item["status"].get("readyReplicas") == replicas for item in items)


def enlarge(api: Api, pod: dict[str, Any]) -> int:
    """Add who owns which field, and return how large it is then."""
    fields = shapes.managed(pod, "kube-controller-manager")
    item = api.ask("PATCH", f"{PODS}/{pod['metadata']['name']}", {"metadata": {"managedFields": fields}})
    return len(json.dumps(item, separators=(",", ":")))


@contextmanager
def noise(emulation: Emulation, rate: float, spared: set[str]) -> Iterator[list[int]]:
    """While the block runs, so many changes a second, of pods whose Deployments are not `spared`; the list gets their number.

    Every other one says nothing that matters to us (a time); the rest make a pod unready, and ready again.
    """
    done, ended = [0], threading.Event()
    thread = threading.Thread(target=_disturb, args=(emulation, rate, spared, done, ended), daemon=True)
    thread.start()
    yield done
    ended.set()
    thread.join()


def _disturb(
    emulation: Emulation, rate: float, spared: set[str], done: list[int], ended: threading.Event
) -> None:
    api, chance = Api(emulation.kubeconfig), random.Random(1)
    found = api.ask("GET", PODS)["items"]
    names = [i["metadata"]["name"] for i in found if i["metadata"]["labels"][shapes.LABEL] not in spared]
    began, unready = time.monotonic(), ""
    while not ended.wait(max(0.0, began + done[0] / rate - time.monotonic())):
        name, patch = chance.choice(names), readiness(ready=True)
        if done[0] % 2:
            patch = {"status": {"conditions": [{"type": "Initialized", "lastProbeTime": now()}]}}
        elif unready:
            name, unready = unready, ""
        else:
            unready, patch = name, readiness(ready=False)
        api.ask("PATCH", f"{PODS}/{name}/status", patch, STRATEGIC)
        done[0] += 1
    if unready:
        api.ask("PATCH", f"{PODS}/{unready}/status", readiness(ready=True), STRATEGIC)
