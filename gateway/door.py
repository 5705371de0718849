"""Who gets into a Backend's queue, at whose cost, and what those are told who do not.

Core. The order of things: whoever would wait in vain is refused (`patience`); a full queue, by count or by bytes, refuses the newcomer unless
others give way (`queues` says who); the gateway's memory may ask any of them to go. It counts what it sheds, by why. `backend` has one
of these, and takes out whom it names.
"""

from math import inf
from typing import TYPE_CHECKING

from gateway.errors import OVERLOADED, QUEUE_FULL, GatewayError

if TYPE_CHECKING:
    from gateway.breaker import Breaker, Waiter
    from gateway.patience import Patience


class Door:
    """One Backend's."""

    __slots__ = ("_backend", "_breaker", "_patience", "sheds")

    def __init__(self, backend: str, breaker: "Breaker", patience: "Patience", sheds: dict[str, int]) -> None:
        self.sheds = sheds
        """By why: depth, bytes, late, pushed_out, memory."""
        self._backend = backend
        self._breaker = breaker
        self._patience = patience

    def admit(self, waiter: "Waiter", now: float) -> "list[Waiter]":
        """Let a newcomer in: who has to be taken out for it. Raises GatewayError when it is not let in."""
        if self._patience.steady_since < inf:
            hopeless = self._patience.hopeless(waiter, now)
            if hopeless is not None:
                self._shed("late")
                raise hopeless
        breaker = self._breaker
        if not breaker.bytes_limit and len(breaker.waiting) < breaker.depth:
            return []
        return self.room(waiter, 1, waiter.size, now)

    def room(self, waiter: "Waiter", places: int, size: int, now: float) -> "list[Waiter]":
        """Who has to be taken out for so many more places and bytes. Raises GatewayError when that would not do."""
        breaker = self._breaker
        pushed = breaker.room_for(waiter, places, size)
        if pushed is not None:
            return pushed
        if breaker.full and places:
            self._shed("depth")
            has = f"{breaker.queued} requests waiting, its queue's depth"
        else:
            self._shed("bytes")
            has = f"{breaker.bytes} bytes of requests waiting, its queue takes {breaker.bytes_limit}, and this one brings {size} more"
        detail = f"backend {self._backend} has {has}"
        raise GatewayError(QUEUE_FULL, detail, self._patience.retry_after(now))

    def put_off(self, waiter: "Waiter", now: float) -> GatewayError | None:
        """What one is told who would be answered too late, while others wait; None: it would not."""
        error = self._patience.too_late(waiter, now)
        if error is not None:
            self._shed("late")
        return error

    def pushed_out(self, count: int, now: float) -> GatewayError:
        """What so many are told who gave way to a newcomer."""
        detail = (
            f"backend {self._backend}: its queue is full, and a request went before this one that has a higher priority, "
            "or whose tenant has less than its share"
        )
        self._shed("pushed_out", count)
        return GatewayError(QUEUE_FULL, detail, self._patience.retry_after(now))

    def displaced(self, count: int, now: float) -> GatewayError:
        """What so many are told whose memory is needed for others."""
        detail = f"backend {self._backend}: a request with a higher priority needs the memory that this one held while it waited"
        self._shed("memory", count)
        return GatewayError(OVERLOADED, detail, self._patience.retry_after(now))

    def _shed(self, why: str, count: int = 1) -> None:
        self.sheds[why] = self.sheds.get(why, 0) + count

    def __repr__(self) -> str:
        return f"<Door of {self._backend} shed={self.sheds}>"
