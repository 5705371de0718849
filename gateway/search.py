"""One request's way to its Backend, where a look at host and path is not enough.

Core: told of a request and of the chance, it returns what was decided: the first Route whose conditions hold, its rules, its tags, who is sticky, then the
split's turn. Where only the body tells, it says so (a Look) and goes on once the body was looked into. Requests that `routing` can place by host and path
alone, on a Route without Steering, never come here. `inspection` asks for its Exchange.
"""

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from gateway.answers import Fixed, Placeholder, Redirect
from gateway.asked import Asked, Unknown
from gateway.conditions import Look
from gateway.routing import Candidates, Route
from gateway.splits import Split
from gateway.steering import Steering
from gateway.sticky import Sticky
from gateway.terms import BackendRef, Fallback

if TYPE_CHECKING:
    from gateway.copies import Copy
    from gateway.mirrors import Mirror
    from gateway.rewriting import Edits
    from gateway.standing import Standing


class Search:
    """One request on its way to a Backend, where a look at host and path is not enough."""

    __slots__ = (
        "_draw", "_found", "_ref", "asked", "cookie", "copy", "fallback", "key", "mirror", "placeholder", "response", "route", "standing",
    )  # fmt: skip

    def __init__(
        self, found: Route[BackendRef] | Candidates[BackendRef], asked: Asked, draw: Callable[[], bytes]
    ) -> None:
        """`draw` gives a new cookie its value."""
        self.asked = asked
        self.route: Route[BackendRef] | None = None
        """Once it is known."""
        self.cookie = b""
        """A whole line for the answer: the client came without."""
        self.standing: Standing | None = None
        """What its header says that it is to a queue, once its Backend is known."""
        self.key: int | None = None
        """What the request has in common with others that should meet the same pod of its Backend."""
        self.fallback: Fallback | None = None
        """Where it may yet go."""
        self.placeholder: Placeholder | None = None
        """What it is shown if it has to wait for long."""
        self.mirror: Mirror | None = None
        """What may have it copied, until it goes to a pod."""
        self.copy: Copy | None = None
        """Its copy."""
        self.response: Edits | None = None
        """What its Route writes of a pod's answer."""
        self._ref: BackendRef | None = None
        """Chosen; what is still to be done is for the sake of the key."""
        self._found = found
        self._draw = draw

    def advance(self) -> BackendRef | Look | Fixed | Redirect | None:
        """The Backend, or what has to be done first, or the answer; None: no Route takes the request. After a Backend nothing more may be asked."""
        ref = self._place() if self._ref is None else self._ref
        if not isinstance(ref, BackendRef):
            return ref
        self._ref = ref
        key = None if ref.affinity is None else ref.affinity.key(self.asked)
        if isinstance(key, Look):
            return key
        self.key = key
        return ref

    def upcoming(self) -> list[BackendRef]:
        """Where it may go, by the turns of the Routes that may take it."""
        return self._found.upcoming() if self._ref is None else [self._ref]

    def key_at(self, ref: BackendRef) -> int | None:
        """What it has in common with others at another Backend, as far as that is known by now."""
        key = None if ref.affinity is None else ref.affinity.key(self.asked)
        return None if isinstance(key, Look) else key

    def _place(self) -> BackendRef | Look | Fixed | Redirect | None:
        route = self._route()
        if route is None or isinstance(route, Look):
            return route
        self.route = route
        steering = route.steering
        if steering is None:
            return route.choose()
        if steering.answer is not None:
            return steering.answer
        if steering.aliases and isinstance(self.asked.model, Unknown):
            return steering.look
        return self._choose(route.split, steering)

    @property
    def patience(self) -> float:
        """Seconds without a pod after which something else happens than to wait on."""
        limits = [each.after for each in (self.fallback, self.placeholder) if each is not None]
        return min(limits, default=inf)

    @property
    def alias_for(self) -> str | None:
        """The name that its Route puts in place of the model's; None: the name stays."""
        steering = self.route.steering if self.route is not None else None
        model = self.asked.model if steering is not None and steering.aliases else None
        return steering.aliases.get(model) if steering is not None and isinstance(model, str) else None

    def _route(self) -> Route[BackendRef] | Look | None:
        if self.route is not None:
            return self.route
        found = self._found
        return found.pick(self.asked) if isinstance(found, Candidates) else found

    def _choose(self, split: Split[BackendRef], steering: Steering) -> BackendRef | Look:
        keyed = steering.keyed
        for rule in steering.rules:
            held = rule.conditions.hold(self.asked)
            if isinstance(held, Look):
                return held
            if held:
                split, keyed = rule.split, rule.keyed
                break
        else:
            tagged = steering.tags.get(self.asked.head.tag or b"")
            if tagged is not None:
                return tagged
        if keyed is None or steering.sticky is None:
            return split.choose()
        key = self._key(steering.sticky)
        return split.choose() if key is None else keyed.choose(key)

    def _key(self, sticky: Sticky) -> bytes | None:
        """Whoever comes without a cookie goes where the one that they get will lead them."""
        key = sticky.key(self.asked)
        if key is None and sticky.cookie is not None:
            key = self._draw()
            self.cookie = sticky.cookie.line(key)
        return key

    def __repr__(self) -> str:
        return f"<Search {self.asked!r} {self.route!r}>"
