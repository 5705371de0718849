"""The list-watches of one process: one for each resource and namespace, however many Backends look at it.

Each has its listeners, to all objects or to one by its name: 500 Deployments must not make a change of one of them 500 times as dear. When the last
one goes, so does the list-watch. Neighbours: `listwatch`, and `discovery` and `owners`, which say what is looked at.
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
        self.listeners: dict[str | None, list[Listener[Any]]] = {}
        """By the name of the one object that they listen to; None: to all."""
        self.watch = ListWatch(cluster, path, view, self)
        self.task = asyncio.get_running_loop().create_task(self.watch.run())

    def changed(self, name: str, before: Any, now: Any) -> None:  # noqa: ANN401 (views of every kind)
        for listener in [*self.listeners.get(None, ()), *self.listeners.get(name, ())]:
            listener.changed(name, before, now)

    def settled(self) -> None:
        for listener in [one for some in self.listeners.values() for one in some]:
            listener.settled()


class Watches:
    """Starts and ends list-watches as they are needed."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._shared: dict[str, _Shared] = {}

    def add(
        self, path: str, view: Callable[[Json], Any], listener: Listener[Any], name: str | None = None
    ) -> ListWatch[Any]:
        """Listen to the objects at `path`, or to the one of that name. What is known already is in the `items` of what is returned, and not
        told.
        """
        shared = self._shared.get(path)
        if shared is None:
            shared = self._shared[path] = _Shared(self.cluster, path, view)
        shared.listeners.setdefault(name, []).append(listener)
        return shared.watch

    def remove(self, path: str, listener: Listener[Any], name: str | None = None) -> None:
        """As it was added."""
        shared = self._shared[path]
        shared.listeners[name].remove(listener)
        if not shared.listeners[name]:
            del shared.listeners[name]
        if not shared.listeners:
            shared.task.cancel()
            del self._shared[path]

    @property
    def synced(self) -> bool:
        """Whether any of them has listed its resource."""
        return any(shared.watch.synced for shared in self._shared.values())

    async def stop(self) -> None:
        tasks = [shared.task for shared in self._shared.values()]
        for task in tasks:
            task.cancel()
        self._shared.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __repr__(self) -> str:
        return f"<Watches {[shared.watch for shared in self._shared.values()]}>"
