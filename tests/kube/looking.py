"""What is there in the store of the emulation, briefly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kube.podfacts import is_ready

if TYPE_CHECKING:
    from tests.kube.apiserver import ApiServer


def pods(api: ApiServer, selector: str = "") -> list[dict[str, Any]]:
    return [record.obj for record in api.store.records("pods", "default", selector)]


def ready(api: ApiServer, selector: str = "") -> list[str]:
    return [each["metadata"]["name"] for each in pods(api, selector) if is_ready(each)]


def status(api: ApiServer, what: str, name: str = "web") -> dict[str, Any]:
    found: dict[str, Any] = api.store.record(what, "default", name).obj["status"]
    return found


def scale(api: ApiServer, replicas: int, what: str = "deployments") -> None:
    api.store.change(what, "default", "web", lambda obj: obj["spec"].update(replicas=replicas))


def endpoints(api: ApiServer) -> list[dict[str, Any]]:
    return [each for record in api.store.records("endpointslices") for each in record.obj["endpoints"] or ()]
