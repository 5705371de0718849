"""All targets of a cluster: which Scaler each has, and what is told of it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from autoscaler.cluster.scaler import ClusterScaler
from autoscaler.cluster.targets import ClusterTargets
from autoscaler.decision import Decision, Observed
from autoscaler.demand import Reading
from autoscaler.plan import TargetState, Unknown
from autoscaler.spec import CONCURRENCY
from gateway.kube.client import ApiError
from gateway.kube.discovery import View
from gateway.kube.slices import Place, Slice
from gateway.targets import ClusterTarget, ScaleTarget, ServiceTarget
from tests.autoscaler.cluster.stage import PODS, Stage, settle

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

IRIS = ScaleTarget("apps/v1", "Deployment", "iris", "models", 8080)
ROSE = ServiceTarget("rose", "models", "http")
DRAINING = "tidegate.dev/draining"


class FakeDiscovery:
    """Knows the stage's object under whatever name it is followed, and a Service's slices."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.cluster = stage.cluster
        self.slices: tuple[Slice, ...] = ()
        self.news: list[str] = []
        """Backends of which there was news."""
        self.followed: dict[str, tuple[ClusterTarget, Callable[[], None]]] = {}

    def follow(self, name: str, target: ClusterTarget, told: Callable[[], None]) -> None:
        self.followed[name] = target, told

    def forget(self, name: str) -> None:
        self.followed.pop(name, None)

    def view(self, name: str) -> View | None:
        if name not in self.followed:
            return None
        target = self.followed[name][0]
        return self.stage.view if isinstance(target, ScaleTarget) else View(slices=self.slices)

    def missing(self, name: str) -> str:
        return f"{name} is not known yet"


def made() -> tuple[ClusterTargets, FakeDiscovery]:
    discovery = FakeDiscovery(Stage(replicas=1))
    return ClusterTargets(discovery, discovery.stage.lease, discovery.news.append), discovery  # type: ignore[arg-type]


def decision(reason: str = "so", waiting: int = 0, at: float = 100.0) -> Decision:
    observed = Observed((Reading(None, None),), ready=0, replicas=1, waiting=waiting)
    return Decision(1, None, None, False, "wake", (reason,), observed, at, (CONCURRENCY,))


def warnings(discovery: FakeDiscovery) -> list[str]:
    return [
        f"{body['reason']}: {body['message']}"
        for body in discovery.cluster.bodies
        if body.get("type") == "Warning"
    ]


async def test_an_object_with_a_scale_is_scaled_by_the_same_scaler_for_as_long_as_it_is_the_same() -> None:
    """A reload keeps what is known of counts under way."""
    targets, discovery = made()
    scaler = targets.put("iris", IRIS, 300.0)
    assert isinstance(scaler, ClusterScaler)
    assert targets.put("iris", IRIS, 60.0) is scaler
    assert isinstance(there := scaler.observe(), TargetState)
    assert there.replicas == 1
    assert discovery.followed.keys() == {"iris"}
    discovery.followed["iris"][1]()
    assert discovery.news == ["iris"]


async def test_a_services_pods_are_looked_at_only() -> None:
    """As many as it has, whoever scales them."""
    targets, discovery = made()
    scaler = targets.put("rose", ROSE, 5.0)
    assert targets.put("rose", ROSE, 5.0) is scaler
    places = (Place("a", "10.0.0.1", True, False), Place("b", "10.0.0.2", False, True))
    discovery.slices = (Slice("rose-1", "rose", (("http", 8080),), places),)
    discovery.followed["rose"][1]()
    there = scaler.observe()
    assert isinstance(there, TargetState)
    assert (there.fixed, there.replicas) == (True, 1)
    assert [(pod.uid, pod.ready, pod.draining) for pod in there.pods] == [
        ("a", True, False),
        ("b", False, True),
    ]
    assert repr(targets).startswith("<ClusterTargets 0 scaled, 1 services")


async def test_a_target_may_become_another() -> None:
    """What was known of the first says nothing of the second."""
    targets, discovery = made()
    first = targets.put("iris", IRIS, 300.0)
    assert targets.put("iris", ROSE, 5.0) is not first
    assert discovery.followed["iris"][0] == ROSE
    assert isinstance(targets.put("iris", IRIS, 300.0), ClusterScaler)


async def test_what_is_dropped_is_left_without_marks() -> None:
    """Its count stays."""
    targets, discovery = made()
    discovery.stage.pod("iris-0", annotations={DRAINING: "x"})
    targets.put("iris", IRIS, 300.0)
    targets.drop("iris")
    assert discovery.followed == {}
    await targets.stop()
    assert discovery.stage.annotations("iris-0") == {}
    assert discovery.cluster.log == [f"PATCH {PODS}/iris-0"]


async def test_a_target_that_another_backend_has_keeps_its_marks() -> None:
    """A renamed Backend goes on where the old one was."""
    targets, discovery = made()
    discovery.stage.pod("iris-0", annotations={DRAINING: "x"})
    targets.put("iris", IRIS, 300.0)
    targets.put("iris-v1", IRIS, 300.0)
    targets.drop("iris")
    await targets.stop()
    assert discovery.cluster.log == []


async def test_what_comes_back_at_once_is_not_acted_on_before_its_marks_are_off() -> None:
    """Or a pod that looks drained would get requests in the moment in which the count costs it."""
    targets, discovery = made()
    discovery.stage.pod("iris-0", annotations={DRAINING: "x"})
    discovery.cluster.delay = 3.0
    targets.put("iris", IRIS, 300.0)
    targets.drop("iris")
    scaler = targets.put("iris", replace(IRIS, port=8081), 300.0)
    assert scaler.observe() == Unknown("waiting: its pods' marks are being taken back")
    await asyncio.sleep(3.1)
    discovery.stage.see()
    assert isinstance(there := scaler.observe(), TargetState)
    assert [pod.draining for pod in there.pods] == [False]


async def test_one_object_is_scaled_for_one_backend() -> None:
    """That a namespace left out is the one written out elsewhere, only the credentials tell."""
    targets, discovery = made()
    discovery.cluster.namespace = "models"
    targets.put("iris", IRIS, 300.0)
    other = targets.put("other", replace(IRIS, namespace=None), 300.0)
    assert other.observe() == Unknown("waiting: deployment models/iris is scaled by backend iris already")
    targets.drop("iris")
    await targets.stop()
    assert isinstance(other.observe(), TargetState)


async def test_marks_that_cannot_be_taken_back_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """By a leader; a follower leaves them to it."""
    targets, discovery = made()
    discovery.stage.pod("iris-0", annotations={DRAINING: "x"})
    targets.put("iris", IRIS, 300.0)
    discovery.cluster.answers = [ApiError(403, "Forbidden", "pods is forbidden")]
    targets.drop("iris")
    await settle()
    targets.put("iris", IRIS, 300.0)
    discovery.stage.lease.left = 0.0
    targets.drop("iris")
    await targets.stop()
    assert [record.message for record in caplog.records] == [
        "iris: marks of draining pods were not taken back: pods is forbidden"
    ]


async def test_a_decision_is_the_reason_for_what_is_done_next() -> None:
    """It stands in the Event."""
    targets, discovery = made()
    scaler = targets.put("iris", IRIS, 300.0)
    targets.decided("iris", decision("3 queued and no pod ready: waking with 3"))
    await scaler.scale(3, [])
    await settle()
    assert discovery.cluster.bodies[-1]["message"] == "from 1 to 3: 3 queued and no pod ready: waking with 3"
    targets.decided("other", decision())


async def test_pods_that_cannot_start_are_warned_of() -> None:
    """In their own words."""
    targets, discovery = made()
    targets.put("iris", IRIS, 300.0)
    assert discovery.stage.view is not None
    discovery.stage.view = View(discovery.stage.view.workload, (), cannot_start="pod iris-0: no such image")
    targets.decided("iris", decision())
    await settle()
    assert warnings(discovery) == ["CannotStart: pod iris-0: no such image"]


async def test_waking_that_takes_too_long_is_warned_of() -> None:
    """With what the pods wait for, if that is known."""
    targets, discovery = made()
    targets.put("iris", IRIS, 30.0)
    assert discovery.stage.view is not None
    targets.decided("iris", decision(waiting=1, at=100.0))
    targets.decided("iris", decision(waiting=1, at=128.0))
    targets.decided("iris", decision(waiting=1, at=130.0))
    discovery.stage.view = View(discovery.stage.view.workload, (), pending="0/3 nodes are available")
    targets.decided("iris", decision(waiting=1, at=158.0))
    targets.decided("iris", decision(waiting=1, at=160.0))
    discovery.stage.view = None
    targets.decided("iris", decision(waiting=1, at=200.0))
    await settle()
    assert warnings(discovery) == [
        "ActivationTimeout: no pod was ready after 30 s, while requests waited",
        "ActivationTimeout: no pod was ready after 30 s, while requests waited: 0/3 nodes are available",
    ]


async def test_what_is_dropped_is_said_to_stay(caplog: pytest.LogCaptureFixture) -> None:
    """With its count, unless another Backend goes on with it, or others scale it."""
    caplog.set_level(logging.INFO, "autoscaler")
    targets, discovery = made()
    discovery.stage.see()
    targets.put("iris", IRIS, 300.0)
    targets.put("iris-v1", IRIS, 300.0)
    targets.put("rose", ROSE, 5.0)
    for name in ("iris", "iris-v1", "rose"):
        targets.drop(name)
    await targets.stop()
    assert [record.message for record in caplog.records] == [
        "iris-v1 is no longer scaled: deployment models/iris stays at 1"
    ]
