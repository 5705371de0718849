"""Asks Prometheus servers: instant queries, each interval, for whoever wants to know the answer.

One client for all Backends; a query that several ask is put once. What a server asks of us stands in a file (a password or a bearer token), which is
read again each time. Any server that speaks Prometheus's HTTP API will do: Thanos, Mimir, VictoriaMetrics. Neighbours: `answers` reads what they say.
"""

import asyncio
import logging
import ssl
from base64 import b64encode
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import aiohttp
from yarl import URL

from autoscaler.signals.answers import value_of
from autoscaler.signals.asked import NoValueError, Prometheus, Query, Sink, words_of
from autoscaler.signals.rhythm import patience, repeat

logger = logging.getLogger(__name__)

AT_ONCE = 8
"""Queries at once, of one server."""
LARGEST_ANSWER = 2**20

Reader = tuple[str, str]
"""A Backend, and its name for the query."""


class PrometheusClient:
    """Puts queries. `close` it in the end."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": "tidegate", "Accept": "application/json"}
        )
        self._turns: dict[str, asyncio.Semaphore] = {}
        """By the server's URL: one that is stuck keeps no turn from another."""

    async def close(self) -> None:
        await self._session.close()

    async def ask(self, server: Prometheus, query: str, timeout: float) -> float:
        """The query's value now, or NoValueError; `timeout` holds for the wait for a turn, too."""
        url = URL(server.url)
        turn = self._turns.setdefault(server.url, asyncio.Semaphore(AT_ONCE))
        try:
            credentials = await asyncio.to_thread(_credentials, server)
            async with asyncio.timeout(timeout), turn:
                return await self._ask(url / "api/v1/query", query, timeout, credentials)
        except NoValueError as error:
            raise NoValueError(f"{server.url}: {error}") from error
        except TimeoutError as error:
            raise NoValueError(f"{server.url} did not answer within {timeout:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoValueError(f"{server.url}: {words_of(error)}") from error

    async def _ask(self, url: URL, query: str, timeout: float, credentials: "_Credentials") -> float:
        form = {
            "query": query,
            "timeout": f"{timeout:.3f}",
        }  # seconds; with a unit they would have to be whole
        async with self._session.post(
            url, data=form, headers=credentials.headers, ssl=credentials.tls, allow_redirects=False
        ) as answer:
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > LARGEST_ANSWER:
                    raise NoValueError("its answer is longer than 1 MiB: the query must give one number")
            return value_of(answer.status, bytes(body))

    def __repr__(self) -> str:
        return f"<PrometheusClient of {sorted(self._turns)}>"


class SharedQuery:
    """One query, and all who read its answer."""

    def __init__(
        self, query: Query, client: PrometheusClient, sink: Sink, clock: Callable[[], float]
    ) -> None:
        self.readers: set[Reader] = set()
        self._query = query
        self._client = client
        self._sink = sink
        self._clock = clock

    async def run(self) -> NoReturn:
        await repeat(self._query.interval, self.round, self)

    async def round(self) -> None:
        """Ask, and tell all readers."""
        query = self._query
        timeout = patience(query.interval)
        try:
            value = await self._client.ask(query.server, query.query, timeout)
        except NoValueError as error:
            for backend, name in self._each():
                self._sink.failed(backend, name, str(error), self._clock())
        else:
            for backend, name in self._each():
                self._sink.sample(backend, name, value, self._clock())

    def _each(self) -> Iterable[Reader]:
        return sorted(self.readers)

    def __repr__(self) -> str:
        return f"<SharedQuery {self._query.query!r} every {self._query.interval:g} s for {len(self.readers)}>"


def same(query: Query) -> Hashable:
    """Equal for queries that need be asked only once."""
    return query.query, query.server, query.interval


@dataclass(frozen=True, slots=True)
class _Credentials:
    headers: dict[str, str]
    tls: ssl.SSLContext | bool
    """True: what the system trusts."""


def _credentials(server: Prometheus) -> _Credentials:
    """Blocks: files are read."""
    headers = {}
    if server.secret is not None:
        secret = server.secret.read_text().strip()
        if server.user is None:
            headers["Authorization"] = f"Bearer {secret}"
        else:
            headers["Authorization"] = f"Basic {b64encode(f'{server.user}:{secret}'.encode()).decode()}"
    if server.ca is None:
        return _Credentials(headers, tls=True)
    return _Credentials(headers, _trusting(server.ca, server.ca.stat().st_mtime_ns))


@lru_cache(maxsize=16)
def _trusting(ca: Path, _changed: int) -> ssl.SSLContext:
    """Another context when the file has changed; the same one otherwise, so that connections can be used again."""
    context = ssl.create_default_context(cafile=ca)
    # Python 3.13 asks of CAs what many that a cluster makes for itself do not have.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
