"""The `timeouts` sections: how long each step of a request may take. Resolved by `table`: the Route's own, the Backend's, the defaults."""

from gateway.config.section import Section
from gateway.config.units import Duration, default


class Timeouts(Section):
    """Seconds for each step of a request; 0s: no limit."""

    head: Duration = default("10s")
    """For the client to send a request's head."""
    connect: Duration = default("5s")
    """To connect to a pod."""
    response: Duration = default("300s")
    """From the request's last byte to the response's head."""
    idle: Duration = default("300s")
    """Between two pieces of a response's body."""
    request: Duration = default("0s")
    """For a request as a whole."""


class TimeoutOverrides(Section):
    """Timeouts of one Backend or Route; what is left out comes from the Backend, then from `defaults`."""

    connect: Duration | None = None
    response: Duration | None = None
    idle: Duration | None = None
    request: Duration | None = None
