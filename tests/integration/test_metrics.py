"""Scaling on latencies from end to end: a gateway's histograms, its beats, an autoscaler's percentiles, more real pods."""

import asyncio
from pathlib import Path
from typing import Any

from tests.eventually import eventually
from tests.integration.running import DEMO, children, tidegate

BODY = {"instances": [[5.1, 3.5, 1.4, 0.2]]}


async def test_waits_in_the_queue_bring_more_pods(tmp_path: Path) -> None:
    """Ten clients at a pod that takes one request of 100 ms at a time wait far longer than 50 ms; the reason says so."""
    slow = [*DEMO[:-1], "100ms"]
    config = {
        "backends": {
            "iris": {
                "target": {"command": [*slow, "--version", "v1"], "ready": "/v2/health/ready"},
                "concurrency": 1,
                "scale": {
                    "max": 3,
                    "stable_window": "6s",
                    "metrics": [{"type": "queue_wait", "percentile": 90, "target": "50ms"}],
                },
            }
        },
        "routes": [{"name": "iris", "split": {"iris": 1}}],
    }
    async with tidegate(tmp_path, config, "--plain") as running:
        statuses: set[int] = set()

        async def client() -> None:
            while True:
                async with running.session.post(f"{running.url}/v1/models/iris:predict", json=BODY) as answer:
                    statuses.add(answer.status)

        async def decision() -> dict[str, Any]:
            async with running.session.get(f"{running.admin}/v1/decisions") as answer:
                told: dict[str, Any] = (await answer.json())["backends"]["iris"]
                return told

        clients = [asyncio.create_task(client()) for _ in range(10)]
        await eventually(lambda: len(children(running.process.pid)) == 3, within=30)
        told = await decision()
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    assert statuses == {200}
    seen = told["inputs"]["metrics"]["queue_wait_p90"]
    assert seen["target"] == 0.05
    assert seen["panic"] > 0.05
    assert any("queue_wait_p90 of" in entry["reason"] for entry in told["history"])
