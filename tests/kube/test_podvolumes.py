from pathlib import Path

from tests.kube.podspec import File
from tests.kube.podvolumes import publish


def files(**contents: str) -> dict[str, File]:
    return {name.replace("_", "/"): File(text.encode(), 0o640) for name, text in contents.items()}


def visible(folder: Path) -> dict[str, str]:
    names = (entry for entry in folder.iterdir() if not entry.name.startswith(".."))
    return {entry.name: entry.read_text() for entry in names if entry.is_file()}


def test_files_are_links_into_one_folder_of_data(tmp_path: Path) -> None:
    """As a kubelet lays them out, so that whoever watches them sees what it would see there."""
    assert publish(tmp_path, files(a="1", b="2"))
    assert (tmp_path / "a").readlink() == Path("..data/a")
    assert str((tmp_path / "..data").readlink()).startswith("..20")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert visible(tmp_path) == {"a": "1", "b": "2"}


def test_a_change_swaps_all_files_at_once(tmp_path: Path) -> None:
    """The old folder goes; files that are no more lose their links."""
    publish(tmp_path, files(a="1", b="2"))
    before = (tmp_path / "..data").readlink()
    assert publish(tmp_path, files(a="3", c="4"))
    assert visible(tmp_path) == {"a": "3", "c": "4"}
    assert (tmp_path / "..data").readlink() != before
    assert not (tmp_path / before).exists()
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name.startswith("..data")) == ["..data"]


def test_nothing_is_touched_when_nothing_changed(tmp_path: Path) -> None:
    """A kubelet's sync is no event for those who watch the folder."""
    publish(tmp_path, files(a="1", d_e="2"))
    before = (tmp_path / "..data").readlink()
    assert not publish(tmp_path, files(a="1", d_e="2"))
    assert (tmp_path / "..data").readlink() == before
    assert (tmp_path / "d" / "e").read_text() == "2"
