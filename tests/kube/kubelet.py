"""A small node agent for tests: a client of any Kubernetes API server that runs pods as processes of this machine.

    async with Kubelet.running(url, token) as node: ...
    python -m tests.kube.kubelet --kubeconfig FILE

It registers a Node, keeps it alive, and runs what the scheduler binds to it: each container's explicit command, each pod at an address
of its own in 127.0.0.0/8. No images, init containers, startup probes, exec or logs. Processes die with the agent.
Neighbours: `podrunner.py` has one pod, `nodeapi.py` the client, `podspec.py` and `podstatus.py` what decides.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import platform
import random
import shutil
import signal
import socket
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

from tests.kube.nodeapi import AGAIN_AFTER, FAILURES, Access, Api, ApiError, access_of
from tests.kube.podrunner import Pod
from tests.kube.podstatus import micro_timestamp, timestamp
from tests.kube.references import References

Object = dict[str, Any]
HEARTBEAT = 10.0
CRASH_BACKOFF = 10.0
CLAIM_PORT = 48623

log = logging.getLogger(__name__)


class Addresses:
    """Addresses 127.A.x.y for pods, each given once; A is held against other agents of this machine."""

    def __init__(self) -> None:
        self._claim, self._block = _claim()
        self._given = 0

    def __repr__(self) -> str:
        return f"<Addresses 127.{self._block}.0.0/16: {self._given} given>"

    def next(self) -> str:
        """127.A.0.2, 127.A.0.3 … 127.A.1.2: never .0, .1 or .255."""
        high, low = divmod(self._given, 253)
        self._given += 1
        return f"127.{self._block}.{high}.{low + 2}"

    def close(self) -> None:
        self._claim.close()


def _claim() -> tuple[socket.socket, int]:
    for block in random.sample(range(1, 255), 254):
        claim = socket.socket()
        try:
            claim.bind((f"127.{block}.255.254", CLAIM_PORT))
        except OSError:
            claim.close()
        else:
            return claim, block
    raise OSError("every block 127.A.0.0/16 is in use by another node agent of this machine")


class Kubelet:
    """One node."""

    def __init__(self, access: Access, name: str | None, backoff: float, folder: Path) -> None:
        self._addresses = Addresses()
        self.name = name or f"node-{self._addresses._block}-{os.getpid()}"
        self.folder = folder
        self.pods: dict[str, Pod] = {}
        """By uid."""
        self._api = Api(access)
        self._backoff = backoff
        self._began = time.time()
        self._references = References(self._api)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"<Kubelet {self.name}: {len(self.pods)} pods>"

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls,
        url: str,
        token: str | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
        backoff: float = CRASH_BACKOFF,
        folder: Path | None = None,
    ) -> AsyncIterator[Self]:
        """A node that is registered; at the end its processes are killed, and the Node removed.

        `backoff` is the first delay before a crashed container starts again; all delays of a kubelet scale with it.
        `folder` gets the containers' output (`logs/`) and stays; without it there is a temporary one.
        """
        async with cls.with_access(
            Access(url, token, tls), name=name, backoff=backoff, folder=folder
        ) as node:
            yield node

    @classmethod
    @contextlib.asynccontextmanager
    async def with_access(
        cls,
        access: Access,
        *,
        name: str | None = None,
        backoff: float = CRASH_BACKOFF,
        folder: Path | None = None,
    ) -> AsyncIterator[Self]:
        """As `running`."""
        given, folder = folder, folder or Path(tempfile.mkdtemp(prefix="tidegate-node-"))
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        node = cls(access, name, backoff, folder)
        serving: list[asyncio.Task[None]] = []
        try:
            await node._register()
            serving += [asyncio.create_task(node._beat()), asyncio.create_task(node._follow_pods())]
            yield node
            for task in serving:
                if task.done():
                    task.result()
        finally:
            await node._close(serving)
            if given is None:
                shutil.rmtree(folder, ignore_errors=True)

    def signal(self, uid: str, number: signal.Signals) -> None:
        """To a pod's processes: SIGKILL as a crash would, SIGSTOP as a machine that hangs."""
        self.pods[uid].signal(number)

    # The Node

    async def _register(self) -> None:
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": labels}}
        with _unless(409):
            await self._api.post("/api/v1/nodes", node | {"status": self._status()})
        await self._api.patch(f"/api/v1/nodes/{self.name}/status", {"status": self._status()})

    def _status(self) -> Object:
        room = {"cpu": "64", "memory": "256Gi", "pods": "5000", "ephemeral-storage": "1Ti"}
        now = timestamp(time.time())

        def condition(kind: str, status: str, reason: str) -> Object:
            times = {"lastHeartbeatTime": now, "lastTransitionTime": timestamp(self._began)}
            return {"type": kind, "status": status, "reason": reason, "message": reason, **times}

        return {
            "capacity": room,
            "allocatable": room,
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                condition("Ready", "True", "KubeletReady"),
            ],
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": self.name},
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "process://1",
                "kernelVersion": platform.release(),
                "kubeProxyVersion": "",
                "kubeletVersion": "v1.33.0",
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": platform.platform(),
                "systemUUID": "",
            },
        }

    async def _beat(self) -> None:
        while True:
            try:
                await self._register()
                await self._renew()
            except FAILURES as error:
                log.info("%r: heartbeat: %s", self, error)
                await asyncio.sleep(1)
            else:
                await asyncio.sleep(HEARTBEAT)

    async def _renew(self) -> None:
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {
            "holderIdentity": self.name,
            "leaseDurationSeconds": 40,
            "renewTime": micro_timestamp(time.time()),
        }
        try:
            await self._api.patch(f"{path}/{self.name}", {"spec": spec})
        except ApiError as error:
            if error.status != 404:
                raise
            with _unless(404):  # a server without that namespace wants no Lease
                meta = {"name": self.name, "namespace": "kube-node-lease"}
                lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}
                await self._api.post(path, lease | {"spec": spec})

    # Pods

    async def _follow_pods(self) -> None:
        selector = f"spec.nodeName={self.name}"
        async for kind, what in self._api.follow("/api/v1/pods", fieldSelector=selector):
            if kind == "SYNC":
                self._sync(what)
            elif kind == "DELETED":
                if (uid := what["metadata"]["uid"]) in self.pods:
                    self.pods[uid].removed()
            else:
                self._see(what)

    def _sync(self, objects: list[Object]) -> None:
        there = {pod["metadata"]["uid"] for pod in objects}
        for uid, pod in self.pods.items():
            if uid not in there:
                pod.removed()
        for item in objects:
            self._see(item)

    def _see(self, item: Object) -> None:
        uid = item["metadata"]["uid"]
        if uid not in self.pods:
            if (item.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                return
            self._start(uid, item)
        self.pods[uid].update(item)

    def _start(self, uid: str, item: Object) -> None:
        pod = Pod(
            item,
            address=self._addresses.next(),
            folder=self.folder,
            api=self._api,
            references=self._references,
            backoff=self._backoff,
        )
        pod.folder.mkdir()
        self.pods[uid] = pod
        task = asyncio.create_task(pod.run(), name=f"pod {pod.name}")
        self._tasks[uid] = task
        task.add_done_callback(lambda _: self._ended(uid))

    def _ended(self, uid: str) -> None:
        task = self._tasks.pop(uid)
        pod = self.pods.pop(uid)
        if not task.cancelled() and (error := task.exception()):
            pod.signal(signal.SIGKILL)
            log.error("%r failed", pod, exc_info=error)
        shutil.rmtree(pod.folder, ignore_errors=True)

    # The end

    async def _close(self, serving: list[asyncio.Task[None]]) -> None:
        pods = list(self.pods.values())
        tasks = [*serving, *self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(pod.end() for pod in pods))
        await self._references.close()
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(AGAIN_AFTER * 5):
                await self._api.delete(f"/api/v1/nodes/{self.name}")
        await self._api.close()
        self._addresses.close()


@contextlib.contextmanager
def _unless(status: int) -> Any:
    """An answer that is as good as done."""
    try:
        yield
    except ApiError as error:
        if error.status != status:
            raise


async def main() -> None:
    parser = argparse.ArgumentParser(description="A node that runs pods as processes of this machine.")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--name", help="the Node's name (default: one of its own)")
    parser.add_argument(
        "--backoff", type=float, default=CRASH_BACKOFF, help="seconds before a second restart"
    )
    parser.add_argument(
        "--folder", type=Path, help="where output goes, and stays (default: a temporary folder)"
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    access = access_of(args.kubeconfig)
    async with Kubelet.with_access(access, name=args.name, backoff=args.backoff, folder=args.folder) as node:
        log.info("%r runs pods below %s", node, node.folder)
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
