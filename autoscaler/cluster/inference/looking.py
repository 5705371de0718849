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
UNKNOWN_AGAIN = 5.0
"""Seconds until an API server is asked again that did not say whether one is."""

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
        self._problem = ""
        """Why it is not known whether it is defined."""
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
        while (pause := await self._pause()) is not None:  # noqa: ASYNC110 (what others define has no event to wait for)
            await asyncio.sleep(pause * (0.9 + 0.2 * random.random()))  # noqa: S311

    async def _pause(self) -> float | None:
        """Seconds until it is looked for again; None: it is defined. An answer that does not say leaves what was known: a list-watch that began on it
        would never be done where the resource is missing.
        """
        try:
            await self._cluster.get(self._watch.path, {"limit": "1"})
        except ClusterError as error:
            if isinstance(error, ApiError) and error.status == 404:
                self._is_missing()
                return MISSING_AGAIN
            if str(error) != self._problem:
                self._problem = str(error)
                logger.warning("%s: %s; asking again", self.kind, error)
            return UNKNOWN_AGAIN
        return None

    def _is_missing(self) -> None:
        self._problem = ""
        if not self._missing:
            self._missing = True
            logger.info("%s: not defined in this cluster; looked for again every minute", self.kind)
            self._told(None)

    def changed(self, _: str, before: Object | None, now: Object | None) -> None:
        if now is not None:
            self._told(self._known.take(self.kind, now))
        elif before is not None:
            self._told(self._known.ended(self.kind, before))

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
