"""Does anything hold the gateway's event loop over 5 ms? Reloads, scrapes and state pages of 1,000 backends, under load.

The gateway has a core of its own. On another, a probe sends a small request each millisecond on a kept connection and times it, while
a load of 2,000 requests/s goes over all routes. In phases: the load alone, reloads, exchanges for a configuration that differs in everything
and back, scrapes, state pages, and all of it at once. What was going on during a long round trip is told by the times at which it was begun and done.
"""

import argparse
import http.client
import json
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtests.common import Child, Children, get_text, loopback, machine, table, wait_until, write_result
from loadtests.fleet import Fleet, start_gateway, start_pods
from loadtests.probe import Sample, probing, quantile, steady

HERE = Path(__file__).resolve().parent
BOUND_MS = 5.0
EXCHANGE_MS = 50.0
"""That an exchange may add to a request."""
PACE_MS = 1.0
CONNECTIONS = 32
NICE = 10
BEAT_SENT_S = 0.015
"""How long before its arrival a beat may have been made."""
SLACK_S = 0.001
"""The log's times are whole milliseconds."""
WORST = 12
"""Round trips that are told one by one."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that the gateway did, from when to when, in monotonic seconds."""

    name: str
    began: float
    ended: float


@dataclass(slots=True)
class Phase:
    """A stretch of time and what was asked of the gateway in it."""

    name: str
    began: float
    ended: float = 0.0
    samples: list[Sample] = field(default_factory=list)


class Actions:
    """What is done to the gateway, and when; each kind by a thread of its own."""

    def __init__(self, fleet: Fleet, gateway: Child) -> None:
        self._fleet = fleet
        self._gateway = gateway
        self._weight = 90
        self._other = False
        self._known = 0
        self.done: list[Action] = []
        self.failures: list[str] = []
        self.bytes: Counter[str] = Counter()

    def reload(self) -> None:
        """Change the split of every route; returns when it was taken over."""
        self._weight = 170 - self._weight
        with self._noting("reload"):
            self._reload("reload")

    def exchange(self) -> None:
        """Put the configuration in place that differs in everything, or this one again."""
        self._other = not self._other
        name = "there" if self._other else "back"
        with self._noting(name):
            self._reload(name)

    def scrape(self) -> None:
        with self._noting("scrape"):
            self._get("scrape", "/metrics")

    def state(self) -> None:
        with self._noting("state"):
            self._get("state", "/v1/state")

    @contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        """A failure within a thread of its own ends nothing, and must not be lost."""
        try:
            yield
        except (OSError, http.client.HTTPException, SystemExit) as error:
            self.failures.append(f"{name}: {error!r}")

    def _reload(self, name: str) -> None:
        began = time.monotonic()
        self._fleet.save(self._weight, other=self._other)
        wait_until(lambda: len(self._taken_over()) > self._known, 20, "the change was taken over")
        ended = self._taken_over()
        self._known = len(ended)
        self.done.append(Action(name, began, ended[-1]))

    def _get(self, name: str, path: str) -> None:
        connection = http.client.HTTPConnection(*loopback(self._fleet.admin), timeout=30)
        began = time.monotonic()
        connection.request("GET", path)
        response = connection.getresponse()
        size = len(response.read())
        connection.close()
        if response.status != 200:
            raise ConnectionError(f"{path} answered {response.status}")
        self.done.append(Action(name, began, time.monotonic()))
        self.bytes[name] = size

    def _taken_over(self) -> list[float]:
        """When, as the gateway's log says, in monotonic seconds."""
        since = time.time() - time.monotonic()
        stamps = re.findall(r"^(\S+ \S+),(\d+) INFO +took over", self._gateway.output(), re.MULTILINE)
        return [
            time.mktime(time.strptime(second, "%Y-%m-%d %H:%M:%S")) + int(milli) / 1000 - since
            for second, milli in stamps
        ]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Read the stream of beats, as an autoscaler does."""
        connection = http.client.HTTPConnection(*loopback(self._fleet.admin), timeout=30)
        connection.request("GET", "/v1/stats")
        response = connection.getresponse()

        def listen() -> None:
            while line := response.readline():
                now = time.monotonic()
                self.done.append(Action("beat", now - BEAT_SENT_S, now))
                self.bytes["beat"] = len(line)

        reader = threading.Thread(target=listen, daemon=True)
        reader.start()
        yield
        if not reader.is_alive():
            sys.exit("the stream of beats ended")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave."""

    phases: list[Phase]
    actions: Actions
    own_lag: dict[str, int]
    """By bound in seconds, how often the gateway itself found its loop later than that."""
    tally: dict[str, Any]
    """Of the load."""
    findings: list[str]
    """What went wrong, rather than slowly."""


def main() -> None:
    options = arguments()
    at = machine()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("this needs two cores: one for the gateway, one for all else")
    own, other = cores[0], cores[1]
    with Children() as children:
        fleet, pods = start_pods(children, options.routes, other)
        fleet.save()
        gateway = start_gateway(children, fleet, own)
        os.sched_setaffinity(0, set(cores[1:]))
        actions = Actions(fleet, gateway)
        with probing(children, fleet, gateway, pods, other, pace=PACE_MS) as samples, actions.listening():
            load = start_load(children, fleet, options)
            wait_until(load_is_on(fleet, options.routes), 60, "every route had traffic", pause=1)
            before = lag(fleet)
            phases = run(actions, options)
            after = lag(fleet)
        load.check()
        load.end()
        tally = json.loads(load.output().splitlines()[-1])
        log = gateway.output()
        findings = failures(tally, log) + actions.failures
        if findings:
            children.keep()
    for phase in phases:
        phase.samples = [sample for sample in samples if phase.began <= sample.at < phase.ended]
    own_lag = {bound: after[bound] - before[bound] for bound in after}
    report(at, options, Outcome(phases, actions, own_lag, tally, findings))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30, help="length of each phase (default: 30)")
    parser.add_argument("--routes", type=int, default=1000, help="and as many backends (default: 1000)")
    parser.add_argument("--rate", type=float, default=2000, help="requests/s of the load (default: 2000)")
    parser.add_argument("--reloads", type=int, default=10, help="in a phase (default: 10)")
    parser.add_argument(
        "--pages", type=int, default=20, help="scrapes, or state pages, in a phase (default: 20)"
    )
    return parser.parse_args()


def start_load(children: Children, fleet: Fleet, options: argparse.Namespace) -> Child:
    """It gives way to the probe and the pods, which share its core."""
    command = [sys.executable, str(HERE / "load.py"), fleet.listen]
    numbers = {"--routes": options.routes, "--rate": options.rate, "--connections": CONNECTIONS}
    load = children.start("load", [*command, *(str(part) for pair in numbers.items() for part in pair)])
    os.setpriority(os.PRIO_PROCESS, load.process.pid, NICE)
    with suppress(
        OSError
    ):  # a system without groups by session, among which a process's own niceness counts for nothing
        Path(f"/proc/{load.process.pid}/autogroup").write_text(str(NICE))
    return load


def load_is_on(fleet: Fleet, routes: int) -> Callable[[], bool]:
    """Whether both backends of every route have had requests: eleven for each route are enough for a split of 90/10."""

    def look() -> bool:
        counts = re.findall(
            r"^tidegate_requests_total\{.*\} (\d+)", get_text(fleet.admin, "/metrics"), re.MULTILINE
        )
        return sum(map(int, counts)) >= 11 * routes

    return look


def run(actions: Actions, options: argparse.Namespace) -> list[Phase]:
    whole = options.seconds
    return [
        phase("load alone", whole, []),
        phase("reloads", whole, [(actions.reload, options.reloads)]),
        phase("exchanges", whole, [(actions.exchange, options.reloads)]),
        phase("scrapes", whole, [(actions.scrape, options.pages)]),
        phase("state pages", whole, [(actions.state, options.pages)]),
        phase(
            "all of it",
            whole,
            [
                (actions.reload, options.reloads),
                (actions.scrape, options.pages),
                (actions.state, options.pages),
            ],
        ),
    ]


def phase(name: str, seconds: float, todo: Sequence[tuple[Callable[[], None], int]]) -> Phase:
    """Do each thing so many times, spread over the time; it takes longer when that is too short for them."""
    print(f"{name} ...", flush=True)
    this = Phase(name, time.monotonic())
    threads = [
        threading.Thread(target=spread, args=(act, times, seconds), daemon=True) for act, times in todo
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(max(0.0, this.began + seconds - time.monotonic()))
    this.ended = time.monotonic()
    return this


def spread(act: Callable[[], None], times: int, seconds: float) -> None:
    began = time.monotonic()
    for number in range(times):
        time.sleep(max(0.0, began + number * seconds / times - time.monotonic()))
        act()


def lag(fleet: Fleet) -> dict[str, int]:
    """The gateway's own histogram of its loop's lag: for each bound in seconds, how often it was above it."""
    text = get_text(fleet.admin, "/metrics")
    found = re.findall(r'^tidegate_loop_lag_seconds_bucket\{le="([^"]+)"\} (\d+)', text, re.MULTILINE)
    counts = {bound: int(count) for bound, count in found}
    return {bound: counts["+Inf"] - counts[bound] for bound in ("0.005", "0.01", "0.025", "0.05")}


def failures(tally: dict[str, Any], log: str) -> list[str]:
    """What went wrong, rather than slowly."""
    wrong = {status: count for status, count in tally["answered"].items() if status != "200"}
    found = [f"answers that were not 200: {wrong}"] if wrong else []
    if tally["broken"]:
        found.append(f"{tally['broken']} connections broke")
    if not tally["answered"].get("200"):
        found.append("nothing was answered")
    return found + [line for line in log.splitlines() if "Traceback" in line or " ERROR " in line]


# -- what comes of it


def doing(sample: Sample, actions: Sequence[Action]) -> list[str]:
    """What the gateway was doing during a round trip."""
    began, ended = sample.at, sample.at + sample.took / 1e3
    names = {a.name for a in actions if a.began - SLACK_S <= ended and began <= a.ended + SLACK_S}
    return sorted(names) or ["nothing"]


def figures(phase: Phase, actions: Sequence[Action]) -> dict[str, Any]:
    took = steady([sample.took for sample in phase.samples], PACE_MS)
    own = sorted(sample.own for sample in phase.samples)
    held = [sample for sample in phase.samples if sample.own > BOUND_MS]
    return {
        "seconds": round(phase.ended - phase.began, 1),
        "probes": len(phase.samples),
        "p50_ms": round(quantile(took, 0.5), 3),
        "p99_ms": round(quantile(took, 0.99), 3),
        "p999_ms": round(quantile(took, 0.999), 3),
        "max_ms": round(took[-1], 3),
        "own_p999_ms": round(quantile(own, 0.999), 3),
        "own_max_ms": round(own[-1], 3),
        "over_bound": len(held),
        "of_these_surely": sum(sample.ran > BOUND_MS for sample in held),
        "over_bound_while": dict(Counter("+".join(doing(sample, actions)) for sample in held).most_common()),
    }


def worst(phases: Sequence[Phase], actions: Sequence[Action]) -> list[dict[str, Any]]:
    all_of_them = [(sample, phase) for phase in phases for sample in phase.samples]
    all_of_them.sort(key=lambda pair: -pair[0].own)
    return [
        {
            "phase": phase.name,
            "at_s": round(sample.at - phases[0].began, 3),
            "own_ms": round(sample.own, 2),
            "ran_ms": round(sample.ran, 2),
            "took_ms": round(sample.took, 2),
            "while": doing(sample, actions),
        }
        for sample, phase in all_of_them[:WORST]
    ]


def report(at: dict[str, Any], options: argparse.Namespace, outcome: Outcome) -> None:
    phases, actions = outcome.phases, outcome.actions
    by_phase = {phase.name: figures(phase, actions.done) for phase in phases}
    met = all(of["own_max_ms"] <= BOUND_MS for of in by_phase.values())
    columns = [
        "p50_ms",
        "p99_ms",
        "p999_ms",
        "max_ms",
        "own_p999_ms",
        "own_max_ms",
        "over_bound",
        "of_these_surely",
    ]
    rows: list[list[object]] = [[name, *(of[key] for key in columns)] for name, of in by_phase.items()]
    print("\n" + table(["", *(column.replace("_", " ") for column in columns)], rows))
    longest = worst(phases, actions.done)
    rows = [
        [of["phase"], *(of[key] for key in ("at_s", "own_ms", "ran_ms", "took_ms")), "+".join(of["while"])]
        for of in longest
    ]
    print("\n" + table(["longest in", "at s", "own ms", "gateway ran ms", "took ms", "while"], rows))
    print(f"\nnothing holds the loop over {BOUND_MS:g} ms: {'met' if met else 'MISSED'}")
    added = by_phase["exchanges"]["own_max_ms"] <= EXCHANGE_MS
    print(f"an exchange adds at most {EXCHANGE_MS:g} ms: {'met' if added else 'MISSED'}")
    durations: dict[str, list[float]] = {}
    for action in actions.done:
        durations.setdefault(action.name, []).append(action.ended - action.began)
    result = {
        "options": vars(options) | {"connections": CONNECTIONS, "pace_ms": PACE_MS},
        "bound_own_max_ms": BOUND_MS,
        "met": met,
        "exchange_met": added,
        "findings": outcome.findings,
        "phases": by_phase,
        "longest": longest,
        "own_lag_samples_above_s": outcome.own_lag,
        "load": outcome.tally,
        "actions": {
            name: {"times": len(of), "longest_s": round(max(of), 3), "bytes": actions.bytes[name]}
            for name, of in durations.items()
        },
    }
    write_result(HERE / "result.json", at, result)
    if outcome.findings:
        sys.exit("\n".join(["requests failed:", *outcome.findings]))


if __name__ == "__main__":
    main()
