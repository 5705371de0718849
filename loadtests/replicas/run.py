"""Replicas are pushed 5 -> 1 -> 5, others cross 1 -> 0 -> 1, again and again under a steady load: does any request fail?

The bounds of one backend are pushed by saving the configuration with other ones. Several others get a request now and then,
after pauses about as long as going to zero takes, so that some come just while their only pod goes. SIGTERM ends these pods at
once (`rude_pod.py`): a pod that were ended while it works, or while a request is on its way to it, would break that request.
"""

import argparse
import asyncio
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtests.common import (
    HOST,
    Child,
    Children,
    alive,
    free_port,
    get_json,
    machine,
    table,
    wait_ready,
    wait_until,
    write_result,
)
from loadtests.replicas.load import Load, Tally

HERE = Path(__file__).resolve().parent
LIMIT = 2
MOST, LEAST = 5, 1
LOAD_TIME = 0.1
"""Seconds, of every pod: who waits for less got one that was there."""
LONGEST_PUSH = 40.0
"""Seconds until a pushed count is reached: requests of some 3 s are finished first, and pods load."""

HEAD = """\
listen: {listen}
admin: {admin}
drain: {{timeout: 30s}}
backends:
"""
BACKEND = """\
  {name}:
    target:
      command: [python, {pod}, --port, "{{port}}", --load-time, "{load_time}", --request-time, {request_time}]
      ready: /v2/health/ready
    concurrency: {limit}
    queue: {{depth: 100, timeout: 60s}}
    scale: {{min: {least}, max: {most}, stable_window: 6s, scale_to_zero_grace_period: 100ms}}
"""
ROUTE = "  - {{name: {name}, hosts: [{name}.example.com], split: {{{name}: 1}}}}\n"


class Setup:
    """The configuration, and its `pushed` backend's bounds."""

    def __init__(self, folder: Path, sparse: int) -> None:
        self.path = folder / "config.yaml"
        self.listen, self.admin = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
        self.sparse = [f"sparse-{number}" for number in range(1, sparse + 1)]

    def save(self, replicas: int) -> None:
        """As editors do: a new file in the old one's place."""
        common = {"pod": HERE / "rude_pod.py", "load_time": LOAD_TIME, "limit": LIMIT}
        text = HEAD.format(listen=self.listen, admin=self.admin)
        text += BACKEND.format(name="pushed", request_time="50ms", least=replicas, most=replicas, **common)
        for name in self.sparse:
            text += BACKEND.format(name=name, request_time="1s", least=0, most=2, **common)
        text += "routes:\n" + "".join(ROUTE.format(name=name) for name in ["pushed", *self.sparse])
        new = self.path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        os.replace(new, self.path)  # noqa: PTH105 (the same call, but it says what it does)


@dataclass(slots=True)
class Seen:
    """What the gateway's state showed, looked at twenty times a second."""

    pods: dict[str, str] = field(default_factory=dict)
    """The backend of each pod that there was, by uid."""
    drained_busy: set[str] = field(default_factory=set)
    """Pods that were marked draining while they had requests: without the mark these would have been broken."""
    above_limit: dict[str, int] = field(default_factory=dict)
    to_zero: dict[str, int] = field(default_factory=dict)
    """How often each backend's last pod went."""
    _had_pods: set[str] = field(default_factory=set)

    def note(self, state: dict[str, Any]) -> None:
        for name, backend in state["backends"].items():
            for endpoint in backend["endpoints"]:
                uid, in_flight = endpoint["uid"], endpoint["in_flight"]
                self.pods[uid] = name
                if endpoint["draining"] and in_flight:
                    self.drained_busy.add(uid)
                if in_flight > LIMIT:
                    self.above_limit[uid] = in_flight
            if backend["endpoints"]:
                self._had_pods.add(name)
            elif name in self._had_pods:
                self._had_pods.discard(name)
                self.to_zero[name] = self.to_zero.get(name, 0) + 1


def main() -> None:
    options = arguments()
    at = machine()
    with Children() as children:
        setup = Setup(children.folder, options.sparse)
        setup.save(LEAST)
        gateway = children.tidegate("up", setup.path, "--plain")
        wait_ready(gateway, setup.admin)
        began = time.monotonic()
        tally, seen, pushes = asyncio.run(run(setup, gateway, options.cycles))
        took = time.monotonic() - began
        code = gateway.end()
        wait_until(lambda: not any(map(alive, tally.max_in_flight)), 5, "no model process remained")
        log = gateway.output()
        findings = verdict(tally, seen, log, code)
        if findings:
            children.keep()
    figures = summary(tally, seen, pushes) | {"seconds": round(took, 1)}
    result = {
        "options": vars(options),
        "met": not findings,
        "findings": findings,
        **figures,
        "answered_by_kind": dict(sorted(tally.ok.items())),
        "failures": tally.failures,
    }
    print("\n" + table(["answered 200", "requests"], sorted(tally.ok.items())))
    print("\n" + table(["in all", ""], list(figures.items())))
    write_result(HERE / "result.json", at, result)
    if findings:
        sys.exit("\n".join(["not as it should be:", *findings]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cycles", type=int, default=10, help="pushes to 5 and back to 1 (default: 10, about 80 s)"
    )
    parser.add_argument("--sparse", type=int, default=4, help="backends that cross zero (default: 4)")
    return parser.parse_args()


async def run(setup: Setup, gateway: Child, cycles: int) -> tuple[Tally, Seen, list[float]]:
    """The load, and the pushes beside it. Returns also what each push took, in seconds."""
    load, seen = Load(setup.listen), Seen()
    loading = asyncio.create_task(load.run(setup.sparse))
    watching = asyncio.create_task(watch(setup.admin, seen))
    pushes = []
    try:
        for cycle in range(1, cycles + 1):
            pushes += [await push(setup, gateway, MOST), await push(setup, gateway, LEAST)]
            print(
                f"cycle {cycle:2}: to {MOST} in {pushes[-2]:4.1f} s, to {LEAST} in {pushes[-1]:4.1f} s; "
                f"{load.tally.ok.total():6} answered, {len(load.tally.failures)} failed, "
                f"{sum(seen.to_zero.values())} times to zero",
                flush=True,
            )
    finally:
        load.end()
        await asyncio.wait([loading])
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    loading.result()
    return load.tally, seen, pushes


async def push(setup: Setup, gateway: Child, replicas: int) -> float:
    """Set both bounds; returns once there are as many ready pods, and none beside them."""
    began = time.monotonic()
    await asyncio.to_thread(setup.save, replicas)
    while time.monotonic() - began < LONGEST_PUSH:
        await asyncio.sleep(0.1)
        gateway.check()
        state = await asyncio.to_thread(get_json, setup.admin, "/v1/state")
        pushed = state["backends"]["pushed"]
        if pushed["replicas"]["ready"] == len(pushed["endpoints"]) == replicas:
            took = time.monotonic() - began
            await asyncio.sleep(1.0)  # some load at this count
            return took
    raise SystemExit(f"after {LONGEST_PUSH:g} s there were not {replicas} pods: {pushed}")


async def watch(admin: str, seen: Seen) -> None:
    while True:
        seen.note(await asyncio.to_thread(get_json, admin, "/v1/state"))
        await asyncio.sleep(0.05)


def verdict(tally: Tally, seen: Seen, log: str, code: int) -> list[str]:
    """What was not as it should be."""
    found = [f"{len(tally.failures)} requests failed"] if tally.failures else []
    found += [
        f"pod {pid} of {tally.backends[pid]} worked on {most} requests at once"
        for pid, most in tally.max_in_flight.items()
        if most > LIMIT
    ]
    found += [f"the gateway had {most} requests open to {uid}" for uid, most in seen.above_limit.items()]
    found += [line for line in log.splitlines() if "unasked" in line or "Traceback" in line]
    if code:
        found.append(f"tidegate ended with code {code}")
    if not seen.to_zero or not seen.drained_busy:
        found.append("nothing was put to the test: no pod went to zero, or none was busy when it had to go")
    return found


def summary(tally: Tally, seen: Seen, pushes: list[float]) -> dict[str, Any]:
    return {
        "answered": tally.ok.total(),
        "failed": len(tally.failures),
        "pushes": len(pushes),
        "longest_push_s": round(max(pushes), 1),
        "pods_started": len(seen.pods),
        "pods_busy_when_marked_draining": len(seen.drained_busy),
        "times_to_zero": sum(seen.to_zero.values()),
        "requests_that_waited_for_a_start": len(tally.cold_starts),
        "of_these_got_a_draining_pod_back": sum(
            seconds < LOAD_TIME for backend, seconds in tally.cold_starts if backend != "pushed"
        ),
        "most_in_flight_in_a_pod": max(tally.max_in_flight.values(), default=0),
        "limit": LIMIT,
    }


if __name__ == "__main__":
    main()
