"""A Service's pods from its EndpointSlices."""

from typing import Any

import pytest

from gateway.backend import EndpointInfo
from gateway.kube.slices import Slice, endpoints_of, slice_of


def endpoint(host: str, uid: str | None = None, **conditions: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"addresses": [host], "conditions": conditions}
    return {**found, "targetRef": {"kind": "Pod", "uid": uid}} if uid else found


def one(name: str, *endpoints: dict[str, Any], ports: list[dict[str, Any]] | None = None) -> Slice:
    return slice_of(
        {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "iris"}},
            "ports": [{"name": "http", "port": 8080}] if ports is None else ports,
            "endpoints": list(endpoints),
        }
    )


def test_endpoints_are_known_by_their_pods() -> None:
    """By their address when no pod stands behind it."""
    found = endpoints_of([one("a", endpoint("10.0.0.1", "u1", ready=True), endpoint("10.0.0.2"))], None)
    assert found == (
        EndpointInfo("u1", "10.0.0.1", 8080, ready=True),
        EndpointInfo("10.0.0.2", "10.0.0.2", 8080, ready=True),
    )


@pytest.mark.parametrize(
    ("conditions", "ready", "draining"),
    [
        ({"ready": True}, True, False),
        ({"ready": False}, False, False),
        ({}, True, False),
        ({"ready": False, "serving": True, "terminating": True}, False, True),
        ({"ready": True, "terminating": True}, False, True),
    ],
)
def test_what_terminates_drains(conditions: dict[str, bool], ready: bool, draining: bool) -> None:
    """Even where a Service publishes what is not ready."""
    [found] = endpoints_of([one("a", endpoint("10.0.0.1", "u", **conditions))], None)
    assert (found.ready, found.draining) == (ready, draining)


def test_of_an_endpoint_that_stands_twice_the_later_slice_counts() -> None:
    """It is on its way from one to the other."""
    slices = [
        one("b", endpoint("10.0.0.1", "u", ready=True)),
        one("a", endpoint("10.0.0.1", "u", ready=False)),
    ]
    assert [info.ready for info in endpoints_of(slices, None)] == [True]


PORTS = [{"name": "http", "port": 8080}, {"name": "grpc", "port": 9000}, {"name": "none"}]


@pytest.mark.parametrize(
    ("port", "number"), [("grpc", 9000), (8080, 8080), (1234, None), ("other", None), (None, None)]
)
def test_a_port_is_found_by_name_or_number(port: int | str | None, number: int | None) -> None:
    """With several there is no default."""
    found = endpoints_of([one("a", endpoint("10.0.0.1"), ports=PORTS)], port)
    assert [info.port for info in found] == ([number] if number else [])


def test_a_service_without_name_and_ports_has_no_endpoints() -> None:
    """Nor has an endpoint without an address."""
    bare = slice_of({"metadata": {"name": "a"}, "ports": None, "endpoints": [{"addresses": []}]})
    assert (bare.service, bare.ports, bare.places) == ("", (), ())
    assert endpoints_of([one("a", endpoint("10.0.0.1"), ports=[])], None) == ()
