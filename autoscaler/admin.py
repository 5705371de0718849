"""The autoscaler's admin side: why each Backend has as many pods as it has, health, and metrics.

`add_routes` puts the decisions beside the gateway's own pages when both run in one process; `make_app` is for an autoscaler
on its own. A thousand Backends are sent one by one, and the loop turns in between.
"""

import asyncio
import difflib
import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from autoscaler.coldstarts import ColdStart
from autoscaler.controller import Controller
from autoscaler.decision import Decision
from autoscaler.hands import Hands
from autoscaler.history import Change
from autoscaler.plan import TargetState, Unknown
from autoscaler.schedules import Bounds
from autoscaler.target import Target
from gateway.metrics import CONTENT_TYPE_PLAIN_0_0_4, render
from gateway.pages import send

NEAR = 3
"""Names that are offered for one that is not known."""
_COUNTS = ("ready", "replicas", "in_flight", "waiting")


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
    history = [_change(change, now) for change in target.history]
    return {**last, **known, **target.explain()._asdict(), "history": history[::-1]}


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
        **_times(decision.at, now),
        "inputs": _inputs(decision),
    }


def _inputs(decision: Decision) -> dict[str, Any]:
    observed = decision.observed
    metrics = {
        metric.name: _reading(metric.target, reading.stable, reading.panic, reading.missing)
        for metric, reading in zip(decision.metrics, observed.readings, strict=True)
    }
    known = {key: getattr(observed, key) for key in _COUNTS}
    clock = observed.scheduled
    schedule = None if clock is None else _schedule(clock)
    return {"metrics": metrics, **known, "missing": observed.absence or None, "schedule": schedule}


def _reading(target: object, stable: object, panic: object, missing: object) -> dict[str, Any]:
    return {"target": target, "stable": stable, "panic": panic, "missing": missing or None}


def _schedule(clock: Bounds) -> dict[str, Any]:
    until = None if clock.until is None else _time(clock.until)
    return {"min": clock.floor, "replicas": clock.fixed, "active": clock.words or None, "next_change": until}


def _change(change: Change, now: float) -> dict[str, Any]:
    metrics = {name: _reading(*values) for name, *values in change.readings}
    inputs = {
        "metrics": metrics,
        **{key: getattr(change, key) for key in _COUNTS},
        "missing": change.absence or None,
    }
    said = {key: getattr(change, key) for key in ("desired", "rule", "metric", "reason", "panic")}
    return {"from": change.before, **said, **_times(change.at, now), "inputs": inputs}


def describe_start(start: ColdStart, now: float) -> dict[str, Any]:
    """What is said of a Backend's last start that a request waited for."""
    phases = {phase: round(seconds, 3) for phase, seconds in start.phases().items()}
    return {
        **_times(start.first_byte, now),
        "pod": start.pod,
        "seconds": round(start.seconds, 3),
        "phases": phases,
    }


def _times(at: float, now: float) -> dict[str, Any]:
    return {"at": _time(at), "age_seconds": round(now - at, 3)}


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
        """Of all Backends, or of the one that `?backend=` names."""
        targets = self.controller.targets
        name = request.query.get("backend")
        if name is not None and name not in targets:
            # Among ten thousand names alike it takes a quarter of a second.
            near = await asyncio.to_thread(difflib.get_close_matches, name, list(targets), NEAR)
            body = {"error": f"there is no backend {json.dumps(name)}", "near": near}
            return web.json_response(body, status=404)
        asked = list(targets.values()) if name is None else [targets[name]]
        return await send(request, "application/json", self._decisions(asked))

    async def _decisions(self, targets: Iterable[Target]) -> AsyncIterator[bytes]:
        comma, now = "", self.controller.clock()
        yield f'{{"leading": {json.dumps(self.controller.leads())}, "backends": {{'.encode()
        for target in targets:
            await asyncio.sleep(0)
            start = self.controller.starts.last(target.name)
            said = describe(target, now) | {"cold_start": start and describe_start(start, now)}
            yield f"{comma}{json.dumps(target.name)}: {json.dumps(said)}".encode()
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
