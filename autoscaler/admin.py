"""The autoscaler's admin side: why each Backend has as many pods as it has, health, and metrics.

`add_routes` puts the decisions beside the gateway's own pages when both run in one process; `make_app` is for an autoscaler
on its own. A thousand Backends are sent one by one, and the loop turns in between.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from autoscaler.controller import Controller
from autoscaler.hands import Hands
from autoscaler.kpa import Decision
from autoscaler.plan import TargetState, Unknown
from autoscaler.schedules import Bounds
from autoscaler.target import Target
from gateway.metrics import CONTENT_TYPE_PLAIN_0_0_4, render
from gateway.pages import send


def describe(target: Target, now: float) -> dict[str, Any]:
    """What `/v1/decisions` says of one Backend; `now` is the controller's clock."""
    known = {
        "desired": target.wish,
        "ready": target.ready,
        **_there(target.view()),
        "removed": target.removed_at is not None,
        "error": target.error or None,
        "hands": _hands(target.hands, now),
    }
    last = {} if target.decision is None else _decision(target.decision, now)
    history = [_decision(decision, now) for decision in reversed(target.history)]
    return {**last, **known, "history": history}


def _there(there: TargetState | Unknown) -> dict[str, Any]:
    if isinstance(there, Unknown):
        return {"replicas": None, "draining": None, "waiting_for": there.reason, "stuck": None}
    draining = sum(pod.draining for pod in there.pods)
    known = {"replicas": there.replicas, "draining": draining, "waiting_for": None}
    return known | {"stuck": there.stuck or None}


def _hands(hands: Hands, now: float) -> dict[str, Any] | None:
    """What others have done to the count; None while nobody has."""
    change = hands.last
    if change is None:
        return None
    return {
        "changes": hands.changes,
        "last": {"by": change.by, "from": change.before, "to": change.after, "at": _time(change.at)},
        "stands": hands.standing,
        "contested_by": (contester := hands.contested(now)) or None,
        "contested_until": _time(hands.contested_until) if contester else None,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _decision(decision: Decision, now: float) -> dict[str, Any]:
    return {
        "desired": decision.desired,
        "wanted": decision.wanted,
        "rule": decision.rule,
        "reason": decision.reason,
        "panic": decision.panic,
        "excess_burst_capacity": decision.excess_burst_capacity,
        "at": _time(decision.at),
        "age_seconds": round(now - decision.at, 3),
        "inputs": _inputs(decision),
    }


def _inputs(decision: Decision) -> dict[str, Any]:
    observed = decision.observed
    metrics = {
        metric.name: {
            "target": metric.target,
            "stable": reading.stable,
            "panic": reading.panic,
            "missing": reading.missing or None,
        }
        for metric, reading in zip(decision.metrics, observed.readings, strict=True)
    }
    known = {key: getattr(observed, key) for key in ("ready", "replicas", "in_flight", "waiting")}
    clock = observed.scheduled
    schedule = None if clock is None else _schedule(clock)
    return {"metrics": metrics, **known, "missing": observed.absence or None, "schedule": schedule}


def _schedule(clock: Bounds) -> dict[str, Any]:
    until = None if clock.until is None else _time(clock.until)
    return {"min": clock.floor, "replicas": clock.fixed, "active": clock.words or None, "next_change": until}


class _Pages:
    """What the paths answer."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller

    async def livez(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(self, _: web.Request) -> web.Response:
        if self.controller.collector.gateways:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="no gateway has been heard of yet\n")

    async def decisions(self, request: web.Request) -> web.StreamResponse:
        return await send(request, "application/json", self._decisions())

    async def _decisions(self) -> AsyncIterator[bytes]:
        comma, now = "", self.controller.clock()
        yield f'{{"leading": {json.dumps(self.controller.leads())}, "backends": {{'.encode()
        for target in list(self.controller.targets.values()):
            await asyncio.sleep(0)
            yield f"{comma}{json.dumps(target.name)}: {json.dumps(describe(target, now))}".encode()
            comma = ", "
        yield b"}}\n"


def add_routes(app: web.Application, controller: Controller) -> None:
    """Add `/v1/decisions` to an application that has its own health and metrics."""
    app.router.add_get("/v1/decisions", _Pages(controller).decisions, allow_head=False)


def make_app(controller: Controller, registry: CollectorRegistry) -> web.Application:
    """The admin application of an autoscaler on its own."""

    async def metrics(request: web.Request) -> web.StreamResponse:
        return await send(request, CONTENT_TYPE_PLAIN_0_0_4, render(registry))

    app = web.Application()
    pages = _Pages(controller)
    app.router.add_get("/livez", pages.livez)
    app.router.add_get("/readyz", pages.readyz)
    app.router.add_get("/metrics", metrics, allow_head=False)
    add_routes(app, controller)
    return app
