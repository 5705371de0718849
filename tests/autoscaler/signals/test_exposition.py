"""Finding a metric's series on a page, against prometheus_client's parser as the oracle."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from autoscaler.signals.exposition import missing, read

VLLM = b"""\
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="llama"} 3.0
vllm:num_requests_waiting{engine="1",model_name="llama"} 4.0
# HELP vllm:num_requests_waiting_by_reason Another one, with a longer name.
vllm:num_requests_waiting_by_reason{reason="capacity"} 9.0
"""


def test_all_series_of_the_metric_are_found() -> None:
    """And not those whose name goes on, nor what its HELP line says."""
    assert read(VLLM, "vllm:num_requests_waiting", {}) == {
        'engine="0",model_name="llama"': 3.0,
        'engine="1",model_name="llama"': 4.0,
    }


def test_labels_choose_among_series() -> None:
    """All that are asked for must be there, others may."""
    assert list(read(VLLM, "vllm:num_requests_waiting", {"engine": "1"}).values()) == [4.0]
    assert read(VLLM, "vllm:num_requests_waiting", {"engine": "2"}) == {}
    assert read(VLLM, "vllm:num_requests_waiting", {"shard": "1"}) == {}


@pytest.mark.parametrize(
    ("page", "lacks"),
    [
        (b"other 1\n", 'up{a="1"}'),
        (b'up{a="2"} 1\n', 'up{a="1"}'),
        (b'up{a="1"} NaN\n', 'number in up{a="1"}'),
        (b'up_total{a="1"} 3\n', 'up{a="1"}, but up_total'),
        (b'up_bucket{a="1",le="+Inf"} 3\nup_count{a="1"} 3\n', 'up{a="1"}, but up_count'),
    ],
)
def test_what_a_page_lacks_is_told(page: bytes, lacks: str) -> None:
    """The metric, or only a number in it; of a counter or a histogram, what its samples are called."""
    assert read(page, "up", {"a": "1"}) == {}
    assert missing(page, "up", {"a": "1"}) == lacks


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("up 1", 1.0),
        ("up\t1", 1.0),
        ("  up   1.5e3  ", 1500.0),
        ("up{} 1", 1.0),
        ("up{} -0.25 1395066363000", -0.25),
        ('up{a="}",b="x y"}2', 2.0),
        ('up {a="1",} 3', 3.0),
        ("up 4\r", 4.0),
        ('up{a="1"} 5 1.5 # {trace="x"} 0.5', 5.0),
    ],
)
def test_what_a_sample_may_look_like(line: str, value: float) -> None:
    """Blanks, tabs, timestamps, exemplars, braces within quotes."""
    page = f"# TYPE up gauge\n{line}\nother 7\n".encode()
    assert list(read(page, "up", {}).values()) == [value]


@pytest.mark.parametrize(
    "line",
    [
        "up",
        "up NaN",
        "up +Inf",
        "up one",
        "up 1_000",
        'up{a="1" 3',
        "up{",
        "x up 1",
        "# up 1",
        "up_total 1",
        "up.1 1",
        "up \xff",
        "",
    ],
)
def test_what_is_no_value_is_as_if_it_were_not_there(line: str) -> None:
    """Garbage never fails, and never hides what stands on other lines."""
    page = f'{line}\nup{{instance="b"}} 2\n'.encode("latin-1")
    assert read(page, "up", {}) == {'instance="b"': 2.0}


def test_the_last_line_need_not_end() -> None:
    """Nor the page begin with a comment."""
    assert read(b"up 1", "up", {}) == {"": 1.0}
    assert read(b"", "up", {}) == {}


def test_escaped_labels_are_compared_as_they_are_meant() -> None:
    r"""A quote, a backslash and a line's end are written \", \\ and \n."""
    page = rb'up{path="C:\\dir",say="\"x\"\n"} 1'
    assert read(page, "up", {"path": "C:\\dir", "say": '"x"\n'}) == {r'path="C:\\dir",say="\"x\"\n"': 1.0}


@given(
    values=st.lists(
        st.tuples(st.text(max_size=8), st.floats(allow_nan=False, allow_infinity=False)),
        min_size=1,
        max_size=6,
        unique_by=lambda pair: pair[0],
    )
)
def test_whatever_the_library_writes_is_read_as_the_library_reads_it(values: list[tuple[str, float]]) -> None:
    """Any label, any value; in both formats."""
    registry = CollectorRegistry()
    gauge = Gauge("level", "With a label.", ["what"], registry=registry)
    for what, value in values:
        gauge.labels(what).set(value)
    for page, families in (
        (generate_latest(registry), parse(generate_latest(registry).decode())),
        (openmetrics(registry), parse_openmetrics(openmetrics(registry).decode())),
    ):
        theirs = {s.labels["what"]: s.value for family in families for s in family.samples}
        ours = {what: sum(read(page, "level", {"what": what}).values()) for what, _ in values}
        assert ours == theirs == dict(values)


@given(page=st.binary(max_size=200), name=st.sampled_from(["a", "up", "x:y"]))
def test_no_page_whatsoever_fails(page: bytes, name: str) -> None:
    """And what is found is a number."""
    for text in (page, name.encode() + b"{" + page, name.encode() + b" " + page):
        assert all(
            math.isfinite(value) for value in read(text, name, {"a": "b"} if len(page) % 2 else {}).values()
        )


@pytest.mark.parametrize("garbage", [b",", b" ", b"a"])
def test_a_long_line_of_garbage_takes_no_longer_than_another(garbage: bytes) -> None:
    """All of a page that may be 4 MB; were each character a place to begin from, it would take a day."""
    page = b"up{" + garbage * 2**20 + b'} 1\nup{a="b"} 2\n'
    assert read(page, "up", {"a": "b"}) == {'a="b"': 2.0}


def test_a_histogram_is_read_by_the_names_of_its_samples() -> None:
    """`_count`, `_sum`, `_bucket`, `_total` are names of their own."""
    registry = CollectorRegistry()
    Histogram("wait", "…", registry=registry, buckets=[1.0]).observe(0.5)
    Counter("done", "…", registry=registry).inc(3)
    page = generate_latest(registry)
    assert read(page, "wait_count", {}) == {"": 1.0}
    assert read(page, "wait_bucket", {"le": "1.0"}) == {'le="1.0"': 1.0}
    assert read(page, "done_total", {}) == {"": 3.0}
    assert read(page, "wait", {}) == {}
