"""A gateway's real cores and imitated pods, on the loop's clock, for tests of the autoscaler's edges in virtual time."""

import asyncio
from collections.abc import Callable, Collection

from autoscaler.hands import OURS
from autoscaler.plan import Milestones, PodState, TargetState, Unknown
from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.beats import BeatMaker
from gateway.breaker import Endpoint, Waiter
from gateway.endpoints import Feed
from gateway.stats import Beat


class SimulatedPods:
    """A Scaler whose pods take `start_seconds` to be ready. `log` tells what was asked of it, in order."""

    def __init__(self, feed: Feed, start_seconds: float = 1.0) -> None:
        self.feeds = [feed]
        """One per gateway."""
        self.start_seconds = start_seconds
        self.replicas = 0
        self.pods: dict[str, PodState] = {}
        self.known: dict[str, Milestones] = {}
        """What is said of how pods came up."""
        self.log: list[str] = []
        self.broken: Exception | None = None
        """Raised by every call while set."""
        self.setter: str | None = None
        """Who has set the count last; None: nobody else can."""
        self.unknown = ""
        """Why nothing is known; empty: something is."""
        self.gate = asyncio.Event()
        """Calls wait for it."""
        self.gate.set()
        self.at_once = 0
        """Calls that are under way."""
        self._born = 0

    def add_feed(self) -> Feed:
        self.feeds.append(Feed(self.feeds[0].backend))
        return self.feeds[-1]

    def observe(self) -> TargetState | Unknown:
        if self.unknown:
            return Unknown(self.unknown)
        return TargetState(self.replicas, tuple(self.pods.values()), setter=self.setter)

    def set_by(self, who: str, replicas: int) -> None:
        """Another hand sets the count, and the newest pods go."""
        self.setter, self.replicas = who, replicas
        for uid in list(self.pods)[replicas:]:
            del self.pods[uid]
        self._fill()

    def milestones(self, uid: str) -> Milestones | None:
        return self.known.get(uid)

    async def drain(self, uids: Collection[str]) -> None:
        await self._call(f"drain {' '.join(uids)}")
        self._mark(uids, draining=True)

    async def undrain(self, uids: Collection[str]) -> None:
        await self._call(f"undrain {' '.join(uids)}")
        self._mark(uids, draining=False)

    async def scale(self, replicas: int, remove: Collection[str]) -> None:
        await self._call(f"scale {self.replicas}->{replicas}" + "".join(f" -{uid}" for uid in remove))
        for uid in remove:
            del self.pods[uid]
        self.replicas = replicas
        if self.setter is not None:
            self.setter = OURS
        self._fill()

    def _fill(self) -> None:
        while len(self.pods) < self.replicas:
            self._begin()
        self._publish()

    async def _call(self, what: str) -> None:
        assert not self.at_once, "two calls at once"
        self.at_once += 1
        try:
            await self.gate.wait()
            if self.broken is not None:
                raise self.broken
            self.log.append(what)
        finally:
            self.at_once -= 1

    def _begin(self) -> None:
        self._born += 1
        uid = f"pod-{self._born}"
        self.pods[uid] = PodState(uid, ready=False, draining=False)
        asyncio.get_running_loop().call_later(self.start_seconds, self._ready, uid)

    def _ready(self, uid: str) -> None:
        if uid in self.pods:
            self.pods[uid] = PodState(uid, ready=True, draining=self.pods[uid].draining)
            self._publish()

    def _mark(self, uids: Collection[str], *, draining: bool) -> None:
        for uid in uids:
            self.pods[uid] = PodState(uid, self.pods[uid].ready, draining)
        self._publish()

    def _publish(self) -> None:
        pods = self.pods.values()
        infos = [EndpointInfo(pod.uid, "127.0.0.1", 1, pod.ready, pod.draining) for pod in pods]
        for feed in self.feeds:
            feed.publish(infos)


class SimulatedGateway:
    """One Backend, its requests and its beats."""

    def __init__(
        self,
        backend: str,
        feed: Feed,
        receive: Callable[[Beat], None],
        concurrency: int = 2,
        name: str = "gw-1",
    ) -> None:
        self._loop = asyncio.get_running_loop()
        limits = Limits(concurrency, depth=1000)
        self.backend: Backend = Backend(backend, limits, self._loop.time())
        self.answered = 0
        self.killed: list[Endpoint] = []
        """Pods that went while they had requests; there shall be none."""
        self._receive = receive
        self._maker = BeatMaker(name, self._loop.time())
        self._beating = self._loop.create_task(self._beat())
        feed.subscribe(self._on_news)

    async def request(self, seconds: float) -> None:
        """One request that a pod works on for `seconds`."""
        endpoint = self.backend.enter(self._loop.time())
        if endpoint is None:
            granted: asyncio.Future[Endpoint] = self._loop.create_future()
            self.backend.wait(Waiter(granted, self._loop.time()), self._loop.time())
            self._nudge()
            endpoint = await granted
        await asyncio.sleep(seconds)
        self._hand_out(self.backend.leave(endpoint, self._loop.time()))
        self.answered += 1

    async def clients(self, count: int, until: float, seconds: float = 0.5) -> None:
        """`count` clients, each with one request after the other until the loop's clock says `until`."""

        async def client() -> None:
            while self._loop.time() < until:
                await self.request(seconds)

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(client())

    async def stop(self) -> None:
        self._beating.cancel()
        await asyncio.gather(self._beating, return_exceptions=True)

    def _on_news(self, news: Endpoints) -> None:
        verdict = self.backend.update(news, self._loop.time())
        self.killed += [endpoint for endpoint in verdict.gone if endpoint.in_flight]
        self._hand_out(verdict.granted)
        self._nudge()

    def _hand_out(self, granted: list[tuple[Waiter, Endpoint]]) -> None:
        for waiter, endpoint in granted:
            waiter.request.set_result(endpoint)

    def _nudge(self) -> None:
        if self.backend.nudge_due:
            self.backend.nudge_due = False
            self._receive(self._maker.nudge(self.backend))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._receive(self._maker.beat([self.backend], self._loop.time()))
