"""The autoscaler as a process of its own, as `tidegate autoscaler` runs it.

It follows the gateways' streams, has its own admin side, watches the file and the documents of InferenceServices, and scales what the configuration
names in a cluster. Neighbours: `server` has what it shares with `tidegate up`; `gateway.following` says which configuration is in force.
"""

import asyncio
import logging
import sys
import time
from functools import partial
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry

from autoscaler.admin import make_app
from autoscaler.controller import Controller
from autoscaler.metrics import AutoscalerCollector, ConfigurationCollector
from autoscaler.server import Autoscaler
from autoscaler.statefile import StateFile
from autoscaler.streams import Streams
from gateway.config import Address, Config, ConfigError, Overrides, check_role, load
from gateway.ending import Ending
from gateway.following import Following
from gateway.state import Reloads

logger = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds that a start waits for the documents of InferenceServices. Their Backends would go on from nothing, too, if they came later."""


async def run(config_path: Path, overrides: Overrides | None = None, state: Path | None = None) -> int:
    """`tidegate autoscaler`: until SIGTERM or SIGINT. Returns the exit code: 2 when it could not start, with why on stderr.

    `state`: the file to go on from and to keep the state in, other than the configuration's.
    """
    reloads = Reloads()
    try:
        config = await asyncio.to_thread(_load, config_path, overrides)
        autoscaler = Autoscaler(config)
        await autoscaler.connect(config)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 (one line per problem, for the person who started it)
        return 2
    try:
        admin = await _listen(autoscaler.controller, reloads, config.autoscaler.admin)
    except OSError as error:
        words = error.strerror or str(error)
        print(f"cannot listen on {config.autoscaler.admin} (autoscaler.admin): {words}", file=sys.stderr)  # noqa: T201
        await autoscaler.stop()
        return 2
    try:
        reloads.took_over(time.time())
        await _serve(autoscaler, config, overrides, reloads, StateFile(state or config.state_path))
    finally:
        await admin.cleanup()
    return 0


def _load(path: Path, overrides: Overrides | None) -> Config:
    config = load(path, overrides)
    if problems := check_role(config, "autoscaler"):
        raise ConfigError(problems)
    return config


async def _listen(controller: Controller, reloads: Reloads, address: Address) -> web.AppRunner:
    registry = CollectorRegistry()
    registry.register(AutoscalerCollector(controller))
    registry.register(ConfigurationCollector(reloads))
    runner = web.AppRunner(make_app(controller, registry), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, address.host or None, address.port).start()
    except OSError:
        await runner.cleanup()
        raise
    logger.info("admin on %s", ", ".join(f"http://{host}:{port}" for host, port, *_ in runner.addresses))
    return runner


async def _serve(
    autoscaler: Autoscaler,
    config: Config,
    overrides: Overrides | None,
    reloads: Reloads,
    state: StateFile,
) -> None:
    loop = asyncio.get_running_loop()
    ending = Ending()
    controller = autoscaler.controller
    streams = Streams(controller.receive, controller.collector, controller.clock)
    snapshot = await state.read(controller.clock())
    if snapshot is not None:
        controller.resume(snapshot)
    following = Following(
        config,
        partial(_load, config.path, overrides),
        partial(_reload, autoscaler, streams, reloads),
        lambda problems: reloads.refused(problems, time.time()),
        lambda: None if autoscaler.link is None else autoscaler.link.cluster,
        left_out=lambda reasons: None if autoscaler.link is None else autoscaler.link.left_out(reasons),
    )
    await following.begin(autoscaler.start, _PATIENCE)
    # No sooner: each Backend goes on from its data, then come the beats that were missed.
    _follow_gateways(autoscaler, streams, autoscaler.config)
    state.start(controller.snapshot)
    watching = loop.create_task(following.run())
    try:
        await ending.wait()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await streams.stop()
        await state.stop()
        await autoscaler.stop()


def _follow_gateways(autoscaler: Autoscaler, streams: Streams, config: Config) -> None:
    """Those that the configuration names, or those behind the Service that it names."""
    limited = [name for name, backend in config.backends.items() if backend.concurrency]

    def told(urls: list[str]) -> None:
        streams.follow(urls)
        streams.check_limits(limited)

    if autoscaler.link is not None:
        autoscaler.link.follow_gateways(config.gateway_service, told)
    if config.gateway_service is None:
        told([address.url for address in config.gateway_urls])


async def _reload(autoscaler: Autoscaler, streams: Streams, reloads: Reloads, new: Config) -> None:
    await autoscaler.connect(new)
    old = autoscaler.config
    if new.autoscaler.admin != old.autoscaler.admin:
        logger.warning("autoscaler.admin %s is used from the next start on", new.autoscaler.admin)
    await autoscaler.reload(new)
    _follow_gateways(autoscaler, streams, new)  # as at the start, once what they tell of is there
    reloads.took_over(time.time())
    logger.info("the configuration was taken over: %s", new)
