"""Who may connect: connections in total, and of each client.

Core: counts, and the bounds that they are held to. A connection enters once and, if it was let in, leaves once; one that was not is nowhere
counted but in `refused`. Bounds may change at any time: a lowered one ends nothing, it refuses the next ones. `downstream` asks, `turned_away`
answers those who are refused, `server` sets the limits.
"""

from dataclasses import dataclass

from gateway.errors import TOO_MANY_CONNECTIONS, GatewayError

RETRY_AFTER = 1.0
"""Seconds: a connection may end at any moment."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may take; 0: no limit."""

    total: int = 0
    per_client: int = 0
    requests: int = 0
    """In one connection; the last one's answer closes it."""


class Admission:
    """Counts the connections that are open, and refuses those beyond the limits."""

    __slots__ = ("_groups", "limits", "open", "refused")

    def __init__(self) -> None:
        self.limits = ConnectionLimits()
        self.open = 0
        self.refused = {"total": 0, "per_client": 0}
        """How many, by the limit that they met."""
        self._groups: dict[str, int] = {}
        """Open connections of each client that has any."""

    def enter(self, group: str) -> GatewayError | None:
        """Let a connection in, or say why not. `group` is the client whose share it takes; an empty one is nobody."""
        limits = self.limits
        if limits.total and self.open >= limits.total:
            return self._refuse("total", f"{self.open} connections are open, as many as the gateway takes")
        held = self._groups.get(group, 0)
        if group:
            if limits.per_client and held >= limits.per_client:
                text = f"{held} connections of {group} are open, as many as a client may have"
                return self._refuse("per_client", text)
            self._groups[group] = held + 1
        self.open += 1
        return None

    def leave(self, group: str) -> None:
        """One that was let in has ended."""
        self.open -= 1
        if group:
            held = self._groups.pop(group) - 1
            if held:
                self._groups[group] = held

    def _refuse(self, limit: str, text: str) -> GatewayError:
        self.refused[limit] += 1
        return GatewayError(TOO_MANY_CONNECTIONS, text, RETRY_AFTER)

    def __repr__(self) -> str:
        return f"<Admission {self.open} open of {len(self._groups)} clients, refused {sum(self.refused.values())}>"
