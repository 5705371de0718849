"""The demo under load, told as a timeline: zero pods, many, zero again. `make demo` runs it.

Starts `tidegate up config/demo.yaml --plain` (or takes a running one: --url), lets a bounded number of clients ask one
after another for a bounded time, watches the admin state beside them, and checks what must hold: every answer 2xx,
never more requests in a pod than its limit, and zero pods and processes soon after the load. The limit is checked
with what pods say of themselves in each answer's headers, not with the gateway's word. Only 127.0.0.0/8 is loaded.
"""

import argparse
import asyncio
import contextlib
import csv
import itertools
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from gateway.config import ConfigError, load
from loadtests.common import ROOT, Children, alive, descendants, loopback, machine, wait_ready, write_result

RESULT = Path(__file__).with_name("result.json")
POLL = 0.5
SLACK = 15.0
"""Seconds allowed beyond window and grace until every pod is gone."""
LONGEST, MOST = 600.0, 512


@dataclass(frozen=True, slots=True)
class Plan:
    """What the configuration promises, as far as this script checks it."""

    address: str
    admin: str
    """Both `host:port`."""
    limit: int
    to_zero: float
    """The longest stable window plus grace of any backend, in seconds."""


@dataclass(slots=True)
class Tally:
    """What the clients saw. Latencies are seconds; those of `lately` since the last line of the timeline."""

    statuses: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    pids: set[int] = field(default_factory=set)
    max_in_flight: int = 0
    cold_starts: int = 0
    lately: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def answered(self, response: aiohttp.ClientResponse, took: float) -> None:
        headers = response.headers
        self.statuses[str(response.status)] += 1
        self.lately.append(took)
        self.latencies.append(took)
        self.cold_starts += "x-tidegate-cold-start" in headers
        if pid := headers.get("x-model-pid"):  # absent from the gateway's own answers
            self.pids.add(int(pid))
            self.versions[headers["x-model-version"]] += 1
            self.max_in_flight = max(self.max_in_flight, int(headers["x-max-in-flight"]))


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at the gateway's state."""

    in_flight: int
    queued: int
    replicas: dict[str, tuple[int, int]]
    """Ready and wanted, of each backend."""
    pods: int
    """Endpoints of any kind, draining ones included."""

    @property
    def shown(self) -> object:
        return self.in_flight, self.queued, self.replicas

    @property
    def at_zero(self) -> bool:
        return not self.pods and not any(ready or wanted for ready, wanted in self.replicas.values())


def read_sight(state: dict[str, Any]) -> Sight:
    """The parts of `/v1/state` that matter here."""
    backends = state["backends"]
    return Sight(
        in_flight=sum(backend["in_flight"] for backend in backends.values()),
        queued=sum(backend["queued"] for backend in backends.values()),
        replicas={
            name: (backend["replicas"]["ready"], backend["replicas"]["wanted"] or 0)
            for name, backend in backends.items()
        },
        pods=sum(len(backend["endpoints"]) for backend in backends.values()),
    )


# -- The plan


def read_plan(args: argparse.Namespace) -> Plan:
    config = load(args.config)
    scales = [backend.scale for backend in config.backends.values()]
    return Plan(
        address=args.url or str(config.listen),
        admin=args.admin or str(config.admin),
        limit=min(backend.concurrency for backend in config.backends.values()),
        to_zero=max(scale.stable_window + scale.scale_to_zero_grace_period for scale in scales),
    )


def address(text: str) -> str:
    """`host:port` of this machine, from a URL or from itself."""
    host, port = loopback(text.removeprefix("http://").rstrip("/"))
    return f"{host}:{port}"


# -- The load


def requests() -> list[tuple[str, bytes]]:
    """Path and body for each flower of the data: every other one by KServe's V1 protocol, the rest by V2."""
    with (ROOT / "deploy/demo/iris.csv").open(encoding="utf-8", newline="") as file:
        rows = [[float(x) for x in line[:4]] for line in list(csv.reader(file))[1:]]
    v1 = [("/v1/models/iris:predict", {"instances": [row]}) for row in rows[::2]]
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP64"}
    v2 = [("/v2/models/iris/infer", {"inputs": [{**tensor, "data": row}]}) for row in rows[1::2]]
    return [(path, json.dumps(body).encode()) for pair in zip(v1, v2, strict=True) for path, body in pair]


async def client(
    session: aiohttp.ClientSession, plan: Plan, tally: Tally, work: Iterator[tuple[str, bytes]], until: float
) -> None:
    """One request after another, each once the last is answered. The one that is open at the end is waited for."""
    while time.monotonic() < until:
        path, body = next(work)
        began = time.monotonic()
        try:
            async with session.post(
                f"http://{plan.address}{path}", data=body, allow_redirects=False
            ) as response:
                await response.read()
                tally.answered(response, time.monotonic() - began)
        except (aiohttp.ClientError, TimeoutError) as error:
            tally.statuses[type(error).__name__] += 1
            await asyncio.sleep(0.1)  # whatever is wrong, do not make it worse


# -- The timeline


class Timeline:
    """Looks at the state every half second and prints a line every second."""

    def __init__(self, session: aiohttp.ClientSession, plan: Plan, tally: Tally) -> None:
        self.session = session
        self.plan = plan
        self.tally = tally
        self.began = time.monotonic()
        self.written = -1.0
        self.shown: object = None
        self.lines: list[dict[str, Any]] = []
        self.most_pods: Counter[str] = Counter()

    async def look(self) -> Sight:
        async with self.session.get(f"http://{self.plan.admin}/v1/state") as response:
            sight = read_sight(await response.json())
        for name, (ready, _) in sight.replicas.items():
            self.most_pods[name] = max(self.most_pods[name], ready)
        return sight

    async def follow(self, until: float, *, idle: bool = False) -> float | None:
        """Watch until a moment, with a line every second. When idle: only news, and no longer than until nothing is
        left; returns the second at which that was so.
        """
        while time.monotonic() < until:
            sight = await self.look()
            at = time.monotonic() - self.began
            done = idle and sight.at_zero
            if done or (sight.shown != self.shown if idle else at - self.written > 1 - POLL / 2):
                self.write(at, sight)
            if done:
                return at
            await asyncio.sleep(POLL - at % POLL)
        return None

    def write(self, at: float, sight: Sight) -> None:
        lately, self.tally.lately = sorted(self.tally.lately), []
        line = {
            "second": round(at, 1),
            "requests_per_second": round(len(lately) / (at - max(self.written, 0.0)), 1) if lately else 0.0,
            "p50_ms": milliseconds(lately, 0.5),
            "p99_ms": milliseconds(lately, 0.99),
            "in_flight": sight.in_flight,
            "queued": sight.queued,
            "pods": {
                name: {"ready": ready, "wanted": wanted} for name, (ready, wanted) in sight.replicas.items()
            },
        }
        if not self.lines:
            names = "  ".join(f"{name:>9}" for name in sight.replicas)
            print(f"second   req/s  p50 ms  p99 ms  in flight  queued  {names}   (pods ready/wanted)")
        pods = "  ".join(f"{f'{ready}/{wanted}':>9}" for ready, wanted in sight.replicas.values())
        p50, p99 = line["p50_ms"] or "-", line["p99_ms"] or "-"
        print(
            f"{at:6.1f} {line['requests_per_second']:7} {p50:>7} {p99:>7}  {sight.in_flight:9}  {sight.queued:6}  {pods}",
            flush=True,
        )
        self.lines.append(line)
        self.written, self.shown = at, sight.shown


def milliseconds(ordered: list[float], share: float) -> float | None:
    """The quantile of sorted seconds, by nearest rank."""
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else None


async def run(args: argparse.Namespace, plan: Plan, pid: int | None) -> dict[str, Any]:
    """`pid` is Tidegate's, if it was started here."""
    before = set(descendants(pid)) if pid else set()
    tally = Tally()
    limits = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limits) as session:
        timeline = Timeline(session, plan, tally)
        print(
            f"{args.clients} clients for {args.duration:g} s against {plan.address}, each asking again when answered\n"
        )
        ends = timeline.began + args.duration
        work = itertools.cycle(requests())
        clients = [asyncio.create_task(client(session, plan, tally, work, ends)) for _ in range(args.clients)]
        try:
            await timeline.follow(ends)
            await asyncio.gather(*clients)
        finally:
            for task in clients:
                task.cancel()
        over = time.monotonic()
        print(f"{'':6} the load is over")
        zero = await timeline.follow(over + plan.to_zero + SLACK, idle=True)
        left = await remaining(pid, before, tally.pids)
    latencies = sorted(tally.latencies)
    return {
        "clients": args.clients,
        "duration_s": args.duration,
        "requests": sum(tally.statuses.values()),
        "statuses": dict(sorted(tally.statuses.items())),
        "versions": dict(sorted(tally.versions.items())),
        "p50_ms": milliseconds(latencies, 0.5),
        "p99_ms": milliseconds(latencies, 0.99),
        "waited_for_a_start": tally.cold_starts,
        "max_in_flight_of_a_pod": tally.max_in_flight,
        "limit_of_a_pod": plan.limit,
        "most_pods": dict(sorted(timeline.most_pods.items())),
        "seconds_to_zero_after_load": None if zero is None else round(zero - (over - timeline.began), 1),
        "seconds_to_zero_allowed": plan.to_zero + SLACK,
        "model_processes_seen": len(tally.pids),
        "model_processes_left": left,
        "timeline": timeline.lines,
    }


async def remaining(pid: int | None, before: set[int], seen: set[int]) -> int:
    """Model processes that are still there, zombies included; those that are ending get five seconds."""
    left: set[int] = set()
    for _ in range(50):
        left = {process for process in seen if alive(process)}
        left |= set(descendants(pid)) - before if pid else set()
        if not left:
            break
        await asyncio.sleep(0.1)
    return len(left)


# -- What came of it


def faults(result: dict[str, Any]) -> list[str]:
    """What did not hold, in words."""
    found = []
    bad = {status: number for status, number in result["statuses"].items() if not status.startswith("2")}
    if bad or not result["statuses"]:
        found.append(f"answers other than 2xx: {bad or 'no answer at all'}")
    if result["max_in_flight_of_a_pod"] > result["limit_of_a_pod"]:
        found.append(f"{result['max_in_flight_of_a_pod']} requests at once in a pod")
    if result["seconds_to_zero_after_load"] is None:
        found.append(f"not at zero {result['seconds_to_zero_allowed']:g} s after the load")
    if result["model_processes_left"]:
        found.append(f"{result['model_processes_left']} model processes left")
    return found


def tell(result: dict[str, Any]) -> None:
    total = sum(result["versions"].values()) or 1
    versions = ", ".join(
        f"{name} {number} ({number / total:.1%})" for name, number in result["versions"].items()
    )
    pods = ", ".join(f"{name} {number}" for name, number in result["most_pods"].items())
    zero = result["seconds_to_zero_after_load"]
    rows = {
        "answers": ", ".join(f"{number} x {status}" for status, number in result["statuses"].items())
        or "none",
        "by version": versions,
        "latency": f"p50 {result['p50_ms']} ms, p99 {result['p99_ms']} ms",
        "waited for a start": result["waited_for_a_start"],
        "most pods": pods,
        "most requests at once": f"{result['max_in_flight_of_a_pod']} in any pod, by the pods' own count (limit {result['limit_of_a_pod']})",
        "back at zero": f"{zero} s after the load (allowed: {result['seconds_to_zero_allowed']:g} s)"
        if zero
        else "no",
        "model processes": f"{result['model_processes_seen']} served, {result['model_processes_left']} left",
    }
    print()
    for name, value in rows.items():
        print(f"{name:>22}  {value}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Run Tidegate's demo under a bounded load and tell what happened."
    )
    parser.add_argument("--config", type=Path, default=ROOT / "config" / "demo.yaml")
    parser.add_argument(
        "--clients", type=int, default=64, help=f"clients at once, at most {MOST} (default: 64)"
    )
    parser.add_argument(
        "--duration", type=float, default=30.0, help=f"seconds, at most {LONGEST:g} (default: 30)"
    )
    parser.add_argument(
        "--url", type=address, help="load a Tidegate that runs already, such as http://127.0.0.1:8080"
    )
    parser.add_argument("--admin", type=address, help="its admin address (default: the configuration's)")
    parser.add_argument("--result", type=Path, default=RESULT, help="file for the figures as JSON")
    args = parser.parse_args()
    if not 0 < args.clients <= MOST or not 0 < args.duration <= LONGEST:
        parser.error(f"1 to {MOST} clients, more than 0 and at most {LONGEST:g} seconds")
    return args


def demo(args: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    if args.url:
        return asyncio.run(run(args, plan, None))
    for taken in (plan.address, plan.admin):
        with contextlib.suppress(OSError), socket.create_connection(loopback(taken), 1):
            sys.exit(f"{taken} is taken already; if it is by a Tidegate, load that one: --url {plan.address}")
    with Children() as children:
        tidegate = children.tidegate("up", args.config, "--plain")
        wait_ready(tidegate, plan.admin)
        return asyncio.run(run(args, plan, tidegate.process.pid))


def main() -> None:
    args = arguments()
    at = machine()
    try:
        result = demo(args, read_plan(args))
    except KeyboardInterrupt:
        sys.exit(130)
    except (ConfigError, aiohttp.ClientError) as error:  # a wrong file, or an admin side that went away
        sys.exit(f"{type(error).__name__}: {error}")
    tell(result)
    write_result(args.result, at, result)
    if found := faults(result):
        sys.exit("NOT AS PROMISED: " + "; ".join(found))
    print("as promised")


if __name__ == "__main__":
    main()
