"""The `retries` section: what may be written there. How its three places are joined is in test_table.py."""

from collections.abc import Callable

import pytest

from gateway.config import Config
from gateway.config.table import resolve_retries
from gateway.retries import RetryPolicy

Loaded = Callable[[str], Config]
Refused = Callable[[str], list[str]]


def test_without_a_word_the_core_s_policy_holds(loaded: Loaded) -> None:
    """The defaults stand in two places, and are the same."""
    config = loaded("")
    assert resolve_retries(config.defaults.retries, config.backends["a"], config.routes[0]) == RetryPolicy()


def test_all_of_it_is_read(loaded: Loaded) -> None:
    """Lists may be empty; any status from 500 on may stand there."""
    retries = loaded(
        "defaults: {retries: {on: [reset, 500, 599], methods: [], body_limit: 1MiB, budget: 0.5}}"
    ).defaults.retries
    assert (retries.on, retries.methods) == (("reset", 500, 599), ())
    assert (retries.body_limit, retries.budget) == (2**20, 0.5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("on: [499]", "on[0]: must be connect, reset, or a status from 500 to 599, got 499"),
        ("on: [connect, 600]", "on[1]: must be connect, reset, or a status from 500 to 599, got 600"),
        ("on: [timeout]", "on[0]: must be connect, reset, or a status from 500 to 599, got 'timeout'"),
        ('on: ["503"]', "on[0]: must be connect, reset, or a status from 500 to 599, got '503'"),
        ("on: [true]", "on[0]: must be connect, reset, or a status from 500 to 599, got true"),
        ("on: reset", "on: "),
        ("methods: [get]", "methods[0]: "),
        ("methods: [CONNECT]", "methods[0]: "),
        ("body_limit: 64KB", "body_limit: '64KB' is not a size: write 64KiB"),
        ("budget: 0%", "budget: must be between 1% and 100%, got 0%"),
        ("tries: 3", "unknown key 'tries'"),
    ],
)
@pytest.mark.parametrize(
    "place",
    [
        "defaults: {{retries: {{{}}}}}",
        "backends: {{a: {{target: {{urls: [http://a]}}, retries: {{{}}}}}}}",
        "routes: [{{name: r, split: {{a: 1}}, retries: {{{}}}}}]",
    ],
    ids=["defaults", "backend", "route"],
)
def test_what_is_wrong_is_named(refused: Refused, place: str, text: str, problem: str) -> None:
    """With its place, wherever the section stands."""
    (line,) = refused(place.format(text))
    assert problem in line
    assert "retries" in line
