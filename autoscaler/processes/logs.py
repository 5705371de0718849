"""The log files of local pods: one per pod, the last few kept, their ends quoted when a pod dies.

A pod writes to its file directly (the file is its stdout and stderr), so nothing is lost when Tidegate ends, and a
pod that writes much costs Tidegate nothing.
"""

import os
from collections.abc import Collection
from pathlib import Path

KEPT = 10
"""Files of ended pods that are kept per backend, the newest."""
TAIL_BYTES = 4096
TAIL_LINES = 5
TAIL_CHARACTERS = 600


def open_log(path: Path, in_use: Collection[Path]) -> int:
    """A descriptor to append to `path`; older files beside it are removed, but none that is `in_use`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ended = [old for old in path.parent.glob("*.log") if old not in in_use and old != path]
    for old in sorted(ended, key=_modified)[:-KEPT]:
        old.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def last_lines(path: Path) -> str:
    """The end of a log file on one line, lines parted by " | "; empty when nothing was written."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = log.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
    lines = ["".join(filter(str.isprintable, line)).strip() for line in text.splitlines()]
    return " | ".join([line for line in lines if line][-TAIL_LINES:])[-TAIL_CHARACTERS:]
