"""Retries on real sockets, on uvloop and on asyncio's own loop: above all what the kernel tells of a kept connection that was dead."""

import asyncio
import select
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from tests.eventually import eventually
from tests.integration.dataplane import Connection, Plane, answering, on_both_loops, running

POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class RawPod:
    """A pod made of bare sockets, so that a test says what its kernel does, and when."""

    trust = None

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []

    async def accept(self) -> socket.socket:
        connection, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        connection.setblocking(False)
        self.connections.append(connection)
        return connection

    async def kill(self) -> None:
        for each in (*self.connections, self.listener):
            each.close()


async def read(connection: socket.socket, end: bytes = b"hello") -> bytes:
    """Read until a request is whole."""
    got = b""
    while not got.endswith(end):
        got += await asyncio.get_running_loop().sock_recv(connection, 65536)
    return got


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


async def begin(plane: Plane) -> tuple[RawPod, socket.socket, Connection]:
    """A pod with one kept connection that has served so many requests that its kernel takes its time to acknowledge."""
    pod: Any = RawPod()
    plane.pods.append(pod)
    plane.publish()
    client = await plane.connect()
    kept: socket.socket | None = None
    for _ in range(20):
        client.say(POST)
        kept = kept or await pod.accept()
        await read(kept)
        kept.send(OK)
        await client.head()
        await client.exactly(2)
    assert kept is not None
    return pod, kept, client


def say_at_once(client: Connection, data: bytes) -> None:
    """Put it into the gateway's socket in this turn of the loop, before anything that happens next."""
    with client.writer.get_extra_info("socket").dup() as sock:
        assert sock.send(data) == len(data)


@on_both_loops
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
async def test_a_post_that_crosses_its_connections_end_is_sent_again() -> None:
    """The pod closed what it kept just as the request came: nothing of it was seen, and the client never knows."""
    async with running() as plane:
        pod, kept, client = await begin(plane)
        say_at_once(client, POST)
        kept.close()
        new = await pod.accept()
        assert (await read(new)).endswith(b"\r\n\r\nhello")
        new.send(OK)
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        assert plane.backend.stats.retries == {"unseen": 1}
        client.close()


@on_both_loops
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
async def test_an_upload_that_meets_a_broken_pipe_is_sent_again() -> None:
    """More of it was written before the end of the connection was read."""
    async with running() as plane:
        pod, kept, client = await begin(plane)
        (link,) = next(iter(plane.backend.endpoints.values())).pool.idle
        link.transport.pause_reading()
        kept.close()
        client.say(POST[:-1])
        await eventually(lambda: link._receiver is not None)
        client.say(POST[-1:])
        new = await pod.accept()
        assert (await read(new)).endswith(b"\r\n\r\nhello")
        new.send(OK)
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        assert plane.backend.stats.retries == {"unseen": 1}
        client.close()


@on_both_loops
@pytest.mark.parametrize(
    ("bytes_read", "end"),
    [
        pytest.param(65536, socket.socket.close, id="read, then closed"),
        pytest.param(65536, reset, id="read, then reset"),
        pytest.param(10, socket.socket.close, id="read in part, then closed"),
        pytest.param(0, socket.socket.close, id="in its kernel, then closed"),
    ],
)
async def test_a_post_that_its_pod_may_have_read_is_not_sent_again(
    bytes_read: int, end: Callable[[socket.socket], None]
) -> None:
    """However the connection ends: a reset that follows a read acknowledges nothing, and must not be taken for an unseen request."""
    async with running() as plane:
        _, kept, client = await begin(plane)
        client.say(POST)
        await eventually(lambda: select.select([kept], [], [], 0)[0])
        if bytes_read:
            assert kept.recv(bytes_read)
        end(kept)
        assert (await client.head()).startswith(b"HTTP/1.1 502 ")
        assert plane.reasons == {"upstream_reset": 1}
        assert plane.backend.stats.retries == {}
        client.close()


@on_both_loops
async def test_posts_over_a_pod_that_closes_its_idle_connections_are_all_answered() -> None:
    """A keep-alive time-out that crosses with requests, again and again."""

    async def handle(connection: Connection) -> None:
        for _ in range(3):
            await connection.head()
            await connection.exactly(5)
            connection.say(OK)

    async with running() as plane, aiohttp.ClientSession() as session:
        pod = await plane.pod(handle)
        for n in range(60):
            async with session.post(plane.url, data=b"hello") as response:
                assert (response.status, await response.read()) == (200, b"ok")
            await asyncio.sleep(0.001 * (n % 4))
        assert pod.accepted > 10


@on_both_loops
async def test_a_503_is_answered_by_the_other_pod() -> None:
    """Real answers, real connections."""

    async def busy(connection: Connection) -> None:
        while True:
            await connection.head()
            connection.say(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")

    async with running() as plane, aiohttp.ClientSession() as session:
        first = await plane.pod(busy)
        await plane.pod(answering)
        for _ in range(10):
            async with session.get(plane.url) as response:
                assert (response.status, await response.read()) == (200, b"ok")
        assert plane.backend.stats.retries["503"] > 0
        assert first.accepted == 1


@on_both_loops
async def test_a_503_that_is_still_streaming_is_dropped_and_its_pod_notices() -> None:
    """Nothing of it reaches the client; an upload that is half sent goes on to the other pod."""
    begun, another, dropped = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def busy(connection: Connection) -> None:
        await connection.head()
        begun.set()
        await another.wait()
        connection.say(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n")
        try:
            while await connection.reader.read(65536):
                pass
        except ConnectionResetError:
            pass
        dropped.set()

    async with running() as plane:
        await plane.pod(busy)
        client = await plane.connect()
        client.say(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
        await asyncio.wait_for(begun.wait(), 5)
        await plane.pod(answering)
        another.set()
        await asyncio.wait_for(dropped.wait(), 5)
        await eventually(lambda: plane.backend.stats.retries == {"503": 1})
        client.say(b"llo")
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        assert await client.exactly(2) == b"ok"
        client.close()


@on_both_loops
async def test_an_upload_whose_pod_dies_goes_on_to_the_next_one() -> None:
    """Nothing of an answer had come, and the client is still sending."""
    begun = asyncio.Event()

    async def dying(connection: Connection) -> None:
        await connection.head()
        await connection.exactly(2)
        begun.set()
        await asyncio.Event().wait()

    async with running() as plane:
        first = await plane.pod(dying)
        client = await plane.connect()
        client.say(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
        await asyncio.wait_for(begun.wait(), 5)
        await plane.pod(answering)
        await first.kill()
        await eventually(lambda: plane.backend.stats.retries == {"reset": 1})
        client.say(b"llo")
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        assert await client.exactly(2) == b"ok"
        client.close()
