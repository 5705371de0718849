"""What stands around a burst of load: the pods, and the gateway with a configuration as users write it.

The pods are one nginx that gives the same small answer on as many addresses as there are pods. Neighbour: `bursts`, which
sends the load.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.common import find_tool, loopback

HERE = Path(__file__).resolve().parent
Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Target:
    """Which route a request is for."""

    host: str
    path: str


@dataclass(frozen=True, slots=True)
class Backend:
    """A model version behind all routes: its share of the requests, and its pods' `host:port`."""

    name: str
    weight: int
    pods: Sequence[str]


def pods(folder: Path, addresses: Sequence[str]) -> Command:
    """The command that runs a pod on each `host:port`, in one process."""
    listens = "\n".join(f"        listen {_ours(address)} backlog=4096;" for address in addresses)
    return nginx(fill(HERE / "pods.nginx.conf", folder, {"LISTENS": listens}))


def nginx(config: Path) -> Command:
    return [find_tool("nginx", "nginx-light"), "-p", config.parent, "-c", config, "-e", "stderr"]


def fill(template: Path, folder: Path, values: Mapping[str, object]) -> Path:
    """A copy of the template in `folder`, with each @KEY@ replaced; @FOLDER@ is the folder."""
    text = template.read_text(encoding="utf-8")
    for key, value in {"FOLDER": folder, **values}.items():
        text = text.replace(f"@{key}@", str(value))
    config = folder / template.name
    config.write_text(text, encoding="utf-8")
    return config


def tidegate(
    config: Path, listen: str, admin: str, backends: Sequence[Backend], routes: Sequence[Target]
) -> Command:
    """The command that runs the gateway as users run it; its configuration is written to `config`.

    Weights, a limit per pod with a queue, every deadline, an answer that names its backend. Request ids, forwarding headers,
    statistics and metrics cannot be turned off.
    """
    lines = [
        f"listen: {listen}",
        f"admin: {admin}",
        "defaults:",
        "  timeouts: {head: 10s, connect: 5s, response: 300s, idle: 300s, request: 600s}",
        "backends:",
        *(line for backend in backends for line in _backend(backend)),
        "routes:",
        *(line for number, route in enumerate(routes) for line in _route(number, route, backends)),
    ]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [Path(sys.executable).with_name("tidegate"), "gateway", config]


def _backend(backend: Backend) -> Iterator[str]:
    yield f"  {backend.name}:"
    yield "    concurrency: 64"
    yield "    queue: {depth: 200, timeout: 30s}"
    yield "    target:"
    yield "      urls:"
    yield from (f"        - http://{_ours(pod)}" for pod in backend.pods)


def _route(number: int, route: Target, backends: Sequence[Backend]) -> Iterator[str]:
    split = ", ".join(f"{backend.name}: {backend.weight}" for backend in backends)
    yield f"  - name: route-{number}"
    yield f"    hosts: [{route.host}]"
    yield f"    paths: [{route.path}, /v2{route.path}]"
    yield f"    split: {{{split}}}"
    yield "    expose_backend: true"


def _ours(address: str) -> str:
    loopback(address)
    return address
