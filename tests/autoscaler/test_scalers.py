"""How a target becomes a Scaler."""

import sys
from pathlib import Path

from autoscaler.plan import PodState, TargetState
from autoscaler.scalers import FixedScaler, LocalPodsMaker, template_of
from gateway.config import BackendConfig
from gateway.endpoints import EndpointInfo, Feed


def backend(**target: object) -> BackendConfig:
    return BackendConfig.model_validate({"target": target})


def test_fixed_pods_are_ready_as_far_as_anybody_knows() -> None:
    """Without a gateway in this process the count is all there is."""
    there = FixedScaler(2).observe()
    assert there.replicas == 2
    assert [(pod.ready, pod.draining) for pod in there.pods] == [(True, False)] * 2


def test_fixed_pods_are_as_the_feed_says() -> None:
    """The gateway beside it knows which of them answer."""
    feed = Feed("iris")
    feed.publish([EndpointInfo("a", "127.0.0.1", 1, ready=False)])
    assert FixedScaler(1, feed).observe() == TargetState(
        1, (PodState("a", ready=False, draining=False),), fixed=True
    )


async def test_nothing_is_done_to_fixed_pods() -> None:
    """Decisions about them are for show."""
    scaler = FixedScaler(2)
    before = scaler.observe()
    await scaler.drain(["0"])
    await scaler.undrain(["0"])
    await scaler.scale(5, [])
    assert scaler.observe() == before
    assert repr(scaler) == "<FixedScaler 2 pods>"


def test_a_template_leaves_the_port_to_the_pod(tmp_path: Path) -> None:
    """`python` is our interpreter; `{port}` stays, since each pod has its own."""
    made = template_of(
        backend(command=["python", "serve.py", "{port}"], env={"MODE": "x"}, ready="/ready"), tmp_path
    )
    assert made.command == (sys.executable, "serve.py", "{port}")
    assert (made.cwd, made.env, made.ready_path) == (tmp_path, {"MODE": "x"}, "/ready")


def test_a_relative_program_starts_from_the_files_folder(tmp_path: Path) -> None:
    """A slash in the program makes it a path."""
    made = template_of(backend(command=["bin/serve", "{port}"]), tmp_path)
    assert made.command[0] == str(tmp_path / "bin" / "serve")


async def test_local_pods_share_their_spawner(tmp_path: Path) -> None:
    """Each Backend has LocalPods of its own, at zero to begin with."""
    maker = LocalPodsMaker(lambda _name, _uid: True)
    config = backend(command=["python", "{port}"])
    one, two = (maker.make(name, config, Feed(name), tmp_path, tmp_path) for name in ("iris", "rose"))
    assert (one.backend, two.backend, one.observe()) == ("iris", "rose", TargetState(0, ()))
    assert repr(maker).startswith("<LocalPodsMaker <Spawner: 0 processes> <Ports")
