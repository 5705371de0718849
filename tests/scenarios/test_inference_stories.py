"""Rollovers with everything that decides, in virtual time: `wanted`, the autoscaler's loop, gateways' cores, imitated pods, clients without a pause."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from autoscaler.collector import Collector
from autoscaler.controller import Controller
from autoscaler.inference.shapes import Json, Observed
from autoscaler.inference.wanted import wanted
from autoscaler.server import spec_of
from gateway.beats import BeatMaker
from gateway.config.models import BackendConfig
from gateway.endpoints import Feed
from gateway.stats import Beat
from tests.inferences import SETTINGS, SHIPPED, isvc
from tests.simulated import SimulatedGateway, SimulatedPods

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


class Door(SimulatedGateway):
    """One of a gateway's Backends; the gateway tells of all of them in one beat."""

    def __init__(self, name: str, feed: Feed, receive: Callable[[Beat], None], maker: BeatMaker) -> None:
        super().__init__(name, feed, receive)
        self._maker = maker

    async def _beat(self) -> None:
        await asyncio.Event().wait()


class Revision:
    """A Deployment, its pods, and the gateway's Backend for it."""

    def __init__(self, name: str, item: Json, controller: Controller, maker: BeatMaker) -> None:
        feed = Feed(name)
        self.item = item
        self.pods = SimulatedPods(feed, start_seconds=5.0)
        self.gateway = Door(name, feed, controller.receive, maker)
        self.pods.replicas = item["spec"].pop("replicas")
        self.pods._fill()

    @property
    def observed(self) -> Json:
        states = self.pods.pods.values()
        status = {"replicas": len(states), "readyReplicas": sum(pod.ready for pod in states)}
        return {**self.item, "spec": {**self.item["spec"], "replicas": self.pods.replicas}, "status": status}


class World:
    """One InferenceService."""

    def __init__(self, service: Json) -> None:
        self._loop = asyncio.get_running_loop()
        self.service = service
        self.controller = Controller(Collector(), self._loop.time)
        self._maker = BeatMaker("gw-1", self._loop.time())
        self.revisions: dict[str, Revision] = {}
        self.gone: list[Revision] = []
        self.most = 0
        self.waits: list[float] = []
        self._split: dict[str, int] = {}
        self._turns: dict[str, float] = {}

    @property
    def pods(self) -> dict[str, int]:
        """By image."""
        return {
            revision.item["spec"]["template"]["spec"]["containers"][0]["image"]: len(revision.pods.pods)
            for revision in self.revisions.values()
        }

    def reconcile(self) -> None:
        there = [revision.observed for revision in self.revisions.values()]
        answer = wanted(self.service, SHIPPED, Observed(there), SETTINGS, 1e9 + self._loop.time())
        self.service["status"] = answer.status
        named = {item["metadata"]["name"]: item for item in answer.objects if item["kind"] == "Deployment"}
        for name, item in named.items():
            if name in self.revisions:
                self.revisions[name].item = item
            else:
                self.revisions[name] = Revision(name, item, self.controller, self._maker)
        assert answer.document is not None
        for name, config in answer.document["backends"].items():
            backend = BackendConfig.model_validate(config)
            revision = self.revisions[name.partition(".")[2]]
            self.controller.put(name.partition(".")[2], spec_of(backend, runs_command=False), revision.pods)
        for name in self.revisions.keys() - named.keys():
            self.gone.append(self.revisions.pop(name))
            assert not self.gone[-1].pods.pods
            self.controller.drop(name)
        self._split = {k.partition(".")[2]: v for k, v in answer.document["routes"][0]["split"].items()}
        self.most = max(self.most, sum(len(r.pods.pods) for r in self.revisions.values()))

    async def run(self) -> None:
        while True:
            self.reconcile()
            await asyncio.sleep(1.0)
            backends = [revision.gateway.backend for revision in self.revisions.values()]
            self.controller.receive(self._maker.beat(backends, self._loop.time()))

    async def clients(self, count: int, until: float) -> None:
        """Each with one request of half a second after the other."""

        async def client() -> None:
            while self._loop.time() < until:
                began = self._loop.time()
                await self.revisions[self._turn()].gateway.request(0.5)
                self.waits.append(self._loop.time() - began - 0.5)

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(client())

    def _turn(self) -> str:
        total = sum(self._split.values())
        turns = {
            name: self._turns.get(name, 0.0) + weight / total
            for name, weight in self._split.items()
            if weight
        }
        name = max(turns, key=lambda name: turns[name])
        self._turns = {**turns, name: turns[name] - 1}
        return name


@asynccontextmanager
async def a_world(**predictor: Any) -> AsyncIterator[World]:
    world = World(isvc(containerConcurrency=2, **predictor))
    world.reconcile()
    world.controller.start()
    running = asyncio.get_running_loop().create_task(world.run())
    try:
        yield world
        assert [r.gateway.killed for r in (*world.revisions.values(), *world.gone)] == [[]] * (
            len(world.gone) + 1
        )
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await world.controller.stop()
        for revision in (*world.revisions.values(), *world.gone):
            await revision.gateway.stop()


async def test_a_rollover_under_load_loses_nothing_and_makes_nobody_wait() -> None:
    """Eight clients on pods for two: none waits longer than one request in front of it, and at the end there is the new revision alone."""
    async with a_world(minReplicas=1, maxReplicas=12) as world:
        load = asyncio.get_running_loop().create_task(world.clients(8, until=500))
        await asyncio.sleep(150)
        assert world.pods == {"flowers:1": 6}
        world.waits.clear()
        world.service["spec"]["predictor"]["containers"][0]["image"] = "flowers:2"
        await load
        assert len(world.waits) > 5000
        assert max(world.waits) <= 0.5
        assert world.pods == {"flowers:2": 6}


async def test_without_surge_there_are_never_more_pods_and_all_are_answered() -> None:
    """Six pods are replaced one by one while they work."""
    strategy = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    async with a_world(minReplicas=6, maxReplicas=6, deploymentStrategy=strategy) as world:
        load = asyncio.get_running_loop().create_task(world.clients(8, until=500))
        await asyncio.sleep(100)
        world.waits.clear()
        world.service["spec"]["predictor"]["containers"][0]["image"] = "flowers:2"
        await load
        assert world.most == 6
        assert max(world.waits) <= 1.0
        assert world.pods == {"flowers:2": 6}


async def test_one_that_sleeps_is_replaced_by_one_that_has_shown_that_it_starts() -> None:
    """Then both have no pods, and the next request wakes the new one."""
    async with a_world(minReplicas=0) as world:
        await asyncio.sleep(300)
        assert world.pods == {"flowers:1": 0}
        world.service["spec"]["predictor"]["containers"][0]["image"] = "flowers:2"
        await asyncio.sleep(300)
        assert world.pods == {"flowers:2": 0}
        await world.clients(1, until=asyncio.get_running_loop().time() + 10)
        assert max(world.waits) < 8


async def test_one_pod_without_surge_gives_its_place_to_the_next_while_requests_wait() -> None:
    """The old one's seconds to be idle and the new one's to start, and all are answered."""
    strategy = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    async with a_world(minReplicas=1, maxReplicas=1, deploymentStrategy=strategy) as world:
        load = asyncio.get_running_loop().create_task(world.clients(2, until=200))
        await asyncio.sleep(50)
        world.waits.clear()
        world.service["spec"]["predictor"]["containers"][0]["image"] = "flowers:2"
        await load
        assert world.most == 1
        assert world.pods == {"flowers:2": 1}
        assert max(world.waits) < 25


async def test_a_canary_under_load_is_promoted_without_anybody_waiting() -> None:
    """A tenth of the traffic first, then all of it."""
    async with a_world(minReplicas=1, maxReplicas=12) as world:
        load = asyncio.get_running_loop().create_task(world.clients(8, until=600))
        await asyncio.sleep(150)
        world.waits.clear()
        predictor = world.service["spec"]["predictor"]
        predictor["containers"][0]["image"], predictor["canaryTrafficPercent"] = "flowers:2", 10
        await asyncio.sleep(150)
        assert sorted(world._split.values()) == [1, 9]
        del predictor["canaryTrafficPercent"]
        await load
        assert world.pods == {"flowers:2": 6}
        assert max(world.waits) <= 0.5
