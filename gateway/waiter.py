"""Who waits for a pod: what a queue needs to know of a request, what it tells it in the end, and what a change meant for all of them.

`breaker` has them wait, `queues` put them in order.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from gateway.endpoint import Endpoint
from gateway.errors import GatewayError
from gateway.standing import ANYONE, Standing


class Seeker(Protocol):
    """Who wants an Endpoint: an Exchange."""

    @property
    def held(self) -> int:
        """Bytes of its body that count against the gateway's bound."""

    def granted(self, endpoint: Endpoint, now: float) -> None: ...
    def refused(self, error: GatewayError) -> None: ...


class Waiter:
    """A queued request, as the queue needs to know it."""

    __slots__ = (
        "avoid",
        "cold",
        "due",
        "key",
        "request",
        "served_at",
        "since",
        "size",
        "standing",
    )

    def __init__(
        self,
        request: Seeker,
        since: float,
        avoid: Collection[Endpoint] = (),
        key: int | None = None,
        *,
        standing: Standing = ANYONE,
        size: int = 0,
        due: float = inf,
    ) -> None:
        self.request = request
        """Whom the grant is for; handed back untouched."""
        self.since = since
        self.avoid = avoid
        """Endpoints it would rather not get: those that failed it."""
        self.key = key
        """What it has in common with others that should meet the same Endpoint."""
        self.standing = standing
        self.size = size
        """Bytes that wait with it: its head, and what there is of its body."""
        self.due = due
        """When its time is over, whoever has it."""
        self.served_at = 0.0
        """The Backend's clock as it began to wait, which runs while a pod is available."""
        self.cold = False
        """It came when nothing was ready, so that it waits for a start."""

    def __repr__(self) -> str:
        return f"<Waiter {self.request!r} since={self.since:.3f}{' cold' if self.cold else ''}>"


Refusals = list[tuple[Waiter, GatewayError]]
"""Who waits no longer, and why."""


@dataclass
class Verdict:
    """What a change brought about: who may go on, who may not, which Endpoints are gone or need new connections."""

    granted: list[tuple[Waiter, Endpoint]] = field(default_factory=list)
    refused: Refusals = field(default_factory=list)
    gone: list[Endpoint] = field(default_factory=list)
    """For good."""
    renewed: list[Endpoint] = field(default_factory=list)
    """What their connections are held to has changed."""
