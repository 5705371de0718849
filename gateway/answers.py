"""Answers that a Route gives by itself, without any pod: a redirect, a fixed answer, and the page for people who wait for a start.

Core. Made when a table is built, so that a request costs a few lines at most. `steering` holds them, `answering` sends them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import BAD_REQUEST, GatewayError
from gateway.http1 import BODYLESS, ResponseHead, field_line
from gateway.rewriting import Move

if TYPE_CHECKING:
    from gateway.http1 import RequestHead


@dataclass(frozen=True)
class Fixed:
    """The same answer for everyone."""

    status: int
    lines: tuple[bytes, ...] = ()
    """Whole header lines."""
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.status}, {len(self.body)} bytes"

    def answer(self, head: "RequestHead") -> tuple[ResponseHead, bytes]:  # noqa: ARG002  # everyone gets the same
        answer = ResponseHead(self.status)
        if self.status not in BODYLESS:
            # What a 304 says there would be of an answer that it is not.
            answer.content_length = len(self.body)
        answer.lines += self.lines
        return answer, self.body


@dataclass(frozen=True)
class Redirect:
    """The same resource, elsewhere: what is left out stays as it was asked for."""

    status: int
    scheme: bytes = b""
    host: bytes = b""
    """With a port, where there is one to name."""
    move: Move | None = None

    def __str__(self) -> str:
        to = b"" if self.move is None else self.move.to
        return f"{self.status} to {(self.scheme or b'*').decode()}://{(self.host or b'*').decode()}{to.decode() or '/*'}"

    def answer(self, head: "RequestHead") -> tuple[ResponseHead, bytes]:
        """Raises GatewayError when the request does not say what shall stay."""
        answer = ResponseHead(self.status)
        answer.content_length = 0
        answer.lines.append(field_line(b"location", self._location(head)))
        return answer, b""

    def _location(self, head: "RequestHead") -> bytes:
        """A scheme that is left out is not named: whoever ends TLS in front of us knows it, and the client."""
        target = head.target if self.move is None else self.move.target(head.target)
        host = self.host
        if self.scheme and not host:
            # Another scheme has another port.
            host = _portless(head.host or b"")
            if not host:
                raise GatewayError(
                    BAD_REQUEST,
                    "this route redirects to another scheme of the same host, and the request names none",
                )
        scheme = self.scheme + b":" if self.scheme else b""
        # Two slashes in front would name a host, and browsers take a backslash for one.
        return scheme + b"//" + host + target if host else b"/" + target.lstrip(b"/\\")


def _portless(host: bytes) -> bytes:
    return host[: host.find(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]


@dataclass(frozen=True)
class Placeholder:
    """A page for people who would wait for a start longer than this; their browser asks again."""

    after: float
    """Seconds."""
    page: Fixed

    def suits(self, head: "RequestHead") -> bool:
        """A browser shows what comes: it asks for a page, as programs do not."""
        return head.method == b"GET" and any(
            b"text/html" in line.lower() for line in head.lines if line[:7].lower() == b"accept:"
        )
