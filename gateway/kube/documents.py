"""The documents of a configuration that are in the cluster: ConfigMaps with a label, in Tidegate's own namespace, that controllers write.

Each is parsed once for each of its versions, in a thread; changes are told together, once nothing more has come for a moment. One that cannot be used
leaves its last good version in force, and its problems are told for as long as it is so. While the API server is away all stays as it was.
Neighbours: `gateway.config.documents` (what they mean), `listwatch` below, `gateway.following` above.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.config import ConfigError, Problem
from gateway.config.documents import Part, parse
from gateway.kube.client import Cluster
from gateway.kube.listwatch import ListWatch
from gateway.kube.objects import Json, metadata

LABEL = "tidegate.dev/document"
KEY = "tidegate.yaml"
QUIET = 0.1
LONGEST = 1.0
"""Seconds: changes are told once nothing has come for the first, and after the second in any case."""


@dataclass(frozen=True, slots=True)
class Written:
    """One version of a ConfigMap."""

    created: str
    version: str
    text: str


def written_of(item: Json) -> Written:
    """Of a ConfigMap; one without the key is empty."""
    about = metadata(item)
    data: Mapping[str, Any] = item.get("data") or {}
    return Written(
        about.get("creationTimestamp") or "", about.get("resourceVersion") or "", str(data.get(KEY, "{}"))
    )


def source_of(namespace: str, name: str) -> str:
    """What such a ConfigMap is called, for people."""
    return f"configmap {namespace}/{name}"


class Documents:
    """All of one cluster's, on the running loop. `stop` it in the end."""

    def __init__(self, cluster: Cluster, told: Callable[[], Awaitable[None]]) -> None:
        """`told` is awaited when `parts` or `problems` are others than before."""
        self._namespace = cluster.namespace
        self._told = told
        self._good: dict[str, tuple[str, Part]] = {}
        """By name: the last version that could be used, and when the first one was made."""
        self._bad: dict[str, tuple[Problem, ...]] = {}
        self._dirty: set[str] = set()
        self._stirred = asyncio.Event()
        self._first = asyncio.Event()
        path = f"/api/v1/namespaces/{cluster.namespace}/configmaps"
        self._watch: ListWatch[Written] = ListWatch(cluster, path, written_of, self, selector=LABEL)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._watch.run()), loop.create_task(self._keep())]

    @property
    def listed(self) -> bool:
        """Whether all were read at least once, and told."""
        return self._first.is_set()

    async def first(self) -> None:
        """Return once they are `listed`."""
        await self._first.wait()

    @property
    def parts(self) -> list[Part]:
        """Those that can be used, the oldest first."""
        inorder = sorted(self._good.items(), key=lambda item: (item[1][0], item[0]))
        return [part for _, (_, part) in inorder]

    @property
    def problems(self) -> list[Problem]:
        """Of those whose latest version cannot be used."""
        return [problem for _, problems in sorted(self._bad.items()) for problem in problems]

    @property
    def lack(self) -> str:
        """What the list-watch fails with at present."""
        return self._watch.problem

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- a Listener

    def changed(self, name: str, before: Written | None, now: Written | None) -> None:
        """Only marks it."""
        if before is None or now is None or before.text != now.text or before.created != now.created:
            self._dirty.add(name)
            self._stirred.set()

    def settled(self) -> None:
        self._stirred.set()

    # -- what comes of it

    async def _keep(self) -> None:
        while True:
            await self._stirred.wait()
            await self._until_quiet()
            dirty, self._dirty = self._dirty, set()
            listed = self._watch.synced
            if not dirty and (self.listed or not listed):
                continue
            texts = {name: self._watch.items.get(name) for name in dirty}
            read = await asyncio.to_thread(self._read, texts)
            for name, result in read.items():
                self._take(name, texts[name], result)
            await self._told()
            if listed:
                self._first.set()

    async def _until_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + LONGEST
        while self._stirred.is_set() and loop.time() < end:
            self._stirred.clear()
            await asyncio.sleep(QUIET)
        self._stirred.clear()

    def _read(self, texts: Mapping[str, Written | None]) -> dict[str, Part | tuple[Problem, ...] | None]:
        return {name: None if found is None else self._parsed(name, found) for name, found in texts.items()}

    def _parsed(self, name: str, found: Written) -> Part | tuple[Problem, ...]:
        try:
            return parse(source_of(self._namespace, name), found.text)
        except ConfigError as error:
            return error.problems
        except Exception as error:  # noqa: BLE001 (told as any problem of it; the others go on)
            says = f"cannot be read: {type(error).__name__}: {error}"
            return (Problem(source_of(self._namespace, name), None, "", says),)

    def _take(self, name: str, found: Written | None, result: Part | tuple[Problem, ...] | None) -> None:
        self._bad.pop(name, None)
        if found is None or result is None:
            self._good.pop(name, None)
        elif isinstance(result, Part):
            self._good[name] = (found.created, result)
        else:
            self._bad[name] = result

    def __repr__(self) -> str:
        state = f"{len(self._good)} in use, {len(self._bad)} wrong" if self.listed else "not listed yet"
        return f"<Documents {state}>"
