"""The scan of a JSON body: it finds what `json` would find, and refuses what `json` would refuse."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.jsonscan import PROMPT_MEMBERS, NotJsonError, Scan, prompt_key, scan

WANTED = frozenset(("model", "messages", "prompt"))


def values(body: bytes) -> dict[str, Any]:
    return {name: json.loads(body[begin:end]) for name, (begin, end) in scan(body, WANTED).items()}


def key(body: Any, characters: int = 100) -> int | None:
    text = json.dumps(body).encode()
    return prompt_key(text, scan(text, PROMPT_MEMBERS), characters)


def by_json(body: bytes) -> dict[str, Any] | None:
    """What the standard library makes of it; None: it is no JSON."""
    try:
        body.decode()
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return {k: v for k, v in found.items() if k in WANTED} if isinstance(found, dict) else {}


def by_scan(body: bytes) -> dict[str, Any] | None:
    try:
        return values(body)
    except NotJsonError:
        return None


class TestFound:
    def test_a_value_is_found_to_the_byte(self) -> None:
        """Without the space around it."""
        body = b'{"a": [1], "model" :\n "iris" , "b": 2}'
        begin, end = scan(body, WANTED)["model"]
        assert body[begin:end] == b'"iris"'

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b'{"model": "a", "model": "b"}', id="the last of two"),
            pytest.param(b'{"m\\u006fdel": "a"}', id="an escaped key"),
            pytest.param(b'\xef\xbb\xbf{"model": "a"}', id="a byte order mark"),
            pytest.param(b'{"x": {"model": "b"}, "y": [{"model": "c"}]}', id="nested ones do not count"),
            pytest.param(b'[{"model": "a"}]', id="an array has no members"),
            pytest.param(b'"model"', id="a text has none"),
            pytest.param(b'{"model": {"name": ["x"]}}', id="a value that is no text"),
            pytest.param(b'{"model": "' + b"\\n" * 5000 + b'"}', id="a long value"),
            pytest.param(b'{"x": "' + b"a" * 200_000 + b'", "model": "a"}', id="behind a long text"),
            pytest.param(b'{"x": ' + b"[" * 400 + b"]" * 400 + b', "model": "a"}', id="behind what is deep"),
            pytest.param(b'{"x": [' + b"[1, 2], " * 5000 + b'0], "model": "a"}', id="behind many arrays"),
            pytest.param(b'{"x": [NaN, Infinity, -Infinity, 1e5, -0.5E-3], "model": "a"}', id="odd numbers"),
            pytest.param(b'{"": 1, "model": ""}', id="what is empty"),
            pytest.param(b"{}", id="nothing"),
            pytest.param(b'{"model": "\\ud800"}', id="half a character"),
        ],
    )
    def test_it_is_what_json_finds(self, body: bytes) -> None:
        """The last of several, by its decoded name, of the outermost object alone."""
        assert by_scan(body) == by_json(body) is not None


class TestRefused:
    @pytest.mark.parametrize(
        "body",
        [
            b"", b" ", b"{", b'{"a"}', b'{"a":}', b'{"a":1,}', b"[1,]", b"[1 2]", b"{1:2}", b'{"a":1}x', b'{"a":1} {}', b"[1}", b'{"a":1]',
            b"01", b"1.", b"-", b"+1", b".5", b"1e", b"tru", b"nan", b"-NaN", b"'a'", b'"\\x"', b'"\\u12"', b'"\n"', b'"a', b"[", b"]", b",", b"[,1]",
            b'{"a":1 "b":2}', b'{,"a":1}', b"\x00", b'{"a":"\x01"}', b"[1,2", b'{"model":"a"', b"\xef\xbb\xbf", b"[] []",
        ],
    )  # fmt: skip
    def test_what_json_refuses(self, body: bytes) -> None:
        """Every way of being none."""
        assert by_scan(body) is by_json(body) is None

    def test_what_is_not_utf_8(self) -> None:
        """Nor any of its relatives, which `json` would guess."""
        with pytest.raises(NotJsonError, match="byte 1 is not UTF-8"):
            scan(b'"\xff"', WANTED)
        with pytest.raises(NotJsonError):
            scan('{"model": "a"}'.encode("utf-16"), WANTED)

    def test_what_is_too_deep(self) -> None:
        """A parser that recurses would break."""
        with pytest.raises(NotJsonError, match="deeper than 512 levels"):
            scan(b"[" * 100_000, WANTED)

    def test_the_place_is_told(self) -> None:
        """By byte."""
        with pytest.raises(NotJsonError, match="at byte 8"):
            scan(b'{"a": 1, b}', WANTED)
        with pytest.raises(NotJsonError, match="ends in the middle"):
            scan(b'{"a": 1', WANTED)


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20))
names = st.one_of(st.sampled_from(["model", "prompt", "a"]), st.text(max_size=5))
trees = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(names, inner)), max_leaves=60
)


class TestLaws:
    @settings(deadline=None)
    @given(st.one_of(st.dictionaries(names, trees), trees), st.booleans(), st.sampled_from([None, 1]))
    def test_it_agrees_with_json_on_what_is_valid(
        self, tree: Any, ascii_only: bool, indent: int | None
    ) -> None:
        """However it is written."""
        body = json.dumps(tree, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")
        assert by_scan(body) == by_json(body)

    @settings(deadline=None, max_examples=400)
    @given(
        st.lists(
            st.sampled_from(
                [*'{}[]",:\\ \n0123.eE-+truefalsnlNaIity', '"model"', '"a"', "\\u0061", "true", "null"]
            ),
            max_size=25,
        )
    )
    def test_it_agrees_with_json_on_what_may_be_valid(self, parts: list[str]) -> None:
        """Random text of JSON's own signs: both take it, or neither does."""
        body = "".join(parts).encode()
        assert by_scan(body) == by_json(body)

    @settings(deadline=None, max_examples=300)
    @given(trees, st.data())
    def test_it_agrees_with_json_on_what_was_valid(self, tree: Any, data: st.DataObject) -> None:
        """One byte is lost, doubled or changed."""
        body = json.dumps(tree).encode()
        at = data.draw(st.integers(0, len(body) - 1))
        other = data.draw(st.sampled_from([b"", body[at : at + 1] * 2, b'"', b"\\", b",", b"]", b"0"]))
        body = body[:at] + other + body[at + 1 :]
        assert by_scan(body) == by_json(body)


def test_steps_are_small_and_many() -> None:
    """A large body takes many, so that others have their turns in between."""
    body = b'{"x": [' + b"[[[]]], " * 20_000 + b'0], "model": "a"}'
    steps, scanned = 0, Scan(body, WANTED)
    while not scanned.step():
        steps += 1
        assert repr(scanned).startswith("<Scan of 160024 bytes, at ")
    assert steps > 100
    assert scanned.step()
    assert repr(scanned) == "<Scan of 160024 bytes, done, found ['model']>"


class TestPromptKey:
    def test_it_is_that_of_the_first_user_message(self) -> None:
        """Whatever stands before it or behind it."""
        said = {"role": "user", "content": "What is an iris?"}
        system = {"role": "system", "content": "Be kind."}
        alone = key({"messages": [said]})
        assert alone is not None
        assert alone == key(
            {
                "messages": [
                    system,
                    said,
                    {"role": "assistant", "content": "x"},
                    {"role": "user", "content": "y"},
                ]
            }
        )
        assert alone != key({"messages": [{"role": "user", "content": "What is a rose?"}]})

    def test_it_is_that_of_the_prompt(self) -> None:
        """As a text, or the texts of a list one after the other."""
        assert (
            key({"prompt": "hello"})
            == key({"prompt": ["hel", "lo"]})
            == key({"messages": [{"role": "user", "content": "hello"}]})
        )

    def test_parts_of_text_count(self) -> None:
        """Images between them do not."""
        parts = [
            {"type": "text", "text": "hel"},
            {"type": "image_url", "image_url": {}},
            {"type": "text", "text": "lo"},
        ]
        assert key({"messages": [{"role": "user", "content": parts}]}) == key({"prompt": "hello"})

    def test_only_the_first_characters_count(self) -> None:
        """Characters, not bytes."""
        assert (
            key({"prompt": "häll" + "x"}, 4) == key({"prompt": "häll" + "y"}, 4) != key({"prompt": "häl"}, 4)
        )

    def test_numbers_of_any_length_do_not_matter(self) -> None:
        """Python makes no int of more than 4,300 digits; a body may have them."""
        digits = b"1" * 5000
        said = b'{"messages": [{"role": %b}, {"role": "user", "n": %b, "content": ["hel", %b, "lo"]}]}' % (
            (digits,) * 3
        )
        for body in (said, b'{"prompt": ["hello", -%b]}' % digits):
            assert prompt_key(body, scan(body, PROMPT_MEMBERS), 100) == key({"prompt": "hello"})
        assert prompt_key(b'{"prompt": %b}' % digits, {"prompt": (11, 5011)}, 100) is None

    def test_it_is_the_same_everywhere(self) -> None:
        """Replicas must agree, and those of tomorrow."""
        assert key({"prompt": "hello"}) == 0xA7B6EDA801E5347D

    @pytest.mark.parametrize(
        "body", [{}, {"prompt": ""}, {"prompt": 1}, {"messages": []}, {"messages": {}}, {"messages": [1, {"role": "user"}]}, {"messages": [{"role": "system", "content": "x"}]}]
    )  # fmt: skip
    def test_who_says_nothing_has_none(self, body: Any) -> None:
        """Then there is nothing to go by."""
        assert key(body) is None
