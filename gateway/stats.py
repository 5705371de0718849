"""What a gateway counts, and the beats in which it tells the autoscalers.

The hot path adds to plain attributes; whoever asks (a scrape, the beat, the live table) reads and subtracts. Integrals and
counts, never averages: request-seconds add up over gateways and over time without loss. The times are monotonic seconds,
told by the caller. `metrics` renders these for Prometheus, `admin` streams the beats, the autoscaler's collector reads them.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

LATENCY_BOUNDS = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0,
    30.0, 60.0, 120.0, 300.0,
)  # fmt: skip
"""Upper bounds in seconds: model answers span a millisecond to minutes."""


MOST = 1e9
"""Of anything in one beat. No gateway has more, and what claims it would take the digits from every average that it is in."""


class Integral:
    """A count and its integral over time: three in flight for two seconds are six request-seconds."""

    __slots__ = ("since", "sum", "value")

    def __init__(self, now: float) -> None:
        self.value = 0
        self.sum = 0.0
        """Count-seconds until `since`."""
        self.since = now

    def add(self, delta: int, now: float) -> None:
        self.sum += self.value * (now - self.since)
        self.since = now
        self.value += delta

    def total(self, now: float) -> float:
        """The count's integral from the start until `now`, in count-seconds."""
        return self.sum + self.value * (now - self.since)

    def __repr__(self) -> str:
        return f"<Integral {self.value}>"


class Histogram:
    """Counts per bucket and their sum, for Prometheus and for quantiles over a stretch of time."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = LATENCY_BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def __repr__(self) -> str:
        return f"<Histogram {sum(self.counts)} observed, sum {self.sum:.6g}>"


def quantile(bounds: tuple[float, ...], counts: list[int], q: float) -> float | None:
    """Linear interpolation within the bucket where the quantile falls, as PromQL's histogram_quantile; None of nothing.

    Past the last bound nothing is known but the bound itself.
    """
    rank = q * sum(counts)
    if rank == 0:
        return None
    seen = 0.0
    for index, count in enumerate(counts[:-1]):
        if count and seen + count >= rank:
            lower = bounds[index - 1] if index else 0.0
            return lower + (bounds[index] - lower) * (rank - seen) / count
        seen += count
    return bounds[-1]


class Traffic:
    """What one Route sent to one Backend: answers by status, and how long they took."""

    __slots__ = ("backend", "codes", "duration", "reasons", "response_start", "route")

    def __init__(self, route: str, backend: str) -> None:
        self.route = route
        self.backend = backend
        self.codes: dict[int, int] = {}
        self.reasons: dict[str, int] = {}
        """Answers of our own and aborted ones, by reason slug."""
        self.duration = Histogram()
        self.response_start = Histogram()

    def count(self, status: int) -> None:
        codes = self.codes
        codes[status] = codes.get(status, 0) + 1

    def __repr__(self) -> str:
        return f"<Traffic {self.route or '-'} -> {self.backend or '-'}: {self.codes}>"


class BackendStats:
    """What one Backend did since it was made."""

    __slots__ = (
        "begun", "cold_start", "cold_starts", "ended", "fallbacks", "in_flight", "queue_wait", "queued", "retries", "retries_denied",
        "sheds", "tells", "wait_seconds", "waits",
    )  # fmt: skip

    def __init__(self, now: float) -> None:
        self.in_flight = Integral(now)
        self.queued = Integral(now)
        self.begun = 0
        self.ended = 0
        self.waits = 0
        """Requests that left the queue, however."""
        self.wait_seconds = 0.0
        self.queue_wait = Histogram()
        self.cold_start = Histogram()
        self.cold_starts: dict[str, int] = {}
        """Starts by outcome: ready, timeout, cannot_start, abandoned."""
        self.retries: dict[str, int] = {}
        """By how the try before failed, or by its status."""
        self.retries_denied = 0
        """Those for which the budget had nothing left."""
        self.sheds: dict[str, int] = {}
        """Requests that might have waited and were refused, by why: depth, bytes, late, pushed_out, memory."""
        self.fallbacks: dict[tuple[str, str], int] = {}
        """Requests that went to another Backend since this one could not serve them, by Route and why."""
        self.tells: frozenset[str] = frozenset()
        """Which latencies beats shall tell, since the Backend scales on them: `queue_wait`, `response_time`."""

    def __repr__(self) -> str:
        return f"<BackendStats begun={self.begun} ended={self.ended} in_flight={self.in_flight.value} queued={self.queued.value}>"


@dataclass(frozen=True)
class Stat:
    """One Backend in one beat. Seconds are request-seconds within the beat; counts of the moment say so."""

    in_flight_seconds: float = 0.0
    queued_seconds: float = 0.0
    begun: int = 0
    ended: int = 0
    waits: int = 0
    wait_seconds: float = 0.0
    in_flight: int = 0
    """Requests open to pods as the beat was made."""
    queued: int = 0
    """Requests waiting as the beat was made."""
    endpoints: Mapping[str, int] = field(default_factory=dict)
    """In flight per busy Endpoint, by uid, as the beat was made."""
    wait_counts: Mapping[int, int] = field(default_factory=dict)
    """By index into LATENCY_BOUNDS: how long requests waited that got through or gave up, and how long those have waited so far that still do.
    Only of Backends that scale on it, as the next."""
    duration_counts: Mapping[int, int] = field(default_factory=dict)
    """In the same way: how long answers took, from the request's head to the last byte."""
    started: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """Starts that requests waited for and that are over: by uid of the pod that answered first, how many seconds ago it was asked for, was
    ready, and gave the first byte."""


@dataclass(frozen=True)
class Beat:
    """What one gateway says of one second, or, as a nudge, at once of one Backend."""

    gateway: str
    seq: int
    """Counts the regular beats; a nudge carries the last beat's."""
    duration: float
    """Seconds that the beat covers; 0 for a nudge."""
    stats: Mapping[str, Stat]
    """By Backend; absent is zero."""
    draining: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Backend -> uid -> requests in flight, for each Endpoint that this gateway treats as draining."""
    nudge: bool = False
    age: float = 0.0
    """Seconds since it was made, when it is told again to somebody who was away (`lately`)."""

    def encode(self, stats: str | None = None) -> bytes:
        """One line of JSON, with its newline. `stats`: what `encode_stats` made of all of them, joined by commas, if somebody has already."""
        head = _dump({"gateway": self.gateway, "seq": self.seq, "duration": self.duration})
        tail = _dump({"draining": self.draining, "nudge": self.nudge})
        stats = encode_stats(self.stats) if stats is None else stats
        return f'{head[:-1]},"stats":{{{stats}}},{tail[1:]}\n'.encode()

    @classmethod
    def decode(cls, line: bytes | str) -> "Beat":
        """Read one line. Unknown fields are left out, so that a newer gateway can be read.

        Raises ValueError when the line is not a beat, or tells of what cannot be, as less than nothing: it would be in averages for a window's length.
        """
        try:
            raw = json.loads(line)
            stats = {name: _stat(name, stat) for name, stat in raw.pop("stats").items()}
            beat = _known(cls, raw | {"stats": stats})
            _check(beat)
        except (AttributeError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"not a beat: {error!r}") from error
        return beat


_STAT_FIELDS = tuple(item.name for item in fields(Stat))
_COUNTS = ("wait_counts", "duration_counts")
_SELDOM = (*_COUNTS, "started")
"""Left out when empty."""
_PLAIN_FIELDS = frozenset(_STAT_FIELDS) - set(_SELDOM)


def encode_stats(stats: Mapping[str, Stat]) -> str:
    """The members of a beat's `stats`, without the braces: so that a thousand can be encoded in turns."""
    # Not asdict(): it copies every value deeply, which takes four times as long.
    plain = {
        backend: {
            name: value for name in _STAT_FIELDS if (value := getattr(stat, name)) or name not in _SELDOM
        }
        for backend, stat in stats.items()
    }
    return _dump(plain)[1:-1]


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _stat(name: str, raw: Mapping[str, Any]) -> Stat:
    try:
        stat = _read(raw)
        _check_stat(stat)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"not a beat: of {name}, {error}") from error
    return stat


def _read(raw: Mapping[str, Any]) -> Stat:
    if raw.keys() <= _PLAIN_FIELDS:  # most are
        return Stat(**raw)
    counts = {
        name: {int(index): count for index, count in raw[name].items()} for name in _COUNTS if name in raw
    }
    started = {
        uid: (asked, ready, answered) for uid, (asked, ready, answered) in raw.get("started", {}).items()
    }
    return _known(Stat, {**raw, **counts, "started": started})


def _check(beat: Beat) -> None:
    """Raises ValueError or TypeError."""
    if not isinstance(beat.gateway, str) or not isinstance(beat.seq, int):
        raise TypeError("it has no name or no number")
    _check_numbers(beat.seq, beat.duration, beat.age)
    for pods in beat.draining.values():
        _check_numbers(*pods.values())


def _check_stat(stat: Stat) -> None:
    _check_numbers(
        stat.in_flight_seconds,
        stat.queued_seconds,
        stat.begun,
        stat.ended,
        stat.waits,
        stat.wait_seconds,
        stat.in_flight,
        stat.queued,
        *stat.endpoints.values(),
    )
    for counts in (stat.wait_counts, stat.duration_counts):
        if counts:
            _check_numbers(*counts.values())
            if not all(isinstance(count, int) for count in counts.values()):
                raise TypeError("counts must be whole")
    for ages in stat.started.values():
        _check_numbers(*map(abs, ages))  # moments before now, if only by a rounding


def _check_numbers(*numbers: float) -> None:
    if numbers and not (
        min(numbers) >= 0 and max(numbers) <= MOST and sum(numbers) >= 0
    ):  # no sum with NaN is
        raise ValueError(f"not a beat: must be between 0 and {MOST:g}: {numbers}")


def _known(cls: type[T], raw: Mapping[str, Any]) -> T:
    names = {item.name for item in fields(cls)}
    return cls(**{key: value for key, value in raw.items() if key in names})
