"""A Service's pods from its EndpointSlices."""

from typing import Any

import pytest

from gateway.backend import EndpointInfo
from gateway.kube.slices import Slice, endpoints_of, lack_of, slice_of


def endpoint(host: str, uid: str | None = None, **conditions: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"addresses": [host], "conditions": conditions}
    return {**found, "targetRef": {"kind": "Pod", "uid": uid}} if uid else found


def one(
    name: str, *endpoints: dict[str, Any], ports: list[dict[str, Any]] | None = None, family: str = "IPv4"
) -> Slice:
    return slice_of(
        {
            "addressType": family,
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
        EndpointInfo("10.0.0.2:8080", "10.0.0.2", 8080, ready=True),
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


@pytest.mark.parametrize("names", ["abc", "cba"])
def test_of_two_families_the_older_counts(names: str) -> None:
    """A server that listens on 0.0.0.0 is not at its pod's IPv6 address, whatever its slices are called."""
    named, six, four = names
    slices = [
        one(named, endpoint("iris.example", "u", ready=True), family="FQDN"),
        one(six, endpoint("fd00::1", "u", ready=True), endpoint("fd00::2", "v", ready=True), family="IPv6"),
        one(four, endpoint("10.0.0.1", "u", ready=True)),
    ]
    assert {info.uid: info.host for info in endpoints_of(slices, None)} == {"u": "10.0.0.1", "v": "fd00::2"}


def test_an_address_that_stands_for_no_pod_may_have_several_ports() -> None:
    """As a machine with two servers, each in a slice of its own."""
    slices = [
        one(str(port), endpoint("10.0.0.1"), ports=[{"name": "http", "port": port}]) for port in (8001, 8002)
    ]
    assert [info.port for info in endpoints_of(slices, "http")] == [8001, 8002]


def test_only_ports_of_tcp_count() -> None:
    """As of a server that also speaks HTTP/3."""
    ports = [{"name": "h3", "port": 8443, "protocol": "UDP"}, {"name": "h2", "port": 8443, "protocol": "TCP"}]
    assert [info.port for info in endpoints_of([one("a", endpoint("10.0.0.1"), ports=ports)], None)] == [8443]


@pytest.mark.parametrize("number", [-1, 0, 65536])
def test_a_port_that_cannot_be_is_none(number: int) -> None:
    """The API server does not look at it, and a connection to it would be an error of ours."""
    ports = [{"name": "http", "port": number}]
    assert endpoints_of([one("a", endpoint("10.0.0.1"), ports=ports)], "http") == ()


@pytest.mark.parametrize("ports", [[], [{"name": "", "port": None}]])
def test_where_no_port_is_told_a_number_is_taken_at_its_word(ports: list[dict[str, Any]]) -> None:
    """As of a headless Service without ports, or one for all ports; there are no names to find."""
    slices = [one("a", endpoint("10.0.0.1", "u"), ports=ports)]
    assert [info.port for info in endpoints_of(slices, 8080)] == [8080]
    assert endpoints_of(slices, "http") == endpoints_of(slices, None) == ()


@pytest.mark.parametrize(
    ("slices", "port", "lack"),
    [
        ([], None, "has no EndpointSlices: it does not exist, or it has no selector"),
        ([one("a", ports=[])], "http", "has no ready endpoints; nobody here starts pods for it"),
        ([one("a", endpoint("10.0.0.1"))], "htpp", "has no port htpp, but http (8080)"),
        ([one("a", endpoint("10.0.0.1"))], 80, "has no port 80 at its pods, but http (8080)"),
        (
            [one("a", endpoint("10.0.0.1"), ports=[{"name": "a", "port": 1}, {"name": "b", "port": 2}])],
            None,
            "has several ports: `port` must say which of a (1), b (2)",
        ),
        ([one("a", endpoint("10.0.0.1"), ports=[])], None, "tells no port: `port` must say the pods' number"),
        ([one("a", endpoint("10.0.0.1"), ports=[])], "x", "tells no port: `port` must say the pods' number"),
        ([one("a", endpoint("10.0.0.1"))], None, None),
        (
            [one("a", endpoint("10.0.0.1", ready=False))],
            None,
            "has no ready endpoints; nobody here starts pods for it",
        ),
    ],
)
def test_what_a_service_lacks_is_told(slices: list[Slice], port: int | str | None, lack: str | None) -> None:
    """As a port's name that is misspelt."""
    assert lack_of(slices, port) == lack


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
