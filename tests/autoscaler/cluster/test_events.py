"""Events on what is scaled."""

import asyncio
import logging
import re
from dataclasses import replace

import pytest

from autoscaler.cluster.events import Events
from autoscaler.hands import Change
from gateway.kube.client import ApiError
from gateway.kube.workloads import Workload
from tests.autoscaler.cluster.stage import Stage, settle

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

FOLDER = "/api/v1/namespaces/models/events"


class Written:
    """What was written on a stage's object."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.events = Events(self.stage.cluster, self.stage.lease)  # type: ignore[arg-type]

    @property
    def workload(self) -> Workload:
        assert self.stage.view is not None
        assert self.stage.view.workload is not None
        return self.stage.view.workload

    @property
    def said(self) -> list[tuple[str, str, str]]:
        return [(body["type"], body["reason"], body["message"]) for body in self.stage.cluster.bodies]


async def test_an_event_names_the_object_and_says_why() -> None:
    """As `kubectl describe` wants it."""
    written = Written()
    written.events.scaled(written.workload, 0, 3, "3 queued and no pod ready: waking with 3")
    await settle()
    assert written.stage.cluster.log == [f"POST {FOLDER}"]
    body = written.stage.cluster.bodies[0]
    assert body["involvedObject"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "iris",
        "namespace": "models",
        "uid": "uid-iris",
    }
    assert body["metadata"]["namespace"] == "models"
    assert body["metadata"]["name"].startswith("iris.")
    assert body["source"] == {"component": "tidegate"}
    assert written.said == [("Normal", "ScaledUp", "from 0 to 3: 3 queued and no pod ready: waking with 3")]


@pytest.mark.parametrize("name", ["a" * 253, "a" * 229 + "." + "b" * 23])
async def test_an_events_name_is_one_that_the_api_takes(name: str) -> None:
    """However long the object's."""
    written = Written()
    written.events.scaled(replace(written.workload, name=name), 0, 1, "so")
    await settle()
    event = written.stage.cluster.bodies[0]["metadata"]["name"]
    assert len(event) <= 253
    assert re.fullmatch(r"[a-z0-9]+(\.[a-z0-9]+)+", event)


async def test_every_count_is_told() -> None:
    """Also when it is the same as before the last."""
    written = Written()
    for before, after in ((1, 2), (2, 1), (1, 2)):
        written.events.scaled(written.workload, before, after, "so")
    await settle()
    assert [reason for _, reason, _ in written.said] == ["ScaledUp", "ScaledDown", "ScaledUp"]


async def test_an_equal_warning_is_written_once_in_five_minutes() -> None:
    """Another one at once."""
    written = Written()
    for message in ["no such image"] * 3 + ["quota"]:
        written.events.warn(written.workload, "CannotStart", message)
    await settle()
    assert written.said == [("Warning", "CannotStart", "no such image"), ("Warning", "CannotStart", "quota")]
    await asyncio.sleep(301)
    written.events.warn(written.workload, "CannotStart", "quota")
    await settle()
    assert len(written.said) == 3


async def test_only_the_leader_writes() -> None:
    """And what it did not write as a follower, it writes once it leads."""
    written = Written()
    written.stage.lease.left = 0.0
    written.events.scaled(written.workload, 0, 3, "so")
    written.events.warn(written.workload, "CannotStart", "quota")
    await settle()
    assert written.said == []
    written.stage.lease.left = 9.0
    written.events.warn(written.workload, "CannotStart", "quota")
    await settle()
    assert len(written.said) == 1


async def test_what_cannot_be_written_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Until it works again, and fails again."""
    caplog.set_level(logging.INFO, "autoscaler")
    written = Written()
    refusal = ApiError(403, "Forbidden", "events is forbidden")
    written.stage.cluster.answers = [refusal, refusal, None, refusal]
    for _ in range(4):
        written.events.scaled(written.workload, 0, 3, "so")
        await settle()
    assert [record.message for record in caplog.records] == [
        "events cannot be written: events is forbidden"
    ] * 2
    assert repr(written.events) == "<Events 0 under way, failing: events is forbidden>"


async def test_a_slow_api_server_is_not_flooded() -> None:
    """Beyond fifty at once, Events are lost; stopping gives up those under way."""
    written = Written()
    written.stage.cluster.delay = 5.0
    for _ in range(80):
        written.events.scaled(written.workload, 0, 3, "so")
    await settle()
    assert repr(written.events) == "<Events 50 under way>"
    await written.events.stop()
    assert len(written.stage.cluster.log) == 50


async def test_a_long_message_is_cut() -> None:
    """To what the API server takes."""
    written = Written()
    written.events.warn(written.workload, "CannotStart", "ä" * 2000)
    await settle()
    assert len(written.said[0][2].encode()) == 1024


async def test_another_hands_count_is_told() -> None:
    """A contest is a Warning."""
    written = Written()
    written.events.changed(written.workload, Change(3, 6, "kubectl", 0.0))
    written.events.changed(written.workload, Change(6, 1, "keda", 0.0, contests=True))
    await settle()
    assert written.said == [
        ("Normal", "ReplicasChanged", "kubectl has set the count from 3 to 6: that stands"),
        (
            "Warning",
            "ReplicasChanged",
            "keda has set the count from 6 to 1: it contests the count, and nothing is set any more",
        ),
    ]


async def test_a_back_off_that_grows_is_no_news() -> None:
    """The kubelet doubles it each time; another image is news."""
    written = Written()
    for seconds in ("10s", "20s", "2m40s", "5m0s"):
        written.events.warn(written.workload, "CannotStart", f"back-off {seconds} restarting model:1")
    written.events.warn(written.workload, "CannotStart", "back-off 10s restarting model:2")
    await settle()
    assert [message for _, _, message in written.said] == [
        "back-off 10s restarting model:1",
        "back-off 10s restarting model:2",
    ]
