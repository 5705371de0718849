"""Wires collector, controller and Scalers from a Config: inside of `tidegate up`, or as a process of its own.

`Autoscaler` is what both have in common. In `up` the gateway's server gives it the feeds of its Backends, hands it every beat
(`receive`), and tells it of a new configuration after having taken it over itself (`reload`). `run` is the process of its
own: it follows the gateways' streams, has its own admin side, and watches the file.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from autoscaler.admin import make_app
from autoscaler.collector import Collector
from autoscaler.controller import Controller
from autoscaler.metrics import AutoscalerCollector
from autoscaler.plan import Scaler
from autoscaler.processes import LocalPods
from autoscaler.scalers import FixedScaler, LocalPodsMaker, template_of
from autoscaler.spec import ScalingSpec
from autoscaler.subscription import subscribe
from autoscaler.target import LONGEST_RETIREMENT, SETTLED_AFTER
from gateway.config import Address, BackendConfig, Config, ConfigError, Overrides, check_role, load, watch
from gateway.ending import Ending
from gateway.endpoints import Feed
from gateway.stats import Beat

logger = logging.getLogger(__name__)

_AT_ONCE = 10
"""Backends that are taken over in one turn of the loop."""


def spec_of(backend: BackendConfig, *, runs_command: bool, reachable: bool = True) -> ScalingSpec:
    """`runs_command`: its pods are processes of this machine; `reachable`: some Route names it."""
    return ScalingSpec(**asdict(backend.resolved_scale(runs_command=runs_command)), reachable=reachable)


@dataclass(frozen=True, slots=True)
class _Local:
    """One Backend's local pods, and the feed that they publish into, which passes it on for as long as they are the ones."""

    pods: LocalPods
    relay: Feed

    def publish_into(self, feed: Feed) -> None:
        """A gateway that took a Backend out and in again has another feed for it."""
        self.relay.subscribe(lambda news: feed.publish(news.pods, news.cannot_start))

    async def stop(self) -> None:
        """End the pods; their last news must not overwrite that of whoever came after them."""
        self.relay.subscribe(lambda _: None)
        await self.pods.stop()


class Autoscaler:
    """The autoscaler of one Config, on the running loop."""

    def __init__(self, config: Config, feeds: Mapping[str, Feed] | None = None) -> None:
        """`feeds`: by Backend, where the pods of commands are published; without it commands are not run.

        It is read again at each `reload`, and must by then hold what the new configuration names.
        """
        loop = asyncio.get_running_loop()
        ahead = time.time() - loop.time()
        self.collector = Collector()
        self.controller = Controller(self.collector, lambda: loop.time() + ahead)
        self._config = config
        self._feeds = feeds
        self._maker = LocalPodsMaker(self._idle)
        self._local: dict[str, _Local] = {}
        self._leaving: set[LocalPods] = set()
        """Those whose Backend has fixed URLs now: they live on until their last request is over."""
        self._retiring: dict[tuple[str, str], float] = {}
        """When LocalPods first asked about each pod that it replaces."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take over the configuration and begin to decide."""
        await self._take_over(self._config)
        self.controller.start()

    async def reload(self, config: Config) -> None:
        """Take over another configuration. What stayed keeps its pods and data; what went is drained in the background."""
        await self._take_over(config)

    async def stop(self) -> None:
        """Decide no more, and end all pods."""
        await self.controller.stop()
        pods = [*(local.pods for local in self._local.values()), *self._leaving]
        await asyncio.gather(*self._tasks, *(each.stop() for each in pods))

    def kill(self) -> None:
        """End all pods and whatever they started, without waiting, for a process that is about to end at once."""
        self._maker.kill()

    def receive(self, beat: Beat, source: str = "") -> None:
        """Take in a gateway's beat or nudge."""
        self.controller.receive(beat, source)

    def decisions(self) -> dict[str, tuple[int, str]]:
        """By Backend: the replicas wanted, and why."""
        targets = self.controller.targets.values()
        decided = {t.name: (t.decision.desired, t.decision.reason) for t in targets if t.decision is not None}
        return decided | {t.name: (t.wish or 0, t.waiting_for) for t in targets if t.waiting_for}

    # -- what the configuration names

    async def _take_over(self, config: Config) -> None:
        self._config = config
        reachable = {name for route in config.routes for name in route.split}
        for index, (name, backend) in enumerate(config.backends.items(), start=1):
            scaler = self._scaler(name, backend)
            spec = spec_of(backend, runs_command=name in self._local, reachable=name in reachable)
            self.controller.put(name, spec, scaler)
            if index % _AT_ONCE == 0:
                await asyncio.sleep(0)
        for name in self.controller.targets.keys() - config.backends.keys():
            if name not in self._local:
                self._begin(self.controller.drop(name).stop())
            elif self.controller.targets[name].removed_at is None:
                self._begin(self._remove(name, self.controller.retire(name)))

    def _scaler(self, name: str, backend: BackendConfig) -> Scaler:
        feed = None if self._feeds is None else self._feeds[name]
        if feed is None or backend.target.command is None:
            if name in self._local:
                self._leave(name, self._local.pop(name))
            return FixedScaler(len(backend.target.urls or ()), feed)
        local = self._local.get(name)
        if local is None:
            relay = Feed(name)
            config = self._config
            pods = self._maker.make(name, backend, relay, config.base_dir, config.log_path)
            local = self._local[name] = _Local(pods, relay)
        else:
            local.pods.reconfigure(template_of(backend, self._config.base_dir))
        local.publish_into(feed)
        return local.pods

    async def _remove(self, name: str, gone: asyncio.Future[bool]) -> None:
        if await gone and self.controller.targets[name].removed_at is not None:
            await self.controller.drop(name).stop()
            await self._local.pop(name).stop()

    def _leave(self, name: str, local: _Local) -> None:
        local.relay.subscribe(lambda _: None)  # the Backend's feed is another's now
        for pod in local.pods.pods:
            # What was said of it while it was in the feed proves nothing.
            self._retiring.pop((name, pod.uid), None)
        self._leaving.add(local.pods)
        self._begin(self._end(local.pods))

    async def _end(self, pods: LocalPods) -> None:
        await pods.retire()
        self._leaving.discard(pods)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _idle(self, name: str, uid: str) -> bool:
        """Whether all gateways have said, since this was first asked, that the pod drains and has no request.

        Of a pod that the feed has no more they say nothing; then it is enough that they have no request that is at none
        of those in the feed. As for a removed Backend, that is not waited for without end.
        """
        now = self.controller.clock()
        asked = self._retiring.setdefault((name, uid), now)
        if self._tells_of(name, uid):
            idle = self.collector.drained(name, uid, asked)
        else:
            overdue = now - asked > LONGEST_RETIREMENT
            idle = overdue or self.collector.left_alone(name, asked + SETTLED_AFTER)
        if idle:
            del self._retiring[name, uid]
        return idle

    def _tells_of(self, name: str, uid: str) -> bool:
        feed = (self._feeds or {}).get(name)
        return feed is not None and any(pod.uid == uid for pod in feed.latest.pods)

    def __repr__(self) -> str:
        return f"<Autoscaler {self.controller} {list(self._local.values())}>"


# -- a process of its own


async def run(config_path: Path, overrides: Overrides | None = None) -> int:
    """`tidegate autoscaler`: until SIGTERM or SIGINT. Returns the exit code: 2 when it could not start, with why on stderr."""
    try:
        config = await asyncio.to_thread(_load, config_path, overrides)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 (one line per problem, for the person who started it)
        return 2
    autoscaler = Autoscaler(config)
    try:
        admin = await _listen(autoscaler.controller, config.autoscaler.admin)
    except OSError as error:
        words = error.strerror or str(error)
        print(f"cannot listen on {config.autoscaler.admin} (autoscaler.admin): {words}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        await _serve(autoscaler, config, overrides)
    finally:
        await admin.cleanup()
    return 0


def _load(path: Path, overrides: Overrides | None) -> Config:
    config = load(path, overrides)
    if problems := check_role(config, "autoscaler"):
        raise ConfigError(problems)
    return config


async def _listen(controller: Controller, address: Address) -> web.AppRunner:
    registry = CollectorRegistry()
    registry.register(AutoscalerCollector(controller))
    runner = web.AppRunner(make_app(controller, registry), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, address.host or None, address.port).start()
    except OSError:
        await runner.cleanup()
        raise
    logger.info("admin on %s", ", ".join(f"http://{host}:{port}" for host, port, *_ in runner.addresses))
    return runner


async def _serve(autoscaler: Autoscaler, config: Config, overrides: Overrides | None) -> None:
    loop = asyncio.get_running_loop()
    ending = Ending()
    streams = _Streams(autoscaler)
    streams.follow(config.gateway_urls)
    await autoscaler.start()
    watching = loop.create_task(_follow_file(autoscaler, streams, config, overrides))
    try:
        await ending.wait()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await streams.stop()
        await autoscaler.stop()


async def _follow_file(
    autoscaler: Autoscaler, streams: "_Streams", config: Config, overrides: Overrides | None
) -> None:
    async for _ in watch(config.path, known=[config.digest]):
        try:
            new = await asyncio.to_thread(_load, config.path, overrides)
        except ConfigError as error:
            for problem in error.problems:
                logger.error("%s", problem)  # noqa: TRY400 (the person's mistake needs no traceback)
            logger.error("the configuration was not taken over; the last good one stays in force")  # noqa: TRY400
            continue
        if new.autoscaler.admin != config.autoscaler.admin:
            logger.warning("autoscaler.admin %s is used from the next start on", new.autoscaler.admin)
        streams.follow(new.gateway_urls)
        await autoscaler.reload(new)
        logger.info("the configuration was taken over: %s", new)


class _Streams:
    """The subscriptions to the gateways that the configuration names."""

    def __init__(self, autoscaler: Autoscaler) -> None:
        self._autoscaler = autoscaler
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def follow(self, gateways: Iterable[Address]) -> None:
        """Begin with those that are new, and end those that are named no more."""
        urls = {address.url for address in gateways}
        for url in self._tasks.keys() - urls:
            self._tasks.pop(url).cancel()
            self._autoscaler.collector.left(url)
        for url in urls - self._tasks.keys():
            receive = partial(self._autoscaler.receive, source=url)
            left = partial(self._autoscaler.collector.left, url)
            self._tasks[url] = asyncio.get_running_loop().create_task(subscribe(url, receive, left))

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def __repr__(self) -> str:
        return f"<Streams of {sorted(self._tasks)}>"
