"""What tests of sources share: a Sink that remembers, a clock, and pods that serve a page."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

from autoscaler.signals.asked import PodAt


class Told:
    """A Sink."""

    def __init__(self) -> None:
        self.samples: list[tuple[str, str, float]] = []
        self.failures: list[tuple[str, str, str]] = []
        self.times: list[float] = []
        self.renewed: list[tuple[str, str]] = []

    def sample(self, backend: str, metric: str, value: float, now: float) -> None:
        self.samples.append((backend, metric, value))
        self.times.append(now)

    def failed(self, backend: str, metric: str, reason: str, now: float) -> None:
        self.failures.append((backend, metric, reason))
        self.times.append(now)

    def renew(self, backend: str, metric: str) -> None:
        self.renewed.append((backend, metric))

    @property
    def values(self) -> list[float]:
        return [value for _, _, value in self.samples]

    @property
    def reasons(self) -> list[str]:
        return [reason for _, _, reason in self.failures]

    def __repr__(self) -> str:
        return f"<Told {self.samples[-3:]} {self.failures[-3:]}>"


class Clock:
    """Tells the time that it was given."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ModelServer:
    """Serves a page, and counts how often it was asked."""

    def __init__(self, page: str = "", path: str = "/metrics") -> None:
        self.page = page
        self.path = path
        self.status = 200
        self.asked = 0
        self.open = 0
        self.most_open = 0
        self.gate = asyncio.Event()
        """It answers only while this is set."""
        self.gate.set()

    async def answer(self, _: web.Request) -> web.StreamResponse:
        self.asked += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self.gate.wait()
            return web.Response(text=self.page, status=self.status, headers={"Location": "/elsewhere"})
        finally:
            self.open -= 1

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Its port."""
        app = web.Application()
        app.router.add_get(self.path, self.answer)
        async with TestServer(app) as server:
            yield server.port or 0


@asynccontextmanager
async def pods(*servers: ModelServer) -> AsyncIterator[list[PodAt]]:
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(server.serving()) for server in servers]
        yield [PodAt(f"p{index}", "127.0.0.1", port) for index, port in enumerate(ports)]
