"""The sections `limits` and `forwarded`: what clients may take of the gateway, and what pods are told of them.

The sections of `models` hold these; `server` makes the gateway's own objects of them, `units` and `addresses` know the values.
"""

from typing import Annotated

from pydantic import Field, Strict, StringConstraints

from gateway.config.addresses import Network
from gateway.config.section import Section
from gateway.config.units import Count, HeadSize, Size, TargetSize, default

Pseudonym = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~:\[\]-]{0,255}\z")]
"""A host, with or without a port, or any token (RFC 9110, 7.6.3)."""


class LimitsConfig(Section):
    """What all clients together, one of them, or one request may take."""

    connections: Count = 0
    """Client connections open at once; 0: as many as the limit on open files allows."""
    connections_per_client: Count = 0
    """Of one address, or of one IPv6 /64 network; 0: no limit. Trusted proxies are exempt."""
    requests_per_connection: Count = 0
    """The last one's answer closes the connection; 0: no limit."""
    head: HeadSize = default("60KiB")
    """Bytes of a request's head."""
    fields: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Header fields of a request, and its trailer fields."""
    target: TargetSize = default("8KiB")
    """Bytes of a request's target: its path and query."""
    buffered: Size = default("256MiB")
    """Bytes of bodies that the gateway holds for requests that cannot go on yet; 0: no limit."""


class ForwardedConfig(Section):
    """What pods are told of a request's way so far."""

    trusted_proxies: Annotated[tuple[Network, ...], Strict(strict=False)] = ()
    """Networks and addresses whose X-Forwarded-* and Forwarded are believed, and lengthened; anyone else's are replaced."""
    x_forwarded: bool = True
    """Write X-Forwarded-For, -Proto and -Host."""
    forwarded: bool = False
    """Write Forwarded (RFC 7239)."""
    via: Pseudonym = "tidegate"
    """What the gateway calls itself in Via; empty: it does not."""
