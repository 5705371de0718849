"""Pods as the gateway and the autoscaler need to know them: small frozen views of the API's large objects.

A core. `Pod.ready` is the kubelet's word, `Pod.checks` what the gateway may ask itself in the meantime. A pod that is being deleted, or
has ended, is `terminating`: it gets nothing new. `stuck` and `unschedulable` are what `starting` judges by.
Neighbours: `discovery` makes these of what a list-watch brings, `readiness` probes, `feeds` publishes.
"""

import re
import string
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from gateway.kube.objects import Controller, Json, condition, controller_of, epoch, metadata
from gateway.kube.quantities import parse_quantity

DRAINING = "tidegate.dev/draining"
"""The annotation of a pod that shall get nothing new and finish what it has; its value is the time of the mark."""
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""The annotation by which a ReplicaSet chooses among pods that are alike: the lowest cost goes first."""

_HOPELESS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "CreateContainerConfigError",
    "CreateContainerError",
}
_CRASH = "CrashLoopBackOff"
_RESTARTS = 2
"""A first crash may be bad luck: a dependency that was a moment late."""
_NUMBER = re.compile(r"-?[0-9]{1,10}")
_ORDINAL = re.compile(r"-(\d+)$")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """A readiness probe that asks for a path; without one, whether the port accepts connections."""

    port: int
    path: str | None = None
    secure: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float = 1.0
    period: float = 10.0
    """Seconds between the kubelet's attempts."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod. Times are seconds since 1970."""

    uid: str
    name: str
    namespace: str
    labels: tuple[tuple[str, str], ...]
    host: str | None
    """Its address; None until it has one."""
    ready: bool
    """The Ready condition, readiness gates included."""
    draining: bool
    terminating: bool
    """It is being deleted, or has ended."""
    created: float
    cost: int
    """Its deletion cost."""
    ordinal: int | None
    """The number at the end of the name of a StatefulSet's pod."""
    running: bool
    """All its containers have started."""
    restarts: int
    checks: tuple[HttpCheck, ...] | None
    """What must succeed for it to be ready; None when only its Ready condition can tell."""
    stuck: tuple[str, str] | None
    """Why a container does not come up, and the message, when waiting will hardly help."""
    unschedulable: str | None
    """Why no node takes it."""
    controller: Controller | None = None
    times: tuple[str, str, str] = ("", "", "")
    """When it was scheduled, its init containers had ended, and all its containers ran, as the API writes it; empty: not (yet) told."""
    unready: str | None = None
    """What the Ready condition of one whose containers run says when it is False."""
    requests: tuple[float | None, float | None] = (None, None)
    """The cores and the bytes that all its containers together request; None where one requests nothing."""

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


def pod_of(item: Json) -> Pod:
    meta, spec, status = metadata(item), item.get("spec") or {}, item.get("status") or {}
    ready, scheduled = condition(item, "Ready"), condition(item, "PodScheduled")
    annotations = meta.get("annotations") or {}
    statuses = status.get("containerStatuses") or []
    sidecars = _sidecars(spec, status)
    lasting = [*statuses, *sidecars]
    waiting = scheduled is not None and scheduled.get("status") == "False"
    running = bool(statuses) and all("running" in (one.get("state") or {}) for one in lasting)
    return Pod(
        uid=meta["uid"],
        name=meta["name"],
        namespace=meta["namespace"],
        labels=tuple((meta.get("labels") or {}).items()),
        host=status.get("podIP") or None,
        ready=ready is not None and ready.get("status") == "True",
        draining=DRAINING in annotations,
        terminating="deletionTimestamp" in meta or status.get("phase") in ("Succeeded", "Failed"),
        created=epoch(meta.get("creationTimestamp")),
        cost=_cost(annotations.get(DELETION_COST, "")),
        ordinal=_ordinal(meta),
        running=running,
        restarts=sum(one.get("restartCount") or 0 for one in lasting),
        checks=_checks(spec, {one.get("name") for one in lasting if one.get("started")}),
        stuck=_stuck([*(status.get("initContainerStatuses") or []), *statuses]),
        unschedulable=scheduled.get("message") or scheduled.get("reason") if scheduled and waiting else None,
        controller=controller_of(item),
        times=(
            _since(scheduled),
            _since(condition(item, "Initialized")) if spec.get("initContainers") else "",
            _running_since(lasting),
        ),
        unready=_unready(ready) if running else None,
        requests=(_requested(spec, "cpu"), _requested(spec, "memory")),
    )


def _since(found: Json | None) -> str:
    """When a condition came true."""
    true = found is not None and found.get("status") == "True"
    return found.get("lastTransitionTime") or "" if found and true else ""


def _running_since(statuses: list[Json]) -> str:
    """When the last of them began to run, once each does. All times are in one format, which sorts by time."""
    times = [((one.get("state") or {}).get("running") or {}).get("startedAt") or "" for one in statuses]
    return max(times) if times and all(times) else ""


def _unready(ready: Json | None) -> str | None:
    if ready is None or ready.get("status") != "False":
        return None
    return f"it runs, and its Ready condition is False: {ready.get('message') or ready.get('reason') or 'no reason given'}"


def _cost(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0


def _ordinal(meta: Json) -> int | None:
    owned = any(owner.get("kind") == "StatefulSet" for owner in meta.get("ownerReferences") or ())
    found = _ORDINAL.search(meta["name"]) if owned else None
    return int(found[1]) if found else None


def _requested(spec: Json, resource: str) -> float | None:
    """Of the pod as a whole, where it says so; else of its containers, and of those that run beside them all the time."""
    beside = [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    parts = [spec] if _amount(spec, resource) else [*(spec.get("containers") or ()), *beside]
    amounts = [_amount(part, resource) for part in parts]
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known and len(known) == len(amounts) else None


def _amount(part: Json, resource: str) -> float | None:
    text = ((part.get("resources") or {}).get("requests") or {}).get(resource)
    return None if text is None else parse_quantity(text)


# -- what stands in its way


def _stuck(statuses: list[Json]) -> tuple[str, str] | None:
    for status in statuses:
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in _HOPELESS:
            return reason, waiting.get("message") or ""
        if reason == _CRASH and status.get("restartCount", 0) >= _RESTARTS:
            return reason, "; ".join(filter(None, (waiting.get("message"), _last_words(status))))
    return None


def _last_words(status: Json) -> str:
    """What a container's process ended with; the kubelet keeps what it left in its termination message."""
    end = (status.get("lastState") or {}).get("terminated") or {}
    said = (end.get("message") or "").strip()
    code = f"{end.get('reason', 'Error')}, exit code {end['exitCode']}" if "exitCode" in end else ""
    return f"{code}: {said}" if code and said else code or said


# -- what makes it ready


def _lasts(init: Json) -> bool:
    """A sidecar: an init container that stays, and counts as any other container from then on."""
    return init.get("restartPolicy") == "Always"


def _sidecars(spec: Json, status: Json) -> list[Json]:
    """Their statuses."""
    names = {one.get("name") for one in spec.get("initContainers") or () if _lasts(one)}
    return [one for one in status.get("initContainerStatuses") or () if one.get("name") in names]


def _checks(spec: Json, started: Collection[str | None]) -> tuple[HttpCheck, ...] | None:
    """None when a probe is of a kind that only the kubelet can do, when there is none at all, or when others decide, too.

    `started`: the names of the containers whose startup probe has passed.
    """
    containers = [*(spec.get("containers") or ()), *filter(_lasts, spec.get("initContainers") or ())]
    if spec.get("readinessGates") or not any(one.get("readinessProbe") for one in containers):
        return None
    checks = [
        _check(container[kind], container)
        for container in containers
        for kind in ("readinessProbe", "startupProbe")
        if container.get(kind) and (kind == "readinessProbe" or container.get("name") not in started)
    ]
    return tuple(check for check in checks if check is not None) if None not in checks else None


def _check(probe: Json, container: Json) -> HttpCheck | None:
    """The kubelet connects from the node, where another host than the pod's may be another's altogether: that is left to it."""
    action: dict[str, Any] = probe.get("httpGet") or probe.get("tcpSocket") or {}
    headers = tuple((one["name"], one.get("value") or "") for one in action.get("httpHeaders") or ())
    port = _port(action.get("port"), container)
    if (
        port is None
        or action.get("host")
        or (probe.get("successThreshold") or 1) > 1
        or not _sendable(headers)
    ):
        return None
    path = quote(action.get("path") or "/", safe=string.punctuation) if "httpGet" in probe else None
    return HttpCheck(
        port=port,
        path=path if path is None or path.startswith("/") else f"/{path}",
        secure=action.get("scheme") == "HTTPS",
        headers=headers,
        timeout=float(probe.get("timeoutSeconds") or 1),
        period=float(probe.get("periodSeconds") or 10),
    )


def _sendable(headers: Iterable[tuple[str, str]]) -> bool:
    """The API server takes whatever was written there; a line break in it would be the end of the header."""
    return all(_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value) for name, value in headers)


def _port(port: int | str | None, container: Json) -> int | None:
    if isinstance(port, int):
        return port
    if isinstance(port, str) and port.isdigit():
        return int(port)
    named = (one for one in container.get("ports") or () if one.get("name") == port)
    return next((one["containerPort"] for one in named), None) if port else None
