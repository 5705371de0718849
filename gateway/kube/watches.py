"""The list-watches of one process: one for each resource and namespace, however many Backends look at it.

Each has its listeners; a change is told to all of them. When the last one goes, so does the list-watch. Neighbours: `listwatch`,
and `discovery`, which says what is looked at.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.kube.client import Cluster
from gateway.kube.listwatch import Listener, ListWatch
from gateway.kube.objects import Json


class _Shared:
    """One list-watch, and all who listen to it."""

    def __init__(self, cluster: Cluster, path: str, view: Callable[[Json], Any]) -> None:
        self.listeners: list[Listener[Any]] = []
        self.watch = ListWatch(cluster, path, view, self)
        self.task = asyncio.get_running_loop().create_task(self.watch.run())

    def changed(self, name: str, before: Any, now: Any) -> None:  # noqa: ANN401 (views of every kind)
        for listener in list(self.listeners):
            listener.changed(name, before, now)

    def settled(self) -> None:
        for listener in list(self.listeners):
            listener.settled()


class Watches:
    """Starts and ends list-watches as they are needed."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._shared: dict[str, _Shared] = {}

    def add(self, path: str, view: Callable[[Json], Any], listener: Listener[Any]) -> ListWatch[Any]:
        """Listen to the objects at `path`. What is known already is in the `items` of what is returned, and not told."""
        shared = self._shared.get(path)
        if shared is None:
            shared = self._shared[path] = _Shared(self.cluster, path, view)
        shared.listeners.append(listener)
        return shared.watch

    def remove(self, path: str, listener: Listener[Any]) -> None:
        shared = self._shared[path]
        shared.listeners.remove(listener)
        if not shared.listeners:
            shared.task.cancel()
            del self._shared[path]

    async def stop(self) -> None:
        tasks = [shared.task for shared in self._shared.values()]
        for task in tasks:
            task.cancel()
        self._shared.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __repr__(self) -> str:
        return f"<Watches {[shared.watch for shared in self._shared.values()]}>"
