"""What every namespace gets (a service account, the authority's certificate), and how one is emptied before it goes. Pure, on a `Store`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kube.admission import ROOT_CA

if TYPE_CHECKING:
    from tests.kube.history import Record
    from tests.kube.store import Store


class Namespaces:
    """`ca` is the API server's certificate authority in PEM."""

    def __init__(self, ca: str) -> None:
        self._ca = ca

    def reconcile(self, store: Store, _namespace: str, name: str) -> float | None:
        record = store.find("namespaces", "", name)
        if record is None:
            return None
        if "deletionTimestamp" in record.obj["metadata"]:
            _empty(store, record)
            return None
        if not store.find("serviceaccounts", name, "default"):
            store.create("serviceaccounts", {"metadata": {"name": "default", "namespace": name}})
        if not store.find("configmaps", name, ROOT_CA):
            store.create(
                "configmaps", {"metadata": {"name": ROOT_CA, "namespace": name}, "data": {"ca.crt": self._ca}}
            )
        return None

    def __repr__(self) -> str:
        return "<Namespaces>"


def _empty(store: Store, record: Record) -> None:
    """Delete what is left; once that is nothing, the namespace goes."""
    name = record.key[1]
    for resource in store.registry:
        for left in store.records(resource, name) if resource.namespaced else ():
            if store.find(resource, *left.key) and "deletionTimestamp" not in left.obj["metadata"]:
                store.delete(resource, *left.key)
    if not any(store.records(resource, name) for resource in store.registry if resource.namespaced):
        store.remove(record)
