"""Reading one Backend's use of a resource, wherever its pods are."""

from collections.abc import Sequence

from autoscaler.plan import Unknown
from autoscaler.signals.asked import NoValueError, PodAt, Usage
from autoscaler.signals.reading import Reading
from tests.autoscaler.signals.stage import Clock, Told

LOCAL = PodAt("local", "127.0.0.1", 1, pid=42)
CLUSTERED = PodAt("u1", "10.0.0.1", 80, namespace="models", name="iris-1")
ELSEWHERE = PodAt("http://gpu:9000", "gpu", 9000)


class FakeReader:
    def __init__(self, answer: float | str) -> None:
        self.answer = answer

    async def value(self, pods: Sequence[PodAt]) -> float:
        if isinstance(self.answer, str):
            raise NoValueError(self.answer)
        return self.answer * len(pods)


class Scene:
    def __init__(self, pods: Sequence[PodAt] | Unknown, cluster: FakeReader | None = None) -> None:
        self.pods = pods
        self.told = Told()
        self.made: list[str] = []
        self.here = FakeReader(0.5)
        self.cluster = cluster
        self.reading = Reading(
            "iris",
            Usage("cpu", "cpu", target=1.0),
            lambda: self.pods,
            here=self.make_here,
            cluster=self.make_cluster,
            sink=self.told,
            clock=Clock(),
        )

    def make_here(self) -> FakeReader:
        self.made.append("here")
        return self.here

    def make_cluster(self) -> FakeReader | None:
        self.made.append("cluster")
        return self.cluster


async def test_processes_of_this_machine_are_looked_at_here() -> None:
    """By one reader, which knows what it saw before."""
    scene = Scene([LOCAL, LOCAL])
    await scene.reading.round()
    await scene.reading.round()
    assert scene.told.samples == [("iris", "cpu", 1.0)] * 2
    assert scene.made == ["here"]


async def test_a_clusters_pods_are_asked_of_the_cluster() -> None:
    """A Backend may move there."""
    scene = Scene([LOCAL], FakeReader(2.0))
    await scene.reading.round()
    scene.pods = [CLUSTERED]
    await scene.reading.round()
    assert scene.told.values == [0.5, 2.0]
    assert scene.made == ["here", "cluster"]


async def test_pods_elsewhere_cannot_be_looked_at() -> None:
    """It is told as a failure, by name."""
    scene = Scene([ELSEWHERE])
    await scene.reading.round()
    assert scene.told.failures == [
        ("iris", "cpu", "pod http://gpu:9000 runs elsewhere, where its use of cpu cannot be seen")
    ]


async def test_what_fails_is_told_and_tried_again() -> None:
    """In the next round."""
    scene = Scene([LOCAL])
    scene.here.answer = "not yet"
    await scene.reading.round()
    scene.here.answer = 1.0
    await scene.reading.round()
    assert scene.told.reasons == ["not yet"]
    assert scene.told.values == [1.0]


async def test_without_pods_nothing_is_used() -> None:
    """And pods that are not known are no zero."""
    scene = Scene([])
    await scene.reading.round()
    scene.pods = Unknown("not known yet")
    await scene.reading.round()
    assert scene.told.values == [0.0]
    assert scene.told.reasons == ["not known yet"]


async def test_without_a_cluster_there_is_nobody_to_ask() -> None:
    """Which is said."""
    scene = Scene([CLUSTERED])
    await scene.reading.round()
    assert scene.told.reasons == ["there is no connection to a cluster"]
    assert repr(scene.reading) == "<Reading of cpu of iris every 15 s>"
