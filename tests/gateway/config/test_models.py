"""The models: what a section takes, and what its keys must have to do with each other."""

from collections.abc import Callable

import pytest

from gateway.config import Address, Config
from gateway.routing import PathRule
from gateway.targets import ScaleTarget, ServiceTarget


def test_a_minimal_file_has_the_defaults(loaded: Callable[[str], Config]) -> None:
    """Backends and routes are all that must be said."""
    config = loaded("")
    assert (config.listen, config.admin, config.autoscaler.admin) == (
        Address("0.0.0.0", 8080),
        Address("127.0.0.1", 8081),
        Address("127.0.0.1", 8082),
    )
    timeouts = config.defaults.timeouts
    assert (timeouts.head, timeouts.connect, timeouts.response, timeouts.idle, timeouts.request) == (
        10,
        5,
        300,
        300,
        0,
    )
    assert (config.drain.delay, config.drain.timeout) == (0.0, 30.0)
    backend, route = config.backends["a"], config.routes[0]
    assert (backend.concurrency, backend.queue.depth, backend.queue.timeout, backend.cancel) == (
        0,
        100,
        60.0,
        "abort",
    )
    assert (route.hosts, route.paths) == (None, (PathRule("prefix", b"/"),))
    assert (route.expose_backend, route.half_close) == (False, False)


@pytest.mark.parametrize(
    ("target", "problems"),
    [
        (
            "{}",
            [": must have `deployment`, `statefulset`, `scale_target_ref`, `service`, `command` or `urls`"],
        ),
        (
            "{deployment: d}",
            [": required key 'port' is missing: the port that the pods listen on"],
        ),
        ("{deployment: d, port: 0}", [".port: must be between 1 and 65535, got 0"]),
        ("{deployment: d, port: 65536}", [".port: must be between 1 and 65535, got 65536"]),
        ("{deployment: d, port: http}", [".port: must be a number: only a Service's ports have names"]),
        ("{service: s, port: '80'}", [".port: '80' is a number: write it without quotes"]),
        (
            "{service: s, port: A_b}",
            [".port: 'A_b' is not a port's name: up to 15 small letters, digits and `-`"],
        ),
        ("{service: s, port: true}", [".port: must be a port's number or name, got true"]),
        (
            "{deployment: d, service: s, port: 80}",
            [".service: cannot stand beside `deployment`: a backend's pods have one owner"],
        ),
        (
            "{scale_target_ref: {kind: Llama, name: x}, port: 80}",
            [".scale_target_ref: required key 'apiVersion' is missing"],
        ),
        ("{deployment: 5, port: 80}", ['.deployment: must be text, got 5: quote it, "5"']),
        ("{command: []}", [".command: must name a program"]),
        (
            "{command: [python, s.py]}",
            [".command: must hold `{port}` where the port to listen on goes, here or in `env`"],
        ),
        ("{command: python s.py}", [".command: must be a list, got 'python s.py'"]),
        ("{command: [x, 5, '{port}']}", ['.command[1]: must be text, got 5: quote it, "5"']),
        ("{command: ['', '{port}']}", [".command[0]: must not be empty"]),
        ("{command: [x, '{port}'], env: {A=B: c}}", [".env.A=B: a variable's name may not hold `=`"]),
        ("{command: [x, '{port}'], env: {A: 1}}", ['.env.A: must be text, got 1: quote it, "1"']),
        ("{urls: []}", [".urls: must not be empty"]),
        ("{urls: [http://a, http://a/]}", [".urls[1]: http://a:80 is given twice"]),
        (
            "{urls: [http://a], command: [x, '{port}']}",
            [".urls: cannot stand beside `command`"],
        ),
        (
            "{urls: [http://a], port: 80, namespace: n, ready: /, env: {A: b}}",
            [
                f".{key}: belongs to a {owner}, and the target has none"
                for key, owner in (
                    ("namespace", "deployment, statefulset, scale_target_ref or service"),
                    ("port", "deployment, statefulset, scale_target_ref or service"),
                    ("env", "command"),
                    ("ready", "command"),
                )
            ],
        ),
    ],
)
def test_a_target_is_of_one_kind_and_whole(
    refused: Callable[[str], list[str]], target: str, problems: list[str]
) -> None:
    """What belongs together is given together, and nothing else."""
    assert refused(f"backends: {{a: {{target: {target}}}}}") == [
        f"x.yaml:1 backends.a.target{text}" for text in problems
    ]


@pytest.mark.parametrize(
    ("target", "timeout"),
    [
        ("{deployment: d, port: 80}", 300.0),
        ("{service: d, command: [x, '{port}']}", 300.0),
        ("{command: [x], env: {PORT: '{port}', EMPTY: ''}}", 300.0),
        ("{urls: [http://a]}", 5.0),
        ("{service: d}", 5.0),
    ],
)
def test_activation_waits_for_what_can_be_started(
    loaded: Callable[[str], Config], target: str, timeout: float
) -> None:
    """Nobody here can start fixed URLs or what is behind a Service, so requests wait 5 s for one to be back, not 300 s."""
    backend = loaded(f"backends: {{a: {{target: {target}}}}}").backends["a"]
    assert backend.activation_timeout == timeout


def test_activation_waits_as_long_as_it_is_told(loaded: Callable[[str], Config]) -> None:
    """A given timeout goes before the default of the kind."""
    text = "backends: {a: {target: {urls: [http://a]}, activation: {timeout: 1m}}}"
    assert loaded(text).backends["a"].activation_timeout == 60.0


def test_a_target_per_pod_may_not_exceed_the_limit(refused: Callable[[str], list[str]]) -> None:
    """The autoscaler would aim at more than a pod is ever given."""
    text = "backends:\n  a:\n    target: {urls: [http://h]}\n    concurrency: 2\n    scale:\n      target: 5"
    assert refused(text) == [
        "x.yaml:6 backends.a.scale.target: must not be above the backend's concurrency, 2, got 5"
    ]


def test_rps_has_nothing_to_do_with_the_limit(loaded: Callable[[str], Config]) -> None:
    """Requests per second are not requests at once."""
    text = "backends: {a: {target: {urls: [http://h]}, concurrency: 2, scale: {metric: rps, target: 5}}}"
    resolved = loaded(text).backends["a"].resolved_scale(runs_command=False)
    assert (resolved.metrics[0].total, resolved.metrics[0].type) == (5.0, "rps")


def test_more_than_ten_commands_need_a_max(refused: Callable[[str], list[str]]) -> None:
    """The default bound of ten is not silently raised."""
    text = "backends: {a: {target: {command: [x, '{port}']}, scale: {min: 11}}}"
    [line] = refused(text)
    assert line.startswith(
        "x.yaml:1 backends.a.scale: a target that runs a command has at most 10 pods unless `max`"
    )


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        ("hosts: [], split: {a: 1}", ".hosts: must not be empty: leave it out for any host"),
        ("paths: [], split: {a: 1}", ".paths: must not be empty: leave it out for every path"),
        ("split: {a: 0}", ".split: must give some backend a weight above 0"),
        ("split: {}", ".split: must give some backend a weight above 0"),
        ("split: {a: -1}", ".split.a: must be at least 0, got -1"),
        ("split: {a: 0.5}", ".split.a: must be a whole number, got 0.5"),
        ("split: {a: true}", ".split.a: must be a whole number, got true"),
        ("paths: [{exact: v1}], split: {a: 1}", ".paths[0].exact: 'v1' must begin with `/`"),
        ("hosts: ['*'], split: {a: 1}", ".hosts[0]: `*` is every host: leave `hosts` out instead"),
        (
            "timeouts: {head: 1s}, split: {a: 1}",
            ".timeouts: unknown key 'head' (there are: connect, idle, request, response)",
        ),
    ],
)
def test_a_route_leads_somewhere(refused: Callable[[str], list[str]], route: str, problem: str) -> None:
    """Hosts, paths and weights must be of use."""
    assert refused(f"routes: [{{name: r, {route}}}]") == [f"x.yaml:1 routes[0]{problem}"]


@pytest.mark.parametrize(
    ("target", "cluster"),
    [
        ("{deployment: d, port: 80}", ScaleTarget("apps/v1", "Deployment", "d", None, 80)),
        ("{statefulset: s, namespace: n, port: 80}", ScaleTarget("apps/v1", "StatefulSet", "s", "n", 80)),
        (
            "{scale_target_ref: {apiVersion: x.io/v1, kind: Set, name: s}, port: 80}",
            ScaleTarget("x.io/v1", "Set", "s", None, 80),
        ),
        ("{service: s, port: http}", ServiceTarget("s", None, "http")),
        ("{service: s}", ServiceTarget("s", None, None)),
        ("{urls: [http://a]}", None),
        ("{command: [x, '{port}']}", None),
    ],
)
def test_a_target_says_what_it_is_in_a_cluster(
    loaded: Callable[[str], Config], target: str, cluster: ScaleTarget | ServiceTarget | None
) -> None:
    """Four ways to name what owns the pods, and two that are not in a cluster."""
    assert loaded(f"backends: {{a: {{target: {target}}}}}").backends["a"].target.cluster == cluster


def test_gateways_are_named_by_urls_or_by_their_service(loaded: Callable[[str], Config]) -> None:
    """A headless Service stands for all that are behind it."""
    config = loaded("autoscaler: {gateways: {service: gw, namespace: n, port: admin}}")
    assert config.gateway_service == ServiceTarget("gw", "n", "admin")
    assert config.gateway_urls == ()
    assert loaded("autoscaler: {gateways: [http://a:1]}").gateway_service is None


def test_a_mistake_in_the_gateways_service_is_named(refused: Callable[[str], list[str]]) -> None:
    """With its place, as if there were no other way to give gateways."""
    assert refused("autoscaler: {gateways: {service: gw, ports: admin}}") == [
        "x.yaml:1 autoscaler.gateways: unknown key 'ports' (did you mean 'port'?)"
    ]
