"""What a test may break while the server runs, and mend again.

    api.faults.stall(); …; api.faults.stall(False)       watches say nothing and stay open
    api.faults.answer(429, times=3, verb="patch", resource="deployments/scale", retry_after=1)
    await api.faults.away(); …; await api.faults.back()    nobody listens, open connections are cut
    api.faults.mute_watches()                            those that are open now never say anything again

Watches that were stalled say what they held back once that ends; bookmarks of the meantime are left out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.kube.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from tests.kube.history import History
    from tests.kube.listing import Lists
    from tests.kube.paths import Target
    from tests.kube.watching import Watch

REASONS = {
    409: (
        "Conflict",
        "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again",
    ),
    410: ("Expired", "The resourceVersion for the provided watch is too old."),
    429: ("TooManyRequests", "Too many requests, please try again later."),
    500: ("InternalError", "Internal error occurred: a test asked for it"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "Timeout: request did not complete within the allotted timeout"),
}


@dataclass(slots=True)
class Match:
    """Requests of a verb and a resource (`pods`, `deployments/scale`); `*` is any."""

    verb: str
    resource: str
    times: int

    def takes(self, target: Target) -> bool:
        """Whether it is this request's turn; counts it."""
        fits = self.verb in {"*", target.verb} and self.resource in {"*", target.full_resource}
        if not fits or not self.times:
            return False
        self.times -= 1
        return True


@dataclass(slots=True)
class Answer(Match):
    code: int
    retry_after: int


@dataclass(slots=True)
class Delay(Match):
    seconds: float


class Faults:
    """All switches of one server. `listen` and `close` are its own."""

    def __init__(
        self, history: History, lists: Lists, listen: Callable[[], Awaitable[None]], close: Callable[[], None]
    ) -> None:
        self.bookmark_interval = 1.0
        self.gone_as_status = False
        """A watch whose history is gone is answered 410, and not by an ERROR in its stream."""
        self.stalled = False
        self.is_away = False
        self.watches: dict[asyncio.Event, tuple[web.Request, Watch]] = {}
        """Those that are open."""
        self._muted: set[asyncio.Event] = set()
        self._ending: set[asyncio.Event] = set()
        self._answers: list[Answer] = []
        self._delays: list[Delay] = []
        self._history = history
        self._lists = lists
        self._listen = listen
        self._close = close

    async def away(self) -> None:
        """Refuse connections and cut those that are open."""
        self.is_away = True
        self._close()

    async def back(self) -> None:
        """Listen again, on the same port."""
        self.is_away = False
        await self._listen()

    def stall(self, on: bool = True) -> None:
        """Let watches, also new ones, say nothing and stay open."""
        self.stalled = on
        for wake in self.watches:
            wake.set()

    def mute_watches(self) -> int:
        """Let every watch that is open now say nothing any more and stay open; new ones go on. Returns how many."""
        self._muted = set(self.watches)
        return len(self._muted)

    def silences(self, wake: asyncio.Event) -> bool:
        return self.stalled or wake in self._muted

    def cut_watches(self, *, cleanly: bool = False) -> int:
        """End every watch, `cleanly` or in the middle of its answer. Returns how many."""
        count = len(self.watches)
        for wake, (request, _) in tuple(self.watches.items()):
            if cleanly:
                self._ending.add(wake)
                wake.set()
            elif request.transport is not None:
                request.transport.abort()
        return count

    def is_ending(self, wake: asyncio.Event) -> bool:
        ending = wake in self._ending
        self._ending.discard(wake)
        return ending

    def answer(
        self, code: int, times: int = 1, verb: str = "*", resource: str = "*", retry_after: int = 0
    ) -> None:
        """Refuse the next `times` requests of this kind, whatever they ask for."""
        self._answers.append(Answer(verb, resource, times, code, retry_after))

    def delay(self, seconds: float, times: int = -1, verb: str = "*", resource: str = "*") -> None:
        """Answer the next `times` requests of this kind later; -1 is all of them."""
        self._delays.append(Delay(verb, resource, times, seconds))

    def clear(self) -> None:
        """Answer at once again, and nothing made up."""
        self._answers.clear()
        self._delays.clear()

    def compact(self) -> None:
        """Forget history: watches from before and continue tokens are 410 from now on. Open watches go on."""
        self._history.compact()
        self._lists.forget()

    def freeze(self, *, lists_current: bool = False) -> None:
        """Let lists and watches go on showing what is there now. With `lists_current` only lists that allow it (resourceVersion=0) do."""
        self._history.freeze(lists_current=lists_current)

    def thaw(self) -> None:
        self._history.thaw()

    async def meet(self, target: Target) -> None:
        """Do to a request what was asked for."""
        for delay in self._delays:
            if delay.takes(target):
                await asyncio.sleep(delay.seconds)
        for answer in self._answers:
            if answer.takes(target):
                raise ApiError(
                    answer.code, *REASONS.get(answer.code, ("", "made up")), retry_after=answer.retry_after
                )

    def __repr__(self) -> str:
        states = {"away": self.is_away, "stalled": self.stalled, "frozen": self._history.frozen}
        on = ", ".join(name for name, state in states.items() if state) or "none"
        return f"<Faults: {on}; {len(self.watches)} watches open>"
