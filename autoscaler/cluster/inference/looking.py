"""The list-watches of the controller of InferenceServices, and resources that are not defined yet.

A resource whose definition is missing is looked for every minute; until then there is nothing of it. Whatever is learned goes to `known`, and to
the `Told`. Neighbour: `gateway.kube.listwatch`.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from typing import Any

from autoscaler.cluster.inference.kinds import DOCUMENTS, MADE, RUNTIMES, SERVICES, Key, Kind, Object, key_of
from autoscaler.cluster.inference.known import Known
from gateway.kube.client import ApiError, Cluster, ClusterError
from gateway.kube.listwatch import ListWatch

logger = logging.getLogger(__name__)

MISSING_AGAIN = 60.0
"""Seconds until a resource that is not defined is looked for again."""

Told = Callable[[Key | None], object]
"""Something of this InferenceService has changed; None: something that any of them may depend on."""


class _Copy:
    """One resource in one namespace, or in all."""

    def __init__(self, cluster: Cluster, kind: Kind, namespace: str, known: Known, told: Told) -> None:
        self.kind = kind
        self._cluster = cluster
        self._known = known
        self._told = told
        self._missing = False
        path = kind.path("" if kind.wide else namespace)
        self._watch: ListWatch[Any] = ListWatch(
            cluster, path, kind.kept, self, selector=kind.selector, key=lambda item: "/".join(key_of(item))
        )
        self.task = asyncio.get_running_loop().create_task(self._run())

    @property
    def synced(self) -> bool:
        return self._watch.synced or self._missing

    async def _run(self) -> None:
        if self.kind.optional:
            await self._wait()
        self._missing = False
        await self._watch.run()

    async def _wait(self) -> None:
        """Until it is defined."""
        while await self._is_missing():  # noqa: ASYNC110 (what others define has no event to wait for)
            await asyncio.sleep(MISSING_AGAIN * (0.9 + 0.2 * random.random()))  # noqa: S311

    async def _is_missing(self) -> bool:
        """Other failures are the list-watch's."""
        try:
            await self._cluster.get(self._watch.path, {"limit": "1"})
        except ApiError as error:
            if error.status != 404:
                return False
        except ClusterError:
            return False
        else:
            return False
        if not self._missing:
            self._missing = True
            logger.info("%s: not defined in this cluster; looked for again every minute", self.kind)
            self._told(None)
        return True

    def changed(self, _: str, before: Object | None, now: Object | None) -> None:
        if now is not None:
            self._told(self._known.take(self.kind, now))
        elif before is not None:
            self._told(self._known.drop(self.kind, before))

    def settled(self) -> None:
        self._told(None)

    def forget(self) -> None:
        """It is looked at no longer."""
        self.task.cancel()
        for item in self._watch.items.values():
            self._known.drop(self.kind, item)

    def __repr__(self) -> str:
        return f"<_Copy missing {self.kind}>" if self._missing else f"<_Copy {self._watch}>"


class Looking:
    """All of them, for as long as they are wanted."""

    def __init__(self, cluster: Cluster, namespaces: Iterable[str], known: Known, told: Told) -> None:
        """`namespaces`: where InferenceServices may be; none named: everywhere."""
        places = tuple(namespaces) or ("",)
        wanted = [(kind, place) for kind in (*SERVICES, *MADE, RUNTIMES[0]) for place in places]
        wanted += [(RUNTIMES[1], ""), (DOCUMENTS, cluster.namespace)]
        self._copies = [_Copy(cluster, kind, place, known, told) for kind, place in wanted]

    @property
    def synced(self) -> bool:
        """Everything was listed once, or is not defined: what is not known is not there."""
        return all(copy.synced for copy in self._copies)

    async def stop(self) -> None:
        for copy in self._copies:
            copy.forget()
        await asyncio.gather(*(copy.task for copy in self._copies), return_exceptions=True)

    def __repr__(self) -> str:
        return f"<Looking at {self._copies}>"
