"""Does the gateway slow down as its configuration grows? Requests/s with many routes, or many endpoints in a backend, against one.

Each configuration is a gateway process of its own. They run at the same time on one core, and get the same load in turn, in
rounds whose order rotates; the load (wrk) and the pods (nginx) share the other core. Reported are medians over the rounds, of
figures and of ratios within a round, and whether the ratios reach their bound.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests import stage
from loadtests.bursts import (
    CONNECTIONS,
    LOAD_CORE,
    PROXY_CORE,
    Case,
    Subject,
    measure,
    need_two_cores,
    show,
    version,
    wrk,
)
from loadtests.common import (
    HOST,
    Children,
    find_tool,
    free_port,
    machine,
    wait_listening,
    wait_ready,
    write_result,
)
from loadtests.stage import Backend, Target

HERE = Path(__file__).resolve().parent
BOUND = 0.9
SIZE = 100
START = 300.0
"""Seconds that a gateway may take to start: 10,000 routes are a long file."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A configuration, and with how little of it it is compared."""

    name: str
    routes: Sequence[Target]
    backends: Sequence[Backend]
    small: str | None = None
    """The name of the shape that it is held against."""


def main() -> None:
    options = arguments()
    need_two_cores()
    at = machine()
    at["versions"]["nginx"] = version([find_tool("nginx", "nginx-light"), "-v"])
    case = Case(f"{SIZE} bytes in one packet", wrk(), SIZE)
    port, stable, candidate = free_port(), free_port(), free_port()
    two = [f"{HOST}:{stable}", f"{HOST}:{candidate}"]
    many = [f"{address}:{port}" for address in addresses(options.endpoints)]
    with Children() as children:
        upstream = children.start("pods", stage.pods(children.folder, [*two, *many]), core=LOAD_CORE)
        wait_listening(upstream, stable)
        subjects, against = [], {}
        for shape in make_shapes(options.routes, two, many):
            for subject in start(children, shape, options.routes):
                subjects.append(subject)
                if shape.small:
                    against[subject.name] = shape.small
        measure([case], subjects, options.rounds, options.seconds)
    verdicts = [judge(case, big, small) for big, small in against.items()]
    print(f"\n{case.name}, {CONNECTIONS} connections, median of {options.rounds} rounds\n")
    print(tell(case, verdicts))
    chosen = {name: value for name, value in vars(options).items() if name != "result"}
    kept = {"options": chosen | {"connections": CONNECTIONS}, "bounds": verdicts, **case.plain()}
    write_result(options.result, at, kept)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5, help="length of a burst of load (default: 5)")
    parser.add_argument("--rounds", type=int, default=5, help="bursts per configuration (default: 5)")
    parser.add_argument("--routes", type=int, default=10_000, help="how many are many (default: 10000)")
    parser.add_argument("--endpoints", type=int, default=1_000, help="how many are many (default: 1000)")
    parser.add_argument(
        "--result", type=Path, default=HERE / "result.json", help="where to (default: beside the script)"
    )
    return parser.parse_args()


def make_shapes(routes: int, two: Sequence[str], many: Sequence[str]) -> list[Shape]:
    stable, candidate = two
    split = (Backend("stable", 90, [stable]), Backend("candidate", 10, [candidate]))
    hosts = [Target(f"model-{number}.example.com", "/v1/models/iris") for number in range(routes)]
    paths = [Target("models.example.com", f"/v1/models/model-{number}") for number in range(routes)]
    return [
        Shape("1 route", hosts[:1], split),
        Shape(f"{routes:,} hosts", hosts, split, small="1 route"),
        Shape(f"{routes:,} paths", paths, split, small="1 route"),
        Shape("1 endpoint", hosts[:1], [Backend("pods", 1, many[:1])]),
        Shape(f"{len(many):,} endpoints", hosts[:1], [Backend("pods", 1, many)], small="1 endpoint"),
    ]


def addresses(count: int) -> list[str]:
    """So many of this machine's own."""
    return [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(count)]


def start(children: Children, shape: Shape, spread: int) -> list[Subject]:
    """A gateway of that shape; with many routes it gets two kinds of load, for one of them and for all in turn."""
    port, admin = free_port(), f"{HOST}:{free_port()}"
    config = children.folder / f"{shape.name}.yaml"
    command = stage.tidegate(config, f"{HOST}:{port}", admin, shape.backends, shape.routes)
    child = children.start(shape.name, command, core=PROXY_CORE)
    wait_ready(child, admin, START)
    print(f"started with {shape.name}", flush=True)
    one = [shape.routes[len(shape.routes) // 2]] * spread  # as many as below: wrk then works as hard
    if len(shape.routes) == 1:
        return [Subject(shape.name, child, port, one)]
    turns = random.Random(1).sample(shape.routes, spread)  # in no order that a cache would like
    return [
        Subject(f"{shape.name}, one asked", child, port, one),
        Subject(f"{shape.name}, all asked", child, port, turns),
    ]


# -- what it says


def judge(case: Case, big: str, small: str) -> dict[str, Any]:
    ratio = case.ratio(big, small)
    return {
        "big": big,
        "small": small,
        "ratio": ratio,
        "cpu_ratio": case.ratio(small, big, "cpu_us_per_request"),
        "bound": BOUND,
        "met": ratio >= BOUND,
    }


def tell(case: Case, verdicts: Sequence[Mapping[str, Any]]) -> str:
    """The table; `is` and `by CPU` are requests/s as a multiple of the small one's, as they were and if both used their core up."""
    columns = {
        "is": {of["big"]: f"{of['ratio']:.2f}x" for of in verdicts},
        "by CPU": {of["big"]: f"{of['cpu_ratio']:.2f}x" for of in verdicts},
        "of": {of["big"]: of["small"] for of in verdicts},
        "bound": {of["big"]: f"{BOUND}x {'met' if of['met'] else 'missed'}" for of in verdicts},
    }
    return show(case, columns)


if __name__ == "__main__":
    main()
