"""What the gateway knows of itself, and two views of it: the JSON of `/v1/state` and the numbers of the live table.

Core: told the time. `Status` is the one place where the server notes what happened (configurations, draining); `admin`, `metrics`
and `live` read it. A view is made in pieces of bounded work, so that a thousand Backends never hold the loop: the edge
that sends it lets others run between two pieces.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from gateway.backend import Backend
from gateway.routeview import route_view
from gateway.routing import Route
from gateway.stats import LATENCY_BOUNDS, quantile

PIECE = 100
"""Endpoints, Backends and Routes together that one piece of `/v1/state` shows, give or take one Backend: 0.5 ms or so."""
MAX_ROWS = 50
"""Backends in a Snapshot: more fit on no terminal, and counting them would hold the loop."""
NOTHING_YET = (0,) * (len(LATENCY_BOUNDS) + 1)
HORIZON = 10.0
"""Seconds over which the live table's rates and quantiles are taken."""


@dataclass(frozen=True, slots=True)
class Reload:
    """How an attempt to load a configuration went; `at` is seconds since the epoch."""

    at: float
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass(slots=True)
class Reloads:
    """Attempts to take over what a person wrote."""

    counts: dict[str, int] = field(default_factory=lambda: {"ok": 0, "failed": 0})
    """By result, the first attempt included."""
    last: Reload | None = None
    """The latest, in force or not."""

    def took_over(self, at: float) -> None:
        """It is in force from now on."""
        self.counts["ok"] += 1
        self.last = Reload(at)

    def refused(self, problems: Iterable[str], at: float) -> None:
        """What was in force before, if anything, stays."""
        self.counts["failed"] += 1
        self.last = Reload(at, tuple(problems))


@dataclass(slots=True)
class TlsStatus:
    """What is known of the files that TLS needs."""

    certificate: str | None = None
    """The file whose certificate clients are shown; None while they are spoken to in plain HTTP."""
    not_after: float | None = None
    """When that ends, in seconds since the epoch."""
    reloads: Reloads = field(default_factory=Reloads)
    """With the configuration's, or of their own."""

    def took_over(self, at: float, certificate: str | None = None, not_after: float | None = None) -> None:
        """The files, if there are any, are in force as they are now."""
        self.certificate, self.not_after = certificate, not_after
        self.reloads.took_over(at)

    def refused(self, problems: Iterable[str], at: float) -> None:
        """Changed files were not taken over; the ones before stay in force."""
        self.reloads.refused(problems, at)


@dataclass(slots=True)
class Status:
    """What the server notes of itself as it happens. Times are monotonic seconds but for those of a Reload."""

    gateway: str
    version: str
    started: float
    config: str
    """Where the configuration comes from, for people."""
    lacks: Callable[[], str | None] = lambda: None
    """What has yet to be known of the pods; asked once a configuration is loaded."""
    listen: tuple[str, ...] = ()
    """Addresses that clients connect to, `host:port`."""
    most_connections: int = 0
    """Of clients, that may be open at once."""
    draining: bool = False
    routes: Mapping[str, Route[Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    loaded: Reload | None = None
    """The configuration in force."""
    reloads: Reloads = field(default_factory=Reloads)
    tls: TlsStatus = field(default_factory=TlsStatus)

    def took_over(self, routes: Mapping[str, Route[Any]], at: float, warnings: Iterable[str] = ()) -> None:
        """A configuration is in force from now on."""
        self.routes = routes
        self.warnings = tuple(warnings)
        self.reloads.took_over(at)
        self.loaded = self.reloads.last

    def refused(self, problems: Iterable[str], at: float) -> None:
        """A configuration was not taken over; the one before, if any, stays in force."""
        self.reloads.refused(problems, at)

    @property
    def not_ready(self) -> str | None:
        """Why no client should be sent here; None when all is well."""
        if self.draining:
            return "draining"
        return self.lacks() if self.loaded else "configuration not loaded"

    def __repr__(self) -> str:
        return f"<Status {self.gateway} {self.not_ready or 'ready'} routes={len(self.routes)} reloads={self.reloads.counts}>"


# -- /v1/state


def state_pieces(
    status: Status, backends: Mapping[str, Backend], wanted: Mapping[str, int], now: float
) -> Iterator[str]:
    """The JSON text of `/v1/state`. Each Backend is as it is when its piece is made; one that comes later is left out."""
    head = json.dumps(_head(status, now)).removesuffix("}")
    routes = (json.dumps(route_view(route)) for route in list(status.routes.values()))
    yield f'{head}, "routes": ['
    yield from _joined((text, 1) for text in routes)
    yield '], "backends": {'
    yield from _joined(_entry(backend, wanted.get(backend.name), now) for backend in list(backends.values()))
    yield "}}\n"


def _joined(entries: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Entries with commas between them, gathered into pieces by their sizes."""
    gathered: list[str] = []
    size, comma = 0, ""
    for text, weight in entries:
        gathered.append(comma + text)
        size, comma = size + weight, ", "
        if size >= PIECE:
            yield "".join(gathered)
            gathered, size = [], 0
    yield "".join(gathered)


def _head(status: Status, now: float) -> dict[str, Any]:
    return {
        "gateway": status.gateway,
        "version": status.version,
        "uptime": round(max(0.0, now - status.started), 3),
        "ready": status.not_ready is None,
        "not_ready": status.not_ready,
        "listen": status.listen,
        "most_connections": status.most_connections,
        "config": {
            "path": status.config,
            "loaded_at": status.loaded and _date(status.loaded.at),
            "last_reload": _reload(status.reloads.last),
            "warnings": status.warnings,
        },
        "tls": {
            "certificate": status.tls.certificate,
            "not_after": status.tls.not_after and _date(status.tls.not_after),
            "last_reload": _reload(status.tls.reloads.last),
        },
    }


def _reload(last: Reload | None) -> dict[str, Any] | None:
    return None if last is None else {"at": _date(last.at), "ok": last.ok, "problems": last.problems}


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _entry(backend: Backend, wanted: int | None, now: float) -> tuple[str, int]:
    view = json.dumps(backend_view(backend, wanted, now))
    return f"{json.dumps(backend.name)}: {view}", 1 + len(backend.endpoints)


def backend_view(backend: Backend, wanted: int | None, now: float) -> dict[str, Any]:
    """One Backend as `/v1/state` shows it; `wanted` is the autoscaler's count of replicas, where it is known."""
    return {
        "endpoints": [
            {
                "uid": endpoint.uid,
                "address": endpoint.address,
                "ready": endpoint.ready,
                "draining": endpoint.draining,
                "suspect": endpoint.suspect,
                "refusal": endpoint.refusal,
                "out": dict(endpoint.out),
                "back_in": _rounded(backend.ejections.back_in(endpoint, now)),
                "in_flight": endpoint.in_flight,
            }
            for endpoint in backend.endpoints.values()
        ],
        "in_flight": backend.in_flight,
        "queued": backend.breaker.queued,
        "pick": backend.limits.picking.policy,
        "panicking": backend.ejections.panicking,
        "limit": backend.limits.concurrency,
        "queue_depth": backend.limits.depth,
        "queue": _queue(backend, now),
        "replicas": {"ready": ready_replicas(backend), "wanted": wanted},
        "cannot_start": backend.activator.cannot_start,
        "pending": backend.activator.pending,
        "starting_for": starting_for(backend, now),
    }


def _queue(backend: Backend, now: float) -> dict[str, Any]:
    """Who waits, in what order; `per_second` is how many get a slot, while that is known."""
    breaker = backend.breaker
    pace = backend.patience.pace.per_second(now) if breaker.queued else None
    levels = {} if breaker.fair is None else breaker.fair.levels()
    return {
        "discipline": breaker.discipline,
        "bytes": breaker.bytes,
        "bytes_limit": breaker.bytes_limit,
        "per_second": _rounded(pace),
        "priorities": {
            str(priority): {"queued": queued, "tenants": tenants}
            for priority, (queued, tenants) in levels.items()
        },
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def ready_replicas(backend: Backend) -> int:
    """Pods that a request may go to: ready, to stay, and accepting connections."""
    return sum(endpoint.available for endpoint in backend.endpoints.values())


def starting_for(backend: Backend, now: float) -> float | None:
    """Seconds since somebody began to wait for a start; None while nobody does."""
    began = backend.activator.began
    return None if began is None else round(max(0.0, now - began), 3)


# -- the live table


@dataclass(frozen=True, slots=True)
class Row:
    """One Backend at one moment, in plain numbers."""

    name: str
    weights: tuple[tuple[str, int], ...]
    """Route and weight, of each Route that names it."""
    ready: int
    draining: int
    in_flight: int
    queued: int
    durations: tuple[int, ...]
    """Counts of the histogram of all requests that ended so far, however, over all Routes."""
    cannot_start: str | None
    starting_for: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the live table shows but for the decisions. Immutable, so that another thread may draw it."""

    at: float
    status: str
    uptime: float
    listen: tuple[str, ...]
    secure: bool
    """Clients are spoken to over TLS."""
    routes: tuple[Route[Any], ...]
    rows: tuple[Row, ...]
    more: int
    """Backends that have no row."""


def snapshot(status: Status, backends: Mapping[str, Backend], now: float) -> Snapshot:
    """The gateway at this moment, its first MAX_ROWS Backends in detail."""
    weights: dict[str, list[tuple[str, int]]] = {}
    for route in status.routes.values():
        for name, weight in route.split.weights.items():
            weights.setdefault(name, []).append((route.name, weight))
    shown = islice(backends.values(), MAX_ROWS)
    return Snapshot(
        now,
        status.not_ready or "ready",
        max(0.0, now - status.started),
        status.listen,
        status.tls.certificate is not None,
        tuple(status.routes.values()),
        tuple(_row(backend, weights.get(backend.name, ()), now) for backend in shown),
        max(0, len(backends) - MAX_ROWS),
    )


def _row(backend: Backend, weights: Iterable[tuple[str, int]], now: float) -> Row:
    durations = [traffic.duration.counts for traffic in backend.traffic.values()]
    return Row(
        backend.name,
        tuple(weights),
        ready_replicas(backend),
        sum(1 for _ in backend.draining()),
        backend.in_flight,
        backend.breaker.queued,
        tuple(map(sum, zip(*durations, strict=True))) or NOTHING_YET,
        backend.activator.cannot_start,
        starting_for(backend, now),
    )


@dataclass(frozen=True, slots=True)
class Rate:
    """How one Backend did over a stretch of time; None where nothing was answered or nothing is known."""

    per_second: float | None = None
    p50: float | None = None
    p99: float | None = None


class Rates:
    """Rates and quantiles over the last HORIZON seconds of Snapshots."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[str, Row]]] = deque()

    def add(self, snapshot: Snapshot) -> None:
        """Take in a Snapshot. The oldest kept is the newest of those that are HORIZON seconds old or more."""
        seen = self._seen
        seen.append((snapshot.at, {row.name: row for row in snapshot.rows}))
        while len(seen) > 1 and seen[1][0] <= snapshot.at - HORIZON:
            seen.popleft()

    def of(self, name: str) -> Rate:
        """Over as much of the horizon as the Backend has been seen for."""
        held = [(at, rows[name]) for at, rows in self._seen if name in rows]
        if len(held) < 2 or held[0][0] == held[-1][0]:
            return Rate()
        (since, old), (until, new) = held[0], held[-1]
        durations = [b - a for a, b in zip(old.durations, new.durations, strict=True)]
        if min(durations) < 0:
            return Rate()  # it was removed and came back: its counts began anew
        return Rate(
            sum(durations) / (until - since),
            quantile(LATENCY_BOUNDS, durations, 0.5),
            quantile(LATENCY_BOUNDS, durations, 0.99),
        )

    def __repr__(self) -> str:
        return f"<Rates over {self._seen[-1][0] - self._seen[0][0] if self._seen else 0:.1f} s>"
