"""Routing objects from the configuration: the only place where the models meet the routing core."""

from collections.abc import Mapping
from functools import lru_cache

from gateway.backend import Backend
from gateway.config.load import Config
from gateway.config.models import BackendConfig
from gateway.config.queues import ranking
from gateway.config.retries import Retries
from gateway.config.routes import RouteConfig, RuleConfig
from gateway.config.timeouts import Timeouts as DefaultTimeouts
from gateway.limits import PANIC, Limits
from gateway.picking import Picking
from gateway.queues import Discipline
from gateway.retries import RetryPolicy
from gateway.routing import Route, RouteTable
from gateway.splits import Split
from gateway.standing import ANYONE, Ranking, Standing
from gateway.steering import Rule, Steering
from gateway.sticky import Rendezvous
from gateway.terms import BackendRef, Timeouts

_STEPS = ("connect", "response", "idle", "request")


def build_table(
    config: Config,
    backends: Mapping[str, Backend],
    previous: RouteTable[BackendRef] | None = None,
    secrets: Mapping[str, bytes] | None = None,
) -> RouteTable[BackendRef]:
    """The table of `config` over the objects in `backends`, which must hold every Backend that a Route names; `secrets` holds what is in
    the files that `Config.secret_files` names.

    Splits go on from `previous` where names and shares are the same. It touches nothing that lives on the event loop, so
    it may run beside it.
    """
    return RouteTable((_route(config, route, backends, secrets or {}) for route in config.routes), previous)


def _route(
    config: Config, route: RouteConfig, backends: Mapping[str, Backend], secrets: Mapping[str, bytes]
) -> Route[BackendRef]:
    refs = {name: _ref(config, route, name, backends[name]) for name in route.backends}
    return Route(
        route.name,
        Split(refs, route.split),
        hosts=route.hosts or (),
        paths=route.paths,
        conditions=route.conditions(route.look, *route.aliases),
        steering=_steering(route, refs, secrets, _ranking(config, route)),
    )


def _ranking(config: Config, route: RouteConfig) -> Ranking | None:
    """How a request's header tells what it is to a queue; None: it does not, and no Backend of the Route counts what it uses."""
    counted = any(config.backends[name].queue.fairness == "least_use" for name in route.backends)
    if route.priority.header is None and route.tenant is None and not counted:
        return None
    return ranking(route.priority, route.tenant)


def _steering(
    route: RouteConfig,
    refs: Mapping[str, BackendRef],
    secrets: Mapping[str, bytes],
    ranking: Ranking | None,
) -> Steering | None:
    """What the Route does beyond its split; None: nothing."""
    hashed = any(ref.affinity is not None for ref in refs.values())
    if not (route.rules or route.tags or route.sticky or route.aliases or hashed or ranking):
        return None
    sticky = None
    if route.sticky is not None:
        file = route.sticky.cookie.secret_file if route.sticky.cookie is not None else None
        sticky = route.sticky.built(b"" if file is None else secrets[file])
    return Steering(
        rules=tuple(_rule(route, rule, refs) for rule in route.rules),
        tags={tag.encode(): refs[name] for tag, name in route.tags.items()},
        sticky=sticky,
        keyed=_keyed(route, route.split, refs),
        aliases=route.aliases,
        look=route.look,
        ranking=ranking,
    )


def _rule(route: RouteConfig, rule: RuleConfig, refs: Mapping[str, BackendRef]) -> Rule:
    conditions = rule.conditions(route.look)
    assert conditions is not None  # noqa: S101  # such a rule is refused
    return Rule(conditions, Split(refs, rule.split), _keyed(route, rule.split, refs))


def _keyed(
    route: RouteConfig, split: Mapping[str, int], refs: Mapping[str, BackendRef]
) -> Rendezvous[BackendRef] | None:
    if route.sticky is None:
        return None
    return Rendezvous((name, weight, refs[name]) for name, weight in split.items())


def _ref(config: Config, route: RouteConfig, name: str, backend: Backend) -> BackendRef:
    hashes = config.backends[name].pick.consistent_hash
    return BackendRef(
        backend,
        route.name,
        resolve_timeouts(config.defaults.timeouts, config.backends[name], route),
        resolve_retries(config.defaults.retries, config.backends[name], route),
        body_limit=config.defaults.body_limit if route.body_limit is None else route.body_limit,
        expose_backend=route.expose_backend,
        half_close=route.half_close,
        standing=_standing(route.priority.default),
        affinity=None if hashes is None else hashes.affinity(route.look),
    )


def limits_of(config: BackendConfig, discipline: Discipline) -> Limits:
    """What a Backend allows, and how it picks."""
    hashes, ejection = config.pick.consistent_hash, config.ejection
    return Limits(
        concurrency=config.concurrency,
        depth=config.queue.depth,
        queue_timeout=config.queue.timeout,
        activation_timeout=config.activation_timeout,
        hold=config.cancel == "hold",
        paused=config.scale.pause,
        bytes=config.queue.bytes,
        discipline=discipline,
        picking=Picking(
            config.pick.policy, hashes.bound if hashes is not None else 0.0, warm=config.slow_start > 0
        ),
        slow_start=config.slow_start,
        ejection=None if ejection is None else ejection.policy,
        panic=PANIC if ejection is None else ejection.panic_threshold,
        checked=config.health is not None,
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


@lru_cache(maxsize=256)
def _standing(priority: int) -> Standing:
    return Standing(priority) if priority else ANYONE
