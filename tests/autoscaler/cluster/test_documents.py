"""The autoscaler as a process of its own, and the documents of InferenceServices."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from autoscaler.standalone import run
from tests.autoscaler.cluster.inference.place import GROUP, definitions, service
from tests.eventually import eventually
from tests.gateway.kube.scene import deployment
from tests.kube.apiserver import ApiServer

FILE = """\
inference_services: {}
autoscaler: {admin: 127.0.0.1:0, state: state.json, gateways: [http://127.0.0.1:9]}
"""
DOCUMENT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "isvc.models.iris",
        "namespace": "models",
        "labels": {"tidegate.dev/document": "somebody-elses"},
    },
    "data": {
        "tidegate.yaml": "backends: {iris: {target: {deployment: iris, port: 8080}}}\n"
        "routes: [{name: iris, split: {iris: 1}}]\n"
    },
}


async def test_backends_of_documents_go_on_from_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They come a moment after the file's, and are waited for."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "tidegate.yaml"
    path.write_text(FILE)
    async with ApiServer.running() as api:
        await api.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "models"}}])
        await api.apply([deployment("iris", 0), DOCUMENT])
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "config", namespace="models")))
        await _run(path, (tmp_path / "state.json").exists)
        await _run(path, lambda: "1 of 1 targets go on from what was known" in caplog.text)


async def test_of_two_with_one_host_one_is_told_on_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`a-b` in `c` and `a` in `b-c` are called the same from outside; the document that is left out is nobody's route."""
    path = tmp_path / "tidegate.yaml"
    path.write_text(FILE)
    async with ApiServer.running() as api:
        names = ("models", "c", "b-c")
        await api.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in names])
        await api.apply([*definitions(), service("a-b", "c"), service("a", "b-c")])
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "config", namespace="models")))

        def told() -> list[bool]:
            found = [str(record.obj.get("status")) for record in api.store.records(GROUP)]
            return ["a-b-c.example.com belongs to configmap models/isvc." in status for status in found]

        await _run(path, lambda: any(told()))
        assert sorted(told()) == [False, True]


async def _run(path: Path, done: Callable[[], bool]) -> None:
    """Until that is so."""
    running = asyncio.create_task(run(path))
    await eventually(done)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, 15) == 0
