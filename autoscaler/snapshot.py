"""What an autoscaler knows and remembers, as JSON and back, so that one that is started again goes on where the last one was.

In it are the windows, what each gateway last said with the second that it was for, and each target's State. Not in it is what is there (pods,
counts), which is looked at anew. A snapshot of another version, or one that is damaged (a sum tells), raises ValueError: nothing is made of parts.

Core. `controller` makes one and goes on from one, `statefile` keeps it in a file.
"""

import re
from dataclasses import dataclass, replace
from zlib import crc32

from pydantic import TypeAdapter

from autoscaler.collector import FORGOTTEN_AFTER, PackedCollector
from autoscaler.kpa import State
from autoscaler.series import PackedSeries
from autoscaler.spec import ScalingSpec

VERSION = 1
"""To be raised with whatever changes what is packed."""
BEGIN = b'{"version":'
"""What each begins with, whatever its version."""
_FORM = re.compile(rb'\{"version":(\d{1,9}),"crc32":(\d{1,10}),"snapshot":(\{.*\})\}\n', re.DOTALL)
_AHEAD = 1.0
"""Seconds by which a snapshot's time may be later than now: clocks are kept right."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything, as of `at`."""

    at: float
    """Seconds since the epoch, by the clock that decisions are told."""
    collector: PackedCollector
    states: dict[str, State]

    def encode(self) -> bytes:
        """As JSON; a thousand Backends take 20 ms."""
        body = _adapter.dump_json(self)
        return b'{"version":%d,"crc32":%d,"snapshot":%s}\n' % (VERSION, crc32(body), body)

    @classmethod
    def decode(cls, text: bytes, now: float) -> "Snapshot":
        """Raises ValueError, with the reason, when it cannot be used."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError("it is no snapshot, or cut off")
        version, checked, body = int(found[1]), int(found[2]), found[3]
        if version != VERSION:
            raise ValueError(f"it is of version {version}, and this is {VERSION}")
        if crc32(body) != checked:
            raise ValueError("it is damaged")
        made = _adapter.validate_json(body)
        if made.at > now + _AHEAD:
            raise ValueError(f"it is of {made.at - now:.0f} s from now: the clock was set back")
        return made

    def of(self, backend: str, spec: ScalingSpec, now: float) -> tuple[PackedSeries, State | None] | None:
        """What one Backend goes on from; None when nothing is known of it, or only of before its stable window.

        There is no State when nothing was decided yet: its pods were not known.
        """
        series, state = self.collector.series.get(backend), self.states.get(backend)
        age = now - self.at
        if series is None or age > spec.stable_window:
            return None
        if state is None:
            return series, None
        # By then gateways are forgotten, so that nobody would notice what none of them told.
        return series, replace(state, blind_at=now) if age > FORGOTTEN_AFTER else state

    def __repr__(self) -> str:
        return f"<Snapshot of {len(self.states)} backends at {self.at:.0f}>"


_adapter: TypeAdapter[Snapshot] = TypeAdapter(Snapshot)
