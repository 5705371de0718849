"""What of a request and of its answer is rewritten on the way: the beginning of the path, the host, header fields.

Core. Compiled when a table is built; `config.rewriting` has refused what would break a message (fields of a hop, framing, regular
expressions instead of a prefix). The query is never touched, and paths stay byte for byte as they came behind what is replaced. What pods are
told of the client (X-Forwarded-Host) is still what the client asked for. `steering` holds a Rewriting, `answering` has it done; redirects
(`answers`) move paths the same way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.http1 import RequestHead, field_line


@dataclass(frozen=True)
class Edits:
    """Header fields to take out and to write. Names are in lower case."""

    set: Mapping[bytes, bytes] = field(default_factory=dict)
    """Instead of any that came."""
    add: Mapping[bytes, bytes] = field(default_factory=dict)
    """Besides any that came."""
    remove: frozenset[bytes] = frozenset()

    def __post_init__(self) -> None:
        written = (field_line(*item) for part in (self.set, self.add) for item in part.items())
        object.__setattr__(self, "_written", tuple(written))
        object.__setattr__(self, "_dropped", self.remove | frozenset(self.set))

    _written: tuple[bytes, ...] = field(init=False, repr=False)
    _dropped: frozenset[bytes] = field(init=False, repr=False)

    def apply(self, lines: list[bytes]) -> list[bytes]:
        """Whole lines, as a head has them: those that stay in their order, then those that are written."""
        dropped = self._dropped
        if dropped:
            lines = [line for line in lines if line[: line.find(b":")].lower() not in dropped]
        return [*lines, *self._written]


@dataclass(frozen=True)
class Move:
    """The part of a path that a Route matched, and what stands there instead."""

    prefixes: tuple[bytes, ...]
    """The Route's own; the longest counts."""
    exact: frozenset[bytes]
    """Paths that it matches as a whole."""
    to: bytes

    def target(self, target: bytes) -> bytes:
        """`/v1` to `/v2`: /v1 becomes /v2, /v1/a?b becomes /v2/a?b, /v1:x becomes /v2:x. Slashes at an end count as none."""
        path, query, parameters = target.partition(b"?")
        rest = b"" if path in self.exact else path[self._matched(path) :]
        moved = self.to.rstrip(b"/") + rest if rest else self.to
        return (moved if moved.startswith(b"/") else b"/" + moved) + query + parameters

    def _matched(self, path: bytes) -> int:
        fitting = [prefix.rstrip(b"/") for prefix in self.prefixes if _begins(path, prefix)]
        return max(map(len, fitting), default=0)


def _begins(path: bytes, prefix: bytes) -> bool:
    """As routing has it: a prefix ends at the path's end, at `/` or at `:`, or itself ends in `/`."""
    if not path.startswith(prefix):
        return False
    return prefix.endswith(b"/") or path[len(prefix) : len(prefix) + 1] in {b"", b"/", b":"}


@dataclass(frozen=True)
class Rewriting:
    """All that one Route rewrites."""

    move: Move | None = None
    host: bytes = b""
    """What pods are asked for; empty: what the client asked for."""
    request: Edits | None = None
    response: Edits | None = None

    @property
    def told(self) -> dict[str, str | list[str]]:
        """For people: what is written, and the names of fields that change."""
        told: dict[str, str | list[str]] = {}
        if self.move is not None:
            told["prefix"] = self.move.to.decode()
        if self.host:
            told["host"] = self.host.decode()
        for name, edits in (("request_headers", self.request), ("response_headers", self.response)):
            if edits is not None:
                told[name] = sorted(each.decode() for each in {*edits.set, *edits.add, *edits.remove})
        return told

    def apply(self, head: RequestHead) -> None:
        """Rewrite a request, once."""
        if self.move is not None:
            head.target = self.move.target(head.target)
        if self.host:
            head.lines = [line for line in head.lines if line[:5].lower() != b"host:"]
            head.lines.insert(0, field_line(b"host", self.host))
            # What the client asked for stays known, to be told; a request that names no host names this one.
            head.host = head.host or self.host
        if self.request is not None:
            head.lines = self.request.apply(head.lines)
