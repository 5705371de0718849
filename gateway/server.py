"""One gateway process: listener, admin side, beats and configuration around a Gateway; and its orderly end.

`apply` takes a configuration over without losing anything that stays: queues, slots, connections, the split's position. `watch` does
that for each change of the file and keeps the last good one. `stop` drains as the contract says. `cli` starts one of these, alone or,
for `tidegate up`, with an autoscaler hooked to its feeds, beats and reloads.
"""

import asyncio
import gc
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import cast

from aiohttp import web
from prometheus_client import CollectorRegistry

from gateway.admin import StatsHub, make_app
from gateway.admission import ConnectionLimits
from gateway.backend import Backend
from gateway.beats import BeatMaker
from gateway.breaker import Endpoint
from gateway.config import (
    Address,
    BackendConfig,
    Config,
    ConfigError,
    HealthConfig,
    Overrides,
    Problem,
    Role,
    build_table,
    check_role,
    limits_of,
    load,
    unchangeable,
)
from gateway.credentials import Keeper
from gateway.downstream import Downstream
from gateway.endpoints import Endpoints, Feed, Prober
from gateway.following import Following
from gateway.forwarded import ForwardedPolicy
from gateway.gateway import Gateway
from gateway.health import Checker
from gateway.http1 import HeadLimits
from gateway.lag import LagWatcher
from gateway.limits import Limits
from gateway.metrics import GatewayCollector, Sources
from gateway.openfiles import most_connections, raise_open_files
from gateway.pulse import AT_ONCE, Pulse
from gateway.sources import PodSources
from gateway.state import Snapshot, Status, snapshot
from gateway.timers import TICK

logger = logging.getLogger(__name__)

BACKLOG = 4096
BEAT = 1.0
"""Seconds."""
GIL_SECONDS = 0.0002
"""How long another thread may go on when the loop wants the interpreter. A request asks for it several times; Python's own 5 ms would add up.
"""
_MOST_TOLD = 20
"""Warnings of one configuration that are logged; two for each of a thousand routes would hold the loop for 40 ms."""


def load_for(role: Role, path: Path, overrides: Overrides | None = None) -> Config:
    """Read a configuration for one of the commands. Raises ConfigError with everything that is wrong with it."""
    config = load(path, overrides)
    problems = check_role(config, role)
    if problems:
        raise ConfigError(problems)
    return config


def _tell(warnings: list[str], path: Path) -> None:
    for warning in warnings[:_MOST_TOLD]:
        logger.warning("%s", warning)
    if len(warnings) > _MOST_TOLD:
        logger.warning("%d more like these: `tidegate check %s` tells all", len(warnings) - _MOST_TOLD, path)


def _name() -> str:
    """No other gateway's: in containers all may be process 1 of a host of the same name, and of two that an autoscaler takes for one it would
    remove a pod as idle that the other one uses.
    """
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


class Server:
    """A gateway, from its first configuration to its last answer."""

    def __init__(self, config: Config, role: Role, read: Callable[[], Config]) -> None:
        """`read` reads the configuration anew once its file has changed, as it was read for `config`."""
        loop = asyncio.get_running_loop()
        self.config = config
        self.role = role
        self.gateway = Gateway(loop)
        self._sources = PodSources(role, loop.time())
        self.feeds = self._sources.feeds
        """By Backend; whoever runs its pods publishes here."""
        self.hub = StatsHub()
        self.status = Status(
            gateway=_name(),
            version=version("tidegate"),
            started=loop.time(),
            config=str(config.path),
            lacks=lambda: self._following.lacks(loop.time()) or self._sources.lacks(loop.time()),
        )
        self.on_reload: Callable[[Config], Awaitable[None]] | None = None
        """Told of each configuration after it was taken over."""
        self.wanted: Callable[[], Mapping[str, int]] = dict
        """The autoscaler's counts of replicas, where there is one in this process."""
        self._following = Following(
            config,
            read,
            self._reload,
            lambda problems: self.status.refused(problems, time.time()),
            lambda: self._sources.cluster,
        )
        self._loop = loop
        self._files = raise_open_files()
        self._pulse = Pulse(BeatMaker(self.status.gateway, loop.time()), self.hub, loop)
        self._lag = LagWatcher()
        self._prober = Prober()
        self._checker = Checker()
        self._keeper = Keeper(self.status.tls, self._renew)
        self._listener: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.app = make_app(self.status, self.gateway.backends, self._registry(), self.hub, self._wanted)
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=1.0)
        self.gateway.on_nudge = self._pulse.nudge
        self.gateway.on_suspect = self._suspect

    # -- from start to stop

    async def start(self) -> None:
        """Listen. Raises ConfigError when an address cannot be had."""
        await self.apply(self.config)
        await self._runner.setup()
        await self._bind("admin", self.config.admin, self._listen_admin)
        await self._bind("listen", self.config.listen, self._listen)
        self._every("tick", TICK, self.gateway.tick)
        self._every("beat", BEAT, self._beat)
        self._lag.start()
        self._tasks.append(self._loop.create_task(self._following.run()))
        # What lives now lives for good: the collector need not look at it again, nor look often.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 50)
        sys.setswitchinterval(GIL_SECONDS)

    async def stop(self) -> None:
        """Drain: take new requests for `drain.delay`, finish all for at most `drain.timeout`, end."""
        drain = self.config.drain
        self.status.draining = self.gateway.draining = True
        logger.info("draining: %d connections, new ones for %g s", len(self.gateway.clients), drain.delay)
        await asyncio.sleep(drain.delay)
        if self._listener is not None:
            self._listener.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(drain.timeout):
                await self._until_idle()
        await self._end()

    async def _until_idle(self) -> None:
        while True:
            for client in list(self.gateway.clients):
                client.shut()
            if not self.gateway.clients:
                return
            await asyncio.sleep(TICK)

    async def _end(self) -> None:
        left = list(self.gateway.clients)
        if left:
            logger.warning("%d requests were not finished in time and are cut off", len(left))
        for client in left:
            client.reset()
        await self._runner.cleanup()
        self._lag.stop()
        self._prober.stop()
        self._checker.stop()
        self._keeper.stop()
        await self._sources.stop()
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for backend in self.gateway.backends.values():
            self._close_pools(backend)

    # -- configuration

    async def apply(self, config: Config) -> None:
        """Take over a configuration. Raises ConfigError, with nothing changed, when a file that TLS needs cannot be used, or there are no
        credentials for the cluster that it names.
        """
        files = await self._keeper.load(config)
        await self._sources.prepare(config)
        self._keeper.take(config, files)
        gateway, now = self.gateway, self.gateway.now()
        gateway.ranked = any(route.priority.matters for route in config.routes)
        disciplines = config.disciplines()
        for number, (name, backend) in enumerate(config.backends.items(), 1):
            self._put(name, backend, limits_of(backend, disciplines[name]), now)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        old = gateway.table if self.status.loaded else None
        # Off the loop: a thousand routes take 30 ms and more.
        gateway.table = await asyncio.to_thread(build_table, config, gateway.backends, old, files.secrets)
        gateway.head_timeout = config.defaults.timeouts.head
        gateway.details = config.errors.details == "full"
        self._limit(config)
        for name in gateway.backends.keys() - config.backends.keys():
            self._remove(name, now)
        self.config = config
        warnings = [str(problem) for problem in config.warnings]
        _tell(warnings, config.path)
        self.status.took_over(gateway.table.routes, time.time(), warnings)

    def _limit(self, config: Config) -> None:
        """What clients may take, and what pods are told of them. Connections that are open keep what they began with."""
        gateway, limits, forwarded = self.gateway, config.limits, config.forwarded
        most = most_connections(self._files, limits.connections)
        if most != self.status.most_connections:
            logger.info("up to %d connections of clients at once: %d files may be open", most, self._files)
        if most < limits.connections:
            text = (
                "limits.connections is %d, which the limit on open files does not allow: raise it (ulimit -n)"
            )
            logger.warning(text, limits.connections)
        self.status.most_connections = most
        gateway.admission.limits = ConnectionLimits(
            most, limits.connections_per_client, limits.requests_per_connection
        )
        gateway.head_limits = HeadLimits(limits.head, limits.fields, limits.target)
        gateway.buffered.bound = limits.buffered
        gateway.forwarding = ForwardedPolicy(
            forwarded.trusted_proxies, forwarded.x_forwarded, forwarded.forwarded, forwarded.via
        )

    def _put(self, name: str, config: BackendConfig, limits: Limits, now: float) -> None:
        gateway = self.gateway
        backend = gateway.backends.get(name) or gateway.retiring.pop(name, None)
        if backend is None:
            backend = Backend(name, limits, now)
        else:
            backend.revive()
            gateway.hand_out(backend.relimit(limits, now), now)
        gateway.backends[name] = backend
        backend.stats.tells = config.latencies
        self._check(backend, config.health)
        if name not in self.feeds:
            feed = self.feeds[name] = Feed(name)
            feed.subscribe(lambda news, backend=backend: self._on_news(backend, news))  # type: ignore[misc]
        self._sources.put(name, config, self._keeper.current.trusts.get(name))

    def _check(self, backend: Backend, health: HealthConfig | None) -> None:
        check = None if health is None else health.check
        tell = partial(self.gateway.checked, backend)
        self._checker.follow(backend.name, check, backend.endpoints.values, tell)

    def _renew(self) -> None:
        for name, backend in self.config.backends.items():
            self._sources.put(name, backend, self._keeper.current.trusts.get(name))

    def _remove(self, name: str, now: float) -> None:
        backend = self.gateway.backends.pop(name)
        self.gateway.retiring[name] = backend
        self._check(backend, None)
        self.gateway.apply(backend, backend.remove(now))

    def _on_news(self, backend: Backend, news: Endpoints) -> None:
        self.gateway.apply(backend, backend.update(news, self.gateway.now()))

    async def _reload(self, config: Config) -> None:
        problems = unchangeable(self.config, config)
        if problems:
            raise ConfigError(problems)
        await self.apply(config)
        if self.on_reload is not None:
            await self.on_reload(config)
        logger.info(
            "took over %s: %d routes, %d backends", config.path, len(config.routes), len(config.backends)
        )

    # -- listening

    async def _bind(self, key: str, address: Address, bind: Callable[[Address], Awaitable[None]]) -> None:
        try:
            await bind(address)
        except OSError as error:
            words = os.strerror(error.errno).lower() if error.errno else str(error)
            problem = Problem(str(self.config.path), None, key, f"cannot listen on {address}: {words}")
            raise ConfigError([problem]) from error

    async def _listen(self, address: Address) -> None:
        self._listener = await self._loop.create_server(
            lambda: cast("asyncio.Protocol", Downstream(self.gateway)),
            address.host or None,
            address.port,
            backlog=BACKLOG,
            **self._keeper.options(self.gateway.head_timeout),
        )
        names = [sock.getsockname() for sock in self._listener.sockets]
        self.status.listen = tuple(str(Address(name[0], name[1])) for name in names)

    async def _listen_admin(self, address: Address) -> None:
        await web.TCPSite(self._runner, address.host or None, address.port).start()

    @property
    def admin_address(self) -> tuple[str, int]:
        """Where the admin side listens, the port that was given for 0 included."""
        host, port = self._runner.addresses[0][:2]
        return host, port

    # -- what happens all the time

    def _every(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        """Do `work` again and again, at times that do not drift."""
        due = self._loop.time()

        def run() -> None:
            nonlocal due
            due = max(due + seconds, self._loop.time())
            self._timers[name] = self._loop.call_at(due, run)
            work()

        run()

    def _beat(self) -> None:
        self.gateway.reap()
        retiring = self.gateway.retiring
        for name, backend in list(retiring.items()):
            if not backend.in_flight and not backend.breaker.queued:
                del retiring[name]
                self._sources.forget(name)
                self._close_pools(backend)
        self._pulse.beat([*self.gateway.backends.values(), *retiring.values()])

    def _suspect(self, backend: Backend, endpoint: Endpoint) -> None:
        where = f"{backend.name}: {endpoint.address}"
        why = f" ({endpoint.refusal})" if endpoint.refusal else ""
        logger.warning(
            "%s refuses or drops connections%s: it gets no requests until it accepts again", where, why
        )

        def accepted() -> None:
            logger.info("%s accepts connections again", where)
            self.gateway.trust(backend, endpoint)

        self._prober.watch(
            endpoint, wanted=lambda: backend.endpoints.get(endpoint.uid) is endpoint, accepted=accepted
        )

    @staticmethod
    def _close_pools(backend: Backend) -> None:
        for endpoint in backend.endpoints.values():
            if endpoint.pool is not None:
                endpoint.pool.close()

    # -- views

    def snapshot(self) -> Snapshot:
        """What the live table shows."""
        return snapshot(self.status, self.gateway.backends, self._loop.time())

    def _wanted(self) -> Mapping[str, int]:
        return self.wanted()

    def _registry(self) -> CollectorRegistry:
        sources = Sources(
            backends=self.gateway.backends,
            without=self.gateway.without,
            mirrors=self.gateway.mirrors,
            connections=lambda: len(self.gateway.clients),
            refused=self.gateway.admission.refused,
            buffered=lambda: self.gateway.buffered.held,
            reloads=self.status.reloads,
            loop_lag=self._lag.histogram,
            tls=self.status.tls,
            version=self.status.version,
        )
        self.registry = CollectorRegistry()
        self.registry.register(GatewayCollector(sources))
        return self.registry

    def __repr__(self) -> str:
        return f"<Server {self.role} {self.gateway!r}>"
