"""From `priority`, `tenant` and `queue` to what orders requests that wait."""

from collections.abc import Callable

import pytest

from gateway.backend import Backend, Limits
from gateway.config import Config, ConfigError, build_table, limits_of
from gateway.routing import Route
from gateway.standing import ANYONE, Ranking, Standing
from gateway.terms import BackendRef

Loaded = Callable[[str], Config]
HEAD = "forwarded: {trusted_proxies: [10.0.0.0/8]}\nbackends:\n  a: {target: {urls: [http://a]}, concurrency: 1, queue: {%s}}\n  b: {target: {urls: [http://b]}}\nroutes:\n"
PLAIN = "  - {name: plain, paths: [/plain], split: {a: 1, b: 1}}\n"


def built(config: Config, name: str = "r") -> Route[BackendRef]:
    backends = {name: Backend(name, Limits(), 0.0) for name in config.backends}
    return build_table(config, backends).routes[name]


def route(text: str, queue: str = "depth: 5") -> str:
    return f"{HEAD % queue}  - {{name: r, split: {{a: 1}}, {text}}}\n{PLAIN}"


def test_a_number_costs_a_route_nothing(loaded: Loaded) -> None:
    """It stands in its refs; there is no Steering."""
    made = built(loaded(route("priority: -5")))
    assert (made.steering, made.choose().standing) == (None, Standing(-5))
    plain = built(loaded(route("priority: -5")), "plain")
    assert (plain.steering, plain.choose().standing) == (None, ANYONE)


def test_headers_are_read_where_they_are_asked_for(loaded: Loaded) -> None:
    """Names in lower case; nobody is believed unless that is written."""
    made = built(
        loaded(route("priority: {header: X-Priority, default: 2}, tenant: {header: X-Tenant, trust: true}"))
    )
    assert made.steering is not None
    assert made.steering.ranking == Ranking(2, b"x-priority", tenant_field=b"x-tenant", tenant_of_anyone=True)


def test_a_backend_that_counts_use_is_told_by_all_of_its_routes(loaded: Loaded) -> None:
    """Those without tenants are one more."""
    config = loaded(route("tenant: {header: x}", queue="fairness: least_use"))
    steering = built(config, "plain").steering
    assert steering is not None
    assert steering.ranking == Ranking()


@pytest.mark.parametrize(
    ("text", "queue", "expected"),
    [
        pytest.param("timeouts: {}", "depth: 1", ("fifo", "fifo"), id="nothing is asked for"),
        pytest.param("priority: 1", "depth: 1", ("round_robin", "fifo"), id="a priority"),
        pytest.param("tenant: {header: x}", "depth: 1", ("round_robin", "fifo"), id="tenants"),
        pytest.param("tenant: {header: x}", "fairness: least_use", ("least_use", "fifo"), id="use"),
    ],
)
def test_a_queue_is_a_plain_line_unless_somebody_needs_more(
    loaded: Loaded, text: str, queue: str, expected: tuple[str, str]
) -> None:
    """That is for all of the Backend's Routes to say."""
    disciplines = loaded(route(text, queue)).disciplines()
    assert (disciplines["a"], disciplines["b"]) == expected


def test_a_queues_bounds_reach_its_backend(loaded: Loaded) -> None:
    """Count, bytes, seconds and order."""
    config = loaded(route("priority: 1", "depth: 7, bytes: 1MiB, timeout: 3s"))
    limits = limits_of(config.backends["a"], config.disciplines()["a"])
    assert (limits.depth, limits.bytes, limits.queue_timeout, limits.discipline) == (
        7,
        2**20,
        3.0,
        "round_robin",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "priority: high",
            "routes[0].priority: must be an integer, or a mapping with a `header`, got 'high'",
        ),
        ("priority: true", "routes[0].priority: must be an integer, or a mapping with a `header`, got true"),
        ("priority: 101", "routes[0].priority: must be between -100 and 100, got 101"),
        ("priority: {default: 1}", "routes[0].priority: must have a `header`: without one, write a number"),
        ("priority: {header: host}", "routes[0].priority.header: `host` is what `hosts` is for"),
        ("tenant: {trust: true}", "routes[0].tenant: required key 'header' is missing"),
    ],
)
def test_what_cannot_be_is_told(loaded: Loaded, text: str, problem: str) -> None:
    """In one line each, with what to do."""
    with pytest.raises(ConfigError) as caught:
        loaded(route(text))
    assert [str(each).partition(" ")[2] for each in caught.value.problems] == [problem]


def test_a_header_that_nobody_is_believed_about_is_a_warning(loaded: Loaded) -> None:
    """So is fairness between tenants that nobody tells."""
    text = route("priority: {header: x-p}", "fairness: round_robin").replace("10.0.0.0/8", "")
    warnings = [str(each).partition(" ")[2] for each in loaded(text).warnings]
    assert warnings == [
        "routes[0].priority: nobody's x-p is believed: name who sends it in forwarded.trusted_proxies, or write `trust: true` to believe everyone",
        "backends.a.queue.fairness: no route to this backend has a `tenant`: there is nobody to be fair to",
    ]


def test_turns_where_nobody_waits_are_a_warning(loaded: Loaded) -> None:
    """Without a limit every request goes to a pod at once."""
    text = route("tenant: {header: x-t, trust: true}", "fairness: round_robin").replace(
        "concurrency: 1", "concurrency: 0"
    )
    warnings = [str(each).partition(" ")[2] for each in loaded(text).warnings]
    assert warnings == [
        "routes[0].tenant: changes nothing: without `concurrency` nobody waits while a pod is ready; none of its backends has it",
        "backends.a.queue.fairness: changes nothing: without `concurrency` nobody waits while a pod is ready",
    ]
