"""One pod on the node: its volumes, its containers, its status, its end.

The task `run` lives as long as the pod is bound to this node. The pod's object comes in by `update`; status goes out by PATCH,
again and again while the API server is away. Neighbours: `kubelet.py` makes one per pod, `podprocess.py` runs the containers.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kube import podspec, podstatus
from tests.kube.nodeapi import FAILURES, Api, ApiError
from tests.kube.podprocess import Container, Launch
from tests.kube.podspec import ConfigError
from tests.kube.podvolumes import publish
from tests.kube.references import References

Object = dict[str, Any]
HANDED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""What a process has of the agent's own environment: what an image would give it."""
AGAIN = 0.5
FORCED_GRACE = 2.0
"""Seconds that the processes of a pod have whose object is gone already."""

log = logging.getLogger(__name__)


class Pod:
    """From its binding to this node until its object is gone."""

    def __init__(
        self, pod: Object, *, address: str, folder: Path, api: Api, references: References, backoff: float
    ) -> None:
        self.object = pod
        self.uid: str = pod["metadata"]["uid"]
        self.address = address
        self.folder: Path = folder / self.uid
        self._logs: Path = folder / "logs"
        self._api = api
        self._references = references
        self._began = time.time()
        self._ending = asyncio.Event()
        self._gone = False
        self._dirty = asyncio.Event()
        self._stale = asyncio.Event()
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}
        self._told: Object = {}
        self.containers = [
            Container(
                spec, pod, address=address, backoff=backoff, launch=self._launch, changed=self._dirty.set
            )
            for spec in pod["spec"]["containers"]
        ]

    def __repr__(self) -> str:
        return f"<Pod {self.namespace}/{self.name} {self.address}: {self.containers}>"

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.object["metadata"]["namespace"])

    @property
    def pids(self) -> list[int]:
        return [container.pid for container in self.containers if container.pid is not None]

    def update(self, pod: Object) -> None:
        """Its object changed."""
        self.object = pod
        self._dirty.set()
        if "deletionTimestamp" in pod["metadata"]:
            self._ending.set()

    def removed(self) -> None:
        """Its object is gone, whether this node agreed or not."""
        self._gone = True
        self._ending.set()

    def signal(self, number: signal.Signals) -> None:
        """To all that runs."""
        for container in self.containers:
            container.signal(number)

    async def end(self) -> None:
        """Kill for good, and tell nobody: the agent ends."""
        await asyncio.gather(*(container.end(0) for container in self.containers))

    async def run(self) -> None:
        telling, living = asyncio.create_task(self._tell_always()), asyncio.create_task(self._live())
        ending = asyncio.create_task(self._ending.wait())
        tasks = (telling, living, ending)
        try:
            # The first two never end but by a fault of ours, which must be seen.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await _cancelled(living)
            await self._end_containers()
            await _cancelled(telling)
            await self._until_done(self._tell)
            await self._until_done(self._delete)
        finally:
            self._references.forget(self._stale.set)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _live(self) -> None:
        self._dirty.set()
        wanted = [wanted for volume in self._volumes() for wanted in podspec.volume_references(volume)]
        if wanted:
            self._references.watch(self.namespace, wanted, self._stale.set)
        started = False
        while True:
            self._stale.clear()
            written = await self._write_volumes()
            if written and not started:
                started = True
                for container in self.containers:
                    container.start()
            wait = self._until_tokens_age() if written else 1.0
            # Not wait_for(): up to Python 3.11 it loses a cancellation that comes together with what it waits for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stale.wait()

    async def _end_containers(self) -> None:
        metadata = self.object["metadata"]
        grace = FORCED_GRACE if self._gone else float(metadata.get("deletionGracePeriodSeconds", 30))
        for container in self.containers:
            container.unready()
        await asyncio.gather(*(container.end(grace) for container in self.containers))

    # Containers

    async def _launch(self, container: Object) -> Launch:
        """What to start for it, by what the API server says now; ConfigError if that is not enough."""
        while True:
            try:
                objects = await self._references.read(self.namespace, podspec.env_references(container))
                break
            except FAILURES as error:
                log.info("%s: %s; reading what it refers to again", self, error)
                await asyncio.sleep(AGAIN)
        env = podspec.environment(container, self.object, objects, self.address)
        folders = {volume["name"]: self._folder(volume) for volume in self._volumes()}
        places = podspec.mounts(container, folders)
        argv = podspec.arguments(container, env, places, self.address)
        env = {name: podspec.relocate(value, places) for name, value in env.items()}
        cwd = Path(podspec.relocate(container.get("workingDir") or str(self.folder), places))
        base = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
        return Launch(argv, base | env, cwd, self.log(container["name"]))

    def log(self, container: str) -> Path:
        """Where a container's output goes; it outlives the pod."""
        return self._logs / f"{self.namespace}_{self.name}_{container}.log"

    # Volumes

    def _volumes(self) -> list[Object]:
        volumes: list[Object] = self.object["spec"].get("volumes") or []
        return volumes

    def _folder(self, volume: Object) -> Path:
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        return self.folder / "volumes" / str(volume["name"])

    async def _write_volumes(self) -> bool:
        """Bring all files up to date; False if something is missing."""
        try:
            for volume in self._volumes():
                await self._write(volume)
        except (ConfigError, *FAILURES) as error:
            log.info("%s: cannot set up a volume: %s", self, error)
            return False
        return True

    async def _write(self, volume: Object) -> None:
        folder = self._folder(volume)
        if not volume.keys() & set(podspec.GENERATED):
            folder.mkdir(parents=True, exist_ok=True)
            return
        objects = await self._references.read(self.namespace, podspec.volume_references(volume))
        tokens = {
            source["path"]: await self._token(volume["name"], source)
            for source in podspec.token_requests(volume)
        }
        publish(folder, podspec.contents(volume, self.object, objects, tokens, self.address))

    async def _token(self, volume: str, source: Object) -> str:
        """The token for a projected source; a new one once four fifths of its time have passed."""
        key = volume, source["path"]
        if key in self._tokens and self._tokens[key][1] > time.time():
            return self._tokens[key][0]
        account = self.object["spec"].get("serviceAccountName") or "default"
        lifetime = source.get("expirationSeconds") or 3600
        spec: Object = {
            "expirationSeconds": lifetime,
            "audiences": [source["audience"]] if source.get("audience") else [],
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid},
        }
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        token = (await self._api.post(path, body))["status"]["token"]
        self._tokens[key] = token, time.time() + 0.8 * lifetime
        return str(token)

    def _until_tokens_age(self) -> float | None:
        due = [until for _, until in self._tokens.values()]
        return max(1.0, min(due) - time.time()) if due else None

    # What the API server is told

    async def _tell_always(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if not await self._tried(self._tell):
                self._dirty.set()
                await asyncio.sleep(AGAIN)

    async def _until_done(self, attempt: Callable[[], Any]) -> None:
        while not self._gone and not await self._tried(attempt):
            await asyncio.sleep(AGAIN)

    async def _tried(self, attempt: Callable[[], Any]) -> bool:
        """Whether there is nothing more to do."""
        try:
            await attempt()
        except ApiError as error:
            if error.status in (404, 409):  # the object is gone, or another's now
                return True
            log.info("%s: %s; trying again", self, error)
        except FAILURES as error:
            log.info("%s: %s; trying again", self, error)
        else:
            return True
        return False

    async def _tell(self) -> None:
        views = [container.view for container in self.containers]
        before = self._told.get("conditions", [])
        status = podstatus.status(
            self.object, views, self.address, self._began, before=before, now=time.time()
        )
        if status != self._told:
            body = {"metadata": {"uid": self.uid}, "status": status}
            await self._api.patch(f"{self._path}/status", body)
            self._told = status

    async def _delete(self) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self.uid},
        }
        await self._api.delete(self._path, body, gracePeriodSeconds="0")

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
