"""The autoscaler's Prometheus families."""

import asyncio
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from autoscaler.collector import Collector as BeatCollector
from autoscaler.controller import Controller
from autoscaler.metrics import AutoscalerCollector, ConfigurationCollector
from autoscaler.scalers import FixedScaler
from autoscaler.spec import CONCURRENCY, MetricSpec, ScalingSpec
from gateway.metrics import render
from gateway.state import Reloads
from gateway.stats import Beat, Stat

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def lines(controller: Controller, *others: Collector) -> list[str]:
    registry = CollectorRegistry()
    registry.register(AutoscalerCollector(controller))
    for other in others:
        registry.register(other)
    page = b"".join([piece async for piece in render(registry)]).decode()
    return [line for line in page.splitlines() if line.startswith("tidegate_")]


async def test_each_target_has_its_rows() -> None:
    """What was decided last, on what, and how often."""
    controller = Controller(BeatCollector(), asyncio.get_running_loop().time)
    controller.put("iris", ScalingSpec(metrics=(replace(CONCURRENCY, target=2.0),)), FixedScaler(1))
    controller.receive(Beat("gw-1", 1, 1.0, {"iris": Stat(in_flight_seconds=3.0)}))
    controller.put("iris", ScalingSpec(metrics=(replace(CONCURRENCY, target=2.0),)), FixedScaler(1))
    assert await lines(controller) == [
        "tidegate_autoscaler_leading 1",
        'tidegate_autoscaler_desired_replicas{backend="iris"} 1',
        'tidegate_autoscaler_wanted_replicas{backend="iris"} 2',
        'tidegate_autoscaler_ready_replicas{backend="iris"} 1',
        'tidegate_autoscaler_observed{backend="iris",metric="concurrency",window="stable"} 3.0',
        'tidegate_autoscaler_observed{backend="iris",metric="concurrency",window="panic"} 3.0',
        'tidegate_autoscaler_target{backend="iris",metric="concurrency"} 2.0',
        'tidegate_autoscaler_panic{backend="iris"} 1',
        'tidegate_autoscaler_decisions_total{backend="iris"} 2',
        'tidegate_autoscaler_foreign_changes_total{backend="iris"} 0',
        'tidegate_autoscaler_scaling_errors_total{backend="iris"} 0',
    ]


async def test_it_is_seen_which_autoscaler_acts() -> None:
    """From one look to the next."""
    led = [True, False]
    controller = Controller(BeatCollector(), asyncio.get_running_loop().time, led.pop)
    assert await lines(controller) == ["tidegate_autoscaler_leading 0"]
    assert await lines(controller) == ["tidegate_autoscaler_leading 1"]


async def test_on_its_own_it_tells_of_its_configuration() -> None:
    """As the gateway does, so that one that only one of both took over is seen."""
    reloads = Reloads()
    reloads.took_over(1_700_000_000.0)
    reloads.refused(["no"], 1_700_000_001.0)
    controller = Controller(BeatCollector(), asyncio.get_running_loop().time)
    assert (await lines(controller, ConfigurationCollector(reloads)))[1:] == [
        'tidegate_config_reloads_total{result="ok"} 1',
        'tidegate_config_reloads_total{result="failed"} 1',
        "tidegate_config_last_reload_successful 0",
    ]


async def test_without_data_nothing_was_observed() -> None:
    """No row stands for what nobody knows."""
    controller = Controller(BeatCollector(), asyncio.get_running_loop().time)
    controller.put("iris", ScalingSpec(), FixedScaler(1))
    assert not [line for line in await lines(controller) if "observed" in line]
    assert repr(AutoscalerCollector(controller)) == "<AutoscalerCollector of 1 targets>"


async def test_cold_starts_have_a_histogram_for_each_phase_that_is_known() -> None:
    """In the order in which they come."""
    controller = Controller(BeatCollector(), asyncio.get_running_loop().time)
    controller.put("iris", ScalingSpec(), FixedScaler(1))
    controller.receive(Beat("gw-1", 1, 1.0, {"iris": Stat(started={"a": (20.0, 11.5, 11.0)})}))
    controller.starts.look(lambda *_: None, controller.clock(), counts=True)
    name = "tidegate_cold_start_phase_seconds"
    found = [line for line in await lines(controller) if line.startswith(f"{name}_sum")]
    assert found == [
        f'{name}_sum{{backend="iris",phase="ready"}} 8.5',
        f'{name}_sum{{backend="iris",phase="first_byte"}} 0.5',
    ]


async def test_each_metric_has_its_rows() -> None:
    """By its name; one without data has an aim all the same."""
    controller = Controller(BeatCollector(), asyncio.get_running_loop().time)
    backlog = MetricSpec("prometheus backlog", "prometheus", 10.0, 10.0, interval=15)
    controller.put("iris", ScalingSpec(metrics=(CONCURRENCY, backlog)), FixedScaler(1))
    controller.collector.sample("iris", "prometheus backlog", 40.0, controller.clock())
    controller.put("iris", ScalingSpec(metrics=(CONCURRENCY, backlog)), FixedScaler(1))
    rows = [line for line in await lines(controller) if "observed" in line or "_target" in line]
    assert rows == [
        'tidegate_autoscaler_observed{backend="iris",metric="prometheus backlog",window="stable"} 40.0',
        'tidegate_autoscaler_observed{backend="iris",metric="prometheus backlog",window="panic"} 40.0',
        'tidegate_autoscaler_target{backend="iris",metric="concurrency"} 70.0',
        'tidegate_autoscaler_target{backend="iris",metric="prometheus backlog"} 10.0',
    ]
