"""The part of an Exchange that waits for its turn: how it stands among the others, what waits with it, and whom it pushes out.

Core. It makes the Waiter, tells its Backend of what comes of the body meanwhile, and passes on to others that they have to go. When the gateway's memory
is full, those of a lower priority that wait, for whatever Backend, give theirs up. `retrying` waits again, `inspection` knows a
Standing that the request's header tells; `exchange` is the rest of an Exchange, and fills the attributes.
"""

from typing import TYPE_CHECKING

from gateway.bodies import Bodies
from gateway.breaker import Waiter
from gateway.errors import GatewayError
from gateway.standing import ANYONE

if TYPE_CHECKING:
    from gateway.backend import Backend
    from gateway.breaker import Endpoint
    from gateway.search import Search
    from gateway.standing import Standing
    from gateway.terms import BackendRef


class Queueing(Bodies):
    """The part of an Exchange that is in a queue."""

    __slots__ = ("_backend", "_ref", "_search", "_waiter")

    _ref: "BackendRef | None"
    _backend: "Backend | None"
    _waiter: "Waiter | None"
    _search: "Search | None"
    """How it found its Backend; None: host and path told everything."""

    def granted(self, endpoint: "Endpoint", now: float) -> None:
        """A slot came free while this waited."""
        raise NotImplementedError

    def refused(self, error: GatewayError) -> None:
        """Waited in vain; the Backend has let go of it already."""
        self._waiter = None
        self.fail(error)

    @property
    def held(self) -> int:
        """Bytes of its body that count against the gateway's bound."""
        return self._weighed

    @property
    def standing(self) -> "Standing":
        """What it is to a queue."""
        return ANYONE if self._ref is None else self._ref.standing

    @property
    def _key(self) -> int | None:
        """What the request has in common with others that should meet the same pod."""
        return None if self._search is None else self._search.key

    def _wait(self, backend: "Backend", now: float) -> None:
        if not self._weigh():
            return
        head = self._head
        size = sum(map(len, head.lines)) + len(head.target) + self._held_bytes
        self._waiter = waiter = Waiter(
            self, now, (), self._key, standing=self.standing, size=size, due=self._total_due
        )
        try:
            pushed = backend.wait(waiter, now)
        except GatewayError as error:
            self._waiter = None
            self.fail(error)
        else:
            self._gateway.turn_away(pushed)
            self._waits(backend, now)

    def _waits(self, backend: "Backend", now: float) -> None:  # noqa: ARG002  # for those who count the time
        """It has begun to wait."""
        self._gateway.waits(backend)

    def _more_waits(self, size: int) -> None:
        """More of the body has come, and has to wait."""
        waiter, backend = self._waiter, self._backend
        if not self._weigh() or waiter is None or backend is None:
            return
        try:
            pushed = backend.grow(waiter, size, self._gateway.now())
        except GatewayError as error:
            self.fail(error)
        else:
            self._gateway.turn_away(pushed)

    def _displace(self, size: int) -> bool:
        return self._gateway.displace(size, self.standing.priority)
