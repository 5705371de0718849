"""One local pod: a process, its port, and where it is in its life.

    starting ──► ready ──► ending ──► gone
        └────────────────────┘

A pod that is ready may be draining, too: it gets nothing new. It is draining because the autoscaler marked it, because
a pod with a newer command replaces it (retiring), or because it is ending.
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoscaler.plan import Milestones, PodState
from autoscaler.processes.spawn import Launch, Process
from gateway.endpoints import EndpointInfo
from gateway.probe import intervals, probe

HOST = "127.0.0.1"
PROBE_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """What every pod of a backend runs."""

    command: tuple[str, ...]
    """`{port}` in an argument stands for the pod's port. Without a slash the program is looked for in PATH."""
    cwd: Path
    env: Mapping[str, str]
    """Beside Tidegate's own environment and PORT; `{port}` as in the command."""
    ready_path: str | None
    """Answered with 2xx or 3xx by a pod that is ready; None: one that accepts connections is."""

    def launch(self, port: int, log: Path) -> Launch:
        argv = [argument.replace("{port}", str(port)) for argument in self.command]
        env = {key: value.replace("{port}", str(port)) for key, value in self.env.items()}
        return Launch(argv, self.cwd, {**os.environ, "PORT": str(port), **env}, log)


class Pod:
    """A pod and its process, if that has been started already."""

    def __init__(self, uid: str, template: PodTemplate, port: int, started: float) -> None:
        self.uid = uid
        self.template = template
        self.port = port
        self.started = started
        """When it was made, on the loop's clock, as the next two."""
        self.up_at: float | None = None
        """When its process ran."""
        self.ready_at: float | None = None
        self.drain_mark = False
        self.retiring = False
        self.ending = False
        self.process: Process | None = None
        self.readiness: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        marks = [mark for mark in ("retiring", "ending") if getattr(self, mark)]
        if self.drain_mark:
            marks.insert(0, "draining")
        return f"<Pod {self}: {' '.join(['ready' if self.ready else 'starting', *marks])}>"

    def __str__(self) -> str:
        return f"uid={self.uid} pid={self.pid} port={self.port}"

    @property
    def pid(self) -> int | None:
        return None if self.process is None else self.process.pid

    @property
    def ready(self) -> bool:
        return self.ready_at is not None

    @property
    def draining(self) -> bool:
        return self.drain_mark or self.retiring or self.ending

    @property
    def endpoint(self) -> EndpointInfo:
        return EndpointInfo(self.uid, HOST, self.port, self.ready, self.draining)

    @property
    def state(self) -> PodState:
        return PodState(self.uid, self.ready, self.draining)

    def milestones(self, now: float) -> Milestones:
        return Milestones(
            created=now - self.started, started=None if self.up_at is None else now - self.up_at
        )

    async def until_ready(self) -> None:
        """Probe until it succeeds; whoever sees the process end cancels this."""
        for wait in intervals():
            if await probe(HOST, self.port, self.template.ready_path, PROBE_TIMEOUT):
                return
            await asyncio.sleep(wait)

    def end(self, grace: float) -> None:
        """SIGTERM now, SIGKILL after `grace` seconds; again: the earlier SIGKILL counts."""
        self._stop_probing()
        if not self.ending:
            self.ending = True
            self._signal(signal.SIGTERM)
        loop = asyncio.get_running_loop()
        if self._deadline is None or loop.time() + grace < self._deadline.when():
            self._cancel_deadline()
            self._deadline = loop.call_later(grace, self._signal, signal.SIGKILL)

    def kill(self) -> None:
        self._stop_probing()
        self.ending = True
        self._signal(signal.SIGKILL)

    def gone(self) -> None:
        """The process is reaped: nothing of the pod may fire any more."""
        self._stop_probing()
        self._cancel_deadline()

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.signal(number)

    def _stop_probing(self) -> None:
        if self.readiness is not None:
            self.readiness.cancel()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
