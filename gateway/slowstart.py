"""Pods that are new get less at first: how warm each is.

Core. With `slow_start`, a new pod's warmth rises evenly over that time, from a tenth to one (Envoy's formula with aggression 1 and a least
weight of 10 %). Least requests counts each request open to a pod 1/warmth times: at 50 % it holds half of what the others do, while an idle
one gets its turn. Under a limit a free slot is a free slot: nobody waits for the sake of a pod that is new. Round robin
gives a pod turns in proportion. Pods that come while no other is warm are as good as each other, and are taken to be warm. `warmpicking`
has least requests by warmth; `backend` keeps a Warming and asks it when its time has come.
"""

from collections.abc import Collection
from math import inf

from gateway.breaker import Breaker
from gateway.endpoint import Endpoint

LEAST = 0.1
STEPS = 50
"""Looks at a pod's warmth until it is warm: 2 % each."""


class Warming:
    """The Endpoints of one Backend that are not warm yet."""

    def __init__(self, breaker: Breaker) -> None:
        self.due = inf
        """When to `turn` next."""
        self.seconds = 0.0
        """How long it takes to get warm; 0.0: no time."""
        self._breaker = breaker
        self._since: dict[Endpoint, float] = {}

    def begin(self, endpoints: Collection[Endpoint], now: float) -> None:
        """They may be picked for the first time."""
        if not self.seconds or self._breaker.available <= len(endpoints) + len(self._since):
            return
        for endpoint in endpoints:
            self._since[endpoint] = now
            self._breaker.rewarm(endpoint, LEAST)
        if endpoints:
            self.due = min(self.due, now + self.seconds / STEPS)

    def forget(self, endpoint: Endpoint) -> None:
        self._since.pop(endpoint, None)

    def turn(self, now: float) -> None:
        """Time has gone on, or `seconds` has changed."""
        for endpoint, since in list(self._since.items()):
            warmth = min(1.0, max(LEAST, (now - since) / self.seconds)) if self.seconds else 1.0
            self._breaker.rewarm(endpoint, warmth)
            if warmth == 1.0:
                del self._since[endpoint]
        self.due = now + self.seconds / STEPS if self._since else inf

    def __repr__(self) -> str:
        return f"<Warming of {len(self._since)} over {self.seconds:g} s>"
