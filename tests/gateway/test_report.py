"""Failures in the log: each findable by its id, and an overload no flood."""

from gateway.errors import QUEUE_FULL, QUEUE_TIMEOUT, GatewayError
from gateway.report import TOLD_PER_SECOND, Reporter

FULL = GatewayError(QUEUE_FULL, "100 wait")


def test_a_failure_is_one_line_with_its_request_id() -> None:
    """What was wrong, where, and for which request."""
    lines = Reporter().lines(FULL, "iris", b"id-1", 1.0)
    assert lines == ["503 queue_full backend=iris request_id=id-1: 100 wait"]


def test_an_id_that_a_client_chose_puts_no_words_and_no_codes_into_the_log() -> None:
    """Spaces and whatever is no plain character are escaped."""
    (line,) = Reporter().lines(FULL, "iris", b"1: ok\x9b2J", 1.0)
    assert line == r"503 queue_full backend=iris request_id=1:\x20ok\x9b2J: 100 wait"


def test_no_backend_is_named_where_none_was_reached() -> None:
    """A request that met no Route has none."""
    assert "backend" not in Reporter().lines(FULL, "", b"id-1", 1.0)[0]


def test_an_overload_is_told_by_number() -> None:
    """The first few of a second have lines; the next line says how many had none."""
    reporter = Reporter()
    told = [reporter.lines(FULL, "iris", b"id", 1.0 + n / 1000) for n in range(100)]
    assert sum(map(len, told)) == TOLD_PER_SECOND
    (line,) = reporter.lines(FULL, "iris", b"id", 2.0)
    assert line.endswith(f"(and {100 - TOLD_PER_SECOND} more like it before)")
    assert repr(reporter) == "<Reporter of 1 kinds of failure>"


def test_one_reason_does_not_hide_another() -> None:
    """Each reason and each Backend has lines of its own."""
    reporter = Reporter()
    for _ in range(10):
        reporter.lines(FULL, "iris", b"id", 1.0)
    assert reporter.lines(GatewayError(QUEUE_TIMEOUT, "60 s"), "iris", b"id", 1.0)
    assert reporter.lines(FULL, "other", b"id", 1.0)
