"""A volume's folder on disk, changed as a kubelet changes it: all files at once, by the swap of one symlink.

volume/..2026_11_26_03_53_27.123456789/tidegate.yaml     the files, in a folder that is never changed
volume/..data -> ..2026_11_26_03_53_27.123456789         swapped by rename
volume/tidegate.yaml -> ..data/tidegate.yaml             what a container opens
"""

import itertools
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tests.kube.podspec import File

DATA = "..data"
_numbers = itertools.count()


def publish(folder: Path, files: Mapping[str, File]) -> bool:
    """Make the folder hold exactly these files; False if it did already."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / DATA
    before = data.resolve() if data.exists() else None
    if before is not None and _read(before) == {path: file.content for path, file in files.items()}:
        return False
    payload = folder / f"..{datetime.now(UTC):%Y_%m_%d_%H_%M_%S}.{next(_numbers):09d}"
    _write(payload, files)
    swap = folder / "..data_tmp"
    swap.unlink(missing_ok=True)
    swap.symlink_to(payload.name)
    swap.rename(data)
    _link(folder, {path.split("/")[0] for path in files})
    if before is not None:
        shutil.rmtree(before)
    return True


def _read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def _write(folder: Path, files: Mapping[str, File]) -> None:
    folder.mkdir()
    for path, file in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)


def _link(folder: Path, names: set[str]) -> None:
    """Names for what there is now; none for what there is no more."""
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    for name in names:
        if not os.path.lexists(folder / name):
            (folder / name).symlink_to(f"{DATA}/{name}")
