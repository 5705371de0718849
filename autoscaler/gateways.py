"""What one gateway last said, and the second that its last beat was put into.

Core: told beats and times. `collector` keeps one of these per gateway and adds up what they say.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from autoscaler.series import BUCKET
from gateway.stats import Beat, Stat

MISSING_AFTER = 3
"""Seconds without a beat after which a gateway's data count as missing, and buckets wait for it no longer."""
_STRAY = 1.0
_LATE_IN_A_ROW = 3
_LATEST = 5.0


class Held(NamedTuple):
    """What a gateway has of one Backend at the moment of its last beat; kept per gateway and Backend, so it is small."""

    in_flight: int
    queued: int
    endpoints: tuple[tuple[str, int], ...]
    """Requests in flight per busy Endpoint, by uid."""

    @classmethod
    def of(cls, stat: Stat) -> "Held":
        return cls(stat.in_flight, stat.queued, tuple(stat.endpoints.items()))

    @property
    def strays(self) -> int:
        """In flight at Endpoints that the gateway knows no more."""
        return max(0, self.in_flight - sum(count for _, count in self.endpoints))


class PackedGateway(NamedTuple):
    """What one gateway last said, as plain values for a snapshot."""

    source: str
    beat_at: float
    seq: int | None
    bucket: int | None
    held: Mapping[str, Held]
    draining: Mapping[str, Mapping[str, int]]
    left: bool
    hole: tuple[int, float] | None


@dataclass(slots=True)
class Gateway:
    """What one gateway last said, and the bucket that its last beat went into."""

    source: str
    beat_at: float
    """When its last regular beat came; when it was first heard of, before that."""
    seq: int | None = None
    bucket: int | None = None
    late: int = 0
    held: dict[str, Held] = field(default_factory=dict)
    """By Backend; absent is nothing."""
    draining: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    left: bool = False
    hole: tuple[int, float] | None = None
    """Seconds that no beat spoke for, and when that was noticed, lately."""

    def knows(self, beat: Beat) -> bool:
        """A live beat with a lower number is of the gateway restarted, one that is told again may be any of the last minute."""
        return self.seq is not None and (beat.seq == self.seq or (beat.age > 0 and beat.seq < self.seq))

    def place(self, beat: Beat, now: float) -> range:
        """The buckets that a regular beat speaks for, its own last; empty when its own was taken already.

        The sequence number says which bucket comes next, so that a beat a little early or late leaves no hole and shares no
        bucket; the arrival only corrects it. A beat that spans several seconds (a stalled gateway), and one after up to two
        lost beats, speak for every second since the last.
        """
        if self.bucket is None:
            self.bucket = math.floor(now)
            return range(self.bucket, self.bucket + 1)
        bucket = self._believed(self._expected(beat, now), now)
        steps = max(0, bucket - self.bucket)
        self.bucket += steps
        spoken_for = steps if steps <= MISSING_AFTER else max(1, min(steps, round(beat.duration)))
        if steps - spoken_for > 1:
            self.hole = (steps - spoken_for, now + beat.age)
        return range(self.bucket + 1 - spoken_for, self.bucket + 1)

    def _expected(self, beat: Beat, now: float) -> int:
        assert self.bucket is not None  # noqa: S101 (for the type checker; `place` has looked)
        if self.seq is None or beat.seq < self.seq:  # the gateway was restarted
            return max(math.floor(now), self.bucket + 1)
        return self.bucket + (beat.seq - self.seq - 1) + max(1, round(beat.duration))

    def _believed(self, expected: int, now: float) -> int:
        """The expected bucket, unless the arrival lies too far outside of it.

        Within a second of it lies whatever jitters by up to half a second: a first beat that came 0.4 s late and a next
        one 0.4 s early are 0.8 s off. Later ones are taken for delayed on their way, unless they go on being late: then
        the clocks have drifted apart.
        """
        off = now - expected
        if -_STRAY <= off < BUCKET + _STRAY:
            self.late = 0
            return expected
        self.late = self.late + 1 if off > 0 else 0
        if 0 < self.late < _LATE_IN_A_ROW and off < _LATEST:
            return expected
        self.late = 0
        return math.floor(now)

    def packed(self) -> PackedGateway:
        """What it said, to be unpacked elsewhere."""
        return PackedGateway(
            self.source,
            self.beat_at,
            self.seq,
            self.bucket,
            dict(self.held),
            self.draining,
            self.left,
            self.hole,
        )

    @classmethod
    def unpacked(cls, packed: PackedGateway) -> "Gateway":
        """The same again."""
        source, beat_at, seq, bucket, held, draining, left, hole = packed
        return cls(source, beat_at, seq, bucket, 0, dict(held), draining, left, hole)
