"""Which regular expressions a client could make slow."""

from collections.abc import Callable

import pytest

from gateway.config import Config
from gateway.config.patterns import is_slow

SLOW = [
    rb"/([a-z]+)*x",
    rb"(a*)*b",
    rb"(?:a+)+$",
    rb"(\w+\s?)*!",
    rb"((ab)*c?)*d",
    rb"(a+|b)*c",
    rb"(?:[^/]+a)*x",
    rb"(a{1,20}){1,20}b",
    rb"x(?=(a+)+b)",
    rb"(/[a-z/]+)*x",
    rb"(.*)*",
    rb"(a+?)*b",
    rb"(?i)/([a-z]+K)*!",
    rb"(?i)/(A[a-z]+)*!",
    rb"/(a|ab|b)*c",
    rb"/(a|aa)+x",
    rb"/([a-z]{1,9})*x",
    rb"(aa?)*b",
]
QUICK = [
    rb"/v[12]/.*",
    rb"(/[a-z]+)*/x",
    rb"[0-9]+(\.[0-9]+)*",
    rb"([a-z]++)*x",
    rb"(?>(a+))*b",
    rb"(a|b)*c",
    rb"(a{1,3}){1,3}",
    rb"(/[^/]+)+",
    rb"(-\w+)*",
    rb"a*b*c*",
    rb"(?i:[a-z]*)",
    rb"(?:a+)?b",
    rb"(foo|bar)*x",
    rb"(v[0-9]?)*",
    rb"/api/v[0-9]+/(models|jobs)/[^/]+",
]


@pytest.mark.parametrize("pattern", SLOW, ids=repr)
def test_what_repeats_within_what_repeats_is_slow(pattern: bytes) -> None:
    """A turn of one may be many of the other."""
    assert is_slow(pattern)


@pytest.mark.parametrize("pattern", QUICK, ids=repr)
def test_what_can_be_divided_in_one_way_only_is_quick(pattern: bytes) -> None:
    """Something stands between two turns, or nothing is given back."""
    assert not is_slow(pattern)


def test_a_slow_one_is_a_warning_wherever_it_stands(loaded: Callable[[str], Config]) -> None:
    """In a path, a condition, a rule."""
    text = """backends: {a: {target: {urls: [http://a]}}}
routes:
  - {name: r, split: {a: 1}, paths: [/x, {regex: "/([a-z]+)*x"}], headers: {x-a: {regex: "(a+)+"}}}
  - {name: s, split: {a: 1}, rules: [{query: {q: {regex: "(b*)*c"}, p: {regex: "[a-z]+"}}, split: {a: 1}}]}
"""
    places = [str(problem).split(": ")[0] for problem in loaded(text).warnings]
    assert places == [
        "x.yaml:3 routes[0].paths[1]",
        "x.yaml:3 routes[0].headers.x-a",
        "x.yaml:4 routes[1].rules[0].query.q",
    ]
