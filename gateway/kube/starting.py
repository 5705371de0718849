"""Will pods come up? What is told to those who wait for a start, and to those who need not wait.

A core, told the time. Pods cannot start when none is ready and each of the new ones has been stuck (an image that cannot be pulled, a
configuration that is not there, a crash loop) for ten seconds, or when the object reports that it cannot even create them. A pod
without a node is only slow: a node may be on its way. Whatever gets ready, or is new, clears that.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gateway.kube.pods import Pod
from gateway.kube.workloads import Workload

PATIENCE = 10.0
"""Seconds that a pod may be stuck before it is given up: a registry may only be slow to answer."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What waiting for pods promises."""

    cannot_start: str | None = None
    """Why they will not come up, in words for the person who called."""
    pending: str | None = None
    """Why it takes long."""
    again_in: float | None = None
    """Seconds after which the same pods may be judged otherwise; None: only news will change that."""


@dataclass(slots=True)
class Starts:
    """Remembers since when each pod of one Backend has been stuck."""

    _stuck: dict[str, float] = field(default_factory=dict)
    """By uid; `now` when it was first seen so."""

    def judge(
        self, pods: Sequence[Pod], workload: Workload | None, ready: Collection[str], now: float
    ) -> Outlook:
        """`pods`: those of the workload that are not terminating, oldest first; `ready`: the uids of those that a request may go to."""
        self._stuck = {pod.uid: self._stuck.get(pod.uid, now) for pod in pods if pod.stuck}
        if ready:
            return Outlook()
        failure = workload.failure if workload and workload.replicas else None
        waits = [PATIENCE - (now - since) for since in self._stuck.values()]
        hopeless = len(waits) == len(pods) and (waits or failure)
        why = _words(pods, failure)
        if hopeless and all(wait <= 0 for wait in waits):
            return Outlook(cannot_start=why, pending=why)
        return Outlook(None, why, max(waits) if hopeless else None)


def _words(pods: Sequence[Pod], failure: str | None) -> str | None:
    """The newest pod's reason, or that of the newest that has one: older ones may be of a roll-out that has been mended since."""
    newest = pods[::-1]
    for pod in newest:
        if pod.stuck:
            return f"pod {pod.name}: {': '.join(filter(None, pod.stuck))}"
    if failure:
        return failure
    waits = ((pod, pod.unschedulable or pod.unready) for pod in newest)
    return next((f"pod {pod.name}: {why}" for pod, why in waits if why), None)
