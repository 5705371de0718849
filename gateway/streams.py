"""What an Exchange and the two streams that it stands between promise each other.

A stream speaks of heads, data, ends, resets and pauses, never of parsers or transports: HTTP/1.1 (`downstream`, `upstream`) is one
pair of streams, another protocol would be another pair around the same `exchange`. Calls never wait, and none comes after a reset.
"""

from typing import Protocol

from gateway.errors import GatewayError
from gateway.forwarded import Origin
from gateway.http1 import RequestHead, ResponseHead
from gateway.retries import Failure
from gateway.timers import Timed


class ClientStream(Timed, Protocol):
    """The client's side of one request, as the Exchange calls it."""

    origin: Origin
    """Where the request comes from."""

    @property
    def choked(self) -> bool:
        """The client has not yet taken what was written; `on_blocked` has said so, and says it once."""

    def interim(self, head: ResponseHead) -> None:
        """Pass on a 1xx answer."""

    def respond(
        self, head: ResponseHead, data: bytes, trailers: list[bytes], extra: bytes, *, ended: bool
    ) -> None:
        """Begin the answer; `extra` are whole header lines."""

    def send(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Go on with the answer."""

    def switch(self, head: ResponseHead, data: bytes, extra: bytes) -> None:
        """Grant what the client offered, with a 101: from here on `send` passes bytes on as they are."""

    def end(self) -> None:
        """End a connection that was switched: what was written is still sent, and what comes is thrown away."""

    def reset(self) -> None:
        """Break off, so that the client cannot take what it has for the whole."""

    def pause(self) -> None:
        """Ask the client to send no more for now."""

    def resume(self) -> None: ...


class PodStream(Protocol):
    """The pod's side of one request, as the Exchange calls it."""

    def request(
        self,
        receiver: "Receiver",
        head: RequestHead,
        forwarded: bytes,
        data: bytes,
        trailers: list[bytes],
        *,
        ended: bool,
    ) -> None:
        """Begin the request; whatever comes of it goes to `receiver`."""

    def send(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Go on with the request's body."""

    def end(self) -> None:
        """End a connection that was switched: what was written is still sent. The pod's own end is still told."""

    def reset(self) -> None:
        """Drop the request: the pod notices."""

    def pause(self) -> None:
        """Ask the pod to send no more for now."""

    def resume(self) -> None: ...


class Receiver(Protocol):
    """The Exchange, as the pod's stream calls it."""

    switches_to: bytes
    """The protocol that the pod may switch to with a 101; empty: none."""

    def on_interim(self, head: ResponseHead) -> None: ...
    def on_head(self, head: ResponseHead, data: bytes, trailers: list[bytes], *, ended: bool) -> None: ...
    def on_data(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None: ...
    def on_lost(self, error: GatewayError, failure: Failure = Failure.BROKEN) -> None: ...
    def on_pod_blocked(self) -> None: ...
    def on_pod_writable(self) -> None: ...
