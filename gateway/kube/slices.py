"""A Service's pods as its EndpointSlices list them.

A core. One Service has several slices, a pod may stand in two of them while it moves: what is said of it last in the order of names
counts. Ports are those of the pods, found by the Service port's name or by their number.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.backend import EndpointInfo
from gateway.kube.objects import Json, metadata

SERVICE = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Place:
    """One address of a slice."""

    uid: str
    """The pod's; its address when no pod stands behind it."""
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


def slice_of(item: Json) -> Slice:
    meta = metadata(item)
    ports = item.get("ports") or ()
    return Slice(
        name=meta["name"],
        service=(meta.get("labels") or {}).get(SERVICE, ""),
        ports=tuple((port.get("name") or "", port["port"]) for port in ports if port.get("port")),
        places=tuple(_place(one) for one in item.get("endpoints") or () if one.get("addresses")),
    )


def _place(endpoint: Json) -> Place:
    # An unknown condition is taken for ready (the API says so); older servers leave `terminating` out.
    conditions = endpoint.get("conditions") or {}
    host = endpoint["addresses"][0]
    terminating = bool(conditions.get("terminating"))
    ready = conditions.get("ready") is not False and not terminating
    return Place((endpoint.get("targetRef") or {}).get("uid") or host, host, ready, terminating)


def endpoints_of(slices: Iterable[Slice], port: int | str | None) -> tuple[EndpointInfo, ...]:
    """The pods behind `port`, which is the name of the Service's port, the pods' number, or None for the only one."""
    found: dict[str, EndpointInfo] = {}
    for one in sorted(slices, key=lambda one: one.name):
        number = _number(one.ports, port)
        if number is not None:
            for place in one.places:
                found[place.uid] = EndpointInfo(place.uid, place.host, number, place.ready, place.terminating)
    return tuple(found.values())


def _number(ports: tuple[tuple[str, int], ...], port: int | str | None) -> int | None:
    if port is None:
        return ports[0][1] if len(ports) == 1 else None
    if isinstance(port, int) and all(port != number for _, number in ports):
        return None
    return next((number for name, number in ports if port in (name, number)), None)
