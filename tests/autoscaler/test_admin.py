"""The autoscaler's admin side, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from autoscaler.admin import add_routes, make_app
from autoscaler.collector import Collector
from autoscaler.controller import Controller
from autoscaler.metrics import AutoscalerCollector
from autoscaler.scalers import FixedScaler
from autoscaler.spec import CONCURRENCY, ScalingSpec, ScheduleSpec
from gateway.endpoints import Feed
from gateway.stats import Beat, Stat
from tests.simulated import SimulatedPods

Client = TestClient[web.Request, web.Application]
SPEC = ScalingSpec(metrics=(replace(CONCURRENCY, target=2.0),))


@pytest.fixture
async def controller() -> Controller:
    return Controller(Collector(), asyncio.get_running_loop().time)


@pytest.fixture
async def client(controller: Controller) -> AsyncIterator[Client]:
    registry = CollectorRegistry()
    registry.register(AutoscalerCollector(controller))
    async with TestClient(TestServer(make_app(controller, registry))) as made:
        yield made


async def decisions(client: Client) -> Any:
    async with client.get("/v1/decisions") as answer:
        assert answer.content_type == "application/json"
        return (await answer.json())["backends"]


async def test_it_is_alive_at_once_and_ready_with_the_first_beat(
    client: Client, controller: Controller
) -> None:
    """Without any gateway it can decide nothing well."""
    assert (await client.get("/livez")).status == 200
    refusal = await client.get("/readyz")
    assert (refusal.status, await refusal.text()) == (503, "no gateway has been heard of yet\n")
    controller.receive(Beat("gw-1", 1, 1.0, {}))
    assert (await client.get("/readyz")).status == 200


async def test_decisions_say_why(client: Client, controller: Controller) -> None:
    """Count, rule, reason and inputs of the last one; what is there now; and how it came to that."""
    controller.put("iris", SPEC, FixedScaler(1))
    controller.receive(Beat("gw-1", 1, 1.0, {"iris": Stat(in_flight_seconds=3.0, in_flight=3)}))
    controller.put("iris", SPEC, FixedScaler(1))
    told = (await decisions(client))["iris"]
    assert {key: told[key] for key in ("desired", "ready", "replicas", "draining", "panic")} == {
        "desired": 1,
        "ready": 1,
        "replicas": 1,
        "draining": 0,
        "panic": True,
    }
    assert told["reason"].startswith(
        "others scale it: 1 pod; 2 would be wanted: panic: 3 in flight over 60 s want 2 at target 2"
    )
    assert told["inputs"]["metrics"] == {
        "concurrency": {"target": 2.0, "stable": 3.0, "panic": 3.0, "missing": None}
    }
    assert told["inputs"]["in_flight"] == 3
    assert 0 <= told["age_seconds"] < 60
    assert datetime.fromisoformat(told["at"]).tzinfo is not None
    assert [(entry["from"], entry["desired"], entry["metric"]) for entry in told["history"]] == [
        (1, 1, "concurrency"),
        (1, 1, ""),
    ]
    assert told["history"][0]["inputs"] == {k: v for k, v in told["inputs"].items() if k != "schedule"}
    assert told["why"] == f"1 pod: {told['reason']}"
    assert told["would_change"] == "nothing here: others run these pods"


async def test_every_backend_is_told(client: Client, controller: Controller) -> None:
    """Sent one by one, and still one JSON document."""
    assert await decisions(client) == {}
    for name in ("iris", 'ro"se', "lily"):
        controller.put(name, SPEC, FixedScaler(1))
    assert list(await decisions(client)) == ["iris", 'ro"se', "lily"]


async def test_one_backend_can_be_asked_for(client: Client, controller: Controller) -> None:
    """And the answer has no other."""
    for name in ("iris", "lily"):
        controller.put(name, SPEC, FixedScaler(1))
    async with client.get("/v1/decisions?backend=lily") as answer:
        assert list((await answer.json())["backends"]) == ["lily"]


async def test_a_backend_that_is_not_there_is_told_with_names_near_it(
    client: Client, controller: Controller
) -> None:
    """404, in JSON, for people and for the command line."""
    controller.put("iris", SPEC, FixedScaler(1))
    async with client.get("/v1/decisions?backend=irsi") as answer:
        assert (answer.status, await answer.json()) == (
            404,
            {"error": 'there is no backend "irsi"', "near": ["iris"]},
        )


async def test_the_last_cold_start_is_told(client: Client, controller: Controller) -> None:
    """By phase, as far as it is known."""
    controller.put("iris", SPEC, FixedScaler(1))
    assert (await decisions(client))["iris"]["cold_start"] is None
    controller.receive(Beat("gw-1", 1, 1.0, {"iris": Stat(started={"a": (4.0, 1.5, 1.0)})}))
    told = (await decisions(client))["iris"]["cold_start"]
    assert (told["pod"], told["seconds"], told["phases"]) == ("a", 3.0, {"ready": 2.5, "first_byte": 0.5})


async def test_metrics_are_served_in_prometheus_text(client: Client, controller: Controller) -> None:
    """The page has the families of the contract."""
    controller.put("iris", SPEC, FixedScaler(1))
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'tidegate_autoscaler_desired_replicas{backend="iris"} 1' in await answer.text()


async def test_decisions_can_stand_beside_other_pages(controller: Controller) -> None:
    """In one process with the gateway, on its admin side."""
    app = web.Application()
    add_routes(app, controller)
    async with TestClient(TestServer(app)) as client:
        assert await decisions(client) == {}
        assert (await client.get("/livez")).status == 404


async def test_a_reader_that_leaves_disturbs_nobody(client: Client, controller: Controller) -> None:
    """Cut in the middle of a long answer, the next one is whole."""
    for index in range(300):
        controller.put(f"b{index}", SPEC, FixedScaler(1))
    async with aiohttp.ClientSession() as session:
        answer = await session.get(client.make_url("/v1/decisions"))
        answer.close()
    assert len(await decisions(client)) == 300


async def test_what_is_not_known_is_said(client: Client, controller: Controller) -> None:
    """No decision, and what is waited for."""
    pods = SimulatedPods(Feed("iris"))
    pods.unknown = "waiting for deployment models/iris: not found"
    controller.put("iris", SPEC, pods)
    told = (await decisions(client))["iris"]
    assert "reason" not in told
    assert (told["replicas"], told["ready"], told["waiting_for"]) == (None, 0, pods.unknown)


async def test_what_others_and_the_clock_do_is_told(client: Client, controller: Controller) -> None:
    """Who has set the count and whether that stands; which schedule holds, and until when."""
    office = ScheduleSpec("0 0 1 1 *", "0 0 2 1 *", ZoneInfo("UTC"), floor=3)
    controller.put("iris", replace(SPEC, schedules=(office,)), FixedScaler(1))
    told = (await decisions(client))["iris"]
    assert (told["hands"], told["stuck"]) == (None, None)
    schedule = told["inputs"]["schedule"]
    assert set(schedule) == {"min", "replicas", "active", "next_change"}
    assert datetime.fromisoformat(schedule["next_change"]) > datetime.now(UTC)
    pods = SimulatedPods(Feed("rose"))
    pods.setter = ""
    controller.put("rose", SPEC, pods)
    pods.set_by("kubectl", 2)
    controller.put("rose", SPEC, pods)
    hands = (await decisions(client))["rose"]["hands"]
    assert (hands["changes"], hands["stands"], hands["contested_by"]) == (1, True, None)
    assert {key: hands["last"][key] for key in ("by", "from", "to")} == {"by": "kubectl", "from": 0, "to": 2}
