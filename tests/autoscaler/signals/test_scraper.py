"""Scraping pods' pages, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from autoscaler.plan import Unknown
from autoscaler.signals import scraper as module
from autoscaler.signals.asked import NoValueError, PodAt, PodMetric
from autoscaler.signals.scraper import AT_ONCE_EACH, LARGEST_PAGE, Pages, Scraper
from gateway.tls import Trust, load_trust
from tests.autoscaler.signals.stage import Clock, ModelServer, Told, pods
from tests.certificates import Authority
from tests.eventually import eventually

DEPTH = PodMetric("pod depth", "depth")


@pytest.fixture
async def scraper() -> AsyncIterator[Scraper]:
    made = Scraper()
    yield made
    await made.close()


class Scene:
    """One Backend's page."""

    def __init__(self, scraper: Scraper, there: Sequence[PodAt] | Unknown, *asked: PodMetric) -> None:
        self.there = there
        self.told = Told()
        self.clock = Clock()
        self.pages = Pages(
            "iris", asked or (DEPTH,), lambda: self.there, scraper=scraper, sink=self.told, clock=self.clock
        )


async def test_the_pods_values_are_told_as_one(scraper: Scraper) -> None:
    """With the time of the clock."""
    async with pods(ModelServer("depth 2\n"), ModelServer("depth 3\n")) as there:
        scene = Scene(scraper, there)
        await scene.pages.round()
    assert scene.told.samples == [("iris", "pod depth", 5.0)]
    assert scene.told.times == [1000.0]
    assert scene.told.failures == []


async def test_a_pod_is_asked_once_for_several_metrics(scraper: Scraper) -> None:
    """Each metric is told of its own."""
    server = ModelServer('depth{kind="a"} 2\ndepth{kind="b"} 3\nrunning 7\n')
    only_b = PodMetric("pod b", "depth", labels=(("kind", "b"),))
    gone = PodMetric("pod gone", "gone", labels=(("kind", "b"),))
    async with pods(server) as there:
        scene = Scene(scraper, there, DEPTH, only_b, PodMetric("pod running", "running"), gone)
        await scene.pages.round()
    assert server.asked == 1
    assert scene.told.samples == [
        ("iris", "pod depth", 5.0),
        ("iris", "pod b", 3.0),
        ("iris", "pod running", 7.0),
    ]
    assert scene.told.failures == [("iris", "pod gone", 'pod p0: its page /metrics has no gone{kind="b"}')]


async def test_a_counter_takes_two_rounds(scraper: Scraper) -> None:
    """The time between is that of the clock."""
    server = ModelServer("done_total 10\n")
    async with pods(server) as there:
        scene = Scene(scraper, there, PodMetric("pod done", "done_total", rate=True))
        await scene.pages.round()
        server.page = "done_total 30\n"
        scene.clock.now += 4.0
        await scene.pages.round()
    assert scene.told.reasons == ["pod p0: was asked only once so far, and a rate needs two answers"]
    assert scene.told.values == [5.0]


async def test_path_and_port_may_be_others(scraper: Scraper) -> None:
    """A sidecar's page; the path may have a query."""
    server = ModelServer("depth 4\n", path="/stats/prometheus")
    async with server.serving() as port:
        asked = PodMetric("pod depth", "depth", path="/stats/prometheus?usedonly", port=port)
        scene = Scene(scraper, [PodAt("p0", "127.0.0.1", unused_port())], asked)
        await scene.pages.round()
    assert scene.told.values == [4.0]


async def test_without_pods_the_value_is_zero(scraper: Scraper) -> None:
    """Nothing waits in no pod."""
    scene = Scene(scraper, [])
    await scene.pages.round()
    assert scene.told.values == [0.0]


async def test_pods_that_are_not_known_are_no_zero(scraper: Scraper) -> None:
    """The cluster has not told yet."""
    scene = Scene(scraper, Unknown("deployment models/iris is not known yet"), DEPTH, PodMetric("pod x", "x"))
    await scene.pages.round()
    assert scene.told.failures == [
        ("iris", "pod depth", "deployment models/iris is not known yet"),
        ("iris", "pod x", "deployment models/iris is not known yet"),
    ]


async def test_a_pod_that_refuses_is_named(scraper: Scraper) -> None:
    """And the address that was asked."""
    port = unused_port()
    scene = Scene(scraper, [PodAt("iris-1", "127.0.0.1", port)])
    await scene.pages.round()
    (reason,) = scene.told.reasons
    assert reason.startswith(f"pod iris-1: http://127.0.0.1:{port}/metrics: ")
    assert "connect" in reason.lower()


@pytest.mark.parametrize("status", [404, 500, 302])
async def test_a_status_that_is_no_200_is_a_failure(scraper: Scraper, status: int) -> None:
    """A redirect is not followed."""
    server = ModelServer("depth 1\n")
    server.status = status
    async with pods(server) as there:
        scene = Scene(scraper, there)
        await scene.pages.round()
    assert f"/metrics answered {status} " in scene.told.reasons[0]
    assert server.asked == 1


async def test_a_slow_pod_costs_its_own_answer_only(scraper: Scraper) -> None:
    """The others' average stands for it; the wait ends before the interval does."""
    slow = ModelServer()
    slow.gate.clear()
    async with pods(ModelServer("depth 2\n"), slow) as there:
        scene = Scene(scraper, there, PodMetric("pod depth", "depth", interval=0.2))
        await scene.pages.round()
        assert scene.told.values == [4.0]
        scene.there = there[1:]
        await scene.pages.round()
        slow.gate.set()
    assert scene.told.reasons == [
        f"pod p1: http://127.0.0.1:{there[1].port}/metrics was not there within 0.16 s"
    ]


async def test_a_page_without_end_is_not_read_to_its_end(scraper: Scraper) -> None:
    """A pod's mistake does not fill our memory."""
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"depth_other 1\n" * 4096)
            sent += 4096 * 14

    app = web.Application()
    app.router.add_get("/metrics", endless)
    async with TestServer(app) as server:
        with pytest.raises(NoValueError, match="is longer than 4 MiB"):
            await scraper.get(f"http://127.0.0.1:{server.port}/metrics", None, 10.0, asyncio.Semaphore())
    assert sent < 3 * LARGEST_PAGE


async def test_a_large_page_is_read_off_the_loop(scraper: Scraper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading is the same, wherever it is done."""
    threads: list[Any] = []
    in_thread = asyncio.to_thread

    async def spied(work: Any, *arguments: Any) -> Any:
        threads.append(work)
        return await in_thread(work, *arguments)

    monkeypatch.setattr(module.asyncio, "to_thread", spied)
    async with pods(ModelServer("other 1\n" * 20_000 + "depth 9\n")) as there:
        scene = Scene(scraper, there)
        await scene.pages.round()
    assert scene.told.values == [9.0]
    assert len(threads) == 1


async def test_only_so_many_pods_are_asked_at_once(scraper: Scraper) -> None:
    """Of one Backend; the others wait for their turn."""
    server = ModelServer("depth 1\n")
    server.gate.clear()
    async with server.serving() as port:
        there = [PodAt(f"p{index}", "127.0.0.1", port) for index in range(AT_ONCE_EACH + 10)]
        scene = Scene(scraper, there)
        round_ = asyncio.create_task(scene.pages.round())
        await eventually(lambda: server.open == AT_ONCE_EACH)
        server.gate.set()
        await round_
    assert server.most_open == AT_ONCE_EACH
    assert scene.told.values == [AT_ONCE_EACH + 10.0]


async def test_stuck_pods_keep_no_turn_from_another_backends(scraper: Scraper) -> None:
    """Those that got no turn say so."""
    stuck = ModelServer()
    stuck.gate.clear()
    async with stuck.serving() as port, pods(ModelServer("depth 1\n")) as others:
        fast = PodMetric("pod depth", "depth", interval=0.5)
        there = [PodAt(f"p{index}", "127.0.0.1", port) for index in range(3 * AT_ONCE_EACH)]
        stuck_scene, other = Scene(scraper, there, fast), Scene(scraper, others)
        round_ = asyncio.create_task(stuck_scene.pages.round())
        await eventually(lambda: stuck.open == AT_ONCE_EACH)
        await other.pages.round()
        assert other.told.values == [1.0]
        await round_
        said = await scraper_says(scraper, f"http://127.0.0.1:{port}/metrics")
        stuck.gate.set()
    assert stuck_scene.told.reasons[0].startswith(
        f"pod p0: http://127.0.0.1:{port}/metrics was not there within 0.4 s"
    )
    assert (
        said
        == f"http://127.0.0.1:{port}/metrics could not be asked for, as others take so long, within 0.05 s"
    )


async def scraper_says(scraper: Scraper, url: str) -> str:
    """When all turns are taken."""
    with pytest.raises(NoValueError) as failure:
        await scraper.get(url, None, 0.05, asyncio.Semaphore(0))
    return str(failure.value)


async def test_a_pod_that_speaks_tls_is_asked_over_tls(scraper: Scraper, tmp_path: Path) -> None:
    """And must have the certificate that requests ask for, too."""
    authority = Authority()
    app = web.Application()
    app.router.add_get("/metrics", ModelServer("depth 6\n").answer)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=authority.server("iris.example.com"))
    trusted = Trust("test", "iris.example.com", load_trust(authority.write(tmp_path), verify=True))
    system = Trust("system", None, load_trust(None, verify=True))
    try:
        scene = Scene(scraper, [PodAt("good", "127.0.0.1", server.port or 0, trusted)])
        await scene.pages.round()
        scene.there = [PodAt("bad", "127.0.0.1", server.port or 0, system)]
        await scene.pages.round()
    finally:
        await server.close()
    assert scene.told.values == [6.0]
    assert "certificate" in scene.told.reasons[0].lower()


async def test_it_goes_on_round_after_round_until_it_is_ended(scraper: Scraper) -> None:
    """Of a wait or of a round, whatever it is at."""
    server = ModelServer("depth 1\n")
    async with pods(server) as there:
        scene = Scene(scraper, there, PodMetric("pod depth", "depth", interval=0.02))
        running = asyncio.create_task(scene.pages.run())
        await eventually(lambda: server.asked >= 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()


async def test_its_words_for_people(scraper: Scraper) -> None:
    """What is asked, of whom, how often."""
    scene = Scene(scraper, [], DEPTH)
    assert repr(scene.pages) == "<Pages /metrics of iris: pod depth every 5 s>"
    assert repr(scraper) == "<Scraper open>"
