"""A gateway on real sockets, pods that are small asyncio servers inside the test, and raw clients."""

import asyncio
import inspect
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.downstream import Downstream
from gateway.gateway import Gateway
from gateway.retries import RetryPolicy
from gateway.routing import Route, RouteTable
from gateway.splits import Split
from gateway.terms import BackendRef, Timeouts
from gateway.tls import Doorkeeper, Trust
from tests.eventually import eventually

Handler = Callable[["Connection"], Awaitable[None]]


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test twice: on asyncio's own loop and on uvloop."""

    def run(new_loop: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(test(**arguments))

    given = inspect.signature(test)
    loop = inspect.Parameter("new_loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = given.replace(parameters=[loop, *given.parameters.values()])  # type: ignore[attr-defined]
    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    run.__dict__.update(test.__dict__)
    both = pytest.mark.parametrize(
        "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
    )
    return both(run)


class Connection:
    """One side of a connection, with what helps a test to speak HTTP by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def exactly(self, size: int) -> bytes:
        return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        return await self.reader.read()

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.writer.transport.abort()


class RealPod:
    """A server on a free port; `handle` speaks on each of its connections, over TLS with a context for that."""

    def __init__(
        self, handle: Handler, tls: ssl.SSLContext | None = None, trust: Trust | None = None
    ) -> None:
        self.handle = handle
        self.tls = tls
        self.trust = trust
        """What the gateway holds its connections to."""
        self.port = 0
        self.accepted = 0
        self.closed = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> "RealPod":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.accepted += 1
        try:
            await self.handle(Connection(reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # killed, or left by the gateway: what a pod meets; streams take a cancelled task for an error
        finally:
            self.closed += 1
            writer.close()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def kill(self) -> None:
        """As a process that dies: nobody listens, and every connection is reset."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            Connection(None, writer).reset()  # type: ignore[arg-type]
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def answering(connection: Connection, body: bytes = b"ok", delay: float = 0.0) -> None:
    """Answer every request, its body read first, until the connection ends."""
    while True:
        head = await connection.head()
        await connection.exactly(content_length(head))
        if delay:
            await asyncio.sleep(delay)
        connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


class Plane:
    """A running gateway."""

    def __init__(self, backend: Backend, gateway: Gateway, port: int, scheme: str) -> None:
        self.backend = backend
        self.gateway = gateway
        self.port = port
        self.scheme = scheme
        self.pods: list[RealPod] = []

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def pod(
        self, handle: Handler = answering, tls: ssl.SSLContext | None = None, trust: Trust | None = None
    ) -> RealPod:
        pod = await RealPod(handle, tls, trust).start()
        self.pods.append(pod)
        self.publish()
        return pod

    def publish(self, *without: RealPod) -> None:
        infos = tuple(
            EndpointInfo(f"{pod.port}", "127.0.0.1", pod.port, ready=True, trust=pod.trust)
            for pod in self.pods
            if pod not in without
        )
        self.gateway.apply(self.backend, self.backend.update(Endpoints(infos), self.gateway.now()))

    async def connect(self, tls: ssl.SSLContext | None = None) -> Connection:
        return Connection(*await asyncio.open_connection("127.0.0.1", self.port, ssl=tls))

    @property
    def codes(self) -> dict[int, int]:
        return self.backend.traffic_of("iris").codes

    @property
    def reasons(self) -> dict[str, int]:
        return self.backend.traffic_of("iris").reasons

    def at_rest(self) -> bool:
        slots = sum(endpoint.in_flight for endpoint in self.backend.endpoints.values())
        return (self.backend.in_flight, self.backend.breaker.queued, slots) == (0, 0, 0)


@asynccontextmanager
async def running(
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    retries: RetryPolicy | None = None,
    door: Doorkeeper | None = None,
    handshake: float = 10.0,
) -> AsyncIterator[Plane]:
    """A gateway with one Backend; fails if anything reached the loop's exception handler, or something stays open."""
    loop = asyncio.get_running_loop()
    escaped: list[Any] = []
    loop.set_exception_handler(lambda _, context: escaped.append(context))
    gateway = Gateway(loop)
    backend: Backend = Backend("iris", limits or Limits(), loop.time())
    gateway.backends["iris"] = backend
    ref = BackendRef(backend, "iris", timeouts or Timeouts(), retries or RetryPolicy())
    route = Route("iris", Split({"iris": ref}, {"iris": 1}))
    gateway.table = RouteTable((route,))
    options = {} if door is None else door.options(handshake)
    listener = await loop.create_server(lambda: Downstream(gateway), "127.0.0.1", 0, **options)
    ticking = asyncio.create_task(_tick(gateway))
    scheme = "http" if door is None else "https"
    plane = Plane(backend, gateway, listener.sockets[0].getsockname()[1], scheme)
    try:
        yield plane
        await eventually(plane.at_rest, 5)
    finally:
        ticking.cancel()
        listener.close()
        for client in list(gateway.clients):
            client.shut()
        for pod in plane.pods:
            await pod.kill()
        await asyncio.sleep(0.01)
    assert escaped == [], escaped


async def _tick(gateway: Gateway) -> None:
    while True:
        gateway.tick()
        await asyncio.sleep(0.02)
