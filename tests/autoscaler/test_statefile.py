"""The file that an autoscaler goes on from."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from autoscaler.collector import PackedCollector
from autoscaler.snapshot import Snapshot
from autoscaler.statefile import EVERY, StateFile

NOW = 1_700_000_000.0


def snapshot(at: float = NOW) -> Snapshot:
    return Snapshot(at, PackedCollector(0, {}, {}, {}), {})


async def test_what_is_written_is_read(tmp_path: Path) -> None:
    """At the end, at the latest; its folder is made, and nothing lies about."""
    path = tmp_path / "new" / "state.json"
    kept = StateFile(path)
    kept.start(snapshot)
    await kept.stop()
    assert await StateFile(path).read(NOW) == snapshot()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.looptime
async def test_it_is_written_every_other_second(tmp_path: Path) -> None:
    """So that one that is killed has lost no more than that."""
    taken: list[float] = []
    loop = asyncio.get_running_loop()

    def take() -> Snapshot:
        taken.append(loop.time())
        return snapshot()

    kept = StateFile(tmp_path / "state.json")
    kept.start(take)
    await asyncio.sleep(3 * EVERY + 0.1)
    await kept.stop()
    assert len(taken) == 4


async def test_what_is_no_file_is_neither_read_nor_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading a FIFO would take until somebody writes, and /dev/null would be /dev/null no more."""
    path = tmp_path / "state.json"
    os.mkfifo(path)
    kept = StateFile(path)
    assert await kept.read(NOW) is None
    kept.start(snapshot)
    await kept.stop()
    assert path.is_fifo()
    assert [record.message.count("not a regular file") for record in caplog.records] == [1, 1]


async def test_what_another_wrote_is_never_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As when the configuration is named in place of the state."""
    path = tmp_path / "tidegate.yaml"
    path.write_text("routes: []\n")
    kept = StateFile(path)
    assert await kept.read(NOW) is None
    kept.start(snapshot)
    await kept.stop()
    assert path.read_text() == "routes: []\n"
    assert "it holds something else, which is left as it is" in caplog.text


async def test_a_link_stays_one(tmp_path: Path) -> None:
    """What it leads to is what is written."""
    path, link = tmp_path / "state.json", tmp_path / "link.json"
    link.symlink_to(path)
    kept = StateFile(link)
    kept.start(snapshot)
    await kept.stop()
    assert link.is_symlink()
    assert await StateFile(path).read(NOW) == snapshot()


async def test_nothing_there_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first start has nothing to go on from."""
    assert await StateFile(tmp_path / "state.json").read(NOW) is None
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"version":1,"crc', "it is no snapshot, or cut off"),
        ('{"version":7,"crc32":1,"snapshot":{}}\n', "it is of version 7, and this is 1"),
    ],
)
async def test_what_cannot_be_used_is_told_in_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, words: str
) -> None:
    """And costs nothing but the data."""
    path = tmp_path / "state.json"
    path.write_text(text)
    assert await StateFile(path).read(NOW) is None
    assert [words in record.getMessage() for record in caplog.records] == [True]


async def test_a_link_that_leads_to_itself_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the autoscaler starts all the same."""
    path = tmp_path / "state.json"
    path.symlink_to(path)
    assert await StateFile(path).read(NOW) is None
    assert "cannot be used, beginning anew" in caplog.text


async def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder, for one."""
    assert await StateFile(tmp_path).read(NOW) is None
    assert "not a regular file" in caplog.text


async def test_a_place_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And again when it can; nothing ends for it."""
    caplog.set_level(logging.INFO)
    (tmp_path / "file").touch()
    kept = StateFile(tmp_path / "file" / "state.json")
    for _ in range(2):
        await kept._write(snapshot)
    assert len(caplog.records) == 1
    assert "a restart would begin anew" in caplog.text
    assert "failing" in repr(kept)
    (tmp_path / "file").unlink()
    await kept._write(snapshot)
    assert caplog.records[-1].getMessage().endswith("again")


@pytest.mark.looptime
async def test_a_snapshot_that_cannot_be_made_is_told_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong in it ends neither the writing nor the autoscaler that waits for its end."""
    tries: list[None] = []

    def take() -> Snapshot:
        tries.append(None)
        if len(tries) == 1:
            raise RuntimeError("no such thing")
        return snapshot()

    kept = StateFile(tmp_path / "state.json")
    kept.start(take)
    await asyncio.sleep(EVERY + 0.1)
    assert "no such thing; a restart would begin anew" in caplog.text
    await kept.stop()
    assert await kept.read(NOW) == snapshot()
