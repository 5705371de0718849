"""What does a request notice of being copied to a mirror that is well, down, hanging, slow, or resets every connection?

One gateway, one backend, a route without a mirror and one for each kind of it, every request copied and compared. In each round each route gets
the same requests as an open loop, in turns. Compared are medians over the rounds of each route's p99 with that of the route without.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtests.common import (
    Children,
    free_port,
    get_text,
    machine,
    table,
    wait_listening,
    wait_ready,
    write_result,
)
from loadtests.open_loop import Outcome, load

HERE = Path(__file__).resolve().parent
GATEWAY_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 64
KINDS: Mapping[str, Sequence[str] | None] = {
    "well": (),
    "down": None,
    "hanging": ("--delay", "-1"),
    "slow": ("--delay", "200"),
    "resetting": ("--reset",),
}
"""How its pod is started; None: not at all."""
NONE = "none"
RATIO, SLACK = 1.25, 0.5
"""How much later the slowest one in a hundred may be: this many times, or so many milliseconds, which is what the machine's other work makes of it."""


def main() -> None:
    options = arguments()
    at = machine()
    with Children() as children:
        gateway, admin = start(children)
        turns: dict[str, list[Outcome]] = {kind: [] for kind in (NONE, *KINDS)}
        for number in range(options.rounds):
            order = [*turns][number % len(turns) :] + [*turns][: number % len(turns)]
            for kind in order:
                turns[kind].append(one(gateway, kind, options, number))
                print(
                    f"round {number + 1}, {kind:10} p99 {turns[kind][-1].latency['p99']:7.3f} ms", flush=True
                )
        copies = mirrored(admin)
        failed = sum(turn.failed for of in turns.values() for turn in of)
        if failed:
            children.keep()
    medians = {kind: summary(of) for kind, of in turns.items()}
    print(f"\n{options.rate:g} requests/s; medians of {options.rounds} rounds\n")
    print(show(medians))
    result = {
        "options": {"seconds": options.seconds, "rounds": options.rounds, "rate": options.rate},
        "bounds": judge(medians),
        "failed": failed,
        "medians": medians,
        "copies": copies,
        "rounds": {kind: [asdict(turn) for turn in of] for kind, of in turns.items()},
    }
    write_result(options.result, at, result)
    if failed:
        sys.exit(f"{failed} requests failed: see {options.result}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3, help="length of each burst of load (default: 3)")
    parser.add_argument("--rounds", type=int, default=7, help="(default: 7)")
    parser.add_argument("--rate", type=float, default=200, help="requests a second (default: 200)")
    parser.add_argument("--result", type=Path, default=HERE / "result.json")
    return parser.parse_args()


def start(children: Children) -> tuple[int, str]:
    """The pods and the gateway; its port, and the address of its admin side."""
    ports = {kind: free_port() for kind in (NONE, *KINDS)}
    for kind, arguments in {NONE: (), **KINDS}.items():
        if arguments is not None:
            command = [sys.executable, HERE / "pod.py", "--port", str(ports[kind]), *arguments]
            wait_listening(children.start(f"pod-{kind}", command, core=LOAD_CORE), ports[kind])
    listen, admin = free_port(), f"127.0.0.1:{free_port()}"
    lines = [f"listen: 127.0.0.1:{listen}", f"admin: {admin}", "backends:"]
    lines += [f"  {kind}: {{target: {{urls: [http://127.0.0.1:{port}]}}}}" for kind, port in ports.items()]
    lines.append("routes:")
    for kind in ports:
        mirror = f", mirror: {{backend: {kind}, compare: {{log: 0%}}}}" if kind != NONE else ""
        lines.append(f"  - {{name: {kind}, paths: [/{kind}], split: {{{NONE}: 1}}{mirror}}}")
    config = children.folder / "tidegate.yaml"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    wait_ready(children.tidegate("gateway", config, core=GATEWAY_CORE), admin)
    return listen, admin


def one(port: int, kind: str, options: argparse.Namespace, seed: int) -> Outcome:
    return load(
        port,
        rate=options.rate,
        seconds=options.seconds,
        connections=CONNECTIONS,
        host="models.example.com",
        path=f"/{kind}",
        seed=seed,
        core=LOAD_CORE,
    )


def mirrored(admin: str) -> list[str]:
    """What became of the copies, as the gateway counted it."""
    names = ("tidegate_mirrored_requests_total{", "tidegate_mirror_comparisons_total{")
    return [line for line in get_text(admin, "/metrics").splitlines() if line.startswith(names)]


def summary(turns: Sequence[Outcome]) -> dict[str, float]:
    """Each figure's own median over the rounds."""
    columns = {
        **{name: [turn.latency[name] for turn in turns] for name in turns[0].latency},
        "late_p99": [turn.late["p99"] for turn in turns],
    }
    return {name: round(statistics.median(column), 4) for name, column in columns.items()}


def judge(medians: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    bounds = {}
    without = medians[NONE]["p99"]
    most = round(max(RATIO * without, without + SLACK), 4)
    for kind in KINDS:
        own = medians[kind]["p99"]
        bounds[f"p99 with a mirror that is {kind}, ms"] = {"is": own, "at most": most, "met": own <= most}
        print(f"mirror {kind}: p99 {own:.3f} ms, without {without:.3f}: {'met' if own <= most else 'missed'}")
    return bounds


def show(medians: Mapping[str, Mapping[str, float]]) -> str:
    head = ["mirror", "p50 ms", "p95 ms", "p99 ms", "max ms", "late p99"]
    names = ("p50", "p95", "p99", "max", "late_p99")
    return (
        table(head, [[kind, *(f"{of[name]:.3f}" for name in names)] for kind, of in medians.items()]) + "\n"
    )


if __name__ == "__main__":
    main()
