"""A request's body on its way: how large it may be, and what is held of it until a pod has the request.

The part of an Exchange that keeps bytes. They are bounded for each request, by pausing its client, and over all of them by the gateway's
`Buffered`; that is told only of bytes that have to wait, not of those that go straight through, so that the usual request pays nothing.
`Exchange` fills the attributes, asks before it waits or dials, and hands everything on once there is a pod.
"""

from typing import TYPE_CHECKING

from gateway.deadlines import Deadlines
from gateway.errors import BODY_TOO_LARGE, GatewayError

if TYPE_CHECKING:
    from gateway.http1 import RequestHead

HELD_MOST = 65536
"""Bytes of a request's body that are kept while it waits; then the client is asked to pause."""


class Bodies(Deadlines):
    """The part of an Exchange that has bytes of a body in its hands."""

    __slots__ = ("_body_left", "_head", "_held", "_held_bytes", "_weighed")

    _head: "RequestHead"
    _held: list[bytes]
    """What came before there was a pod, and what may have to be sent again."""
    _held_bytes: int
    _weighed: int
    """Bytes held that the gateway has been told of."""
    _body_left: float
    """Bytes that a body without a length may still bring."""

    def _bound_body(self, limit: int, size: int) -> bool:
        """Hold the body to its Route's limit from the start, `size` bytes of it being there; False when that ended the request."""
        if self._head.content_length > limit:
            self.fail(_too_large(limit))
            return False
        if self._head.chunked:
            self._body_left = float(limit)
        return self._fits(size, limit)

    def _fits(self, size: int, limit: int) -> bool:
        """Whether so many bytes more may come; False when that ended the request."""
        self._body_left -= size
        if self._body_left < 0:
            self.fail(_too_large(limit))
        return self._body_left >= 0

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_MOST and self._client is not None:
            self._client.pause()

    def _weigh(self) -> bool:
        """Account for what is held, now that it has to wait; False when there was no room for it, which ended the request."""
        buffered = self._gateway.buffered
        more = self._held_bytes - self._weighed
        if more and not buffered.hold(more) and not self._displace(more):
            self.fail(buffered.refusal())
            return False
        self._weighed = self._held_bytes
        return True

    def _displace(self, size: int) -> bool:
        """Make room in the gateway's memory at the cost of others; False when that cannot be."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """The bytes are somewhere else, or nobody wants them."""
        self._held = []
        self._held_bytes = 0
        if self._weighed:
            self._gateway.buffered.release(self._weighed)
            self._weighed = 0


def _too_large(limit: int) -> GatewayError:
    return GatewayError(
        BODY_TOO_LARGE, f"the body has more than {limit} bytes, which is what this route takes"
    )
