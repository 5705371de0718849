"""A pod's status in a kubelet's words, and its back-offs. Pure: told the time.

`containers` is what happened, `status` is how it is told. Times are seconds since the epoch until they are written.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]

OURS = ("Initialized", "Ready", "ContainersReady", "PodScheduled")


class Backoff:
    """Delays between restarts: at once after the first death, then the first delay, doubling up to 30 times it.

    With a kubelet's 10 s: 0, 10, 20, 40, 80, 160, 300, 300 …; who lives for twice the longest begins anew.
    """

    def __init__(self, first: float) -> None:
        self._first = first
        self._longest = 30 * first
        self._next = 0.0
        self._restarted = float("-inf")

    def __repr__(self) -> str:
        return f"<Backoff: {self._next:g} s next>"

    def died(self, now: float) -> float:
        """Seconds until the next start."""
        if now - self._restarted > 2 * self._longest:
            self._next = 0.0
        wait = self._next
        self._next = min(2 * wait, self._longest) if wait else self._first
        self._restarted = now + wait
        return wait


@dataclass
class ContainerView:
    """What is known of one container."""

    name: str
    image: str
    state: Object = field(default_factory=lambda: waiting("ContainerCreating"))
    last_state: Object = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    container_id: str = ""
    image_id: str = ""


# States


def waiting(reason: str, message: str | None = None) -> Object:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def running(since: float) -> Object:
    return {"running": {"startedAt": timestamp(since)}}


def terminated(
    code: int, since: float, until: float, container_id: str, message: str | None = None
) -> Object:
    """`code` is a process's: negative for a signal."""
    ended = {
        "exitCode": 128 - code if code < 0 else code,
        "reason": "Completed" if code == 0 else "Error",
        "startedAt": timestamp(since),
        "finishedAt": timestamp(until),
        "containerID": container_id,
    }
    return {"terminated": ended | ({"message": message} if message else {})}


def start_failed(message: str, now: float, container_id: str) -> Object:
    """A command that could not be run is told as a container that ended with 128."""
    state = terminated(128, now, now, container_id, message)
    state["terminated"]["reason"] = "StartError"
    return state


def crash_loop(delay: float, container: str, pod: Object) -> Object:
    meta = pod["metadata"]
    where = f"container={container} pod={meta['name']}_{meta['namespace']}({meta['uid']})"
    return waiting("CrashLoopBackOff", f"back-off {duration(delay)} restarting failed {where}")


def pull_failed(image: str) -> Object:
    reference = f"docker.io/{image}"
    return waiting(
        "ErrImagePull",
        f'rpc error: code = NotFound desc = failed to pull and unpack image "{reference}": '
        f'failed to resolve reference "{reference}": {reference}: not found',
    )


def pull_backoff(image: str) -> Object:
    return waiting("ImagePullBackOff", f'Back-off pulling image "{image}"')


# The status


def status(
    pod: Object,
    containers: Sequence[ContainerView],
    address: str,
    started: float,
    *,
    before: Iterable[Object],
    now: float,
) -> Object:
    """The whole status; `before` are the conditions that were told last, whose times stay as long as they do."""
    phase = phase_of(containers, pod["spec"].get("restartPolicy", "Always"))
    told: Object = {
        "phase": phase,
        "conditions": _conditions(pod, containers, phase, before, now),
        "hostIP": "127.0.0.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": timestamp(started),
        "containerStatuses": [_container(view) for view in containers],
    }
    return told


def phase_of(containers: Sequence[ContainerView], policy: str) -> str:
    if any("waiting" in view.state and not view.last_state for view in containers):
        return "Pending"
    codes = [view.state["terminated"]["exitCode"] for view in containers if "terminated" in view.state]
    if policy == "Always" or len(codes) < len(containers):
        return "Running"
    if not any(codes):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _container(view: ContainerView) -> Object:
    return {
        "name": view.name,
        "image": view.image,
        "imageID": view.image_id,
        "containerID": view.container_id,
        "state": view.state,
        "lastState": view.last_state,
        "restartCount": view.restarts,
        "ready": view.ready,
        "started": "running" in view.state,
    }


def _conditions(
    pod: Object, containers: Sequence[ContainerView], phase: str, before: Iterable[Object], now: float
) -> list[Object]:
    others = {
        condition["type"]: condition
        for condition in (pod.get("status") or {}).get("conditions") or []
        if condition["type"] not in OURS or condition["type"] == "PodScheduled"
    }
    unready = [view.name for view in containers if not view.ready]
    inside = _judged(
        phase, "ContainersNotReady", unready and f"containers with unready status: [{' '.join(unready)}]"
    )
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []]
    open_gates = (gate for gate in gates if others.get(gate, {}).get("status") != "True")
    shut = inside or _judged(phase, "ReadinessGatesNotReady", "\n".join(map(_gate, open_gates)))
    last = {condition["type"]: condition for condition in before}
    ours = [
        _condition("Initialized", {}, last, now),
        _condition("Ready", shut, last, now),
        _condition("ContainersReady", inside, last, now),
    ]
    scheduled = others.pop("PodScheduled", None) or _condition("PodScheduled", {}, last, now)
    return [*ours, scheduled, *others.values()]


def _judged(phase: str, reason: str, fault: str | list[str]) -> Object:
    """Why a condition is not true; empty if it is."""
    if phase in ("Succeeded", "Failed"):
        return {"reason": "PodCompleted" if phase == "Succeeded" else "PodFailed"}
    return {"reason": reason, "message": fault} if fault else {}


def _gate(name: str) -> str:
    return f'corresponding condition of pod readiness gate "{name}" does not exist or is not true.'


def _condition(kind: str, fault: Object, last: Mapping[str, Object], now: float) -> Object:
    state = "False" if fault else "True"
    same = last.get(kind, {}).get("status") == state
    since = last[kind]["lastTransitionTime"] if same else timestamp(now)
    return {"type": kind, "status": state, "lastProbeTime": None, "lastTransitionTime": since, **fault}


# Words


def timestamp(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def micro_timestamp(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def duration(seconds: float) -> str:
    """As Go writes it: 10s, 1m20s, 250ms."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    return re.sub(r"^0m", "", f"{minutes:.0f}m{rest:g}s")
