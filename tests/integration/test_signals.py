"""Scaled by what model servers say, and by what they use of the machine: real processes behind `tidegate up`, and addresses."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.autoscaler.signals.stage import ModelServer
from tests.integration.running import ROOT, Running, tidegate

POD = ["python", str(ROOT / "tests/integration/gauge_pod.py"), "--port", "{port}"]


def config(folder: Path, metric: dict[str, Any], most: int) -> dict[str, Any]:
    scale = {"min": 1, "max": most, "stable_window": "6s", "metrics": [metric]}
    target = {"command": POD, "env": {"GAUGE_FOLDER": str(folder)}, "ready": "/ready"}
    return {
        "backends": {"model": {"target": target, "scale": scale}},
        "routes": [{"name": "all", "split": {"model": 1}}],
    }


async def decided(running: Running) -> dict[str, Any]:
    async with running.session.get(f"{running.admin}/v1/decisions") as answer:
        found: dict[str, Any] = (await answer.json())["backends"]["model"]
        return found


async def until(running: Running, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What is decided, once it is as expected."""
    last = await decided(running)
    try:
        async with asyncio.timeout(30):
            while not ("inputs" in last and condition(last)):
                await asyncio.sleep(0.1)
                last = await decided(running)
    except TimeoutError:
        raise AssertionError(f"{last}\n{running.log[-2000:]}") from None
    return last


def has(ready: int) -> Callable[[dict[str, Any]], bool]:
    return lambda found: found.get("ready") == ready == found.get("desired")


async def test_local_pods_are_scaled_by_their_own_gauge(tmp_path: Path) -> None:
    """Up as it says more, down as it says less; while its page fails the count stays, and the reason says why."""
    page = tmp_path / "metrics"
    page.write_text('depth{queue="a"} 0\ndepth{queue="b"} 9\n')
    gauge = {"type": "pod", "metric": "depth", "labels": {"queue": "a"}, "target": 2, "interval": "1s"}
    async with tidegate(tmp_path, config(tmp_path, gauge, most=3), "--plain") as running:
        await until(running, has(1))
        page.write_text('depth{queue="a"} 5\ndepth{queue="b"} 9\n')
        found = await until(running, has(3))
        assert "pod depth" in found["reason"]
        page.unlink()
        found = await until(running, lambda found: found.get("rule") == "no_data")
        assert found["desired"] == 3
        assert "pod depth" in found["reason"]
        assert "answered 500" in found["reason"]
        page.write_text('depth{queue="a"} 0\n')
        await until(running, has(1))


async def requests(running: Running) -> None:
    """Ten in a second."""
    while True:
        async with running.session.get(running.url) as answer:
            await answer.read()
        await asyncio.sleep(0.1)


async def test_local_pods_are_scaled_by_the_cpu_that_they_use(tmp_path: Path) -> None:
    """While there are requests: what idle pods use holds none."""
    cpu = {"type": "cpu", "target": "100m", "interval": "1s"}
    async with tidegate(tmp_path, config(tmp_path, cpu, most=2), "--plain") as running:
        await until(running, has(1))
        (tmp_path / "compute").touch()
        asking = asyncio.create_task(requests(running))
        found = await until(running, has(2))
        assert "cpu" in found["reason"]
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        (tmp_path / "compute").unlink()
        await until(running, has(1))


async def test_pods_at_fixed_urls_are_asked_too(tmp_path: Path) -> None:
    """What it would have is shown; a reload may ask for something else."""
    async with ModelServer("depth 10\n").serving() as port:
        metric = {"type": "pod", "metric": "depth", "target": 4, "interval": "1s"}
        target = {"urls": [f"http://127.0.0.1:{port}"]}
        document = {
            "backends": {"model": {"target": target, "scale": {"metrics": [metric]}}},
            "routes": [{"name": "all", "split": {"model": 1}}],
        }
        async with tidegate(tmp_path, document, "--plain") as running:
            found = await until(running, lambda found: found.get("wanted") == 3)
            assert found["inputs"]["metrics"]["pod depth"]["stable"] == 10.0
            document = json.loads(running.path.read_text())
            document["backends"]["model"]["scale"] = {"metric": "rps"}
            running.path.write_text(json.dumps(document))
            await until(running, lambda found: list(found["inputs"]["metrics"]) == ["rps"])
