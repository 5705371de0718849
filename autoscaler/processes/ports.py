"""Ports for local pods: free ones, each held by one pod at a time.

They are taken from outside the kernel's ephemeral range, from which every outgoing connection gets its port: one of
those could take the port between our choice and the pod's bind. Another program still can; then the pod fails to
bind, dies, and is started again on another port.
"""

import errno
import random
import socket
from collections.abc import Sequence
from pathlib import Path

EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
EPHEMERAL_DEFAULT = (49152, 65535)
"""IANA's dynamic ports, which the systems without `EPHEMERAL_RANGE` use."""
LOWEST = 10_000
TRIES = 1000


def ephemeral_range() -> tuple[int, int]:
    """The ports, first and last, that the kernel gives to outgoing connections."""
    try:
        low, high = EPHEMERAL_RANGE.read_text().split()
    except OSError:
        return EPHEMERAL_DEFAULT
    return int(low), int(high)


def outside(low: int, high: int) -> Sequence[int]:
    """The ports that pods may have: below the ephemeral range, else above it, else (it takes all) anywhere."""
    below, above = range(LOWEST, low), range(max(LOWEST, high + 1), 65_536)
    return max(below, above, key=len) or range(LOWEST, 65_536)


class Ports:
    """Gives out free ports. Shared by all backends of one process."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._choices = outside(*ephemeral_range())
        self._held: set[int] = set()

    def __repr__(self) -> str:
        return f"<Ports {self._choices[0]}-{self._choices[-1]}: held {sorted(self._held)}>"

    def take(self) -> int:
        """A port that nobody listens on now, held until `free`; OSError when none is found."""
        for _ in range(TRIES):
            port = self._chance.choice(self._choices)
            if port not in self._held and _is_free(port):
                self._held.add(port)
                return port
        raise OSError(
            errno.EADDRINUSE,
            f"no free port for a pod: {TRIES} tries between {self._choices[0]} and {self._choices[-1]} found none",
        )

    def free(self, port: int) -> None:
        self._held.discard(port)


def _is_free(port: int) -> bool:
    # Bound on all addresses, as a pod may do, which also fails where another program listens on one of them only.
    with socket.socket() as attempt:
        try:
            attempt.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
