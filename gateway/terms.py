"""What a Route says of one of its Backends: the Backend itself, and all that an Exchange keeps to once it was chosen.

Core: plain values, made when a table is built, so that a request finds everything with one look. `config.table` fills a BackendRef from
the Route's own settings, the Backend's and the defaults; a Route's Split hands them out; the Exchange reads.
"""

from dataclasses import dataclass, field

from gateway.affinity import Affinity
from gateway.backend import Backend
from gateway.retries import RetryPolicy
from gateway.standing import ANYONE, Standing
from gateway.stats import Traffic


@dataclass(frozen=True)
class Timeouts:
    """Seconds that an Exchange may take for each step once its Route is known; 0.0: no limit."""

    connect: float = 5.0
    response: float = 300.0
    """From the request's last byte to the response's head."""
    idle: float = 300.0
    """Between two pieces of a response's body."""
    request: float = 0.0
    """From the request's head to the response's last byte."""


@dataclass(eq=False)
class BackendRef:
    """One Backend as one Route refers to it."""

    backend: Backend
    route: str
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    body_limit: int = 0
    """Bytes that a request's body may have; 0: no limit."""
    expose_backend: bool = False
    """Tell the client which Backend answered (`x-tidegate-backend`)."""
    half_close: bool = False
    """A client that closes its sending side after its whole request still gets the answer."""
    standing: Standing = ANYONE
    """What its requests are to a queue, where their header does not tell."""
    affinity: Affinity | None = None
    """What requests have in common that should meet the same pod; None: nothing, any pod will do."""
    traffic: Traffic | None = None
    """Where its requests are counted: looked up by the first of them, on the event loop."""

    def meet(self) -> Traffic:
        """Find the counts, which outlive the table."""
        self.traffic = traffic = self.backend.traffic_of(self.route)
        return traffic
