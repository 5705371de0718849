"""How much of a cold start is the gateway's own? Between the pod's first ready answer and the request's bytes at the pod.

Both moments are told by the pod, by one clock (`GET /stats` of the demo server), asked for at the pod's own address. Each
start is a whole one: the backend has gone to zero by itself, its process has ended, then one request comes.
"""

import argparse
import http.client
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtests.common import (
    DEMO_SERVER,
    HOST,
    Children,
    free_port,
    get_json,
    loopback,
    machine,
    table,
    wait_ready,
    wait_until,
    write_result,
)

HERE = Path(__file__).resolve().parent
BOUND_MS = 10.0
TO_ZERO = 30.0
"""Seconds that the way back to zero may take: a window of 6, a tick of 2, the grace, a beat."""

CONFIG = """\
listen: {listen}
admin: {admin}
backends:
  iris:
    target:
      command: [python, {server}, --port, "{{port}}", --load-time, {load_time}]
      ready: /v2/health/ready
    concurrency: 2
    scale: {{min: 0, max: 1, initial_scale: 0, stable_window: 6s, scale_to_zero_grace_period: 100ms}}
routes:
  - name: iris
    split: {{iris: 1}}
"""


@dataclass(frozen=True, slots=True)
class Start:
    """One cold start, in milliseconds."""

    gateway: float
    """From the pod's first ready answer until the request was at the pod's handler."""
    header: float
    """x-tidegate-cold-start: how long the request waited for a pod."""
    total: float
    """What the client waited for its answer."""


def main() -> None:
    options = arguments()
    at = machine()
    listen, admin = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
    with Children() as children:
        config = children.folder / "config.yaml"
        config.write_text(
            CONFIG.format(listen=listen, admin=admin, server=DEMO_SERVER, load_time=options.load_time)
        )
        gateway = children.tidegate("up", config, "--plain")
        wait_ready(gateway, admin)
        starts = []
        for number in range(1, options.starts + 1):
            wait_until(lambda: at_zero(admin), TO_ZERO, "the backend was at zero")
            starts.append(cold_start(listen, admin))
            print(f"cold start {number:2}: {starts[-1].gateway:.2f} ms the gateway's own", flush=True)
    report(at, starts, options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=10, help="cold starts to measure (default: 10)")
    parser.add_argument("--load-time", default="200ms", help="what the model takes to load (default: 200ms)")
    return parser.parse_args()


def at_zero(admin: str) -> bool:
    """Whether the pod's process has ended: it stays among the endpoints until then."""
    backend = get_json(admin, "/v1/state")["backends"]["iris"]
    return not backend["endpoints"] and backend["replicas"]["wanted"] == 0


def cold_start(listen: str, admin: str) -> Start:
    """One request to a backend at zero, and what the pod that it started says of it."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(*loopback(listen), timeout=60)
    connection.request("POST", "/v1/models/iris:predict", b'{"instances": [[6.8, 2.8, 4.8, 1.4]]}')
    response = connection.getresponse()
    body = response.read()
    total = time.monotonic() - began
    connection.close()
    waited = response.getheader("x-tidegate-cold-start")
    if response.status != 200 or waited is None:
        raise SystemExit(f"answered {response.status}, x-tidegate-cold-start: {waited}, {body[:300]!r}")
    endpoints = get_json(admin, "/v1/state")["backends"]["iris"]["endpoints"]
    pod = get_json(endpoints[0]["address"], "/stats")
    own = pod["first_request"] - pod["first_ready"]
    return Start(own * 1000, float(waited) * 1000, total * 1000)


def report(at: dict[str, Any], starts: list[Start], options: argparse.Namespace) -> None:
    rows: list[list[object]] = [
        [n, *(f"{value:.2f}" for value in asdict(start).values())] for n, start in enumerate(starts, start=1)
    ]
    summary = {}
    for name, of in (("median", statistics.median), ("max", max)):
        summary[name] = {
            key: round(of([asdict(start)[key] for start in starts]), 3) for key in asdict(starts[0])
        }
        rows.append([name, *(f"{value:.2f}" for value in summary[name].values())])
    print("\n" + table(["start", "gateway's own, ms", "header, ms", "total, ms"], rows))
    met = summary["median"]["gateway"] < BOUND_MS
    result = {
        "options": vars(options),
        "unit": "milliseconds",
        "bound_on_median_of_gateway": BOUND_MS,
        "met": met,
        **summary,
        "starts": [{key: round(value, 3) for key, value in asdict(start).items()} for start in starts],
    }
    write_result(HERE / "result.json", at, result)
    if not met:
        raise SystemExit(
            f"the gateway's own share is {summary['median']['gateway']:g} ms at the median, not < {BOUND_MS:g}"
        )


if __name__ == "__main__":
    main()
