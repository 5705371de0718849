"""ConfigMaps become parts of the configuration, and go on being so."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, load
from gateway.following import PATIENCE, Following
from gateway.kube import documents
from gateway.kube.client import Cluster
from tests.eventually import eventually
from tests.kube.apiserver import ApiServer

FILE = "inference_services: {}\nadmin: 127.0.0.1:0\nlisten: 127.0.0.1:0\n"


def document(name: str, text: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "models", "labels": {"tidegate.dev/document": "inference-service"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"tidegate.yaml": text}}


def leads(name: str) -> str:
    return (
        f"backends: {{{name}: {{target: {{deployment: {name}, port: 8000}}}}}}\n"
        f"routes: [{{name: {name}, hosts: [{name}.example.com], split: {{{name}: 1}}}}]\n"
    )


class Process:
    """What follows a configuration, and what it was given."""

    def __init__(self, path: Path, cluster: Cluster) -> None:
        self.path = path
        self.taken: list[Config] = []
        self.refused: list[list[str]] = []
        self.left_out: list[dict[str, str]] = []
        refused, left_out = self.refused.append, self.left_out.append
        self.following = Following(
            load(path), lambda: load(path), self._take, refused, lambda: cluster, left_out=left_out
        )

    async def _take(self, config: Config) -> None:
        self.taken.append(config)

    @property
    def names(self) -> list[str]:
        return sorted(self.taken[-1].backends) if self.taken else []

    @property
    def lacks(self) -> str | None:
        return self.following.lacks(asyncio.get_running_loop().time())


@pytest.fixture
async def process(
    api: ApiServer, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Process]:
    """It follows a file, and two documents."""
    monkeypatch.setattr(documents, "QUIET", 0.01)
    path = tmp_path / "tidegate.yaml"
    path.write_text(FILE)
    await api.apply([document("isvc.models.a", leads("a")), document("isvc.models.b", leads("b"))])
    made = Process(path, cluster)
    assert made.lacks == "waiting for the documents of InferenceServices"
    task = asyncio.create_task(made.following.run())
    await eventually(lambda: made.names == ["a", "b"])
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_those_that_are_there_come_at_once_and_together(process: Process) -> None:
    """Clients may come from then on."""
    assert len(process.taken) == 1
    await eventually(lambda: process.lacks is None)


async def test_what_is_added_changed_and_deleted_follows(process: Process, api: ApiServer) -> None:
    """And ConfigMaps without the label do not matter."""
    other = document("other", leads("other"))
    del other["metadata"]["labels"]
    await api.apply([other, document("isvc.models.c", leads("c"))])
    await eventually(lambda: process.names == ["a", "b", "c"])
    await api.apply(document("isvc.models.c", leads("d")))
    await eventually(lambda: process.names == ["a", "b", "d"])
    api.store.delete("configmaps", "models", "isvc.models.a")
    await eventually(lambda: process.names == ["b", "d"])


async def test_one_that_breaks_goes_on_as_it_was(process: Process, api: ApiServer) -> None:
    """It is told once; others change nevertheless."""
    await api.apply([document("isvc.models.a", "routes: ["), document("isvc.models.c", leads("c"))])
    await eventually(lambda: process.names == ["a", "b", "c"])
    await eventually(lambda: len(process.refused) == 1)
    assert process.refused[0][0].startswith("configmap models/isvc.models.a:1: not YAML")
    await api.apply(document("isvc.models.a", leads("e")))
    await eventually(lambda: process.names == ["b", "c", "e"])
    assert len(process.refused) == 1


async def test_what_nobody_foresaw_in_one_keeps_no_other_away(
    process: Process, api: ApiServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither when it is read nor when it is taken over."""
    monkeypatch.setattr(documents, "parse", lambda *_: 1 / 0)
    await api.apply(document("isvc.models.a", leads("d")))
    await eventually(lambda: process.refused != [])
    assert process.refused[0] == [
        "configmap models/isvc.models.a: cannot be read: ZeroDivisionError: division by zero"
    ]
    monkeypatch.undo()
    take = process.following._take
    monkeypatch.setattr(process.following, "_take", lambda _: 1 / 0)
    await api.apply(document("isvc.models.c", leads("c")))
    await eventually(lambda: "a fault of Tidegate's own" in caplog.text)
    monkeypatch.setattr(process.following, "_take", take)
    await api.apply(document("isvc.models.a", leads("e")))
    await eventually(lambda: process.names == ["b", "c", "e"])


async def test_the_file_wins_also_when_it_comes_later(process: Process) -> None:
    """The document that clashes is left out, and comes back when the file lets go."""
    process.path.write_text(FILE + leads("a"))
    await eventually(lambda: process.names == ["a", "b"] and process.refused != [])
    assert process.refused == [
        [
            f"configmap models/isvc.models.a: backend 'a' belongs to {process.path}",
            f"configmap models/isvc.models.a: Deployment 'a' belongs to {process.path}",
            f"configmap models/isvc.models.a: route 'a' belongs to {process.path}",
            f"configmap models/isvc.models.a: / on host a.example.com belongs to {process.path}",
        ]
    ]
    assert list(process.left_out[-1]) == ["configmap models/isvc.models.a"]
    process.path.write_text(FILE)
    await eventually(lambda: process.left_out[-1] == {})


async def test_a_file_that_asks_for_none_has_none(process: Process) -> None:
    """Nobody looks for documents any more."""
    process.path.write_text(leads("z"))
    await eventually(lambda: process.names == ["z"])
    assert repr(process.following) == f"<Following {process.path}>"


async def test_a_list_that_does_not_come_holds_clients_up_for_half_a_minute(
    tmp_path: Path, cluster: Cluster
) -> None:
    """Then the file's routes are better than nothing."""
    path = tmp_path / "tidegate.yaml"
    path.write_text(FILE)
    process = Process(path, cluster)
    now = asyncio.get_running_loop().time()
    assert process.following.lacks(now) is not None
    assert process.following.lacks(now + PATIENCE) is None
