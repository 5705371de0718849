"""Reads, each interval, what one Backend's pods use of cpu or memory: here or in a cluster, by where its pods are.

Pods that run elsewhere (at fixed URLs, behind a Service) cannot be looked at, which is a failure like any other. Neighbours: `processes` and `metricsapi`
measure, `signals` starts and ends this.
"""

from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from autoscaler.plan import Unknown
from autoscaler.signals.asked import NoValueError, PodAt, Pods, Sink, Usage
from autoscaler.signals.rhythm import repeat


class Reader(Protocol):
    """What a metric is over some pods. Raises NoValueError."""

    async def value(self, pods: Sequence[PodAt]) -> float: ...


class Reading:
    """One metric of one Backend."""

    def __init__(
        self,
        backend: str,
        asked: Usage,
        pods: Pods,
        *,
        here: Callable[[], Reader],
        cluster: Callable[[], Reader | None],
        sink: Sink,
        clock: Callable[[], float],
    ) -> None:
        """`here` and `cluster` make what reads such pods, once there are some."""
        self._backend = backend
        self._asked = asked
        self._pods = pods
        self._here = here
        self._cluster = cluster
        self._readers: dict[bool, Reader] = {}
        """By whether the pods are processes of this machine."""
        self._sink = sink
        self._clock = clock

    async def run(self) -> NoReturn:
        await repeat(self._asked.interval, self.round, self)

    async def round(self) -> None:
        """Measure all pods, and tell."""
        try:
            value = await self._value()
        except NoValueError as error:
            self._sink.failed(self._backend, self._asked.name, str(error), self._clock())
        else:
            self._sink.sample(self._backend, self._asked.name, value, self._clock())

    async def _value(self) -> float:
        pods = self._pods()
        if isinstance(pods, Unknown):
            raise NoValueError(pods.reason)
        if not pods:
            return 0.0
        local = pods[0].pid is not None
        if not local and not pods[0].namespace:
            raise NoValueError(
                f"pod {pods[0].uid} runs elsewhere, where its use of {self._asked.resource} cannot be seen"
            )
        reader = self._readers.get(local) or (self._here() if local else self._cluster())
        if reader is None:
            raise NoValueError("there is no connection to a cluster")
        self._readers[local] = reader
        return await reader.value(pods)

    def __repr__(self) -> str:
        return f"<Reading of {self._asked.name} of {self._backend} every {self._asked.interval:g} s>"
