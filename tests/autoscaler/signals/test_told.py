"""What the log says of metrics without values."""

import logging

import pytest

from autoscaler.signals.told import ToldSink


class Taken:
    """A Sink that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def sample(self, backend: str, metric: str, value: float, now: float) -> None:
        self.told.append((backend, metric, value, now))

    def failed(self, backend: str, metric: str, reason: str, now: float) -> None:
        self.told.append((backend, metric, reason, now))


def test_all_is_passed_on() -> None:
    """Whatever the log says of it."""
    taken = Taken()
    sink = ToldSink(taken)
    sink.sample("a", "cpu", 1.5, 10.0)
    sink.failed("a", "cpu", "gone", 11.0)
    assert taken.told == [("a", "cpu", 1.5, 10.0), ("a", "cpu", "gone", 11.0)]


def test_a_metric_that_is_missing_is_told_once_and_its_return_too(caplog: pytest.LogCaptureFixture) -> None:
    """From the third failure in a row on, as long as a sample holds."""
    caplog.set_level(logging.INFO)
    sink = ToldSink(Taken())
    for second in range(6):
        assert len(caplog.messages) == (1 if second > 2 else 0)
        sink.failed("a", "cpu", "connection refused", second)
    sink.sample("a", "cpu", 1.0, 6.0)
    sink.sample("a", "cpu", 1.0, 7.0)
    assert caplog.messages == [
        "a: no data from cpu, so nothing scales down: connection refused",
        "a: cpu has values again",
    ]
    assert repr(sink).startswith("<ToldSink 0 missing")


def test_a_failure_now_and_then_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """A sample holds for three intervals."""
    caplog.set_level(logging.INFO)
    sink = ToldSink(Taken())
    for second in range(20):
        sink.failed("a", "cpu", "timeout", second)
        sink.failed("a", "cpu", "timeout", second)
        sink.sample("a", "cpu", 1.0, second)
    assert not caplog.messages


def test_what_is_measured_no_more_is_forgotten() -> None:
    """Of that Backend alone."""
    sink = ToldSink(Taken())
    for second in range(3):
        for backend, metric in (("a", "cpu"), ("a", "memory"), ("b", "cpu")):
            sink.failed(backend, metric, "gone", second)
    sink.keep("a", ["memory"])
    assert repr(sink).startswith("<ToldSink 2 missing")
