"""A whole data plane without sockets: mock transports, a clock moved by hand, pods and clients that say what a test tells them.

`World` joins a real Gateway, Backend, Downstream, Exchange and Upstream. Time passes only in `World.advance`; what a real loop would
call soon happens in `Loop.run`, after each thing that a client or a pod does.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h11

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.breaker import Endpoint
from gateway.downstream import Downstream
from gateway.gateway import Gateway
from gateway.retries import RetryPolicy
from gateway.routing import Route, RouteTable
from gateway.splits import Split
from gateway.terms import BackendRef, Timeouts
from gateway.upstream import Upstream

TICK = 0.05


class Loop:
    """Stands in for the event loop."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.listening: dict[int, Pod] = {}
        self._soon: deque[Callable[[], None]] = deque()

    def time(self) -> float:
        return self.now

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return asyncio.get_running_loop().create_task(coroutine)

    async def create_connection(self, factory: Callable[[], Upstream], _host: str, port: int) -> None:
        pod = self.listening.get(port)
        if pod is None:
            raise ConnectionRefusedError(111, "refused")
        if pod.unreachable:
            await asyncio.get_running_loop().create_future()
        pod.accept(factory())

    def call_soon(self, callback: Callable[..., None], *arguments: Any) -> None:
        self._soon.append(partial(callback, *arguments))

    def run(self) -> None:
        while self._soon:
            self._soon.popleft()()


class Socket:
    """What of a socket the protocols touch."""

    def __init__(self) -> None:
        self.lingers = True

        self.acknowledged = 1
        """Bytes; the handshake counts as one."""

    def fileno(self) -> int:
        return -1

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return struct.pack("=120xQ", self.acknowledged)[:size]

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        self.lingers = value != b"\x01\x00\x00\x00\x00\x00\x00\x00"


class Transport:
    """Keeps what is written and how it ended; `room` bytes fit before it asks its protocol to pause."""

    def __init__(self, loop: Loop, protocol: Any, peer: Any = ("10.1.2.3", 50000)) -> None:
        self.loop = loop
        self.protocol = protocol
        self.peer = peer
        self.socket: Socket | None = Socket()
        self.deaf = False
        """The other side has closed: it acknowledges nothing any more."""
        self.written = b""
        self.room: int | None = None
        self.unsent = 0
        """Bytes that the other side has not taken."""
        self.reading = True
        self.calls: list[str] = []
        self.eof = False
        self.end: str | None = None
        """How this side ended it: close, abort or reset."""
        self.lost = False
        self._paused = False

    def get_extra_info(self, name: str) -> Any:
        return {"peername": self.peer, "socket": self.socket}.get(name)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes) -> None:
        assert type(data) is bytes
        assert not self.lost, "written to a connection that is lost"
        assert not self.eof, "written after the end"
        self.written += data
        if not self.deaf and self.socket is not None:
            self.socket.acknowledged += len(data)
        if self.room is not None and not self._paused:
            self.room -= len(data)
            if self.room <= 0:
                self._paused = True
                self.protocol.pause_writing()

    def drain(self) -> None:
        """The other side has read everything."""
        self.room = None
        if self._paused:
            self._paused = False
            self.protocol.resume_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def is_closing(self) -> bool:
        return self.end is not None or self.lost

    def close(self) -> None:
        self._end("close")

    def abort(self) -> None:
        self._end("abort" if self.socket.lingers else "reset")

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False
        self.calls.append("pause")

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True
        self.calls.append("resume")

    def lose(self, exc: Exception | None = None) -> None:
        """The connection is gone, whoever ended it."""
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(exc)

    def _end(self, how: str) -> None:
        if self.end is None:
            self.end = how
            self.loop.call_soon(self.lose)


class PodConnection:
    """A connection as its pod sees it."""

    def __init__(self, loop: Loop, protocol: Upstream) -> None:
        self.loop = loop
        self.protocol = protocol
        self.transport = Transport(loop, protocol)
        protocol.connection_made(self.transport)  # type: ignore[arg-type]

    @property
    def received(self) -> bytes:
        return self.transport.written

    def take(self) -> bytes:
        """What has been received since the last time."""
        taken, self.transport.written = self.transport.written, b""
        return taken

    def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.transport.is_closing():
                self.protocol.data_received(piece)
            self.loop.run()

    def hang_up(self, exc: Exception | None = None) -> None:
        self.transport.lose(exc)
        self.loop.run()


class Pod:
    """A pod: its Endpoint's address, and the connections that it has."""

    def __init__(self, loop: Loop, number: int) -> None:
        self.loop = loop
        self.uid = f"pod-{number}"
        self.port = 9000 + number
        self.ready = True
        self.draining = False
        self.unreachable = False
        self.connections: list[PodConnection] = []
        loop.listening[self.port] = self

    @property
    def info(self) -> EndpointInfo:
        return EndpointInfo(self.uid, "127.0.0.1", self.port, ready=self.ready, draining=self.draining)

    @property
    def last(self) -> PodConnection:
        return self.connections[-1]

    def accept(self, protocol: Upstream) -> PodConnection:
        self.connections.append(PodConnection(self.loop, protocol))
        return self.last

    def refuse(self) -> None:
        """From now on nobody listens there."""
        self.loop.listening.pop(self.port, None)


@dataclass
class Answer:
    """What a client has of one answer, as h11 reads it."""

    status: int = 0
    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    interims: list[int] = field(default_factory=list)
    complete: bool = False


def read_answers(data: bytes, methods: Iterable[bytes], *, closed: bool = False) -> list[Answer]:
    """Read `data` as the answers to these requests; stops at the first that is not complete.

    Raises h11.RemoteProtocolError when they are not valid HTTP, or more than what was asked for.
    """
    answers: list[Answer] = []
    for method in methods:
        if not data:
            return answers
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        if closed:
            connection.receive_data(b"")
        answer = Answer()
        while not answer.complete:
            event = connection.next_event()
            if isinstance(event, h11.InformationalResponse):
                answer.interims.append(event.status_code)
            elif isinstance(event, h11.Response):
                answer.status = event.status_code
                answer.fields = dict(event.headers)
            elif isinstance(event, h11.Data):
                answer.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                answer.trailers = dict(event.headers)
                answer.complete = True
            else:
                break
        if answer.status or answer.interims:
            answers.append(answer)
        if not answer.complete:
            return answers
        data = connection.trailing_data[0]
    assert data == b"", f"more than the answers: {data!r}"
    return answers


def read_request(data: bytes) -> tuple[h11.Request, bytes, dict[bytes, bytes], bool]:
    """What a pod got, as h11 reads it: head, body, trailers, and whether it is whole."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    body = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert connection.trailing_data[0] == b""
            return request, body, dict(event.headers), True
        else:
            return request, body, {}, False


class Client:
    """A client's connection."""

    def __init__(self, world: "World", peer: Any = ("10.1.2.3", 50000)) -> None:
        self.loop = world.loop
        self.protocol = Downstream(world.gateway)
        self.transport = Transport(world.loop, self.protocol, peer)
        self.protocol.connection_made(self.transport)  # type: ignore[arg-type]

    def send(self, *pieces: bytes) -> "Client":
        for piece in pieces:
            if not self.transport.is_closing():
                self.protocol.data_received(piece)
            self.loop.run()
        return self

    def close(self) -> None:
        """The client's side of the connection ends in good order."""
        if not self.transport.lost and not self.protocol.eof_received():
            self.transport.close()
        self.loop.run()

    def vanish(self) -> None:
        """The client's connection breaks."""
        self.transport.lose(ConnectionResetError(104, "reset by peer"))
        self.loop.run()

    @property
    def received(self) -> bytes:
        return self.transport.written

    def answers(self, *methods: bytes) -> list[Answer]:
        return read_answers(
            self.received, methods or (b"GET",), closed=self.transport.is_closing() or self.transport.eof
        )

    def answer(self, method: bytes = b"GET") -> Answer:
        (answer,) = self.answers(method)
        return answer


class World:
    """One gateway with one Backend, its pods, and as many clients as a test makes."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        retries: RetryPolicy | None = None,
        pods: int = 1,
        idle: int = 1,
        expose: bool = False,
    ) -> None:
        self.loop = Loop()
        self.gateway = Gateway(self.loop)  # type: ignore[arg-type]
        self.backend: Backend = Backend("iris", limits or Limits(), self.loop.now)
        self.gateway.backends["iris"] = self.backend
        self.ref = BackendRef(
            self.backend, "iris", timeouts or Timeouts(), retries or RetryPolicy(), expose_backend=expose
        )
        self.route = Route("iris", Split({"iris": self.ref}, {"iris": 1}))
        self.gateway.table = RouteTable((self.route,))
        self.nudges = 0
        self.suspects: list[Endpoint] = []
        self.gateway.on_nudge = self._on_nudge
        self.gateway.on_suspect = lambda _, endpoint: self.suspects.append(endpoint)
        self.pods = [Pod(self.loop, number) for number in range(1, pods + 1)]
        self.publish()
        for pod in self.pods:
            for _ in range(idle):
                self.connect(pod)

    def _on_nudge(self, _backend: Backend) -> None:
        self.nudges += 1

    @property
    def pod(self) -> Pod:
        return self.pods[0]

    @property
    def link(self) -> PodConnection:
        """The first pod's last connection."""
        return self.pod.last

    def client(self) -> Client:
        return Client(self)

    def endpoint(self, pod: Pod) -> Endpoint:
        return self.backend.endpoints[pod.uid]

    def connect(self, pod: Pod) -> PodConnection:
        """An idle connection in the pod's pool."""
        pool = self.gateway.pool(self.endpoint(pod))
        connection = pod.accept(Upstream(pool))
        pool.put(connection.protocol)
        return connection

    def publish(self, cannot_start: str | None = None) -> None:
        """Tell the gateway of the pods as they are now."""
        news = Endpoints(tuple(pod.info for pod in self.pods), cannot_start)
        self.gateway.apply(self.backend, self.backend.update(news, self.loop.now))
        self.loop.run()

    def probe(self) -> None:
        """The prober gets through to all suspects."""
        for endpoint in self.suspects:
            self.gateway.trust(self.backend, endpoint)

    def advance(self, seconds: float) -> None:
        """Let time pass, a tick at a time."""
        for _ in range(round(seconds / TICK)):
            self.loop.now += TICK
            self.gateway.tick()
            self.loop.run()

    @property
    def codes(self) -> dict[int, int]:
        return self.backend.traffic_of("iris").codes

    @property
    def reasons(self) -> dict[str, int]:
        return self.backend.traffic_of("iris").reasons

    def assert_at_rest(self) -> None:
        """Nothing is open, nobody waits, and no slot is taken."""
        assert (self.backend.in_flight, self.backend.breaker.queued) == (0, 0)
        assert self.backend.stats.begun == self.backend.stats.ended
        assert [endpoint.in_flight for endpoint in self.backend.endpoints.values()] == [0] * len(
            self.backend.endpoints
        )


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)
