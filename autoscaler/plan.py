"""From a decision and what is there to what to do: which pods to drain, which to keep, what count to set.

A pod leaves in three steps, so that no request is lost: it is marked draining; every gateway's beat names it as draining
and idle; the count is lowered by it, naming it. A pod that is wanted again is unmarked, unless the count already cost it.

Invariants: only a marked pod with nothing in flight is removed; pods without the mark are never fewer than what is
desired or what exists, whichever is less; planning on the result of a plan gives nothing new. Told by `target`.
"""

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
    """Every gateway's last beat, begun after the mark, names it as draining with nothing in flight: it may end."""


@dataclass(frozen=True, slots=True)
class TargetState:
    """What is there: the replica count that was last set, and the pods that exist.

    A Scaler leaves out the pods that a lowered count has cost, though they may take a while to end: they are neither
    there to be unmarked nor to be counted. `replicas` above the number of pods means that some are still being created.
    """

    replicas: int
    pods: tuple[PodState, ...]
    """Oldest first."""
    fixed: bool = False
    """Nobody can change the count; it is decided on for show."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, in this order; empty when nothing is to be done."""

    undrain: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()
    replicas: int | None = None
    remove: tuple[str, ...] = ()
    """The pods that a lowered count shall cost."""


def plan(target: TargetState, desired: int) -> Plan:
    """The next steps from `target` to `desired` pods; call it again as pods become drained.

    A falling count may take several plans, each lowering it by the pods that may go by then.
    """
    excess = max(0, target.replicas - desired)
    unborn = min(excess, max(0, target.replicas - len(target.pods)))
    order = sorted(range(len(target.pods)), key=lambda age: _dispensability(target.pods[age], age))
    going = [target.pods[age] for age in order[: excess - unborn]]
    staying = [target.pods[age] for age in sorted(order[excess - unborn :])]
    gone = tuple(pod.uid for pod in going if _may_end(pod))
    replicas = max(desired, target.replicas) - unborn - len(gone)
    return Plan(
        undrain=tuple(pod.uid for pod in staying if pod.draining),
        drain=tuple(pod.uid for pod in going if not pod.draining),
        replicas=None if replicas == target.replicas else replicas,
        remove=gone,
    )


def _dispensability(pod: PodState, age: int) -> tuple[bool, bool, int, int]:
    """Sorts first what is missed least: not ready, already draining (or marks would wander), fewest in flight, newest."""
    return pod.ready, not pod.draining, pod.in_flight, -age


def _may_end(pod: PodState) -> bool:
    """Of a pod that never was ready no gateway need speak: it has no request, and with the mark it will get none."""
    return pod.draining and not pod.in_flight and (pod.drained or not pod.ready)


class Scaler(Protocol):
    """Reads and sets one target's replica count. Implemented by local processes and by the cluster."""

    def observe(self) -> TargetState:
        """What is known now, without waiting; `in_flight` and `drained` are filled in by `target`."""

    async def drain(self, uids: Collection[str]) -> None:
        """Mark pods so that gateways send them nothing new."""

    async def undrain(self, uids: Collection[str]) -> None:
        """Take the mark back."""

    async def scale(self, replicas: int, remove: Collection[str]) -> None:
        """Set the count; when it is lowered, end the pods in `remove` and no other."""
