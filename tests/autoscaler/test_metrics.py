"""The autoscaler's Prometheus families."""

import asyncio
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from autoscaler.collector import Collector
from autoscaler.controller import Controller
from autoscaler.metrics import AutoscalerCollector
from autoscaler.scalers import FixedScaler
from autoscaler.spec import CONCURRENCY, ScalingSpec
from gateway.metrics import render
from gateway.stats import Beat, Stat

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def lines(controller: Controller) -> list[str]:
    registry = CollectorRegistry()
    registry.register(AutoscalerCollector(controller))
    page = b"".join([piece async for piece in render(registry)]).decode()
    return [line for line in page.splitlines() if line.startswith("tidegate_")]


async def test_each_target_has_its_rows() -> None:
    """What was decided last, on what, and how often."""
    controller = Controller(Collector(), asyncio.get_running_loop().time)
    controller.put("iris", ScalingSpec(metrics=(replace(CONCURRENCY, target=2.0),)), FixedScaler(1))
    controller.receive(Beat("gw-1", 1, 1.0, {"iris": Stat(in_flight_seconds=3.0)}))
    controller.put("iris", ScalingSpec(metrics=(replace(CONCURRENCY, target=2.0),)), FixedScaler(1))
    assert await lines(controller) == [
        'tidegate_autoscaler_desired_replicas{backend="iris"} 2',
        'tidegate_autoscaler_ready_replicas{backend="iris"} 1',
        'tidegate_autoscaler_observed{backend="iris",metric="concurrency",window="stable"} 3.0',
        'tidegate_autoscaler_observed{backend="iris",metric="concurrency",window="panic"} 3.0',
        'tidegate_autoscaler_target{backend="iris",metric="concurrency"} 2.0',
        'tidegate_autoscaler_panic{backend="iris"} 1',
        'tidegate_autoscaler_decisions_total{backend="iris"} 2',
        'tidegate_autoscaler_scaling_errors_total{backend="iris"} 0',
    ]


async def test_without_data_nothing_was_observed() -> None:
    """No row stands for what nobody knows."""
    controller = Controller(Collector(), asyncio.get_running_loop().time)
    controller.put("iris", ScalingSpec(), FixedScaler(1))
    assert not [line for line in await lines(controller) if "observed" in line]
    assert repr(AutoscalerCollector(controller)) == "<AutoscalerCollector of 1 targets>"
