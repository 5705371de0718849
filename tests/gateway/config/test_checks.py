"""Checks across sections, on as much of the file as can be read."""

from collections.abc import Callable

import pytest

from gateway.config import Config

Refused = Callable[[str], list[str]]


def test_an_unknown_backend_is_named_with_those_there_are(refused: Refused) -> None:
    """At the line of its weight."""
    text = """backends:
  iris-v1: {target: {urls: [http://a]}}
  iris-v2: {target: {urls: [http://b]}}
routes:
  - name: iris
    split:
      iris-v1: 90
      iris-v3: 10
"""
    assert refused(text) == [
        "x.yaml:8 routes[0].split: unknown backend 'iris-v3' (there are: iris-v1, iris-v2)"
    ]


def test_among_many_backends_the_nearest_is_named(refused: Refused) -> None:
    """A list of dozens helps nobody."""
    backends = ", ".join(f"iris-{i:02}: {{target: {{urls: [http://a]}}}}" for i in range(20))
    text = f"backends: {{{backends}}}\nroutes: [{{name: r, split: {{irs-07: 1}}}}]"
    assert refused(text) == ["x.yaml:2 routes[0].split: unknown backend 'irs-07' (did you mean 'iris-07'?)"]


def test_a_backend_that_is_wrong_itself_is_not_unknown(refused: Refused) -> None:
    """One mistake is one line."""
    assert refused("backends: {a: {target: {urls: [ftp://a]}}}") == [
        "x.yaml:1 backends.a.target.urls[0]: 'ftp://a' is not a URL of the form http://HOST:PORT"
    ]


def test_two_routes_may_not_have_one_name(refused: Refused) -> None:
    """The second is at fault."""
    text = "routes:\n  - {name: r, paths: [/a], split: {a: 1}}\n  - {name: r, paths: [/b], split: {a: 1}}"
    assert refused(text) == ["x.yaml:3 routes[1].name: 'r' is the name of routes[0] already"]


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("paths: [/a, /b]", "paths: [/c, /b]", "[1].paths[1]: /b on any host belongs to route 'one' already"),
        ("hosts: [X.org]", "hosts: [x.org.]", "[1]: / on host x.org belongs to route 'one' already"),
        (
            "paths: [{exact: /a}]",
            "paths: [{exact: /a}]",
            "[1].paths[0]: exact /a on any host belongs to route 'one' already",
        ),
        ("paths: [/a, /a]", "paths: [/b]", "[0].paths[1]: /a on any host is given twice"),
    ],
)
def test_a_host_and_path_belong_to_one_route(refused: Refused, first: str, second: str, problem: str) -> None:
    """However they are written."""
    text = f"routes: [{{name: one, {first}, split: {{a: 1}}}}, {{name: two, {second}, split: {{a: 1}}}}]"
    assert refused(text) == [f"x.yaml:1 routes{problem}"]


def test_what_differs_is_no_clash(loaded: Callable[[str], Config]) -> None:
    """Another kind of path, another host, and one host given twice."""
    text = """routes:
  - {name: one, paths: [/a, {exact: /a}], split: {a: 1}}
  - {name: two, hosts: [x.org, x.org], paths: [/a], split: {a: 1}}
"""
    assert len(loaded(text).routes) == 2


def test_all_problems_of_a_file_are_reported_at_once(refused: Refused) -> None:
    """Wrong fields do not hide wrong relations, in whatever section."""
    text = """backends:
  a: {target: {urls: [http://h]}, concurrency: -1}
  b: {target: {}}
routes:
  - {name: r, split: {c: 1.5, a: x}}
  - {name: r, hosts: ['*'], split: {b: 1}}
  - 5
  - {paths: [/], split: [a]}
  - {name: 7, split: {a: 1}}
listen: 80
"""
    assert refused(text) == [
        "x.yaml:2 backends.a.concurrency: must be at least 0, got -1",
        "x.yaml:3 backends.b.target: must have `deployment`, `statefulset`, `scale_target_ref`, `service`, `command` or `urls`",
        "x.yaml:5 routes[0].split.c: must be a whole number, got 1.5",
        "x.yaml:5 routes[0].split.a: must be a whole number, got 'x'",
        "x.yaml:5 routes[0].split: unknown backend 'c' (there are: a, b)",
        "x.yaml:6 routes[1].hosts[0]: `*` is every host: leave `hosts` out instead",
        "x.yaml:6 routes[1].name: 'r' is the name of routes[0] already",
        "x.yaml:7 routes[2]: must be a mapping of keys to values, got 5",
        "x.yaml:8 routes[3]: required key 'name' is missing",
        "x.yaml:8 routes[3].split: must be a mapping of keys to values, got a list",
        "x.yaml:8 routes[3].paths[0]: / on any host belongs to route 'r' already",
        'x.yaml:9 routes[4].name: must be text, got 7: quote it, "7"',
        "x.yaml:9 routes[4]: / on any host belongs to route 'r' already",
        "x.yaml:10 listen: must be HOST:PORT, got 80: write 127.0.0.1:80, or :80 for every interface",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("routes: 5", "x.yaml:1 routes: must be a list, got 5"),
        ("backends: 5", "x.yaml:1 backends: must be a mapping of keys to values, got 5"),
    ],
)
def test_sections_of_the_wrong_shape_are_one_problem(refused: Refused, text: str, line: str) -> None:
    """Nothing can be said about what is in them."""
    assert refused(text) == [line]


def test_the_two_listeners_need_two_ports(refused: Refused) -> None:
    """Every interface includes 127.0.0.1."""
    assert refused("listen: :9000\nadmin: 127.0.0.1:9000") == [
        "x.yaml:2 admin: 127.0.0.1:9000 is taken by `listen`, :9000: give them different ports"
    ]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "backends:\n  a: {target: {urls: [http://a]}}\n  b: {target: {urls: [http://b]}}",
            "x.yaml:3 backends.b: no route uses this backend",
        ),
        (
            "backends: {a: &b {target: {urls: [http://a]}}, b: *b}\nroutes: [{name: r, split: {a: 99999, b: 1}}]",
            "x.yaml:2 routes[0].split: the weights make a cycle of more than 10,000 requests: shares are rounded to fit",
        ),
        (
            "backends:\n  a:\n    target: {urls: [http://a]}\n    scale: {by: hpa}",
            "x.yaml:4 backends.a.scale.by: changes nothing: an HPA scales objects in a cluster, as `deployment` names one",
        ),
        (
            "backends:\n  a:\n    target: {urls: [http://a]}\n    scale: {min: 1}",
            "x.yaml:4 backends.a.scale.min: changes nothing: others run these pods, and Tidegate only tells how many would be wanted",
        ),
        (
            "backends:\n  a:\n    target: {urls: [http://a]}\n    scale: {metrics: [{type: cpu, target: 50%}]}",
            "x.yaml:4 backends.a.scale.metrics[0]: will always be missing: the cpu that pods of others use cannot be seen",
        ),
        (
            "forwarded:\n  trusted_proxies: [10.0.0.0/8, 0.0.0.0/0]",
            "x.yaml:2 forwarded.trusted_proxies[1]: 0.0.0.0/0 is everyone: any client can pretend to be any other",
        ),
    ],
)
def test_what_is_odd_but_usable_is_a_warning(
    loaded: Callable[[str], Config], text: str, warning: str
) -> None:
    """The file loads; `check` prints the warning."""
    assert [str(problem) for problem in loaded(text).warnings] == [warning]


def test_two_backends_cannot_scale_one_object(refused: Callable[[str], list[str]]) -> None:
    """Each would undo what the other decided; two Services may be the same."""
    text = (
        "backends:\n  a:\n    target: {deployment: d, port: 80}\n  b:\n    target: {deployment: d, port: 81}"
    )
    assert refused(text) == ["x.yaml:5 backends.b.target: Deployment 'd' is scaled by backend 'a' already"]
