"""Tidegate as its users run it: a process of its own, started with a configuration, ended by a signal."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from autoscaler.processes import Ports

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from gateway.cli import main; main()"]
DEMO = [
    "python",
    str(ROOT / "deploy/demo/server.py"),
    "--port",
    "{port}",
    "--load-time",
    "0s",
    "--request-time",
    "10ms",
]


PORTS = Ports(random.Random())  # noqa: S311 (no secret)


def free_port() -> int:
    """One that no connection is given by the system, and that no other test of this run has had."""
    return PORTS.take()


class Running:
    """One Tidegate process and what it serves."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path, url: str, admin: str, log: Path) -> None:
        self.process = process
        self.path = path
        self.url = url
        self.admin = admin
        self._log = log
        self.session = aiohttp.ClientSession()

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def state(self) -> dict[str, Any]:
        async with self.session.get(f"{self.admin}/v1/state") as answer:
            state: dict[str, Any] = await answer.json()
            return state

    async def pods(self, backend: str) -> list[dict[str, Any]]:
        endpoints: list[dict[str, Any]] = (await self.state())["backends"][backend]["endpoints"]
        return endpoints

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, 20)


@asynccontextmanager
async def tidegate(
    tmp_path: Path, config: dict[str, Any], *arguments: str, command: str = "up"
) -> AsyncIterator[Running]:
    """Run `tidegate COMMAND` on free ports until the block ends."""
    port, admin = free_port(), free_port()
    path = tmp_path / "config.yaml"
    config = {"listen": f"127.0.0.1:{port}", "admin": f"127.0.0.1:{admin}", **config}
    path.write_text(json.dumps(config))  # JSON is YAML
    async with started(path, port, admin, command, *arguments) as running:
        yield running


@asynccontextmanager
async def started(path: Path, port: int, admin: int, command: str, *arguments: str) -> AsyncIterator[Running]:
    """Run `tidegate COMMAND` on a file, and ports that it or the arguments name, until the block ends."""
    log = path.parent / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*COMMAND, command, str(path), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Running(process, path, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}", log)
    try:
        await _until_ready(running)
        yield running
    finally:
        await running.session.close()
        if process.poll() is None:
            process.kill()
        process.wait()


async def _until_ready(running: Running) -> None:
    async with asyncio.timeout(20):
        while True:
            assert running.process.poll() is None, running.log
            try:
                async with running.session.get(f"{running.admin}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def children(pid: int) -> list[int]:
    """Direct children that run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found
