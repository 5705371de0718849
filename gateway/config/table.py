"""Routing objects from the configuration: the only place where the models meet the routing core."""

from collections.abc import Mapping
from functools import lru_cache

from gateway.backend import Backend
from gateway.config.load import Config
from gateway.config.models import BackendConfig
from gateway.config.retries import Retries
from gateway.config.routes import RouteConfig
from gateway.config.timeouts import Timeouts as DefaultTimeouts
from gateway.retries import RetryPolicy
from gateway.routing import Route, RouteTable
from gateway.splits import Split
from gateway.terms import BackendRef, Timeouts

_STEPS = ("connect", "response", "idle", "request")


def build_table(
    config: Config,
    backends: Mapping[str, Backend],
    previous: RouteTable[BackendRef] | None = None,
) -> RouteTable[BackendRef]:
    """The table of `config` over the objects in `backends`, which must hold every Backend that a Route names.

    Splits go on from `previous` where names and shares are the same. It touches nothing that lives on the event loop, so
    it may run beside it.
    """
    return RouteTable((_route(config, route, backends) for route in config.routes), previous)


def _route(config: Config, route: RouteConfig, backends: Mapping[str, Backend]) -> Route[BackendRef]:
    refs = {name: _ref(config, route, name, backends[name]) for name in route.split}
    return Route(route.name, Split(refs, route.split), hosts=route.hosts or (), paths=route.paths)


def _ref(config: Config, route: RouteConfig, name: str, backend: Backend) -> BackendRef:
    return BackendRef(
        backend,
        route.name,
        resolve_timeouts(config.defaults.timeouts, config.backends[name], route),
        resolve_retries(config.defaults.retries, config.backends[name], route),
        body_limit=config.defaults.body_limit if route.body_limit is None else route.body_limit,
        expose_backend=route.expose_backend,
        half_close=route.half_close,
    )


def resolve_timeouts(defaults: DefaultTimeouts, backend: BackendConfig, route: RouteConfig) -> Timeouts:
    """The Route's own, else the Backend's, else the defaults, for each step by itself."""
    resolved = {step: getattr(defaults, step) for step in _STEPS}
    for overrides in (backend.timeouts, route.timeouts):
        resolved |= {step: value for step, value in overrides if value is not None}
    return Timeouts(**resolved)


def resolve_retries(defaults: Retries, backend: BackendConfig, route: RouteConfig) -> RetryPolicy:
    """In the same order, each key by itself."""
    resolved = dict(defaults)
    for overrides in (backend.retries, route.retries):
        resolved |= {key: value for key, value in overrides if value is not None}
    return _policy(**resolved)


@lru_cache(maxsize=256)
def _policy(
    on: tuple[str | int, ...], methods: tuple[str, ...], body_limit: int, budget: float
) -> RetryPolicy:
    """One object for all who want the same: a thousand Routes rarely have more than a few."""
    return RetryPolicy(frozenset(on), frozenset(method.encode() for method in methods), body_limit, budget)
