"""How problems print."""

import pytest

from gateway.config.problems import ConfigError, Problem, printable, shorten, show, where


def test_a_problem_prints_file_line_path_and_text() -> None:
    """The one line that a person reads."""
    problem = Problem("config/x.yaml", 12, "routes[0].split", "unknown backend 'iris-v3'")
    assert str(problem) == "config/x.yaml:12 routes[0].split: unknown backend 'iris-v3'"


def test_a_problem_with_the_file_itself_has_neither_line_nor_path() -> None:
    """Only the file is named."""
    assert str(Problem("x.yaml", None, "", "there is no such file")) == "x.yaml: there is no such file"


def test_a_problem_stays_on_its_line_and_off_the_terminal() -> None:
    """Line breaks and escapes that the file brought are shown, not obeyed."""
    assert str(Problem("x.yaml", 1, "a\nb", "\x1b[31m\u2028")) == "x.yaml:1 a\\nb: \\x1b[31m\\u2028"
    assert printable("plain") == "plain"


def test_an_error_holds_all_problems() -> None:
    """One line each."""
    error = ConfigError([Problem("a", 1, "", "x"), Problem("a", 2, "", "y")])
    assert str(error) == "a:1: x\na:2: y"
    assert len(error.problems) == 2


def test_a_key_path_prints_as_people_write_it() -> None:
    """Dots for keys, brackets for places in lists."""
    assert where(("routes", 0, "split")) == "routes[0].split"
    assert where(()) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "nothing"), (True, "true"), ({}, "a mapping"), ([], "a list"), ("a", "'a'"), (1.5, "1.5")],
)
def test_a_value_is_shown_as_in_the_file(value: object, text: str) -> None:
    """YAML's words, not Python's."""
    assert show(value) == text


def test_long_text_is_cut() -> None:
    """Sixty characters say enough."""
    assert shorten("x" * 100) == "x" * 59 + "…"
