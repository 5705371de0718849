"""Do pods follow the load, and does any request fail meanwhile? A step, a ramp, a flash crowd and sparse requests.

Starts `tidegate up` with the demo's model server as local pods, from zero, sends requests at the moments that `shapes` says, whatever
the answers take, and looks at the gateway's state every second. What came of it is written as JSON, and drawn (`picture`). Only
127.0.0.0/8 is loaded; the whole is bounded in requests and time.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from loadtests.autoscaling.picture import draw
from loadtests.autoscaling.shapes import Shape, shapes
from loadtests.common import (
    DEMO_SERVER,
    HOST,
    Children,
    free_port,
    machine,
    quantiles,
    table,
    wait_ready,
    write_result,
)

HERE = Path(__file__).resolve().parent
PATIENCE = aiohttp.ClientTimeout(total=60)
PATH = "/v1/models/iris:predict"
BODY = b'{"instances": [[6.8, 2.8, 4.8, 1.4]]}'
WORK = 0.2
"""Seconds that a pod works on a request: what an answer takes beyond that is waiting."""
TO_ZERO = 30.0
MOST_REQUESTS = 10_000

CONFIG = """\
listen: {listen}
admin: {admin}
backends:
  iris:
    target:
      command: [python, {server}, --port, "{{port}}", --load-time, 1s, --request-time, 200ms]
      ready: /v2/health/ready
    concurrency: 2
    queue: {{depth: 1000, timeout: 60s}}
    scale: {{min: 0, max: 8, stable_window: 6s, scale_to_zero_grace_period: 3s}}
routes:
  - name: iris
    split: {{iris: 1}}
"""


@dataclass(slots=True)
class Tally:
    """What clients saw."""

    sent: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    waits: list[tuple[float, float]] = field(default_factory=list)
    """When the answer was there, and how long it took beyond the pod's work."""


class Stage:
    """A running Tidegate, its clients, and somebody who watches."""

    def __init__(self, session: aiohttp.ClientSession, listen: str, admin: str) -> None:
        self.session, self.listen, self.admin = session, listen, admin

    async def play(self, shape: Shape) -> dict[str, Any]:
        """Send one load and watch; its figures."""
        times = shape.times()
        if len(times) > MOST_REQUESTS:
            sys.exit(f"{shape.name} has {len(times)} requests, and {MOST_REQUESTS} are the most")
        tally, began = Tally(), time.monotonic()
        watched = asyncio.create_task(self.watch(shape, tally, began))
        async with asyncio.TaskGroup() as group:
            for at in times:
                await asyncio.sleep(began + at - time.monotonic())
                tally.sent += 1
                group.create_task(self.request(tally, began, at))
        timeline = await watched
        return {
            "about": shape.about,
            "requests": tally.sent,
            "failed": tally.failures.total(),
            "failures": dict(tally.failures),
            "wait_seconds": quantiles([wait for _, wait in tally.waits]),
            "most_ready": max(timeline["ready"]),
            "seconds_at_zero": timeline["ready"].count(0),
            "timeline": timeline,
        }

    async def request(self, tally: Tally, began: float, at: float) -> None:
        try:
            async with self.session.post(f"http://{self.listen}{PATH}", data=BODY) as answer:
                await answer.read()
                if answer.status != 200:
                    tally.failures[str(answer.status)] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            tally.failures[type(error).__name__] += 1
        over = time.monotonic() - began
        tally.waits.append((over, max(0.0, over - at - WORK)))

    async def watch(self, shape: Shape, tally: Tally, began: float) -> dict[str, list[Any]]:
        """A value a second of each thing that is drawn."""
        seen: dict[str, list[Any]] = {
            name: []
            for name in ("second", "offered", "ready", "wanted", "in_flight", "queued", "wait_p95", "failed")
        }
        sent, counted = 0, 0
        for second in range(int(shape.seconds + shape.after)):
            await asyncio.sleep(began + second - time.monotonic())
            backend = (await self.state())["backends"]["iris"]
            waits = [wait for _, wait in tally.waits[counted:]]
            row = (
                second,
                tally.sent - sent,
                backend["replicas"]["ready"],
                backend["replicas"]["wanted"] or 0,
                backend["in_flight"],
                backend["queued"],
                round(quantiles(waits)["p95"], 3) if waits else None,
                tally.failures.total(),
            )
            sent, counted = tally.sent, len(tally.waits)
            for name, value in zip(seen, row, strict=True):
                seen[name].append(value)
        return seen

    async def at_zero(self) -> None:
        """Each shape begins without pods."""
        give_up = time.monotonic() + TO_ZERO
        while (await self.state())["backends"]["iris"]["endpoints"]:
            if time.monotonic() > give_up:
                sys.exit(f"there are still pods {TO_ZERO:g} s after the last request")
            await asyncio.sleep(0.5)

    async def state(self) -> dict[str, Any]:
        async with self.session.get(f"http://{self.admin}/v1/state") as answer:
            state: dict[str, Any] = await answer.json()
            return state


async def play(listen: str, admin: str, chosen: list[Shape]) -> dict[str, Any]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=PATIENCE) as session:
        stage, results = Stage(session, listen, admin), {}
        for shape in chosen:
            await stage.at_zero()
            print(f"{shape.name}: {shape.about}", flush=True)
            results[shape.name] = await stage.play(shape)
        return results


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter shapes: under 2 minutes")
    parser.add_argument(
        "--result", type=Path, default=HERE / "result.json", help="file for the figures as JSON"
    )
    parser.add_argument("--picture", type=Path, default=HERE / "result.png", help="file for the picture")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    at, chosen = machine(), shapes(options.quick)
    listen, admin = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
    with Children() as children:
        config = children.folder / "config.yaml"
        config.write_text(CONFIG.format(listen=listen, admin=admin, server=DEMO_SERVER))
        wait_ready(children.tidegate("up", config, "--plain"), admin)
        results = asyncio.run(play(listen, admin, chosen))
    report(at, results, options)


def report(at: dict[str, Any], results: dict[str, Any], options: argparse.Namespace) -> None:
    head = ["load", "requests", "failed", "wait p50, s", "p95", "max", "most pods", "s at zero"]
    rows = [
        [
            name,
            found["requests"],
            found["failed"],
            *(found["wait_seconds"][key] for key in ("p50", "p95", "max")),
            found["most_ready"],
            found["seconds_at_zero"],
        ]
        for name, found in results.items()
    ]
    print("\n" + table(head, rows))
    failed = sum(found["failed"] for found in results.values())
    write_result(options.result, at, {"quick": options.quick, "failed": failed, "loads": results})
    draw(results, options.picture)
    if failed:
        sys.exit(f"{failed} requests failed, and none may")


if __name__ == "__main__":
    main()
