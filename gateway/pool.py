"""The connections to one pod: those that wait for work, and new ones.

Edge. A pool belongs to an Endpoint, from the first request that goes there until the Endpoint is gone. A connection that finishes an answer puts
itself back; one that is lost leaves by itself. `exchange` takes and dials, `gateway` makes, reaps and closes pools.
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, cast

from gateway.sockets import Lookout
from gateway.tls import Trust, why
from gateway.upstream import Home, Upstream

if TYPE_CHECKING:
    from collections.abc import Sequence

IDLE_SECONDS = 4.0
"""A pooled connection is not used after this long: uvicorn and Node close theirs after 5 s, and a request must not cross that."""
MOST_IDLE = 256


class ConnectionPool(Home):
    """The connections to one pod that wait for work; the last one in is the first one out, so that the others may age."""

    def __init__(
        self,
        host: str,
        port: int,
        loop: asyncio.AbstractEventLoop,
        lookout: Lookout,
        trust: Trust | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.trust = trust
        self._tls: dict[str, Any] = {} if trust is None else trust.options(host)
        self.name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.authority = self.name.encode()
        self.closed = False
        self.lookout = lookout
        self._loop = loop
        self._idle: list[Upstream] = []

    @property
    def idle(self) -> "Sequence[Upstream]":
        return self._idle

    def take(self, now: float) -> Upstream | None:
        """A connection that can be used at once, or None."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if now - connection.idle_since < IDLE_SECONDS and not connection.transport.is_closing():
                return connection
            connection.transport.close()
        return None

    async def dial(self, timeout: float) -> Upstream:
        """A new connection. Raises OSError, or TimeoutError after `timeout` seconds (0: the system's own)."""
        connection = Upstream(self)
        try:
            async with asyncio.timeout(timeout or None):
                await self._open(connection)
            if connection.transport.is_closing():
                raise ConnectionResetError("closed as soon as it was open")  # noqa: TRY301  # as if refused
        except BaseException:
            # Cancelled or late in the very turn in which the connection came: nobody else knows of it.
            connection.abandon()
            raise
        return connection

    async def _open(self, connection: Upstream) -> None:
        try:
            await self._loop.create_connection(
                lambda: _protocol(connection), self.host, self.port, **self._tls
            )
        except (ssl.SSLError, ConnectionError) as error:
            if self.trust is None:
                raise
            raise ConnectionError(why(error)) from error

    def put(self, connection: Upstream) -> None:
        """Take a connection back, or close it when there is no use for it."""
        if self.closed or len(self._idle) >= MOST_IDLE:
            connection.transport.close()
        else:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)

    def forget(self, connection: Upstream) -> None:
        """A connection was lost, maybe an idle one."""
        if connection in self._idle:
            self._idle.remove(connection)

    def reap(self, now: float) -> None:
        """Close those that have aged. The oldest stand in front."""
        idle = self._idle
        while idle and now - idle[0].idle_since >= IDLE_SECONDS:
            idle.pop(0).transport.close()

    def close(self) -> None:
        """Close the idle ones now and the busy ones as they finish."""
        self.closed = True
        for connection in self._idle:
            connection.transport.close()
        self._idle.clear()

    def __repr__(self) -> str:
        return f"<ConnectionPool {self.name} idle={len(self._idle)}{' closed' if self.closed else ''}>"


def _protocol(connection: Upstream) -> asyncio.Protocol:
    return cast("asyncio.Protocol", connection)
