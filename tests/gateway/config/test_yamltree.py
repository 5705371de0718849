"""YAML to a tree with lines: what is understood, and how hostile text ends."""

import math

import pytest
import yaml

from gateway.config import yamltree
from gateway.config.yamltree import YamlError, compose


def plain(text: str) -> object:
    root, faults = compose(text)
    assert root is not None
    assert faults == []
    return root.plain()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("9" * 61, "9" * 61),
    ],
)
def test_a_scalar_follows_the_core_schema(text: str, value: object) -> None:
    """YAML 1.2's: no surprises from `on`, `yes`, times and dates; quoted is text."""
    assert plain(f"a: {text}") == {"a": value}


def test_not_a_number_is_one() -> None:
    """.nan is read, so that models can refuse it by its name."""
    assert math.isnan(plain("a: .NaN")["a"])  # type: ignore[index]


def test_keys_are_text() -> None:
    """A backend may be called 1 or null."""
    assert plain("{1: a, null: b, true: c}") == {"1": "a", "null": "b", "true": "c"}


def test_anchors_and_merge_keys_work() -> None:
    """What a mapping says itself goes before what it merges, and the first merged before the second."""
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\nd: {<<: *a}\ne: [*a]\n&k f: 1\ng: {*k : 2}"
    assert plain(text) == {
        "a": {"x": 1, "y": 1},
        "b": {"y": 2, "z": 2},
        "c": {"x": 3, "y": 1, "z": 2},
        "d": {"x": 1, "y": 1},
        "e": [{"x": 1, "y": 1}],
        "f": 1,
        "g": {"f": 2},
    }


def test_a_quoted_merge_key_is_a_key() -> None:
    """Only the plain `<<` merges."""
    assert plain('{"<<": 1}') == {"<<": 1}


def test_keys_without_a_value_are_left_out_and_named() -> None:
    """So that nobody mistakes them for a value."""
    root, _ = compose("a:\nb: [{c: ~}, d]\ne: null")
    assert root is not None
    assert root.plain() == {"b": [{}, "d"]}
    assert list(root.blanks()) == [("a",), ("b", 0, "c"), ("e",)]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("a",), 1),
        (("a", "b"), 2),
        (("a", "c"), 4),
        (("a", "c", 1), 5),
        (("a", "missing"), 1),
        (("a", "c", 7), 4),
        (("a", "b", "deeper"), 2),
    ],
)
def test_a_path_has_the_line_of_its_key(path: tuple[str | int, ...], line: int) -> None:
    """Or of the nearest that exists above it."""
    root, _ = compose("a:\n  b:\n    text\n  c: [1,\n      2]\n")
    assert root is not None
    assert root.line_of(path) == line


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3", 3, "key 'a' is given twice, first on line 1"),
        (
            "a: !!python/object:os.system x",
            1,
            "tag 'tag:yaml.org,2002:python/object:os.system' is not supported; write the value without it",
        ),
        ("a: !mine {b: 1}", 1, "tag '!mine' is not supported; write the value without it"),
        ("a: !mine [b]", 1, "tag '!mine' is not supported; write the value without it"),
        ("a: {<<: 3}", 1, "`<<` merges a mapping, or a list of mappings"),
    ],
)
def test_what_can_be_read_on_is_a_fault(text: str, line: int, words: str) -> None:
    """The rest of the file is still read."""
    root, faults = compose(text)
    assert root is not None
    assert [(at, said) for at, _, said in faults] == [(line, words)]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a:\n\t- b", 2, "not YAML: a tab stands where spaces should indent"),
        ("a: b\n\tc: d", 2, "not YAML: a tab stands where spaces should indent"),
        ("a: b: c", 1, "not YAML: mapping values are not allowed in this context"),
        ('a: "x', 1, "not YAML: found unexpected end of stream while scanning a quoted scalar from line 1"),
        ("\na: \x00", 2, "not text: it holds a control character"),
        (
            "a: @b",
            1,
            "not YAML: found character that cannot start any token while scanning for the next token from line 1",
        ),
        ("a: 1\n---\nb: 2", 2, "a second document begins; a file holds one"),
        ("? [a]\n: b", 1, "a key must be text"),
        ("a: {? [b] : c}", 1, "a key must be text (1 levels deep)"),
        ("a: &x [1]\n*x : 2", 2, "a key must be text"),
        ("a: *b", 1, "alias *b stands for nothing above it"),
        ("a: &a [*a]", 1, "alias *a stands inside of what it stands for"),
        ("a: &a {<<: *a}", 1, "alias *a stands inside of what it stands for"),
    ],
)
def test_what_cannot_be_read_on_ends_with_its_line(text: str, line: int, words: str) -> None:
    """One line of plain words, whatever the parser said."""
    with pytest.raises(YamlError) as caught:
        compose(text)
    assert (caught.value.line, str(caught.value)) == (line, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("[" * 100_000, "nested deeper than 64 levels", id="lists"),
        pytest.param("{a: " * 100_000, "nested deeper than 64 levels", id="mappings"),
        pytest.param("- " * 100_000, "nested deeper than 64 levels", id="blocks"),
        pytest.param(
            "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 3000)),
            "nested deeper than 64 levels, counting what aliases stand for",
            id="a ladder of aliases",
        ),
        pytest.param(
            "a0: &a0 [x]\n"
            + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)),
            "more than 1,000,000 values, counting what aliases stand for",
            id="a bomb of aliases",
        ),
        pytest.param(
            "a: &a {" + ",".join(f"k{i}: 1" for i in range(10_000)) + "}\nb: [" + "{<<: *a}," * 200 + "]",
            "more than 1,000,000 values, counting what aliases stand for",
            id="a bomb of merges",
        ),
    ],
)
def test_hostile_text_ends_at_a_bound(text: str, words: str) -> None:
    """Neither the stack nor the memory is at the mercy of the file."""
    with pytest.raises(YamlError, match=words):
        compose(text)


def test_an_empty_file_has_no_tree() -> None:
    """Nor has one of comments."""
    assert [compose("")[0], compose("# only this\n")[0]] == [None, None]


def test_the_parser_in_python_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML came without libyaml, values, lines and refusals stay as they are."""
    monkeypatch.setattr(yamltree, "_LOADER", yaml.SafeLoader)
    root, _ = compose("a: &a\n  b: 1\nc: [*a, '2', ~]")
    assert root is not None
    assert (root.plain(), root.line_of(("a", "b"))) == ({"a": {"b": 1}, "c": [{"b": 1}, "2", None]}, 2)
    for text, words in (
        ("a: \x00", "not text"),
        ("a:\n\t- b", "not YAML: a tab"),
        ("[" * 500, "nested deeper"),
    ):
        with pytest.raises(YamlError, match=words):
            compose(text)
