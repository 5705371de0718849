"""Following all gateways, of which there may be others at any time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from autoscaler import streams
from autoscaler.collector import Collector
from autoscaler.spec import ScalingSpec
from autoscaler.streams import Streams
from gateway.stats import Beat
from tests.eventually import eventually


class Gateway:
    """Sends one beat once it may, and keeps the stream open."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.may = asyncio.Event()
        self.followers = 0

    async def stats(self, request: web.Request) -> web.StreamResponse:
        self.followers += 1
        response = web.StreamResponse()
        try:
            await response.prepare(request)
            await self.may.wait()
            await response.write(Beat(self.name, 1, 1.0, {}).encode())
            await eventually(lambda: request.transport is None or request.transport.is_closing())
        finally:
            self.followers -= 1
        return response

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/v1/stats", self.stats)
        async with TestServer(app) as server:
            yield f"http://127.0.0.1:{server.port}"


class Followed:
    """Streams, and what came of them."""

    def __init__(self) -> None:
        self.collector = Collector()
        self.collector.put("iris", ScalingSpec())
        self.heard: list[tuple[str, str]] = []
        self.streams = Streams(self._receive, self.collector, self.now)

    def _receive(self, beat: Beat, source: str) -> None:
        self.heard.append((beat.gateway, source))
        self.collector.receive(beat, self.now(), source)

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    @property
    def missing(self) -> str:
        return self.collector.observe("iris", ready=1, replicas=1, now=self.now()).missing


async def test_gateways_come_and_go() -> None:
    """Each is followed for as long as it is named, once."""
    first, second, followed = Gateway("gw-1"), Gateway("gw-2"), Followed()
    first.may.set()
    second.may.set()
    async with first.running() as one, second.running() as two:
        followed.streams.follow([one])
        await eventually(lambda: followed.heard == [("gw-1", one)])
        followed.streams.follow([one, two])
        await eventually(lambda: followed.heard[1:] == [("gw-2", two)])
        assert repr(followed.streams) == f"<Streams of {sorted([one, two])}>"
        followed.streams.follow([two])
        await eventually(lambda: (first.followers, second.followers) == (0, 1))
        await followed.streams.stop()


async def test_a_gateway_that_is_named_is_missing_until_it_is_heard_of() -> None:
    """What it has in flight is not known before."""
    gateway, followed = Gateway("gw-1"), Followed()
    async with gateway.running() as url:
        followed.streams.follow([url])
        assert followed.missing == f"gateway at {url} since 0 s"
        gateway.may.set()
        await eventually(lambda: not followed.missing)
        await followed.streams.stop()


async def test_a_gateway_that_is_named_no_more_is_not_waited_for() -> None:
    """It may never have begun."""
    followed = Followed()
    followed.streams.follow([f"http://127.0.0.1:{unused_port()}"])
    followed.streams.follow([])
    assert followed.missing == ""
    await followed.streams.stop()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "autoscaler.streams"]


async def test_limits_that_hold_per_gateway_are_warned_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only with several gateways, and limits."""
    caplog.set_level(logging.WARNING, "autoscaler.streams")
    monkeypatch.setattr(streams, "SEVERAL_FOR", 0.0)
    followed = Followed()
    urls = [f"http://127.0.0.1:{unused_port()}" for _ in range(2)]
    followed.streams.follow(urls[:1])
    followed.streams.check_limits(["iris"])
    followed.streams.follow(urls)
    followed.streams.check_limits([])
    await asyncio.sleep(0.01)
    assert not said(caplog)
    followed.streams.check_limits(["d", "c", "b", "a"])
    await eventually(lambda: said(caplog))
    followed.streams.check_limits(["iris"])
    await asyncio.sleep(0.01)
    (told,) = said(caplog)
    assert told.startswith(
        "there are 2 gateways, and each keeps to `concurrency` on its own: a pod of a, b, c and 1 more may get"
    )
    await followed.streams.stop()


async def test_a_gateway_that_takes_over_from_another_is_nothing_to_warn_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in every upgrade: there are two until the old one has drained."""
    caplog.set_level(logging.WARNING, "autoscaler.streams")
    monkeypatch.setattr(streams, "SEVERAL_FOR", 0.05)
    followed = Followed()
    urls = [f"http://127.0.0.1:{unused_port()}" for _ in range(2)]
    followed.streams.follow(urls)
    followed.streams.check_limits(["iris"])
    followed.streams.follow(urls[1:])
    followed.streams.check_limits(["iris"])
    await asyncio.sleep(0.1)
    assert not said(caplog)
    await followed.streams.stop()
