"""When images were pulled, as the Events of a pod tell it."""

import asyncio
import logging
from typing import Any

import pytest

from autoscaler.cluster.pulls import MOST, PAUSES, Pulls, pulled
from gateway.kube.client import ApiError
from gateway.kube.pods import Pod, pod_of
from tests.autoscaler.cluster.stage import FakeLease

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

ENOUGH = sum(PAUSES) + 1


class FakeEvents:
    """A Cluster that knows Events only."""

    def __init__(self, *answers: list[dict[str, Any]] | ApiError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def get(self, path: str, params: dict[str, str]) -> dict[str, Any]:
        self.asked.append(f"{path} {params['fieldSelector']}")
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, ApiError):
            raise answer
        return {"items": answer}


def pod(uid: str = "u1") -> Pod:
    meta = {"name": "iris-1", "namespace": "models", "uid": uid, "creationTimestamp": "1970-01-01T00:01:00Z"}
    return pod_of({"metadata": meta})


def event(second: int, path: str = "spec.containers{web}") -> dict[str, Any]:
    return {"lastTimestamp": f"1970-01-01T00:01:{second:02}Z", "involvedObject": {"fieldPath": path}}


def made(*answers: list[dict[str, Any]] | ApiError) -> tuple[Pulls, FakeEvents, FakeLease]:
    cluster, lease = FakeEvents(*answers), FakeLease()
    return Pulls(cluster, lease), cluster, lease  # type: ignore[arg-type]


async def test_the_last_image_counts_and_not_those_of_init_containers() -> None:
    """They have a phase of their own."""
    pulls, cluster, _ = made([event(7), event(9), event(20, "spec.initContainers{model}")])
    assert pulls.of(pod()) is None
    await asyncio.sleep(ENOUGH)
    assert pulls.of(pod()) == 69.0
    assert cluster.asked == ["/api/v1/namespaces/models/events involvedObject.uid=u1,reason=Pulled"]


async def test_events_that_come_late_are_asked_for_again() -> None:
    """A few times, and then no more."""
    pulls, cluster, _ = made([], [event(9)])
    pulls.of(pod())
    await asyncio.sleep(ENOUGH)
    assert pulls.of(pod()) == 69.0
    for _ in range(3):
        pulls.of(pod("other"))
        await asyncio.sleep(ENOUGH)
    assert pulls.of(pod("other")) is None
    assert len(cluster.asked) == 2 + len(PAUSES)


async def test_only_the_leader_asks() -> None:
    """Others leave it out."""
    pulls, cluster, lease = made([event(9)])
    lease.left = 0
    assert pulls.of(pod()) is None
    await asyncio.sleep(ENOUGH)
    assert (pulls.of(pod()), cluster.asked) == (None, [])


async def test_without_the_right_it_is_left_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """The start is told all the same."""
    forbidden = ApiError(403, "Forbidden", "events is forbidden")
    pulls, cluster, _ = made(forbidden, forbidden)
    with caplog.at_level(logging.WARNING):
        for uid in ("a", "b"):
            pulls.of(pod(uid))
            await asyncio.sleep(ENOUGH)
    assert [record.message for record in caplog.records] == [
        f"when images were pulled is not known: {forbidden}"
    ]
    assert len(cluster.asked) == 2
    assert repr(pulls) == f"<Pulls of 2 pods, failing: {forbidden}>"


async def test_memory_is_bounded() -> None:
    """The oldest is forgotten, and stopping leaves no task behind."""
    pulls, cluster, _ = made()
    for index in range(MOST + 5):
        pulls.of(pod(f"u{index}"))
    assert repr(pulls) == f"<Pulls of {MOST} pods>"
    await pulls.stop()
    await asyncio.sleep(ENOUGH)
    assert cluster.asked == []


async def test_events_of_the_newer_kind_are_read_as_well() -> None:
    """They have an eventTime."""
    assert pulled([{"eventTime": "1970-01-01T00:00:05.250000Z"}]) == 5.25
    assert pulled([]) is None
