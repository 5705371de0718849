"""h2load (nghttp2's load client, on HTTP/1.1): as fast as answers come, or at a rate.

At a rate it is an open loop of a kind only. Each of its connections wakes every 10 ms, all of them together, and sends what is
due by then; what finds its connection busy is sent afterwards, and its latency counts from then. So it says how quickly bursts
are worked off, once per connection and 10 ms, and hides what waits behind a stall.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.common import HOST, loopback, on_core, quantiles
from loadtests.proxies import LOAD_CORE, MODEL_HOST, MODEL_PATH

CONNECTIONS = 32
BODY = '{"instances": [[6.8, 2.8, 4.8, 1.4]]}'
_COUNTS = re.compile(r"requests: .* (\d+) done, \d+ succeeded, (\d+) failed")
_RATE = re.compile(r"finished in .*, ([\d.]+) req/s")


@dataclass(frozen=True, slots=True)
class Burst:
    """What a run of h2load gave."""

    requests: int
    per_second: float
    failed: int
    latency: dict[str, float]
    """Milliseconds from when h2load sent a request to its answer's end."""


def h2load(program: str, folder: Path, port: int, seconds: float, rate: float | None = None) -> Burst:
    """POSTs over kept connections, at `rate` a second over all, or as fast as they are answered."""
    host, port = loopback(f"{HOST}:{port}")
    body, log = folder / "body.json", folder / "h2load.log"
    body.write_text(BODY, encoding="utf-8")
    log.unlink(missing_ok=True)
    command = [program, "--h1", f"--clients={CONNECTIONS}", f"--duration={seconds:g}", "--warm-up-time=1"]
    command += [f"--data={body}", f"--connect-to={host}:{port}", "--header=content-type: application/json"]
    if rate is not None:
        command += [f"--rps={rate / CONNECTIONS:.3f}", f"--log-file={log}"]
    with on_core(LOAD_CORE):
        run = subprocess.run(
            [*command, f"http://{MODEL_HOST}{MODEL_PATH}"], capture_output=True, text=True, check=False
        )
    counts, speed = _COUNTS.search(run.stdout), _RATE.search(run.stdout)
    if run.returncode or counts is None or speed is None:
        raise SystemExit(f"h2load failed with {run.returncode}:\n{run.stdout}{run.stderr}")
    done, failed = map(int, counts.groups())
    latency = quantiles(_latencies(log)) if rate is not None else {}
    return Burst(done, float(speed[1]), failed, latency)


def _latencies(log: Path) -> Sequence[float]:
    """In milliseconds, of a log of h2load's: start, status, microseconds, tab-separated."""
    with log.open(encoding="ascii") as lines:
        return [int(line.split("\t")[2]) / 1000 for line in lines]
