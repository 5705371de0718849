"""The watch on a real folder: what editors, kubelets and mishaps do to a file."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.config.load import digest
from gateway.config.watch import watch


def read(path: Path) -> str:
    return path.read_text()


def write(path: Path, content: str) -> None:
    path.write_text(content)


class Told:
    """What a watch has told so far."""

    def __init__(self) -> None:
        self.contents: list[str] = []
        self._news = asyncio.Event()

    def tell(self, content: str) -> None:
        self.contents.append(content)
        self._news.set()

    async def until(self, content: str) -> None:
        """Wait until the watch has told of `content`; the test's time limit ends a wait in vain."""
        while self.contents[-1:] != [content]:
            self._news.clear()
            await self._news.wait()


@asynccontextmanager
async def watching(path: Path, known: str | None) -> AsyncIterator[Told]:
    told = Told()

    async def follow() -> None:
        async for _ in watch(path, known=None if known is None else [known]):
            told.tell(read(path))

    task = asyncio.create_task(follow())
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text("zero")
    return path


ZERO = digest(b"zero")


async def test_a_file_written_in_place_is_told(path: Path) -> None:
    """The plainest save; one that changes nothing is not told."""
    async with watching(path, ZERO) as told:
        for content in ("zero", "one", "two"):
            write(path, content)
            if content != "zero":
                await told.until(content)
    assert told.contents == ["one", "two"]


async def test_a_file_replaced_by_renaming_is_told(path: Path) -> None:
    """As editors and deployment tools save."""
    async with watching(path, ZERO) as told:
        for content in ("one", "two"):
            fresh = path.with_suffix(".new")
            fresh.write_text(content)
            fresh.rename(path)
            await told.until(content)
    assert told.contents == ["one", "two"]


async def test_a_file_behind_a_swapped_link_is_told(tmp_path: Path) -> None:
    """As kubelets change a ConfigMap: `..data` is swapped for a link to another folder."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.yaml").write_text(name)
    data, path = tmp_path / "..data", tmp_path / "x.yaml"
    data.symlink_to("first")
    path.symlink_to("..data/x.yaml")
    async with watching(path, digest(b"first")) as told:
        fresh = tmp_path / "..data_tmp"
        fresh.symlink_to("second")
        fresh.rename(data)
        await told.until("second")
    assert told.contents == ["second"]


async def test_a_change_before_the_watch_began_is_told(path: Path) -> None:
    """What was loaded is known by its digest."""
    async with watching(path, digest(b"what was loaded")) as told:
        await told.until("zero")


async def test_a_watch_can_be_left(path: Path) -> None:
    """Closing it ends what it holds."""
    changes = watch(path, known=[""])
    await anext(changes)
    await changes.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(changes)


async def test_a_folder_that_is_gone_is_looked_at_again(tmp_path: Path) -> None:
    """No event can come from a folder that is not there; the file is found once it is."""
    path = tmp_path / "later" / "x.yaml"
    async with watching(path, ZERO) as told:
        await asyncio.sleep(0)
        path.parent.mkdir()
        path.write_text("here")
        await told.until("here")
    assert told.contents == ["here"]


Step = Callable[[], object]


async def told_of(
    path: Path, known: str | None, steps: Iterable[tuple[Step, bool]], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The contents that a watch tells of while `steps` are taken, each followed by an event or by a look without one."""
    done = asyncio.Event()

    async def awatch(*_: object, **__: object) -> AsyncIterator[set[object]]:
        for step, event in steps:
            step()
            yield {"an event"} if event else set()
        done.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(sys.modules["gateway.config.watch"], "awatch", awatch)
    async with watching(path, known) as told:
        await done.wait()
    return told.contents


async def test_a_file_that_is_gone_for_a_moment_is_told_when_it_is_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is told while it is missing, nor when it is back as it was."""
    away = path.with_name("away")
    steps = [
        (lambda: path.rename(away), True),
        (lambda: away.rename(path), True),
        (lambda: path.rename(away), True),
        (lambda: write(path, "back"), True),
    ]
    assert await told_of(path, ZERO, steps, monkeypatch) == ["back"]


async def test_a_file_that_cannot_be_read_is_not_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in its place, for one."""
    steps = [
        (path.unlink, False),
        (path.mkdir, True),
        (path.rmdir, True),
        (lambda: write(path, "file"), True),
    ]
    assert await told_of(path, ZERO, steps, monkeypatch) == ["file"]


async def test_a_look_without_event_finds_what_no_event_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links further up and network file systems change silently."""
    steps = [
        (lambda: None, False),
        (lambda: None, False),
        (lambda: write(path, "one!"), False),
        (lambda: None, False),
    ]
    assert await told_of(path, ZERO, steps, monkeypatch) == ["one!"]


async def test_what_is_there_counts_as_known_unless_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a digest, only what differs from the beginning is told."""
    steps = [(lambda: None, True), (lambda: write(path, "one"), True)]
    assert await told_of(path, None, steps, monkeypatch) == ["one"]


async def test_several_files_are_watched_as_one(path: Path, tmp_path: Path) -> None:
    """A change of any is told, in whatever folder it is."""
    folder = tmp_path / "other"
    folder.mkdir()
    other = folder / "y.yaml"
    other.write_text("zero")
    changes = watch(path, other, known=[ZERO, ZERO])
    for changed in (other, path):
        told = asyncio.create_task(anext(changes))
        await asyncio.sleep(0)
        changed.write_text("one")
        await told
    await changes.aclose()
