"""What a Route does with a request beyond its split, as plain data: resolved when a table is built, never per request.

A Route that uses none of it has no Steering, which is all that the usual request pays for the others. `config.table` builds one per Route, `routing`
hands it on, `search` goes by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.answers import Fixed, Placeholder, Redirect
from gateway.conditions import Conditions, Look
from gateway.mirrors import Mirror
from gateway.rewriting import Rewriting
from gateway.splits import Split
from gateway.standing import Ranking
from gateway.sticky import Rendezvous, Sticky
from gateway.terms import BackendRef, Fallback


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

    answer: Fixed | Redirect | None = None
    """Given by the Route itself: it has no split."""
    rewriting: Rewriting | None = None
    fallback: Fallback | None = None
    """Where requests go that their Backend cannot serve."""
    mirror: Mirror | None = None
    """Where some of its requests go as well."""
    placeholder: Placeholder | None = None
    """What browsers are shown while they would wait for a start."""

    def continue_from(self, previous: "Steering") -> None:
        """Rules that ask for the same go on with the turns of those before them."""
        if self.mirror is not None and previous.mirror is not None:
            self.mirror.continue_from(previous.mirror)
        known = {rule.conditions: rule.split for rule in previous.rules}
        for rule in self.rules:
            if rule.conditions in known:
                rule.split.continue_from(known[rule.conditions])
