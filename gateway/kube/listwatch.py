"""A copy of all objects of one resource, in one namespace or in all, kept true by list and watch.

Lists are paged, and pages are gone through in turns of the loop; what a list shows no more is gone. A watch goes on from the last version seen, bookmarks
included; when that is too old (410), everything is listed anew, and the copy stays as it was until then. Each watch is asked to end after half a minute, and one
that has not ended by then has stalled silently; ten in a row that say nothing at all are not believed. Whatever fails, faults of our own included, is tried again after growing, jittered pauses; the copy stays.
Objects are turned into small views at once; the Listener is told of each view that differs. Neighbour: `discovery`, its user.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Generic, Protocol, TypeVar

from gateway.kube.client import ApiError, Cluster, ClusterError, Unreachable
from gateway.kube.objects import Json, key_of, metadata
from gateway.kube.pages import Page

logger = logging.getLogger(__name__)

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

PAGE = 50
"""Objects per page of a list: half a megabyte of large pods, whose bytes come in one turn or two."""
AT_ONCE = 8
"""Objects of a page that are decoded in one turn of the loop: 1 ms or less of large pods."""
WATCH = 30.0
"""Seconds that a watch is asked to last. client-go asks for 5 to 10 minutes, and takes that long to notice a stall."""
_SPREAD = 0.5
_LATE = 5.0
"""Seconds past its end after which a watch has stalled."""
SHORTEST_WATCH = 1.0
"""Seconds; who ends them sooner than that is not asked again at once."""
REFUSALS = 2
"""Failures in a row after which a watch that is refused again is begun anew with a list."""
_NOT_ITS_VERSION = {401, 403, 429, 503}
"""Refusals that a list would meet as well."""
SILENT = 10
"""Watches in a row without an event, a bookmark included, after which all is listed anew: every five minutes where nothing changes and a server
sends no bookmarks. One that was restored from a backup counts up to our version again before it says a word.
"""
FIRST_RETRY = 0.2
LAST_RETRY = 5.0


class Listener(Protocol[T_contra]):
    """Whoever is told of a resource's objects."""

    def changed(self, name: str, before: T_contra | None, now: T_contra | None) -> None:
        """An object is there, is another, or is gone (None)."""

    def settled(self) -> None:
        """All have been listed; or the list-watch has begun or ceased to fail."""


class ListWatch(Generic[T]):
    """The objects at `path`, as views by name."""

    def __init__(
        self,
        cluster: Cluster,
        path: str,
        view: Callable[[Json], T],
        listener: Listener[T],
        chance: Callable[[], float] = random.random,
        *,
        selector: str = "",
        key: Callable[[Json], str] = key_of,
    ) -> None:
        """`selector`: of labels, which narrows what is listed; `key`: what `items` are called by, over several namespaces."""
        self.path = path
        self.items: dict[str, T] = {}
        self.synced = False
        """It was listed at least once."""
        self.problem = ""
        """What it fails with at present, for people."""
        self._cluster = cluster
        self._view = view
        self._listener = listener
        self._chance = chance
        self._narrowed = {"labelSelector": selector} if selector else {}
        self._key = key
        self._version = ""
        self._silent = 0
        """Watches since the last event."""
        self._unreadable: set[str] = set()
        """Objects that are not what they should be, as was said."""
        self._failures = 0
        self._refused = False
        """The last watch was not even begun."""

    async def run(self) -> None:
        """Keep the copy true until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Exception as error:  # noqa: BLE001 (told below; one that ended this task would leave the copy to age unseen)
                await self._failed(error)

    async def _failed(self, error: Exception) -> None:
        expired = isinstance(error, ApiError) and error.status == 410
        if expired or not isinstance(error, ClusterError):
            # A watch that goes on would begin with the event that was too much, time and again; a list shows what is there by now.
            self._version = ""
        if not expired:
            self._note(error)
        elif not self._failures:
            # A list at once; one that is refused again and again is spaced out as any failure.
            self._failures = 1
            return
        pause = min(LAST_RETRY, FIRST_RETRY * 2**self._failures) * (0.5 + self._chance())
        self._failures = min(self._failures + 1, 10)
        asked = error.retry_after if isinstance(error, ApiError) else None
        await asyncio.sleep(max(pause, min(asked or 0.0, 60.0)))

    def _note(self, error: Exception) -> None:
        """Once for as long as it is the same. What is no failure of the cluster's is a fault of ours: where it arose is told as well."""
        foreseen = isinstance(error, ClusterError)
        problem = str(error) if foreseen else f"{type(error).__name__}: {error}"
        if problem != self.problem:
            self.problem = problem
            trace = None if foreseen else error
            logger.warning("%s: %s; going on with what is known", self.path, problem, exc_info=trace)
            self._listener.settled()

    # -- the two ways to learn

    async def _list(self) -> None:
        found: set[str] = set()
        params = {"limit": str(PAGE), **self._narrowed}
        while True:
            page = Page(await self._cluster.read(self.path, params))
            await self._learn_page(page, found)
            version: str = metadata(page.rest).get("resourceVersion", "")
            following = metadata(page.rest).get("continue")
            if not following:
                break
            params["continue"] = following
        for name in self.items.keys() - found:
            self._drop(name)
        self._version, self.synced = version, True
        if not self._refused:
            self._recovered()
        self._listener.settled()

    async def _learn_page(self, page: Page, found: set[str]) -> None:
        try:
            for number, item in enumerate(page.items(), 1):
                found.add(self._key(item))
                self._put(item)
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
        except (ValueError, RecursionError) as error:
            raise Unreachable(f"{self.path}: not a list: {error}") from error
        if not page.is_list:
            raise Unreachable(f"{self.path}: not a list: {', '.join(page.rest) or 'empty'}")

    async def _watch(self) -> None:
        lasts = WATCH * (1 + _SPREAD * self._chance())
        params = {
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(round(lasts)),
            **self._narrowed,
        }
        began = asyncio.get_running_loop().time()
        self._silent += 1
        try:
            async with aclosing(self._cluster.watch(self.path, params, timeout=lasts + _LATE)) as events:
                async for event in events:
                    self._silent = 0
                    self._learn(event["type"], event["object"])
        except ApiError as error:
            self._refused = error.status != 410
            if self._failures >= REFUSALS and error.status not in _NOT_ITS_VERSION:
                # Not every server says 410 of a version that it cannot go on from, as when another server took the place of the one that gave it.
                self._version = ""
            raise
        if asyncio.get_running_loop().time() - began < SHORTEST_WATCH:
            raise Unreachable("watches end as soon as they have begun")
        self._well()
        if self._silent >= SILENT:
            self._silent, self._version = 0, ""

    def _learn(self, kind: str, item: Json) -> None:
        if kind == "ERROR":
            raise ApiError(item.get("code", 500), item.get("reason") or "", item.get("message") or "")
        if kind in ("ADDED", "MODIFIED"):
            self._put(item)
        elif kind == "DELETED":
            self._drop(self._key(item))
        self._version = metadata(item).get("resourceVersion") or self._version
        self._well()

    def _well(self) -> None:
        """A watch works. That a list does tells nothing of the next watch."""
        self._failures, self._refused = 0, False
        self._recovered()

    def _recovered(self) -> None:
        if self.problem:
            logger.info("%s: watched again", self.path)
            self.problem = ""
            self._listener.settled()

    # -- the copy

    def _put(self, item: Json) -> None:
        name = self._key(item)
        try:
            now = self._view(item)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if name not in self._unreadable:
                self._unreadable.add(name)
                text = "%s/%s cannot be read, and is taken to be what it was: %s: %s"
                logger.warning(text, self.path, name, type(error).__name__, error)
            return
        self._unreadable.discard(name)
        before = self.items.get(name)
        if now != before:
            self.items[name] = now
            self._listener.changed(name, before, now)

    def _drop(self, name: str) -> None:
        self._unreadable.discard(name)
        before = self.items.pop(name, None)
        if before is not None:
            self._listener.changed(name, before, None)

    def __repr__(self) -> str:
        state = f"{len(self.items)} objects" if self.synced else "not listed yet"
        return f"<ListWatch {self.path} {state}{f', failing: {self.problem}' if self.problem else ''}>"
