"""A request that becomes a tunnel: `Upgrade: websocket`, bytes both ways, until either side ends it.

It is an Exchange: it finds a Backend, waits, is tried again and counted as any other, and is in flight until the tunnel ends. To the pod
it is a GET without a body, and what the client sends ahead of the answer is held here. Answers the pod 101, then each side's bytes are
passed on as they come, with the Exchange's backpressure and deadlines; any other answer is an ordinary one, and what was held is thrown
away. A WebSocket ends by frames of its own, so that the first FIN from either side ends the tunnel: the other side still gets what was
written to it, then FIN. `reader` says which requests these are, `downstream` makes them.
"""

from typing import TYPE_CHECKING

from gateway.bodies import HELD_MOST
from gateway.errors import CLIENT_CLOSED, IDLE_TIMEOUT
from gateway.exchange import Exchange
from gateway.http1 import WEBSOCKET
from gateway.retries import Failure

if TYPE_CHECKING:
    from gateway.errors import GatewayError, Reason
    from gateway.gateway import Gateway
    from gateway.http1 import RequestHead, ResponseHead
    from gateway.streams import ClientStream, PodStream

QUIET_SECONDS = 1.0
"""A tunnel in which nothing moved for this long is ended by a drain."""
PARTING_SECONDS = 30.0
"""How long a pod may take to read what was written to it, and to close, once its client has left."""


class Tunnel(Exchange):
    """One offer to switch to WebSocket, and what came of it."""

    __slots__ = ("_early", "_early_bytes", "_moved", "_open", "_parting")

    switches_to = WEBSOCKET

    def __init__(self, gateway: "Gateway", client: "ClientStream", head: "RequestHead") -> None:
        super().__init__(gateway, client, head)
        self._early: list[bytes] = []
        """What the client has sent ahead of the pod's answer."""
        self._early_bytes = 0
        self._open = False
        """The pod has switched."""
        self._moved = 0.0
        """When the last byte came, from either side."""
        self._parting: PodStream | None = None
        """A pod that still reads what was written to it, after the end."""

    # -- the client's stream calls

    def start(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:  # noqa: ARG002  # it has no end
        """Go. To the pod the request is whole: what came behind its head is for after the 101."""
        if data:
            self._hold_early(data)
        if not self._over:
            super().start(b"", trailers, ended=True)

    def on_body(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:  # noqa: ARG002
        """Bytes from the client."""
        if self._over:
            return
        if self._open and self._pod is not None:
            self._move(self._gateway.now())
            self._pod.send(data, [], ended=False)
        elif not self._responded:
            self._hold_early(data)

    def on_gone(self, *, broken: bool = False) -> None:
        """The client has left. Nothing is held for it, whatever the Backend's `cancel` says: a tunnel has no answer to wait for."""
        client, self._client = self._client, None
        if self._over or client is None:
            return
        if self._open:
            self._part(broken=broken)
        else:
            self._finish(CLIENT_CLOSED.status, CLIENT_CLOSED, self._gateway.now())

    def on_writable(self) -> None:
        self._moved = self._gateway.now()
        super().on_writable()

    def on_drain(self) -> None:
        """The gateway ends, and asks many times a second. A good moment is when nothing moves, and nothing waits to move."""
        if self._over or not self._open or self._pod_blocked:
            return
        if self._gateway.now() - self._moved >= QUIET_SECONDS:
            self._part()

    # -- the pod's stream calls

    def on_head(self, head: "ResponseHead", data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """The pod switches, or answers something else."""
        if head.status == 101 and not self._over:
            self._switch(head, data)
            return
        super().on_head(head, data, trailers, ended=ended)
        if self._responded:
            self._release_early()

    def on_data(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Bytes from the pod, or its end."""
        if not self._open:
            super().on_data(data, trailers, ended=ended)
        elif ended:
            self._pod = None
            self._parted()
            if not self._over:
                self._part()
        elif self._client is not None:
            self._move(self._gateway.now())
            self._client.send(data, [], ended=False)

    def on_pod_writable(self) -> None:
        self._moved = self._gateway.now()
        super().on_pod_writable()

    def on_lost(self, error: "GatewayError", failure: Failure = Failure.BROKEN) -> None:
        self._parted()
        super().on_lost(error, failure)

    @property
    def switched(self) -> bool:
        return self._open and not self._over

    # -- inside

    def on_time(self, now: float) -> float:
        parting, self._parting = self._parting, None
        if parting is not None:
            parting.reset()
        return super().on_time(now)

    def _hold_early(self, data: bytes) -> None:
        buffered = self._gateway.buffered
        if not buffered.hold(len(data)):
            self.fail(buffered.refusal())
            return
        self._early.append(data)
        self._early_bytes += len(data)
        if self._early_bytes > HELD_MOST and self._client is not None:
            self._client.pause()

    def _release_early(self) -> bytes:
        """What was kept is not kept any more, and the client may go on."""
        early = b"".join(self._early)
        self._early.clear()
        self._gateway.buffered.release(self._early_bytes)
        if self._early_bytes > HELD_MOST and self._client is not None:
            self._client.resume()
        self._early_bytes = 0
        return early

    def _finish(self, status: int, reason: "Reason | None", now: float) -> None:
        super()._finish(status, reason, now)
        self._release_early()

    def _switch(self, head: "ResponseHead", data: bytes) -> None:
        client, pod = self._client, self._pod
        assert client is not None  # noqa: S101  # an offer ends with its client
        assert pod is not None  # noqa: S101  # it has just spoken
        now = self._gateway.now()
        self._open = self._responded = True
        self._status = head.status
        self._traffic.response_start.observe(now - self._begun)
        if self._cold is not None:
            self._note_start(now)
        self._expect(now, self._timeouts.idle, IDLE_TIMEOUT)
        self._moved = now
        self._edit(head)
        client.switch(head, data, self._extra())
        early = self._release_early()
        if early:
            pod.send(early, [], ended=False)

    def _move(self, now: float) -> None:
        self._moved = now
        if self._timeouts.idle:
            self._due = now + self._timeouts.idle

    def _part(self, *, broken: bool = False) -> None:
        """End in good order, or, towards the pod, as the client did. The slot is free at once; the pod has a while to read."""
        client, self._client = self._client, None
        pod, self._pod = self._pod, None
        now = self._gateway.now()
        self._finish(self._status, None, now)
        if client is not None:
            client.end()
        if pod is None:
            return
        if broken:
            pod.reset()
            return
        self._parting = pod
        self._gateway.wheel.arm(self, now + PARTING_SECONDS)
        pod.end()

    def _parted(self) -> None:
        """The pod is gone as well."""
        if self._parting is not None:
            self._parting = None
            self._gateway.wheel.disarm(self)

    def __repr__(self) -> str:
        if self._open and not self._over:
            return f"<Tunnel {self._head.place} open>"
        return super().__repr__().replace("Exchange", "Tunnel", 1)
