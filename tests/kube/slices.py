"""The EndpointSlice controller: what stands behind each Service that has a selector. Pure, on a `Store`.

An address stays in the slice in which it is; new ones fill up what has room, at most 100 to a slice. A Service without pods keeps one
empty slice, in which `endpoints` and `ports` are null, as from a real API server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kube.podfacts import is_finished, is_ready, owned_by
from tests.kube.selectors import LabelSelector

if TYPE_CHECKING:
    from tests.kube.history import Record
    from tests.kube.store import Store

SLICES = "endpointslices.discovery.k8s.io"
SERVICE = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
MOST = 100


def reconcile(store: Store, namespace: str, name: str) -> float | None:
    """Bring the slices of a Service up to date."""
    service = store.find("services", namespace, name)
    if service is None or not service.obj["spec"].get("selector"):
        return None
    slices = store.records(SLICES, namespace, LabelSelector.equal({SERVICE: name, MANAGED_BY: MANAGER}))
    groups = _wanted(store, service)
    for ports, endpoints in groups.items():
        own = [each for each in slices if _ports_of(each) == ports]
        _fill(store, service, own, ports, endpoints)
    if groups:
        for each in slices:
            if _ports_of(each) not in groups:
                store.delete(SLICES, *each.key)
    return None


def selects(service: dict[str, Any], labels: dict[str, str]) -> bool:
    selector = service["spec"].get("selector")
    return bool(selector) and selector.items() <= labels.items()


def _wanted(store: Store, service: Record) -> dict[tuple[Any, ...] | None, dict[str, dict[str, Any]]]:
    """The endpoints by their pod's uid, grouped by what the Service's ports mean in their pods."""
    spec = service.obj["spec"]
    groups: dict[tuple[Any, ...] | None, dict[str, dict[str, Any]]] = {}
    for record in store.records("pods", service.key[0], LabelSelector.equal(spec["selector"])):
        pod = record.obj
        if is_finished(pod) or not (pod.get("status") or {}).get("podIP"):
            continue
        ports = _ports(spec, pod)
        groups.setdefault(ports, {})[pod["metadata"]["uid"]] = _endpoint(service.obj, pod)
    return groups or {None: {}}


def _ports(spec: dict[str, Any], pod: dict[str, Any]) -> tuple[Any, ...]:
    found = ((port, _number(port["targetPort"], pod)) for port in spec.get("ports") or ())
    return tuple((port.get("name", ""), number, port["protocol"]) for port, number in found if number)


def _number(target: int | str, pod: dict[str, Any]) -> int:
    if isinstance(target, int):
        return target
    containers = pod["spec"].get("containers") or ()
    named = [
        port
        for container in containers
        for port in container.get("ports") or ()
        if port.get("name") == target
    ]
    return named[0]["containerPort"] if named else 0


def _endpoint(service: dict[str, Any], pod: dict[str, Any]) -> dict[str, Any]:
    metadata, spec = pod["metadata"], pod["spec"]
    terminating, serving = "deletionTimestamp" in metadata, is_ready(pod)
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    reference = {
        "kind": "Pod",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    endpoint: dict[str, Any] = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": reference,
    }
    if spec.get("nodeName"):
        endpoint["nodeName"] = spec["nodeName"]
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = spec["hostname"]
    return endpoint


def _ports_of(record: Record) -> tuple[Any, ...] | None:
    ports = record.obj.get("ports")
    return None if ports is None else tuple((port["name"], port["port"], port["protocol"]) for port in ports)


def _fill(
    store: Store, service: Record, own: list[Record], ports: tuple[Any, ...] | None, endpoints: dict[str, Any]
) -> None:
    left = dict(endpoints)
    kept = []
    for record in own:
        uids = [each["targetRef"]["uid"] for each in record.obj.get("endpoints") or ()]
        kept.append((record, [left.pop(uid) for uid in uids if uid in left]))
    new = list(left.values())
    for record, held in kept:
        room = MOST - len(held)
        _put(store, service, record, held + new[:room], empty_stays=not endpoints and record is own[0])
        new = new[room:]
    while new or not (own or endpoints):
        store.create(SLICES, _slice(store, service, ports, new[:MOST]))
        if not new:
            return
        new = new[MOST:]


def _put(store: Store, service: Record, record: Record, endpoints: list[Any], *, empty_stays: bool) -> None:
    if not endpoints and not empty_stays:
        store.delete(SLICES, *record.key)
    elif (record.obj.get("endpoints") or []) != endpoints or record.obj["metadata"]["labels"] != _labels(
        service
    ):
        metadata = {**record.obj["metadata"], "labels": _labels(service)}
        store.replace(SLICES, {**record.obj, "metadata": metadata, "endpoints": endpoints or None})


def _labels(service: Record) -> dict[str, str]:
    labels = {**(service.obj["metadata"].get("labels") or {}), SERVICE: service.key[1], MANAGED_BY: MANAGER}
    if service.obj["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    return labels


def _slice(
    store: Store, service: Record, ports: tuple[Any, ...] | None, endpoints: list[Any]
) -> dict[str, Any]:
    metadata = {
        "name": f"{service.key[1]}-{store.letters(5)}",
        "generateName": f"{service.key[1]}-",
        "namespace": service.key[0],
        "labels": _labels(service),
        "ownerReferences": owned_by(service),
    }
    listed = (
        None
        if ports is None
        else [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in ports]
    )
    return {"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints or None, "ports": listed}
