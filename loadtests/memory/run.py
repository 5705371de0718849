"""What does a gateway keep in memory: for 1,000 routes and backends, and for each of 10,000 idle connections? And do these, and a
slow-loris attack beside them, cost other clients anything?

Resident memory is VmRSS of /proc/PID/status. The gateway has a core of its own; pods, clients and attackers share another.
"""

import argparse
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtests.common import (
    Child,
    Children,
    get_text,
    loopback,
    machine,
    memory,
    table,
    wait_until,
    write_result,
)
from loadtests.fleet import Fleet, start_gateway, start_pods
from loadtests.memory.crowd import Crowd, raise_file_limit
from loadtests.probe import END, Sample, probing, quantile

HERE = Path(__file__).resolve().parent
FLEET_BOUND = 90e6
CONNECTION_BOUND = 5e3
LATENCY_BOUND = 1.25
"""Times as long as before, at p50 and at p99: what is above that, somebody would notice."""
PACE_MS = 2.0
OTHER_FILES = 2500
"""Open files beside the connections: pods' listeners, attackers, connections to pods."""
SETTLE = 1.0
"""Seconds."""
KEPT = 60.0
"""Seconds for which an idle connection may be counted on; the gateway closes it after 75."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What all parts need."""

    children: Children
    fleet: Fleet
    pods: Child
    own: int
    """The gateway's core."""
    other: int
    options: argparse.Namespace

    def gateway(self) -> Child:
        """A new one, on the configuration as it is at the beginning."""
        self.fleet.save()
        return start_gateway(self.children, self.fleet, self.own)


@dataclass(frozen=True, slots=True)
class Latency:
    """Round trips of the steady clients, in milliseconds; `own` is without what other programs' use of the cores cost."""

    requests: int
    p50: float
    p99: float
    max: float
    own_p50: float
    own_p99: float
    own_max: float


def main() -> None:
    options = arguments()
    at = machine()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("this needs two cores: one for the gateway, one for all else")
    raise_file_limit(options.connections + OTHER_FILES)
    with Children() as children:
        fleet, pods = start_pods(children, options.routes, cores[1])
        setup = Setup(children, fleet, pods, cores[0], cores[1], options)
        result: dict[str, Any] = {"options": vars(options)}
        result["fleet"] = routes_and_backends(setup)
        os.sched_setaffinity(0, set(cores[1:]))
        result["silent"] = silent_connections(setup)
        result["kept"], result["others"] = kept_connections(setup)
    report(at, result)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--routes", type=int, default=1000, help="and as many backends (default: 1000)")
    parser.add_argument("--connections", type=int, default=10_000, help="idle ones (default: 10000)")
    parser.add_argument("--attackers", type=int, default=500, help="connections of the attack (default: 500)")
    parser.add_argument("--seconds", type=float, default=12, help="of each measure of latency (default: 12)")
    return parser.parse_args()


# -- routes and backends


def routes_and_backends(setup: Setup) -> dict[str, Any]:
    """From a start to one request to each backend, and what comes later."""
    gateway = setup.gateway()
    pid, fleet = gateway.process.pid, setup.fleet
    time.sleep(SETTLE)
    found = {"after_start": memory(pid)}
    ask_each(fleet, 1)
    found["after_a_request_to_each"] = memory(pid)
    ask_each(fleet, 10)  # with the first, both backends of a split of 90/10 have had some
    found["after_both_sides_of_each_split"] = memory(pid)
    for number, weight in enumerate((80, 90, 80), start=1):
        fleet.save(weight)
        wait_until(lambda n=number: gateway.output().count("took over") >= n, 20, "the change was taken over")  # type: ignore[misc]
    time.sleep(SETTLE)
    found["after_three_reloads"] = memory(pid)
    gateway.end()
    met = max(found["after_start"], found["after_a_request_to_each"]) < FLEET_BOUND
    return {"bound": FLEET_BOUND, "met": met, **found}


def ask_each(fleet: Fleet, times: int) -> None:
    """Requests to each route in turn, on one connection."""
    with socket.create_connection(loopback(fleet.listen), timeout=10) as client:
        for number in range(fleet.size * times):
            client.sendall(fleet.request(number % fleet.size))
            answer = client.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(END):
                sys.exit(f"route {number % fleet.size} answered {answer[:300]!r}")


# -- idle connections


def silent_connections(setup: Setup) -> dict[str, Any]:
    """Connections that never sent a byte. The gateway closes them when its deadline for a head has passed."""
    gateway = setup.gateway()
    ask_each(setup.fleet, 1)
    time.sleep(SETTLE)
    return idle(
        setup, gateway, None, lambda: wait_until(all_gone(setup.fleet), 20, "silent ones were closed")
    )


def kept_connections(setup: Setup) -> tuple[dict[str, Any], dict[str, Any]]:
    """Connections that had one request each; and the latency of others before, beside them, and beside an attack as well."""
    gateway = setup.gateway()
    ask_each(setup.fleet, 1)
    others: dict[str, Latency] = {"before": latency(setup, gateway)}
    attack: dict[str, int] = {}

    def beside() -> None:
        others["beside_idle"] = latency(setup, gateway)
        command = [sys.executable, str(HERE / "slow_loris.py"), setup.fleet.listen]
        command += ["--connections", str(setup.options.attackers)]
        attackers = setup.children.start("slow-loris", command, setup.other)
        time.sleep(SETTLE)
        others["beside_idle_and_attack"] = latency(setup, gateway)
        attackers.check()
        attackers.end()
        attack.update(json.loads(attackers.output().splitlines()[-1]))

    found = idle(setup, gateway, setup.fleet.request(0), beside)
    return found, compare(others) | {"attack": attack}


def idle(setup: Setup, gateway: Child, request: bytes | None, beside: Callable[[], None]) -> dict[str, Any]:
    """Bytes per connection; `beside` is called while they are open."""
    pid, size = gateway.process.pid, setup.options.connections
    before, began = memory(pid), time.monotonic()
    with Crowd(setup.fleet.listen, size, request) as crowd:
        took = time.monotonic() - began
        # The last ones may stand in the kernel's queue yet.
        wait_until(
            lambda: connections(setup.fleet) >= size, 5, f"the gateway counts {size} connections", pause=0.2
        )
        if closed := crowd.closed():
            sys.exit(f"{closed} of {size} connections were closed")
        each = (memory(pid) - before) / size
        print(f"{size} connections in {took:.1f} s: {each:.0f} bytes each", flush=True)
        beside()
        if request is not None and time.monotonic() - began < KEPT and (closed := crowd.closed()):
            sys.exit(f"{closed} of {size} kept connections were closed while they were idle")
    wait_until(all_gone(setup.fleet), 20, "the gateway had closed its side")
    time.sleep(SETTLE)
    after = memory(pid)
    gateway.end()
    return {
        "bound_each": CONNECTION_BOUND,
        "met": each < CONNECTION_BOUND,
        "connections": size,
        "bytes_each": round(each),
        "seconds_to_open": round(took, 2),
        "memory_before": before,
        "memory_after_closing": after,
    }


def connections(fleet: Fleet) -> int:
    """Client connections that the gateway has, as it says."""
    found = re.search(r"^tidegate_connections (\d+)", get_text(fleet.admin, "/metrics"), re.MULTILINE)
    return int(found[1]) if found else 0


def all_gone(fleet: Fleet) -> Callable[[], bool]:
    return lambda: connections(fleet) == 0


# -- the others


def latency(setup: Setup, gateway: Child) -> Latency:
    """A steady light load for some seconds."""
    with probing(setup.children, setup.fleet, gateway, setup.pods, setup.other, pace=PACE_MS) as samples:
        time.sleep(setup.options.seconds)
    return of_samples(samples)


def of_samples(samples: Sequence[Sample]) -> Latency:
    took, own = sorted(s.took for s in samples), sorted(s.own for s in samples)
    figures = [quantile(of, share) for of in (took, own) for share in (0.5, 0.99, 1)]
    return Latency(len(samples), *(round(figure, 3) for figure in figures))


def compare(others: dict[str, Latency]) -> dict[str, Any]:
    before = others["before"]
    ratios = {
        name: {
            "own_p50": round(of.own_p50 / before.own_p50, 2),
            "own_p99": round(of.own_p99 / before.own_p99, 2),
        }
        for name, of in others.items()
        if of is not before
    }
    met = all(ratio <= LATENCY_BOUND for of in ratios.values() for ratio in of.values())
    return {
        "bound_times_before": LATENCY_BOUND,
        "met": met,
        "unit": "milliseconds",
        **{name: asdict(of) for name, of in others.items()},
        "ratios": ratios,
    }


def report(at: dict[str, Any], result: dict[str, Any]) -> None:
    fleet, others = result["fleet"], result["others"]
    rows: list[list[object]] = [
        [name.replace("_", " "), f"{fleet[name] / 1e6:.1f} MB"] for name in fleet if name.startswith("after")
    ]
    print("\n" + table([f"{result['options']['routes']} routes and backends", "resident"], rows))
    rows = [[name, f"{result[name]['bytes_each']} bytes"] for name in ("silent", "kept")]
    print("\n" + table(["idle connections", "each"], rows))
    names = ("before", "beside_idle", "beside_idle_and_attack")
    columns = ("p50", "p99", "max", "own_p50", "own_p99", "own_max")
    rows = [[name.replace("_", " "), *(others[name][column] for column in columns)] for name in names]
    print("\n" + table(["others' latency, ms", *(column.replace("_", " ") for column in columns)], rows))
    bounds = {
        f"under {FLEET_BOUND / 1e6:g} MB resident": fleet["met"],
        f"under {CONNECTION_BOUND / 1e3:g} KB for each silent connection": result["silent"]["met"],
        f"under {CONNECTION_BOUND / 1e3:g} KB for each kept connection": result["kept"]["met"],
        f"others' p50 and p99 at most {LATENCY_BOUND:g} times what they were": others["met"],
    }
    print()
    for text, met in bounds.items():
        print(f"{text}: {'met' if met else 'MISSED'}")
    write_result(HERE / "result.json", at, result)


if __name__ == "__main__":
    main()
