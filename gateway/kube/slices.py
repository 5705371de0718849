"""A Service's pods as its EndpointSlices list them.

A core. One Service has several slices, a pod may stand in two of them while it moves: what is said of it last in the order of names
counts. Where a Service has both families each pod stands in slices of both: its IPv4 address counts. Ports are those of the pods, found
by the Service port's name or by their number; only those of TCP.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from gateway.backend import EndpointInfo
from gateway.kube.objects import Json, metadata

SERVICE = "kubernetes.io/service-name"
_NOBODY = "has no ready endpoints; nobody here starts pods for it"
_LAST_PORT = 65535
_FAMILIES = ("FQDN", "IPv6", "IPv4")
"""Of the addresses of one pod the last counts."""


@dataclass(frozen=True, slots=True)
class Place:
    """One address of a slice."""

    uid: str
    """The pod's; empty when no pod stands behind it."""
    host: str
    ready: bool
    """It is ready and not being deleted."""
    terminating: bool


@dataclass(frozen=True, slots=True)
class Slice:
    """One EndpointSlice."""

    name: str
    service: str
    ports: tuple[tuple[str, int], ...]
    """Names, which may be empty, and numbers at the pods."""
    places: tuple[Place, ...]
    family: str = "IPv4"


def slice_of(item: Json) -> Slice:
    meta = metadata(item)
    ports = item.get("ports") or ()
    return Slice(
        name=meta["name"],
        service=(meta.get("labels") or {}).get(SERVICE, ""),
        ports=tuple((port.get("name") or "", port["port"]) for port in ports if _counts(port)),
        places=tuple(_place(one) for one in item.get("endpoints") or () if one.get("addresses")),
        family=item.get("addressType") or "IPv4",
    )


def _counts(port: Json) -> bool:
    return 0 < (port.get("port") or 0) <= _LAST_PORT and (port.get("protocol") or "TCP") == "TCP"


def _place(endpoint: Json) -> Place:
    # An unknown condition is taken for ready (the API says so); older servers leave `terminating` out.
    conditions = endpoint.get("conditions") or {}
    host = endpoint["addresses"][0]
    terminating = bool(conditions.get("terminating"))
    ready = conditions.get("ready") is not False and not terminating
    return Place((endpoint.get("targetRef") or {}).get("uid") or "", host, ready, terminating)


def endpoints_of(slices: Iterable[Slice], port: int | str | None) -> tuple[EndpointInfo, ...]:
    """The pods behind `port`, which is the name of the Service's port, the pods' number, or None for the only one."""
    found: dict[str, EndpointInfo] = {}
    for one in sorted(slices, key=_precedence):
        number = _number(one.ports, port)
        if number is not None:
            for place in one.places:
                uid = place.uid or f"{place.host}:{number}"
                found[uid] = EndpointInfo(uid, place.host, number, place.ready, place.terminating)
    return tuple(found.values())


def _precedence(one: Slice) -> tuple[int, str]:
    return _FAMILIES.index(one.family) if one.family in _FAMILIES else -1, one.name


def lack_of(slices: Collection[Slice], port: int | str | None) -> str | None:
    """Why a Service has no endpoints that are ready, in words that go on from its name; None when it has some."""
    if not slices:
        return "has no EndpointSlices: it does not exist, or it has no selector"
    filled = [one for one in slices if one.places]
    if not filled:
        return _NOBODY
    if any(_number(one.ports, port) is not None for one in filled):
        return None if any(place.ready for one in filled for place in one.places) else _NOBODY
    known = ", ".join(sorted({f"{name} ({number})".lstrip() for one in filled for name, number in one.ports}))
    if not known:
        return "tells no port: `port` must say the pods' number"
    if port is None:
        return f"has several ports: `port` must say which of {known}"
    return f"has no port {port}{' at its pods' if isinstance(port, int) else ''}, but {known}"


def _number(ports: tuple[tuple[str, int], ...], port: int | str | None) -> int | None:
    if port is None:
        return ports[0][1] if len(ports) == 1 else None
    if isinstance(port, int) and not ports:
        return port
    return next((number for name, number in ports if port in (name, number)), None)
