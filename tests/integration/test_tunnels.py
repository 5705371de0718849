"""WebSocket tunnels through real sockets: a real client and a real server, and both ends of bare connections."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.backend import Limits
from gateway.terms import Timeouts
from tests.eventually import eventually
from tests.integration.dataplane import Connection, Plane, on_both_loops, running
from tests.integration.running import ROOT, Running, tidegate

OFFER = (
    b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
MEGABYTE = 1 << 20


class Speaker:
    """A pod that is a server of the `websockets` package."""

    trust = None

    def __init__(self) -> None:
        self.port = 0
        self.connections: set[ServerConnection] = set()
        self.most = 0
        """Connections that were open at once."""
        self.codes: list[int | None] = []
        """How they closed."""
        self._server: Server | None = None

    async def start(self) -> "Speaker":
        self._server = await serve(
            self._echo, "127.0.0.1", 0, max_size=None, compression=None, ping_interval=None
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def _echo(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        self.most = max(self.most, len(self.connections))
        try:
            async for message in connection:
                await connection.send(message)
        except ConnectionClosed:
            pass
        finally:
            self.connections.discard(connection)
            self.codes.append(connection.close_code)

    @property
    def only(self) -> ServerConnection:
        (connection,) = self.connections
        return connection

    async def kill(self) -> None:
        """As a process that dies."""
        assert self._server is not None
        self._server.close(close_connections=False)
        for connection in list(self.connections):
            connection.transport.abort()
        await self._server.wait_closed()


async def speaking(plane: Plane) -> Speaker:
    pod = await Speaker().start()
    plane.pods.append(pod)  # type: ignore[arg-type]
    plane.publish()
    return pod


def talk(plane: Plane, **options: Any) -> connect:
    """A client of the `websockets` package."""
    address = f"ws://127.0.0.1:{plane.port}/chat"
    return connect(address, max_size=None, compression=None, proxy=None, ping_interval=None, **options)


async def closed(client: ClientConnection) -> int | None:
    """Wait for the end; the code that the client has then."""
    with pytest.raises(ConnectionClosed):
        await client.recv()
    return client.close_code


# -- a real client and a real server


@on_both_loops
async def test_ten_thousand_messages_come_back_in_order() -> None:
    """Sent without waiting for the echo."""
    async with running() as plane:
        await speaking(plane)
        async with talk(plane) as client:

            async def send() -> None:
                for n in range(10_000):
                    await client.send(f"message {n}")

            sending = asyncio.create_task(send())
            for n in range(10_000):
                assert await client.recv() == f"message {n}"
            await sending
        await eventually(lambda: plane.codes == {101: 1})
        assert plane.reasons == {}


@on_both_loops
async def test_a_message_of_16_megabytes_comes_back() -> None:
    """In one frame."""
    message = bytes(range(256)) * (16 * MEGABYTE // 256)
    async with running() as plane:
        await speaking(plane)
        async with talk(plane) as client:
            await client.send(message)
            assert await client.recv() == message


@on_both_loops
async def test_pings_are_answered_by_the_other_side() -> None:
    """Both ways."""
    async with running() as plane:
        pod = await speaking(plane)
        async with talk(plane) as client:
            assert await (await client.ping(b"up")) >= 0
            assert await (await pod.only.ping(b"down")) >= 0


@on_both_loops
async def test_close_codes_go_through_both_ways() -> None:
    """With their reasons."""
    async with running() as plane:
        pod = await speaking(plane)
        async with talk(plane) as client:
            await client.close(4001, "done")
        await eventually(lambda: pod.codes == [4001])
        async with talk(plane) as client:
            await eventually(lambda: pod.connections)
            await pod.only.close(1011, "sorry")
            assert (await closed(client), client.close_reason) == (1011, "sorry")
        await eventually(lambda: plane.codes == {101: 2})
        assert plane.reasons == {}


@on_both_loops
async def test_a_server_that_refuses_is_heard() -> None:
    """A plain answer, as the pod gave it."""

    async def refuse(connection: Connection) -> None:
        await connection.head()
        connection.say(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await connection.rest()

    async with running() as plane:
        await plane.pod(refuse)
        with pytest.raises(InvalidStatus) as refused:
            async with talk(plane):
                pass
        assert (refused.value.response.status_code, refused.value.response.body) == (403, b"no")
        await eventually(lambda: plane.codes == {403: 1})


@on_both_loops
async def test_an_aiohttp_client_may_tunnel_too() -> None:
    """Another implementation of the same."""
    async with running() as plane, aiohttp.ClientSession() as session:
        await speaking(plane)
        async with session.ws_connect(plane.url + "/chat") as client:
            await client.send_str("hello")
            assert (await client.receive_str()) == "hello"
        assert client.close_code == 1000


@on_both_loops
async def test_many_tunnels_share_what_concurrency_allows() -> None:
    """Three at once; the others wait, and each gets its turn."""
    async with running(Limits(concurrency=3)) as plane:
        pod = await speaking(plane)

        async def one(n: int) -> None:
            async with talk(plane) as client:
                for turn in range(3):
                    await client.send(f"{n} {turn}")
                    assert await client.recv() == f"{n} {turn}"
                    assert plane.backend.in_flight <= 3

        await asyncio.gather(*(one(n) for n in range(20)))
        assert pod.most <= 3
        await eventually(lambda: plane.codes == {101: 20})
        assert plane.backend.stats.waits >= 17


@on_both_loops
async def test_a_tunnel_waits_for_a_start() -> None:
    """And the client is told how long it took."""
    async with running() as plane:
        waiting = asyncio.ensure_future(talk(plane).__aenter__())
        await eventually(lambda: plane.backend.breaker.queued == 1)
        await speaking(plane)
        client = await waiting
        assert client.response is not None
        assert float(client.response.headers["x-tidegate-cold-start"]) >= 0
        await client.send("awake")
        assert await client.recv() == "awake"
        await client.close()


@on_both_loops
async def test_a_client_of_a_pod_that_dies_sees_1006() -> None:
    """No close frame was sent, and none is made up."""
    async with running() as plane:
        pod = await speaking(plane)
        async with talk(plane) as client:
            await client.send("hello")
            await client.recv()
            await pod.kill()
            assert await closed(client) == 1006
        assert plane.codes == {101: 1}


@on_both_loops
async def test_a_pod_whose_client_dies_sees_1006() -> None:
    """And the slot is free."""
    async with running(Limits(concurrency=1)) as plane:
        pod = await speaking(plane)
        async with talk(plane) as client:
            client.transport.abort()
            await eventually(lambda: pod.codes == [1006])
        await eventually(lambda: plane.codes == {101: 1})
        assert plane.reasons == {}


# -- both ends by hand


@asynccontextmanager
async def tunnel(
    timeouts: Timeouts | None = None,
) -> AsyncIterator[tuple[Plane, Connection, Connection]]:
    """A gateway and the two ends of an open tunnel: the client's and the pod's."""
    ends: list[Connection] = []
    done = asyncio.Event()

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(SWITCH)
        ends.append(connection)
        await done.wait()

    async with running(timeouts=timeouts) as plane:
        server = await plane.pod(handle)
        client = await plane.connect()
        client.say(OFFER)
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        try:
            yield plane, client, ends[0]
        finally:
            done.set()
            client.close()
            await eventually(lambda: server.closed == server.accepted)


@on_both_loops
async def test_an_end_on_one_side_is_an_end_on_the_other() -> None:
    """Behind everything that was written before, megabytes of it."""
    for from_client in (True, False):
        async with tunnel() as (plane, client, pod):
            giver, taker = (client, pod) if from_client else (pod, client)
            giver.say(b"x" * 8 * MEGABYTE)
            giver.writer.write_eof()
            assert len(await taker.rest()) == 8 * MEGABYTE
            await eventually(plane.at_rest)
            assert await giver.rest() == b""
            assert (plane.codes, plane.reasons) == ({101: 1}, {})


@on_both_loops
async def test_a_reset_on_one_side_is_a_reset_on_the_other() -> None:
    """Both ways."""
    for from_client in (True, False):
        async with tunnel() as (plane, client, pod):
            giver, taker = (client, pod) if from_client else (pod, client)
            giver.reset()
            with pytest.raises(ConnectionResetError):
                await taker.rest()
            await eventually(plane.at_rest)
            assert plane.codes == {101: 1}


@on_both_loops
async def test_a_quiet_tunnel_is_reset_on_both_sides() -> None:
    """idle_timeout."""
    async with tunnel(Timeouts(idle=0.3)) as (plane, client, pod):
        for end in (client, pod):
            with pytest.raises(ConnectionResetError):
                await end.rest()
        assert (plane.codes, plane.reasons) == ({101: 1}, {"idle_timeout": 1})


@on_both_loops
async def test_a_side_that_does_not_read_stops_the_other_and_gets_everything() -> None:
    """Both ways; far less than what is sent is on its way meanwhile."""
    size = 32 * MEGABYTE
    for from_client in (True, False):
        async with tunnel() as (_, client, pod):
            giver, taker = (client, pod) if from_client else (pod, client)
            sent, flowing = 0, True
            while flowing and sent < size:
                giver.say(b"x" * 65536)
                sent += 65536
                try:
                    await asyncio.wait_for(giver.writer.drain(), 0.3)
                except TimeoutError:
                    flowing = False
            assert not flowing
            giver.say(b"x" * (size - sent))
            assert len(await taker.exactly(size)) == size


@on_both_loops
async def test_a_half_closed_client_gets_its_answer_where_the_route_says_so() -> None:
    """And elsewhere is taken to have left."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def handle(connection: Connection) -> None:
        await connection.head()
        asked.set()
        await go.wait()
        connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MEGABYTE + b"x" * MEGABYTE)
        await connection.rest()

    for half_close in (True, False):
        asked.clear()
        go.clear()
        async with running() as plane:
            plane.gateway.table.routes["iris"].choose().half_close = half_close
            await plane.pod(handle)
            client = await plane.connect()
            client.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asked.wait()
            client.writer.write_eof()
            if half_close:
                (gateways_end,) = plane.gateway.clients
                await eventually(lambda end=gateways_end: end._half_closed)
                assert plane.backend.in_flight == 1
            else:
                await eventually(lambda plane=plane: plane.codes == {499: 1})
            go.set()
            if half_close:
                assert (await client.rest()).endswith(b"x" * MEGABYTE)
            else:
                with pytest.raises(ConnectionResetError):
                    await client.rest()
            client.close()


@on_both_loops
async def test_pipelined_requests_of_a_half_closed_client_are_all_answered() -> None:
    """One hundred in one packet, with the end right behind."""
    async with running() as plane:
        plane.gateway.table.routes["iris"].choose().half_close = True
        await plane.pod()
        client = await plane.connect()
        client.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        client.writer.write_eof()
        assert (await client.rest()).count(b"HTTP/1.1 200 OK") == 100
        client.close()


# -- Tidegate as its users run it


@asynccontextmanager
async def up(tmp_path: Path, **config: Any) -> AsyncIterator[tuple[Running, str]]:
    """A gateway whose pods speak WebSocket and start at the first request; and where to connect to."""
    command = ["python", str(ROOT / "tests/integration/ws_pod.py"), "--port", "{port}"]
    backend = {"target": {"command": command}, "concurrency": 2}
    config = {"backends": {"talk": backend}, "routes": [{"name": "talk", "split": {"talk": 1}}], **config}
    async with tidegate(tmp_path, config) as running:
        yield running, running.url.replace("http", "ws") + "/chat"


def opening(address: str) -> connect:
    return connect(address, max_size=None, compression=None, proxy=None, ping_interval=None, open_timeout=30)


async def says(client: ClientConnection, message: str | bytes) -> None:
    """Send, and have it back."""
    await client.send(message)
    assert await client.recv() == message


def peak(pid: int) -> int:
    """The most memory that a process ever had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(pid)


async def test_a_tunnel_starts_its_pod_and_takes_no_memory(tmp_path: Path) -> None:
    """From zero; then messages of 16 MB."""
    async with up(tmp_path) as (running, address), opening(address) as client:
        assert client.response is not None
        assert "x-tidegate-cold-start" in client.response.headers
        await says(client, "warm")
        before = peak(running.process.pid)
        for _ in range(3):
            await says(client, b"x" * 16 * MEGABYTE)
        assert peak(running.process.pid) - before < 8 * MEGABYTE


async def test_a_pod_that_is_killed_shows_as_1006(tmp_path: Path) -> None:
    """And the next tunnel starts another."""
    async with up(tmp_path) as (_, address):
        async with opening(address) as client:
            await client.send("die")
            assert await closed(client) == 1006
        async with opening(address) as client:
            await says(client, "hello")


async def test_tunnels_outlive_a_reload(tmp_path: Path) -> None:
    """Even one that takes their backend away; new ones go where it says."""
    async with up(tmp_path) as (running, address), opening(address) as client:
        await says(client, "before")
        text = running.path.read_text()
        running.path.write_text(text.replace("talk", "chat"))
        await eventually(lambda: "took over" in running.log)
        await says(client, "after")
        async with opening(address) as other:
            await says(other, "new")
        assert list((await running.state())["backends"]) == ["chat"]
        await says(client, "still")


async def test_a_drain_ends_quiet_tunnels_and_waits_for_busy_ones(tmp_path: Path) -> None:
    """The process ends when the last one has become quiet, long before drain.timeout."""
    async with up(tmp_path, drain={"timeout": "50s"}) as (running, address):
        quiet, busy = await opening(address), await opening(address)
        await says(quiet, "hello")
        running.process.send_signal(signal.SIGTERM)
        waiting = asyncio.ensure_future(closed(quiet))
        while not waiting.done():
            await says(busy, "hello")
            await asyncio.sleep(0.05)
        assert await waiting == 1006
        await says(busy, "last words")
        assert await closed(busy) == 1006
        assert await asyncio.to_thread(running.process.wait, 20) == 0
