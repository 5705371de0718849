"""From a decision and what is there to what to do: which pods to drain, which to keep, what count to set."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PodState:
    """One pod of a target, as its scaler and the gateways see it together."""

    uid: str
    ready: bool
    draining: bool
    in_flight: int = 0
    """Requests open to it now, over all gateways."""
    drained: bool = False
    """Every gateway's last beat names it as draining with nothing in flight: it may end."""


@dataclass(frozen=True, slots=True)
class TargetState:
    """What is there: the replica count that was last set, and the pods that exist."""

    replicas: int
    pods: tuple[PodState, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, in this order; empty when nothing is to be done."""

    undrain: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()
    replicas: int | None = None
    remove: tuple[str, ...] = ()
    """The pods that a lowered count shall cost."""


class Scaler(Protocol):
    """Reads and sets one target's replica count. Implemented by local processes and by the cluster."""

    def observe(self) -> TargetState:
        """What is known now, without waiting; `in_flight` and `drained` are filled in by the controller."""

    async def drain(self, uids: Collection[str]) -> None:
        """Mark pods so that gateways send them nothing new."""

    async def undrain(self, uids: Collection[str]) -> None:
        """Take the mark back."""

    async def scale(self, replicas: int, remove: Collection[str]) -> None:
        """Set the count; when it is lowered, end the pods in `remove` and no other."""
