"""One container of a pod, as a process: pulled, configured, started, probed, restarted with back-off, ended.

It tells what happens in its `view` and calls `changed` after each change. The process leads a group of its own, which ends
with it, and dies with the agent. Neighbours: `podrunner.py` owns the containers of a pod, `podstatus.py` has the words.
"""

import asyncio
import contextlib
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoscaler.processes.tether import tethered
from tests.kube import podstatus
from tests.kube.podspec import ConfigError
from tests.kube.podstatus import Backoff, ContainerView
from tests.kube.probes import Probe, follow

Object = dict[str, Any]
MISSING = "missing/"
"""An image whose name begins so cannot be pulled."""


@dataclass(frozen=True)
class Launch:
    """What to start."""

    argv: list[str]
    env: dict[str, str]
    cwd: Path
    log: Path


class Container:
    """From the first attempt to start it until its pod ends."""

    def __init__(
        self,
        spec: Object,
        pod: Object,
        *,
        address: str,
        backoff: float,
        launch: Callable[[Object], Awaitable[Launch]],
        changed: Callable[[], None],
    ) -> None:
        self.view = ContainerView(spec["name"], spec["image"])
        self._spec = spec
        self._pod = pod
        self._address = address
        self._first_delay = backoff
        self._backoff = Backoff(backoff)
        self._launch = launch
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._running: asyncio.Task[None] | None = None
        self._ending = False

    def __repr__(self) -> str:
        return f"<Container {self.view.name}: {', '.join(self.view.state)}, {self.view.restarts} restarts>"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Begin; returns at once."""
        self._running = asyncio.create_task(self._live(), name=f"container {self.view.name}")

    async def wait(self) -> None:
        """Until it is ended, or has ended by itself and is not to be restarted."""
        if self._running is not None:
            await asyncio.wait([self._running])
            if not self._running.cancelled():
                self._running.result()

    def unready(self) -> None:
        """For good: whatever its probe says."""
        self._ending = True
        self._ready(ready=False)

    def signal(self, number: signal.Signals) -> None:
        """To the process and its group, if there is one."""
        if self._process is not None and self._process.returncode is None:
            _signal(self._process.pid, number)

    async def end(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after the grace; returns when nothing runs any more."""
        self.unready()
        if self._running is None:
            return
        if self._process is None:
            self._running.cancel()
        elif grace > 0:
            self.signal(signal.SIGTERM)
            await asyncio.wait([self._running], timeout=grace)
        self.signal(signal.SIGKILL)
        await self.wait()

    # Its life

    async def _live(self) -> None:
        await self._pull()
        while True:
            code = await self._run(await self._configured())
            policy = self._pod["spec"].get("restartPolicy", "Always")
            if self._ending or policy == "Never" or (policy == "OnFailure" and code == 0):
                return
            ended = self.view.state
            delay = self._backoff.died(time.time())
            if delay:
                self.view.last_state = ended
                self._is(podstatus.crash_loop(delay, self.view.name, self._pod))
                await asyncio.sleep(delay)
            self.view.last_state = ended
            self.view.restarts += 1

    async def _pull(self) -> None:
        """Returns with the image; forever in trying for one that is missing."""
        image, delay = self.view.image, self._first_delay
        while image.startswith(MISSING):
            self._is(podstatus.pull_failed(image))
            # A kubelet tells of its back-off when it looks at the pod the next time.
            await asyncio.sleep(self._first_delay / 10)
            self._is(podstatus.pull_backoff(image))
            await asyncio.sleep(delay)
            delay = min(2 * delay, 30 * self._first_delay)
        self.view.image_id = f"process://{image}"

    async def _configured(self) -> Launch:
        while True:
            try:
                return await self._launch(self._spec)
            except ConfigError as error:
                self._is(podstatus.waiting("CreateContainerConfigError", str(error)))
                await asyncio.sleep(1)

    async def _run(self, launch: Launch) -> int:
        self.view.container_id = f"process://{uuid.uuid4().hex}"
        began = time.time()
        try:
            self._process = await _start(launch)
        except OSError as error:
            self._is(podstatus.start_failed(str(error), began, self.view.container_id))
            return 128
        self._is(podstatus.running(began))
        probing = [asyncio.create_task(probe) for probe in self._probes()]
        try:
            code = await self._process.wait()
        finally:
            for task in probing:
                task.cancel()
            _signal(self._process.pid, signal.SIGKILL)  # what it started goes with it, as in a container
            self._process = None
        self.view.ready = False
        self._is(podstatus.terminated(code, began, time.time(), self.view.container_id))
        return code

    def _probes(self) -> list[Any]:
        made = []
        if spec := self._spec.get("readinessProbe"):
            made.append(follow(Probe(spec, self._spec, self._address), lambda well: self._ready(ready=well)))
        else:
            self._ready(ready=True)
        if spec := self._spec.get("livenessProbe"):
            probe = Probe(spec, self._spec, self._address)
            if probe.runs:
                made.append(follow(probe, self._alive))
        return made

    def _alive(self, well: bool) -> None:
        if well or self._ending:
            return
        self.signal(signal.SIGTERM)
        grace = self._pod["spec"].get("terminationGracePeriodSeconds", 30)
        doomed = self._process

        def kill() -> None:
            if self._process is doomed:
                self.signal(signal.SIGKILL)

        asyncio.get_running_loop().call_later(grace, kill)

    # What it tells

    def _is(self, state: Object) -> None:
        if state != self.view.state:
            self.view.state = state
            self._changed()

    def _ready(self, *, ready: bool) -> None:
        ready = ready and not self._ending
        if ready != self.view.ready:
            self.view.ready = ready
            self._changed()


async def _start(launch: Launch) -> asyncio.subprocess.Process:
    argv, before_exec = tethered(launch.argv, launch.cwd, launch.env)
    log = os.open(launch.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            cwd=launch.cwd,
            env=launch.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=before_exec,
        )
    finally:
        os.close(log)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
