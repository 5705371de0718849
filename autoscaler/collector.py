"""Merges the beats of all gateways into what is known of each Backend's demand.

A Backend's value in a second is the sum over gateways: absent from a beat is zero, an absent beat is missing. Whole seconds
fall into buckets, one per beat and gateway, whatever the jitter of its arrival. A bucket counts once every live gateway's beat
for it has come or it is 2 s old, so that the newest, half-told second never drags an average down. A nudge replaces the
counts of the moment and enters no bucket.

What no gateway tells is sampled elsewhere and told here (`sample`, `failed`). `Collector` is told the time (epoch seconds of a clock that never
jumps); `subscription` is its edge, `series` keeps the windows. Memory: a few numbers per known gateway and configured Backend, windows only
for Backends that were busy lately.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from autoscaler.decision import Observed
from autoscaler.gateways import MISSING_AFTER, Gateway, Held, PackedGateway
from autoscaler.series import NOTHING, Measured, PackedMeasured, PackedSeries, Series
from autoscaler.spec import ScalingSpec
from gateway.stats import Beat

FORGOTTEN_AFTER = 60.0
"""Seconds of silence after which a gateway is taken for gone, with the requests that it had."""
LEFT_AFTER = 5.0
"""The same for one that ended its stream in good order, as a gateway does that shuts down."""
_COUNTED_AFTER = 2


class PackedCollector(NamedTuple):
    """A Collector as plain values, for a snapshot."""

    newest: int
    gateways: Mapping[str, PackedGateway]
    pending: Mapping[int, Mapping[str, PackedMeasured]]
    series: Mapping[str, PackedSeries]


class Collector:
    """The demand on every configured Backend, summed over gateways."""

    def __init__(self) -> None:
        self._gateways: dict[str, Gateway] = {}
        self._expected: dict[str, float] = {}
        """Sources that were named and not heard of yet, and since when."""
        self._series: dict[str, Series] = {}
        self._open: set[str] = set()
        self._pending: dict[int, dict[str, Measured]] = {}
        self._newest = 0
        """The newest bucket that counts."""
        self._sound_until = -math.inf
        """Until then nobody can be missing, unless something comes up."""
        self._caught_up_by = -math.inf

    def put(self, backend: str, spec: ScalingSpec, packed: PackedSeries | None = None) -> None:
        """Measure this Backend from now on, or otherwise than so far; data are kept but for those of metrics that are gone.

        `packed`: what a new one goes on from.
        """
        series = self._series.get(backend)
        if series is None:
            series = (
                Series(backend, spec)
                if packed is None
                else Series.unpacked(packed, backend, spec, self._newest)
            )
            self._series[backend] = series
            if series.open:
                self._open.add(backend)
        elif spec != series.spec:
            series.respec(spec, self._newest)

    # -- snapshots

    def packed(self) -> PackedCollector:
        """What it holds, to go on from elsewhere."""
        gateways = {name: each.packed() for name, each in self._gateways.items()}
        pending = {
            bucket: {name: measured.packed() for name, measured in values.items()}
            for bucket, values in self._pending.items()
        }
        series = {name: series.packed() for name, series in self._series.items()}
        return PackedCollector(self._newest, gateways, pending, series)

    def resume(self, packed: PackedCollector, now: float) -> None:
        """Go on from what another knew, before anything is put or received; each Backend's data come with its `put`."""
        self._newest = packed.newest
        self._gateways = {name: Gateway.unpacked(each) for name, each in packed.gateways.items()}
        self._pending = {
            bucket: {name: Measured(*measured) for name, measured in values.items()}
            for bucket, values in packed.pending.items()
        }
        self._caught_up_by = now + MISSING_AFTER

    def catching_up(self, now: float) -> bool:
        """Having gone on from a snapshot, it waits for the gateways, which connect in a moment and tell what was missed."""
        return now < self._caught_up_by and bool(self._silent(now))

    def drop(self, backend: str) -> None:
        """Measure it no longer. What gateways say of its requests of the moment is still known."""
        self._series.pop(backend, None)
        self._open.discard(backend)

    # -- what gateways say

    def expect(self, source: str, now: float) -> None:
        """There is a gateway at `source`. Until it is heard of, its requests are missing; for as long as a silent one's."""
        if all(gateway.source != source for gateway in self._gateways.values()):
            self._expected.setdefault(source, now)
            self._sound_until = -math.inf

    def receive(self, beat: Beat, now: float, source: str = "") -> list[str]:
        """Take in one beat; returns the Backends that cannot wait for the next tick.

        They are those of a nudge, and those of a beat that names a draining Endpoint with no request left. A beat that is told again
        counts as of when it was made, unless it is known. `source` is where the beat came from: a new gateway id from there is the old gateway restarted.
        """
        self._forget(now)
        self._expected.pop(source, None)
        now -= beat.age
        gateway = self._known(beat.gateway, source, now)
        if beat.nudge:
            gateway.held |= self._held(beat)
            return [name for name in beat.stats if name in self._series]
        if not gateway.knows(beat):  # it may be told twice, as after a reconnection
            self._put(self._values(beat), gateway.place(beat, now))
            gateway.seq, gateway.beat_at, gateway.left = beat.seq, now, False
            gateway.held, gateway.draining = self._held(beat), beat.draining
            self._count(now)
            self._sound_until = self._first_missing()
        return [name for name, pods in beat.draining.items() if not all(pods.values())]

    def left(self, source: str) -> None:
        """The stream from `source` ended in good order, or nothing is there: unless it is back in a few seconds, its gateway is gone."""
        self._expected.pop(source, None)
        for gateway in self._gateways.values():
            gateway.left = gateway.left or gateway.source == source
        self._sound_until = -math.inf

    def _known(self, name: str, source: str, now: float) -> Gateway:
        known = self._gateways.get(name)
        if known is None:
            same = [old for old, gateway in self._gateways.items() if source and gateway.source == source]
            known = self._gateways.pop(same[0]) if same else Gateway(source, now)
            known.seq = None
            self._gateways[name] = known
        return known

    def _forget(self, now: float) -> None:
        for name, gateway in list(self._gateways.items()):
            if now - gateway.beat_at > (LEFT_AFTER if gateway.left else FORGOTTEN_AFTER):
                del self._gateways[name]
            elif gateway.hole is not None and now - gateway.hole[1] > MISSING_AFTER:
                gateway.hole = None
        for source, since in list(self._expected.items()):
            if now - since > FORGOTTEN_AFTER:
                del self._expected[source]

    def _values(self, beat: Beat) -> dict[str, Measured]:
        if beat.duration <= 0:
            return {}
        series, seconds = self._series, beat.duration
        return {name: Measured.of(stat, seconds) for name, stat in beat.stats.items() if name in series}

    def _held(self, beat: Beat) -> dict[str, Held]:
        """Under the names that are kept anyway, rather than under another copy of each for every gateway."""
        found = {}
        for name, stat in beat.stats.items():
            series = self._series.get(name)
            found[name if series is None else series.name] = Held.of(stat)
        return found

    # -- what is sampled

    def sample(self, backend: str, metric: str, value: float, now: float) -> None:
        """The value of a sampled metric (its name in the Backend's spec), as of now."""
        if backend in self._series:
            self._series[backend].sample(metric, value, now)

    def failed(self, backend: str, metric: str, reason: str, now: float) -> None:
        """There is no value, and why. The last one holds for three intervals; from then on the metric is missing."""
        if backend in self._series:
            self._series[backend].failed(metric, reason, now)

    def renew(self, backend: str, metric: str) -> None:
        """What was sampled of it so far was of something else, maybe in another unit."""
        if backend in self._series:
            self._series[backend].renew(metric)

    # -- buckets

    def _put(self, values: dict[str, Measured], buckets: range) -> None:
        for bucket in buckets:
            if bucket != buckets[-1]:
                self._add(bucket, {name: measured.rates() for name, measured in values.items()})
            else:
                self._add(bucket, values)

    def _add(self, bucket: int, values: dict[str, Measured]) -> None:
        if bucket <= self._newest:
            self._record(bucket, values)
        elif bucket not in self._pending:
            self._pending[bucket] = values
        else:
            sums = self._pending[bucket]
            for name, value in values.items():
                sums[name] = sums[name].plus(value) if name in sums else value

    def _count(self, now: float) -> None:
        """Let those buckets count that are complete, or too old to be waited for."""
        told = [
            gateway.bucket
            for gateway in self._gateways.values()
            if gateway.bucket is not None and now - gateway.beat_at <= MISSING_AFTER
        ]
        until = max(min(told), math.floor(now) - _COUNTED_AFTER)
        for bucket in sorted(bucket for bucket in self._pending if bucket <= until):
            self._newest = bucket
            values = self._pending.pop(bucket)
            self._record(bucket, dict.fromkeys(self._open, NOTHING) | values)

    def _record(self, bucket: int, values: Mapping[str, Measured]) -> None:
        for name, value in values.items():
            series = self._series.get(name)
            if series is not None:
                series.record(bucket, value)
                (self._open.add if series.open else self._open.discard)(name)

    # -- what is known

    def observe(self, backend: str, *, ready: int, replicas: int, now: float) -> Observed:
        """What `decide` needs; what gateways tell reads None before the first beat of any.

        `replicas`: while it is 0 and nothing comes, the windows are begun anew. Raises KeyError for an unknown Backend.
        """
        missing = ""
        if now > self._sound_until:
            self._forget(now)
            missing = self._missing(now)
        series = self._series[backend]
        in_flight = waiting = 0
        heard = False
        for gateway in self._gateways.values():
            heard = heard or gateway.bucket is not None
            held = gateway.held.get(backend)
            if held is not None:
                in_flight += held.in_flight
                waiting += held.queued
        if heard:
            series.note_pods(replicas, self._newest)
        readings = series.readings(self._newest, now, heard=heard, ready=ready)
        quiet = heard and not series.open
        return Observed(readings, ready, replicas, in_flight, waiting, missing, quiet)

    def endpoints(self, backend: str) -> dict[str, int]:
        """Requests open per busy Endpoint, by uid, summed over gateways."""
        sums: dict[str, int] = {}
        for gateway in self._gateways.values():
            held = gateway.held.get(backend)
            for uid, count in held.endpoints if held else ():
                sums[uid] = sums.get(uid, 0) + count
        return sums

    def drained(self, backend: str, uid: str, since: float) -> bool:
        """Whether every gateway has said, later than `since`, that it treats the Endpoint as draining and has nothing there."""
        return self._all_heard and all(
            gateway.beat_at > since and gateway.draining.get(backend, {}).get(uid) == 0
            for gateway in self._gateways.values()
        )

    def idle(self, backend: str, since: float) -> bool:
        """Whether every gateway has said, later than `since`, that it has no request of the Backend."""
        return self._all_heard and all(
            gateway.beat_at > since and not _open_requests(gateway, backend)
            for gateway in self._gateways.values()
        )

    def left_alone(self, backend: str, since: float) -> bool:
        """Whether every gateway has said, later than `since`, that all its requests are at Endpoints which it still knows.

        It names no other, but counts their requests: those of pods that others took the place of.
        """
        return self._all_heard and all(
            gateway.beat_at > since and not _strays(gateway, backend) for gateway in self._gateways.values()
        )

    @property
    def gateways(self) -> int:
        """How many gateways are known to be there."""
        return len(self._gateways)

    @property
    def _all_heard(self) -> bool:
        return bool(self._gateways) and not self._expected

    def _first_missing(self) -> float:
        """When the first gateway will be, if nothing comes."""
        if self._expected or any(each.left or each.hole for each in self._gateways.values()):
            return -math.inf
        return min(gateway.beat_at for gateway in self._gateways.values()) + MISSING_AFTER

    def _missing(self, now: float) -> str:
        """What is not known: now, or of a time within the windows that every decision is yet to be told of."""
        known = self._gateways.items()
        holes = [f"gateway {name} for {each.hole[0]} s" for name, each in known if each.hole is not None]
        return ", ".join([*self._silent(now), *holes])

    def _silent(self, now: float) -> list[str]:
        silent = [f"gateway at {source} since {now - at:.0f} s" for source, at in self._expected.items()]
        silent += [
            f"gateway {name} since {now - gateway.beat_at:.0f} s"
            for name, gateway in self._gateways.items()
            if now - gateway.beat_at > MISSING_AFTER
        ]
        return silent

    def __repr__(self) -> str:
        return (
            f"<Collector {len(self._gateways)} gateways, {len(self._open)} of {len(self._series)} backends busy, "
            f"bucket {self._newest}, {len(self._pending)} waiting>"
        )


def _strays(gateway: Gateway, backend: str) -> int:
    held = gateway.held.get(backend)
    return held.strays if held else 0


def _open_requests(gateway: Gateway, backend: str) -> int:
    held = gateway.held.get(backend)
    return held.in_flight + held.queued if held else 0
