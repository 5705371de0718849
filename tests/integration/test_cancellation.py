"""The client leaves, at every point of a request's life: its slot is free, its pod knows, and 499 is counted once."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.backend import Limits
from tests.eventually import eventually
from tests.integration.dataplane import Connection, Plane, RealPod, answering, on_both_loops, running

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=["close", "reset"])
def leave(request: pytest.FixtureRequest) -> Callable[[Connection], None]:
    """How the client goes: in good order, or by a reset."""
    return Connection.close if request.param == "close" else Connection.reset


Leave = Callable[[Connection], None]


async def gone(plane: Plane, *pods: RealPod) -> None:
    """Everything is free, and the pods have seen their connections end."""
    await eventually(plane.at_rest)
    await eventually(lambda: plane.codes == {499: 1})
    for pod in pods:
        await eventually(lambda pod=pod: pod.closed == pod.accepted)


@on_both_loops
async def test_in_the_queue(leave: Leave) -> None:
    """Its place is free, nobody was asked."""
    async with running() as plane:
        client = await plane.connect()
        client.say(GET)
        await eventually(lambda: plane.backend.breaker.queued == 1)
        leave(client)
        await gone(plane)
        assert plane.backend.stats.waits == 1


@on_both_loops
async def test_before_the_first_byte(leave: Leave) -> None:
    """The pod's connection closes at once."""

    async def handle(connection: Connection) -> None:
        await connection.head()
        await connection.rest()

    async with running() as plane:
        pod = await plane.pod(handle)
        client = await plane.connect()
        client.say(GET)
        await eventually(lambda: pod.accepted == 1)
        leave(client)
        await gone(plane, pod)


@on_both_loops
async def test_in_the_middle_of_the_answer(leave: Leave) -> None:
    """The pod is not left writing."""

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await connection.rest()

    async with running() as plane:
        pod = await plane.pod(handle)
        client = await plane.connect()
        client.say(GET)
        await client.reader.readuntil(b"half")
        leave(client)
        await gone(plane, pod)


@on_both_loops
async def test_in_the_middle_of_the_upload(leave: Leave) -> None:
    """The pod is not left waiting for the rest."""
    seen = asyncio.Event()

    async def handle(connection: Connection) -> None:
        await connection.head()
        await connection.exactly(4)
        seen.set()
        await connection.rest()

    async with running() as plane:
        pod = await plane.pod(handle)
        client = await plane.connect()
        client.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        await seen.wait()
        leave(client)
        await gone(plane, pod)


@on_both_loops
async def test_while_a_connection_is_dialled(leave: Leave) -> None:
    """A pod whose backlog is full does not accept; the dialling ends with the client."""
    async with running() as plane:
        pod = await plane.pod()
        dialling = asyncio.Event()

        async def create_connection(*_: object) -> None:
            dialling.set()
            await asyncio.get_running_loop().create_future()

        endpoint = plane.backend.endpoints[f"{pod.port}"]
        pool = plane.gateway.pool(endpoint)
        pool._loop = type("Dialler", (), {"create_connection": staticmethod(create_connection)})()
        client = await plane.connect()
        client.say(GET)
        await dialling.wait()
        leave(client)
        await gone(plane, pod)


@on_both_loops
async def test_a_held_slot_outlives_its_client(leave: Leave) -> None:
    """cancel: hold: taken until the pod has answered, 499 counted once."""
    go = asyncio.Event()

    async def handle(connection: Connection) -> None:
        await connection.head()
        await go.wait()
        connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await answering(connection)

    async with running(Limits(concurrency=1, hold=True)) as plane:
        pod = await plane.pod(handle)
        client = await plane.connect()
        client.say(GET)
        await eventually(lambda: pod.accepted == 1)
        leave(client)
        await eventually(lambda: plane.codes == {499: 1})
        assert plane.backend.in_flight == 1
        go.set()
        await gone(plane)
        assert pod.closed == 0
