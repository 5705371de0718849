"""The process of its own: what it follows, and how it ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from autoscaler.standalone import run
from gateway.stats import Beat, Stat
from tests.eventually import eventually

ROOT = Path(__file__).parents[2]
URLS = {"target": {"urls": ["http://127.0.0.1:9001", "http://127.0.0.1:9002"]}}


def write(path: Path, backends: Mapping[str, Any], **sections: Any) -> Path:
    first = next(iter(backends))
    document = {"backends": backends, "routes": [{"name": "all", "split": {first: 1}}], **sections}
    path.write_text(yaml.safe_dump(document))
    return path


class Gateway:
    """Sends a beat with three requests in flight, and keeps the stream open."""

    async def stats(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(Beat("gw-1", 1, 1.0, {"iris": Stat(in_flight_seconds=210.0)}).encode())
        await eventually(lambda: request.transport is None or request.transport.is_closing())
        return response

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/stats", self.stats)
        return app


@contextmanager
def process(path: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        made = subprocess.Popen([sys.executable, "-m", "autoscaler", str(path)], cwd=ROOT, stderr=out)
    try:
        yield made
    finally:
        made.kill()
        made.wait()


def port_of(log: Path) -> int | None:
    lines = [line for line in log.read_text().splitlines() if "admin on http" in line]
    return int(lines[0].rpartition(":")[2]) if lines else None


async def test_on_its_own_it_follows_gateways_and_the_file(tmp_path: Path) -> None:
    """Decisions from a gateway's beats, a good reload, a bad one that changes nothing, and an orderly end."""
    log = tmp_path / "log"
    async with TestServer(Gateway().app()) as server, aiohttp.ClientSession() as session:
        own = {"autoscaler": {"admin": "127.0.0.1:0", "gateways": [f"http://127.0.0.1:{server.port}"]}}
        path = write(tmp_path / "tidegate.yaml", {"iris": URLS}, **own)
        with process(path, log) as running:
            await eventually(lambda: port_of(log))
            url = f"http://127.0.0.1:{port_of(log)}"

            async def decided(*names: str) -> None:
                backends: dict[str, Any] = {}
                while tuple(backends) != names or backends["iris"]["wanted"] != 3:
                    async with session.get(f"{url}/v1/decisions") as answer:
                        backends = (await answer.json())["backends"]

            await decided("iris")
            assert (await session.get(f"{url}/readyz")).status == 200

            write(path, {"iris": URLS, "rose": URLS}, **own)
            await decided("iris", "rose")

            path.write_text("backends: [")
            await eventually(lambda: "was not taken over" in log.read_text())
            async with session.get(f"{url}/metrics") as answer:
                assert "\ntidegate_config_last_reload_successful 0\n" in await answer.text()
            assert f"ERROR gateway.following: {path}:" in log.read_text()
            await decided("iris", "rose")

            running.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(running.wait, 10) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("backends: [", "not YAML"),
        (
            "backends: {iris: {target: {command: [x, '{port}']}}}\nroutes: [{name: r, split: {iris: 1}}]\n",
            "does not run commands",
        ),
    ],
    ids=["not yaml", "a command"],
)
async def test_a_file_that_cannot_be_used_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    """One line per problem on stderr, with the file's name."""
    path = tmp_path / "tidegate.yaml"
    path.write_text(text)
    assert await run(path) == 2
    said = capsys.readouterr().err
    assert said.startswith(str(path))
    assert words in said
    assert said.count("\n") == 1


async def test_a_port_in_use_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the address and the key that it comes from."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        path = write(tmp_path / "tidegate.yaml", {"iris": URLS}, autoscaler={"admin": address})
        assert await run(path) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"cannot listen on {address} (autoscaler.admin): ")
    assert said.count("\n") == 1


async def test_a_signal_ends_it_with_0(tmp_path: Path) -> None:
    """SIGINT does as SIGTERM, even while no gateway is there."""
    path = write(tmp_path / "tidegate.yaml", {"iris": URLS}, autoscaler={"admin": "127.0.0.1:0"})
    running = asyncio.create_task(run(path))
    await eventually(lambda: asyncio.get_running_loop()._signal_handlers)  # type: ignore[attr-defined]
    os.kill(os.getpid(), signal.SIGINT)
    assert await asyncio.wait_for(running, 10) == 0
