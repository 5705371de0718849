"""Keeps a process to its configuration: the people's file, and beside it the documents in the cluster, if the file asks for InferenceServices.

Whatever of them changes, one configuration is made of all and taken over, one at a time. What cannot be used is told, and changes nothing: of the file,
the last good one stays, of a document its last good version. Both the gateway and the autoscaler have one of these.
Neighbours: `config.watch`, `config.documents`, `kube.documents`, which is imported once there is a cluster, since its library is an extra.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from gateway.config import Config, ConfigError, Problem, watch
from gateway.config.documents import merge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gateway.kube.client import Cluster
    from gateway.kube.documents import Documents

logger = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds that a list of documents which does not come holds up clients."""


class Following:
    """Of one process. `run` it for as long as that lives."""

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        take: Callable[[Config], Awaitable[None]],
        refused: Callable[[list[str]], None],
        cluster: Callable[[], Cluster | None],
        *,
        left_out: Callable[[dict[str, str]], object] = lambda _: None,
    ) -> None:
        """`config` was taken over already. `read` reads the file anew; `take` takes a configuration over: both raise ConfigError, with nothing changed.

        `refused` is told what could not be used; `cluster` is asked for the documents' cluster, None where they are not for this process; `left_out` is
        told of all documents that are not in force as they are written, by what they are called, and why.
        """
        self.file = config
        """The people's, the last one that could be used."""
        self._read = read
        self._take = take
        self._refused = refused
        self._cluster = cluster
        self._left_out = left_out
        self._documents: Documents | None = None
        self._told: list[str] = []
        self._taking = asyncio.Lock()
        self._began = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            await self._follow_documents()
            async for _ in watch(self.file.path, known=[self.file.digest]):
                await self._take_over(anew=True)
        finally:
            await self._leave_documents()

    async def begin(self, start: Callable[[], Awaitable[None]], patience: float) -> None:
        """Call `start` once the documents that there are were taken over, where there may be any, or after so many seconds. `run` it then."""
        await self._follow_documents()
        if self._documents is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._documents.first(), patience)
        async with self._taking:
            await start()

    def lacks(self, now: float) -> str | None:
        """What has yet to be known before clients may come, for people; None: nothing, or it has been waited for long enough."""
        if self.file.inference_services is None or self._cluster() is None:
            return None
        documents = self._documents
        if (documents is not None and documents.listed) or now - self._began >= PATIENCE:
            return None
        lack = documents.lack if documents is not None else ""
        return f"waiting for the documents of InferenceServices{f': {lack}' if lack else ''}"

    async def _take_over(self, *, anew: bool) -> None:
        async with self._taking, _uncollected():
            try:
                await self._renew(anew=anew)
            except ConfigError as error:
                self._refuse([str(problem) for problem in error.problems])
                logger.error("the configuration was not taken over; the last good one stays in force")  # noqa: TRY400
            except Exception as error:
                # A fault of ours must not end the watch, of the file or of documents: what is saved next may be all right.
                self._refuse([f"{self.file.path}: not in force, by a fault of Tidegate's own: {error!r}"])
                logger.exception("a fault of Tidegate's own")

    async def _renew(self, *, anew: bool) -> None:
        """Raises ConfigError."""
        file = await asyncio.to_thread(self._read) if anew else self.file
        documents = self._documents if file.inference_services is not None else None
        parts = documents.parts if documents is not None else []
        config, clashes = await asyncio.to_thread(merge, file, parts)
        await self._take(config)
        self.file = file
        self._tell(clashes)
        await self._follow_documents()

    def _tell(self, clashes: list[Problem]) -> None:
        """Of documents, once for as long as it is the same."""
        wrong = self._documents.problems if self._documents is not None else []
        problems = [str(problem) for problem in [*wrong, *clashes]]
        reasons: dict[str, str] = {}
        for problem in [*wrong, *clashes]:
            reasons.setdefault(
                problem.file, f"{problem.where}: {problem.text}" if problem.where else problem.text
            )
        self._left_out(reasons)
        if problems and problems != self._told:
            self._refuse(problems)
        self._told = problems

    def _refuse(self, problems: list[str]) -> None:
        self._refused(problems)
        for problem in problems:
            logger.error("%s", problem)

    async def _follow_documents(self) -> None:
        cluster = self._cluster()
        if self.file.inference_services is None or cluster is None:
            await self._leave_documents()
        elif self._documents is None:
            from gateway.kube.documents import Documents  # noqa: PLC0415 (imported by then, with its library)

            self._documents = Documents(cluster, lambda: self._take_over(anew=False))

    async def _leave_documents(self) -> None:
        documents, self._documents = self._documents, None
        if documents is not None:
            await documents.stop()

    def __repr__(self) -> str:
        return f"<Following {self.file.path}{f', {self._documents}' if self._documents else ''}>"


@asynccontextmanager
async def _uncollected() -> AsyncIterator[None]:
    """A thousand routes are a quarter of a million new objects: to look each hundred thousand of them over for garbage would hold the loop for 5 ms at a
    time. They live on; as at the start, the collector need not look at them again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
