"""A connection beyond the limits: told so at once, and read no further.

Edge. It stands in no table but the wheel's, for the moment that a client may take to read the answer: to close at once could reset the connection
while the client is still sending, and destroy the answer on its way. Of many at once only a few are given that moment, so that a flood
of them cannot use up the files that were kept back. `downstream` hands connections over to this.
"""

import asyncio
from math import inf
from typing import Any

from gateway.errors import GatewayError
from gateway.gateway import Gateway
from gateway.http1 import problem

SECONDS = 1.0
"""How long a client may take to notice."""
AT_ONCE = 32
"""Clients that are given the time."""


class TurnedAway(asyncio.Protocol):
    """Throws away what comes, until the client or the time ends it."""

    __slots__ = ("_gateway", "_transport", "scheduled")

    def __init__(self, gateway: Gateway, transport: Any) -> None:  # noqa: ANN401  # uvloop's is no subclass of asyncio's
        self.scheduled = inf
        self._gateway = gateway
        self._transport = transport

    def on_time(self, now: float) -> float:  # noqa: ARG002  # the wheel tells it
        self._transport.abort()
        return inf

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        gateway = self._gateway
        gateway.turned_away.discard(self)
        gateway.wheel.disarm(self)

    def __repr__(self) -> str:
        return "<TurnedAway>"


def turn_away(gateway: Gateway, transport: Any, error: GatewayError) -> None:  # noqa: ANN401
    """Refuse a connection that was just made."""
    request_id = gateway.new_request_id()
    gateway.report(error, "", request_id)
    protocol = TurnedAway(gateway, transport)
    transport.set_protocol(protocol)
    head, body = problem(error, request_id, details=gateway.details)
    framing = b"content-length: %d\r\nconnection: close\r\n" % len(body)
    transport.write(head.render(framing, b"x-request-id: %b\r\n" % request_id, body))
    if len(gateway.turned_away) < AT_ONCE:
        gateway.turned_away.add(protocol)
        if transport.can_write_eof():
            transport.write_eof()
        # TLS knows no half of a connection; to close it would end it as soon as the client sends.
        gateway.wheel.arm(protocol, gateway.now() + SECONDS)
    elif transport.can_write_eof():
        transport.close()
    else:
        # Its close waits for the client.
        transport.abort()
