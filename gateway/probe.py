"""Is a pod ready? One attempt, with what is wrong, and how long to wait between attempts.

Used for pods that nobody else watches: local processes, fixed URLs. An attempt that fails for whatever reason is "not
ready", so callers loop without handling errors; only cancellation comes through. Each attempt is a connection of its own,
so that nothing of a half-started server is kept.
"""

import asyncio
import os
from collections.abc import Iterable, Iterator

from gateway.tls import Trust

FIRST_WAIT = 0.005
LONGEST_WAIT = 1.0
SHARE_OF_TIME_WAITED = 0.02
"""A pod that took T seconds to get ready is seen at most 2 % of T later: 5 ms up to 250 ms, 1 s from 50 s on."""


def intervals(first: float = FIRST_WAIT) -> Iterator[float]:
    """The seconds to wait after each failed attempt, without end; at least `first`."""
    waited = 0.0
    while True:
        wait = min(LONGEST_WAIT, max(first, SHARE_OF_TIME_WAITED * waited))
        yield wait
        waited += wait


async def probe(
    host: str,
    port: int,
    path: str | None,
    timeout: float,
    trust: Trust | None = None,
    *,
    headers: Iterable[tuple[str, str]] = (),
) -> bool:
    """Whether `GET path` is answered with 2xx or 3xx within `timeout` seconds; without a path, whether the port accepts.

    With `trust` over TLS, whose handshake must succeed as for a request: a pod with a wrong certificate is not ready.
    """
    return await fault(host, port, path, timeout, trust, headers=headers) is None


async def fault(
    host: str,
    port: int,
    path: str | None,
    timeout: float,
    trust: Trust | None = None,
    *,
    headers: Iterable[tuple[str, str]] = (),
) -> str | None:
    """As `probe`: None when it succeeded, else what was got, in words."""
    authority = _authority(host, port)
    asked = authority if path is None else f"GET {path} at {authority}"
    try:
        async with asyncio.timeout(timeout):
            status = await _attempt(host, port, path, trust, headers)
    except TimeoutError:
        return f"{asked}: no answer within {timeout:g} s"
    except OSError as error:
        # asyncio joins several addresses' failures to a text of its own, without a number.
        return f"{asked}: {os.strerror(error.errno).lower() if error.errno else error}"
    except EOFError:
        return f"{asked}: closed the connection before it answered"
    except (ValueError, asyncio.LimitOverrunError):
        # A status that is no number, a host that is no name; a line without end.
        return f"{asked}: answers what is no HTTP/1"
    return None if 200 <= status < 400 else f"{asked} answers {status}"


async def _attempt(
    host: str, port: int, path: str | None, trust: Trust | None, headers: Iterable[tuple[str, str]]
) -> int:
    """The status; 200 of a port that accepts and need say nothing."""
    authority = _authority(host, port)
    options = {} if trust is None else trust.options(host)
    reader, writer = await asyncio.open_connection(host, port, **options)
    try:
        return 200 if path is None else await _status(reader, writer, authority, path, headers)
    finally:
        # abort() does not linger for a peer that reads nothing, and needs no await under cancellation.
        writer.transport.abort()


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _status(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    authority: str,
    path: str,
    headers: Iterable[tuple[str, str]],
) -> int:
    """Send the request, and read the final status; interim ones (1xx) are passed over."""
    usual = {
        "host": ("Host", authority),
        "user-agent": ("User-Agent", "tidegate-probe"),
        "accept": ("Accept", "*/*"),
    }
    own = {name.lower(): (name, value) for name, value in headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in (usual | own).values())
    writer.write(f"GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
    while True:
        version, _, rest = (await reader.readuntil(b"\r\n")).partition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise ValueError(f"not an HTTP/1 status line: {version!r}")
        status = int(rest[:3])
        if status >= 200:
            return status
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
