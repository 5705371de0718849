"""TLS to pods, on both loops: who is trusted, what a refusal says, and when an answer is whole."""

import asyncio

import aiohttp
import pytest

from gateway.backend import Limits
from gateway.terms import Timeouts
from gateway.tls import Doorkeeper, Trust, load_trust
from tests.certificates import Authority
from tests.eventually import eventually
from tests.integration.dataplane import Connection, Plane, answering, on_both_loops, running

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


@on_both_loops
async def test_a_pod_is_verified_and_its_connection_kept(authority: Authority, trust: Trust) -> None:
    """One handshake for many requests."""
    async with running() as plane, aiohttp.ClientSession() as session:
        pod = await plane.pod(answering, authority.server(), trust)
        for _ in range(10):
            async with session.get(plane.url) as response:
                assert (response.status, await response.read()) == (200, b"ok")
        assert pod.accepted == 1


SHORT = Limits(activation_timeout=0.3)


async def refusal(plane: Plane, session: aiohttp.ClientSession) -> tuple[str, str]:
    """The reason and the words of a 502."""
    async with session.get(plane.url) as response:
        problem = await response.json(content_type="application/problem+json")
        assert response.status == 502
        return problem["reason"], problem["detail"]


@on_both_loops
async def test_a_pod_that_cannot_be_verified_is_one_that_refused(trust: Trust) -> None:
    """Nothing of the request reaches it, and the answer says why."""
    heard: list[bytes] = []

    async def handle(connection: Connection) -> None:
        heard.append(await connection.rest())

    async with running(SHORT) as plane, aiohttp.ClientSession() as session:
        await plane.pod(handle, Authority().server(), trust)
        reason, detail = await refusal(plane, session)
        assert reason == "connect_failed"
        assert "its certificate is not trusted: unable to get local issuer certificate" in detail
        (endpoint,) = plane.backend.endpoints.values()
        assert endpoint.suspect
    assert not any(heard)


@on_both_loops
async def test_a_pod_with_a_certificate_for_another_name_is_refused(
    authority: Authority, trust: Trust
) -> None:
    """Unless that is the name that is asked for."""
    async with running(SHORT) as plane, aiohttp.ClientSession() as session:
        pod = await plane.pod(answering, authority.server("iris.models.svc"), trust)
        _, detail = await refusal(plane, session)
        assert "IP address mismatch, certificate is not valid for '127.0.0.1'" in detail
        pod.trust = Trust(trust.verified_by, "iris.models.svc", trust.context)
        plane.publish()
        (endpoint,) = plane.backend.endpoints.values()
        plane.gateway.trust(plane.backend, endpoint)
        async with session.get(plane.url) as response:
            assert response.status == 200


@on_both_loops
async def test_a_pod_that_need_not_be_verified_is_not() -> None:
    """`verify: false`."""
    async with running() as plane, aiohttp.ClientSession() as session:
        trust = Trust("nobody", None, load_trust(None, verify=False))
        await plane.pod(answering, Authority().server("elsewhere"), trust)
        async with session.get(plane.url) as response:
            assert response.status == 200


@on_both_loops
async def test_a_pod_without_tls_is_told_as_such(trust: Trust) -> None:
    """The likeliest slip: https in the URL, and http at the pod."""

    async def handle(connection: Connection) -> None:
        await connection.reader.read(100)
        connection.say(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    async with running(SHORT) as plane, aiohttp.ClientSession() as session:
        await plane.pod(handle, None, trust)
        assert "it does not speak TLS" in (await refusal(plane, session))[1]


@on_both_loops
async def test_a_pod_that_hangs_up_in_the_handshake_is_told_as_such(trust: Trust) -> None:
    """A server that is just going down, for one."""

    async def handle(connection: Connection) -> None:
        await connection.reader.read(100)

    async with running(SHORT) as plane, aiohttp.ClientSession() as session:
        await plane.pod(handle, None, trust)
        assert "during the TLS handshake" in (await refusal(plane, session))[1]


@on_both_loops
async def test_a_pod_that_says_nothing_in_the_handshake_is_given_up(trust: Trust) -> None:
    """After `timeouts.connect`, as one that does not accept; nothing of the attempt is left."""

    async def handle(connection: Connection) -> None:
        await connection.rest()

    async with running(SHORT, Timeouts(connect=0.1)) as plane, aiohttp.ClientSession() as session:
        pod = await plane.pod(handle, None, trust)
        assert "no connection within 0.1 s" in (await refusal(plane, session))[1]
        await eventually(lambda: pod.closed == pod.accepted)


@on_both_loops
async def test_a_client_that_leaves_in_the_pods_handshake_ends_it(trust: Trust) -> None:
    """Nobody waits for it any more."""

    async def handle(connection: Connection) -> None:
        await connection.rest()

    async with running() as plane:
        pod = await plane.pod(handle, None, trust)
        client = await plane.connect()
        client.say(GET)
        await eventually(lambda: pod.accepted == 1)
        client.close()
        await eventually(lambda: plane.codes == {499: 1})
        await eventually(lambda: pod.closed == 1)


@on_both_loops
@pytest.mark.parametrize("whole", [True, False], ids=["close_notify", "cut"])
async def test_an_answer_without_length_is_whole_once_the_pod_has_said_so(
    authority: Authority, trust: Trust, whole: bool
) -> None:
    """A TCP connection can be ended by anybody on its way, so its end proves nothing (RFC 9112, 9.8)."""

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(b"HTTP/1.0 200 OK\r\n\r\nhello")
        await connection.writer.drain()
        await asyncio.sleep(0.05)
        if not whole:
            connection.writer.transport.abort()

    async with running() as plane:
        await plane.pod(handle, authority.server(), trust)
        client = await plane.connect()
        client.say(GET)
        if whole:
            await client.reader.readuntil(b"0\r\n\r\n")
        else:
            with pytest.raises(ConnectionResetError):
                await client.rest()
        assert plane.reasons == ({} if whole else {"upstream_reset": 1})
        client.close()


@on_both_loops
async def test_pods_are_held_to_what_changed_from_the_next_connection_on(
    authority: Authority, trust: Trust
) -> None:
    """Pooled connections are dropped; one that is busy finishes."""
    go = asyncio.Event()

    async def handle(connection: Connection) -> None:
        while True:
            head = await connection.head()
            if b"/slow" in head:
                await go.wait()
            connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with running(SHORT) as plane, aiohttp.ClientSession() as session:
        pod = await plane.pod(handle, authority.server(), trust)
        slow = asyncio.create_task(session.get(f"{plane.url}/slow"))
        await eventually(lambda: pod.accepted == 1)
        async with session.get(plane.url) as response:
            assert response.status == 200
        assert pod.accepted == 2
        pod.trust = Trust("system", None, load_trust(None, verify=True))
        plane.publish()
        await eventually(lambda: pod.closed == 1)
        assert "not trusted" in (await refusal(plane, session))[1]
        go.set()
        assert (await slow).status == 200
        await eventually(lambda: pod.closed == pod.accepted)


@on_both_loops
async def test_a_tunnel_goes_through_tls_on_both_sides(
    authority: Authority, door: Doorkeeper, trust: Trust
) -> None:
    """And ends at the pod when the client closes."""

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        connection.say(await connection.exactly(4))
        await connection.rest()

    async with running(door=door) as plane:
        pod = await plane.pod(handle, authority.server(), trust)
        client = await plane.connect(authority.client())
        offer = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        client.say(b"GET / HTTP/1.1\r\nHost: x\r\n" + offer + key)
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        client.say(b"ping")
        assert await client.exactly(4) == b"ping"
        client.close()
        await eventually(lambda: pod.closed == 1)
        await eventually(lambda: plane.codes == {101: 1})
