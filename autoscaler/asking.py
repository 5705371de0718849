"""What `signals` is asked for each Backend, and where its pods are: from the configuration's words to those of the sources.

Pods are processes of this machine, a cluster's, or addresses of either a Feed or the configuration. Only those that get requests count: ready, and not draining.
Neighbours: `server`, which puts both into `signals`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoscaler.plan import Unknown
from autoscaler.processes import LocalPods
from autoscaler.processes.pod import HOST
from autoscaler.signals.asked import Asked, PodAt, PodMetric, Pods, Prometheus, Query, Usage
from gateway.config import BackendConfig, Config, ResolvedMetric
from gateway.config.metrics import PodSource, PrometheusSource
from gateway.endpoints import EndpointInfo, Feed
from gateway.kube.pods import Pod
from gateway.kube.slices import endpoints_of
from gateway.targets import ClusterTarget, ScaleTarget
from gateway.tls import Trust, UnusableError, load_trust

if TYPE_CHECKING:  # it brings kubernetes_asyncio, which is an extra
    from autoscaler.cluster.targets import ClusterTargets


def asked_of(metrics: Iterable[ResolvedMetric], config: Config) -> tuple[Asked, ...]:
    """Of those that gateways tell, nothing."""
    return tuple(asked for metric in metrics if (asked := _asked(metric, config)) is not None)


def _asked(metric: ResolvedMetric, config: Config) -> Asked | None:
    source = metric.source
    if isinstance(source, PodSource):
        return PodMetric(
            metric.name,
            source.metric,
            labels=source.labels,
            rate=source.rate,
            aggregation=source.aggregation,
            path=source.path,
            port=source.port,
            interval=metric.interval,
        )
    if isinstance(source, PrometheusSource):
        return Query(metric.name, source.query, _server(source.url, config), metric.interval)
    match metric.type:
        case "cpu" | "memory" as resource:
            return Usage(metric.name, resource, metric.target, metric.share, metric.interval)
    return None


def _server(url: str | None, config: Config) -> Prometheus:
    """Credentials go to the server that they were given for, and to no other."""
    usual = config.autoscaler.prometheus
    if usual is None or (url is not None and url != usual.url):
        return Prometheus(url or "")
    secret, ca = (
        (None if name is None else config.base_dir / name) for name in (usual.secret_file, usual.ca)
    )
    return Prometheus(usual.url, usual.user, secret, ca)


# -- where pods are


def local(pods: LocalPods) -> Pods:
    """Processes that run here."""

    def find() -> Sequence[PodAt]:
        return [
            PodAt(pod.uid, HOST, pod.port, pid=pod.pid) for pod in pods.pods if pod.ready and not pod.draining
        ]

    return find


def fed(feed: Feed) -> Pods:
    """Those that this process's gateway knows."""
    return lambda: _addresses(feed.latest.pods)


def clustered(targets: "ClusterTargets", name: str, target: ClusterTarget) -> Pods:
    """Those of a cluster, by what is known of it now."""

    def find() -> Sequence[PodAt] | Unknown:
        view = targets.view(name)
        if isinstance(view, Unknown):
            return view
        if isinstance(target, ScaleTarget):
            return [_in_cluster(pod, target.port) for pod in view.pods if _serves(pod)]
        return _addresses(endpoints_of(view.slices, target.port))

    return find


def fixed(backend: BackendConfig, base_dir: Path) -> Pods:
    """At URLs that the configuration lists. Blocks: of https URLs the CAs are read."""
    try:
        trust = _trust(backend, base_dir) if backend.target.secure else None
    except UnusableError as error:
        reason = str(error)
        return lambda: Unknown(reason)
    there = [PodAt(url.url, url.host, url.port, trust) for url in backend.target.urls or ()]
    return lambda: there


def _addresses(pods: Iterable[EndpointInfo]) -> Sequence[PodAt]:
    return [PodAt(pod.uid, pod.host, pod.port, pod.trust) for pod in pods if pod.ready and not pod.draining]


def _serves(pod: Pod) -> bool:
    return pod.ready and not pod.draining and not pod.terminating and pod.host is not None


def _in_cluster(pod: Pod, port: int) -> PodAt:
    return PodAt(
        pod.uid,
        pod.host or "",
        port,
        namespace=pod.namespace,
        name=pod.name,
        created=pod.created,
        requests=pod.requests,
    )


def _trust(backend: BackendConfig, base_dir: Path) -> Trust:
    tls = backend.target.tls
    verify, ca = (True, None) if tls is None else (tls.verify, tls.ca)
    context = load_trust(None if ca is None else base_dir / ca, verify=verify)
    return Trust("scrapes", None if tls is None else tls.server_name, context)
