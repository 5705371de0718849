"""Wires collector, controller and Scalers from a Config: inside of `tidegate up`, or as a process of its own (`standalone`).

`Autoscaler` is what both have in common. In `up` the gateway's server gives it the feeds of its Backends, hands it every beat
(`receive`), and tells it of a new configuration after having taken it over itself (`reload`).
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from autoscaler.asking import asked_of, clustered, fed, fixed, local
from autoscaler.collector import Collector
from autoscaler.controller import Controller
from autoscaler.plan import Scaler
from autoscaler.processes import LocalPods
from autoscaler.scalers import FixedScaler, LocalPodsMaker, template_of
from autoscaler.signals.asked import Pods
from autoscaler.signals.signals import Signals
from autoscaler.spec import MetricSpec, ScalingSpec, ScheduleSpec
from autoscaler.target import LONGEST_RETIREMENT, SETTLED_AFTER, Target
from gateway.config import (
    BackendConfig,
    Config,
)
from gateway.endpoints import Feed
from gateway.kube.connect import connect
from gateway.stats import Beat

if TYPE_CHECKING:
    from autoscaler.cluster.link import ClusterLink

logger = logging.getLogger(__name__)

_AT_ONCE = 10
"""Backends that are taken over in one turn of the loop."""


def spec_of(backend: BackendConfig, *, runs_command: bool, reachable: bool = True) -> ScalingSpec:
    """`runs_command`: its pods are processes of this machine; `reachable`: some Route names it."""
    resolved = backend.resolved_scale(runs_command=runs_command)
    plain = {field.name: getattr(resolved, field.name) for field in fields(resolved)}
    metrics = tuple(
        MetricSpec(*(getattr(metric, field.name) for field in fields(MetricSpec)))
        for metric in resolved.metrics
    )
    schedules = tuple(
        ScheduleSpec(*(getattr(schedule, field.name) for field in fields(ScheduleSpec)))
        for schedule in resolved.schedules
    )
    return ScalingSpec(**{**plain, "metrics": metrics, "schedules": schedules}, reachable=reachable)


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
        self.controller = Controller(self.collector, lambda: loop.time() + ahead, self._leads)
        self.signals = Signals(self.collector, self.controller.clock)
        self.link: ClusterLink | None = None
        """To the cluster, once a configuration needed it (`connect`)."""
        self.config = config
        self._feeds = feeds
        self._maker = LocalPodsMaker(self._idle)
        self._local: dict[str, _Local] = {}
        self._leaving: set[LocalPods] = set()
        """Those whose Backend has fixed URLs now: they live on until their last request is over."""
        self._retiring: dict[tuple[str, str], float] = {}
        """When LocalPods first asked about each pod that it replaces."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, config: Config) -> None:
        """Connect to the cluster, if `config` names something there and it is not done yet. Raises ConfigError, with nothing changed."""
        if self.link is None:
            self.link = await _link(config, self.controller)
            if self.link is not None:
                self.signals.connect(self.link.cluster)

    async def start(self) -> None:
        """Take over the configuration and begin to decide."""
        await self._take_over(self.config)
        self.controller.start()

    async def reload(self, config: Config) -> None:
        """Take over another configuration. What stayed keeps its pods and data; what went is drained in the background."""
        await self._take_over(config)

    async def stop(self) -> None:
        """Decide no more, and end all pods."""
        await self.signals.stop()
        await self.controller.stop()
        pods = [*(local.pods for local in self._local.values()), *self._leaving]
        await asyncio.gather(*self._tasks, *(each.stop() for each in pods))
        if self.link is not None:
            await self.link.stop()

    def _leads(self) -> bool:
        return self.link is None or self.link.lease.leads()

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
        self.config = config
        if self.link is not None:
            await self.link.run_inference_services(config)
        reachable = {name for route in config.routes for name in route.backends}
        for index, (name, backend) in enumerate(config.backends.items(), start=1):
            scaler = self._scaler(name, backend)
            spec = spec_of(backend, runs_command=name in self._local, reachable=name in reachable)
            told = None if self.link is None else partial(self.link.targets.decided, name)
            self.controller.put(name, spec, scaler, told)
            await self._sample(name, backend, config)
            if index % _AT_ONCE == 0:
                await asyncio.sleep(0)
        for name in self.controller.targets.keys() - config.backends.keys():
            self.signals.drop(name)
            if name not in self._local:
                self._begin(self._leave_alone(name, self.controller.drop(name)))
            elif self.controller.targets[name].removed_at is None:
                self._begin(self._remove(name, self.controller.retire(name)))

    async def _sample(self, name: str, backend: BackendConfig, config: Config) -> None:
        """Whoever leads: one that does not decides as well, and takes over warm."""
        asked = asked_of(backend.resolved_scale(runs_command=name in self._local).metrics, config)
        if asked:
            self.signals.put(name, asked, await self._pods(name, backend, config))
        else:
            self.signals.drop(name)

    async def _pods(self, name: str, backend: BackendConfig, config: Config) -> Pods:
        target = backend.target.cluster
        if name in self._local:
            return local(self._local[name].pods)
        if self._feeds is not None:
            return fed(self._feeds[name])
        if self.link is not None and target is not None:
            return clustered(self.link.targets, name, target)
        return await asyncio.to_thread(fixed, backend, config.base_dir)

    def _scaler(self, name: str, backend: BackendConfig) -> Scaler:
        feed = None if self._feeds is None else self._feeds[name]
        if feed is None or backend.target.command is None:
            if name in self._local:
                self._leave(name, self._local.pop(name))
            return self._run_elsewhere(name, backend, feed)
        local = self._local.get(name)
        if local is None:
            relay = Feed(name)
            config = self.config
            pods = self._maker.make(name, backend, relay, config.base_dir, config.log_path)
            local = self._local[name] = _Local(pods, relay)
        else:
            local.pods.reconfigure(template_of(backend, self.config.base_dir))
        local.publish_into(feed)
        return local.pods

    def _run_elsewhere(self, name: str, backend: BackendConfig, feed: Feed | None) -> Scaler:
        target = backend.target.cluster
        if self.link is not None and target is not None:
            return self.link.targets.put(name, target, backend.activation_timeout)
        if self.link is not None:
            self.link.targets.drop(name)
        return FixedScaler(len(backend.target.urls or ()), feed)

    async def _leave_alone(self, name: str, target: Target) -> None:
        """What others run stays as it is. Marks are taken back once nothing of ours is under way any more."""
        await target.stop()
        if self.link is not None and name not in self.controller.targets:
            self.link.targets.drop(name)

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


async def _link(config: Config, controller: Controller) -> "ClusterLink | None":
    if not config.needs_cluster:
        return None
    cluster = await connect(config, "autoscaler.cluster.link")
    from autoscaler.cluster.link import ClusterLink  # noqa: PLC0415 (imported by then, with its library)

    return ClusterLink.begin(cluster, controller.retry, controller.found)
