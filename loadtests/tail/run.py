"""How late are the slowest one in a hundred, at half of what Envoy can do?

First Envoy's maximum: as many requests as 32 connections get answered, the other proxies beside it. Then every proxy gets half of
that, as an open loop, in turns: once from a client of our own, whose requests have times that were drawn beforehand and whose
latencies count from those, and once from h2load, which sends in bursts. Compared are medians over the rounds of each one's p99.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtests.common import Children, find_tool, free_port, machine, table, wait_listening, write_result
from loadtests.open_loop import Outcome, load
from loadtests.proxies import (
    LOAD_CORE,
    MODEL_HOST,
    MODEL_PATH,
    PROXIES,
    Meter,
    Subject,
    Usage,
    rotated,
    run_nginx,
    start,
    two_cores,
    versions,
    warn_if_disturbed,
)
from loadtests.tail.h2load import Burst, h2load

HERE = Path(__file__).resolve().parent
SHARE = 0.5
"""Of Envoy's maximum."""
CONNECTIONS = 128
"""Of our own client: more than are in flight, short of a stall of 10 ms."""
LIMIT = 128
"""Requests that a pod takes at once."""


@dataclass(frozen=True, slots=True)
class Most:
    """A subject as fast as it goes."""

    burst: Burst
    usage: Usage


@dataclass(frozen=True, slots=True)
class Turn:
    """A subject at the given rate, from either client."""

    own: Outcome
    h2load: Burst
    usage: Usage
    """While our own client ran."""


class Bench:
    """The proxies, with what sends them load; `failed` adds up all requests that did."""

    def __init__(self, children: Children, seconds: float, names: Sequence[str]) -> None:
        self._h2load = find_tool("h2load", "nghttp2-client")
        self._folder = children.folder
        self._seconds = seconds
        ports = free_port(), free_port()
        values = {"STABLE": ports[0], "CANDIDATE": ports[1]}
        nginx = run_nginx(HERE / "pods.nginx.conf", children.folder, values)
        pods = children.start("pods", nginx, core=LOAD_CORE)
        wait_listening(pods, ports[0])
        self.subjects = start(children, names, pods, ports, LIMIT)
        self.failed = 0

    def __repr__(self) -> str:
        return f"Bench({[subject.name for subject in self.subjects]}, {self.failed} failed)"

    def most(self, subject: Subject) -> Most:
        """As many requests as it answers."""
        subject.child.check()
        meter = Meter(subject)
        burst = h2load(self._h2load, self._folder, subject.port, self._seconds)
        self.failed += burst.failed
        return Most(burst, meter.read())

    def turn(self, subject: Subject, rate: float, seed: int) -> Turn:
        subject.child.check()
        meter = Meter(subject)
        own = load(
            subject.port,
            rate=rate,
            seconds=self._seconds,
            connections=CONNECTIONS,
            host=MODEL_HOST,
            path=MODEL_PATH,
            seed=seed,
            core=LOAD_CORE,
        )
        usage = meter.read()
        burst = h2load(self._h2load, self._folder, subject.port, self._seconds, rate)
        self.failed += own.failed + burst.failed
        return Turn(own, burst, usage)


def main() -> None:
    options = arguments()
    two_cores()
    at = machine()
    at["versions"] |= versions()
    with Children() as children:
        bench = Bench(children, options.seconds, options.proxies)
        maxima = find_maxima(bench, options.rounds)
        rate = SHARE * statistics.median(most.burst.per_second for most in maxima["envoy"])
        print(f"\nhalf of Envoy's maximum is {rate:,.0f} requests/s\n")
        turns = take_turns(bench, options.rounds, rate)
        if bench.failed:
            children.keep()
    medians = {name: summary(maxima[name], turns[name]) for name in turns}
    print(f"\n{rate:,.0f} requests/s, half of Envoy's maximum; medians of {options.rounds} rounds\n")
    print(show(medians))
    bounds = judge(medians)
    result = {
        "options": {"seconds": options.seconds, "rounds": options.rounds, "share": SHARE},
        "rate": round(rate, 1),
        "bounds": bounds,
        "failed": bench.failed,
        "medians": medians,
        "maxima": {name: [asdict(most) for most in of] for name, of in maxima.items()},
        "rounds": {name: [asdict(turn) for turn in of] for name, of in turns.items()},
    }
    warn_if_disturbed({name: of["disturbed"] for name, of in medians.items()})
    write_result(options.result, at, result)
    if bench.failed:
        sys.exit(f"{bench.failed} requests failed: see {options.result}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5, help="length of each burst of load (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--result", type=Path, default=HERE / "result.json")
    options = parser.parse_args()
    options.proxies = list(PROXIES)
    return options


def find_maxima(bench: Bench, rounds: int) -> dict[str, list[Most]]:
    found: dict[str, list[Most]] = {subject.name: [] for subject in bench.subjects}
    for number in range(rounds):
        for subject in rotated(bench.subjects, number):
            most = bench.most(subject)
            found[subject.name].append(most)
            print(
                f"maximum {number + 1}, {subject.name:10} {most.burst.per_second:8.0f} requests/s,"
                f" {most.usage.proxy_core:.0%} of its core",
                flush=True,
            )
    return found


def take_turns(bench: Bench, rounds: int, rate: float) -> dict[str, list[Turn]]:
    turns: dict[str, list[Turn]] = {subject.name: [] for subject in bench.subjects}
    for number in range(rounds):
        for subject in rotated(bench.subjects, number):
            turn = bench.turn(subject, rate, number)
            turns[subject.name].append(turn)
            print(
                f"round {number + 1}, {subject.name:10} p99 {turn.own.latency['p99']:7.3f} ms,"
                f" in h2load's bursts {turn.h2load.latency['p99']:7.3f} ms",
                flush=True,
            )
    return turns


def summary(maxima: Sequence[Most], turns: Sequence[Turn]) -> dict[str, float]:
    """Each figure's own median over the rounds."""
    columns = {
        "maximum": [most.burst.per_second for most in maxima],
        "core_at_maximum": [most.usage.proxy_core for most in maxima],
        **{name: [turn.own.latency[name] for turn in turns] for name in turns[0].own.latency},
        "late_p99": [turn.own.late["p99"] for turn in turns],
        "h2load_p50": [turn.h2load.latency["p50"] for turn in turns],
        "h2load_p99": [turn.h2load.latency["p99"] for turn in turns],
        "proxy_core": [turn.usage.proxy_core for turn in turns],
        "disturbed": [turn.usage.disturbed for turn in turns],
    }
    return {name: round(statistics.median(column), 4) for name, column in columns.items()}


def judge(medians: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    bounds = {}
    for figure, said in (("p99", "p99, ms"), ("h2load_p99", "p99 in h2load's bursts, ms")):
        own, envoy = medians["tidegate"][figure], medians["envoy"][figure]
        bounds[said] = {"is": own, "at most Envoy's": envoy, "met": own <= envoy}
        print(f"{said}: {own:.3f}, Envoy's {envoy:.3f}: {'met' if own <= envoy else 'missed'}")
    return bounds


def show(medians: Mapping[str, Mapping[str, float]]) -> str:
    head = [
        "",
        "maximum/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "max ms",
        "late p99",
        "h2load p99",
        "proxy core",
        "disturbed",
    ]
    rows = [
        [
            name,
            f"{of['maximum']:,.0f}",
            *(f"{of[quantile]:.2f}" for quantile in ("p50", "p95", "p99", "max")),
            f"{of['late_p99']:.3f}",
            f"{of['h2load_p99']:.2f}",
            f"{of['proxy_core']:.0%}" if of["proxy_core"] else "-",
            f"{of['disturbed']:.0%}",
        ]
        for name, of in medians.items()
    ]
    return table(head, rows) + "\n"


if __name__ == "__main__":
    main()
