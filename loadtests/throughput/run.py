"""Requests/s through the gateway beside other proxies, in one run on one machine: small JSON POSTs on kept connections.

The proxy under test has one core; the load (wrk) and the upstream (nginx) share the other. All proxies run all the time, one
gets load at a time, in rounds whose order rotates, so that what disturbs the machine disturbs all of them. Reported are
medians over the rounds and their ratios. A proxy that did not use its core up (`proxy core` below 95 %) was held back by the
load's core: CPU per request then tells more than requests/s.
"""

import argparse
import json
import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtests.common import (
    HOST,
    Child,
    Children,
    find_tool,
    free_port,
    loopback,
    machine,
    on_core,
    table,
    wait_listening,
    write_result,
)
from loadtests.throughput.peers import DEFAULT, MODEL_HOST, MODEL_PATH, PEERS, Place, upstream

HERE = Path(__file__).resolve().parent
PROXY_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 32
SIZES = (100, 1024)
DIRECT = "direct"
"""No proxy at all: what load and upstream can do on their core."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one burst of load gave."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_us_per_request: float
    """CPU time of the proxy, in user and system mode; of load and upstream it says nothing."""
    proxy_core: float
    """Share of its core that the proxy used."""
    load_core: float
    """Share of the other core that was busy, with whatever."""
    disturbance: float
    """Share of the proxy's core that something else used: above a few percent the figures are worth little."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that gets load."""

    name: str
    child: Child
    port: int


def main() -> None:
    options = arguments()
    wrk = find_tool("wrk", "wrk")
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("this needs two cores: one for the proxy under test, one for load and upstream")
    at = machine()
    with Children() as children:
        subjects = start(children, options.peers)
        for subject in subjects:
            burst(wrk, subject, SIZES[0], 1)  # connections, caches, the branch predictor
        rounds = measure(wrk, subjects, options)
    at["versions"] |= {
        "nginx": _version([find_tool("nginx", "nginx-light"), "-v"]),
        "wrk": _version([wrk, "-v"]),
    }
    medians = {size: {name: median(of) for name, of in by_name.items()} for size, by_name in rounds.items()}
    for size, by_name in medians.items():
        print(f"\n{size}-byte POSTs, {CONNECTIONS} connections, median of {options.rounds} rounds\n")
        print(show(by_name))
    result = {
        "options": vars(options) | {"connections": CONNECTIONS},
        "ratios": {size: ratios(by_name) for size, by_name in medians.items()},
        "medians": {size: {n: _plain(m) for n, m in by_name.items()} for size, by_name in medians.items()},
        "rounds": {size: {n: [_plain(r) for r in of] for n, of in by.items()} for size, by in rounds.items()},
    }
    write_result(HERE / "result.json", at, result)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5, help="length of a burst of load (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="bursts per proxy and size (default: 3)")
    parser.add_argument("--peers", nargs="+", choices=sorted(PEERS), default=list(DEFAULT))
    return parser.parse_args()


def start(children: Children, peers: Sequence[str]) -> list[Subject]:
    stable, candidate = free_port(), free_port()
    pods = children.start(
        "upstream", upstream(Place(children.folder, 0, 0, stable, candidate)), core=LOAD_CORE
    )
    wait_listening(pods, stable)
    subjects = [Subject(DIRECT, pods, stable)]
    for name in peers:
        place = Place(children.folder, free_port(), free_port(), stable, candidate)
        child = children.start(name, PEERS[name](place), core=PROXY_CORE)
        wait_listening(child, place.port)
        subjects.append(Subject(name, child, place.port))
    return subjects


def measure(
    wrk: str, subjects: Sequence[Subject], options: argparse.Namespace
) -> dict[int, dict[str, list[Round]]]:
    rounds: dict[int, dict[str, list[Round]]] = {
        size: {subject.name: [] for subject in subjects} for size in SIZES
    }
    for number in range(options.rounds):
        first = number % len(subjects)
        for size in SIZES:
            for subject in [*subjects[first:], *subjects[:first]]:
                done = burst(wrk, subject, size, options.seconds)
                rounds[size][subject.name].append(done)
                print(
                    f"round {number + 1}, {size:4} bytes, {subject.name:15} {done.requests_per_s:8.0f} requests/s",
                    flush=True,
                )
    return rounds


def burst(wrk: str, subject: Subject, size: int, seconds: int) -> Round:
    """Load for some seconds. Exits when an answer was not 2xx or 3xx, or a connection failed."""
    subject.child.check()
    loopback(f"{HOST}:{subject.port}")
    url = f"http://{HOST}:{subject.port}{MODEL_PATH}"
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(HERE / "load.lua"), url]
    load = {"LOAD_HOST": MODEL_HOST, "LOAD_PATH": MODEL_PATH, "LOAD_BODY": body(size)}
    before = subject.child.cpu_seconds(), _busy(PROXY_CORE), _busy(LOAD_CORE)
    with on_core(LOAD_CORE):
        run = subprocess.run(command, env=os.environ | load, capture_output=True, text=True, check=False)
    after = subject.child.cpu_seconds(), _busy(PROXY_CORE), _busy(LOAD_CORE)
    lines = [line for line in run.stdout.splitlines() if line.startswith("{")]
    if run.returncode or not lines:
        raise SystemExit(f"wrk failed with {run.returncode}:\n{run.stdout}{run.stderr}")
    told = json.loads(lines[0])
    if told["refused"] or told["broken"] or not told["requests"]:
        raise SystemExit(f"{subject.name} failed requests: {told}\n{subject.child.output()[-2000:]}")
    used, proxy_core, load_core = (b - a for a, b in zip(before, after, strict=True))
    if subject.name == DIRECT:
        used = 0.0
    return Round(
        told["requests"] / told["seconds"],
        told["p50_us"] / 1000,
        told["p99_us"] / 1000,
        told["max_us"] / 1000,
        used / told["requests"] * 1e6,
        used / told["seconds"],
        load_core / told["seconds"],
        (proxy_core - used) / told["seconds"],
    )


def body(size: int) -> str:
    """A V1 prediction request of exactly so many bytes."""
    head, tail = '{"instances": [[6.8, 2.8, 4.8, 1.4]], "id": "', '"}'
    return head + "x" * (size - len(head) - len(tail)) + tail


def median(rounds: Sequence[Round]) -> Round:
    """Each figure's own median."""
    columns = zip(*(asdict(round_).values() for round_ in rounds), strict=True)
    return Round(*(statistics.median(column) for column in columns))


def ratios(by_name: Mapping[str, Round]) -> dict[str, float]:
    """Tidegate's requests/s as multiples of each other's."""
    own = by_name.get("tidegate")
    if own is None:
        return {}
    return {
        f"tidegate/{name}": round(own.requests_per_s / other.requests_per_s, 2)
        for name, other in by_name.items()
        if name != "tidegate"
    }


def show(by_name: Mapping[str, Round]) -> str:
    against = ratios(by_name)
    head = [
        "",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "CPU us/request",
        "proxy core",
        "load core",
        "disturbed",
        "tidegate is",
    ]
    rows = [
        [
            name,
            f"{of.requests_per_s:,.0f}",
            f"{of.p50_ms:.2f}",
            f"{of.p99_ms:.2f}",
            f"{of.cpu_us_per_request:.1f}" if of.cpu_us_per_request else "-",
            f"{of.proxy_core:.0%}" if of.proxy_core else "-",
            f"{of.load_core:.0%}",
            f"{of.disturbance:.0%}",
            f"{against[f'tidegate/{name}']:.2f}x" if f"tidegate/{name}" in against else "",
        ]
        for name, of in by_name.items()
    ]
    return table(head, rows)


def _plain(figures: Round) -> dict[str, Any]:
    return {key: round(value, 3) for key, value in asdict(figures).items()}


def _busy(core: int) -> float:
    """Seconds that a core has spent on anything since the machine started, steal included."""
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, *others = map(int, ticks[:8])
            return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")
    raise SystemExit(f"/proc/stat knows no core {core}")


def _version(command: Sequence[str]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return (run.stdout + run.stderr).splitlines()[0]


if __name__ == "__main__":
    main()
