"""What do a cluster of 2,000 pods and 500 Backends cost the gateway, and how soon does it know of a change?

The API server is the emulation of `tests/kube`, over TLS, with pods as large as real ones. It shares a core with the load; the gateway has
one for itself. Measured in turn: the first sync, from the process's start and by a reload; CPU with and without changes; changes of a
pod; the API server away under load; relists; memory, beside a gateway whose Backends have fixed URLs.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

from loadtests import open_loop
from loadtests.cluster import emulated, shapes
from loadtests.cluster.changes import Pod, Watched
from loadtests.cluster.emulated import Api
from loadtests.cluster.stage import ADDRESS, REPLICAS, Stage
from loadtests.common import (
    Child,
    Children,
    free_port,
    get_text,
    machine,
    memory,
    quantiles,
    table,
    wait_until,
    write_result,
)
from loadtests.fleet import Fleet, start_pods
from loadtests.probe import Sample, probing, quantile

HERE = Path(__file__).resolve().parent
WATCHED, LOADED = 0, 1
"""The Deployments whose pods answer: this script, and nginx. Nobody listens at the others'."""
PACE_MS = 1.0
SETTLE = 3.0
"""Seconds after a start until what it costs is over."""
HELD_MS = 5.0
BOUNDS = {
    "first_sync_s": 5.0,
    "steady_cpu_percent": 5.0,
    "change_max_ms": 50.0,
    "held_by_relist_max_ms": HELD_MS,
    "held_by_sync_max_ms": HELD_MS,
    "failed_while_away": 0,
}


def main() -> None:
    options = arguments()
    at = machine()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("this needs two cores: one for the gateway, one for all else")
    own, other = cores[0], cores[1]
    os.sched_setaffinity(0, set(cores[1:]))
    with Children() as children:
        fleet, nginx = start_pods(children, 1, other)
        pod, nobody = Pod(ADDRESS), free_port()
        ports = dict.fromkeys(range(options.deployments), nobody) | {
            WATCHED: pod.port,
            LOADED: fleet.pod_port,
        }
        print("filling the API server ...", flush=True)
        emulation = emulated.start(
            children, other, ports, replicas=REPLICAS, address=ADDRESS, unprobed=WATCHED
        )
        os.environ["KUBECONFIG"] = str(emulation.kubeconfig)
        stage = Stage(children, fleet, nginx, emulation, ports, own, other, options)
        parts = measure(stage, pod)
        if stage.findings:
            children.keep()
    report(at, stage, parts)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--deployments", type=int, default=500, help="of four pods, a Backend and a Route each (default: 500)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="of each measure of CPU (default: 60)")
    parser.add_argument("--noise", type=float, default=5, help="changes/s in the cluster (default: 5)")
    parser.add_argument("--times", type=int, default=200, help="changes that are timed (default: 200)")
    parser.add_argument("--away", type=float, default=10, help="seconds without API server (default: 10)")
    parser.add_argument("--rate", type=float, default=200, help="requests/s meanwhile (default: 200)")
    parser.add_argument("--relists", type=int, default=10, help="(default: 10)")
    return parser.parse_args()


def measure(stage: Stage, pod: Pod) -> dict[str, dict[str, Any]]:
    """All parts. The autoscaler's belong here as soon as it can follow a cluster: its sync, its CPU and its memory."""
    parts: dict[str, dict[str, Any]] = {}

    def part(name: str, of: Callable[..., dict[str, Any]], *given: object) -> None:
        print(f"{name} ...", flush=True)
        parts[name] = of(stage, *given)

    began = time.monotonic()
    with stage.gateway("cluster") as gateway:
        part("first sync", first_sync, gateway, began)
        part("quiet", steady, gateway, 0.0)
        part("noise", steady, gateway, stage.options.noise)
        part("changes", changes, gateway, pod)
        part("away", away, gateway)
        part("relists", relists, gateway)
    with stage.gateway("none") as gateway:
        part("sync by reload", by_reload, gateway, "cluster")
    with stage.gateway("none") as gateway:
        part("fixed by reload", by_reload, gateway, "fixed")
    with stage.gateway("fixed") as gateway:
        part("fixed", fixed, gateway)
    return parts


# -- the parts


def first_sync(stage: Stage, gateway: Child, began: float) -> dict[str, Any]:
    """From the process's start until all pods are known. That is looked for in /metrics ten times a second, which costs the gateway, too."""
    since = time.time() - (time.monotonic() - began)
    wait_until(stage.synced, 60, "all pods were known", pause=0.1)
    took, cpu = time.monotonic() - began, gateway.cpu_seconds()
    listening = logged(gateway, "listening on") - since
    time.sleep(SETTLE)
    return {
        "seconds": round(took, 2),
        "until_listening_s": round(listening, 2),
        "from_listening_s": round(took - listening, 2),
        "cpu_s": round(cpu, 2),
        "memory": memory(gateway.process.pid),
        "lag_samples_above_s": lag(stage.fleet),
    }


def steady(stage: Stage, gateway: Child, rate: float) -> dict[str, Any]:
    """CPU while nothing is asked of the gateway, with so many changes a second in the cluster."""
    if not rate:
        return cpu(stage, gateway)
    spared = {shapes.name_of(number) for number in (WATCHED, LOADED)}
    with emulated.noise(stage.emulation, rate, spared) as done:
        found = cpu(stage, gateway)
        found["changes"] = done[0]
    wait_until(stage.synced, 10, "all pods were ready after the noise")
    return found


def cpu(stage: Stage, gateway: Child) -> dict[str, Any]:
    began, before = time.monotonic(), gateway.cpu_seconds()
    time.sleep(stage.options.seconds)
    used, took = gateway.cpu_seconds() - before, time.monotonic() - began
    return {"percent": round(100 * used / took, 2), "memory": memory(gateway.process.pid)}


def changes(stage: Stage, _: Child, pod: Pod) -> dict[str, Any]:
    watched = Watched(Api(stage.emulation.kubeconfig), pod, stage.fleet.listen, WATCHED)
    ready = watched.readies(stage.options.times)
    marked, unmarked = watched.drains(stage.options.times)
    watched.end()
    wait_until(stage.synced, 10, "all pods were ready after the changes")
    return {
        name: quantiles([1000 * value for value in values])
        for name, values in (("ready", ready), ("draining", marked), ("draining no more", unmarked))
    }


def away(stage: Stage, gateway: Child) -> dict[str, Any]:
    """A steady load; in its middle the API server is gone and comes back."""
    options, outcomes = stage.options, []
    given = {"rate": options.rate, "seconds": options.away + 4, "connections": 16, "seed": 1}
    where = {
        "host": f"{shapes.name_of(LOADED)}.example.com",
        "path": f"/v1/models/{shapes.name_of(LOADED)}:predict",
    }
    port = int(stage.fleet.listen.rpartition(":")[2])
    load = Thread(target=lambda: outcomes.append(open_loop.load(port, core=stage.other, **given, **where)))
    load.start()
    time.sleep(open_loop.WARM_UP + 2)
    stage.emulation.come_or_go()
    time.sleep(options.away)
    known = stage.ready()
    stage.emulation.come_or_go()
    began = time.monotonic()
    wait_until(lambda: gateway.output().count("watched again") >= 2, 30, "all was watched again")
    back = time.monotonic() - began
    load.join()
    if not outcomes:
        sys.exit("the load ended without a result")
    outcome = outcomes[0]
    if outcome.failed:
        stage.findings.append(
            f"{outcome.failed} requests failed while the API server was away: {outcome.failures}"
        )
    return {"known_at_the_end": known, "watched_again_after_s": round(back, 2), "load": asdict(outcome)}


def relists(stage: Stage, gateway: Child) -> dict[str, Any]:
    """The version of every watch is too old, again and again."""
    pid, times = gateway.process.pid, stage.options.relists
    before, costs = memory(pid), []
    with probed(stage, gateway) as samples:
        for number in range(times):
            began = gateway.cpu_seconds()
            stage.emulation.expire()
            time.sleep(SETTLE)
            costs.append(gateway.cpu_seconds() - began)
            if number == 0:
                after_one = memory(pid)
    if not stage.synced():
        stage.findings.append("not all pods were known after the relists")
    return {
        "cpu_s_each_with_the_probe": quantiles(costs)["p50"],
        "memory_before": before,
        "memory_after_one": after_one,
        "memory_after_all": memory(pid),
        **held(samples),
    }


def by_reload(stage: Stage, gateway: Child, kind: str) -> dict[str, Any]:
    """The Backends are added to a gateway that runs, which lets the loop be watched all the time."""
    wait_until(lambda: get_text(stage.fleet.admin, "/readyz"), 20, "the gateway was ready")
    with probed(stage, gateway) as samples:
        time.sleep(1)
        began, since = time.monotonic(), time.time()
        stage.save(kind)
        wait_until(stage.synced, 60, "all pods were known", pause=0.1)
        took = time.monotonic() - began
        time.sleep(SETTLE)
    taken_over = logged(gateway, "took over") - since
    return {"seconds": round(took, 2), "until_taken_over_s": round(taken_over, 2), **held(samples)}


def fixed(stage: Stage, gateway: Child) -> dict[str, Any]:
    """What the same Backends cost without a cluster."""
    wait_until(lambda: get_text(stage.fleet.admin, "/readyz"), 20, "the gateway was ready")
    time.sleep(SETTLE)
    return cpu(stage, gateway)


# -- looking


@contextmanager
def probed(stage: Stage, gateway: Child) -> Iterator[list[Sample]]:
    """Round trips each millisecond while the block runs, without its first moment."""
    with probing(stage.children, stage.fleet, gateway, stage.nginx, stage.other, pace=PACE_MS) as samples:
        time.sleep(0.5)
        yield samples


def held(samples: Sequence[Sample]) -> dict[str, Any]:
    """What the probe says of the loop: its round trips without what other programs' use of the cores cost them."""
    own = sorted(sample.own for sample in samples)
    return {
        "probes": len(own),
        "own_p50_ms": round(quantile(own, 0.5), 3),
        "own_p999_ms": round(quantile(own, 0.999), 3),
        "own_max_ms": round(own[-1], 3),
        "over_bound": sum(value > HELD_MS for value in own),
        "of_these_surely": sum(sample.own > HELD_MS and sample.ran > HELD_MS for sample in samples),
        "longest_ms_at_s": [
            [round(one.own, 2), round(one.at - samples[0].at, 2)]
            for one in sorted(samples, key=lambda one: -one.own)[:8]
        ],
    }


def lag(fleet: Fleet) -> dict[str, int]:
    """The gateway's own histogram of its loop's lag, which looks ten times a second: how often it was above each bound in seconds."""
    found = re.findall(
        r'^tidegate_loop_lag_seconds_bucket\{le="([^"]+)"\} (\d+)',
        get_text(fleet.admin, "/metrics"),
        re.MULTILINE,
    )
    counts = {bound: int(count) for bound, count in found}
    return {bound: counts["+Inf"] - counts[bound] for bound in ("0.005", "0.01", "0.025", "0.05", "0.1")}


def logged(gateway: Child, words: str) -> float:
    """When it last said that, in seconds since 1970."""
    stamps = re.findall(rf"^(\S+ \S+),(\d+) INFO +{words}", gateway.output(), re.MULTILINE)
    second, milli = stamps[-1]
    return time.mktime(time.strptime(second, "%Y-%m-%d %H:%M:%S")) + int(milli) / 1000


# -- what it says


def report(at: dict[str, Any], stage: Stage, parts: dict[str, dict[str, Any]]) -> None:
    first, noisy, relisted, reload = (
        parts[name] for name in ("first sync", "noise", "relists", "sync by reload")
    )
    figures = {
        "first_sync_s": first["seconds"],
        "steady_cpu_percent": noisy["percent"],
        "change_max_ms": max(parts["changes"][name]["max"] for name in ("ready", "draining")),
        "held_by_relist_max_ms": relisted["own_max_ms"],
        "held_by_sync_max_ms": reload["own_max_ms"],
        "failed_while_away": parts["away"]["load"]["failed"],
    }
    bounds = {
        name: {"bound": bound, "measured": figures[name], "met": figures[name] <= bound}
        for name, bound in BOUNDS.items()
    }
    emulation = stage.emulation
    print(f"\n{emulation.pods} pods of {emulation.pod_bytes} bytes, {emulation.deployments} Backends\n")
    rows: list[list[object]] = [
        [name.replace("_", " "), of["measured"], of["bound"], "met" if of["met"] else "MISSED"]
        for name, of in bounds.items()
    ]
    print(table(["", "measured", "bound", ""], rows) + "\n")
    for name, of in parts.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in of.items()))
    cluster = {
        "pods": emulation.pods,
        "bytes_per_pod": emulation.pod_bytes,
        "backends": emulation.deployments,
    }
    result = {"options": vars(stage.options), "cluster": cluster, "bounds": bounds, **parts}
    write_result(HERE / "result.json", at, result | {"findings": stage.findings})
    if stage.findings:
        sys.exit("\n".join(["something failed:", *stage.findings]))


if __name__ == "__main__":
    main()
