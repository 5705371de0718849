"""Bytes that mean harm, to both protocols: good messages, damaged and spliced, and noise. What is held to is in `http1_laws`."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.http1_laws import client_law, pod_law
from tests.fuzz.http1_seeds import ANSWERS, REQUESTS, SCRAPS
from tests.wire import cut

scraps = st.sampled_from(SCRAPS) | st.binary(min_size=1, max_size=4)
places = st.none() | st.lists(st.integers(1, 300), max_size=6)


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A few good messages, one after the other, of which a little was cut out, doubled, put in or written over."""
    data = b"".join(draw(st.lists(st.sampled_from(seeds), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 20)))
        how = draw(st.integers(0, 3))
        middle = (b"", data[at:end] * 2, draw(scraps) + data[at:end], draw(scraps))[how]
        data = data[:at] + middle + data[end:]
    return data


noise = st.lists(scraps, max_size=12).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(damaged(REQUESTS) | noise, places)
def test_whatever_a_client_sends_is_read_as_h11_reads_it_or_refused(
    data: bytes, at: list[int] | None
) -> None:
    """It gets HTTP or nothing; and when it has left, nothing of it remains."""
    client_law(cut(data, at))


@settings(max_examples=400, deadline=None)
@given(damaged(ANSWERS) | noise, places, st.sampled_from([b"POST", b"OPTIONS", b"HEAD"]), st.booleans())
def test_whatever_a_pod_says_its_client_gets_what_h11_reads_or_a_failure(
    data: bytes, at: list[int] | None, method: bytes, clean: bool
) -> None:
    """One answer at most, the slot is free once the pod has hung up, and the next answer is its own."""
    pod_law(cut(data, at), method=method, clean=clean)
