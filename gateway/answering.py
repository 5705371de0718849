"""The part of an Exchange that speaks to the client of its own: whole answers without a pod, and what it adds to those of pods.

Core. A Route's own answer (a redirect, a fixed one) and the one to OPTIONS * end the request at once; the first kind is counted for its Route, without a
Backend. To a pod's answer come the request's id, how long a start took, who answered, and a new cookie, after the Route has
written its fields. `inspection` finds out that a Route answers by itself; `exchange` is the rest of an Exchange, and fills the attributes.
"""

from typing import TYPE_CHECKING

from gateway.errors import GatewayError
from gateway.http1 import capabilities
from gateway.inspection import Inspecting

if TYPE_CHECKING:
    from gateway.answers import Fixed, Redirect
    from gateway.errors import Reason
    from gateway.http1 import ResponseHead
    from gateway.stats import Traffic


class Answering(Inspecting):
    """The part of an Exchange that has something to say itself."""

    __slots__ = ("_cold", "_counted", "_traffic")

    _cold: float | None
    """Seconds that it waited for a start; None: it did not."""
    _counted: bool
    _traffic: "Traffic"

    def _finish(self, status: int, reason: "Reason | None", now: float) -> None:
        """Release everything, once."""
        raise NotImplementedError

    def _answer_ourselves(self) -> None:
        self._give(capabilities(), b"", None)

    def _answer(self, answer: "Fixed | Redirect") -> None:
        """The Route needs no pod for that."""
        search = self._search
        if search is not None and search.route is not None:
            self._traffic = self._gateway.traffic_of(search.route.name)
        try:
            head, body = answer.answer(self._head)
        except GatewayError as error:
            self.fail(error)
        else:
            self._give(head, body, None)

    def _give(self, head: "ResponseHead", body: bytes, reason: "Reason | None") -> None:
        """End with a whole answer."""
        client = self._client
        self._finish(head.status, reason, self._gateway.now())
        if client is not None:
            client.respond(head, body, [], self._extra(), ended=True)

    def _extra(self) -> bytes:
        extra = b"x-request-id: %b\r\n" % (self._head.request_id or b"")
        if self._cold is not None:
            extra += b"x-tidegate-cold-start: %.3f\r\n" % self._cold
        if self._ref is not None and self._ref.expose_backend:
            extra += b"x-tidegate-backend: %b\r\n" % self._ref.backend.name.encode()
        if self._search is not None:
            extra += self._search.cookie
        return extra

    def _edit(self, head: "ResponseHead") -> None:
        """The Route writes fields of a pod's answer."""
        edits = self._search.response if self._search is not None else None
        if edits is not None:
            head.lines = edits.apply(head.lines)

    def _note_start(self, now: float) -> None:
        """The first byte of a request that waited for a start."""
        if self._backend is not None and self._endpoint is not None:
            self._backend.activator.answered(self._endpoint.uid, now)

    def _count(self, status: int, reason: "Reason | None", now: float) -> None:
        """Once per request: what the client saw, or would have seen."""
        if self._counted:
            return
        self._counted = True
        traffic = self._traffic
        traffic.count(status)
        traffic.duration.observe(now - self._begun)
        if reason is not None:
            traffic.reasons[reason.slug] = traffic.reasons.get(reason.slug, 0) + 1
