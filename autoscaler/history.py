"""The last changes of one target's decisions: count, rule or deciding metric, each with what it was decided on.

Ten thousand targets have one of these, so an entry is kept packed, in 150 bytes or so instead of a kilobyte. Core.
`target` notes each decision, `admin` shows them.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass

from autoscaler.decision import Decision
from autoscaler.demand import Demand

MOST = 20
"""Changes that are remembered."""
_WORDS = (
    b'["no_data","warming","initial_scale","scale_down_delay","max_scale_down_rate","max_scale_up_rate","busy","idle: no request in 60 s and 30 s grace,'
    b' going to 0","idle for 12 s of 30 s grace, keeping 1",1 queued and no pod ready: waking with 1","wake",woken less than 60 s ago, keeping '
    b'rising no faster than to  in panic holding  keeping the most wanted so far, only 10 s of 60 s seen yet: holding 1,held to max, "max_scale","min_scale",'
    b'held to min "stable","concurrency","grace",false,null,[["rps",1.0,"panic","panic: 0.5 requests/s over 0.25 in flight over 60 s want 2 at target 0.7",true,1,1,0,0,""'
)
"""What entries are made of, so that an entry alone packs well."""


@dataclass(frozen=True, slots=True)
class Change:
    """One decision that was another than the one before."""

    at: float
    before: int
    """The count until then."""
    desired: int
    rule: str
    metric: str
    """The one that asked for the most; empty when none decided."""
    reason: str
    panic: bool
    ready: int
    replicas: int
    in_flight: int
    waiting: int
    absence: str
    readings: list[list[str | float | None]]
    """Per metric: its name, the value per pod that was aimed at, what the stable and the panic window read, what is missing."""


class History:
    """Oldest first, and no more than MOST."""

    __slots__ = ("_last", "_packed")

    def __init__(self) -> None:
        # No deque: an empty one takes 0.7 KB, and most stay short.
        self._packed: list[bytes] = []
        self._last: tuple[int, str, str] | None = None

    def note(self, decision: Decision, before: int) -> None:
        """Keep it if it differs from the last one; `before`: the count until now."""
        metric = deciding(decision)
        key = (decision.desired, decision.rule, metric)
        if key != self._last:
            self._last = key
            self._packed.append(_pack(_change(decision, before, metric)))
            del self._packed[:-MOST]

    def __iter__(self) -> Iterator[Change]:
        return map(_unpack, tuple(self._packed))

    def __len__(self) -> int:
        return len(self._packed)

    def __repr__(self) -> str:
        return f"<History of {len(self)} changes>"


def deciding(decision: Decision) -> str:
    """The name of the metric that the reason begins with."""
    for word in decision.words:
        if isinstance(word, Demand):
            return word.metric.name
    return ""


def _change(decision: Decision, before: int, metric: str) -> Change:
    seen = decision.observed
    readings: list[list[str | float | None]] = [
        [spec.name, spec.target, reading.stable, reading.panic, reading.missing]
        for spec, reading in zip(decision.metrics, seen.readings, strict=True)
    ]
    counts = seen.ready, seen.replicas, seen.in_flight, seen.waiting
    what = decision.desired, decision.rule, metric, decision.reason, decision.panic
    return Change(decision.at, before, *what, *counts, seen.absence, readings)


def _pack(change: Change) -> bytes:
    packer = zlib.compressobj(6, wbits=-10, memLevel=4, zdict=_WORDS)
    text = json.dumps(astuple(change), separators=(",", ":"), ensure_ascii=False)
    return packer.compress(text.encode()) + packer.flush()


def _unpack(packed: bytes) -> Change:
    unpacker = zlib.decompressobj(wbits=-10, zdict=_WORDS)
    return Change(*json.loads(unpacker.decompress(packed) + unpacker.flush()))
