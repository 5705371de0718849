"""From a decision and what is there to what to do: which pods to drain, which to keep, what count to set.

A pod leaves in three steps, so that no request is lost: it is marked draining; every gateway's beat names it as draining
and idle; the count is lowered by it, naming it. A pod that is wanted again is unmarked, unless the count already cost it.

A count that is lowered costs the pods that it names, or, of an ordered target, those with the highest ordinals: there pods go strictly
from the top, and the count falls as far as the top may end. A gap (a pod that is being re-created) is waited for where it matters.

Invariants: only a marked pod with nothing in flight is removed; pods without the mark are never fewer than what is
desired or what exists, whichever is less; planning on the result of a plan gives nothing new. Told by `target`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, Protocol


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
    ordinal: int | None = None
    """Its number in an ordered target, from 0; None of a pod that is not one of those counted."""
    probed: bool = False
    """Gateways find out by themselves that it is ready, and may send it requests before `ready` says so."""


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
    ordered: bool = False
    """A lowered count costs the highest ordinals, whatever is asked for."""
    setter: str | None = None
    """Who has set the count, "" when nobody knows; None: nobody else can."""
    known_of: str = ""
    """Of which object, as which leader: where that is another, a count that is another means nothing."""
    stuck: str = ""
    """Why it cannot even make the pods that it shall have, as with a quota."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing is known of a target, so that nothing can be decided about it."""

    reason: str
    """For people, as in "waiting for deployment models/iris: not found"."""


class Superseded(Exception):  # noqa: N818 (no error: what was to be done is no longer)
    """A plan is given up and nothing has failed: another autoscaler leads now, or another hand has changed the count."""


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
    return _from_the_top(target, desired) if target.ordered else _by_name(target, desired)


def settled(target: TargetState, desired: int) -> bool:
    """Whether there is nothing to do, wherever requests are: what most targets are most of the time."""
    return target.replicas == desired and not any(pod.draining for pod in target.pods)


def _by_name(target: TargetState, desired: int) -> Plan:
    excess = max(0, target.replicas - desired)
    unborn = min(excess, max(0, target.replicas - len(target.pods)))
    order = sorted(range(len(target.pods)), key=lambda age: _dispensability(target.pods[age], age))
    going = [target.pods[age] for age in order[: excess - unborn]]
    staying = [target.pods[age] for age in sorted(order[excess - unborn :])]
    gone = [pod for pod in going if _may_end(pod)]
    return _plan(target, staying, going, max(desired, target.replicas) - unborn - len(gone), gone)


def _from_the_top(target: TargetState, desired: int) -> Plan:
    """Pods beyond the count are the cluster's already; one that is wanted again is unmarked once the count has risen."""
    counted = (pod for pod in target.pods if pod.ordinal is not None and pod.ordinal < target.replicas)
    pods = {pod.ordinal or 0: pod for pod in counted}
    order = sorted(pods)
    stay = _prefix([pods[ordinal] for ordinal in order], desired)
    going = order[stay:][::-1]
    needed = [*order[:stay], *(ordinal for ordinal in going if not _may_end(pods[ordinal]))]
    replicas = max([desired, *(ordinal + 1 for ordinal in needed)])
    gone = [pods[ordinal] for ordinal in going if ordinal >= replicas]
    return _plan(
        target,
        [pods[ordinal] for ordinal in order[:stay]],
        [pods[ordinal] for ordinal in going],
        replicas,
        gone,
    )


def _plan(
    target: TargetState, staying: list[PodState], going: list[PodState], replicas: int, gone: list[PodState]
) -> Plan:
    return Plan(
        undrain=tuple(pod.uid for pod in staying if pod.draining),
        drain=tuple(pod.uid for pod in going if not pod.draining),
        replicas=None if replicas == target.replicas else replicas,
        remove=tuple(pod.uid for pod in gone),
    )


def _prefix(pods: list[PodState], desired: int) -> int:
    """How many stay of pods in order, of which only the top may go.

    All those that are wanted, and more while it takes more to have as many ready: with pod 0 crashing, pod 1 serves.
    """
    stay, ready = len(pods), sum(pod.ready for pod in pods)
    while stay > desired and (not pods[stay - 1].ready or ready > desired):
        stay -= 1
        ready -= pods[stay].ready
    return stay


def _dispensability(pod: PodState, age: int) -> tuple[bool, bool, int, int]:
    """Sorts first what is missed least: not ready, already draining (or marks would wander), fewest in flight, newest."""
    return pod.ready, not pod.draining, pod.in_flight, -age


def _may_end(pod: PodState) -> bool:
    """Of a pod that never was ready no gateway need speak: it has no request, and with the mark it will get none."""
    return pod.draining and not pod.in_flight and (pod.drained or not (pod.ready or pod.probed))


class Milestones(NamedTuple):
    """How many seconds ago a pod got there; None: not known, or it has no such step."""

    created: float | None = None
    scheduled: float | None = None
    initialized: float | None = None
    """Its init containers had ended."""
    pulled: float | None = None
    started: float | None = None
    """Its process, or each of its containers, ran."""

    @property
    def whole(self) -> bool:
        """Nothing more is to be told. A pod that was scheduled is a cluster's, and had its image pulled."""
        return self.started is not None and (self.scheduled is None or self.pulled is not None)


class Scaler(Protocol):
    """Reads and sets one target's replica count. Implemented by local processes and by the cluster.

    Its methods may raise Superseded, which is no failure.
    """

    def observe(self) -> TargetState | Unknown:
        """What is known now, without waiting; `in_flight` and `drained` are filled in by `target`."""

    def milestones(self, uid: str) -> Milestones | None:
        """What is known by now of how a pod came up."""

    async def drain(self, uids: Collection[str]) -> None:
        """Mark pods so that gateways send them nothing new."""

    async def undrain(self, uids: Collection[str]) -> None:
        """Take the mark back."""

    async def scale(self, replicas: int, remove: Collection[str]) -> None:
        """Set the count; when it is lowered, end the pods in `remove` and no other."""
