"""The autoscaler wired: from a Config to pods, and reloads."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from autoscaler.scalers import FixedScaler
from autoscaler.server import Autoscaler, spec_of
from autoscaler.spec import MetricSpec, ScalingSpec
from gateway.config import BackendConfig, Config, load
from gateway.endpoints import EndpointInfo, Feed
from gateway.stats import Beat, Stat
from tests.eventually import eventually

ROOT = Path(__file__).parents[2]
POD = ROOT / "tests" / "integration" / "pod_server.py"
URLS = {"target": {"urls": ["http://127.0.0.1:9001", "http://127.0.0.1:9002"]}}
PODS = {"target": {"command": ["python", "-S", str(POD), "--port", "{port}"], "ready": "/"}}


def write(path: Path, backends: Mapping[str, Any], **sections: Any) -> Path:
    first = next(iter(backends))
    document = {"backends": backends, "routes": [{"name": "all", "split": {first: 1}}], **sections}
    path.write_text(yaml.safe_dump(document))
    return path


def config(folder: Path, backends: Mapping[str, Any], **sections: Any) -> Config:
    return load(write(folder / "tidegate.yaml", backends, **sections))


def test_a_spec_is_what_the_configuration_resolves_to() -> None:
    """Knative's defaults come through; the limit per pod is what utilization is taken of."""
    backend = BackendConfig.model_validate({**URLS, "concurrency": 2, "scale": {"stable_window": "30s"}})
    assert spec_of(backend, runs_command=False) == ScalingSpec(
        metrics=(MetricSpec("concurrency", "concurrency", 2.0, 1.4),), stable_window=30.0, panic_window=3.0
    )
    assert spec_of(backend, runs_command=True, reachable=False).max_scale == 10


# In one process with the gateway.


@asynccontextmanager
async def started(first: Config, feeds: dict[str, Feed]) -> AsyncIterator[Autoscaler]:
    made = Autoscaler(first, feeds)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
        assert not psutil.Process().children()


def nudge(backend: str) -> Beat:
    return Beat("gw-1", 0, 0.0, {backend: Stat(queued=1)}, nudge=True)


async def test_a_nudge_starts_a_real_pod(tmp_path: Path) -> None:
    """From a waiting request to a process whose readiness the feed tells; `stop` ends it."""
    feeds = {"iris": Feed("iris")}
    async with started(config(tmp_path, {"iris": PODS}), feeds) as autoscaler:
        assert autoscaler.decisions() == {"iris": (0, "no data yet: holding 0")}
        autoscaler.receive(nudge("iris"))
        await eventually(lambda: [pod.ready for pod in feeds["iris"].latest.pods] == [True])
        assert autoscaler.decisions()["iris"][0] == 1


async def test_a_reload_keeps_what_stayed(tmp_path: Path) -> None:
    """New bounds, the same pods."""
    feeds = {"iris": Feed("iris")}
    async with started(config(tmp_path, {"iris": {**PODS, "scale": {"min": 1}}}), feeds) as autoscaler:
        await eventually(lambda: [pod.ready for pod in feeds["iris"].latest.pods] == [True])
        old = feeds["iris"].latest.pods[0]
        await autoscaler.reload(config(tmp_path, {"iris": {**PODS, "scale": {"min": 2}}}))
        await eventually(lambda: len(feeds["iris"].latest.pods) == 2)
        assert old in feeds["iris"].latest.pods


async def test_a_removed_backends_pods_end(tmp_path: Path) -> None:
    """Once the gateway has no request of it; nothing of it remains."""
    feeds = {name: Feed(name) for name in ("iris", "rose")}
    both = config(tmp_path, {"iris": PODS, "rose": {**PODS, "scale": {"min": 1}}})
    async with started(both, feeds) as autoscaler:
        await eventually(lambda: [pod.ready for pod in feeds["rose"].latest.pods] == [True])
        await autoscaler.reload(config(tmp_path, {"iris": PODS}))
        await eventually(lambda: [pod.draining for pod in feeds["rose"].latest.pods] == [True])
        assert len(psutil.Process().children()) == 1
        seq = 0

        def gone() -> bool:
            nonlocal seq
            seq += 1
            autoscaler.receive(Beat("gw-1", seq, 0.005, {}))
            return not psutil.Process().children()

        await eventually(gone)
        await eventually(lambda: list(autoscaler.decisions()) == ["iris"])


async def test_a_backend_taken_back_keeps_its_pods_in_a_new_feed(tmp_path: Path) -> None:
    """The gateway that forgot it has another feed; its pods are told there, unmarked."""
    feeds = {name: Feed(name) for name in ("iris", "rose")}
    both = {"iris": PODS, "rose": {**PODS, "scale": {"min": 1}}}
    async with started(config(tmp_path, both), feeds) as autoscaler:
        await eventually(lambda: [pod.ready for pod in feeds["rose"].latest.pods] == [True])
        before = feeds["rose"].latest.pods
        await autoscaler.reload(config(tmp_path, {"iris": PODS}))
        await eventually(lambda: [pod.draining for pod in feeds["rose"].latest.pods] == [True])
        feeds["rose"] = Feed("rose")
        await autoscaler.reload(config(tmp_path, both))
        await eventually(lambda: feeds["rose"].latest.pods == before)


async def test_a_target_may_change_its_kind(tmp_path: Path) -> None:
    """From a command to URLs: the pods end once no gateway has a request of theirs, and say nothing more in the feed, which is
    another's now.
    """
    feeds = {"iris": Feed("iris")}
    async with started(config(tmp_path, {"iris": {**PODS, "scale": {"min": 1}}}), feeds) as autoscaler:
        await eventually(lambda: [pod.ready for pod in feeds["iris"].latest.pods] == [True])
        feeds["iris"].publish([EndpointInfo("http://127.0.0.1:9", "127.0.0.1", 9, ready=True)])
        news: list[object] = []
        feeds["iris"].subscribe(news.append)
        await autoscaler.reload(config(tmp_path, {"iris": URLS}))
        assert isinstance(autoscaler.controller.targets["iris"].scaler, FixedScaler)
        seq = 0

        def ended(in_flight: int) -> bool:
            nonlocal seq
            seq += 1
            stats = {"iris": Stat(in_flight=in_flight)} if in_flight else {}
            autoscaler.receive(Beat("gw-1", seq, 0.005, stats))
            return not psutil.Process().children()

        assert not any(ended(1) for _ in range(50))
        await eventually(lambda: ended(0))
        assert len(news) == 1


async def test_a_replaced_pod_ends_once_gateways_say_it_is_idle(tmp_path: Path) -> None:
    """A new command rolls through: the old pod waits for a beat later than its mark."""
    feeds = {"iris": Feed("iris")}
    scale = {"scale": {"min": 1}}
    async with started(config(tmp_path, {"iris": {**PODS, **scale}}), feeds) as autoscaler:
        await eventually(lambda: [pod.ready for pod in feeds["iris"].latest.pods] == [True])
        old = feeds["iris"].latest.pods[0].uid
        changed = {"target": {**PODS["target"], "env": {"MODE": "new"}}}
        await autoscaler.reload(config(tmp_path, {"iris": {**changed, **scale}}))
        await eventually(lambda: any(pod.draining for pod in feeds["iris"].latest.pods))
        seq = 0

        def replaced() -> bool:
            nonlocal seq
            seq += 1
            autoscaler.receive(Beat("gw-1", seq, 0.005, {}, {"iris": {old: 0}}))
            return old not in {pod.uid for pod in feeds["iris"].latest.pods}

        await eventually(replaced)


async def test_fixed_urls_are_only_looked_at(tmp_path: Path) -> None:
    """A removed one is simply dropped."""
    feeds = {name: Feed(name) for name in ("iris", "rose")}
    async with started(config(tmp_path, {"iris": URLS, "rose": URLS}), feeds) as autoscaler:
        await autoscaler.reload(config(tmp_path, {"iris": URLS}))
        await eventually(lambda: list(autoscaler.controller.targets) == ["iris"])
        assert repr(autoscaler) == "<Autoscaler <Controller of 1 targets> []>"
