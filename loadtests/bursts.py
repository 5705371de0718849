"""Bursts of load on one proxy at a time, in rounds: what the tests of requests/s have in common.

The proxy under test has one core; load and pods share the other. All proxies run all the time and one gets load at a time,
in rounds whose order rotates, so that what disturbs the machine disturbs all of them. A ratio is that of two bursts in the
same round; reported is the median over the rounds. A burst with a failed request ends the run.
"""

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtests.common import HOST, Child, find_tool, loopback, on_core, table
from loadtests.stage import Command, Target

HERE = Path(__file__).resolve().parent
PROXY_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 32
USED_UP = 0.95
"""A proxy that used less of its core was held back by the load's core, or disturbed."""
PREDICT = '{"instances": [[6.8, 2.8, 4.8, 1.4]], "id": "'
"""How the body of a V1 prediction begins; the rest is filling."""

Load = Callable[[int, int], Command]
"""The command that loads a port for some seconds. It reads LOAD_… from its environment and prints what load.lua prints."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that gets load."""

    name: str
    child: Child
    port: int
    targets: Sequence[Target]
    """What the requests are for, in turn."""
    opening: str = PREDICT
    """How a body begins that it takes."""
    through: bool = True
    """Whether `child` is on the requests' way, between load and pods."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one burst of load gave."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_us_per_request: float
    """CPU time of the proxy, in user and system mode; of load and pods it says nothing."""
    proxy_core: float
    """Share of its core that the proxy used."""
    load_core: float
    """Share of the other core that was busy, with whatever."""
    disturbance: float
    """Share of the proxy's core that something else used: above a few percent the figures are worth little."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of load that every subject gets."""

    name: str
    load: Load
    size: int
    """Of a body, in bytes."""
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    """What it gave, by subject."""

    def medians(self) -> dict[str, Round]:
        """Each figure's own median."""
        return {name: Round(*map(statistics.median, _columns(of))) for name, of in self.rounds.items()}

    def ratio(self, one: str, other: str, figure: str = "requests_per_s") -> float:
        """The median over the rounds of how many times the other's figure one has."""
        pairs = zip(self.rounds[one], self.rounds[other], strict=True)
        ratios: list[float] = [getattr(a, figure) / getattr(b, figure) for a, b in pairs]
        return round(statistics.median(ratios), 3)

    def held_back(self) -> list[str]:
        """Whose requests/s are a lower bound, since something else than their own core was the limit."""
        return [
            name for name, of in self.medians().items() if of.cpu_us_per_request and of.proxy_core < USED_UP
        ]

    def plain(self) -> dict[str, Any]:
        """For a result's JSON."""
        return {
            "medians": {name: _plain(of) for name, of in self.medians().items()},
            "rounds": {name: [_plain(each) for each in of] for name, of in self.rounds.items()},
        }


def need_two_cores() -> None:
    if not {PROXY_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("this needs two cores: one for the proxy under test, one for load and pods")


def wrk() -> Load:
    """Head and body in one packet."""
    program = find_tool("wrk", "wrk")
    script = HERE / "load.lua"

    def load(port: int, seconds: int) -> Command:
        return [program, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, f"http://{HOST}:{port}"]

    return load


def measure(cases: Sequence[Case], subjects: Sequence[Subject], rounds: int, seconds: int) -> None:
    """Give every subject every kind of load, once a round; what it gave is in the cases."""
    for subject in subjects:
        burst(subject, cases[0], 1)  # connections, caches, the branch predictor
    width = max(len(subject.name) for subject in subjects)
    for number in range(rounds):
        first = number % len(subjects)
        for case in cases:
            for subject in [*subjects[first:], *subjects[:first]]:
                done = burst(subject, case, seconds)
                case.rounds.setdefault(subject.name, []).append(done)
                told = f"round {number + 1}, {case.name}, {subject.name:{width}}"
                print(f"{told} {done.requests_per_s:8.0f} requests/s", flush=True)


def burst(subject: Subject, case: Case, seconds: int) -> Round:
    """Load for some seconds. Exits when a request failed or was answered with an error."""
    subject.child.check()
    loopback(f"{HOST}:{subject.port}")
    environment = os.environ | _environment(subject, case.size)
    before = subject.child.cpu_seconds(), _busy(PROXY_CORE), _busy(LOAD_CORE)
    with on_core(LOAD_CORE):
        run = subprocess.run(
            case.load(subject.port, seconds), env=environment, capture_output=True, text=True, check=False
        )
    after = subject.child.cpu_seconds(), _busy(PROXY_CORE), _busy(LOAD_CORE)
    lines = [line for line in run.stdout.splitlines() if line.startswith("{")]
    if run.returncode or not lines:
        raise SystemExit(
            f"the load on {subject.name} failed with {run.returncode}:\n{run.stdout}{run.stderr}"
        )
    told = json.loads(lines[0])
    if told["refused"] or told["broken"] or not told["requests"]:
        raise SystemExit(f"{subject.name} failed requests: {told}\n{subject.child.output()[-2000:]}")
    used, proxy_core, load_core = (b - a for a, b in zip(before, after, strict=True))
    if not subject.through:
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


def _environment(subject: Subject, size: int) -> dict[str, str]:
    """The load's variables: LOAD_TARGETS for load.lua, LOAD_HOST and LOAD_PATH for what sends only one kind of request."""
    targets = subject.child.log.with_name(f"{subject.name}.targets")
    if not targets.exists():
        targets.write_text("".join(f"{target.host} {target.path}\n" for target in subject.targets))
    first = subject.targets[0]
    return {
        "LOAD_TARGETS": str(targets),
        "LOAD_HOST": first.host,
        "LOAD_PATH": first.path,
        "LOAD_BODY": body(size, subject.opening),
    }


def body(size: int, opening: str = PREDICT) -> str:
    """A JSON body of exactly so many bytes."""
    closing = '"}'
    return opening + "x" * (size - len(opening) - len(closing)) + closing


def show(case: Case, columns: Mapping[str, Mapping[str, str]]) -> str:
    """The medians as a table; `columns` are further ones: their head, and their cells by subject."""
    head = ["", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "proxy core", "load core", "disturbed"]
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
            *(cells.get(name, "") for cells in columns.values()),
        ]
        for name, of in case.medians().items()
    ]
    return table([*head, *columns], rows)


def version(command: Command) -> str:
    """The first line of what a program says of its version."""
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(line.strip() for line in (run.stdout + run.stderr).splitlines() if line.strip())


def _columns(rounds: Sequence[Round]) -> list[tuple[float, ...]]:
    return list(zip(*(asdict(each).values() for each in rounds), strict=True))


def _plain(figures: Round) -> dict[str, float]:
    return {key: round(value, 3) for key, value in asdict(figures).items()}


def _busy(core: int) -> float:
    """Seconds that a core has spent on anything since the machine started, steal included."""
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, *others = map(int, ticks[:8])
            return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")
    raise SystemExit(f"/proc/stat knows no core {core}")
