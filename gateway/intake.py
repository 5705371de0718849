"""How much a client may send before its turn, and when its connection is read at all: nothing is kept without bound.

The part of a Downstream that keeps bytes unparsed until the request before them is answered. They are bounded for each connection, by pausing it,
and over all connections by the gateway's `Buffered`: without room there, the turn of what was sent will be a refusal. While it is paused
the gateway's Lookout watches the socket. `Downstream` fills the attributes: one call less for every connection.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from gateway.reader import RequestReader

AHEAD_MOST = 65536
"""Bytes kept of what a client sends before its last request is answered."""


class Intake:
    """What a client has sent ahead, and whether its connection is read."""

    __slots__ = (
        "_ahead", "_blocked", "_gateway", "_half_closed", "_reader", "_reading", "_weighed", "transport",
    )  # fmt: skip

    _gateway: "Gateway"
    _reader: "RequestReader"
    _ahead: bytes
    _weighed: int
    """Bytes of it that the gateway has been told of."""
    _reading: bool
    _blocked: bool
    """The Exchange can take no more of the body for now."""
    _half_closed: bool
    """This client sends nothing more, and waits for answers all the same."""
    transport: Any
    """An asyncio.Transport from `connection_made` on; typed loosely, as uvloop's is no subclass of it."""

    def on_end(self, *, reset: bool) -> None:
        """The client has gone while its connection was not read."""
        raise NotImplementedError

    @property
    def paused(self) -> bool:
        return not self._reading and not self.transport.is_closing()

    def pause(self) -> None:
        """Read no more of the body for now."""
        self._blocked = True
        self._govern_reading()

    def resume(self) -> None:
        self._blocked = False
        self._govern_reading()

    def _govern_reading(self) -> None:
        """Read while there is a use for it."""
        reading = not self._blocked and len(self._ahead) <= AHEAD_MOST
        if reading == self._reading or self._half_closed or self.transport.is_closing():
            return
        self._reading = reading
        if reading:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()
            self._gateway.lookout.watch(self)

    def _set_aside(self, data: bytes) -> None:
        """Keep what came before its turn, if anybody will read it."""
        if not self._reader.ended:
            self._ahead += data
            self._weigh_ahead()
            self._govern_reading()

    def _weigh_ahead(self) -> None:
        """Account for what is kept, once it is clear that it has to wait."""
        buffered = self._gateway.buffered
        more = len(self._ahead) - self._weighed
        if more > 0 and not buffered.hold(more):
            self._ahead = b""
            self._reader.give_up(buffered.refusal())
            more = -self._weighed
        if more < 0:
            buffered.release(-more)
        self._weighed += more

    def _forget_ahead(self) -> None:
        self._ahead = b""
        if self._weighed:
            self._weigh_ahead()
