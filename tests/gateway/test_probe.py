"""Readiness attempts against real sockets, and the waits between them."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.probe import fault, intervals, probe


@contextlib.asynccontextmanager
async def answering(answer: bytes, heard: list[bytes] | None = None) -> AsyncIterator[int]:
    """A server that reads a request's head, answers with these bytes and hangs up; yields its port."""
    served: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            if heard is not None:
                heard.append(head)
            writer.write(answer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*filter(None, served))


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", True, id="200"),
        pytest.param(b"HTTP/1.1 204\r\n\r\n", True, id="204 without a reason"),
        pytest.param(b"HTTP/1.0 399 Odd\r\n\r\n", True, id="399"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", True, id="an interim answer first"
        ),
        pytest.param(
            b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 503 No\r\n\r\n", False, id="interim, then 503"
        ),
        pytest.param(b"HTTP/1.1 400 Bad\r\n\r\n", False, id="400"),
        pytest.param(b"HTTP/1.1 503 Loading\r\n\r\n", False, id="503"),
        pytest.param(b"HTTP/1.1 20", False, id="cut short"),
        pytest.param(b"HTTP/1.1 abc\r\n\r\n", False, id="no number"),
        pytest.param(b"SSH-2.0-OpenSSH 200\r\n", False, id="not HTTP"),
        pytest.param(b"x" * 200_000, False, id="a line without end"),
        pytest.param(b"\xff\xfe \x00\r\n", False, id="noise"),
        pytest.param(b"", False, id="nothing"),
    ],
)
async def test_only_2xx_and_3xx_are_ready(answer: bytes, ready: bool) -> None:
    """A final status of 2xx or 3xx is ready; whatever else comes back is not, and raises nothing."""
    async with answering(answer) as port:
        assert await probe("127.0.0.1", port, "/ready", 10.0) is ready


async def test_the_request_names_path_and_host() -> None:
    """The attempt is one complete HTTP/1.1 request that asks for the connection to be closed."""
    heard: list[bytes] = []
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n", heard) as port:
        await probe("127.0.0.1", port, "/v2/health/ready?deep=1", 10.0)
    head = heard[0].decode()
    assert head.startswith("GET /v2/health/ready?deep=1 HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{port}\r\n" in head
    assert "\r\nConnection: close\r\n" in head


async def test_without_a_path_an_open_port_is_ready() -> None:
    """No bytes are exchanged: accepting the connection is enough."""
    heard: list[bytes] = []
    async with answering(b"SSH-2.0-OpenSSH\r\n", heard) as port:
        assert await probe("127.0.0.1", port, None, 10.0)
    assert heard == []


@pytest.mark.parametrize("path", [None, "/ready"])
async def test_a_closed_port_is_not_ready(path: str | None) -> None:
    """A refused connection is the usual answer of a pod that has just been started."""
    async with answering(b"") as port:
        pass
    assert not await probe("127.0.0.1", port, path, 10.0)


async def test_a_host_that_cannot_be_resolved_is_not_ready() -> None:
    """A name that is not even a name raises nothing."""
    assert not await probe("a" * 64 + "..", 80, None, 10.0)


async def silent_server() -> tuple[asyncio.Server, asyncio.Event, asyncio.Event]:
    """A server that accepts and says nothing, and the events of a connection made and lost."""
    made, lost = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        lost.set()

    return await asyncio.start_server(serve, "127.0.0.1", 0), made, lost


async def test_a_server_that_does_not_answer_is_not_ready_after_the_timeout() -> None:
    """An attempt ends by itself, and its connection with it."""
    server, _, lost = await silent_server()
    async with server:
        assert not await probe("127.0.0.1", server.sockets[0].getsockname()[1], "/ready", 0.05)
        await asyncio.wait_for(lost.wait(), 10.0)


async def test_cancelling_an_attempt_closes_its_connection() -> None:
    """Only cancellation comes through, and it leaves no socket behind."""
    server, made, lost = await silent_server()
    async with server:
        attempt = asyncio.create_task(probe("127.0.0.1", server.sockets[0].getsockname()[1], "/ready", 60.0))
        await asyncio.wait_for(made.wait(), 10.0)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await asyncio.wait_for(lost.wait(), 10.0)


def test_the_waits_grow_with_the_time_waited() -> None:
    """5 ms up to a quarter of a second, then 2 % of the time waited so far, never more than a second."""
    waited = 0.0
    for wait in itertools.islice(intervals(), 1000):
        assert wait == pytest.approx(min(1.0, max(0.005, 0.02 * waited)))
        waited += wait


def test_a_minute_costs_a_few_hundred_attempts() -> None:
    """Whoever starts slowly is not hammered: 50 attempts in the first quarter of a second, 350 in the first minute."""
    times = list(itertools.takewhile(lambda at: at < 60.0, itertools.accumulate(intervals())))
    assert len([at for at in times if at < 0.25]) in (49, 50)
    assert 300 < len(times) < 400


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 404 No\r\n\r\n", "GET /nope at {at} answers 404"),
        (b"", "GET /nope at {at}: closed the connection before it answered"),
        (b"SSH-2.0-OpenSSH 200\r\n", "GET /nope at {at}: answers what is no HTTP/1"),
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
    ],
)
async def test_what_was_got_is_told_in_words(answer: bytes, words: str | None) -> None:
    """For those who wait for the pod."""
    async with answering(answer) as port:
        told = words and words.format(at=f"127.0.0.1:{port}")
        assert await fault("127.0.0.1", port, "/nope", 10.0) == told


async def test_a_refusal_and_a_silence_are_told_in_words() -> None:
    """Without a path the port alone was asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        at = f"127.0.0.1:{port}"
        assert await fault("127.0.0.1", port, "/", 0.01) == f"GET / at {at}: no answer within 0.01 s"
    assert await fault("127.0.0.1", port, None, 10.0) == f"{at}: connection refused"


async def test_an_address_of_ipv6_stands_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers refuse a Host that ends in one number too many."""
    heard: list[bytes] = []
    connect = asyncio.open_connection
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n", heard) as port:
        monkeypatch.setattr(asyncio, "open_connection", lambda _host, port: connect("127.0.0.1", port))
        assert await probe("fd00::1", port, "/ready", 10.0)
    assert f"\r\nHost: [fd00::1]:{port}\r\n".encode() in heard[0]
