"""The table of reasons holds together."""

from http import HTTPStatus

from gateway import errors
from gateway.errors import QUEUE_FULL, Fault, GatewayError, Reason

REASONS = [value for value in vars(errors).values() if isinstance(value, Reason)]


def test_every_reason_has_a_slug_of_its_own() -> None:
    """A slug names one reason in metrics and logs."""
    assert len({reason.slug for reason in REASONS}) == len(REASONS) > 15


def test_the_status_agrees_with_whose_fault_it_is() -> None:
    """4xx is the caller's, 5xx is not, but for a version that is not spoken here."""
    for reason in REASONS:
        assert (reason.fault is Fault.DOWNSTREAM) == (reason.status < 500 or reason.status == 505), reason
        assert reason.status == 499 or HTTPStatus(reason.status)


def test_only_what_another_try_may_mend_is_retryable() -> None:
    """A caller's own mistake is not."""
    assert not any(reason.retryable for reason in REASONS if reason.fault is Fault.DOWNSTREAM)


def test_an_error_tells_its_reason_and_its_detail() -> None:
    """For logs and for people."""
    error = GatewayError(QUEUE_FULL, "100 wait", 2.0)
    assert (str(error), error.retry_after) == ("100 wait", 2.0)
    assert repr(error) == "<GatewayError 503 queue_full: 100 wait>"
