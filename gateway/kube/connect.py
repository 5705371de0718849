"""The way to the cluster that a configuration names; what is in the way is told as a problem of the configuration.

kubernetes_asyncio is an extra, and takes a third of a second to import: that is done here, when a configuration first needs it, and in
a thread, since nobody shall wait for it in a reload. Neighbours: `client` below, `gateway.sources` and `autoscaler.server` above.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from gateway.config import Config, ConfigError, Problem

if TYPE_CHECKING:
    from gateway.kube.client import Cluster


async def connect(config: Config, user: str) -> Cluster:
    """A client by the credentials that are found; no request is made. Raises ConfigError.

    `user`: the module that needs it, which can be imported without delay from then on.
    """
    try:
        await asyncio.to_thread(import_module, user)
        from gateway.kube.client import Cluster, NoClusterError  # noqa: PLC0415 (it imports the library)
    except ImportError as error:
        raise ConfigError([_problem(config, str(error))]) from error
    try:
        return await Cluster.connect()
    except NoClusterError as error:
        raise ConfigError([_problem(config, str(error))]) from error


def _problem(config: Config, text: str) -> Problem:
    """With the first target that is in a cluster; without one it is the gateways that are looked for there."""
    named = (name for name, backend in config.backends.items() if backend.target.cluster is not None)
    first = next(named, None)
    if first is not None:
        return config.problem(first, text)
    return Problem(str(config.path), None, "autoscaler.gateways", text)
