"""Who leads: one Lease object, several electors, and at no moment two leaders.

An elector reads the Lease, and writes it when it is missing, released, expired or its own; the API server lets a write through
only if nobody else wrote since the read (resourceVersion). Clocks of two machines are never compared: a Lease is
expired when it was not *seen to change* for its duration by one's own monotonic clock, and a leader counts from before it *sent* the
renewal that was answered last. Sent comes before written, and written before seen, so its own deadline passes first:

    leader     sent ─────────── leads for 8 s ──── writes end by 9 s ─┐
    others         written ── seen ─────────── wait for 10 s ─────────┴── take it

Worst case from a leader's death to the next one, T being the arrival of its last renewal: seen by T + 2 (a read every 2 s at
the latest), expired by T + 12; one request lost on the way costs its timeout of 2.5 s: 14.5 s. The half second that is
left is for the requests that are answered. Released in good order, it is taken with the next read, within 2 s. Deleted by hand, it is
made anew by its holder, or by others who saw it held once its time is over; only one who starts just then cannot know.

Pure; driven by `lease`: `step` says what to send now, `answered` and `failed` take what came of it, `due` says when to go on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from gateway.kube.objects import rfc3339

DURATION = 10.0
"""Seconds that a Lease holds for others."""
RETRY = 2.0
"""Seconds between two requests, at most."""
LEADS_FOR = 8.0
"""Seconds after the sending of a renewal in which its sender begins writes."""
WRITES_FOR = 9.0
"""Seconds after which its last write must have ended: one before others may lead."""
REQUEST_TIMEOUT = 2.5
"""Seconds for a request about the Lease."""
_CONFLICT = 409
_NOT_FOUND = 404

Step = Literal["read", "create", "take", "renew"]


@dataclass(frozen=True, slots=True)
class Record:
    """What a Lease says."""

    holder: str
    """Empty when it was released."""
    renewed: str
    """A wall clock's time that is only ever compared with itself."""
    duration: float
    transitions: int
    version: str

    @classmethod
    def of(cls, lease: dict[str, Any]) -> "Record":
        """Read the object of the API; what is missing in it is empty."""
        spec = lease.get("spec") or {}
        return cls(
            spec.get("holderIdentity") or "",
            spec.get("renewTime") or "",
            float(spec.get("leaseDurationSeconds") or DURATION),
            int(spec.get("leaseTransitions") or 0),
            lease["metadata"]["resourceVersion"],
        )


def wanted(identity: str, record: Record | None, unchanged: float) -> Step:
    """What to do about a Lease that was last read as `record` and not seen to change for `unchanged` seconds."""
    if record is None:
        return "create"
    if record.holder == identity:
        return "renew"
    if not record.holder or unchanged >= record.duration:
        return "take"
    return "read"


class Elector:
    """One of those who would lead. Times are monotonic seconds of its own."""

    def __init__(self, identity: str, chance: Callable[[], float]) -> None:
        self.identity = identity
        self.record: Record | None = None
        """The Lease as last read or written; also when it was deleted from under its holder."""
        self.due = 0.0
        """When to take the next step."""
        self._chance = chance
        self._seen_at = 0.0
        self._deleted = False
        self._current = False
        """Nothing since the last answer makes the record doubtful."""
        self._conflicted = False
        self._sent: float | None = None
        """When the renewal was sent that was last answered, while the Lease is its own."""

    def leads(self, now: float) -> bool:
        """Whether a write may be begun now."""
        return self._sent is not None and now < self._sent + LEADS_FOR

    def remaining(self, now: float) -> float:
        """Seconds within which a write that begins now must have ended; 0 when none may begin. Never less than 1 otherwise."""
        return self._sent + WRITES_FOR - now if self._sent is not None and self.leads(now) else 0.0

    def step(self, now: float) -> Step:
        """What to send now."""
        step = wanted(self.identity, self.record, now - self._seen_at) if self._current else "read"
        return "create" if step == "take" and self._deleted else step

    def answered(self, step: Step, record: Record | None, sent: float, now: float) -> None:
        """A request of `step`, sent at `sent`, was answered with the Lease, or with there being none."""
        held = self.record is not None and self.record.holder not in {"", self.identity}
        self._deleted = record is None and held
        if record != self.record and not self._deleted:
            self.record, self._seen_at = record, now
        self._current = True
        mine = record is not None and record.holder == self.identity
        if not mine:
            self._sent = None
        elif step != "read":
            self._sent = sent
        if step != "read":
            self._conflicted = False
        self.due = self._next(sent, now) if step != "read" or self._waits(now) else now

    def failed(self, status: int | None, sent: float, now: float) -> None:
        """It was answered with an error, or not at all (None): the Lease must be read before anything else."""
        self._current = False
        conflict = status in {_CONFLICT, _NOT_FOUND}
        # The second in a row waits its time, or two who disagree about what is there would ask without end.
        at_once = conflict and not self._conflicted
        self._conflicted = conflict
        self.due = now if at_once else max(now, self._pause(sent))

    def resign(self) -> bool:
        """Lead no longer; returns whether the Lease has to be released."""
        self._sent = None
        return self.record is not None and self.record.holder == self.identity

    def _waits(self, now: float) -> bool:
        return self.step(now) == "read"

    def _next(self, sent: float, now: float) -> float:
        """The next read, or the moment of expiry before that."""
        after = max(now, self._pause(sent))
        if self.record is None or self.record.holder == self.identity:
            return after
        return max(now, min(after, self._seen_at + self.record.duration))

    def _pause(self, sent: float) -> float:
        return sent + RETRY * (0.75 + 0.25 * self._chance())

    def __repr__(self) -> str:
        holder = "unknown" if self.record is None else self.record.holder or "nobody"
        return f"<Elector {self.identity}, held by {holder}>"


def written(
    lease: dict[str, Any] | None, name: str, namespace: str, identity: str, wall: float
) -> dict[str, Any]:
    """The Lease as `identity` would have it, made of the one that was read; `identity` empty: released.

    `wall`: seconds since the epoch, for people.
    """
    old = {} if lease is None else lease.get("spec") or {}
    time = rfc3339(wall, "microseconds")
    same = old.get("holderIdentity") == identity
    spec = {
        **old,
        "holderIdentity": identity,
        "leaseDurationSeconds": int(DURATION) if identity else 1,
        "acquireTime": (old.get("acquireTime") if same else None) or time,
        "renewTime": time,
        "leaseTransitions": (old.get("leaseTransitions") or 0) + bool(lease and identity and not same),
    }
    metadata = {"name": name, "namespace": namespace} if lease is None else lease["metadata"]
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": spec,
    }
