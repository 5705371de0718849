"""Scrapes the pages of pods: of a Backend's ready pods, each interval, for all that is asked of one page at once.

`Pages` is one Backend's page (a path, maybe a port), whatever metrics it is read for: one request per pod and round. `Scraper` is what all of them
share: the HTTP client, and the bound on requests at once. A page is read to its end only up to 4 MB; a pod that fails costs the others nothing.
Neighbours: `exposition` reads pages, `rounds` makes a value of what all pods said, `signals` starts and ends Pages.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

import aiohttp
from yarl import URL

from autoscaler.plan import Unknown
from autoscaler.signals.asked import NoValueError, PodAt, PodMetric, Pods, Sink, words_of
from autoscaler.signals.exposition import missing, read
from autoscaler.signals.rhythm import patience, repeat
from autoscaler.signals.rounds import Answer, Rounds
from gateway.config import Address
from gateway.tls import Trust

logger = logging.getLogger(__name__)

AT_ONCE = 128
"""Requests at once, over all Backends."""
AT_ONCE_EACH = 16
"""Of one Backend, so that one whose pods are all stuck keeps no turn from the others."""
LARGEST_PAGE = 4 * 2**20
_LARGE = 2**16
"""Bytes from which a page is read in a thread: 64 KiB that are all asked for take the loop 4 ms."""
_HEADERS = {
    "Accept": "text/plain;version=0.0.4",
    "Accept-Encoding": "identity",  # a model server's cycles are dearer than the network's
    "User-Agent": "tidegate",
}


class Scraper:
    """Gets pages. `close` it in the end."""

    def __init__(self) -> None:
        # A connection each time: one that is kept would be closed by the pod just as the next round begins.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, headers=_HEADERS)
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        await self._session.close()

    async def get(self, url: str, trust: Trust | None, timeout: float, turn: asyncio.Semaphore) -> bytes:
        """The page, or NoValueError. `turn` is to be waited for first; `timeout` holds for that, too."""
        asked = False
        try:
            async with asyncio.timeout(timeout), turn, self._turn:
                asked = True
                return await self._get(url, trust)
        except TimeoutError as error:
            why = "was not there" if asked else "could not be asked for, as others take so long,"
            raise NoValueError(f"{url} {why} within {timeout:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoValueError(f"{url}: {words_of(error)}") from error

    async def _get(self, url: str, trust: Trust | None) -> bytes:
        tls = True if trust is None else trust.context
        name = None if trust is None else trust.server_name
        async with self._session.get(
            URL(url, encoded=True), ssl=tls, server_hostname=name, allow_redirects=False
        ) as answer:
            if answer.status != 200:
                raise NoValueError(f"{url} answered {answer.status} {(answer.reason or '')[:50]}".rstrip())
            page = bytearray()
            async for piece in answer.content.iter_any():
                page += piece
                if len(page) > LARGEST_PAGE:
                    raise NoValueError(f"{url} is longer than {LARGEST_PAGE // 2**20} MiB")
            return bytes(page)

    def __repr__(self) -> str:
        return f"<Scraper {'at its bound' if self._turn.locked() else 'open'}>"


class Pages:
    """One page of each pod of a Backend, and what is read from it."""

    def __init__(
        self,
        backend: str,
        asked: Iterable[PodMetric],
        pods: Pods,
        *,
        scraper: Scraper,
        sink: Sink,
        clock: Callable[[], float],
    ) -> None:
        """`asked`: all of one path and port; the shortest of their intervals counts."""
        self._backend = backend
        self._rounds = [Rounds(metric) for metric in asked]
        first = self._rounds[0].asked
        self._path, self._port = first.path, first.port
        self._interval = min(each.asked.interval for each in self._rounds)
        self._pods = pods
        self._scraper = scraper
        self._turn = asyncio.Semaphore(AT_ONCE_EACH)
        self._sink = sink
        self._clock = clock

    async def run(self) -> NoReturn:
        await repeat(self._interval, self.round, self)

    async def round(self) -> None:
        """Ask all pods, and tell of each metric."""
        pods = self._pods()
        if isinstance(pods, Unknown):
            for each in self._rounds:
                self._sink.failed(self._backend, each.asked.name, pods.reason, self._clock())
            return
        said = await asyncio.gather(*(self._ask(pod) for pod in pods))
        for index, each in enumerate(self._rounds):
            self._tell(each, pods, [one if isinstance(one, str) else one[index] for one in said])

    def _tell(self, rounds: Rounds, pods: Sequence[PodAt], answers: Sequence[Answer | str]) -> None:
        uids = [pod.uid for pod in pods]
        try:
            value = rounds.value(uids, dict(zip(uids, answers, strict=True)))
        except NoValueError as error:
            self._sink.failed(self._backend, rounds.asked.name, str(error), self._clock())
        else:
            self._sink.sample(self._backend, rounds.asked.name, value, self._clock())

    async def _ask(self, pod: PodAt) -> list[Answer | str] | str:
        """What the pod says of each metric; or why it says nothing."""
        timeout = patience(self._interval)
        url = f"{Address(pod.host, self._port or pod.port, pod.trust is not None).url}{self._path}"
        try:
            page = await self._scraper.get(url, pod.trust, timeout, self._turn)
        except NoValueError as error:
            return str(error)
        at = self._clock()
        if len(page) > _LARGE:
            return await asyncio.to_thread(self._read, page, at)
        return self._read(page, at)

    def _read(self, page: bytes, at: float) -> list[Answer | str]:
        return [_answer(page, each.asked, at) for each in self._rounds]

    def __repr__(self) -> str:
        names = ", ".join(each.asked.name for each in self._rounds)
        return f"<Pages {self._path} of {self._backend}: {names} every {self._interval:g} s>"


def _answer(page: bytes, asked: PodMetric, at: float) -> Answer | str:
    labels = dict(asked.labels)
    series = read(page, asked.metric, labels)
    if series:
        return Answer(series, at)
    return f"its page {asked.path} has no {missing(page, asked.metric, labels)}"
