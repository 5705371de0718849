"""Watches: what a stream says, from its first line to its end. One event is encoded once, however many watch.

`Watch` collects lines as the history tells of events; `stream` writes them, with bookmarks when nothing else is said. What a test has
stalled stays unsaid. Neighbours: `history`, `faults`.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.kube.errors import ApiError
from tests.kube.listing import parsed_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kube.faults import Faults
    from tests.kube.history import Event, History
    from tests.kube.kinds import Resource
    from tests.kube.selectors import Selection

DEFAULT_TIMEOUT = 1800.0


class Watch:
    """One watch, from its first line on. Raises 410 at once if its resourceVersion is too old."""

    def __init__(
        self,
        history: History,
        resource: Resource,
        selection: Selection,
        query: Mapping[str, str],
        wake: asyncio.Event,
    ) -> None:
        self.resource = resource
        self._history = history
        self._selection = selection
        self._wake = wake
        self._lines: list[bytes] = []
        version = query.get("resourceVersion", "")
        self._start = parsed_version(version)
        initial = query.get("sendInitialEvents") == "true"
        backlog = [] if initial or not self._start else history.table(resource).since(self._start)
        if initial or not self._start:
            self._say_all(bookmark=initial and query.get("allowWatchBookmarks") == "true")
        for event in backlog:
            self.take(event)
        self.end = history.subscribe(resource, self.take)
        if self._lines:
            wake.set()

    def take(self, event: Event) -> None:
        if event.rv <= self._start:
            return
        now = event.type != "DELETED" and self._selection.matches(event.record.obj)
        before = event.previous is not None and self._selection.matches(event.previous.obj)
        if now or before:
            self._lines.append(event.line(("MODIFIED" if before else "ADDED") if now else "DELETED"))
            self._wake.set()

    def bookmark(self, *, initial_end: bool = False) -> None:
        metadata: dict[str, Any] = {
            "resourceVersion": str(max(self._history.rv, self._start)),
            "creationTimestamp": None,
        }
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        head = {"kind": self.resource.kind, "apiVersion": self.resource.api_version, "metadata": metadata}
        self._lines.append(line("BOOKMARK", head))

    def said(self) -> bytes:
        """What has to be written now."""
        lines, self._lines = self._lines, []
        return b"".join(lines)

    def _say_all(self, *, bookmark: bool) -> None:
        for record in self._history.table(self.resource).records.values():
            if self._selection.matches(record.obj):
                self._lines.append(b'{"type":"ADDED","object":%b}\n' % record.body)
        self._start = max(self._history.rv, self._start)
        if bookmark:
            self.bookmark(initial_end=True)

    def __repr__(self) -> str:
        return f"<Watch of {self.resource.qualified}, {self._selection!r}>"


def line(type_: str, obj: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": obj}, separators=(",", ":")).encode() + b"\n"


async def stream(
    request: web.Request, history: History, faults: Faults, resource: Resource, selection: Selection
) -> web.StreamResponse:
    """Answer a watch until its timeout, its client's end or a test's cut."""
    wake = asyncio.Event()
    try:
        watch = Watch(history, resource, selection, request.query, wake)
    except ApiError as error:
        if faults.gone_as_status or error.code != 410:
            raise
        return await _gone(request, error)
    response = _response()
    faults.watches[wake] = (request, watch)
    try:
        await response.prepare(request)
        await _say(response, watch, wake, request.query, faults)
    except ConnectionError:
        pass
    finally:
        watch.end()
        del faults.watches[wake]
    return response


def _response() -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
    )
    response.enable_chunked_encoding()
    return response


async def _gone(request: web.Request, error: ApiError) -> web.StreamResponse:
    response = _response()
    await response.prepare(request)
    await response.write(line("ERROR", error.status()))
    return response


async def _say(
    response: web.StreamResponse, watch: Watch, wake: asyncio.Event, query: Mapping[str, str], faults: Faults
) -> None:
    loop = asyncio.get_running_loop()
    bookmarks = query.get("allowWatchBookmarks") == "true"
    ends = loop.time() + float(query.get("timeoutSeconds") or DEFAULT_TIMEOUT)
    next_bookmark = loop.time() + faults.bookmark_interval
    while not faults.is_ending(wake):
        due = min(ends, next_bookmark) if bookmarks else ends
        try:
            async with asyncio.timeout_at(due):
                await wake.wait()
        except TimeoutError:
            if loop.time() >= ends and not faults.silences(wake):
                return
            ends = max(ends, loop.time() + 0.01)  # a connection that has stalled does not end either
            next_bookmark = loop.time() + faults.bookmark_interval
            if not faults.silences(wake):
                watch.bookmark()
        wake.clear()
        if not faults.silences(wake) and (said := watch.said()):
            await response.write(said)
