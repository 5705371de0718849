"""The edge of `election`: keeps one Lease of the cluster read and renewed, for as long as the autoscaler runs.

Whoever writes to the cluster does so through `write`, which bounds it by the leader's time. Changes of leadership are logged, and of what
keeps one from it. Whether the API server is back after having been away is known here first (`on_news`).
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from autoscaler.cluster.election import REQUEST_TIMEOUT, Elector, Record, Step, written
from autoscaler.plan import Superseded
from gateway.kube.client import TIMEOUT, ApiError, Cluster, ClusterError

T = TypeVar("T")

logger = logging.getLogger(__name__)

LEASE = "tidegate-autoscaler"


class Lease:
    """Leadership among all autoscalers of one installation."""

    def __init__(
        self,
        cluster: Cluster,
        identity: str,
        namespace: str | None = None,
        on_news: Callable[[], object] = lambda: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`identity`: unlike any other's, also unlike one's own before a restart.

        `on_news` is called when what failed before may work now: having begun to lead, or the API server being back.
        """
        self._cluster = cluster
        self._namespace = namespace or cluster.namespace
        self._elector = Elector(identity, chance)
        self._on_news = on_news
        self._lease: dict[str, Any] | None = None
        """The object as last read or written."""
        self._led = False
        self.term = 0
        """Counts the times that it began to lead."""
        self._problem = ""
        self._task: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[Any]] = set()

    @property
    def identity(self) -> str:
        return self._elector.identity

    def leads(self) -> bool:
        """Whether a write may be begun now."""
        return self._elector.leads(self._now())

    def remaining(self) -> float:
        """Seconds within which a write that begins now must have ended; 0: none may begin."""
        return self._elector.remaining(self._now())

    async def write(self, request: Callable[[float], Coroutine[Any, Any, T]]) -> T:
        """Do what only the leader may; `request` is given the seconds that it may take. Raises Superseded when another leads.

        A write whose caller is cancelled goes on: nobody could call it back, and the Lease is not released before its end.
        """
        left = self.remaining()
        if not left:
            raise Superseded("another autoscaler leads")
        write = asyncio.get_running_loop().create_task(request(min(left, TIMEOUT)))
        self._writes.add(write)
        write.add_done_callback(self._ended)
        return await asyncio.shield(write)

    def _ended(self, write: asyncio.Task[Any]) -> None:
        self._writes.discard(write)
        if not write.cancelled():
            write.exception()  # its caller may be gone

    def start(self) -> None:
        """Begin to read and renew, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Lead no more, and release the Lease, so that the next one need not wait for its end. No write may begin any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*self._writes, return_exceptions=True)
        held = self._elector.resign()
        self._tell()
        if held:
            with contextlib.suppress(ClusterError):  # then it expires
                await self._release()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self._elector.due - self._now()))
            sent = self._now()
            try:
                await self._step(sent)
            except Exception as error:  # noqa: BLE001 (told; one that ended this task would leave nobody to scale, unseen)
                self._elector.failed(None, sent, self._now())
                self._note(f"{type(error).__name__}: {error}", error)
            self._tell()

    async def _step(self, sent: float) -> None:
        step = self._elector.step(sent)
        try:
            self._lease = await self._send(step, self.identity)
        except ClusterError as error:
            status = error.status if isinstance(error, ApiError) else None
            if status == 404 and step == "read":
                self._lease = None
                self._elector.answered(step, None, sent, self._now())
                return
            self._elector.failed(status, sent, self._now())
            if status not in {404, 409} or step == "create":
                self._note(str(error))
            return
        self._elector.answered(step, Record.of(self._lease), sent, self._now())
        self._note("")

    async def _send(self, step: Step, identity: str) -> dict[str, Any]:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases"
        if step == "read":
            return await self._cluster.get(f"{path}/{LEASE}", timeout=REQUEST_TIMEOUT)
        body = written(
            None if step == "create" else self._lease, LEASE, self._namespace, identity, time.time()
        )
        if step == "create":
            return await self._cluster.create(path, body, timeout=REQUEST_TIMEOUT)
        return await self._cluster.replace(f"{path}/{LEASE}", body, timeout=REQUEST_TIMEOUT)

    async def _release(self) -> None:
        """A renewal may just have been cut off: then the Lease is another than the one known."""
        try:
            await self._send("renew", "")
        except ApiError as error:
            if error.status != 409:
                raise
            self._lease = await self._send("read", "")
            if Record.of(self._lease).holder == self.identity:
                await self._send("renew", "")

    def _note(self, problem: str, fault: Exception | None = None) -> None:
        """Say what keeps the Lease from being read or written, once, and that it is over. Of a `fault` of our own also where it arose."""
        if problem and problem != self._problem:
            logger.warning("lease %s/%s: %s; trying again", self._namespace, LEASE, problem, exc_info=fault)
        if self._problem and not problem:
            logger.info("lease %s/%s: reached again", self._namespace, LEASE)
            self._on_news()
        self._problem = problem

    def _tell(self) -> None:
        leads, record = self.leads(), self._elector.record
        if leads != self._led:
            self._led = leads
            words = "leading" if leads else "no longer leading"
            other = record.holder if record is not None and record.holder != self.identity else ""
            logger.info("%s: %s%s", self.identity, words, f"; {other} is" if other else "")
            if leads:
                self.term += 1
                self._on_news()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def __repr__(self) -> str:
        state = f"leads for {self.remaining():.1f} s" if self.leads() else "follows"
        return f"<Lease {self._namespace}/{LEASE}: {self.identity} {state}>"
