"""`python -m autoscaler CONFIG`: the autoscaler as a process of its own, as `tidegate autoscaler` runs it."""

import asyncio
import logging
import sys
from pathlib import Path

import click

from autoscaler.standalone import run
from gateway.config import Overrides


@click.command(help="Decide how many pods each backend of CONFIG should have, from its gateways' statistics.")
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--admin", metavar="HOST:PORT", help="Serve the admin side here rather than on autoscaler.admin."
)
@click.option(
    "--state",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Keep what is known here rather than in autoscaler.state.",
)
def main(config: Path, admin: str | None, state: Path | None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(asyncio.run(run(config, Overrides(autoscaler_admin=admin), state)))


if __name__ == "__main__":
    main(prog_name="python -m autoscaler")
