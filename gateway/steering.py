"""What a Route does with a request beyond its split: decided here, once per request, for those Routes that ask for any of it.

Core: told of a request, it returns what was decided. A Route that uses none of it has no Steering, and its requests never come here.
`config.table` builds a Steering per Route; the Exchange asks it when a request starts.
"""

from dataclasses import dataclass


@dataclass(eq=False)
class Steering:
    """All that one Route does beyond its split. Resolved when a table is built, never per request."""
