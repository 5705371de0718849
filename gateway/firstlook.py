"""May clients be sent to a gateway that has just started? Not before it knows what is in the cluster: one that knows no pods would take the
place of one that does.

A core, told the time. It asks for a first list of every target, for half a minute; then for any, or for something that is not in the
cluster. Only at the start: an answer of yes is for good, and an API server that goes away later changes nothing.
Told by `sources`; `state` says it.
"""

from collections.abc import Sequence

PATIENCE = 30.0
"""Seconds that a target which cannot be listed, as in a namespace without rights, holds up the others."""


class FirstLook:
    """Of one gateway. Times are monotonic seconds."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._over = False

    def lacks(self, unlisted: Sequence[str], now: float, *, any_listed: bool, elsewhere: bool) -> str | None:
        """What is still waited for, for people; None once clients may come.

        `unlisted`: what is in the way of each target that was never listed; `any_listed`: the cluster answered at least once;
        `elsewhere`: some Backend's pods are not in the cluster.
        """
        enough = now - self._began >= PATIENCE and (any_listed or elsewhere)
        self._over = self._over or not unlisted or enough
        if self._over:
            return None
        more = f" and {len(unlisted) - 1} more" if len(unlisted) > 1 else ""
        return f"waiting for the cluster: {unlisted[0]}{more}"

    def __repr__(self) -> str:
        return f"<FirstLook {'over' if self._over else f'since {self._began:.3f}'}>"
