"""What keeps a process to its configuration; documents beside the file are in kube/test_documents.py."""

import asyncio
from pathlib import Path
from typing import Any

from gateway.config import Config, load
from gateway.following import Following
from tests.eventually import eventually

FILE = "backends: {%s: {target: {urls: [http://a]}}}\nroutes: [{name: r, split: {%s: 1}}]\n"


async def test_a_fault_of_our_own_does_not_end_the_watch(tmp_path: Path, caplog: Any) -> None:
    """It is told, the last good file stays, and the next one is taken over."""
    path = tmp_path / "tidegate.yaml"
    path.write_text(FILE % ("a", "a"))
    taken: list[str] = []
    refused: list[list[str]] = []

    def read() -> Config:
        if "bad" in path.read_text():
            raise OverflowError("beyond what was thought of")
        return load(path)

    async def take(config: Config) -> None:
        taken.extend(config.backends)

    following = Following(load(path), read, take, refused.append, lambda: None)
    running = asyncio.create_task(following.run())
    try:
        path.write_text(FILE % ("bad", "bad"))
        await eventually(lambda: refused)
        assert "by a fault of Tidegate's own: OverflowError('beyond what was thought of')" in refused[0][0]
        assert "Traceback" in caplog.text
        path.write_text(FILE % ("b", "b"))
        await eventually(lambda: taken == ["b"])
    finally:
        running.cancel()
