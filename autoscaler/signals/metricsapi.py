"""What a cluster's pods use, from its metrics API (`metrics.k8s.io`, which metrics-server or an adapter serves).

One list per namespace, whatever many Backends have pods there, decoded a few items in a turn of the loop. It needs the right to list `pods.metrics.k8s.io`
(`deploy/components/resource-metrics`). Neighbours: `usage` sums up over pods, `reading` calls this.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoscaler.signals.asked import NoValueError, PodAt, Usage
from autoscaler.signals.shared import Shared
from autoscaler.signals.usage import requested, total
from gateway.kube.client import ApiError, Cluster, ClusterError
from gateway.kube.objects import Json, epoch, metadata
from gateway.kube.pages import Page
from gateway.kube.quantities import parse_quantity

_GROUP = "/apis/metrics.k8s.io/v1beta1"
_FRESH = 9.0
"""Seconds: metrics-server looks at pods every 15 s."""
_AT_ONCE = 50
"""Items that are decoded in one turn of the loop: 1 ms."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a pod was using at some time (seconds since 1970): cores and bytes."""

    at: float
    cpu: float
    memory: float


def measured_of(item: Json) -> Measured:
    """Raises ValueError for what cannot be read."""
    usage = [container.get("usage") or {} for container in item.get("containers") or ()]
    cpu = sum(parse_quantity(each.get("cpu", "0")) for each in usage)
    memory = sum(parse_quantity(each.get("memory", "0")) for each in usage)
    return Measured(epoch(item.get("timestamp")), cpu, memory)


class MetricsApi:
    """The lists of all namespaces that are asked for. `stop` it in the end."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lists: dict[str, Shared[Mapping[str, Measured]]] = {}

    async def pods(self, namespace: str) -> Mapping[str, Measured]:
        """By the pods' names. Raises NoValueError."""
        known = self._lists.get(namespace)
        if known is None:
            known = self._lists[namespace] = Shared(lambda: self._list(namespace), _FRESH)
        return await known.get()

    async def stop(self) -> None:
        for known in self._lists.values():
            await known.stop()

    async def _list(self, namespace: str) -> Mapping[str, Measured]:
        found: dict[str, Measured] = {}
        try:
            page = Page(await self._cluster.read(f"{_GROUP}/namespaces/{namespace}/pods", {}))
            for index, item in enumerate(page.items(), start=1):
                found[metadata(item)["name"]] = measured_of(item)
                if index % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        except ApiError as error:
            raise NoValueError(_refused(error)) from error
        except ClusterError as error:
            raise NoValueError(f"the metrics API: {error}") from error
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise NoValueError(f"the metrics API's answer cannot be read: {error}") from error
        return found

    def __repr__(self) -> str:
        return f"<MetricsApi of {sorted(self._lists)}>"


class ClusterUsage:
    """One Backend's metric, of its pods in the cluster."""

    def __init__(self, asked: Usage, api: MetricsApi) -> None:
        self._asked = asked
        self._api = api

    async def value(self, pods: Sequence[PodAt]) -> float:
        """Raises NoValueError."""
        lists = {space: await self._api.pods(space) for space in sorted({pod.namespace for pod in pods})}
        used: dict[str, float] = {}
        for pod in pods:
            measured = lists[pod.namespace].get(pod.name)
            # What was measured before there was this pod is of another one of its name.
            if measured is not None and measured.at >= pod.created:
                amount = measured.cpu if self._asked.resource == "cpu" else measured.memory
                used[pod.uid] = amount / (requested(pod, self._asked.resource) if self._asked.share else 1.0)
        return total(self._asked, pods, used, "the metrics API does not know it yet")

    def __repr__(self) -> str:
        return f"<ClusterUsage {self._asked.name}>"


def _refused(error: ApiError) -> str:
    match error.status:
        case 404:
            return "the cluster has no metrics API (metrics.k8s.io): install metrics-server"
        case 403:
            return f"{error}: add the component deploy/components/resource-metrics"
        case 503:
            return f"the metrics API is not available, as metrics-server is not: {error}"
    return f"the metrics API: {error}"
