"""Requests/s through the gateway beside other proxies, in one run on one machine: small JSON POSTs on kept connections.

The proxy under test has one core; the load and the pods (nginx) share the other. There are two kinds of load: head and body
in one packet (wrk), and in two (twice.c). All proxies run all the time, one gets load at a time, in rounds whose order
rotates. Reported are medians over the rounds, of figures and of ratios within a round, and whether the ratios reach their
bounds. A proxy that did not use its core up (`proxy core` below 95 %) was held back by the load's core: CPU per request then
tells more than requests/s.
"""

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtests.bursts import (
    CONNECTIONS,
    LOAD_CORE,
    PROXY_CORE,
    Case,
    Load,
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
    write_result,
)
from loadtests.stage import Command
from loadtests.throughput.peers import DEFAULT, PEERS, PREDICTION, Place, missing, pods, versions

HERE = Path(__file__).resolve().parent
SIZES = (100, 1024)
OWN = "tidegate"
DIRECT = "direct"
"""No proxy at all: what load and pods can do on their core."""
BOUNDS = {"nginx": 0.5, "envoy": 2.0, "vllm-router": 2.5, "aiohttp": 6.0}
"""How many times a peer's requests/s the gateway is to reach."""


def main() -> None:
    options = arguments()
    need_two_cores()
    names = chosen(options.peers)
    at = machine()
    at["versions"] |= {"nginx": version([find_tool("nginx", "nginx-light"), "-v"])} | versions(names)
    with Children() as children:
        cases = make_cases(children.folder, options.load)
        measure(cases, start(children, names), options.rounds, options.seconds)
    for case in cases:
        print(f"\n{case.name}, {CONNECTIONS} connections, median of {options.rounds} rounds\n")
        print(tell(case))
        if slow := case.held_back():
            print(f"did not use their core up, so that their requests/s are lower bounds: {', '.join(slow)}")
    kept = {
        "options": {
            "seconds": options.seconds,
            "rounds": options.rounds,
            "load": options.load,
            "peers": names,
            "connections": CONNECTIONS,
        },
        "bounds": [verdict for case in cases for verdict in verdicts(case)],
        "cases": {
            case.name: {"ratios": ratios(case), "cpu_ratios": cpu_ratios(case), **case.plain()}
            for case in cases
        },
    }
    write_result(options.result, at, kept)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5, help="length of a burst of load (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="bursts per proxy, size and load (default: 3)")
    parser.add_argument(
        "--load", choices=["one", "two", "both"], default="both", help="packets per request (default: both)"
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=list(PEERS),
        help=f"the proxies to measure (default: those of {', '.join(DEFAULT)} that are installed)",
    )
    parser.add_argument(
        "--result", type=Path, default=HERE / "result.json", help="where to (default: beside the script)"
    )
    return parser.parse_args()


def chosen(named: Sequence[str] | None) -> list[str]:
    """The peers to measure. What was named and is missing ends the run; what was not named is left out."""
    lacking = {name: text for name in named or DEFAULT if (text := missing(name))}
    if named and lacking:
        raise SystemExit("\n".join(lacking.values()))
    for name, text in lacking.items():
        print(f"{name} is left out: {text}")
    return [name for name in named or DEFAULT if name not in lacking]


def make_cases(folder: Path, packets: str) -> list[Case]:
    loads: list[tuple[str, Load]] = []
    if packets in {"one", "both"}:
        loads.append(("one packet", wrk()))
    if packets in {"two", "both"}:
        loads.append(("two packets", twice(folder)))
    return [Case(f"{size} bytes in {name}", load, size) for name, load in loads for size in SIZES]


def twice(folder: Path) -> Load:
    """Head and body in two packets."""
    program = folder / "twice"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra"]
    subprocess.run([find_tool("gcc", "gcc"), *flags, "-o", program, HERE / "twice.c"], check=True)

    def load(port: int, seconds: int) -> Command:
        return [program, HOST, str(port), str(CONNECTIONS), str(seconds)]

    return load


def start(children: Children, names: Sequence[str]) -> list[Subject]:
    stable, candidate = free_port(), free_port()
    upstream = children.start("pods", pods(Place(children.folder, 0, 0, stable, candidate)), core=LOAD_CORE)
    wait_listening(upstream, stable)
    subjects = [Subject(DIRECT, upstream, stable, [PREDICTION], through=False)]
    for name in names:
        peer, place = PEERS[name], Place(children.folder, free_port(), free_port(), stable, candidate)
        child = children.start(name, peer.command(place), core=PROXY_CORE)
        wait_listening(child, place.port)
        subjects.append(Subject(name, child, place.port, [peer.target], peer.opening))
    return subjects


# -- what it says


def ratios(case: Case) -> dict[str, float]:
    """The gateway's requests/s as multiples of each other's."""
    others = [name for name in case.rounds if OWN in case.rounds and name != OWN]
    return {f"{OWN}/{name}": case.ratio(OWN, name) for name in others}


def cpu_ratios(case: Case) -> dict[str, float]:
    """Each other's CPU time per request as multiples of the gateway's: the ratios if all used their core up."""
    others = [name for name in case.rounds if OWN in case.rounds and name not in {OWN, DIRECT}]
    return {f"{OWN}/{name}": case.ratio(name, OWN, "cpu_us_per_request") for name in others}


def verdicts(case: Case) -> list[dict[str, Any]]:
    """Which bounds were met."""
    found = ratios(case)
    return [
        {"case": case.name, "peer": name, "bound": bound, "ratio": ratio, "met": ratio >= bound}
        for name, bound in BOUNDS.items()
        if (ratio := found.get(f"{OWN}/{name}")) is not None
    ]


def tell(case: Case) -> str:
    columns = {
        "tidegate is": _times(ratios(case)),
        "by CPU": _times(cpu_ratios(case)),
        "bound": {
            verdict["peer"]: f"{verdict['bound']:g}x {'met' if verdict['met'] else 'missed'}"
            for verdict in verdicts(case)
        },
    }
    return show(case, columns)


def _times(of: dict[str, float]) -> dict[str, str]:
    return {key.partition("/")[2]: f"{ratio:.2f}x" for key, ratio in of.items()}


if __name__ == "__main__":
    main()
