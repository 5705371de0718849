"""The proxies that are compared: how to set each one up. Another peer is one more function and its line in PEERS.

Each gets a Place (ports, a folder for its files) and returns the command that runs it in the foreground, as one worker.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.common import HOST, find_tool

HERE = Path(__file__).resolve().parent
ROUTES = 100
ROUTE = 57
"""The one that the load goes to."""
MODEL_HOST = f"model-{ROUTE}.example.com"
MODEL_PATH = f"/v1/models/model-{ROUTE}:predict"
Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy listens, where the two upstreams are, and where its files go."""

    folder: Path
    port: int
    admin: int
    stable: int
    candidate: int


def upstream(place: Place) -> Command:
    return _nginx("upstream", place)


def nginx(place: Place) -> Command:
    return _nginx("proxy", place)


def tidegate(place: Place) -> Command:
    """As users run it: a hundred routes, weights, a limit per pod, deadlines; request ids and metrics are always on."""
    backend = (
        "{{target: {{urls: [http://{host}:{port}]}}, concurrency: 64, queue: {{depth: 200, timeout: 30s}}}}"
    )
    lines = [
        f"listen: {HOST}:{place.port}",
        f"admin: {HOST}:{place.admin}",
        "defaults:",
        "  timeouts: {head: 10s, connect: 5s, response: 300s, idle: 300s, request: 600s}",
        "backends:",
        f"  stable: {backend.format(host=HOST, port=place.stable)}",
        f"  candidate: {backend.format(host=HOST, port=place.candidate)}",
        "routes:",
    ]
    for number in range(ROUTES):
        lines += [
            f"  - name: model-{number}",
            f"    hosts: [model-{number}.example.com]",
            f"    paths: [/v1/models/model-{number}, /v2/models/model-{number}]",
            "    split: {stable: 90, candidate: 10}",
        ]
    config = place.folder / "tidegate.yaml"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [Path(sys.executable).with_name("tidegate"), "gateway", config]


def aiohttp(place: Place) -> Command:
    return _aiohttp(place, "uvloop")


def aiohttp_asyncio(place: Place) -> Command:
    return _aiohttp(place, "asyncio")


def _aiohttp(place: Place, loop: str) -> Command:
    script = HERE / "aiohttp_proxy.py"
    urls = ["--stable", f"http://{HOST}:{place.stable}", "--candidate", f"http://{HOST}:{place.candidate}"]
    return [sys.executable, script, "--port", str(place.port), *urls, "--loop", loop]


def _nginx(template: str, place: Place) -> Command:
    text = (HERE / f"{template}.nginx.conf").read_text(encoding="utf-8")
    values = {
        "FOLDER": place.folder,
        "PORT": place.port,
        "STABLE": place.stable,
        "CANDIDATE": place.candidate,
    }
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    config = place.folder / f"{template}.nginx.conf"
    config.write_text(text, encoding="utf-8")
    return [find_tool("nginx", "nginx-light"), "-p", place.folder, "-c", config, "-e", "stderr"]


PEERS: dict[str, Callable[[Place], Command]] = {
    "tidegate": tidegate,
    "nginx": nginx,
    "aiohttp": aiohttp,
    "aiohttp-asyncio": aiohttp_asyncio,
}
DEFAULT = ("tidegate", "nginx", "aiohttp")
