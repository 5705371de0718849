"""Why a request ended without its pod's whole answer: one table of reasons, one exception.

Every reason says whose fault it was, the status that the client sees and whether another try may help. The slug is what
people meet: in the problem+json body, in metrics and in logs. Nothing here is specific to a protocol.
"""

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """Which side a failure is laid to."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Reason:
    """One way for a request to end early."""

    slug: str
    status: int
    fault: Fault
    title: str
    retryable: bool = False
    """Another Endpoint, or the same one later, may answer."""


BAD_REQUEST = Reason("bad_request", 400, Fault.DOWNSTREAM, "The request is not valid HTTP")
BAD_BODY = Reason("bad_body", 400, Fault.DOWNSTREAM, "The request's body cannot be read")
NO_ROUTE = Reason("no_route", 404, Fault.DOWNSTREAM, "No route matches this host and path")
METHOD_NOT_ALLOWED = Reason("method_not_allowed", 405, Fault.DOWNSTREAM, "Method not supported")
HEAD_TIMEOUT = Reason("head_timeout", 408, Fault.DOWNSTREAM, "The request's head took too long")
BODY_TIMEOUT = Reason("body_timeout", 408, Fault.DOWNSTREAM, "The request's body stopped coming")
BODY_TOO_LARGE = Reason("body_too_large", 413, Fault.DOWNSTREAM, "The request's body is too large")
BODY_ENCODED = Reason("body_encoded", 415, Fault.DOWNSTREAM, "The request's body is compressed")
TARGET_TOO_LONG = Reason("target_too_long", 414, Fault.DOWNSTREAM, "The request's target is too long")
HEADERS_TOO_LARGE = Reason("headers_too_large", 431, Fault.DOWNSTREAM, "The request's head is too large")
CLIENT_CLOSED = Reason("client_closed", 499, Fault.DOWNSTREAM, "The client left before the answer")
VERSION_NOT_SUPPORTED = Reason("version_not_supported", 505, Fault.DOWNSTREAM, "HTTP version not supported")

CONNECT_FAILED = Reason("connect_failed", 502, Fault.UPSTREAM, "No pod accepted a connection", retryable=True)
UPSTREAM_RESET = Reason(
    "upstream_reset", 502, Fault.UPSTREAM, "The pod closed the connection", retryable=True
)
UPSTREAM_INVALID = Reason("upstream_invalid", 502, Fault.UPSTREAM, "The pod's answer is not valid HTTP")

QUEUE_FULL = Reason("queue_full", 503, Fault.GATEWAY, "The backend's queue is full", retryable=True)
QUEUE_TIMEOUT = Reason("queue_timeout", 503, Fault.GATEWAY, "No pod was free in time", retryable=True)
CANNOT_START = Reason("cannot_start", 503, Fault.UPSTREAM, "The backend's pods cannot start")
TOO_MANY_CONNECTIONS = Reason(
    "too_many_connections", 503, Fault.GATEWAY, "Too many connections are open", retryable=True
)
OVERLOADED = Reason("overloaded", 503, Fault.GATEWAY, "The gateway can hold no more", retryable=True)
BACKEND_REMOVED = Reason("backend_removed", 503, Fault.GATEWAY, "The backend was removed", retryable=True)

ACTIVATION_TIMEOUT = Reason(
    "activation_timeout", 504, Fault.UPSTREAM, "No pod became ready in time", retryable=True
)
RESPONSE_TIMEOUT = Reason("response_timeout", 504, Fault.UPSTREAM, "The pod did not answer in time")
IDLE_TIMEOUT = Reason("idle_timeout", 504, Fault.UPSTREAM, "The pod's answer stopped coming")
REQUEST_TIMEOUT = Reason("request_timeout", 504, Fault.GATEWAY, "The request's total time is over")

AGAINST_PODS = frozenset((IDLE_TIMEOUT, RESPONSE_TIMEOUT, UPSTREAM_INVALID, UPSTREAM_RESET))
"""Those that count as if the pod had answered 5xx."""


class GatewayError(Exception):
    """A request's early end: its Reason, and a sentence for the person who called."""

    def __init__(self, reason: Reason, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after
        """Seconds after which another try may do better; None where waiting would not help."""

    def __repr__(self) -> str:
        return f"<GatewayError {self.reason.status} {self.reason.slug}: {self.detail}>"
