"""Follows one object that owns pods: its count, its selector, and that it exists.

Deployments and StatefulSets say all of that themselves, so that the namespace's one list-watch is enough. Of any other kind the API server
is asked for the resource's name once, and for the object's scale whenever the object has changed.
Neighbours: `workloads` (what is made of it), `watches` below, `discovery` above.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.kube.client import ApiError, ClusterError
from gateway.kube.objects import Json, metadata, setter_of
from gateway.kube.watches import Watches
from gateway.kube.workloads import Workload, workload_of, workload_of_scale
from gateway.targets import ScaleTarget, group_path

if TYPE_CHECKING:
    from gateway.kube.listwatch import ListWatch

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY = 5.0
"""Seconds until a question that failed is asked again."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A target, and the namespace that it is in."""

    target: ScaleTarget
    namespace: str

    def __str__(self) -> str:
        return self.target.named(self.namespace)


class OwnerWatch:
    """Keeps the Workload of one Owner."""

    def __init__(self, watches: Watches, owner: Owner, changed: Callable[[], None]) -> None:
        self.workload: Workload | None = None
        """None while nothing is known of it, or when it does not exist."""
        self._watches = watches
        self._owner = owner
        self.settled = changed
        self._path = ""
        self._watch: ListWatch[Any] | None = None
        self._problem = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look; `changed` may be called at once."""
        plural = self._owner.target.plural
        if plural is not None:
            self._begin(plural, self._workload_of)
        else:
            self._ask(self._find())

    @property
    def listed(self) -> bool:
        """Whether the API server has said once what it is, or that it is not there."""
        if self._watch is None or not self._watch.synced:
            return False
        return self.workload is not None or self._owner.target.name not in self._watch.items

    def missing(self) -> str:
        """Why there is no Workload, for people."""
        if self._problem:
            return self._problem
        if self._watch is None or not self._watch.synced:
            return self._watch.problem if self._watch else ""
        return "" if self.workload else f"{self._owner} does not exist"

    def stop(self) -> None:
        self._cancel()
        if self._watch is not None:
            self._watches.remove(self._path, self, self._owner.target.name)

    def _begin(self, plural: str, view: Callable[[Json], Any]) -> None:
        target = self._owner.target
        self._path = target.collection(self._owner.namespace, plural)
        self._watch = self._watches.add(self._path, view, self, target.name)
        known = self._watch.items.get(target.name)
        if known is not None:
            self.changed(target.name, None, known)

    def _workload_of(self, item: Json) -> Workload:
        # Shared by all of this kind and namespace: nothing here may be this owner's alone but what the path says.
        target = self._owner.target
        return workload_of(item, target.api_version, target.kind, f"{self._path}/{metadata(item)['name']}")

    def changed(self, _name: str, _before: object, now: Workload | Json | None) -> None:
        if now is None or isinstance(now, Workload):
            self._cancel()
            self._problem = ""
            self._set(now)
        else:
            self._ask(self._read_scale(now))

    def _set(self, workload: Workload | None) -> None:
        self.workload = workload
        self.settled()

    # -- kinds that only their scale explains

    def _ask(self, question: Coroutine[Any, Any, None]) -> None:
        self._cancel()
        self._task = asyncio.get_running_loop().create_task(question)

    def _cancel(self) -> None:
        """What was asked is no longer of interest."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _find(self) -> None:
        """What the resource is called in paths."""
        target = self._owner.target
        found = await self._until_answered(self._kind)
        logger.info("%s is the resource %s of %s", target.kind, found, target.api_version)
        self._begin(found, _bare)

    async def _kind(self) -> str:
        target = self._owner.target
        answer = await self._watches.cluster.get(group_path(target.api_version))
        resources = answer.get("resources") or ()
        names = [
            one["name"] for one in resources if one.get("kind") == target.kind and "/" not in one["name"]
        ]
        if not names:
            raise ApiError(404, "NotFound", f"{target.api_version} has no kind {target.kind}")
        if all(one["name"] != f"{names[0]}/scale" for one in resources):
            raise ApiError(404, "NotFound", f"{target.kind} ({target.api_version}) has no scale subresource")
        name: str = names[0]
        return name

    async def _read_scale(self, item: Json) -> None:
        path, target = f"{self._path}/{self._owner.target.name}", self._owner.target
        scale = await self._until_answered(lambda: self._watches.cluster.get(f"{path}/scale"))
        self._set(workload_of_scale(item, scale, target.api_version, target.kind, path))

    async def _until_answered(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        while True:
            try:
                answer = await question()
            except ClusterError as error:
                if str(error) != self._problem:
                    self._problem = str(error)
                    logger.warning("%s: %s", self._owner, error)
                    self.settled()
                await asyncio.sleep(RETRY)
            else:
                self._problem = ""
                return answer

    def __repr__(self) -> str:
        return f"<OwnerWatch {self._owner} {self.workload.replicas if self.workload else self.missing()}>"


def _bare(item: Json) -> Json:
    """Enough to see that it changed, to name it, and to say whose its count is."""
    meta = metadata(item)
    kept = {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion")}
    setter = setter_of(item)
    field = {"manager": setter, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    return {"metadata": kept | ({"managedFields": [field]} if setter else {})}
