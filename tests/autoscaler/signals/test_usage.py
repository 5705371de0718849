"""What all pods use together, when some of them are not measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.signals.asked import NoValueError, PodAt, Usage
from autoscaler.signals.usage import requested, total


def pods(count: int) -> list[PodAt]:
    return [PodAt(f"p{index}", "127.0.0.1", 1) for index in range(count)]


def used(*values: float) -> dict[str, float]:
    return {f"p{index}": value for index, value in enumerate(values)}


CPU = Usage("cpu", "cpu", target=0.5)


def test_what_is_measured_is_summed() -> None:
    """Of the pods that are asked about, and no others."""
    assert total(CPU, pods(2), used(0.25, 0.5, 8.0), "?") == 0.75


@pytest.mark.parametrize(
    ("values", "expected"),
    [((1.0, 1.0), 2.0), ((0.5, 0.5), 1.5), ((0.7, 0.5), 1.5), ((0.0, 0.0), 0.5)],
    ids=["more are wanted without it", "as aimed at", "more are wanted only with it", "fewer are wanted"],
)
def test_a_pod_that_is_not_measured_moves_the_count_neither_way(
    values: tuple[float, ...], expected: float
) -> None:
    """Three pods at a target of 0.5: 1.5 is what keeps them."""
    assert total(CPU, pods(3), used(*values), "?") == expected


def test_one_pod_at_least_must_be_measured() -> None:
    """Else nobody can say; a Backend that has just gone from one pod to five goes on being scaled."""
    assert total(CPU, pods(5), used(0.5), "?") == 2.5
    assert total(CPU, pods(5), used(3.0), "?") == 3.0
    with pytest.raises(NoValueError, match=r"^pod p0 \(and 2 more\): not known yet$"):
        total(CPU, pods(3), {}, "not known yet")
    with pytest.raises(NoValueError, match=r"^pod p0: not known yet$"):
        total(CPU, pods(1), {}, "not known yet")


@given(values=st.lists(st.floats(0, 4), min_size=1, max_size=8), missing=st.integers(0, 8))
def test_missing_measurements_never_ask_for_more_or_fewer_than_all_would(
    values: list[float], missing: int
) -> None:
    """The value lies between the target for all and what is known, whatever is missing."""
    count = len(values) + missing
    found, known = total(CPU, pods(count), used(*values), "?"), sum(values)
    assert known <= found <= max(known, 0.5 * count)
    assert found >= min(0.5 * missing, 0.5 * count)


def test_a_share_is_one_of_the_pods_request() -> None:
    """Of cpu in cores, of memory in bytes."""
    pod = PodAt("p", "127.0.0.1", 1, requests=(0.5, 1024.0))
    assert (requested(pod, "cpu"), requested(pod, "memory")) == (0.5, 1024.0)


def test_without_a_request_there_is_no_share() -> None:
    """And what is wrong is the pod's template."""
    with pytest.raises(
        NoValueError, match=r"pod iris-1 has a container without a request for memory.*set resources.requests"
    ):
        requested(PodAt("u", "127.0.0.1", 1, name="iris-1", requests=(0.5, None)), "memory")
