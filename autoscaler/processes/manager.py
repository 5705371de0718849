"""Keeps one Backend's local pods at a count: the Scaler of a `command` target.

All state changes happen on the loop, in callbacks that end with `_reconcile` (which starts what is missing) and
`_publish`; there is no task but a probe per starting pod, so that a cancelled caller leaves nothing half done.
A change of the command rolls through: one pod of the new kind is started beside the old ones, and when it is ready
one old pod retires, until none is left; an old pod that retires is ended once nothing is in flight on it. A new
command that cannot start therefore never costs a pod that serves.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Collection
from pathlib import Path

from autoscaler.plan import Milestones, TargetState
from autoscaler.processes.logs import last_lines
from autoscaler.processes.pod import Pod, PodTemplate
from autoscaler.processes.ports import Ports
from autoscaler.processes.restarts import Restarts
from autoscaler.processes.spawn import Spawner
from gateway.endpoints import Feed

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""
RETIRE_INTERVAL = 0.1
SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes ends its pod names with: no vowels, nothing that looks like another."""

log = logging.getLogger("tidegate.pods")


class LocalPods:
    """One Backend's pods on this machine."""

    def __init__(
        self,
        backend: str,
        template: PodTemplate,
        feed: Feed,
        *,
        spawner: Spawner,
        ports: Ports,
        chance: random.Random,
        idle: Callable[[str], bool],
        log_dir: Path,
        grace: float = GRACE,
    ) -> None:
        """`idle` says of a uid whether no request is open to it; asked of retiring pods only, which get nothing new."""
        self.backend = backend
        self._template = template
        self._feed = feed
        self._spawner = spawner
        self._ports = ports
        self._chance = chance
        self._idle = idle
        self._log_dir = log_dir
        self._grace = grace

        self._wanted = 0
        self._pods: dict[str, Pod] = {}
        """All that have a process or will have one, in the order of their creation."""
        self._sequence = 0
        self._restarts = Restarts()
        self._failure = ""
        """Why the last pod that never got ready did not, in words for the person who called."""
        self._stopping = False
        self._none_left = asyncio.Event()
        self._restart_timer: asyncio.TimerHandle | None = None
        self._retire_timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        pods = self._pods.values()
        counts = {
            "wanted": self._wanted,
            "starting": sum(not pod.ready and not pod.ending for pod in pods),
            "ready": sum(pod.ready and not pod.draining for pod in pods),
            "draining": sum(pod.draining and not pod.ending for pod in pods),
            "ending": sum(pod.ending for pod in pods),
        }
        words = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "wanted")
        return f"<LocalPods {self.backend}: {words}{', stopping' if self._stopping else ''}>"

    @property
    def pods(self) -> tuple[Pod, ...]:
        """All processes there are, the ending ones too; for people who look (state, logs, tests)."""
        return tuple(self._pods.values())

    # The Scaler.

    def observe(self) -> TargetState:
        """The count and the pods that make it up. Not those that end or retire, nor one that is started beside an old
        one to replace it: a rolling replacement is no change of scale.
        """
        return TargetState(self._wanted, tuple(pod.state for pod in self._counted()))

    def milestones(self, uid: str) -> Milestones | None:
        pod = self._pods.get(uid)
        return None if pod is None else pod.milestones(asyncio.get_running_loop().time())

    async def drain(self, uids: Collection[str]) -> None:
        self._mark(uids, draining=True)

    async def undrain(self, uids: Collection[str]) -> None:
        self._mark(uids, draining=False)

    async def scale(self, replicas: int, remove: Collection[str]) -> None:
        """Pods that are not ready go before any that is ready and not named; if more are ready than `replicas`
        leaves room for, they stay, and the count says so.
        """
        if self._stopping:
            return
        log.info("backend=%s scaled from %d to %d%s", self.backend, self._wanted, replicas, _naming(remove))
        for uid in remove:
            if uid in self._pods:
                self._end(self._pods[uid])
        staying = self._serving()
        starting = [pod for pod in staying if not pod.ready]
        surplus = len(staying) - replicas - self._surge(staying)
        for pod in reversed(starting[-surplus:] if surplus > 0 else []):
            self._end(pod)
        self._wanted = max(replicas, sum(pod.ready for pod in staying))
        if self._wanted == 0:
            self._begin_anew()
        self._settle()

    # Its life.

    def start(self, replicas: int = 0) -> None:
        """Begin with that many pods."""
        self._wanted = replicas
        self._settle()

    def reconfigure(self, template: PodTemplate) -> None:
        """What pods run from now on. Starting ones are replaced at once, ready ones roll over."""
        if template == self._template or self._stopping:
            return
        log.info("backend=%s has a new command, its pods are replaced", self.backend)
        self._template = template
        self._begin_anew()
        for pod in self._serving():
            if not pod.ready:
                self._end(pod)
        self._settle()

    async def retire(self) -> None:
        """End each pod once no request is open to it, and wait until all are reaped. Nothing is started any more.

        `stop` may cut it short.
        """
        self._stopping = True
        self._wanted = 0
        for pod in self._serving():
            if pod.ready:
                self._retire(pod)
            else:
                self._end(pod)
        self._settle()
        if self._pods:
            await self._none_left.wait()

    async def stop(self, grace: float | None = None) -> None:
        """End all pods and wait until they are reaped: SIGTERM, SIGKILL after `grace` seconds (default: the pods' own).
        Cancelled: SIGKILL at once. Nothing is started any more.
        """
        self._stopping = True
        self._wanted = 0
        readiness = [pod.readiness for pod in self._pods.values() if pod.readiness is not None]
        for pod in self.pods:
            self._end(pod, grace)
        self._settle()
        try:
            if self._pods:
                await self._none_left.wait()
            if readiness:
                await asyncio.wait(readiness)
        except asyncio.CancelledError:
            for pod in self.pods:
                pod.kill()
            raise

    # Which pods are what.

    def _serving(self) -> list[Pod]:
        """Pods that are here to stay, until somebody decides otherwise."""
        return [pod for pod in self._pods.values() if not pod.ending and not pod.retiring]

    def _outdated(self, pods: Collection[Pod]) -> list[Pod]:
        return [pod for pod in pods if pod.template != self._template]

    def _surge(self, pods: Collection[Pod]) -> int:
        """How many pods more than wanted there may be: one while old ones wait for their replacement."""
        return 1 if self._outdated(pods) else 0

    def _counted(self) -> list[Pod]:
        serving = self._serving()
        starting = [pod for pod in serving if not pod.ready]
        surplus = max(0, len(serving) - self._wanted)
        hidden = starting[len(starting) - surplus :] if surplus else []
        return [pod for pod in serving if pod not in hidden]

    def _mark(self, uids: Collection[str], *, draining: bool) -> None:
        for uid in uids:
            if uid in self._pods:
                self._pods[uid].drain_mark = draining
        self._publish()

    # Towards what is wanted.

    def _settle(self) -> None:
        self._reconcile()
        self._publish()

    def _reconcile(self) -> None:
        """Retire old pods that were replaced, and start the missing ones, now or when the backoff is over."""
        self._cancel_restart_timer()
        if self._stopping:
            return
        serving = self._serving()
        replaced = max(0, sum(pod.ready for pod in serving) - self._wanted)
        for pod in [pod for pod in self._outdated(serving) if pod.ready][:replaced]:
            log.info("backend=%s %s retires: a pod with the new command replaces it", self.backend, pod)
            self._retire(pod)
        serving = self._serving()
        missing = self._wanted + self._surge(serving) - len(serving)
        if missing <= 0:
            return
        if self._restarts.wait(asyncio.get_running_loop().time()) > 0:
            self._start_later()
            return
        for _ in range(missing):
            self._start_pod()

    def _start_later(self) -> None:
        self._cancel_restart_timer()
        loop = asyncio.get_running_loop()
        self._restart_timer = loop.call_later(self._restarts.wait(loop.time()), self._settle)

    def _cancel_restart_timer(self) -> None:
        if self._restart_timer is not None:
            self._restart_timer.cancel()
            self._restart_timer = None

    def _start_pod(self) -> None:
        now = asyncio.get_running_loop().time()
        try:
            port = self._ports.take()
        except OSError as error:
            log.warning("backend=%s cannot start a pod: %s", self.backend, error)
            self._count_death(f"could not be started ({error})", "", now, None)
            self._start_later()
            return
        self._sequence += 1
        uid = f"{self.backend}-{self._sequence}-{''.join(self._chance.choices(SUFFIX_LETTERS, k=5))}"
        pod = Pod(uid, self._template, port, now)
        self._pods[uid] = pod
        self._none_left.clear()
        launch = self._template.launch(port, self._log_file(uid))
        pod.process = self._spawner.spawn(
            launch, lambda: self._on_start(pod), lambda how: self._on_exit(pod, how)
        )

    def _retire(self, pod: Pod) -> None:
        pod.retiring = True
        if self._retire_timer is None:
            self._retire_timer = asyncio.get_running_loop().call_later(RETIRE_INTERVAL, self._end_idle)

    def _end_idle(self) -> None:
        self._retire_timer = None
        retiring = [pod for pod in self._pods.values() if pod.retiring and not pod.ending]
        for pod in retiring:
            if self._idle(pod.uid):
                self._end(pod)
        if not all(pod.ending for pod in retiring):
            self._retire_timer = asyncio.get_running_loop().call_later(RETIRE_INTERVAL, self._end_idle)
        self._publish()

    def _end(self, pod: Pod, grace: float | None = None) -> None:
        if not pod.ending:
            log.info("backend=%s %s is asked to end", self.backend, pod)
        pod.end(self._grace if grace is None else grace)

    # What happens to pods.

    def _on_start(self, pod: Pod) -> None:
        pod.up_at = asyncio.get_running_loop().time()
        log.info("backend=%s %s started", self.backend, pod)
        if not pod.ending:
            pod.readiness = asyncio.get_running_loop().create_task(self._await_ready(pod))

    async def _await_ready(self, pod: Pod) -> None:
        await pod.until_ready()
        # Nothing is awaited from here on: the feed has it in the same turn.
        now = asyncio.get_running_loop().time()
        pod.ready_at = now
        self._restarts.ready(now)
        log.info("backend=%s %s is ready after %.3f s", self.backend, pod, now - pod.started)
        self._settle()

    def _on_exit(self, pod: Pod, how: str) -> None:
        pod.gone()
        del self._pods[pod.uid]
        self._ports.free(pod.port)
        if pod.ending:
            log.info("backend=%s %s %s", self.backend, pod, how)
        else:
            said = last_lines(self._log_file(pod.uid))
            log.warning(
                "backend=%s %s %s unasked; last lines of its output: %s", self.backend, pod, how, said
            )
            self._count_death(how, said, pod.started, pod.ready_at)
        if not self._pods:
            self._none_left.set()
        self._settle()

    def _count_death(self, how: str, said: str, started: float, ready_at: float | None) -> None:
        self._restarts.died(asyncio.get_running_loop().time(), started, ready_at)
        if ready_at is None:
            times = {2: "twice", 3: "three times"}.get(
                self._restarts.failures, f"{self._restarts.failures} times"
            )
            output = f"last lines of its output: {said}" if said else "it wrote nothing"
            self._failure = f"{self.backend}: the command {how} {times}; {output}"

    def _begin_anew(self) -> None:
        """What happened before says nothing about the next start."""
        self._restarts = Restarts()

    def _publish(self) -> None:
        # A pod that ends stays in the feed, draining, while its process lives: out of the feed means gone.
        any_ready = any(pod.ready and not pod.ending for pod in self._pods.values())
        cannot_start = self._failure if self._restarts.hopeless and not any_ready else None
        self._feed.publish((pod.endpoint for pod in self._pods.values()), cannot_start)

    def _log_file(self, uid: str) -> Path:
        return self._log_dir / self.backend / f"{uid}.log"


def _naming(uids: Collection[str]) -> str:
    return f", ending {', '.join(sorted(uids))}" if uids else ""
