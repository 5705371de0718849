"""How many connections the limit on open files allows.

Edge: it asks the system. Every connection is an open file, a client's as well as a pod's. `server` raises the limit once, when it starts, and
asks how many clients may connect each time it takes a configuration over.
"""

import resource
from contextlib import suppress

KEPT = 64
"""Files for the listeners, the loop, the admin side, logs and pods' output."""
CLIENTS_SHARE = 0.75
"""Of the rest; the others are for connections to pods, of which every request in flight needs one."""
MOST = 10_000_000
"""Stands for a limit that there is not."""


def raise_open_files() -> int:
    """Raise the soft limit to the hard one; returns what holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has a lower bound of its own: then what holds stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return MOST if soft == resource.RLIM_INFINITY else soft


def most_connections(files: int, wanted: int) -> int:
    """Client connections at once, when so many files may be open: as many as are wanted, 0 for as many as can be had."""
    possible = max(1, int((files - KEPT) * CLIENTS_SHARE))
    return min(wanted, possible) if wanted else possible
