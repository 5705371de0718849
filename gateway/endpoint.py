"""One pod of a Backend: its address, its state, and the requests open to it.

Core. `backend` makes Endpoints and says what is known of them, `ejection` who is out for now, `breaker` and its pickers hand out their
slots. Their connections belong to `pool`, which alone looks at them.
"""

from dataclasses import dataclass
from typing import Any

CONNECT = "connect"
"""Why an Endpoint may be out for now: it refused a connection, or lost one with a request. Other causes are `ejection`'s."""
NO_TRIAL, TRIAL_DUE, TRIAL_UNDER_WAY = range(3)


class Endpoint:
    """One pod of a Backend."""

    __slots__ = (
        "barred", "draining", "host", "in_flight", "listed", "number", "out", "pool", "port", "ready", "record",
        "trial", "trust", "uid", "warmth",
    )  # fmt: skip

    def __init__(self, uid: str, host: str, port: int) -> None:
        self.uid = uid
        self.host = host
        self.port = port
        self.in_flight = 0
        self.ready = False
        self.draining = False
        self.out: dict[str, str] = {}
        """Why it is out for now, by cause, in words where there are any; written by `ejection` alone."""
        self.barred = False
        """It gets nothing new: it is out, and not so many others are that it is needed all the same."""
        self.trial = NO_TRIAL
        """It is out, and one request is to show whether it is well again."""
        self.record: Any = None
        """How its answers were so far, for `ejection`; None where nobody asks."""
        self.listed = False
        """The Breaker's picker has it: it may be picked."""
        self.number = -1
        """Its place in the order in which pods came, for those who pick by that."""
        self.warmth = 1.0
        """The share that it gets of what the others do, while it is new."""
        self.pool: Any = None
        """Connections to it. Theirs who open them; nothing here looks inside."""
        self.trust: Any = None
        """What its connections are held to, for those who open them; None: they are plain."""

    @property
    def address(self) -> str:
        """As people are told it."""
        return f"{self.host}:{self.port}"

    @property
    def available(self) -> bool:
        return self.ready and not self.draining and not self.barred

    @property
    def suspect(self) -> bool:
        """It refused a connection; nothing new goes there until a probe gets through."""
        return CONNECT in self.out

    @property
    def refusal(self) -> str | None:
        """Why it is suspect, in words, where there are any."""
        return self.out.get(CONNECT) or None

    @property
    def triable(self) -> bool:
        """One request may go there although it is out."""
        return (
            self.trial == TRIAL_DUE and self.barred and self.ready and not self.draining and not self.suspect
        )

    def __repr__(self) -> str:
        marks = [mark for mark in ("ready", "draining", "suspect") if getattr(self, mark)]
        if self.out.keys() - {CONNECT}:
            marks.append("ejected")
        return f"<Endpoint {self.uid} {self.address} in_flight={self.in_flight} {'+'.join(marks) or 'not ready'}>"


@dataclass(frozen=True)
class EndpointInfo:
    """One pod as its publisher sees it."""

    uid: str
    """Names the pod, never its address: a new process or pod has a new uid, even on the same port."""
    host: str
    port: int
    ready: bool
    draining: bool = False
    trust: Any = None
    """What connections to it are held to (a `tls.Trust`); None: they are plain."""


@dataclass(frozen=True)
class Endpoints:
    """All that is known of one Backend's pods at one moment."""

    pods: tuple[EndpointInfo, ...] = ()
    cannot_start: str | None = None
    """Why pods cannot start, in words for the person who called; None while they may."""
    pending: str | None = None
    """Why they take long, for whoever has waited too long."""
