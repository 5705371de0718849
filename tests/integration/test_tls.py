"""TLS to clients, on both loops, with clients of other makes: what is agreed on, what is refused, and how things end."""

import asyncio
import logging
import shutil
import socket
import ssl
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from gateway.admission import ConnectionLimits
from gateway.tls import Doorkeeper, Trust, load_pair
from tests.certificates import Authority
from tests.eventually import eventually
from tests.integration.dataplane import Connection, Plane, on_both_loops, running

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
MEGABYTE = 1 << 20
REFUSED = (ssl.SSLError, ConnectionResetError)
"""A handshake that the other side ends; neither loop sends the alert that would say why."""


def dial(plane: Plane, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A blocking client that takes a connection's end for what it is: an error without close_notify."""
    return context.wrap_socket(
        socket.create_connection(("127.0.0.1", plane.port), 10),
        server_hostname="127.0.0.1",
        suppress_ragged_eofs=False,
    )


def read_to_end(client: ssl.SSLSocket) -> bytes:
    """All until a close_notify. Raises OSError when the connection ends otherwise."""
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


# -- the handshake


@on_both_loops
async def test_an_aiohttp_client_gets_its_answers_over_one_connection(
    authority: Authority, door: Doorkeeper
) -> None:
    """Keep-alive; the pod is told that the client came by https."""
    heads: list[bytes] = []

    async def handle(connection: Connection) -> None:
        while True:
            heads.append(await connection.head())
            connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    connector = aiohttp.TCPConnector(ssl=authority.client())
    async with running(door=door) as plane, aiohttp.ClientSession(connector=connector) as session:
        await plane.pod(handle)
        for _ in range(20):
            async with session.get(plane.url) as response:
                assert (response.status, await response.read()) == (200, b"ok")
        assert (len(heads), len(plane.gateway.clients)) == (20, 1)
        assert b"\r\nx-forwarded-proto: https\r\n" in heads[0]


@on_both_loops
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    "options",
    [["-0"], ["-I"], ["-d", "x=1"], ["--http2"], ["--no-alpn"], ["--tls-max", "1.2"], ["--tlsv1.3"]],
    ids=lambda options: options[0],
)
async def test_curl_trusts_what_it_is_shown(ca: Path, door: Doorkeeper, options: list[str]) -> None:
    """HTTP/1.0, HEAD, a form, an offer of HTTP/2, no offer at all, and either version of TLS."""

    async def handle(connection: Connection) -> None:
        while True:
            head = await connection.head()
            body = b"" if head.startswith(b"HEAD") else b"ok"
            connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body)

    arguments = ["-sS", "-m", "10", "-w", "%{http_version} %{http_code}", "--cacert", str(ca), *options]
    async with running(door=door) as plane:
        await plane.pod(handle)
        curl = await asyncio.create_subprocess_exec(
            "curl", *arguments, plane.url, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await curl.communicate()
        assert curl.returncode == 0
        assert output.endswith(b"1.1 200")


@on_both_loops
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None)],
)
async def test_http_1_1_is_what_is_agreed_on(
    authority: Authority, door: Doorkeeper, offered: list[str], chosen: str | None
) -> None:
    """Whatever else a client can."""
    context = authority.client()
    if offered:
        context.set_alpn_protocols(offered)
    async with running(door=door) as plane:
        client = await plane.connect(context)
        agreed = client.writer.get_extra_info("ssl_object")
        assert agreed.selected_alpn_protocol() == chosen
        assert agreed.compression() is None
        client.close()


def version(authority: Authority, most: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that knows nothing newer."""
    context = authority.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = most
    return context


@on_both_loops
async def test_tls_1_1_is_refused(authority: Authority, door: Doorkeeper) -> None:
    """1.2 is the oldest that is taken."""
    async with running(door=door) as plane:
        with pytest.raises(REFUSED):
            await plane.connect(version(authority, ssl.TLSVersion.TLSv1_1))
        client = await plane.connect(version(authority, ssl.TLSVersion.TLSv1_2))
        assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        client.close()


@on_both_loops
async def test_tls_1_2_is_refused_where_1_3_is_asked_for(authority: Authority, tmp_path: Path) -> None:
    """`min_version: "1.3"`."""
    door = Doorkeeper(load_pair(*authority.issue(tmp_path)), "1.3")
    async with running(door=door) as plane:
        with pytest.raises(REFUSED):
            await plane.connect(version(authority, ssl.TLSVersion.TLSv1_2))
        (await plane.connect(authority.client())).close()


@on_both_loops
async def test_what_is_no_handshake_ends_without_a_word(
    authority: Authority, door: Doorkeeper, caplog: pytest.LogCaptureFixture
) -> None:
    """Plain HTTP, noise, a client that leaves half-way, one that does not trust us: nothing in the log, and others are served."""
    caplog.set_level(logging.DEBUG)
    hello = bytearray()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        authority.client().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    hello += outgoing.read()
    async with running(door=door) as plane:
        await plane.pod()
        for data in (GET, b"\x16\x03\x01\xff\xff" + b"x" * 1000, b""):
            client = await plane.connect()
            client.say(data)
            if not data:
                client.close()
            with suppress(ConnectionError):
                await client.rest()
            client.close()
        for leave in (Connection.close, Connection.reset):
            for data in (hello, hello[:100]):
                client = await plane.connect()
                client.say(bytes(data))
                await asyncio.sleep(0.01)
                leave(client)
        with pytest.raises(ssl.SSLCertVerificationError):
            await plane.connect(ssl.create_default_context())
        client = await plane.connect(authority.client())
        client.say(GET)
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        client.close()
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG] == []


@on_both_loops
async def test_a_client_that_never_ends_its_handshake_is_cut_off(door: Doorkeeper) -> None:
    """It has as long as a request's head."""
    async with running(door=door, handshake=0.1) as plane:
        client = await plane.connect()
        with suppress(ConnectionError):
            assert await asyncio.wait_for(client.rest(), 10) == b""
        client.close()


# -- how a connection ends


@on_both_loops
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked", b"Connection: close"]
)
async def test_a_cut_answer_is_an_error_to_the_client(
    authority: Authority, door: Doorkeeper, framing: bytes
) -> None:
    """For each framing, HTTP/1.0 clients included: no close_notify, so that OpenSSL does not take it for the end."""
    cut = asyncio.Event()

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nhello\r\n")
        await cut.wait()
        connection.reset()

    async with running(door=door) as plane:
        await plane.pod(handle)
        client = await asyncio.to_thread(dial, plane, authority.client())
        client.sendall(GET.replace(b"1.1", b"1.0") if framing.startswith(b"Conn") else GET)
        data = b""
        while b"hello" not in data:
            data += await asyncio.to_thread(client.recv, 65536)
        cut.set()
        with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
            await asyncio.to_thread(read_to_end, client)
        client.close()
        assert plane.reasons == {"upstream_reset": 1}


@on_both_loops
async def test_an_answer_that_ends_with_its_connection_ends_in_good_order(
    authority: Authority, door: Doorkeeper
) -> None:
    """With a close_notify, however slowly it is read: HTTP/1.0 knows no other end."""
    body = b"x" * 3 * MEGABYTE

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(b"HTTP/1.0 200 OK\r\n\r\n" + body)
        await connection.writer.drain()

    async with running(door=door) as plane:
        await plane.pod(handle)
        client = await asyncio.to_thread(dial, plane, authority.client())
        client.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        first = await asyncio.to_thread(client.recv, 1000)
        await asyncio.sleep(0.2)
        data = first + await asyncio.to_thread(read_to_end, client)
        assert data.endswith(b"\r\n\r\n" + body)
        client.close()


def say_goodbye(client: ssl.SSLSocket) -> None:
    with suppress(OSError):  # what is still on its way to us is of no interest
        client.unwrap()


def cut(client: ssl.SSLSocket) -> None:
    client.shutdown(socket.SHUT_WR)


def reset(client: ssl.SSLSocket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@on_both_loops
@pytest.mark.parametrize("leave", [say_goodbye, cut, reset])
@pytest.mark.parametrize("answered", [False, True], ids=["before the answer", "in the answer"])
async def test_a_client_that_leaves_is_gone_at_once(
    authority: Authority, door: Doorkeeper, leave: Callable[[ssl.SSLSocket], None], answered: bool
) -> None:
    """By close_notify, by FIN or by RST: the pod's connection closes, and 499 is counted once."""
    seen = asyncio.Event()

    async def handle(connection: Connection) -> None:
        await connection.head()
        if answered:
            connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        seen.set()
        await connection.rest()

    async with running(door=door) as plane:
        pod = await plane.pod(handle)
        client = await asyncio.to_thread(dial, plane, authority.client())
        client.sendall(GET)
        await seen.wait()
        if answered:
            await asyncio.to_thread(client.recv, 65536)
        left = asyncio.create_task(asyncio.to_thread(leave, client))
        await eventually(lambda: plane.codes == {499: 1})
        await eventually(plane.at_rest)
        await eventually(lambda: pod.closed == pod.accepted)
        await left
        client.close()


@on_both_loops
async def test_a_client_that_does_not_look_does_not_hold_up_the_end(
    authority: Authority, door: Doorkeeper
) -> None:
    """Idle connections of blocking clients answer no close_notify; a drain does not wait for theirs."""
    async with running(door=door) as plane:
        await plane.pod()
        client = await asyncio.to_thread(dial, plane, authority.client())
        client.sendall(GET)
        await asyncio.to_thread(client.recv, 65536)
        (connection,) = plane.gateway.clients

        def drained() -> bool:
            connection.shut()
            return not plane.gateway.clients

        await eventually(drained, 2)
        assert await asyncio.to_thread(client.recv, 65536) in (b"", b"ok")
        client.close()


@on_both_loops
async def test_a_client_that_still_reads_is_waited_for_at_the_end(
    authority: Authority, door: Doorkeeper
) -> None:
    """Its last answer is on its way: it gets all of it before its connection goes."""
    body = b"x" * 8 * MEGABYTE

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await connection.rest()

    async with running(door=door) as plane:
        await plane.pod(handle)
        client = await asyncio.to_thread(dial, plane, authority.client())
        client.sendall(GET)
        (connection,) = plane.gateway.clients
        data = b""
        while len(data) < len(body) // 2 or plane.backend.in_flight:
            data += await asyncio.to_thread(client.recv, 65536)
            connection.shut()
            await asyncio.sleep(0)
        for _ in range(50):
            connection.shut()
            await asyncio.sleep(0.002)
        data += await asyncio.to_thread(read_to_end, client)
        assert data.partition(b"\r\n\r\n")[2] == body
        client.close()


@on_both_loops
@pytest.mark.parametrize("leave", [cut, reset])
async def test_a_client_that_leaves_while_it_is_not_read_is_noticed(
    authority: Authority, door: Doorkeeper, leave: Callable[[ssl.SSLSocket], None]
) -> None:
    """More of its body has come than is held while it waits for a pod, so that its connection is paused."""
    async with running(door=door) as plane:
        client = await asyncio.to_thread(dial, plane, authority.client())
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000)
        await eventually(lambda: plane.backend.breaker.queued == 1)
        (connection,) = plane.gateway.clients
        await eventually(lambda: connection.paused)  # type: ignore[attr-defined]
        left = asyncio.create_task(asyncio.to_thread(leave, client))
        await eventually(lambda: plane.codes == {499: 1})
        await eventually(lambda: not plane.gateway.clients)
        await left
        client.close()


@on_both_loops
async def test_a_connection_too_many_is_told_so_and_ended(authority: Authority, door: Doorkeeper) -> None:
    """It gets the answer whole; a client that then does nothing is not waited for."""
    async with running(door=door) as plane:
        plane.gateway.admission.limits = ConnectionLimits(total=1)
        first = await plane.connect(authority.client())
        await eventually(lambda: plane.gateway.admission.open == 1)
        client = await asyncio.to_thread(dial, plane, authority.client())
        data = b""
        with suppress(ssl.SSLEOFError, ConnectionResetError):
            while piece := await asyncio.to_thread(client.recv, 65536):
                data += piece
        assert data.startswith(b"HTTP/1.1 503 ")
        assert b"too_many_connections" in data
        await eventually(lambda: not plane.gateway.turned_away)
        client.close()
        first.close()


# -- large bodies


@on_both_loops
async def test_a_slow_reader_slows_its_pod_and_gets_everything(
    authority: Authority, door: Doorkeeper, trust: Trust
) -> None:
    """Over TLS on both sides, as over plain sockets."""
    size, sent = 32 * MEGABYTE, 0

    async def handle(connection: Connection) -> None:
        nonlocal sent
        await connection.head()
        connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            connection.say(b"x" * 65536)
            await connection.writer.drain()
            sent += 65536
        await connection.rest()

    async with running(door=door) as plane:
        await plane.pod(handle, authority.server(), trust)
        client = await plane.connect(authority.client())
        client.say(GET)
        await client.head()
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < size
        assert len(await client.exactly(size)) == size
        client.close()


@on_both_loops
async def test_a_slow_pod_slows_the_client_and_gets_everything(
    authority: Authority, door: Doorkeeper, trust: Trust
) -> None:
    """The other way."""
    size, go, got = 32 * MEGABYTE, asyncio.Event(), 0

    async def handle(connection: Connection) -> None:
        nonlocal got
        await connection.head()
        await go.wait()
        while got < size:
            got += len(await connection.reader.read(MEGABYTE))
        connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await connection.rest()

    async with running(door=door) as plane:
        await plane.pod(handle, authority.server(), trust)
        client = await plane.connect(authority.client())
        client.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        sent, flowing = 0, True
        while flowing and sent < size:
            client.say(b"x" * 65536)
            sent += 65536
            try:
                await asyncio.wait_for(client.writer.drain(), 0.3)
            except TimeoutError:
                flowing = False
        assert not flowing
        go.set()
        client.say(b"x" * (size - sent))
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        assert got == size
        client.close()


@on_both_loops
async def test_a_pod_that_closes_after_its_answer_loses_none_of_it_to_a_slow_client(
    authority: Authority, door: Doorkeeper, trust: Trust
) -> None:
    """Its end comes while the client has not taken the rest: that waits for the client."""
    body = b"x" * 12 * MEGABYTE

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        await connection.writer.drain()

    async with running(door=door) as plane:
        await plane.pod(handle, authority.server(), trust)
        client = await plane.connect(authority.client())
        client.say(GET)
        await client.head()
        data = b""
        while len(data) < len(body):
            data += await client.reader.read(MEGABYTE)
            await asyncio.sleep(0.01)
        assert data == body
        assert plane.codes == {200: 1}
        client.close()


# -- rotation


@on_both_loops
async def test_a_new_certificate_under_load_fails_no_request(
    authority: Authority, door: Doorkeeper, tmp_path: Path
) -> None:
    """New connections are shown the new one at once; those that are open go on."""
    serials = set()

    async def one(plane: Plane) -> None:
        client = await plane.connect(authority.client())
        serials.add(client.writer.get_extra_info("peercert")["serialNumber"])
        client.say(GET)
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        client.close()

    async def load(plane: Plane) -> None:
        for _ in range(15):
            await one(plane)

    async with running(door=door) as plane:
        await plane.pod()
        open_one = await plane.connect(authority.client())
        tasks = [asyncio.create_task(load(plane)) for _ in range(8)]
        for number in range(4):
            before = len(serials)
            await eventually(lambda before=before: len(serials) > before or all(t.done() for t in tasks))
            door.show(load_pair(*authority.issue(tmp_path, stem=f"new-{number}")), "1.2")
        await asyncio.gather(*tasks)
        await one(plane)
        assert len(serials) == 5
        open_one.say(GET)
        assert (await open_one.head()).startswith(b"HTTP/1.1 200 ")
        open_one.close()
