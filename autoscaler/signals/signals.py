"""Keeps the sources of samples equal to what the configuration asks for.

`put` says what a Backend wants to know now: what it wanted before and wants still goes on with what it knows (a counter's last value), what is new
begins, what went asks for nothing any more. What sources share (HTTP clients, queries, the look at this machine's processes, the lists of
a cluster) is made when first needed. Neighbours: `autoscaler.server` calls this; the collector is the Sink.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from autoscaler.plan import Unknown
from autoscaler.signals.asked import Asked, PodAt, PodMetric, Pods, Query, Sink, Usage
from autoscaler.signals.processes import LocalUsage, Machine
from autoscaler.signals.prometheus import PrometheusClient, SharedQuery, same
from autoscaler.signals.reading import Reader, Reading
from autoscaler.signals.scraper import Pages, Scraper
from autoscaler.signals.told import ToldSink

if TYPE_CHECKING:
    from autoscaler.signals.metricsapi import MetricsApi
    from gateway.kube.client import Cluster

Task = asyncio.Task[Any]


class Signals:
    """All sources of one autoscaler. `stop` it in the end."""

    def __init__(self, sink: Sink, clock: Callable[[], float]) -> None:
        """`clock` is the Sink's."""
        self._sink = ToldSink(sink)
        self._clock = clock
        self._asked: dict[str, dict[str, Asked]] = {}
        """By Backend and name."""
        self._pods: dict[str, Pods] = {}
        """By Backend."""
        self._sources: dict[str, dict[Hashable, Task]] = {}
        """By Backend, and by what is asked: those that ask for it alone."""
        self._queries: dict[Hashable, tuple[SharedQuery, Task]] = {}
        self._api: MetricsApi | None = None

    def connect(self, cluster: "Cluster") -> None:
        """Ask this cluster for the use of cpu and memory of pods that are in one."""
        # Only here: kubernetes_asyncio is an extra, and takes a third of a second to import.
        from autoscaler.signals.metricsapi import MetricsApi  # noqa: PLC0415

        self._api = MetricsApi(cluster)

    def put(self, backend: str, asked: Sequence[Asked], pods: Pods) -> None:
        """Have the Sink told of all of `asked`, and of nothing else, for this Backend from now on."""
        self._pods[backend] = pods
        self._sink.keep(backend, [each.name for each in asked])
        before, self._asked[backend] = self._asked.get(backend, {}), {each.name: each for each in asked}
        for each in asked:
            if each.name in before and _what(before[each.name]) != _what(each):
                self._sink.renew(backend, each.name)
        wanted = self._wanted(backend, asked)
        running = self._sources.setdefault(backend, {})
        for key in running.keys() - wanted.keys():
            running.pop(key).cancel()
        for key in wanted.keys() - running.keys():
            running[key] = asyncio.get_running_loop().create_task(wanted[key]())
        self._share(backend, [each for each in asked if isinstance(each, Query)])

    def drop(self, backend: str) -> None:
        """Tell nothing of it any more."""
        if backend in self._pods:
            self.put(backend, (), tuple)
            del self._asked[backend], self._pods[backend], self._sources[backend]

    async def stop(self) -> None:
        """End all sources."""
        ended = [task for sources in self._sources.values() for task in sources.values()]
        ended += [task for _, task in self._queries.values()]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        made = self.__dict__
        if "_scraper" in made:
            await self._scraper.close()
        if "_prometheus" in made:
            await self._prometheus.close()
        if "_machine" in made:
            await self._machine.stop()
        if self._api is not None:
            await self._api.stop()

    # -- what each asks for

    def _wanted(
        self, backend: str, asked: Iterable[Asked]
    ) -> dict[Hashable, Callable[[], Coroutine[Any, Any, Any]]]:
        pages: dict[tuple[str, int | None], list[PodMetric]] = {}
        wanted: dict[Hashable, Callable[[], Coroutine[Any, Any, Any]]] = {}
        for each in asked:
            if isinstance(each, PodMetric):
                pages.setdefault((each.path, each.port), []).append(each)
            elif isinstance(each, Usage):
                wanted[each] = self._reading(backend, each).run
        for metrics in pages.values():
            wanted[tuple(metrics)] = self._page(backend, metrics).run
        return wanted

    def _page(self, backend: str, metrics: list[PodMetric]) -> Pages:
        return Pages(
            backend, metrics, self._of(backend), scraper=self._scraper, sink=self._sink, clock=self._clock
        )

    def _reading(self, backend: str, asked: Usage) -> Reading:
        return Reading(
            backend,
            asked,
            self._of(backend),
            here=lambda: LocalUsage(asked, self._machine),
            cluster=lambda: self._in_cluster(asked),
            sink=self._sink,
            clock=self._clock,
        )

    def _in_cluster(self, asked: Usage) -> Reader | None:
        if self._api is None:
            return None
        from autoscaler.signals.metricsapi import ClusterUsage  # noqa: PLC0415 (as above)

        return ClusterUsage(asked, self._api)

    def _of(self, backend: str) -> Pods:
        """Its pods, by what was put last."""

        def pods() -> Sequence[PodAt] | Unknown:
            return self._pods[backend]()

        return pods

    def _share(self, backend: str, queries: Iterable[Query]) -> None:
        wanted: dict[Hashable, set[tuple[str, str]]] = {}
        for query in queries:
            key = same(query)
            wanted.setdefault(key, set()).add((backend, query.name))
            if key not in self._queries:
                shared = SharedQuery(query, self._prometheus, self._sink, self._clock)
                self._queries[key] = shared, asyncio.get_running_loop().create_task(shared.run())
        for key, (shared, task) in list(self._queries.items()):
            others = {reader for reader in shared.readers if reader[0] != backend}
            shared.readers = others | wanted.get(key, set())
            if not shared.readers:
                task.cancel()
                del self._queries[key]

    # -- what they share

    @cached_property
    def _scraper(self) -> Scraper:
        return Scraper()

    @cached_property
    def _prometheus(self) -> PrometheusClient:
        return PrometheusClient()

    @cached_property
    def _machine(self) -> Machine:
        return Machine()

    def __repr__(self) -> str:
        sources = sum(len(each) for each in self._sources.values())
        return f"<Signals: {sources} sources of {len(self._sources)} backends, {len(self._queries)} queries>"


def _what(asked: Asked) -> Asked:
    """What its values are of; another one's may be in another unit, and are not to be averaged with these."""
    return (
        replace(asked, interval=0.0, target=0.0) if isinstance(asked, Usage) else replace(asked, interval=0.0)
    )
