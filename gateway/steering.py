"""What a Route does with a request beyond its split: decided here, once per request, for those Routes that ask for any of it.

Core: told of a request and of the chance, it returns what was decided. A Route that uses none of it has no Steering, and its requests never
come here; nor do those that `routing` can place by host and path alone. A Search goes from what the table has found to a Backend:
the first Route whose conditions hold, its rules, its tags, who is sticky, then the split's turn. Where only the body tells, it says so (a Look)
and goes on once the body was looked into. `config.table` builds a Steering per Route; `inspection` asks for its Exchange.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.asked import Asked, Unknown
from gateway.conditions import Conditions, Look
from gateway.routing import Candidates, Route
from gateway.splits import Split
from gateway.standing import Ranking, Standing
from gateway.sticky import Rendezvous, Sticky
from gateway.terms import BackendRef


@dataclass(eq=False)
class Rule:
    """A split of its own, for requests that are like this."""

    conditions: Conditions
    split: Split[BackendRef]
    keyed: Rendezvous[BackendRef] | None = None
    """The same for those who are sticky."""


@dataclass(eq=False)
class Steering:
    """All that one Route does beyond its split. Resolved when a table is built, never per request."""

    rules: tuple[Rule, ...] = ()
    """The first whose conditions hold goes before everything else."""
    tags: Mapping[bytes, BackendRef] = field(default_factory=dict)
    """What `x-tidegate-tag` may ask for."""
    sticky: Sticky | None = None
    keyed: Rendezvous[BackendRef] | None = None
    """The Route's split, for those who are sticky."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names of models, and what the pod is asked for instead."""
    look: Look = field(default_factory=lambda: Look(0))
    """How much of a body is looked into."""
    ranking: Ranking | None = None
    """How its header tells what a request is to a queue; None: it does not."""

    def continue_from(self, previous: "Steering") -> None:
        """Rules that ask for the same go on with the turns of those before them."""
        known = {rule.conditions: rule.split for rule in previous.rules}
        for rule in self.rules:
            if rule.conditions in known:
                rule.split.continue_from(known[rule.conditions])


class Search:
    """One request on its way to a Backend, where a look at host and path is not enough."""

    __slots__ = ("_draw", "_found", "_ref", "asked", "cookie", "key", "route", "standing")

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
        self._ref: BackendRef | None = None
        """Chosen; what is still to be done is for the sake of the key."""
        self._found = found
        self._draw = draw

    def advance(self) -> BackendRef | Look | None:
        """The Backend, or what has to be done first; None: no Route takes the request. After a Backend nothing more may be asked."""
        ref = self._place() if self._ref is None else self._ref
        if ref is None or isinstance(ref, Look):
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

    def _place(self) -> BackendRef | Look | None:
        route = self._route()
        if route is None or isinstance(route, Look):
            return route
        self.route = route
        steering = route.steering
        if steering is None:
            return route.choose()
        if steering.aliases and isinstance(self.asked.model, Unknown):
            return steering.look
        return self._choose(route.split, steering)

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
