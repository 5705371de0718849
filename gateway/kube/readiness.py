"""The gateway's own look at pods that the kubelet has not called ready yet.

The kubelet asks a pod every ten seconds or so, and says it through the API server; this asks the same of it every 25 ms at first, so
that a request that waits for a start waits for the pod alone. What succeeded counts until the kubelet agrees, and is asked again in the
kubelet's own rhythm until then. Pods whose probe only the kubelet can do are left to it. What was got instead of success is kept, for
those who wait.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import repeat

from gateway.kube.pods import HttpCheck, Pod
from gateway.probe import fault, intervals
from gateway.tls import Trust, load_trust

FIRST_WAIT = 0.025
"""Seconds."""


@dataclass(slots=True)
class _Asked:
    """One pod, in one life of its containers."""

    pod: Pod
    task: asyncio.Task[None]
    ready: bool = False
    fault: str = ""
    """What it answered last, when that was no success."""

    def goes_on(self, pod: Pod) -> bool:
        """What it answered holds for what is known of it now: nothing new is asked of the same containers at the same place."""
        same = (pod.restarts, pod.host) == (self.pod.restarts, self.pod.host)
        return same and set(pod.checks or ()) <= set(self.pod.checks or ())


class Readiness:
    """Asks the pods of one Backend."""

    def __init__(self, told: Callable[[], None]) -> None:
        """`told` is called when what is known has changed."""
        self._told = told
        self._asked: dict[str, _Asked] = {}

    def keep(self, pods: Iterable[Pod]) -> None:
        """Ask those of `pods` that may have become ready without anyone having said so, and no others."""
        wanted = {pod.uid: pod for pod in pods if _worth_asking(pod)}
        for uid, asked in list(self._asked.items()):
            if uid not in wanted or not asked.goes_on(wanted[uid]):
                asked.task.cancel()
                del self._asked[uid]
        for uid, pod in wanted.items():
            if uid in self._asked:
                self._asked[uid].pod = pod
            else:
                task = asyncio.get_running_loop().create_task(self._ask(uid))
                self._asked[uid] = _Asked(pod, task)

    def ready(self, pod: Pod) -> bool:
        """Whether a request may go there: by the kubelet's word, or by what it answered here."""
        asked = self._asked.get(pod.uid)
        return pod.ready or (asked is not None and asked.ready)

    def fault(self, pod: Pod) -> str | None:
        """Why it is not ready, as far as it was asked here."""
        asked = self._asked.get(pod.uid)
        return f"pod {pod.name} runs; {asked.fault}" if asked is not None and asked.fault else None

    def stop(self) -> None:
        self.keep(())

    async def _ask(self, uid: str) -> None:
        asked = self._asked[uid]
        waits: Iterator[float] = intervals(FIRST_WAIT)
        while True:
            checks, host = asked.pod.checks or (), asked.pod.host or ""
            faults = [await _fault(check, host) for check in checks]
            found = next(filter(None, faults), "")
            before, asked.ready = asked.ready, not found
            if asked.ready != before:
                waits = intervals(FIRST_WAIT) if found else repeat(min(check.period for check in checks))
            if asked.ready != before or found != asked.fault:
                asked.fault = found
                self._told()
            await asyncio.sleep(next(waits))

    def __repr__(self) -> str:
        ready = sum(asked.ready for asked in self._asked.values())
        return f"<Readiness of {len(self._asked)} pods, {ready} ready>"


def _worth_asking(pod: Pod) -> bool:
    return bool(pod.checks and pod.host and pod.running and not pod.ready and not pod.terminating)


@cache
def _unverified() -> Trust:
    """As the kubelet, which does not look at the certificate."""
    return Trust("nobody", None, load_trust(None, verify=False))


async def _fault(check: HttpCheck, host: str) -> str | None:
    trust = _unverified() if check.secure else None
    return await fault(host, check.port, check.path, check.timeout, trust, headers=check.headers)
