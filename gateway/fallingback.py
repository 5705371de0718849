"""The part of an Exchange whose Backend cannot serve it: off to another one, or a page for whoever looks at a browser.

Core. A request falls back when its Backend has had no pod for it for as long as the Route says, when it cannot start any, when none
accepts a connection, when its queue is full or too slow, or when it was removed; as long as nothing of it was sent that is not kept, and once: where it falls back to,
it waits as any other. It has waited at its own Backend before, which therefore knows that it is wanted. The time is that without
any pod, by the Backend's own clock: a queue in front of busy pods is no reason. `queueing` and `retrying` tell of each wait, `answering` gives the page.
"""

from math import inf
from typing import TYPE_CHECKING

from gateway.errors import (
    ACTIVATION_TIMEOUT,
    BACKEND_REMOVED,
    CANNOT_START,
    CONNECT_FAILED,
    PLACEHOLDER,
    QUEUE_FULL,
    QUEUE_TIMEOUT,
    GatewayError,
    Reason,
)
from gateway.retrying import Retrying

if TYPE_CHECKING:
    from gateway.backend import Backend
    from gateway.http1 import ResponseHead
    from gateway.search import Search
    from gateway.terms import BackendRef

_ELSEWHERE = frozenset(
    (ACTIVATION_TIMEOUT, BACKEND_REMOVED, CANNOT_START, CONNECT_FAILED, QUEUE_FULL, QUEUE_TIMEOUT)
)
"""Ends that another Backend may turn to the better: no pod has seen the request."""


NO_POD = "no_pod"
"""Why it falls back that has waited for as long as its Route says; other reasons are those of errors."""


class FallingBack(Retrying):
    """The part of an Exchange that does not wait for its own Backend without end."""

    __slots__ = ()

    def _set_out(self, ref: "BackendRef", size: int, now: float) -> None:
        """On to a pod, `size` bytes of the body being there. Its clocks begin now, not with the head: gathering a body is no waiting for a slot."""
        raise NotImplementedError

    def _give(self, head: "ResponseHead", body: bytes, reason: Reason | None) -> None:
        """End with a whole answer."""
        raise NotImplementedError

    def on_time(self, now: float) -> float:
        """The wheel asks."""
        search = self._search
        if search is not None and self._waiter is not None and now >= self._due:
            self._due = inf
            self._lose_patience(search, now)
        return super().on_time(now)

    def _waits(self, backend: "Backend", now: float) -> None:
        super()._waits(backend, now)
        search = self._search
        if search is not None and self._waiter is not None and search.patience < inf:
            self._look_again(now + search.patience)

    def _look_again(self, due: float) -> None:
        self._due = due
        self._arm(due)

    def _lose_patience(self, search: "Search", now: float) -> None:
        """It has waited for as long as somebody cares about; whether for a pod is another question."""
        backend, waiter, placeholder = self._backend, self._waiter, search.placeholder
        assert backend is not None  # noqa: S101  # it waits there
        assert waiter is not None  # noqa: S101
        starved = backend.patience.starved(waiter, now)
        if backend.breaker.available:
            self._look_again(now + search.patience)
        elif (
            search.fallback is not None
            and starved >= search.fallback.after
            and self._elsewhere(search, NO_POD)
        ):
            return
        elif placeholder is not None and starved >= placeholder.after and not backend.limits.paused:
            head, body = placeholder.page.answer(self._head)
            self._give(head, body, PLACEHOLDER)
        elif search.patience > starved:
            self._look_again(now + search.patience - starved)

    def _falls_back(self, error: GatewayError) -> bool:
        """Whether the request goes on elsewhere instead of ending like this."""
        search = self._search
        return (
            search is not None and error.reason in _ELSEWHERE and self._elsewhere(search, error.reason.slug)
        )

    def _elsewhere(self, search: "Search", why: str) -> bool:
        fallback, backend = search.fallback, self._backend
        if fallback is None or backend is None:
            return False
        if fallback.ref.backend is backend or fallback.ref.backend.removed:
            search.fallback = None
            return False
        if self._client is None or self._responded or not self._kept:
            return False
        now = self._gateway.now()
        self._leave(backend, now)
        counts, key = backend.stats.fallbacks, (fallback.ref.route, why)
        counts[key] = counts.get(key, 0) + 1
        search.fallback = None
        search.key = search.key_at(fallback.ref)
        self._set_out(fallback.ref, self._held_bytes, now)
        return True

    def _leave(self, backend: "Backend", now: float) -> None:
        """Give back what the first Backend has given, as at the end."""
        if self._tries is not None:
            self._tries.over()
            self._tries = None
        endpoint, waiter = self._endpoint, self._waiter
        self._endpoint = self._waiter = None
        self._due = inf
        if waiter is not None:
            backend.give_up(waiter, now)
        elif endpoint is not None:
            backend.ends(self.standing, now)
            self._gateway.hand_out(backend.leave(endpoint, now), now)
