"""Where a request stands among those that wait: its priority and its tenant, and how a Route tells them.

Core. A Route has one priority for all, or takes it from a header field; the tenant is always a field's value. Who may say so is the question: a
trusted proxy may, anybody else only where the Route says `trust: true`; what others say is ignored, and no pod sees it. A tenant
is no label of any metric and its name is cut, so that inventing names costs the gateway nothing. `queues` orders by a Standing, `steering` has the Ranking.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.asked import Asked

HIGHEST = 100
"""Priorities are between this and its negative: each one that is in use costs a line of a metric."""
LONGEST_TENANT = 128
"""Bytes of a tenant's name that count."""
_INTEGER = re.compile(rb"([+-]?)(?=[0-9])0*+([0-9]*+)")


@dataclass(frozen=True)
class Standing:
    """What a queue goes by."""

    priority: int = 0
    """Higher goes first."""
    tenant: bytes = b""
    """Those of one priority take turns; all who name none are one."""
    metered: bool = False
    """Its slot's time is put on its tenant's account."""


ANYONE = Standing()


@dataclass(frozen=True)
class Ranking:
    """How one Route tells a request's Standing from its header."""

    priority: int = 0
    """Of those whose header says nothing that counts."""
    priority_field: bytes = b""
    """In lower case; empty: all have the same."""
    priority_of_anyone: bool = False
    """Not only trusted proxies may say."""
    tenant_field: bytes = b""
    tenant_of_anyone: bool = False

    def standing(self, asked: "Asked", *, trusted: bool) -> Standing:
        """What the request is to a queue; takes out of its head what its sender had no right to say."""
        priority, tenant = self.priority, b""
        ignored = []
        if self.priority_field and (trusted or self.priority_of_anyone):
            priority = _number(asked.header(self.priority_field), self.priority)
        else:
            ignored.append(self.priority_field)
        if self.tenant_field and (trusted or self.tenant_of_anyone):
            tenant = (asked.header(self.tenant_field) or b"")[:LONGEST_TENANT]
        else:
            ignored.append(self.tenant_field)
        if any(ignored):
            head = asked.head
            head.lines = [line for line in head.lines if _name(line) not in ignored]
        return Standing(priority, tenant, metered=True)


def _number(value: bytes | None, otherwise: int) -> int:
    found = None if value is None else _INTEGER.fullmatch(value)
    if found is None:
        return otherwise
    # Four digits are beyond the bounds, whatever follows: int() takes long for many, and refuses more.
    number = min(int(found[2][:4] or b"0"), HIGHEST)
    return -number if found[1] == b"-" else number


def _name(line: bytes) -> bytes:
    # Servers that speak CGI or WSGI to their applications take x_tenant for x-tenant.
    return line[: line.find(b":")].lower().replace(b"_", b"-")
