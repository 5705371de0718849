"""How a target becomes a Scaler: fixed URLs are only watched, a command becomes local pods (`processes`).

A Scaler says what is there and takes counts; when to call it is `target`'s. Those of a cluster are made by `cluster.targets`.
"""

import random
from collections.abc import Callable, Collection
from pathlib import Path

from autoscaler.plan import Milestones, PodState, TargetState
from autoscaler.processes import LocalPods, PodTemplate, Ports, Spawner
from gateway.config import BackendConfig, resolve_command
from gateway.endpoints import Feed


class FixedScaler:
    """Pods that somebody else runs: decisions about them are shown, and nothing is done."""

    def __init__(self, count: int | None, feed: Feed | None = None) -> None:
        """`count`: None for as many as the feed has.

        `feed`: what this process knows of the pods; without it all of them are taken for ready.
        """
        self.count = count
        self._feed = feed

    def observe(self) -> TargetState:
        if self._feed is None:
            pods = (PodState(f"{number}", ready=True, draining=False) for number in range(self.count or 0))
        else:
            pods = (PodState(pod.uid, pod.ready, pod.draining) for pod in self._feed.latest.pods)
        there = tuple(pods)
        staying = sum(not pod.draining for pod in there)
        return TargetState(staying if self.count is None else self.count, there, fixed=True)

    def milestones(self, uid: str) -> Milestones | None:  # noqa: ARG002
        """Who runs them knows."""
        return None

    async def drain(self, uids: Collection[str]) -> None:
        """Nobody would end them."""

    async def undrain(self, uids: Collection[str]) -> None:
        """Nothing was marked."""

    async def scale(self, replicas: int, remove: Collection[str]) -> None:
        """The count is what the configuration lists."""

    def __repr__(self) -> str:
        return f"<FixedScaler {self.observe().replicas} pods>"


class LocalPodsMaker:
    """Makes the LocalPods of all `command` targets, and holds what these share."""

    def __init__(self, idle: Callable[[str, str], bool]) -> None:
        """`idle` says of a Backend and the uid of a pod that gets nothing new whether no request is open to it."""
        self._idle = idle
        self._chance = random.Random()  # noqa: S311 (it names pods and picks ports)
        self._spawner = Spawner()
        self._ports = Ports(self._chance)

    def kill(self) -> None:
        """End all pods of all targets, now and unasked: for a process that will not wait for them."""
        self._spawner.kill()

    def make(self, name: str, backend: BackendConfig, feed: Feed, base_dir: Path, log_dir: Path) -> LocalPods:
        return LocalPods(
            name,
            template_of(backend, base_dir),
            feed,
            spawner=self._spawner,
            ports=self._ports,
            chance=self._chance,
            idle=lambda uid: self._idle(name, uid),
            log_dir=log_dir,
        )

    def __repr__(self) -> str:
        return f"<LocalPodsMaker {self._spawner} {self._ports}>"


def template_of(backend: BackendConfig, base_dir: Path) -> PodTemplate:
    """What the pods of a `command` target run; `{port}` is left for each pod to put in."""
    target = backend.target
    return PodTemplate(tuple(resolve_command(backend, base_dir)), base_dir, target.env, target.ready)
