"""How much later does an answer come through the gateway? An open loop of 1,000 requests/s against pods that take 100 ms.

The same requests, at the same times, go to the pods themselves and through the gateway and its peers, in turns. Compared are
the medians over the rounds of each one's p95: a proxy's minus that without a proxy.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtests.common import Children, free_port, machine, table, wait_listening, write_result
from loadtests.open_loop import Outcome, load
from loadtests.proxies import (
    DIRECT,
    LOAD_CORE,
    MODEL_HOST,
    MODEL_PATH,
    PROXIES,
    Meter,
    Subject,
    Usage,
    rotated,
    start,
    two_cores,
    warn_if_disturbed,
)

HERE = Path(__file__).resolve().parent
RATE = 1000.0
DELAY = 0.1
BOUND_MS = 1.0
CONNECTIONS = 256
"""The client's; some 100 requests are in flight."""
LIMIT = 256
"""Requests that a pod takes at once."""
Measured = tuple[Outcome, Usage]


def main() -> None:
    options = arguments()
    two_cores()
    at = machine()
    with Children() as children:
        rounds = measure(set_up(children, options.peers), options)
        failed = sum(outcome.failed for of in rounds.values() for outcome, _ in of)
        if failed:
            children.keep()
    medians = {name: median(of) for name, of in rounds.items()}
    print(
        f"\n{RATE:,.0f} requests/s, pods that take {DELAY * 1000:.0f} ms, median of {options.rounds} rounds\n"
    )
    print(show(medians))
    result = {
        "options": {"seconds": options.seconds, "rounds": options.rounds, "rate": RATE, "delay": DELAY},
        "bounds": judge(medians),
        "failed": failed,
        "medians": medians,
        "rounds": {name: [asdict(o) | asdict(u) for o, u in of] for name, of in rounds.items()},
    }
    warn_if_disturbed({name: of["disturbed"] for name, of in medians.items()})
    write_result(options.result, at, result)
    if failed:
        sys.exit(f"{failed} requests failed: see failures in {options.result}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="length of a round for each (default: 10)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--peers", nargs="+", choices=sorted(PROXIES), default=["tidegate", "nginx"])
    parser.add_argument("--result", type=Path, default=HERE / "result.json")
    return parser.parse_args()


def set_up(children: Children, peers: Sequence[str]) -> list[Subject]:
    ports = free_port(), free_port()
    script: list[str | Path] = [sys.executable, HERE / "upstream.py", "--delay", str(DELAY)]
    pods = children.start("pods", [*script, "--ports", *map(str, ports)], core=LOAD_CORE)
    wait_listening(pods, ports[0])
    return start(children, peers, pods, ports, LIMIT)


def measure(subjects: Sequence[Subject], options: argparse.Namespace) -> dict[str, list[Measured]]:
    rounds: dict[str, list[Measured]] = {subject.name: [] for subject in subjects}
    for number in range(options.rounds):
        for subject in rotated(subjects, number):
            subject.child.check()
            meter = Meter(subject)
            outcome = load(
                subject.port,
                rate=RATE,
                seconds=options.seconds,
                connections=CONNECTIONS,
                host=MODEL_HOST,
                path=MODEL_PATH,
                seed=number,
                core=LOAD_CORE,
            )
            rounds[subject.name].append((outcome, meter.read()))
            told = f"p95 {outcome.latency['p95']:8.3f} ms, {outcome.failed} failed"
            print(f"round {number + 1}, {subject.name:10} {told}", flush=True)
    return rounds


def median(of: Sequence[Measured]) -> dict[str, float]:
    """Each figure's own median over the rounds."""
    columns: dict[str, list[float]] = {
        **{name: [outcome.latency[name] for outcome, _ in of] for name in of[0][0].latency},
        "late_p99": [outcome.late["p99"] for outcome, _ in of],
        "waited": [outcome.waited for outcome, _ in of],
        "cpu_us_per_request": [usage.cpu_seconds / outcome.sent * 1e6 for outcome, usage in of],
        "disturbed": [usage.disturbed for _, usage in of],
    }
    return {name: round(statistics.median(column), 4) for name, column in columns.items()}


def judge(medians: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Tell and return whether the bound is met; nothing when the gateway was not among the peers."""
    if "tidegate" not in medians:
        return {}
    added = round(medians["tidegate"]["p95"] - medians[DIRECT]["p95"], 3)
    met = added <= BOUND_MS
    said = f"{added:.2f} ms above that without a proxy; at most {BOUND_MS:g}"
    print(f"\np95 through the gateway is {said}: {'met' if met else 'missed'}")
    return {"p95 above that without a proxy, ms": {"is": added, "at most": BOUND_MS, "met": met}}


def show(medians: Mapping[str, Mapping[str, Any]]) -> str:
    head = [
        "",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "max ms",
        "p95 added",
        "late p99",
        "CPU us/request",
        "disturbed",
    ]
    direct = medians[DIRECT]["p95"]
    rows = [
        [
            name,
            *(f"{of[quantile]:.2f}" for quantile in ("p50", "p95", "p99", "max")),
            f"{of['p95'] - direct:+.2f}" if name != DIRECT else "",
            f"{of['late_p99']:.3f}",
            f"{of['cpu_us_per_request']:.0f}" if name != DIRECT else "-",
            f"{of['disturbed']:.0%}",
        ]
        for name, of in medians.items()
    ]
    return table(head, rows)


if __name__ == "__main__":
    main()
