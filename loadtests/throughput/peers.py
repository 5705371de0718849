"""The proxies that are compared: how to set each one up. Another peer is one more function and its line in PEERS.

Each gets a Place (ports, a folder for its files) and returns the command that runs it in the foreground, as one worker.
Those from `peers.txt` are looked for on PATH and in a virtual environment of their own, `.venv-peers`.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests import stage
from loadtests.bursts import PREDICT, version
from loadtests.common import HOST, ROOT, look_for
from loadtests.stage import Backend, Command, Target, fill

HERE = Path(__file__).resolve().parent
VENV = ROOT / ".venv-peers"
ROUTES = 100
MODELS = [Target(f"model-{number}.example.com", f"/v1/models/model-{number}") for number in range(ROUTES)]
PREDICTION = Target(MODELS[57].host, f"{MODELS[57].path}:predict")
"""What the load asks for, in the midst of the routes."""
COMPLETION = Target("models.example.com", "/v1/completions")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy listens, where the two pods are, and where its files go."""

    folder: Path
    port: int
    admin: int
    stable: int
    candidate: int


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy: its command, what it needs that may be missing, and what is asked of it."""

    command: Callable[[Place], Command]
    needs: str | None = None
    """A program that comes neither with Tidegate nor with the load test's own needs."""
    says: str | None = None
    """The option that makes that program say its version."""
    target: Target = PREDICTION
    opening: str = PREDICT


def pods(place: Place) -> Command:
    return stage.pods(place.folder, [f"{HOST}:{place.stable}", f"{HOST}:{place.candidate}"])


def tidegate(place: Place) -> Command:
    """As users run it, with a hundred routes, all of which lead to the two pods."""
    backends = [
        Backend("stable", 90, [f"{HOST}:{place.stable}"]),
        Backend("candidate", 10, [f"{HOST}:{place.candidate}"]),
    ]
    listen, admin = f"{HOST}:{place.port}", f"{HOST}:{place.admin}"
    return stage.tidegate(place.folder / "tidegate.yaml", listen, admin, backends, MODELS)


def nginx(place: Place) -> Command:
    return stage.nginx(_configuration("nginx.conf", place))


def haproxy(place: Place) -> Command:
    return [find("haproxy"), "-db", "-f", _configuration("haproxy.cfg", place)]


def envoy(place: Place) -> Command:
    config = _configuration("envoy.yaml", place)
    return [find("envoy"), "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "warn"]


def vllm_router(place: Place) -> Command:
    """Its cheapest policy; it has no weights. `env` gives it one worker thread, as the others have."""
    urls = [f"http://{HOST}:{place.stable}", f"http://{HOST}:{place.candidate}"]
    listen = ["--host", HOST, "--port", str(place.port), "--prometheus-port", str(place.admin)]
    options = ["--policy", "round_robin", "--log-level", "warning", "--worker-startup-check-interval", "1"]
    return ["env", "TOKIO_WORKER_THREADS=1", find("vllm-router"), *listen, *options, "--worker-urls", *urls]


def aiohttp(place: Place) -> Command:
    return _aiohttp(place, "uvloop")


def aiohttp_asyncio(place: Place) -> Command:
    return _aiohttp(place, "asyncio")


def _aiohttp(place: Place, loop: str) -> Command:
    script = HERE / "aiohttp_proxy.py"
    urls = ["--stable", f"http://{HOST}:{place.stable}", "--candidate", f"http://{HOST}:{place.candidate}"]
    return [sys.executable, script, "--port", str(place.port), *urls, "--loop", loop]


def _configuration(template: str, place: Place) -> Path:
    values = {
        "PORT": place.port,
        "ADMIN": place.admin,
        "STABLE": place.stable,
        "CANDIDATE": place.candidate,
    }
    return fill(HERE / template, place.folder, values)


# -- where programs are

_PIP = f"python3 -m venv {VENV.name} && {VENV.name}/bin/pip install -r loadtests/throughput/peers.txt"
HOW_TO_GET = {"haproxy": "on Debian: apt-get install haproxy", "envoy": _PIP, "vllm-router": _PIP}


def missing(name: str) -> str | None:
    """What to say when a peer cannot run here."""
    program = PEERS[name].needs
    return _lacking(program) if program and look_for(program, VENV / "bin") is None else None


def find(program: str) -> str:
    """Its path; exits and says how to get it when there is none."""
    return look_for(program, VENV / "bin") or sys.exit(_lacking(program))


def versions(names: Sequence[str]) -> dict[str, str]:
    """What those that came from elsewhere say of themselves; a wheel's program that says nothing, by its metadata."""
    found = {}
    for name in names:
        if program := PEERS[name].needs:
            path, says = Path(find(program)), PEERS[name].says
            of_wheel = path.parents[1].glob(
                f"lib/python*/site-packages/{program.replace('-', '_')}-*.dist-info"
            )
            told = version([path, says]) if says else next((info.stem for info in of_wheel), "unknown")
            found[name] = told.removeprefix(str(path)).strip()
    return found


def _lacking(program: str) -> str:
    return f"{program} is missing; {HOW_TO_GET[program]}"


PEERS = {
    "tidegate": Peer(tidegate),
    "nginx": Peer(nginx),
    "haproxy": Peer(haproxy, needs="haproxy", says="-v"),
    "envoy": Peer(envoy, needs="envoy", says="--version"),
    "vllm-router": Peer(
        vllm_router, needs="vllm-router", target=COMPLETION, opening='{"model": "iris", "prompt": "'
    ),
    "aiohttp": Peer(aiohttp),
    "aiohttp-asyncio": Peer(aiohttp_asyncio),
}
DEFAULT = ("tidegate", "nginx", "haproxy", "envoy", "vllm-router", "aiohttp")
