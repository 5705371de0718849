"""The admin side: health, metrics, state, and the stream of beats that autoscalers live on. Never in the way of the data plane.

Whatever grows with the number of Backends is sent in pieces, and the loop turns in between. A beat is encoded once, whoever
listens; a reader that falls behind is cut off: it connects again and may ask for the last ones (`lately`), then goes on with the next.
The application is open to further routes until it starts (`tidegate up` adds the autoscaler's).
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from gateway.backend import Backend
from gateway.lately import Lately
from gateway.metrics import CONTENT_TYPE_PLAIN_0_0_4, render
from gateway.pages import send
from gateway.state import Status, state_pieces
from gateway.stats import Beat

logger = logging.getLogger(__name__)

BACKLOG = 64
"""Beats that wait for one reader at most: about a minute's."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Subscription:
    """One reader's encoded beats, from its subscription on, behind those of `before`."""

    def __init__(self, reader: str, abort: Callable[[], None], before: Iterable[bytes] = ()) -> None:
        self.reader = reader
        """Who reads, for the log."""
        self._abort = abort
        self._lines = deque(before)
        self._most = BACKLOG + len(self._lines)
        self._news = asyncio.Event()
        self._ended = False

    def put(self, line: bytes) -> bool:
        """Whether there was room."""
        if len(self._lines) >= self._most:
            return False
        self._lines.append(line)
        self._news.set()
        return True

    def end(self) -> None:
        """What has come is still read."""
        self._ended = True
        self._news.set()

    def drop(self) -> None:
        """Nothing is read any more; the reader's connection is cut, since it may be what its reading hangs on."""
        self._lines.clear()
        self.end()
        self._abort()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while self._lines:
                yield self._lines.popleft()
            if self._ended:
                return
            self._news.clear()
            await self._news.wait()

    def __repr__(self) -> str:
        return f"<Subscription of {self.reader}, {len(self._lines)} behind{', ended' if self._ended else ''}>"


class StatsHub:
    """Where beats are published, for streams over HTTP and for listeners in this process."""

    def __init__(self) -> None:
        self._subscriptions: dict[Subscription, None] = {}
        self._listeners: dict[Callable[[Beat], None], None] = {}
        self._lately = Lately()
        self._closed = False

    @property
    def read(self) -> bool:
        """Somebody reads lines, or did so lately and may come back for them."""
        return bool(self._subscriptions) or self._lately.wanted

    def publish(self, beat: Beat, stats: str | None = None) -> None:
        """Hand a beat to everybody, in this turn of the loop. Encoded once (its `stats` may be already), and only when somebody reads lines."""
        for listener in list(self._listeners):
            try:
                listener(beat)
            except Exception:
                logger.exception("a listener failed on beat %d; the others go on", beat.seq)
        if not beat.nudge:
            self._lately.count(read=bool(self._subscriptions))
        if not self.read:
            return
        line = beat.encode(stats)
        if not beat.nudge:
            self._lately.publish(line, asyncio.get_running_loop().time())
        for subscription in list(self._subscriptions):
            if not subscription.put(line):
                self.unsubscribe(subscription)
                logger.warning("%s was %d beats behind and is cut off", subscription.reader, BACKLOG)
                subscription.drop()

    def listen(self, callback: Callable[[Beat], None]) -> Callable[[], None]:
        """Call `callback` with every beat; call what is returned to end that."""
        self._listeners[callback] = None
        return lambda: self._listeners.pop(callback, None)

    def subscribe(self, reader: str, abort: Callable[[], None], last: int = 0) -> Subscription:
        """Begin with as many of the last beats as are still known, then the next. `abort` cuts the reader off when it is BACKLOG beats behind."""
        before = self._lately.last(last, asyncio.get_running_loop().time()) if last else ()
        subscription = Subscription(reader, abort, before)
        if self._closed:
            subscription.end()
        else:
            self._subscriptions[subscription] = None
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.pop(subscription, None)

    def close(self) -> None:
        """End every subscription, those to come included, so that the server can stop."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.end()
        self._subscriptions.clear()

    def __repr__(self) -> str:
        closed = ", closed" if self._closed else ""
        return f"<StatsHub {len(self._subscriptions)} streams, {len(self._listeners)} listeners{closed}>"


class _Pages:
    """What the paths answer."""

    def __init__(
        self,
        status: Status,
        backends: Mapping[str, Backend],
        registry: CollectorRegistry,
        hub: StatsHub,
        wanted: Callable[[], Mapping[str, int]],
    ) -> None:
        self.status = status
        self.backends = backends
        self.registry = registry
        self.hub = hub
        self.wanted = wanted

    async def livez(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(self, _: web.Request) -> web.Response:
        reason = self.status.not_ready
        return (
            web.Response(text="ready\n") if reason is None else web.Response(status=503, text=f"{reason}\n")
        )

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        return await send(request, CONTENT_TYPE_PLAIN_0_0_4, render(self.registry))

    async def state(self, request: web.Request) -> web.StreamResponse:
        now = asyncio.get_running_loop().time()
        pieces = state_pieces(self.status, self.backends, self.wanted(), now)
        return await send(request, "application/json", _in_turns(pieces))

    async def stats(self, request: web.Request) -> web.StreamResponse:
        def abort() -> None:
            if request.transport is not None:
                request.transport.abort()

        last = request.query.get("last", "0")
        if not (last.isascii() and last.isdigit() and len(last) < 6):
            raise web.HTTPBadRequest(text=f"`last` is how many of the last beats to begin with, got {last!r}")
        subscription = self.hub.subscribe(f"stats reader {request.remote}", abort, int(last))
        try:
            return await send(request, "application/x-ndjson", aiter(subscription))
        finally:
            self.hub.unsubscribe(subscription)


async def _in_turns(pieces: Iterable[str]) -> AsyncIterator[bytes]:
    """Each piece in another turn of the loop."""
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece.encode()


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer refusals in JSON (RFC 9457) that says what there is."""
    try:
        return await handler(request)
    except web.HTTPClientError as error:
        body: dict[str, Any] = {"status": error.status, "title": error.reason, "detail": error.text}
        headers = {}
        if isinstance(error, web.HTTPNotFound):
            paths = sorted({resource.canonical for resource in request.app.router.resources()})
            body["detail"] = f"there is no {request.path} here; there is {', '.join(paths)}"
        elif isinstance(error, web.HTTPMethodNotAllowed):
            headers["Allow"] = error.headers["Allow"]
            body["detail"] = f"{request.path} takes {error.headers['Allow']}"
        return web.json_response(
            body, status=error.status, headers=headers, content_type="application/problem+json"
        )


def make_app(
    status: Status,
    backends: Mapping[str, Backend],
    registry: CollectorRegistry,
    hub: StatsHub,
    wanted: Callable[[], Mapping[str, int]] = dict,
) -> web.Application:
    """The admin application. `wanted` tells the autoscaler's counts of replicas, where there is one in this process.

    Stopping it ends the streams of beats.
    """
    pages = _Pages(status, backends, registry, hub, wanted)
    app = web.Application(middlewares=[_problems])
    app.router.add_get("/livez", pages.livez)
    app.router.add_get("/readyz", pages.readyz)
    app.router.add_get("/metrics", pages.metrics, allow_head=False)
    app.router.add_get("/v1/state", pages.state, allow_head=False)
    app.router.add_get("/v1/stats", pages.stats, allow_head=False)

    async def close(_: web.Application) -> None:
        hub.close()

    app.on_shutdown.append(close)
    return app
