"""How fast does a large body go through the gateway, beside nginx, and does the gateway keep any of it?

A gigabyte each way, with Content-Length and in chunks, through one proxy at a time, in rounds whose order rotates. The proxy has a core
for itself, client and pod share another. Then a body to a slow reader, and one to a slow pod, while small requests go on.
"""

import argparse
import json
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from loadtests.bodies.wire import BLOCK_SIZE, SLOW_BUFFER, Intake, digest, framing, send_body
from loadtests.common import (
    HOST,
    Child,
    Children,
    descendants,
    find_tool,
    forget_peak,
    free_port,
    loopback,
    machine,
    memory,
    peak_memory,
    table,
    wait_listening,
    write_result,
)
from loadtests.fleet import Fleet, start_gateway
from loadtests.probe import Waits, quantile

HERE = Path(__file__).resolve().parent
ROUTES = 100
RATE_BOUND = 0.5
MEMORY_BOUND = 32 * 2**20
CHECKED_BLOCKS = 64
"""Of the bodies whose digest is compared."""
SLOW_BLOCKS = 100
SLOW_RATE = 10e6
"""Bytes a second."""
SMALL_PACE = 0.01
"""Seconds between two small requests beside a slow body."""
HEAD = b"%b /v1/models/model-0%b HTTP/1.1\r\nHost: model-0.example.com\r\n"
DIRECT = "direct"
BUFFERS = {
    "nginx": "",
    "nginx, large buffers": "client_body_buffer_size 256k; proxy_buffers 16 64k; proxy_busy_buffers_size 512k;",
}
KINDS = [(way, chunked) for way in ("upload", "download") for chunked in (False, True)]


@dataclass(slots=True)
class Proxy:
    """A proxy under test, or the pod itself."""

    name: str
    child: Child
    address: tuple[str, int]
    before: int = 0
    """Memory when it had small requests only."""
    most: int = 0
    """The most that it has grown since then."""
    failures: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """The process that does the work: nginx's worker, and all others' only one."""
        return descendants(self.child.process.pid)[-1]

    def peak_growth(self) -> int:
        """Bytes by which its peak is above what it was before any body; remembered if it is the highest."""
        growth = peak_memory(self.pid) - self.before
        self.most = max(self.most, growth)
        return growth


@dataclass(frozen=True, slots=True)
class Transfer:
    """One body."""

    megabytes_per_s: float
    cpu_s_per_gb: float
    """The proxy's, in user and system mode."""
    proxy_core: float
    """Share of its core that the proxy used: well below 1, client and pod were too slow for it."""
    disturbance: float
    """Share of the time for which the proxy waited for its core, since something else had it."""
    peak_growth: int
    """Bytes by which its memory was above what it was before any body."""


def main() -> None:
    options = arguments()
    at = machine()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("this needs two cores: one for the proxy, one for client and pod")
    own, other = cores[:2]
    with Children() as children:
        proxies = start(children, own, other)
        os.sched_setaffinity(0, {other})
        for proxy in proxies:
            small_requests(proxy, 200)
            proxy.before = memory(proxy.pid)
            forget_peak(proxy.pid)
            for way, chunked in KINDS:
                check(proxy, way, chunked=chunked)
            proxy.peak_growth()
        transfers = measure(proxies, options)
        slow = {proxy.name: slow_bodies(proxy) for proxy in proxies if proxy.name in ("tidegate", "nginx")}
    report(at, options, proxies, transfers, slow)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000, help="in a body (default: 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="bodies of each kind per proxy (default: 3)")
    return parser.parse_args()


def start(children: Children, own: int, other: int) -> list[Proxy]:
    fleet = Fleet(children.folder, ROUTES, f"{HOST}:{free_port()}", f"{HOST}:{free_port()}", free_port())
    pods = children.start("pod", [sys.executable, HERE / "pod.py", fleet.pod(0), fleet.pod(1)], other)
    time.sleep(0.5)
    pods.check()
    fleet.save()
    gateway = start_gateway(children, fleet, own)
    proxies = [
        Proxy(DIRECT, pods, loopback(fleet.pod(0))),
        Proxy("tidegate", gateway, loopback(fleet.listen)),
    ]
    for name, buffers in BUFFERS.items():
        port = free_port()
        child = children.start(name.replace(", ", "-"), nginx(fleet, port, name, buffers), own)
        wait_listening(child, port)
        proxies.append(Proxy(name, child, (HOST, port)))
    return proxies


def nginx(fleet: Fleet, port: int, name: str, buffers: str) -> Sequence[str | Path]:
    text = (HERE / "proxy.nginx.conf").read_text(encoding="utf-8")
    folder = fleet.folder / name.replace(", ", "-").replace(" ", "-")
    folder.mkdir()
    values = {
        "FOLDER": folder, "PORT": port, "STABLE": fleet.pod(0), "CANDIDATE": fleet.pod(1), "BUFFERS": buffers,
    }  # fmt: skip
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    config = folder / "nginx.conf"
    config.write_text(text, encoding="utf-8")
    return [find_tool("nginx", "nginx-light"), "-p", folder, "-c", config, "-e", "stderr"]


# -- bodies


def upload(proxy: Proxy, blocks: int, query: str = "", *, chunked: bool) -> str:
    """Send a body; the digest that the pod tells, if the query asks for it."""
    with socket.create_connection(proxy.address, timeout=60) as connection:
        head = HEAD % (b"POST", f"/up?{query}".encode())
        connection.sendall(head + framing(blocks, chunked=chunked) + b"\r\n\r\n")
        send_body(connection, blocks, chunked=chunked)
        told = json.loads(whole_answer(connection).read_text())
    if told["size"] != blocks * BLOCK_SIZE:
        raise ConnectionError(f"the pod got {told['size']} bytes of {blocks * BLOCK_SIZE}")
    return str(told["digest"])


def download(
    proxy: Proxy, blocks: int, *, chunked: bool, with_digest: bool = False, rate: float = 0.0
) -> str:
    """Take in a body; its digest."""
    with socket.create_connection(proxy.address, timeout=60) as connection:
        if rate:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
        query = f"/down?blocks={blocks}{'&chunked=1' if chunked else ''}"
        connection.sendall(HEAD % (b"GET", query.encode()) + b"\r\n")
        size, found = whole_answer(connection).read_body(with_digest=with_digest, rate=rate)
    if size != blocks * BLOCK_SIZE:
        raise ConnectionError(f"{size} bytes came of {blocks * BLOCK_SIZE}")
    return found


def whole_answer(connection: socket.socket) -> Intake:
    """The head of an answer that is 200, read."""
    intake = Intake(connection)
    if not intake.read_head() or not intake.head.startswith(b"http/1.1 200 "):
        raise ConnectionError(f"answered {intake.head[:300]!r}")
    return intake


def small_requests(
    proxy: Proxy, count: int, pause: float = 0.0, *, ended: Callable[[], bool] = lambda: False
) -> list[float]:
    """Milliseconds of each, sorted."""
    took: list[float] = []
    with socket.create_connection(proxy.address, timeout=60) as connection:
        while len(took) < count and not ended():
            began = time.monotonic()
            connection.sendall(HEAD % (b"GET", b"/small") + b"\r\n")
            whole_answer(connection).read_text()
            took.append((time.monotonic() - began) * 1e3)
            time.sleep(max(0.0, began + pause - time.monotonic()))
    return sorted(took)


def transfer(proxy: Proxy, way: str, blocks: int, *, chunked: bool, **how: Any) -> str:  # noqa: ANN401
    """A body, one way or the other; a failure is noted."""
    try:
        return (upload if way == "upload" else download)(proxy, blocks, chunked=chunked, **how)
    except (OSError, ValueError) as error:
        proxy.child.check()
        proxy.failures.append(f"{proxy.name}: {kind_name(way, chunked=chunked)}: {error!r}")
        print("FAILED", proxy.failures[-1], flush=True)
        return ""


def check(proxy: Proxy, way: str, *, chunked: bool) -> None:
    """That what comes out is what went in."""
    how: dict[str, Any] = {"query": "digest=1"} if way == "upload" else {"with_digest": True}
    found = transfer(proxy, way, CHECKED_BLOCKS, chunked=chunked, **how)
    if found and found != digest(CHECKED_BLOCKS):
        proxy.failures.append(f"{proxy.name}: {kind_name(way, chunked=chunked)}: another body than was sent")


def kind_name(way: str, *, chunked: bool) -> str:
    return f"{way}, {'chunked' if chunked else 'with length'}"


# -- the measure


Transfers = dict[str, dict[str, list[Transfer]]]
"""By kind of body and proxy."""


def measure(proxies: Sequence[Proxy], options: argparse.Namespace) -> Transfers:
    blocks = max(1, round(options.megabytes * 1e6 / BLOCK_SIZE))
    found: Transfers = {kind_name(way, chunked=chunked): {} for way, chunked in KINDS}
    for number in range(options.rounds):
        first = number % len(proxies)
        for way, chunked in KINDS:
            kind = kind_name(way, chunked=chunked)
            for proxy in [*proxies[first:], *proxies[:first]]:
                one = timed(proxy, way, blocks, chunked=chunked)
                found[kind].setdefault(proxy.name, []).append(one)
                print(
                    f"round {number + 1}, {kind:21} {proxy.name:21} {one.megabytes_per_s:6.0f} MB/s",
                    flush=True,
                )
    return found


def timed(proxy: Proxy, way: str, blocks: int, *, chunked: bool) -> Transfer:
    waits = Waits(Path(f"/proc/{proxy.pid}/schedstat"))
    forget_peak(proxy.pid)
    cpu, waited, began = proxy.child.cpu_seconds(), waits.read()[1], time.monotonic()
    transfer(proxy, way, blocks, chunked=chunked)
    took = time.monotonic() - began
    cpu, waited = proxy.child.cpu_seconds() - cpu, waits.read()[1] - waited
    size = blocks * BLOCK_SIZE
    return Transfer(size / took / 1e6, cpu / size * 1e9, cpu / took, waited / took / 1e9, proxy.peak_growth())


def slow_bodies(proxy: Proxy) -> dict[str, Any]:
    """A body to a slow reader, and one to a slow pod, each with small requests beside it."""
    found = {}
    for way, how in (("download", {"rate": SLOW_RATE}), ("upload", {"query": f"rate={SLOW_RATE:.0f}"})):
        forget_peak(proxy.pid)
        began = time.monotonic()
        body = threading.Thread(
            target=transfer, args=(proxy, way, SLOW_BLOCKS), kwargs={"chunked": False, **how}
        )
        body.start()
        took = small_requests(proxy, 100_000, SMALL_PACE, ended=lambda body=body: not body.is_alive())  # type: ignore[misc]
        body.join()
        found[way] = {
            "seconds": round(time.monotonic() - began, 1),
            "peak_growth": proxy.peak_growth(),
            "small_requests": len(took),
            "small_p50_ms": round(quantile(took, 0.5), 3),
            "small_p99_ms": round(quantile(took, 0.99), 3),
        }
        print(f"slow {way} through {proxy.name}: {found[way]}", flush=True)
    return found


# -- what comes of it


def median(transfers: Sequence[Transfer]) -> Transfer:
    """Each figure's own median; the peak is the highest."""
    columns = zip(*(asdict(one).values() for one in transfers), strict=True)
    middle = Transfer(*(statistics.median(column) for column in columns))
    return replace(middle, peak_growth=max(one.peak_growth for one in transfers))


def report(
    at: dict[str, Any],
    options: argparse.Namespace,
    proxies: Sequence[Proxy],
    transfers: Transfers,
    slow: dict[str, Any],
) -> None:
    medians = {
        kind: {name: median(of) for name, of in by_name.items()} for kind, by_name in transfers.items()
    }
    ratios = {kind: show(kind, by_name) for kind, by_name in medians.items()}
    growth = {proxy.name: proxy.most for proxy in proxies}
    print()
    failures = [failure for proxy in proxies for failure in proxy.failures]
    met = {
        f"at least {RATE_BOUND:g} of nginx's rate": min(of["rate"] for of in ratios.values()) >= RATE_BOUND,
        f"memory grew by less than {MEMORY_BOUND / 2**20:g} MiB": growth["tidegate"] < MEMORY_BOUND,
    }
    for text, held in met.items():
        print(f"{text}: {'met' if held else 'MISSED'}")
    result = {
        "options": vars(options),
        "bounds": {"rate_of_nginx": RATE_BOUND, "memory_growth": MEMORY_BOUND},
        "met": met,
        "failures": failures,
        "tidegate_times_nginx": ratios,
        "memory_growth": growth,
        "slow": slow,
        "medians": {k: {n: plain(m) for n, m in by.items()} for k, by in medians.items()},
        "transfers": {k: {n: [plain(t) for t in of] for n, of in by.items()} for k, by in transfers.items()},
    }
    write_result(HERE / "result.json", at, result)
    if failures:
        sys.exit("\n".join(["requests failed:", *failures]))


def show(kind: str, by_name: dict[str, Transfer]) -> dict[str, float]:
    """Print one kind's table; the gateway's rate, and its CPU time, as multiples of nginx's."""
    rows: list[list[object]] = [
        [
            name,
            f"{of.megabytes_per_s:,.0f}",
            *(
                ["-"] * 3
                if name == DIRECT
                else [f"{of.cpu_s_per_gb:.2f}", f"{of.proxy_core:.0%}", f"{of.disturbance:.0%}"]
            ),
            f"{of.peak_growth / 2**20:.1f}",
        ]
        for name, of in by_name.items()
    ]
    head = [kind, "MB/s", "CPU s/GB", "proxy core", "disturbed", "peak growth MiB"]
    own, other = by_name["tidegate"], by_name["nginx"]
    rate, cpu = own.megabytes_per_s / other.megabytes_per_s, own.cpu_s_per_gb / other.cpu_s_per_gb
    print(
        f"\n{table(head, rows)}\ntidegate has {rate:.2f} times nginx's rate, for {cpu:.2f} times its CPU time"
    )
    return {"rate": round(rate, 3), "cpu": round(cpu, 3)}


def plain(figures: Transfer) -> dict[str, Any]:
    return {key: round(value, 3) for key, value in asdict(figures).items()}


if __name__ == "__main__":
    main()
