"""Processor time and memory: sizes as Kubernetes writes them, or shares."""

import pytest
from pydantic_core import PydanticCustomError

from gateway.config.quotas import Quota, parse_cores, parse_memory


@pytest.mark.parametrize(
    ("text", "value", "share"),
    [("70%", 0.7, True), ("250%", 2.5, True), ("500m", 0.5, False), (2, 2.0, False), (1.5, 1.5, False)],
)
def test_processor_time_is_cores_or_a_share(text: object, value: float, share: bool) -> None:
    """More than 100 % too: a pod may use more than it requests."""
    assert parse_cores(text) == Quota(value, share)


@pytest.mark.parametrize(
    ("text", "value", "share"),
    [("80%", 0.8, True), ("512Mi", 2**29, False), ("1.5Gi", 1.5 * 2**30, False), ("2GiB", 2**31, False)],
)
def test_memory_is_a_size_or_a_share(text: object, value: float, share: bool) -> None:
    """With or without the B."""
    assert parse_memory(text) == Quota(value, share)


@pytest.mark.parametrize("value", ["", "70", "1.5m", "-1", True, None, [], -1, 0, "0m", "2Gi"])
def test_what_is_no_processor_time_is_refused(value: object) -> None:
    """Nothing is guessed."""
    with pytest.raises(PydanticCustomError):
        parse_cores(value)


@pytest.mark.parametrize("value", ["", "2G", 5, True, None, "-1Gi", "0Gi", "500m"])
def test_what_is_no_memory_is_refused(value: object) -> None:
    """A bare number least of all."""
    with pytest.raises(PydanticCustomError):
        parse_memory(value)
