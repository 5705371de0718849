"""How much of clients' bodies the gateway holds back, over all connections, and the bound on that.

Core. Whoever keeps bytes that cannot go on yet (a body that waits for a slot or a start, what a client sends before its turn) asks for room
first and gives it back when the bytes are gone. Bytes that go straight through are never counted. `gateway` owns the one that there is.
"""

from gateway.errors import OVERLOADED, GatewayError

RETRY_AFTER = 1.0


class Buffered:
    """Bytes held, of those that may be."""

    __slots__ = ("bound", "held")

    def __init__(self, bound: int = 0) -> None:
        self.bound = bound
        """Bytes at most; 0: no limit. A lowered one drops nothing, it refuses more."""
        self.held = 0

    def hold(self, size: int) -> bool:
        """Make room for so many bytes; False, and nothing is taken, when there is none."""
        if self.bound and self.held + size > self.bound:
            return False
        self.held += size
        return True

    def short(self, size: int) -> int:
        """How much would have to go before there is room for so many bytes; none when there is."""
        return self.held + size - self.bound if self.bound else 0

    def release(self, size: int) -> None:
        """They are gone."""
        self.held -= size

    def refusal(self) -> GatewayError:
        """What to tell a client for whose bytes there is no room."""
        detail = f"the gateway holds {self.held} bytes of requests that wait, and takes no more"
        return GatewayError(OVERLOADED, detail, RETRY_AFTER)

    def __repr__(self) -> str:
        return f"<Buffered {self.held} of {self.bound or 'any number of'} bytes>"
