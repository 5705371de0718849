"""The data plane on real sockets, on uvloop and on asyncio's own loop, with real clients and real pods."""

import asyncio
import json
import shutil

import aiohttp
import pytest

from gateway.backend import Limits
from tests.eventually import eventually
from tests.fakes import read_answers, read_request
from tests.integration.dataplane import Connection, Plane, answering, on_both_loops, running

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
MEGABYTE = 1 << 20


async def ask(plane: Plane, request: bytes) -> Connection:
    """A client that has sent this."""
    client = await plane.connect()
    client.say(request)
    return client


async def until_reset(client: Connection) -> None:
    """Read until the connection breaks; fails if it ends in good order."""
    with pytest.raises(ConnectionResetError):
        await client.rest()


@on_both_loops
async def test_an_aiohttp_client_gets_its_answers_over_one_connection() -> None:
    """Keep-alive on both sides, JSON both ways."""

    async def echo(connection: Connection) -> None:
        while True:
            head = await connection.head()
            body = await connection.exactly(
                int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            )
            connection.say(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            connection.say(body)

    async with running() as plane, aiohttp.ClientSession() as session:
        pod = await plane.pod(echo)
        for n in range(20):
            async with session.post(plane.url, json={"n": n}) as response:
                assert (response.status, await response.json()) == (200, {"n": n})
        assert (pod.accepted, len(plane.gateway.clients), plane.codes) == (1, 1, {200: 20})


@on_both_loops
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    "options", [[], ["-0"], ["-I"], ["-d", "x=1"], ["-H", "Expect: 100-continue", "-d", "x"]]
)
async def test_curl_gets_its_answer(options: list[str]) -> None:
    """HTTP/1.1, HTTP/1.0, HEAD, a form, and a body that waits to be asked for."""

    async def handle(connection: Connection) -> None:
        while True:
            head = await connection.head()
            if b"expect:" in head:
                connection.say(b"HTTP/1.1 100 Continue\r\n\r\n")
            await connection.exactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0))
            connection.say(
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + (b"" if head.startswith(b"HEAD") else b"ok")
            )

    async with running() as plane:
        await plane.pod(handle)
        curl = await asyncio.create_subprocess_exec(
            "curl",
            "-sS",
            "-m",
            "10",
            "-w",
            "%{http_code}",
            *options,
            plane.url,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await curl.communicate()
        assert curl.returncode == 0
        assert output.endswith(b"200")


@on_both_loops
async def test_a_chunked_upload_and_a_chunked_answer_keep_their_trailers() -> None:
    """Both as h11 reads them."""
    upload = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;e=1\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"
    seen = bytearray()

    async def handle(connection: Connection) -> None:
        while b"x-sum" not in seen.lower() or not seen.endswith(b"\r\n\r\n"):
            seen.extend(await connection.reader.read(100))
        connection.say(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-End: 1\r\n\r\n"
        )
        await connection.rest()

    async with running() as plane:
        await plane.pod(handle)
        client = await ask(plane, upload)
        data = await client.head()
        data += await client.reader.readuntil(b"0\r\nX-End: 1\r\n\r\n")
        _, body, trailers, whole = read_request(bytes(seen))
        assert (body, trailers, whole) == (b"hello", {b"x-sum": b"5"}, True)
        (answer,) = read_answers(data, [b"POST"])
        assert (answer.body, answer.trailers) == (b"ok", {b"x-end": b"1"})
        client.close()


@on_both_loops
async def test_the_body_is_not_asked_for_before_a_pod_has_the_request() -> None:
    """100-continue end to end, 103 on the way."""

    async def handle(connection: Connection) -> None:
        head = await connection.head()
        assert b"expect: 100-continue" in head
        connection.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        assert await connection.exactly(5) == b"hello"
        connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await connection.rest()

    async with running() as plane:
        await plane.pod(handle)
        client = await ask(
            plane, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await client.head()).startswith(b"HTTP/1.1 103 ")
        assert (await client.head()).startswith(b"HTTP/1.1 100 ")
        client.say(b"hello")
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        client.close()


@on_both_loops
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_an_answer_that_ends_with_its_connection_is_whole(version: bytes) -> None:
    """In chunks for HTTP/1.1 clients, by the connection's end for older ones."""

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(b"HTTP/1.0 200 OK\r\n\r\nhello ")
        await asyncio.sleep(0.02)
        connection.say(b"world")

    async with running() as plane:
        await plane.pod(handle)
        client = await ask(plane, b"GET / HTTP/%b\r\nHost: x\r\nConnection: close\r\n\r\n" % version)
        (answer,) = read_answers(await client.rest(), [b"GET"], closed=True)
        assert (answer.body, answer.complete) == (b"hello world", True)
        client.close()


@on_both_loops
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked", b"Connection: close"]
)
async def test_a_cut_answer_is_a_reset_connection(framing: bytes) -> None:
    """No client may take it for a whole one: RST, for each framing, HTTP/1.0 clients included."""
    cut = asyncio.Event()

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nhello\r\n")
        await cut.wait()
        connection.reset()

    async with running() as plane:
        await plane.pod(handle)
        version = b"1.0" if framing.startswith(b"Conn") else b"1.1"
        client = await ask(plane, b"GET / HTTP/%b\r\nHost: x\r\n\r\n" % version)
        await client.reader.readuntil(b"hello")
        cut.set()
        await until_reset(client)
        assert plane.reasons == {"upstream_reset": 1}
        client.close()


@on_both_loops
async def test_an_early_answer_to_an_unfinished_upload_arrives_whole() -> None:
    """The client goes on sending; closing at once could destroy what it has not read yet."""
    body = b"x" * 300_000

    async def handle(connection: Connection) -> None:
        await connection.head()
        connection.say(
            b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        await connection.rest()

    async with running() as plane:
        await plane.pod(handle)
        client = await ask(plane, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")
        client.say(b"y" * 200_000)
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 413 ")
        client.say(b"y" * 500_000)
        assert await client.exactly(len(body)) == body
        client.reset()


@on_both_loops
async def test_a_slow_reader_slows_its_pod_and_gets_everything() -> None:
    """Backpressure: far less than the body is in flight while the client does not read."""
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

    async with running() as plane:
        await plane.pod(handle)
        client = await ask(plane, GET)
        await client.head()
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < size
        assert len(await client.exactly(size)) == size
        client.close()


@on_both_loops
async def test_a_slow_pod_slows_the_client_and_gets_everything() -> None:
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

    async with running() as plane:
        await plane.pod(handle)
        client = await ask(plane, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
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
async def test_pipelined_requests_good_and_bad_are_answered_in_order() -> None:
    """The first bad one is the last."""
    async with running() as plane:
        await plane.pod()
        client = await ask(plane, GET * 50 + b"GET / HTTP/1.1\r\nHost : x\r\n\r\n" + GET)
        answers = read_answers(await client.rest(), [b"GET"] * 51, closed=True)
        assert [answer.status for answer in answers] == [200] * 50 + [400]
        assert json.loads(answers[-1].body)["reason"] == "bad_request"
        client.close()


@on_both_loops
async def test_a_pod_killed_under_concurrent_gets_loses_none() -> None:
    """Those in flight are asked again of the other pod."""

    async def handle(connection: Connection) -> None:
        await answering(connection, delay=0.01)

    async with running(Limits(concurrency=4, depth=1000)) as plane, aiohttp.ClientSession() as session:
        first = await plane.pod(handle)
        await plane.pod(handle)

        async def one() -> int:
            async with session.get(plane.url) as response:
                assert await response.read() == b"ok"
                return response.status

        async def load() -> list[int]:
            return [await one() for _ in range(10)]

        tasks = [asyncio.create_task(load()) for _ in range(16)]
        await eventually(lambda: plane.codes.get(200, 0) > 30)
        await first.kill()
        assert await asyncio.gather(*tasks) == [[200] * 10] * 16
        assert plane.backend.stats.retries


@on_both_loops
async def test_a_pod_that_died_while_its_connections_idled_is_not_noticed_by_clients() -> None:
    """A dead pooled connection, then a refused one, then the other pod."""
    async with running() as plane, aiohttp.ClientSession() as session:
        first = await plane.pod()
        async with session.get(plane.url) as response:
            assert response.status == 200
        second = await plane.pod()
        await first.kill()
        for _ in range(4):
            async with session.post(plane.url, data=b"x") as response:
                assert response.status == 200
        assert second.accepted > 0


@on_both_loops
async def test_a_route_table_swap_leaves_exchanges_in_flight_alone() -> None:
    """They finish on what they began with."""
    go = asyncio.Event()

    async def handle(connection: Connection) -> None:
        await connection.head()
        await go.wait()
        connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await connection.rest()

    async with running() as plane:
        await plane.pod(handle)
        client = await ask(plane, GET)
        await eventually(lambda: plane.backend.in_flight == 1)
        plane.gateway.table = type(plane.gateway.table)(())
        plane.gateway.apply(plane.backend, plane.backend.remove(plane.gateway.now()))
        go.set()
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        await client.exactly(2)
        client.say(GET)
        assert (await client.head()).startswith(b"HTTP/1.1 404 ")
        client.close()


@on_both_loops
async def test_a_flood_of_tiny_pipelined_requests_ends_well() -> None:
    """2,000 in one packet, every one answered."""
    async with running() as plane:
        await plane.pod()
        client = await ask(plane, GET * 2000)
        data = b""
        while data.count(b"HTTP/1.1 200 OK") < 2000 or not data.endswith(b"ok"):
            data += await client.reader.read(MEGABYTE)
        assert {answer.body for answer in read_answers(data, [b"GET"] * 2000)} == {b"ok"}
        client.close()
