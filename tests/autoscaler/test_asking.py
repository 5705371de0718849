"""From the configuration's words to those of the sources, and where pods are."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from autoscaler.asking import asked_of, clustered, fed, fixed, local
from autoscaler.plan import Unknown
from autoscaler.signals.asked import Asked, PodAt, PodMetric, Prometheus, Query, Usage
from gateway.config import Config, load
from gateway.endpoints import EndpointInfo, Feed
from gateway.kube.discovery import View
from gateway.kube.pods import pod_of
from gateway.kube.slices import slice_of
from gateway.targets import ScaleTarget, ServiceTarget
from tests.certificates import Authority

PAGE = {"type": "pod", "metric": "vllm:num_requests_waiting", "target": 4}
QUERY = {"type": "prometheus", "query": "sum(jobs)", "target": 10}


def config(
    folder: Path, *metrics: dict[str, Any], target: dict[str, Any] | None = None, **sections: Any
) -> Config:
    document = {
        "backends": {
            "iris": {
                "target": target or {"urls": ["http://127.0.0.1:9001"]},
                "scale": {"metrics": list(metrics)},
            }
        },
        "routes": [{"name": "all", "split": {"iris": 1}}],
        **sections,
    }
    path = folder / "tidegate.yaml"
    path.write_text(yaml.safe_dump(document))
    return load(path)


def asked(found: Config) -> tuple[Asked, ...]:
    return asked_of(found.backends["iris"].resolved_scale(runs_command=False).metrics, found)


def test_what_gateways_tell_is_asked_of_nobody(tmp_path: Path) -> None:
    """They tell it anyway."""
    told = ({"type": "concurrency"}, {"type": "rps"}, {"type": "queue_wait", "target": "1s"})
    assert asked(config(tmp_path, *told)) == ()


def test_a_pods_metric_is_asked_of_its_page(tmp_path: Path) -> None:
    """With all that the file says, or left out."""
    more = {
        "labels": {"b": "2", "a": "1"},
        "rate": True,
        "aggregation": "max",
        "path": "/x",
        "port": 1,
        "interval": "9s",
    }
    name = "pod vllm:num_requests_waiting"
    assert asked(config(tmp_path, PAGE)) == (PodMetric(name, "vllm:num_requests_waiting"),)
    assert asked(config(tmp_path, {**PAGE, **more})) == (
        PodMetric(name, PAGE["metric"], (("a", "1"), ("b", "2")), True, "max", "/x", 1, 9.0),
    )


def test_a_query_is_asked_of_the_files_prometheus_or_of_its_own(tmp_path: Path) -> None:
    """Whose credentials go nowhere else."""
    usual = {"url": "https://prometheus:9090/", "user": "me", "password_file": "secret", "ca": "/etc/ca.pem"}
    found = config(
        tmp_path,
        QUERY,
        {**QUERY, "name": "other", "url": "http://other:9090"},
        autoscaler={"prometheus": usual},
    )
    server = Prometheus("https://prometheus:9090", "me", tmp_path / "secret", Path("/etc/ca.pem"))
    assert asked(found) == (
        Query("prometheus", "sum(jobs)", server),
        Query("prometheus other", "sum(jobs)", Prometheus("http://other:9090")),
    )


def test_a_token_needs_no_user(tmp_path: Path) -> None:
    """And has a file of its own."""
    usual = {"url": "http://prometheus:9090", "token_file": "/run/token"}
    (query,) = asked(config(tmp_path, QUERY, autoscaler={"prometheus": usual}))
    assert query == Query(
        "prometheus", "sum(jobs)", Prometheus("http://prometheus:9090", None, Path("/run/token"))
    )


def test_cpu_and_memory_are_amounts_or_shares(tmp_path: Path) -> None:
    """In cores and bytes, or of what pods request."""
    found = config(
        tmp_path, {"type": "cpu", "target": "70%"}, {"type": "memory", "target": "2Gi", "interval": "30s"}
    )
    assert asked(found) == (
        Usage("cpu", "cpu", 0.7, share=True),
        Usage("memory", "memory", 2.0**31, interval=30.0),
    )


def test_local_pods_are_those_that_get_requests() -> None:
    """With the process to look at."""

    def pod(uid: str, *, ready: bool = True, draining: bool = False) -> SimpleNamespace:
        return SimpleNamespace(uid=uid, port=8001, pid=42, ready=ready, draining=draining)

    there = SimpleNamespace(pods=(pod("a"), pod("b", ready=False), pod("c", draining=True)))
    assert local(there)() == [PodAt("a", "127.0.0.1", 8001, pid=42)]  # type: ignore[arg-type]


def test_a_feeds_pods_are_those_that_get_requests() -> None:
    """As they are now."""
    feed = Feed("iris")
    pods = fed(feed)
    assert pods() == []
    feed.publish([EndpointInfo("a", "10.0.0.1", 80, True), EndpointInfo("b", "10.0.0.2", 80, True, True)])
    assert pods() == [PodAt("a", "10.0.0.1", 80)]


class Targets:
    def __init__(self, view: View | Unknown) -> None:
        self._view = view

    def view(self, _: str) -> View | Unknown:
        return self._view


def item(name: str, *, ready: bool = True, **meta: Any) -> dict[str, Any]:
    requests = {"cpu": "500m", "memory": "1Gi"}
    return {
        "metadata": {"name": name, "namespace": "models", "uid": f"uid-{name}", "creationTimestamp": "1970-01-01T00:01:00Z", **meta},
        "spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]},
        "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }  # fmt: skip


def test_a_clusters_pods_are_those_that_get_requests() -> None:
    """With what they request, and what the metrics API knows them by."""
    items = [
        item("a"),
        item("b", ready=False),
        item("c", annotations={"tidegate.dev/draining": "1"}),
        item("d", deletionTimestamp="1970-01-01T00:02:00Z"),
    ]
    targets = Targets(View(pods=tuple(pod_of(each) for each in items)))
    target = ScaleTarget("apps/v1", "Deployment", "iris", "models", 8080)
    assert clustered(targets, "iris", target)() == [  # type: ignore[arg-type]
        PodAt("uid-a", "10.0.0.1", 8080, namespace="models", name="a", created=60.0, requests=(0.5, 2.0**30))
    ]


def test_a_services_pods_are_addresses() -> None:
    """On the port that requests go to."""
    endpoints = [{"addresses": ["10.0.0.9"], "conditions": {"ready": True}, "targetRef": {"uid": "u"}}]
    found = slice_of(
        {"metadata": {"name": "s"}, "ports": [{"name": "http", "port": 80}], "endpoints": endpoints}
    )
    target = ServiceTarget("iris", "models", None)
    assert clustered(Targets(View(slices=(found,))), "iris", target)() == [PodAt("u", "10.0.0.9", 80)]  # type: ignore[arg-type]


def test_a_target_that_is_not_known_says_so() -> None:
    """Which is no zero."""
    unknown = Unknown("deployment models/iris is not known yet")
    target = ScaleTarget("apps/v1", "Deployment", "iris", "models", 8080)
    assert clustered(Targets(unknown), "iris", target)() == unknown  # type: ignore[arg-type]


def test_fixed_urls_are_what_the_file_lists(tmp_path: Path) -> None:
    """Of http ones nothing else is needed."""
    backend = config(tmp_path, PAGE).backends["iris"]
    assert fixed(backend, tmp_path)() == [PodAt("http://127.0.0.1:9001", "127.0.0.1", 9001)]


def test_https_urls_are_verified_as_for_requests(tmp_path: Path) -> None:
    """By the CAs and the name that the target gives."""
    Authority().write(tmp_path)
    target = {"urls": ["https://127.0.0.1:9001"], "tls": {"ca": "ca.crt", "server_name": "iris.example.com"}}
    backend = config(tmp_path, PAGE, target=target).backends["iris"]
    (pod,) = fixed(backend, tmp_path)()  # type: ignore[misc]
    assert pod.trust is not None
    assert pod.trust.server_name == "iris.example.com"
    (plain,) = fixed(
        config(tmp_path, PAGE, target={"urls": ["https://127.0.0.1:1"]}).backends["iris"], tmp_path
    )()  # type: ignore[misc]
    assert plain.trust is not None
    (tmp_path / "ca.crt").unlink()
    found = fixed(backend, tmp_path)()
    assert isinstance(found, Unknown)
    assert "ca.crt: " in found.reason


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"url": "http://p:1", "user": "a", "token_file": "t"}, "user: cannot stand beside `token_file`"),
        ({"url": "http://p:1", "password_file": "t"}, "password_file: belongs to a `user`"),
        ({"url": "http://p:1", "ca": "t"}, "ca: belongs to an https `url`"),
    ],
)
def test_credentials_that_do_not_fit_are_refused(
    tmp_path: Path, section: dict[str, str], problem: str
) -> None:
    """Where the file says them."""
    with pytest.raises(Exception, match=r"autoscaler\.prometheus") as failure:
        config(tmp_path, QUERY, autoscaler={"prometheus": section})
    assert problem in str(failure.value)
