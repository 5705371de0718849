"""Health checks: what a row of them means, and that they are spread, bounded and made only of pods that somebody relies on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from gateway.endpoint import Endpoint
from gateway.health import AT_ONCE, Checker
from gateway.tally import HealthCheck, Tally
from tests.eventually import eventually

CHECK = HealthCheck("/health", interval=0.1, timeout=1.0, unhealthy=2, healthy=2)


def test_a_row_of_checks_means_something_once_it_is_long_enough() -> None:
    """One that breaks it begins another."""
    tally = Tally(0.0)
    check = HealthCheck("/", unhealthy=3, healthy=2)
    rows = [tally.count(check, passed=passed == "+") for passed in "-+---+-++---"]
    assert rows == [None, None, None, None, False, None, None, None, True, None, None, False]


@asynccontextmanager
async def pod(status: Callable[[bytes], int]) -> AsyncIterator[tuple[Endpoint, list[bytes]]]:
    """A pod that answers each check with a status, and the lines that it was asked with."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0]
        asked.append(line)
        writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\n\r\n" % status(line))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    endpoint = Endpoint("a", "127.0.0.1", server.sockets[0].getsockname()[1])
    endpoint.ready = True
    try:
        yield endpoint, asked
    finally:
        server.close()
        await server.wait_closed()


async def test_a_pod_that_fails_is_told_of_and_one_that_passes_again() -> None:
    """After as many checks as are asked for."""
    status = 503
    told: list[str | None] = []
    checker = Checker()
    async with pod(lambda _: status) as (endpoint, asked):
        checker.follow("iris", CHECK, lambda: [endpoint], lambda _, why: told.append(why))
        assert repr(checker) == "<Checker of ['iris'], 0 asked>"
        await eventually(lambda: told)
        assert told[0] == "failed 2 health checks in a row (GET /health)"
        assert set(asked) == {b"GET /health HTTP/1.1"}
        status = 204
        await eventually(lambda: told[-1] is None)
        checker.follow("iris", None, list, lambda *_: None)
        assert repr(checker).startswith("<Checker of []")
    checker.stop()


async def test_nobody_asks_pods_that_nobody_relies_on() -> None:
    """Those that start, go, or refuse connections: others look at these."""
    checker = Checker()
    async with pod(lambda _: 200) as (endpoint, asked):
        others = [
            Endpoint(mark, endpoint.host, endpoint.port) for mark in ("starting", "draining", "suspect")
        ]
        others[1].ready = others[1].draining = others[2].ready = True
        others[2].out["connect"] = ""
        passed: list[Any] = []
        everybody = [*others, endpoint]
        checker.follow("iris", CHECK, lambda: everybody, lambda pod, why: passed.append((pod, why)))
        checker.follow("iris", CHECK, list, lambda *_: None)  # the same again changes nothing
        await eventually(lambda: len(passed) > 3)
        assert set(passed) == {(endpoint, None)}
        assert len(asked) >= 4
    checker.stop()


async def test_many_pods_are_asked_a_few_at_a_time() -> None:
    """However many are due."""
    checker = Checker()
    open_now = most = 0
    done: set[Endpoint] = set()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.01)
        open_now -= 1
        writer.write(b"HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    pods = [Endpoint(f"{n}", "127.0.0.1", server.sockets[0].getsockname()[1]) for n in range(500)]
    for one in pods:
        one.ready = True
    check = HealthCheck("/", interval=0.1, timeout=10.0, healthy=1)
    checker.follow("iris", check, lambda: pods, lambda one, _: done.add(one))
    await eventually(lambda: len(done) == len(pods), 20)
    checker.stop()
    server.close()
    assert 1 < most <= AT_ONCE
