"""The ConfigMaps and Secrets that pods refer to: read when needed, watched by namespace for those who keep files of them.

What was read once is good enough while the API server is away, as a kubelet's cache is.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from tests.kube.nodeapi import UNREACHABLE, Api, ApiError
from tests.kube.podspec import Reference

Object = dict[str, Any]


class References:
    """All that one node knows."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[tuple[str, Reference], Object | None] = {}
        self._watches: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._interested: dict[Callable[[], None], tuple[str, frozenset[Reference]]] = {}

    def __repr__(self) -> str:
        return f"<References: {len(self._known)} known, {len(self._watches)} watches>"

    async def read(self, namespace: str, references: Iterable[Reference]) -> dict[Reference, Object | None]:
        """Each as it is now; None for one that is not there. Fails if the server does and it was never read."""
        return {reference: await self._read(namespace, reference) for reference in set(references)}

    async def _read(self, namespace: str, reference: Reference) -> Object | None:
        resource, name = reference
        key = namespace, reference
        try:
            self._known[key] = await self._api.get(f"/api/v1/namespaces/{namespace}/{resource}/{name}")
        except ApiError as error:
            if error.status == 404:
                self._known[key] = None
            elif key not in self._known:
                raise
        except UNREACHABLE:
            if key not in self._known:
                raise
        return self._known[key]

    def watch(self, namespace: str, references: Iterable[Reference], changed: Callable[[], None]) -> None:
        """Call `changed` after each change of one of them, until `forget(changed)`."""
        wanted = frozenset(references)
        self._interested[changed] = namespace, wanted
        for resource in {resource for resource, _ in wanted}:
            if (resource, namespace) not in self._watches:
                self._watches[resource, namespace] = asyncio.create_task(self._follow(resource, namespace))

    def forget(self, changed: Callable[[], None]) -> None:
        self._interested.pop(changed, None)

    async def close(self) -> None:
        for task in self._watches.values():
            task.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)

    async def _follow(self, resource: str, namespace: str) -> None:
        async for kind, what in self._api.follow(f"/api/v1/namespaces/{namespace}/{resource}"):
            names = {item["metadata"]["name"] for item in (what if kind == "SYNC" else [what])}
            for changed, (where, wanted) in list(self._interested.items()):
                if where == namespace and any((resource, name) in wanted for name in names):
                    changed()
