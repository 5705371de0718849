"""One Route as `/v1/state` shows it: what a request must be, how it splits, and all that is done with it besides.

Core. What a Route does not have is left out, so that the usual one stays short. `state` asks for one Route after the other.
"""

from typing import Any

from gateway.mirrors import Mirror
from gateway.routing import PathRule, Route
from gateway.terms import Fallback


def route_view(route: Route[Any]) -> dict[str, Any]:
    """As a configuration says it, or nearly so."""
    return {
        "name": route.name,
        "hosts": [host.decode("latin-1") for host in route.hosts],
        "paths": [_path(rule) for rule in route.paths],
        "split": route.split.weights,
        **_beyond(route),
    }


def _beyond(route: Route[Any]) -> dict[str, Any]:
    """What only some Routes have; left out where there is nothing."""
    steering = route.steering
    told: dict[str, Any] = {} if route.conditions is None else {"conditions": list(route.conditions)}
    if steering is not None:
        told |= {
            "rules": [
                {"conditions": list(rule.conditions), "split": rule.split.weights} for rule in steering.rules
            ],
            "tags": {tag.decode("latin-1"): ref.backend.name for tag, ref in steering.tags.items()},
            "sticky": None if steering.sticky is None else str(steering.sticky),
            "aliases": dict(steering.aliases),
            "mirror": None if steering.mirror is None else _mirror(steering.mirror),
            "fallback": None if steering.fallback is None else _fallback(steering.fallback),
            "placeholder": None if steering.placeholder is None else {"after": steering.placeholder.after},
            "answer": None if steering.answer is None else str(steering.answer),
            "rewriting": None if steering.rewriting is None else steering.rewriting.told,
        }
    return {key: value for key, value in told.items() if value}


def _mirror(mirror: Mirror) -> dict[str, Any]:
    told = {"backend": mirror.ref.backend.name, "percent": mirror.percent, "in_flight": mirror.in_flight}
    return told if mirror.compare is None else told | {"tolerance": mirror.compare.tolerance}


def _fallback(fallback: Fallback) -> dict[str, Any]:
    return {"backend": fallback.ref.backend.name, "after": fallback.after}


def _path(rule: PathRule) -> str | dict[str, str]:
    """As it is written in a configuration."""
    text = rule.value.decode("latin-1")
    return text if rule.kind == "prefix" else {rule.kind: text}
