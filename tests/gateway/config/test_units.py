"""Values with a unit: what is read, and how the rest is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from gateway.config.units import (
    format_duration,
    format_size,
    parse_duration,
    parse_percentage,
    parse_share,
    parse_size,
)


def refusal(parse: object, value: object) -> str:
    with pytest.raises(PydanticCustomError) as caught:
        parse(value)  # type: ignore[operator]
    [(_, text)] = (caught.value.context or {})["faults"]
    return str(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10.0),
        ("500ms", 0.5),
        ("100ms", 0.1),
        ("1m30s", 90.0),
        ("2h", 7200.0),
        ("1.5s", 1.5),
        ("1h2m3s4ms", 3723.004),
        ("0s", 0.0),
        (0, 0.0),
        (0.0, 0.0),
    ],
)
def test_a_duration_is_read_in_seconds(text: object, seconds: float) -> None:
    """Every unit, and units one after the other; 0 needs none."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10, "10 has no unit: write 10s or 10ms"),
        (1.5, "1.5 has no unit: write 1.5s or 1.5ms"),
        ("10", "10 has no unit: write 10s or 10ms"),
        ("-5s", "must not be negative, got -5s"),
        (-5, "must not be negative, got -5"),
        ("soon", "'soon' is not a duration: write it as 500ms, 10s, 1m30s or 2h"),
        ("", "'' is not a duration: write it as 500ms, 10s, 1m30s or 2h"),
        ("30s1m", "'30s1m' is not a duration: write it as 500ms, 10s, 1m30s or 2h"),
        ("10 s", "'10 s' is not a duration: write it as 500ms, 10s, 1m30s or 2h"),
        ("\u0661s", "'\u0661s' is not a duration: write it as 500ms, 10s, 1m30s or 2h"),
        (float("nan"), "nan is not a duration: write it as 500ms, 10s, 1m30s or 2h"),
        (float("inf"), "inf is not a duration: write it as 500ms, 10s, 1m30s or 2h"),
        ("9000h", "'9000h' is longer than a year"),
        ("9" * 400 + "s", f"'{'9' * 58}… is longer than a year"),
        (True, "must be a duration such as 10s, got true"),
        (None, "must be a duration such as 10s, got nothing"),
        (["1s"], "must be a duration such as 10s, got a list"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_to_write(value: object, text: str) -> None:
    """Each mistake has its own words."""
    assert refusal(parse_duration, value) == text


@given(st.integers(0, 366 * 24 * 3_600_000))
def test_a_formatted_duration_reads_back(milliseconds: int) -> None:
    """parse_duration undoes format_duration to the millisecond."""
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0s"), (90.0, "1m30s"), (3600.0, "1h"), (0.25, "250ms")])
def test_a_duration_is_formatted_in_its_shortest_form(seconds: float, text: str) -> None:
    """Only the units that are needed."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "share"), [("70%", 0.7), (0.7, 0.7), ("12.5%", 0.125), (1.0, 1.0), ("100%", 1.0)]
)
def test_a_share_is_a_percentage_or_a_fraction(value: object, share: float) -> None:
    """70% and 0.7 are the same."""
    assert parse_share(value) == share


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (70, "70 may be a percentage or a factor: write 70%, or 0.7 for the same"),
        (1, "1 may be a percentage or a factor: write 1%, or 0.01 for the same"),
        (1.5, "1.5 may be a percentage or a factor: write 1.5%, or 0.015 for the same"),
        (-0.5, "must be a percentage such as 70%, or a fraction such as 0.7, got -0.5"),
        (170, "must be a percentage such as 70%, or a fraction such as 0.7, got 170"),
        ("70", "must be a percentage such as 70%, or a fraction such as 0.7, got '70'"),
        (True, "must be a percentage such as 70%, or a fraction such as 0.7, got true"),
    ],
)
def test_a_share_that_may_mean_two_things_is_refused_with_both(value: object, text: str) -> None:
    """A whole number is not guessed at."""
    assert refusal(parse_share, value) == text


def test_a_percentage_may_be_a_number_as_in_knative() -> None:
    """`panic_window_percentage: 10` and `10%` are the same; anything else is left to the number's own check."""
    assert (parse_percentage("10%"), parse_percentage(10), parse_percentage("x")) == (10.0, 10, "x")


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("64KiB", 65536),
        ("1.5MiB", 1572864),
        ("2GiB", 2**31),
        ("0KiB", 0),
        (1000, 1000),
        (0, 0),
        ("1024GiB", 2**40),
    ],
)
def test_a_size_is_read_in_bytes(value: object, size: int) -> None:
    """A plain number is bytes."""
    assert parse_size(value) == size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("10MB", "'10MB' is not a size: write 10MiB"),
        ("64k", "'64k' is not a size: write 64KiB"),
        ("1.5 gib", "'1.5 gib' is not a size: write 1.5GiB"),
        ("10", "must be a size such as 64KiB, 10MiB or a number of bytes, got '10'"),
        ("KiB", "must be a size such as 64KiB, 10MiB or a number of bytes, got 'KiB'"),
        (1.5, "must be a size such as 64KiB, 10MiB or a number of bytes, got 1.5"),
        (True, "must be a size such as 64KiB, 10MiB or a number of bytes, got true"),
        (None, "must be a size such as 64KiB, 10MiB or a number of bytes, got nothing"),
        (-1, "must not be negative, got -1"),
        ("1025GiB", "'1025GiB' is more than 1024GiB"),
    ],
)
def test_what_is_no_size_is_refused_with_what_to_write(value: object, text: str) -> None:
    """Each mistake has its own words."""
    assert refusal(parse_size, value) == text


@given(st.integers(0, 2**40))
def test_a_formatted_size_reads_back(size: int) -> None:
    """parse_size undoes format_size; plain bytes are a number."""
    text = format_size(size)
    assert parse_size(int(text) if text.isdecimal() else text) == size


@pytest.mark.parametrize(("size", "text"), [(0, "0"), (1000, "1000"), (65536, "64KiB"), (2**20, "1MiB")])
def test_a_size_is_formatted_in_its_shortest_form(size: int, text: str) -> None:
    """The largest unit of which there is a whole number."""
    assert format_size(size) == text


def test_a_size_of_any_number_of_digits_is_refused_in_words() -> None:
    """As a float it would be infinity."""
    with pytest.raises(PydanticCustomError, match="is more than"):
        parse_size("9" * 5000 + "GiB")
