"""The gateways' part: a Backend for each revision, and the routes that lead to those with traffic.

A core. Everything in it passes Tidegate's own configuration, whatever the InferenceService holds.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from functools import reduce
from math import gcd

from autoscaler.inference.resource import InferenceService
from autoscaler.inference.revisions import Place, Rollout
from autoscaler.inference.scaling import Scaling
from autoscaler.inference.shapes import Json, Settings, shortened

_LABEL = re.compile(r"[a-z0-9_][a-z0-9_-]{0,62}", re.IGNORECASE)
_LONGEST_HOST = 253
_LARGEST_WEIGHT = 1_000_000
_SHORT = {"stable_window": "6s", "scale_to_zero_grace_period": "1s"}
"""For those whose pods are waited for: with no traffic, they have none after seconds."""
_LEAVING = {"pause", "scale_to_zero_pod_retention_period", "scale_down_delay", "activation_scale"}
"""What would keep a revision that leaves."""


def backend_name(namespace: str, revision: str) -> str:
    return shortened(f"{namespace}.{revision}")


def public_host(service: InferenceService, settings: Settings) -> str:
    """NAME-NAMESPACE.DOMAIN; "" when that is no name."""
    host = f"{service.name}-{service.namespace}.{settings.domain}".rstrip(".")
    fits = len(host) <= _LONGEST_HOST and all(_LABEL.fullmatch(label) for label in host.split("."))
    return host if fits else ""


def local_host(service: InferenceService) -> str:
    return f"{service.name}.{service.namespace}.svc.cluster.local"


def hosts_of(service: InferenceService, settings: Settings) -> list[str]:
    near = f"{service.name}.{service.namespace}"
    hosts = (public_host(service, settings), near, f"{near}.svc", local_host(service))
    return list(dict.fromkeys(host for host in hosts if host))


def document_of(
    service: InferenceService,
    settings: Settings,
    rollout: Rollout,
    scalings: Mapping[str, Scaling],
    ports: Mapping[str, int],
) -> Json | None:
    """`scalings` and `ports`: by revision. None: there is nothing to lead to, and nothing to drain."""
    backends = {
        backend_name(service.namespace, name): _backend(service, name, place, scalings[name], ports[name])
        for name, place in rollout.places.items()
    }
    split = _split(service.namespace, rollout.places)
    routes = _stopped(service, settings) if service.stopped else _routes(service, settings, split)
    return {"backends": backends, "routes": routes} if backends else None


def _backend(service: InferenceService, name: str, place: Place, scaling: Scaling, port: int) -> Json:
    scale = scaling.backend_scale(place.least, place.most)
    if place.leaving:
        scale = {k: v for k, v in scale.items() if k not in _LEAVING and k != "by"}
        scale |= _SHORT if place.fast else {}
    elif place.held:
        scale["pause"] = True
    backend: Json = {
        "target": {"deployment": name, "namespace": service.namespace, "port": port},
        "scale": scale,
    }
    if scaling.concurrency:
        backend["concurrency"] = scaling.concurrency
    if scaling.timeout:
        backend["timeouts"] = {"response": f"{scaling.timeout}s", "request": f"{scaling.timeout}s"}
    return backend


def _split(namespace: str, places: Mapping[str, Place]) -> dict[str, int]:
    common = reduce(gcd, (place.weight for place in places.values()), 0) or 1
    weights = {name: place.weight // common for name, place in places.items()}
    largest = max(weights.values(), default=0)
    if largest > _LARGEST_WEIGHT:
        weights = {name: -(-w * _LARGEST_WEIGHT // largest) for name, w in weights.items()}
    return {backend_name(namespace, name): weight for name, weight in weights.items()}


def _routes(service: InferenceService, settings: Settings, split: dict[str, int]) -> list[Json]:
    if not any(split.values()):
        return []
    return _both(service, settings, {"split": split}, {"rewrite": {"prefix": "/"}})


def _stopped(service: InferenceService, settings: Settings) -> list[Json]:
    body = f"{service.name} is stopped\n"
    answer = {"respond": {"status": 503, "content_type": "text/plain", "body": body}}
    return _both(service, settings, answer, {})


def _both(service: InferenceService, settings: Settings, what: Json, by_path: Json) -> list[Json]:
    name = f"{service.namespace}.{service.name}"
    # Copies: what is written of one object twice becomes an alias in YAML, which people need not read.
    by_host = {"name": shortened(name), "hosts": hosts_of(service, settings), **what}
    path = f"/serving/{service.namespace}/{service.name}"
    return [by_host, {"name": shortened(f"{name}.path"), "paths": [path], **by_path, **deepcopy(what)}]
