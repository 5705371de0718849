"""Following a gateway's stats stream, over real sockets."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from autoscaler.subscription import subscribe
from gateway.stats import Beat, Stat
from tests.eventually import eventually

Stream = Callable[[web.StreamResponse], Awaitable[None]]


def line(seq: int) -> bytes:
    return Beat("gw-1", seq, 1.0, {}).encode()


class Gateway:
    """Serves one stream after the other, as given, and then one without end."""

    def __init__(self, *streams: Stream) -> None:
        self.streams = list(streams)
        self.connections = 0

    async def stats(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        if not self.streams:
            await asyncio.Event().wait()
        response = web.StreamResponse()
        await response.prepare(request)
        await self.streams.pop(0)(response)
        if response.headers.get("x-cut") and request.transport is not None:
            request.transport.abort()
        return response

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/stats", self.stats)
        return app


class Reader:
    """A subscription with no pauses to speak of, and what it heard."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.left = 0

    def receive(self, beat: Beat) -> None:
        self.seqs.append(beat.seq)

    def on_left(self) -> None:
        self.left += 1


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[Reader]:
    reader = Reader()
    task = asyncio.create_task(subscribe(url, reader.receive, reader.on_left, chance=lambda: -0.5))
    try:
        yield reader
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def lines(*seqs: int, cut: bool = False) -> Stream:
    async def write(response: web.StreamResponse) -> None:
        for seq in seqs:
            await response.write(line(seq))
        if cut:
            response.headers["x-cut"] = "1"

    return write


async def test_each_line_is_a_beat() -> None:
    """Lines come through in order, however they are cut into packets."""

    async def in_halves(response: web.StreamResponse) -> None:
        whole = line(1) + line(2)
        for piece in (whole[:7], whole[7:-5], whole[-5:]):
            await response.write(piece)

    async with TestServer(Gateway(in_halves).app()) as server, reading(str(server.make_url("/"))) as reader:
        await eventually(lambda: reader.seqs == [1, 2])


async def test_a_stream_that_ends_in_good_order_is_told() -> None:
    """The gateway shuts down; should it come back, it is followed again."""
    gateway = Gateway(lines(1), lines(2))
    async with TestServer(gateway.app()) as server, reading(str(server.make_url(""))) as reader:
        await eventually(lambda: reader.seqs == [1, 2])
        await eventually(lambda: reader.left == 2)


async def test_a_cut_stream_is_no_good_bye() -> None:
    """A gateway that breaks off may still have requests: it is missing, not gone."""
    gateway = Gateway(lines(1, cut=True))
    async with TestServer(gateway.app()) as server, reading(str(server.make_url(""))) as reader:
        await eventually(lambda: gateway.connections == 2)
        assert reader.left == 0


async def test_a_line_that_is_no_beat_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    """It is told once and left out: read anew, the gateway would tell it again with the last minute, and again, and be missing for as long."""

    async def nonsense(response: web.StreamResponse) -> None:
        for seq in (1, 2, 3):
            await response.write(line(seq) + b'{"seq": []}\n')

    gateway = Gateway(nonsense)
    async with TestServer(gateway.app()) as server, reading(str(server.make_url(""))) as reader:
        await eventually(lambda: gateway.connections == 2)
        assert reader.seqs == [1, 2, 3]
    assert sum("not a beat" in record.message for record in caplog.records) == 1


async def test_a_beat_of_a_thousand_backends_is_one_line() -> None:
    """A line far beyond a stream's usual buffer comes through whole."""
    seen: list[Beat] = []

    async def large(response: web.StreamResponse) -> None:
        stats = {f"backend-{index}": Stat(in_flight=index) for index in range(5000)}
        await response.write(Beat("gw-1", 1, 1.0, stats).encode())

    async with TestServer(Gateway(large).app()) as server:
        task = asyncio.create_task(subscribe(str(server.make_url("")), seen.append, lambda: None))
        await eventually(lambda: seen)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(seen[0].stats) == 5000


async def test_only_changes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A gateway that is not there yet is mentioned once, then when it is."""
    caplog.set_level(logging.INFO, "autoscaler")
    port = unused_port()
    server = TestServer(Gateway(lines(1)).app(), port=port)
    async with reading(f"http://127.0.0.1:{port}") as reader:
        await eventually(lambda: caplog.records)
        await server.start_server()
        await eventually(lambda: reader.seqs == [1])
    await server.close()
    first, second = [record.message for record in caplog.records][:2]
    assert (
        first == f"stats of http://127.0.0.1:{port}: Connect call failed ('127.0.0.1', {port}); trying again"
    )
    assert second == f"stats of http://127.0.0.1:{port}: connected"
