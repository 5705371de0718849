"""An autoscaler that is killed in a surge and started again, beside one that nobody touches: real processes, real clocks."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration.running import COMMAND, DEMO, Running, free_port, tidegate

SCALE = {"stable_window": "20s", "panic_window_percentage": 20}


class Autoscaler:
    """One process, with a state file and a log of its own."""

    def __init__(self, config: Path, name: str) -> None:
        self.config, self.port = config, free_port()
        self.state, self.log = config.with_name(f"{name}.json"), config.with_name(f"{name}.log")

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        admin = f"127.0.0.1:{self.port}"
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [*COMMAND, "autoscaler", str(self.config), "--admin", admin, "--state", str(self.state)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    async def decided(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        """Its last decision; empty while there is none."""
        try:
            async with session.get(f"http://127.0.0.1:{self.port}/v1/decisions") as answer:
                found: dict[str, Any] = (await answer.json())["backends"]["model"]
        except (aiohttp.ClientConnectionError, KeyError):
            return {}
        return found

    async def until(self, session: aiohttp.ClientSession, condition: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(30):
                while not ("inputs" in found and condition(found)):
                    await asyncio.sleep(0.05)
                    found = await self.decided(session)
        except TimeoutError:
            raise AssertionError(f"{found}\n{self.log.read_text()[-2000:]}") from None
        return found


def stable(found: dict[str, Any]) -> float:
    average: float = found["inputs"]["metrics"]["concurrency"]["stable"] or 0.0
    return average


@asynccontextmanager
async def a_gateway(tmp_path: Path) -> AsyncIterator[Running]:
    """In front of one pod that takes its time."""
    port = free_port()
    command = [part.replace("{port}", str(port)).replace("10ms", "400ms") for part in DEMO]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as pod:
        try:
            backend = {"target": {"urls": [f"http://127.0.0.1:{port}"]}, "scale": SCALE}
            config = {"backends": {"model": backend}, "routes": [{"name": "all", "split": {"model": 1}}]}
            async with tidegate(tmp_path, config, command="gateway") as running:
                yield running
        finally:
            pod.kill()


async def client(running: Running) -> None:
    body = json.dumps({"instances": [[6.8, 2.8, 4.8, 1.4]]})
    while True:
        async with running.session.post(f"{running.url}/v1/models/iris:predict", data=body) as answer:
            await answer.read()


@pytest.mark.timeout(120)
async def test_killed_in_a_surge_it_knows_what_the_other_knows(tmp_path: Path) -> None:
    """Two seconds later it is back, and its averages are those of the one that looked on; nothing is held for a window."""
    async with a_gateway(tmp_path) as gateway, asyncio.TaskGroup() as group:
        session = gateway.session
        killed, other = (Autoscaler(gateway.path, name) for name in ("killed", "other"))
        with ExitStack() as stack:
            stack.enter_context(other.running())
            with killed.running() as process:
                load = [group.create_task(client(gateway))]
                await killed.until(session, lambda found: stable(found) > 0.5)
                load += [group.create_task(client(gateway)) for _ in range(9)]
                # The surge fills the window: while an average rises, two that look at other moments differ.
                await killed.until(session, lambda found: stable(found) > 8)
                process.kill()
                process.wait()
            await asyncio.sleep(2.0)
            stack.enter_context(killed.running())
            await killed.until(session, lambda found: stable(found) > 2)
            one, two = await killed.decided(session), await other.decided(session)
            assert stable(one) == pytest.approx(stable(two), abs=1.5), killed.log.read_text()
            assert one["inputs"]["missing"] is None
            log = killed.log.read_text()
            assert "1 of 1 targets go on from what was known" in log
            for task in load:
                task.cancel()
