"""What does it cost to relay an event? 200 streams of server-sent events, 50 a second each, through the gateway and its peers.

Each proxy gets all streams in turns, on a core of its own; compared are medians over the rounds of its CPU time per event, in
user and system mode. The client counts: no event may be lost, and every stream must end as HTTP says.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtests.common import Children, free_port, machine, table, wait_listening, write_result
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
    versions,
    warn_if_disturbed,
)
from loadtests.sse.client import Outcome, read
from loadtests.sse.upstream import PERIOD

HERE = Path(__file__).resolve().parent
STREAMS = 200
LIMIT = 256
"""Requests that a pod takes at once: no stream waits."""
Measured = tuple[Outcome, Usage]


def main() -> None:
    options = arguments()
    two_cores()
    at = machine()
    at["versions"] |= versions()
    with Children() as children:
        rounds = measure(set_up(children), options)
        lost = sum(outcome.lost for of in rounds.values() for outcome, _ in of)
        broken = sum(outcome.broken for of in rounds.values() for outcome, _ in of)
        if lost or broken:
            children.keep()
    medians = {name: median(of) for name, of in rounds.items()}
    print(f"\n{STREAMS} streams of {1 / PERIOD:.0f} events/s, medians of {options.rounds} rounds\n")
    print(show(medians))
    result = {
        "options": {
            "seconds": options.seconds,
            "rounds": options.rounds,
            "streams": STREAMS,
            "period": PERIOD,
        },
        "bounds": judge(medians),
        "lost": lost,
        "broken": broken,
        "medians": medians,
        "rounds": {name: [asdict(o) | asdict(u) for o, u in of] for name, of in rounds.items()},
    }
    warn_if_disturbed({name: of["disturbed"] for name, of in medians.items()})
    write_result(options.result, at, result)
    if lost or broken:
        sys.exit(f"{lost} events were lost, {broken} streams broke: see failures in {options.result}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="length of the streams (default: 10)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--result", type=Path, default=HERE / "result.json")
    return parser.parse_args()


def set_up(children: Children) -> list[Subject]:
    ports = free_port(), free_port()
    script: list[str | Path] = [sys.executable, HERE / "upstream.py", "--ports", *map(str, ports)]
    pods = children.start("pods", script, core=LOAD_CORE)
    wait_listening(pods, ports[0])
    return start(children, list(PROXIES), pods, ports, LIMIT)


def measure(subjects: Sequence[Subject], options: argparse.Namespace) -> dict[str, list[Measured]]:
    rounds: dict[str, list[Measured]] = {subject.name: [] for subject in subjects}
    for number in range(options.rounds):
        for subject in rotated(subjects, number):
            subject.child.check()
            meter = Meter(subject)
            outcome = read(
                subject.port,
                streams=STREAMS,
                events=round(options.seconds / PERIOD),
                seconds=options.seconds,
                host=MODEL_HOST,
                path=MODEL_PATH,
                core=LOAD_CORE,
            )
            usage = meter.read()
            rounds[subject.name].append((outcome, usage))
            told = f"{per_event(outcome, usage):5.1f} us/event, delay p99 {outcome.delay['p99']:.2f} ms"
            print(f"round {number + 1}, {subject.name:10} {told}, {outcome.lost} lost", flush=True)
    return rounds


def per_event(outcome: Outcome, usage: Usage) -> float:
    """Microseconds of the proxy's CPU time, the requests' own included: 200 of them."""
    return usage.cpu_seconds / max(outcome.events, 1) * 1e6


def median(of: Sequence[Measured]) -> dict[str, float]:
    """Each figure's own median over the rounds."""
    columns = {
        "cpu_us_per_event": [per_event(outcome, usage) for outcome, usage in of],
        "events_per_s": [outcome.events / outcome.seconds for outcome, _ in of],
        **{name: [outcome.delay[name] for outcome, _ in of] for name in of[0][0].delay},
        "proxy_core": [usage.proxy_core for _, usage in of],
        "load_core": [usage.load_core for _, usage in of],
        "disturbed": [usage.disturbed for _, usage in of],
    }
    return {name: round(statistics.median(column), 4) for name, column in columns.items()}


def judge(medians: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Tell and return whether the bound is met."""
    own, envoy = medians["tidegate"]["cpu_us_per_event"], medians["envoy"]["cpu_us_per_event"]
    met = own <= envoy
    print(f"\nCPU per event: {own:.1f} us, Envoy's {envoy:.1f} us: {'met' if met else 'missed'}")
    return {"CPU per event, us": {"is": own, "at most Envoy's": envoy, "met": met}}


def show(medians: Mapping[str, Mapping[str, Any]]) -> str:
    head = [
        "",
        "CPU us/event",
        "events/s",
        "delay p50 ms",
        "p99 ms",
        "max ms",
        "proxy core",
        "load core",
        "disturbed",
    ]
    rows = [
        [
            name,
            f"{of['cpu_us_per_event']:.1f}" if name != DIRECT else "-",
            f"{of['events_per_s']:,.0f}",
            *(f"{of[quantile]:.2f}" for quantile in ("p50", "p99", "max")),
            f"{of['proxy_core']:.0%}" if name != DIRECT else "-",
            f"{of['load_core']:.0%}",
            f"{of['disturbed']:.0%}",
        ]
        for name, of in medians.items()
    ]
    return table(head, rows)


if __name__ == "__main__":
    main()
