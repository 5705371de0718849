"""Limits, trusted proxies, and sides that leave while nobody reads them: over real sockets, on both loops."""

import asyncio
import json
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.admission import ConnectionLimits
from gateway.forwarded import ForwardedPolicy
from gateway.http1 import HeadLimits
from tests.eventually import eventually
from tests.integration.dataplane import (
    Connection,
    Plane,
    content_length,
    on_both_loops,
    running,
)
from tests.integration.running import tidegate

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
MEGABYTE = 1 << 20


def post(size: int) -> bytes:
    return b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size


async def connect_from(plane: Plane, address: str) -> Connection:
    streams = await asyncio.open_connection("127.0.0.1", plane.port, local_addr=(address, 0))
    return Connection(*streams)


async def answer(connection: Connection) -> tuple[int, bytes]:
    """The next answer's status and body."""
    head = await connection.head()
    return int(head.split()[1]), await connection.exactly(content_length(head))


async def ask(plane: Plane, data: bytes) -> tuple[int, str]:
    """Status and reason of the refusal of `data`."""
    client = await plane.connect()
    client.say(data)
    status, body = await answer(client)
    client.close()
    return status, json.loads(body)["reason"]


# -- connections


@on_both_loops
async def test_a_connection_too_many_is_told_so() -> None:
    """Even before it asks; the others are served, and one that leaves makes room."""
    async with running() as plane:
        await plane.pod()
        plane.gateway.admission.limits = ConnectionLimits(total=2)
        first, second = await plane.connect(), await plane.connect()
        assert await ask(plane, b"") == (503, "too_many_connections")
        assert await ask(plane, GET) == (503, "too_many_connections")
        for client in (first, second):
            client.say(GET)
            assert await answer(client) == (200, b"ok")
        first.close()
        await eventually(lambda: plane.gateway.admission.open == 1)
        third = await plane.connect()
        third.say(GET)
        assert await answer(third) == (200, b"ok")
        assert plane.gateway.admission.refused == {"total": 2, "per_client": 0}
        second.close()
        third.close()
        await eventually(lambda: plane.gateway.admission.open == 0)


@on_both_loops
async def test_a_flood_of_connections_leaves_those_that_are_open_alone() -> None:
    """All others are refused, and nothing of them stays."""
    async with running() as plane:
        await plane.pod()
        plane.gateway.admission.limits = ConnectionLimits(total=1)
        client = await plane.connect()
        flood = [await plane.connect() for _ in range(200)]
        client.say(GET)
        assert await answer(client) == (200, b"ok")
        assert plane.gateway.admission.refused["total"] == 200
        for one in flood:
            assert (await one.rest()).startswith(b"HTTP/1.1 503 ")
            one.close()
        await eventually(lambda: not plane.gateway.turned_away)
        client.close()


@on_both_loops
async def test_each_address_has_its_share() -> None:
    """Another address's clients have theirs; a trusted proxy has all that it needs."""
    async with running() as plane:
        await plane.pod()
        plane.gateway.admission.limits = ConnectionLimits(per_client=1)
        plane.gateway.forwarding = ForwardedPolicy((ip_network("127.0.0.3"),))
        clients = [await connect_from(plane, "127.0.0.1"), await connect_from(plane, "127.0.0.2")]
        clients += [await connect_from(plane, "127.0.0.3") for _ in range(3)]
        assert await ask(plane, GET) == (503, "too_many_connections")
        for client in clients:
            client.say(GET)
            assert await answer(client) == (200, b"ok")
            client.close()
        await eventually(lambda: plane.gateway.admission.open == 0)


@on_both_loops
async def test_the_last_request_of_a_connection_ends_it() -> None:
    """What was sent behind it does not destroy its answer."""
    async with running() as plane:
        await plane.pod()
        plane.gateway.admission.limits = ConnectionLimits(requests=2)
        client = await plane.connect()
        client.say(GET * 50)
        assert await answer(client) == (200, b"ok")
        head = await client.head()
        assert b"\r\nconnection: close\r\n" in head
        assert await client.rest() == b"ok"
        client.close()
        assert plane.codes == {200: 2}


# -- sizes


@on_both_loops
async def test_each_limit_of_a_head_has_its_status() -> None:
    """Size and number of fields, and the target."""
    async with running() as plane:
        pod = await plane.pod()
        plane.gateway.head_limits = HeadLimits(2048, 10, 512)
        large, many, long = b"A: " + b"a" * 2048, b"\r\n".join([b"A: a"] * 12), b"a" * 600
        assert await ask(plane, b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % large) == (
            431,
            "headers_too_large",
        )
        assert await ask(plane, b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % many) == (
            431,
            "headers_too_large",
        )
        assert await ask(plane, b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % long) == (414, "target_too_long")
        assert pod.accepted == 0


@on_both_loops
async def test_a_body_over_its_routes_limit_is_413() -> None:
    """By its length before any of it is sent on; in chunks as soon as they are too many, and the pod knows."""

    async def handle(connection: Connection) -> None:
        await connection.head()
        await connection.rest()

    async with running() as plane:
        pod = await plane.pod(handle)
        route = plane.gateway.table.match(b"x", b"/a")
        assert route is not None
        route.choose().body_limit = 1000
        assert await ask(plane, post(1001) + b"x" * 1001) == (413, "body_too_large")
        assert pod.accepted == 0
        client = await plane.connect()
        client.say(
            b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n"
            + b"x" * 1000
            + b"\r\n"
        )
        await eventually(lambda: pod.accepted == 1)
        client.say(b"1\r\nx\r\n")
        assert (await answer(client))[0] == 413
        await eventually(lambda: pod.closed == 1)
        client.say(b"x" * MEGABYTE)
        assert await client.rest() == b""
        client.close()


@on_both_loops
async def test_bodies_that_wait_have_a_bound_over_all_of_them() -> None:
    """Past it a request is refused; those that wait are served when a pod comes."""
    async with running() as plane:
        plane.gateway.buffered.bound = 25_000
        clients = [await plane.connect() for _ in range(2)]
        for client in clients:
            client.say(post(10_000) + b"x" * 10_000)
        await eventually(lambda: plane.gateway.buffered.held == 20_000)
        assert await ask(plane, post(10_000) + b"x" * 10_000) == (503, "overloaded")
        assert plane.gateway.buffered.held == 20_000
        await plane.pod()
        for client in clients:
            assert await answer(client) == (200, b"ok")
            client.close()
        assert plane.gateway.buffered.held == 0


# -- what pods are told


@on_both_loops
async def test_only_a_trusted_proxys_word_reaches_the_pod() -> None:
    """Anyone else's is replaced by what the gateway saw itself."""
    heads: list[bytes] = []

    async def handle(connection: Connection) -> None:
        while True:
            heads.append((await connection.head()).lower())
            connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with running() as plane:
        await plane.pod(handle)
        plane.gateway.forwarding = ForwardedPolicy((ip_network("127.0.0.2"),), forwarded=True)
        said = (
            b"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=a\r\nX-Tidegate-A: b\r\n"
        )
        for address in ("127.0.0.1", "127.0.0.2"):
            client = await connect_from(plane, address)
            client.say(b"GET /a HTTP/1.1\r\nHost: x\r\n" + said + b"\r\n")
            assert await answer(client) == (200, b"ok")
            client.close()
        stranger, proxy = heads
        assert b"\r\nx-forwarded-for: 127.0.0.1\r\n" in stranger
        assert b"\r\nx-forwarded-proto: http\r\n" in stranger
        assert b"\r\nforwarded: for=127.0.0.1;host=x;proto=http\r\n" in stranger
        assert b"\r\nx-forwarded-for: 9.9.9.9, 127.0.0.2\r\n" in proxy
        assert b"\r\nx-forwarded-proto: https\r\n" in proxy
        assert b"\r\nforwarded: for=a, for=127.0.0.2;host=x;proto=http\r\n" in proxy
        assert not any(b"tidegate-a" in head for head in heads)
        assert all(b"\r\nvia: 1.1 tidegate\r\n" in head for head in heads)


# -- sides that leave while they are not read


@pytest.fixture(params=["close", "reset"])
def leave(request: pytest.FixtureRequest) -> Callable[[Connection], None]:
    """How a side goes: in good order, or by a reset."""
    return Connection.close if request.param == "close" else Connection.reset


Leave = Callable[[Connection], None]


def paused(plane: Plane) -> bool:
    """Nothing is read from the one client that there is."""
    (client,) = plane.gateway.clients
    return bool(client.paused)  # type: ignore[attr-defined]


@on_both_loops
async def test_a_client_that_leaves_the_queue_while_it_is_not_read_is_noticed(leave: Leave) -> None:
    """More of its body has come than is held."""
    async with running() as plane:
        client = await plane.connect()
        client.say(post(MEGABYTE) + b"x" * 100_000)
        await eventually(lambda: plane.backend.breaker.queued == 1 and paused(plane))
        leave(client)
        await eventually(plane.at_rest)
        await eventually(lambda: not plane.gateway.clients)
        assert (plane.codes, plane.gateway.buffered.held) == ({499: 1}, 0)


@on_both_loops
async def test_a_client_that_leaves_while_its_pod_takes_nothing_is_noticed(leave: Leave) -> None:
    """And the pod's connection closes, however much of the upload is still on its way."""
    left = asyncio.Event()

    async def handle(connection: Connection) -> None:
        await connection.head()
        await left.wait()
        await connection.rest()

    async with running() as plane:
        pod = await plane.pod(handle)
        client = await plane.connect()
        client.say(post(64 * MEGABYTE))
        while not paused(plane):
            # In steps, so that the end does not queue up behind what no gateway reads.
            client.say(b"x" * 65536)
            await client.writer.drain()
            await asyncio.sleep(0.001)
        leave(client)
        await eventually(plane.at_rest)
        assert plane.codes == {499: 1}
        left.set()
        await eventually(lambda: pod.closed == 1)


@on_both_loops
async def test_a_client_that_sent_too_far_ahead_and_leaves_is_noticed(leave: Leave) -> None:
    """Its first request is dropped, the others are nobody's."""
    async with running() as plane:
        client = await plane.connect()
        client.say(GET * 3000)
        await eventually(lambda: plane.backend.breaker.queued == 1 and paused(plane))
        leave(client)
        await eventually(plane.at_rest)
        await eventually(lambda: not plane.gateway.clients)
        assert (plane.codes, plane.gateway.buffered.held) == ({499: 1}, 0)


@on_both_loops
@pytest.mark.parametrize("framing", [b"Content-Length: %d" % (64 * MEGABYTE), b"Transfer-Encoding: chunked"])
async def test_a_pod_that_dies_while_it_is_not_read_is_noticed(framing: bytes) -> None:
    """Its client, which does not read either, will not take what it has for the whole."""

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        if framing.startswith(b"Transfer"):
            connection.say(b"%x\r\n" % (64 * MEGABYTE))
        connection.say(b"x" * 32 * MEGABYTE)
        await connection.rest()

    async with running() as plane:
        pod = await plane.pod(handle)
        client = await plane.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.say(GET)
        await eventually(lambda: "Lookout of 1" in repr(plane.gateway.lookout))
        plane.publish(pod)
        await pod.kill()
        await eventually(plane.at_rest)
        assert plane.reasons == {"upstream_reset": 1}
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises(OSError, match=r"."):
            await client.rest()


@on_both_loops
async def test_a_whole_answer_outlives_its_pods_connection() -> None:
    """The pod closed after its last byte; a client that reads late gets everything."""
    size = 2 * MEGABYTE

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        connection.say(b"x" * size)

    async with running() as plane:
        pod = await plane.pod(handle)
        client = await plane.connect()
        client.say(GET)
        await client.head()
        await eventually(lambda: pod.closed == 1)
        for _ in range(30):
            plane.gateway.lookout.turn()
        assert len(await client.exactly(size)) == size
        client.close()


# -- as configured


async def test_a_saved_file_changes_the_limits(tmp_path: Path) -> None:
    """For connections that begin after it; `/v1/state` and the metrics tell."""
    config = {
        "backends": {"a": {"target": {"urls": ["http://127.0.0.1:9"]}}},
        "routes": [{"name": "a", "split": {"a": 1}}],
        "limits": {"connections": 100},
    }
    async with tidegate(tmp_path, config, "--plain") as running:
        assert (await running.state())["most_connections"] == 100
        file = json.loads(running.path.read_text())
        limits = {"connections": 50, "target": 128}
        running.path.write_text(json.dumps(file | {"limits": limits, "defaults": {"body_limit": 10}}))
        async with asyncio.timeout(15):
            while (await running.state())["most_connections"] != 50:
                await asyncio.sleep(0.05)
        async with running.session.get(f"{running.url}/{'a' * 200}") as told:
            assert told.status == 414
        async with running.session.post(f"{running.url}/a", data=b"x" * 11) as told:
            assert told.status == 413
        async with running.session.get(f"{running.admin}/metrics") as told:
            text = await told.text()
        assert 'tidegate_connections_refused_total{limit="total"} 0' in text
        assert "tidegate_buffered_bytes 0" in text
