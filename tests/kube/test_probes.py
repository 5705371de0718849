import pytest

from tests.kube.probes import Object, Probe


@pytest.mark.parametrize(
    "spec", [{"exec": {"command": ["true"]}}, {"grpc": {"port": 9000}}], ids=lambda spec: next(iter(spec))
)
async def test_probes_that_run_in_a_container_never_succeed(spec: Object) -> None:
    """There is nothing here to run them in."""
    probe = Probe(spec, {}, "127.0.0.1")
    assert not probe.runs
    assert not await probe.succeeds()


@pytest.mark.parametrize("port", [8080, "8080", "web"])
def test_a_port_is_a_number_or_a_name(port: int | str) -> None:
    """The name is the container's own for it."""
    container = {"ports": [{"name": "admin", "containerPort": 1}, {"name": "web", "containerPort": 8080}]}
    action = {"port": port}
    assert Probe({"tcpSocket": action}, container, "127.0.0.1").port(action) == 8080


async def test_a_port_without_such_a_name_is_a_failed_probe() -> None:
    """Nothing to connect to."""
    assert not await Probe({"tcpSocket": {"port": "web"}}, {}, "127.0.0.1").succeeds()
