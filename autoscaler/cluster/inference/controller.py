"""Keeps what is made of InferenceServices equal to what they want: observe, `wanted`, apply, for each of them and only while leading.

Whoever has changed is looked at again; one at a time for each InferenceService, several of them at once. One that fails is tried again after growing, jittered
pauses and holds up no other; a conflict only means that something is newer than was known. Nothing is written before everything was listed once, nor
when nothing differs. What is left of an InferenceService that is gone is the garbage collector's, but for its document, which is in our namespace.
Neighbours: `looking` and `known` (what is there), `steps` (what is left to do), `autoscaler.inference` (what is wanted).
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from autoscaler.cluster.events import Events
from autoscaler.cluster.inference.credentials import ServiceAccounts
from autoscaler.cluster.inference.kinds import DOCUMENTS, Key, Kind, Object, key_of, owner_of
from autoscaler.cluster.inference.known import Known
from autoscaler.cluster.inference.looking import Looking
from autoscaler.cluster.inference.steps import Step, difference, document_name, document_steps, steps_to
from autoscaler.cluster.inference.terms import Terms
from autoscaler.cluster.lease import Lease
from autoscaler.inference.shapes import Observed, Wanted, digest, mapping, meta, name_of, text
from autoscaler.inference.wanted import uses_of, wanted
from autoscaler.plan import Superseded
from gateway.kube.client import ApiError, Cluster, ClusterError
from gateway.kube.documents import source_of

logger = logging.getLogger(__name__)

AT_ONCE = 16
"""InferenceServices that are written at the same time."""
LOOKED_AT_AGAIN = 30.0
"""Seconds after which each is, whether anything was told of it or not."""
FIRST_RETRY = 0.5
LAST_RETRY = 60.0
_TOLD_AFTER = 5
"""Failures in a row of those that pass that are worth a word: a single one is everyday."""
_REFUSED = {400, 403, 405, 413, 422}
"""Statuses of a write that would be refused again, and that the others need not wait for."""


@dataclass(frozen=True, slots=True)
class _About:
    """What an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


class InferenceServices:
    """The controller, on the running loop. `stop` it before the Lease is given up."""

    def __init__(
        self,
        cluster: Cluster,
        lease: Lease,
        events: Events,
        cannot_start: Callable[[str], str | None],
        terms: Terms,
        *,
        left_out: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """`cannot_start`: why the pods of the Backend of this name cannot start; `left_out`: why the document that is called so is not in force."""
        self._cluster = cluster
        self._lease = lease
        self._events = events
        self._cannot_start = cannot_start
        self._left_out = left_out
        self._terms = terms
        self._known = Known()
        self._accounts = ServiceAccounts(cluster)
        self._looking = Looking(cluster, terms.namespaces, self._known, self._told)
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        """Those that changed while they were looked at."""
        self._failures: dict[Key, int] = {}
        self._retries: dict[Key, asyncio.TimerHandle] = {}
        """One each: whatever else makes it fail meanwhile puts it off."""
        self._problems: dict[Key, str] = {}
        self._backends: dict[Key, dict[str, str]] = {}
        """Of each InferenceService's Deployments, by name: the Backend."""
        self._of: dict[str, Key] = {}
        """By Backend: whose it is."""
        self._stuck: dict[str, str | None] = {}
        """By Backend: what was last said of why its pods cannot start."""
        self._refused: dict[Key, dict[str, dict[str, str]]] = {}
        """By kind and name: why the API server does not take it."""
        self._name_taken: set[Key] = set()
        """Told of those that another group's has the name of."""
        self._altered: dict[Key, dict[str, str]] = {}
        """Of each object that the API server made something else of: the difference, which is not written again."""
        self._answers: dict[Key, tuple[str, str]] = {}
        """Digests of the status that was written last and of what the API server made of it."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work()) for _ in range(AT_ONCE)]
        self._tasks.append(loop.create_task(self._go_round()))

    async def reconfigure(self, terms: Terms) -> None:
        if terms == self._terms:
            return
        if terms.namespaces != self._terms.namespaces:
            await self._looking.stop()
            self._looking = Looking(self._cluster, terms.namespaces, self._known, self._told)
        self._terms = terms
        self._told(None)

    async def stop(self) -> None:
        """Write nothing more; what is there stays."""
        for task in self._tasks:
            task.cancel()
        for timer in self._retries.values():
            timer.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._looking.stop()

    def found(self, backend: str) -> None:
        """There is news of the pods of a Backend."""
        key = self._of.get(backend)
        if key is not None and self._cannot_start(backend) != self._stuck.get(backend):
            self._want(key)

    def look_again(self) -> None:
        """There is news of documents."""
        self._told(None)

    # -- whose turn it is

    @property
    def _acts(self) -> bool:
        return self._looking.synced and self._lease.leads()

    def _told(self, key: Key | None) -> None:
        for each in self._known.keys() if key is None else (key,):
            self._want(each)

    def _want(self, key: Key) -> None:
        if not self._acts:
            return  # all of them are looked at when that changes
        if key in self._busy:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._queue.put_nowait(key)

    async def _go_round(self) -> None:
        """Look at all when leading begins, and now and then."""
        acted, last = False, 0.0
        while True:
            now = asyncio.get_running_loop().time()
            if self._acts and (not acted or now - last >= LOOKED_AT_AGAIN):
                last = now
                self._told(None)
            acted = self._acts
            await asyncio.sleep(1.0)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._queued.discard(key)
            self._busy.add(key)
            try:
                if self._acts:
                    await self._look_at(key)
            finally:
                self._busy.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._want(key)

    async def _look_at(self, key: Key) -> None:
        try:
            await self._reconcile(key)
        except Superseded:
            return
        except ClusterError as error:
            if self._failed(key, str(error), error) and isinstance(error, ApiError):
                await self._complain(key, str(error))
        except Exception as error:  # noqa: BLE001 (told; the fault of one must not end the others' turn)
            self._failed(key, f"{type(error).__name__}: {error}", error)
        else:
            self._failures.pop(key, None)
            self._retry(key, None)
            if self._problems.pop(key, None):
                logger.info("inference service %s: written again", "/".join(key))

    def _failed(self, key: Key, problem: str, error: Exception) -> bool:
        """Try again later; whether it is worth telling, which it is once for as long as it is the same."""
        times = self._failures[key] = self._failures.get(key, 0) + 1
        pause = min(LAST_RETRY, FIRST_RETRY * 2 ** min(times - 1, 10)) * (0.5 + random.random())  # noqa: S311
        if isinstance(error, ApiError) and error.retry_after:
            pause = max(pause, min(error.retry_after, LAST_RETRY))
        told = problem != self._problems.get(key) and (not _passes(error) or times >= _TOLD_AFTER)
        if told:
            self._problems[key] = problem
            text = "inference service %s: %s; trying again"
            fault = not isinstance(error, ClusterError)
            logger.warning(text, "/".join(key), problem, exc_info=error if fault else None)
        self._retry(key, pause)
        return told

    def _retry(self, key: Key, pause: float | None) -> None:
        """None: there is no need."""
        timer = self._retries.pop(key, None)
        if timer is not None:
            timer.cancel()
        if pause is not None:
            self._retries[key] = asyncio.get_running_loop().call_later(pause, self._want, key)

    # -- one of them

    async def _reconcile(self, key: Key) -> None:
        found = self._known.services(key, everything=self._terms.everything)
        if not found or "deletionTimestamp" in meta(found[0][1]):
            await self._leave(key)
            return
        kind, item = found[0]
        await self._turn_away(key, found[1:])
        uid = text(meta(item).get("uid"))
        credentials = await self._accounts.of(key[0], uses_of(item, self._terms.settings))
        there = self._known.made(key, uid)
        refusals = self._refused.pop(key, {})
        stuck = {**refusals.get("Deployment", {}), **self._stuck_of(key)}
        source = source_of(self._cluster.namespace, document_name(key))
        unrouted = next(iter(refusals.get(DOCUMENTS.kind, {}).values()), "") or self._left_out(source) or ""
        observed = Observed(there, stuck, unrouted, credentials)
        want = wanted(item, self._known.runtimes, observed, self._terms.settings, time.time())
        steps = list(steps_to(want.objects, there, self._altered.get(key, {}).values()))
        refused = await self._apply([step for step in steps if step.verb != "delete"])
        documents = self._known.documents(key)
        refused += await self._apply(document_steps(key, self._cluster.namespace, want.document, documents))
        self._note_refused(key, refused)
        self._note_backends(key, want)
        await self._tell(key, kind, item, want)
        refused += await self._apply([step for step in steps if step.verb == "delete"])
        if refused:
            step, error = refused[0]
            raise ApiError(error.status, error.reason, _why(step, error))

    async def _leave(self, key: Key) -> None:
        """It is not there, or not ours, any more."""
        documents = self._known.documents(key)
        await self._apply(document_steps(key, self._cluster.namespace, None, documents))
        for backend in self._backends.pop(key, {}).values():
            self._of.pop(backend, None)
            self._stuck.pop(backend, None)
        self._answers.pop(key, None)
        self._altered.pop(key, None)
        self._refused.pop(key, None)
        self._failures.pop(key, None)
        for _, item in self._known.services(key, everything=True):
            if "deletionTimestamp" not in meta(item):
                await self._unmake(key, item)

    async def _unmake(self, key: Key, item: Object) -> None:
        uid = text(meta(item).get("uid"))
        await self._apply(list(steps_to((), self._known.made(key, uid))))

    def _stuck_of(self, key: Key) -> dict[str, str]:
        found = {name: self._cannot_start(backend) for name, backend in self._backends.get(key, {}).items()}
        self._stuck.update({self._backends[key][name]: why for name, why in found.items()})
        return {name: why for name, why in found.items() if why}

    def _note_refused(self, key: Key, refused: Iterable[tuple[Step, ApiError]]) -> None:
        """For the status; that something of its last life is still there is worth no word."""
        lasting = self._failures.get(key, 0) + 1 >= _TOLD_AFTER
        found: dict[str, dict[str, str]] = {}
        for step, error in refused:
            if lasting or error.status != 409:
                found.setdefault(step.kind.kind, {})[name_of(step.item)] = _why(step, error)
        self._refused[key] = found

    def _note_backends(self, key: Key, want: Wanted) -> None:
        for backend in self._backends.pop(key, {}).values():
            self._of.pop(backend, None)
        backends: Mapping[str, Any] = mapping((want.document or {}).get("backends"))
        self._backends[key] = {backend["target"]["deployment"]: name for name, backend in backends.items()}
        self._of |= dict.fromkeys(backends, key)

    # -- writes

    async def _apply(self, steps: Iterable[Step]) -> list[tuple[Step, ApiError]]:
        """Do them in turn; those that were refused for good, which the others did not wait for."""
        refused = []
        for step in steps:
            try:
                await self._do(step)
            except ApiError as error:
                if error.status not in _REFUSED and error.reason != "AlreadyExists":
                    raise
                refused.append((step, error))
        return refused

    async def _do(self, step: Step) -> None:
        namespace, name = key_of(step.item)
        kind = step.kind
        logger.debug("%s", step)
        if step.verb != "delete":
            act = self._cluster.create if step.verb == "create" else self._cluster.replace
            path = kind.path(namespace, "" if step.verb == "create" else name)
            body = partial(act, path, step.body)
            answer = kind.kept(await self._lease.write(lambda seconds: body(timeout=seconds)))
            self._known.wrote(kind, answer)
            self._note_difference(step, answer)
        else:
            uid = text(meta(step.item).get("uid"))
            gone = partial(self._cluster.delete, kind.path(namespace, name), uid=uid)
            with _gone_is_well():
                await self._lease.write(lambda seconds: gone(timeout=seconds))
            self._known.drop(kind, step.item)

    def _note_difference(self, step: Step, answer: Object) -> None:
        altered = self._altered.setdefault(owner_of(step.item), {})
        what = f"{step.kind.kind} {name_of(step.item)}"
        altered.pop(what, None)
        if differs := difference(answer, step.item):
            altered[what] = differs

    async def _tell(self, key: Key, kind: Kind, item: Object, want: Wanted) -> None:
        """Write the status, and then the Events of what has changed with it."""
        before = mapping(item.get("status"))
        if before == want.status or self._answers.get(key) == (digest(want.status), digest(before)):
            return
        namespace, name = key
        path = f"{kind.path(namespace, name)}/status"
        body = partial(self._cluster.replace, path, {**item, "status": want.status})
        answer = await self._lease.write(lambda seconds: body(timeout=seconds))
        kept = kind.kept(answer)
        self._known.wrote(kind, kept)
        self._answers[key] = digest(want.status), digest(mapping(kept.get("status")))
        for event in want.events:
            await self._events.tell(_about(kind, item), *event)

    async def _complain(self, key: Key, problem: str) -> None:
        for found in self._known.services(key, everything=self._terms.everything)[:1]:
            await self._events.tell(_about(*found), "Warning", "CannotApply", problem)

    async def _turn_away(self, key: Key, others: list[tuple[Kind, Object]]) -> None:
        """Those of another group with the same name; each is told once."""
        if not others:
            self._name_taken.discard(key)
        for kind, item in others:
            await self._unmake(key, item)
            if key not in self._name_taken:
                text = "not served: another group's InferenceService has this name"
                await self._events.tell(_about(kind, item), "Warning", "NameTaken", text)
                self._name_taken.add(key)

    def __repr__(self) -> str:
        state = "acts" if self._acts else "waits"
        failing = f", {len(self._problems)} failing" if self._problems else ""
        return f"<InferenceServices {self._known} {state}{failing}>"


@contextmanager
def _gone_is_well() -> Iterator[None]:
    """What is not there need not be deleted."""
    try:
        yield
    except ApiError as error:
        if error.status != 404:
            raise


def _passes(error: Exception) -> bool:
    """Something is newer than was known, or the API server has too much to do: an Event for each InferenceService would be more of it."""
    return isinstance(error, ApiError) and (error.status in {404, 409, 429} or error.status >= 500)


def _why(step: Step, error: ApiError) -> str:
    if error.reason == "AlreadyExists":
        return f"cannot {step}: another has made what is called so, and it is not taken over"
    return f"cannot {step}: the API server does not take it: {error}"


def _about(kind: Kind, item: Object) -> _About:
    namespace, _ = key_of(item)
    return _About(kind.api_version, kind.kind, namespace, name_of(item), text(meta(item).get("uid")))
