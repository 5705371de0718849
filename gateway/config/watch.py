"""Watches a configuration file, or several that belong together, and tells when their content has changed and come to rest.

The folder is watched, not the file: editors replace files by renaming, kubelets swap the link `..data` that the file is
reached through. Once a second the file is looked at without any event, for what events do not tell: links further up,
network file systems, a folder that was replaced.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from watchfiles import awatch

from gateway.config.load import digest, read
from gateway.config.problems import ConfigError

_SETTLE_MS = 50
"""A change is told once nothing more has happened for this long: an editor's several steps are one change."""
_LOOK_MS = 1000

Signature = tuple[int, ...]
State = tuple[bool, Sequence[str]]
"""Whether the files can be read, and their digests, or else why not."""


async def watch(*paths: Path, known: Sequence[str] | None = None) -> AsyncGenerator[None, None]:
    """Yield each time that the content of one of `paths` is another than before; `known` are the digests that were loaded.

    A file that is gone or cannot be read is told once, for `load` to say why, and again when it is back; but only if two
    looks in a row find it so: editors take a file away for a moment. Without `known`, what is there at the start counts.
    """
    last = await asyncio.to_thread(_state, paths) if known is None else (True, tuple(known))
    doubted: State | None = None
    looked: Signature | None = None
    async with aclosing(_stirs({path.parent for path in paths})) as stirs:
        async for stirred in stirs:
            signature = _signature(paths)
            if not stirred and doubted is None and signature == looked:
                continue
            looked = signature
            state = await asyncio.to_thread(_state, paths)
            readable, _ = state
            if state == last or not (readable or state == doubted):
                doubted = None if state == last else state
                continue
            last, doubted = state, None
            yield


async def _stirs(folders: Iterable[Path]) -> AsyncGenerator[bool, None]:
    """True when something happened in one of `folders`, False when it is time to look without an event."""
    events = awatch(
        *folders,
        watch_filter=None,
        debounce=2 * _SETTLE_MS,
        step=_SETTLE_MS,
        rust_timeout=_LOOK_MS,
        yield_on_timeout=True,
        recursive=False,
    )
    with suppress(OSError):  # no folder any more, or no watches left on this machine: then looking has to do
        async with aclosing(events):
            async for changes in events:
                yield bool(changes)
    while True:
        await asyncio.sleep(_LOOK_MS / 1000)
        yield False


def _signature(paths: Iterable[Path]) -> Signature:
    """Equal as long as nobody wrote."""
    return tuple(part for path in paths for part in _status(path))


def _status(path: Path) -> Signature:
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)


def _state(paths: Iterable[Path]) -> State:
    try:
        return True, tuple(digest(read(path)) for path in paths)
    except ConfigError as error:
        return False, (str(error),)
