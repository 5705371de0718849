"""What pydantic refuses, in plain words: every kind of mistake as the line that a person reads."""

from collections.abc import Callable

import pytest
from pydantic import BaseModel, ValidationError

from gateway.config.explain import explain, listing, nearest

Refused = Callable[[str], list[str]]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("drain: 5", ["x.yaml:1 drain: must be a mapping of keys to values, got 5"]),
        ("drain: [a]", ["x.yaml:1 drain: must be a mapping of keys to values, got a list"]),
        ("log_dir: 5", ['x.yaml:1 log_dir: must be text, got 5: quote it, "5"']),
        ("log_dir: true", ['x.yaml:1 log_dir: must be text, got true: quote it, "true"']),
        ("log_dir: [a]", ["x.yaml:1 log_dir: must be text, got a list"]),
        ("log_dir: ''", ["x.yaml:1 log_dir: must not be empty"]),
        ('log_dir: "a\\0b"', ["x.yaml:1 log_dir: 'a\\x00b' holds a NUL character"]),
        (
            "autoscaler: {gateways: http://a}",
            ["x.yaml:1 autoscaler.gateways: must be a list, got 'http://a'"],
        ),
        (
            "defaults:\n  timeouts:\n    haed: 1s",
            ["x.yaml:3 defaults.timeouts: unknown key 'haed' (did you mean 'head'?)"],
        ),
        (
            "drain:\n  xyz: 1s",
            ["x.yaml:2 drain: unknown key 'xyz' (there are: delay, timeout)"],
        ),
        ("rotes: 1", ["x.yaml:1: unknown key 'rotes' (did you mean 'routes'?)"]),
        ("drain:", ["x.yaml:1 drain: has no value: give one, or remove the key"]),
    ],
)
def test_a_mistake_in_a_section_is_named(refused: Refused, text: str, lines: list[str]) -> None:
    """File, line, path, what was found."""
    assert refused(text) == lines


@pytest.mark.parametrize(
    ("backend", "problem"),
    [
        ("concurrency: 1.5", "concurrency: must be a whole number, got 1.5"),
        ("concurrency: true", "concurrency: must be a whole number, got true"),
        ("concurrency: '2'", "concurrency: must be a whole number, got '2'"),
        ("concurrency: -1", "concurrency: must be at least 0, got -1"),
        ("concurrency: 1000001", "concurrency: must be at most 1000000, got 1000001"),
        ("cancel: never", "cancel: must be 'abort' or 'hold', got 'never'"),
        ("scale: {max_scale_up_rate: 1}", "scale.max_scale_up_rate: must be more than 1, got 1"),
        ("scale: {max_scale_up_rate: fast}", "scale.max_scale_up_rate: must be a number, got 'fast'"),
        ("scale: {target: .nan}", "scale.target: must be a finite number, got nan"),
        ("scale: {target: .inf}", "scale.target: must be a finite number, got inf"),
        ("scale: {utilisation: 70%}", "scale: unknown key 'utilisation' (did you mean 'utilization'?)"),
        (
            "timeouts: {head: 1s}",
            "timeouts: unknown key 'head' (there are: connect, idle, request, response)",
        ),
        ("quue: {depth: 1}", ": unknown key 'quue' (did you mean 'queue'?)"),
    ],
)
def test_a_mistake_in_a_backend_is_named(refused: Refused, backend: str, problem: str) -> None:
    """With the backend's name in the path."""
    separator = "" if problem.startswith(":") else "."
    text = f"backends:\n  a:\n    target: {{urls: [http://h]}}\n    {backend}"
    assert refused(text) == [f"x.yaml:4 backends.a{separator}{problem}"]


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        (
            "name: r\n    expose_backend: yes\n    split: {a: 1}",
            "3 routes[0].expose_backend: must be true or false, got 'yes'",
        ),
        ("name: r", "2 routes[0]: must have one of split, redirect or respond, got none of them"),
        ("name:\n    split: {a: 1}", "2 routes[0].name: has no value: give one, or remove the key"),
        (
            "name: r\n    split: {a: 1}\n    rulez: []",
            "4 routes[0]: unknown key 'rulez' (did you mean 'rules'?)",
        ),
        (
            "name: a b\n    split: {a: 1}",
            "2 routes[0].name: 'a b' is not a name: use up to 127 letters, digits, `.`, `_` and `-`, the first a letter or a digit",
        ),
    ],
)
def test_a_mistake_in_a_route_is_named(refused: Refused, route: str, problem: str) -> None:
    """With the route's place in the list, and the line of the key."""
    assert refused(f"routes:\n  - {route}") == [f"x.yaml:{problem}"]


def test_a_bad_name_of_a_backend_is_named(refused: Refused) -> None:
    """A key is at fault, not its value."""
    text = "backends:\n  a b: {target: {urls: [http://h]}}\nroutes: [{name: r, split: {a b: 1}}]"
    [line] = refused(text)
    assert line.startswith("x.yaml:2 backends.a b: 'a b' is not a name: use up to 127 letters")


def test_a_path_to_probe_must_be_one(refused: Refused) -> None:
    """`ready` begins with a slash."""
    text = "backends: {a: {target: {command: [x, '{port}'], ready: health}}}"
    assert refused(text) == [
        "x.yaml:1 backends.a.target.ready: 'health' is not a path: it must begin with `/` and be written as clients send it"
    ]


class Other(BaseModel):
    """A field whose error nobody has worded."""

    when: bytes
    pair: tuple[int, str] = (0, "")
    kinds: dict[str, dict[str, int]] = {}


def test_an_error_without_words_of_ours_keeps_pydantics() -> None:
    """With the value, and a small letter in front."""
    with pytest.raises(ValidationError) as caught:
        Other.model_validate({"when": 5})
    [fault] = explain(caught.value, Other, ())
    assert fault.text == "input should be a valid bytes, got 5"


def test_the_nearest_name_is_searched_among_few_enough() -> None:
    """Among thousands the search would take longer than the person's look at the file."""
    assert nearest("iris-v3", ["iris-v1", "rose"]) == " (did you mean 'iris-v1'?)"
    assert nearest("iris-v3", [f"iris-v{i}" for i in range(1000)]) == ""


def test_names_are_listed_while_they_are_few() -> None:
    """In order; none is said too."""
    assert listing(["b", "a"]) == " (there are: a, b)"
    assert listing([]) == " (there are: none)"
    assert listing(map(str, range(13))) == ""
