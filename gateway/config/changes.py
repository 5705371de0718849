"""What a gateway that runs cannot take over of another configuration, and says so.

Where it listens, and whether it speaks TLS, is settled when it begins to listen; everything else a reload changes.
"""

from collections.abc import Iterator

from gateway.config.load import Config
from gateway.config.problems import Problem


def unchangeable(old: Config, new: Config) -> list[Problem]:
    """Why `new` needs a restart; empty when it can be taken over."""
    return list(_unchangeable(old, new))


def _unchangeable(old: Config, new: Config) -> Iterator[Problem]:
    path = str(new.path)
    for key in ("listen", "admin"):
        before, after = getattr(old, key), getattr(new, key)
        if before != after:
            text = f"cannot change from {before} to {after} while running: restart Tidegate for that"
            yield Problem(path, None, key, text)
    if (old.tls is None) != (new.tls is None):
        happened, speaks = ("added", "plain HTTP") if old.tls is None else ("removed", "TLS")
        text = f"was {happened}, which takes a restart: this process speaks {speaks} to its end, the next one does as the file says"
        yield Problem(path, new.line_of("tls"), "tls", text)
