"""The load: clients that keep asking for as long as they are let, and a tally of every answer that they got.

An answer counts only when it is 200 and whole. Nothing is tried again: not by these clients, and not by aiohttp beneath them.
"""

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

V1_BODY = b'{"instances": [[6.8, 2.8, 4.8, 1.4]]}'
LONG = 2.5
"""Seconds that a slow upload, or the slow reading of an answer, takes."""
PIECES = 20
BIG_ROWS = 12_000
"""Rows of the request whose answer is read slowly: about 800 KB, more than the sockets on its way hold."""
SMALL_BUFFER = 8192
"""Bytes that the slow reader's socket takes in advance, so that its pod's sending is held up."""


@dataclass(slots=True)
class Tally:
    """Every response, by kind of client; and what the pods said of themselves in them."""

    ok: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    cold_starts: list[tuple[str, float]] = field(default_factory=list)
    """Backend and seconds, of each request that waited for a pod."""
    max_in_flight: dict[int, int] = field(default_factory=dict)
    """By pod's process: the most requests that it ever worked on at once."""
    backends: dict[int, str] = field(default_factory=dict)
    """By pod's process: whose pod it is."""

    def answered(self, kind: str, backend: str, headers: Mapping[str, str]) -> None:
        self.ok[kind] += 1
        if "x-tidegate-cold-start" in headers:
            self.cold_starts.append((backend, float(headers["x-tidegate-cold-start"])))
        if "x-model-pid" in headers:
            pid = int(headers["x-model-pid"])
            self.backends[pid] = backend
            self.max_in_flight[pid] = max(self.max_in_flight.get(pid, 0), int(headers["x-max-in-flight"]))


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to make: `check` is given the body, and raises ValueError when it is not the right one."""

    kind: str
    backend: str
    method: str
    path: str
    check: Callable[[bytes], object] = json.loads
    make_body: Callable[[], bytes | AsyncIterator[bytes] | None] = lambda: None
    headers: Mapping[str, str] = field(default_factory=dict)
    read_slowly: bool = False


class Load:
    """Clients of one gateway; each keeps its connections, as a service would."""

    def __init__(self, listen: str) -> None:
        self.tally = Tally()
        self._origin = f"http://{listen}"
        self._began = 0.0
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Begin nothing more; what is open is finished."""
        self._ended.set()

    async def run(self, sparse: list[str]) -> None:
        """All clients, until `end`: some that always ask `pushed`, and one for each backend that shall cross zero."""
        self._began = asyncio.get_running_loop().time()
        async with self._session() as session, self._session(SMALL_BUFFER) as slow:
            often = [metadata("pushed"), predict("pushed"), infer("pushed"), readiness("pushed")]
            clients: list[Awaitable[None]] = [self._keep(session, often, 0.02) for _ in range(6)]
            clients.append(self._keep(session, [slow_upload("pushed", chunked=True)], 0.2))
            clients.append(self._keep(session, [slow_upload("pushed", chunked=False)], 0.7))
            clients.append(self._keep(slow, [slow_reading("pushed")], 0.5))
            clients += [self._sparse(session, name) for name in sparse]
            await asyncio.gather(*clients)

    async def _keep(self, session: ClientSession, asks: list[Ask], pause: float) -> None:
        turn = random.randrange(len(asks))
        while not self._ended.is_set():
            await self._ask(session, asks[turn % len(asks)])
            turn += 1
            await self._sleep(pause * random.uniform(0.5, 1.5))

    async def _sparse(self, session: ClientSession, backend: str) -> None:
        """One request at a time, after pauses about as long as going to zero takes: before it, within it, after it."""
        while not self._ended.is_set():
            await self._ask(session, predict(backend))
            await self._sleep(random.uniform(6.0, 11.0))

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            pass

    async def _ask(self, session: ClientSession, ask: Ask) -> None:
        began = asyncio.get_running_loop().time()
        try:
            async with session.request(
                ask.method,
                self._origin + ask.path,
                data=ask.make_body(),
                headers={"Host": f"{ask.backend}.example.com", **ask.headers},
            ) as response:
                body = await (_slowly(response.content.read) if ask.read_slowly else response.read())
            _check(ask, response.status, body)
        except (ClientError, OSError, TimeoutError, ValueError) as error:
            self._failed(ask, repr(error), began)
        else:
            self.tally.answered(ask.kind, ask.backend, response.headers)

    def _failed(self, ask: Ask, error: str, began: float) -> None:
        now = asyncio.get_running_loop().time()
        failure = {
            "kind": ask.kind,
            "backend": ask.backend,
            "at": round(now - self._began, 3),
            "after": round(now - began, 3),
            "error": error,
        }
        self.tally.failures.append(failure)
        print(f"FAILED {failure}", flush=True)

    @staticmethod
    def _session(receive_buffer: int = 0) -> ClientSession:
        def make_socket(info: Any) -> socket.socket:  # noqa: ANN401 (an entry of getaddrinfo)
            made = socket.socket(*info[:3])
            if receive_buffer:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            return made

        session = ClientSession(
            connector=TCPConnector(limit=0, keepalive_timeout=300, socket_factory=make_socket),
            timeout=ClientTimeout(total=90),
            read_bufsize=receive_buffer or 2**16,
        )
        session._retry_connection = False  # noqa: SLF001 (else a GET whose connection broke would be sent again)
        return session


def _check(ask: Ask, status: int, body: bytes) -> None:
    """Raises ValueError when this is not the answer."""
    if status != 200:
        raise ValueError(f"{status} {body[:300]!r}")
    ask.check(body)


async def _slowly(read: Callable[[int], Awaitable[bytes]]) -> bytes:
    """A body, taken in pieces over LONG seconds."""
    pieces = []
    while piece := await read(SMALL_BUFFER):
        pieces.append(piece)
        await asyncio.sleep(LONG / 100)
    return b"".join(pieces)


# -- requests


def metadata(backend: str) -> Ask:
    return Ask("GET metadata", backend, "GET", "/v2/models/iris")


def readiness(backend: str) -> Ask:
    return Ask("GET ready", backend, "GET", "/v1/models/iris")


def predict(backend: str) -> Ask:
    return Ask("POST predict", backend, "POST", "/v1/models/iris:predict", _predictions, lambda: V1_BODY)


def infer(backend: str) -> Ask:
    return Ask("POST infer", backend, "POST", "/v2/models/iris/infer", _outputs(3), lambda: v2_body(3))


def slow_upload(backend: str, *, chunked: bool) -> Ask:
    kind, headers = "POST slow upload, chunked", {}
    if not chunked:
        kind, headers = "POST slow upload, with length", {"Content-Length": str(len(padded()))}
    return Ask(kind, backend, "POST", "/v1/models/iris:predict", _predictions, _in_pieces, headers)


def slow_reading(backend: str) -> Ask:
    body = v2_body(BIG_ROWS)
    check = _outputs(BIG_ROWS)
    path = "/v2/models/iris/infer"
    return Ask("POST infer, read slowly", backend, "POST", path, check, lambda: body, read_slowly=True)


def padded() -> bytes:
    return V1_BODY + b" " * 4000


async def _in_pieces() -> AsyncIterator[bytes]:
    body = padded()
    size = -(-len(body) // PIECES)
    for start in range(0, len(body), size):
        yield body[start : start + size]
        await asyncio.sleep(LONG / PIECES)


def v2_body(rows: int) -> bytes:
    tensor = {"name": "features", "shape": [rows, 4], "datatype": "FP64", "data": [5, 3, 1, 0] * rows}
    return json.dumps({"inputs": [tensor]}).encode()


def _predictions(body: bytes) -> None:
    if len(json.loads(body)["predictions"]) != 1:
        raise ValueError(f"not one prediction: {body[:300]!r}")


def _outputs(rows: int) -> Callable[[bytes], None]:
    def check(body: bytes) -> None:
        label = json.loads(body)["outputs"][0]
        if len(label["data"]) != rows:
            raise ValueError(f"{len(label['data'])} labels for {rows} rows")

    return check
