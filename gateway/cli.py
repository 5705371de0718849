"""The `tidegate` command. The only module that knows both the gateway and the autoscaler: `up` runs them in one process.

Exit codes: 0 after an orderly end, 1 when nobody answers `explain`, 2 when the configuration or an argument cannot be used (one line per
problem on standard error), 130 when a second signal ended it at once.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import uvloop
from pydantic_core import PydanticCustomError
from rich.console import Console

from autoscaler import standalone
from autoscaler.admin import add_routes
from autoscaler.inquiry import Unanswered, ask
from autoscaler.metrics import AutoscalerCollector
from autoscaler.offline import has_services, load_services
from autoscaler.offline import render as rendering
from autoscaler.server import Autoscaler
from autoscaler.telling import overview, whole
from gateway.config import Config, ConfigError, Overrides, json_schema, load, read
from gateway.config.units import parse_duration
from gateway.ending import Ending
from gateway.live import LiveTable, PlainLog
from gateway.server import Server, load_for

logger = logging.getLogger(__name__)

_USUAL_ADMINS = ("http://127.0.0.1:8082", "http://127.0.0.1:8081")
"""Where a configuration that says nothing of it has the decisions."""

_config = click.argument("config", type=click.Path(path_type=Path))
_listen = click.option(
    "--listen", metavar="HOST:PORT", help="Where clients connect; overrides the file's `listen`."
)
_admin = click.option(
    "--admin", metavar="HOST:PORT", help="Health, metrics, state; overrides the file's `admin`."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("tidegate"), prog_name="tidegate")
def main() -> None:
    """The ingress in front of model pods, and the autoscaler beside it."""


@main.command()
@_config
@_listen
@_admin
@click.option("--plain", is_flag=True, help="Log lines instead of the live table, even on a terminal.")
def up(config: Path, listen: str | None, admin: str | None, *, plain: bool) -> None:
    """Run gateway, autoscaler and local pods, all in one process.

    CONFIG may hold InferenceServices instead, whose containers have a command.
    """
    overrides = Overrides(listen=listen, admin=admin)
    _run(lambda: _up(config, overrides, plain=plain or not sys.stderr.isatty()))


@main.command()
@_config
@_listen
@_admin
def gateway(config: Path, listen: str | None, admin: str | None) -> None:
    """Run a gateway on its own."""
    _run(lambda: _gateway(config, Overrides(listen=listen, admin=admin)))


@main.command()
@_config
@click.option("--admin", metavar="HOST:PORT", help="Overrides the file's `autoscaler.admin`.")
@click.option(
    "--state",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What it goes on from after a restart; overrides the file's `autoscaler.state`.",
)
def autoscaler(config: Path, admin: str | None, state: Path | None) -> None:
    """Run an autoscaler on its own."""
    _run(lambda: standalone.run(config, Overrides(autoscaler_admin=admin), state))


class _Duration(click.ParamType[float]):
    """As in the configuration."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 (click's)
        try:
            return parse_duration(value)
        except PydanticCustomError as error:
            [(_, words)] = (error.context or {})["faults"]
            self.fail(words, param, ctx)


@main.command()
@click.argument("backend", required=False)
@click.option(
    "--last",
    default="10m",
    type=_Duration(),
    help="How far back changes are shown; 10m unless told otherwise.",
)
@click.option("--admin", metavar="URL", help="The autoscaler's admin side; else the configuration's.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The configuration that it runs; else the defaults' addresses.",
)
def explain(backend: str | None, last: float, admin: str | None, config: Path | None) -> None:
    """Say why BACKEND has as many pods as it has, and what would change that; without BACKEND a line of each."""
    try:
        told = asyncio.run(ask(_admin_sides(admin, config), backend))["backends"]
    except ConfigError as error:
        _complain(error)
        sys.exit(2)
    except Unanswered as words:
        click.echo(str(words), err=True)
        sys.exit(1)
    lines = overview(told) if backend is None else whole(backend, told[backend], last)
    click.echo("\n".join(lines or ["no backend is scaled"]))


def _admin_sides(admin: str | None, config: Path | None) -> list[str]:
    """Where an autoscaler of its own tells of its decisions, then where `up` does."""
    if admin is not None:
        return [admin if "://" in admin else f"http://{admin}"]
    if config is None:
        return list(_USUAL_ADMINS)
    return list(load(config).decision_urls)


@main.command()
@click.argument("files", metavar="FILE...", type=click.Path(path_type=Path), nargs=-1, required=True)
def check(files: tuple[Path, ...]) -> None:
    """Validate configuration files."""
    failed = False
    for path in files:
        try:
            config = load(path)
        except ConfigError as error:
            failed = True
            _complain(error)
        else:
            _report(config)
    sys.exit(2 if failed else 0)


@main.command()
@click.argument("files", metavar="FILE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--config", type=click.Path(path_type=Path), help="The configuration whose `inference_services` holds."
)
def render(files: tuple[Path, ...], config: Path | None) -> None:
    """Print what the InferenceServices in FILEs become: objects of a cluster, and Tidegate's own configuration."""
    try:
        answer = rendering(files, None if config is None else load(config))
    except ConfigError as error:
        _complain(error)
        sys.exit(2)
    click.echo(answer.text, nl=False)
    for warning in answer.warnings:
        click.echo(f"{warning} (warning)", err=True)
    for problem in answer.problems:
        click.echo(str(problem), err=True)
    sys.exit(2 if answer.problems else 0)


@main.command()
def schema() -> None:
    """Print the configuration's JSON Schema, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


def _report(config: Config) -> None:
    for warning in config.warnings:
        click.echo(f"{warning} (warning)", err=True)
    click.echo(f"{config.path}: {len(config.routes)} routes, {len(config.backends)} backends, all well")


def _complain(error: ConfigError) -> None:
    for problem in error.problems:
        click.echo(str(problem), err=True)


def _run(work: Callable[[], Awaitable[Any]]) -> None:
    """Run to the end on uvloop; a configuration that cannot be used is told in words."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr
    )
    # Its every event would be a line, and a log in the configuration's folder would feed itself.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)

    async def whole() -> Any:  # noqa: ANN401  # whatever the work returns
        return await work()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            sys.exit(runner.run(whole()))
    except ConfigError as error:
        _complain(error)
        sys.exit(2)


async def _gateway(path: Path, overrides: Overrides) -> None:
    ending = Ending()
    config = load_for("gateway", path, overrides)
    server = Server(config, "gateway", partial(load_for, "gateway", path, overrides))
    await server.start()
    logger.info("listening on %s, admin on %s", ", ".join(server.status.listen), config.admin)
    await ending.wait()
    await server.stop()


async def _up(path: Path, overrides: Overrides, *, plain: bool) -> None:
    ending = Ending()
    manifests = await asyncio.to_thread(lambda: has_services(read(path)))
    again = partial(load_services, path, overrides) if manifests else partial(load_for, "up", path, overrides)
    config = again()
    server = Server(config, "up", again)
    scaler = Autoscaler(config, server.feeds)
    ending.at_once(scaler.kill)
    add_routes(server.app, scaler.controller)
    server.registry.register(AutoscalerCollector(scaler.controller))
    server.hub.listen(scaler.receive)
    server.on_reload = scaler.reload
    server.wanted = lambda: {name: wanted for name, (wanted, _) in scaler.decisions().items()}
    async with AsyncExitStack() as stack:
        stack.push_async_callback(scaler.stop)
        await server.start()
        await scaler.start()
        logger.info("listening on %s, admin on %s", ", ".join(server.status.listen), config.admin)
        if plain:
            view: PlainLog | LiveTable = PlainLog(server.snapshot, scaler.decisions)
        else:
            view = LiveTable(Console(stderr=True), server.snapshot, scaler.decisions)
            ending.at_once(partial(view.__exit__, None, None, None))
            stack.enter_context(view)
        shown = asyncio.create_task(view.run())
        await ending.wait()
        await server.stop()
        shown.cancel()
        await asyncio.gather(shown, return_exceptions=True)
