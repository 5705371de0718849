"""Which requests of a Route are copied to another Backend, how much that may take, and what is counted of it.

Core. Copies have bounds of their own, so that whatever becomes of them takes nothing from the requests that they are of: so many at once for each Route,
so many bytes in all. The counts outlive a configuration. `mirroring` makes and sends the copies; `steering` holds a Route's Mirror, `gateway` the Mirrors.
"""

from dataclasses import dataclass, field

from gateway.stats import Histogram
from gateway.terms import BackendRef

MOST_BYTES = 64 * 2**20
"""Of requests' bodies that wait to be copied, in all."""
_PARTS = 10**8
DIFFERENCE_BOUNDS = (
    -10.0, -3.0, -1.0, -0.3, -0.1, -0.03, -0.01, -0.003, -0.001, 0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0,
)  # fmt: skip
"""Seconds; below zero the mirror was faster."""


class Turns:
    """A share of what comes, without dice: of any number, give or take less than one."""

    __slots__ = ("_parts", "_seen")

    def __init__(self, share: float) -> None:
        self._parts = round(share * _PARTS)
        self._seen = 0

    def take(self) -> bool:
        """Whether this one belongs to the share. The first one does, if any: whoever tries it out sees something."""
        seen, parts = self._seen, self._parts
        self._seen = seen + 1
        return -(-(seen + 1) * parts // _PARTS) > -(-seen * parts // _PARTS)

    def continue_from(self, previous: "Turns") -> None:
        if previous._parts == self._parts:  # noqa: SLF001  # another Turns'
            self._seen = previous._seen  # noqa: SLF001

    def __repr__(self) -> str:
        return f"<Turns {self._parts / _PARTS:.6g} of {self._seen}>"


@dataclass(eq=False)
class Compare:
    """How answers are compared."""

    tolerance: float
    log: Turns
    """Of those that differ, which are told in the log."""


@dataclass(eq=False)
class Mirror:
    """Where a share of a Route's requests goes as well."""

    ref: BackendRef
    turns: Turns
    percent: float
    in_flight: int = 100
    """Copies at once."""
    body_limit: int = 2**20
    """Bytes; a request with a larger body is not copied."""
    compare: Compare | None = None

    def continue_from(self, previous: "Mirror") -> None:
        """Go on with another table's turns."""
        self.turns.continue_from(previous.turns)
        if self.compare is not None and previous.compare is not None:
            self.compare.log.continue_from(previous.compare.log)


@dataclass(eq=False)
class MirrorTraffic:
    """What became of one Route's copies to one Backend."""

    route: str
    backend: str
    outcomes: dict[str, int] = field(default_factory=dict)
    """answered, failed, timeout; and, not sent: no_slot, too_many, too_large, no_room, cut."""
    results: dict[str, int] = field(default_factory=dict)
    """Of comparisons: same, status, body, skipped."""
    difference: Histogram = field(default_factory=lambda: Histogram(DIFFERENCE_BOUNDS))
    in_flight: int = 0

    def count(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class Mirrors:
    """All copies of one gateway."""

    def __init__(self) -> None:
        self.held = 0
        """Bytes of bodies."""
        self.traffic: dict[tuple[str, str], MirrorTraffic] = {}
        """By Route and Backend."""

    def of(self, mirror: Mirror) -> MirrorTraffic:
        key = (mirror.ref.route, mirror.ref.backend.name)
        traffic = self.traffic.get(key)
        if traffic is None:
            traffic = self.traffic[key] = MirrorTraffic(*key)
        return traffic

    def hold(self, size: int) -> bool:
        """Take so many bytes more; False when there is no room."""
        if self.held + size > MOST_BYTES:
            return False
        self.held += size
        return True

    def release(self, size: int) -> None:
        self.held -= size

    def __repr__(self) -> str:
        return f"<Mirrors {len(self.traffic)} kinds, {self.held} bytes held>"
