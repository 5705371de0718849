"""Watches a configuration file and tells when its content has changed and come to rest.

The folder is watched, not the file: editors replace files by renaming, kubelets swap the link `..data` that the file is
reached through. Once a second the file is looked at without any event, for what events do not tell: links further up,
network file systems, a folder that was replaced.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path

from watchfiles import awatch

from gateway.config.load import digest, read
from gateway.config.problems import ConfigError

_SETTLE_MS = 50
"""A change is told once nothing more has happened for this long: an editor's several steps are one change."""
_LOOK_MS = 1000

Signature = tuple[int, ...]
State = tuple[bool, str]
"""Whether the file can be read, and its digest, or else why not."""


async def watch(path: Path, known: str | None = None) -> AsyncGenerator[None, None]:
    """Yield each time that the content of `path` is another than before; `known` is the digest that was loaded.

    A file that is gone or cannot be read is told once, for `load` to say why, and again when it is back; but only if two
    looks in a row find it so: editors take a file away for a moment. Without `known`, what is there at the start counts.
    """
    last = await asyncio.to_thread(_state, path) if known is None else (True, known)
    doubted: State | None = None
    looked: Signature | None = None
    async with aclosing(_stirs(path.parent)) as stirs:
        async for stirred in stirs:
            signature = _signature(path)
            if not stirred and doubted is None and signature == looked:
                continue
            looked = signature
            state = await asyncio.to_thread(_state, path)
            readable, _ = state
            if state == last or not (readable or state == doubted):
                doubted = None if state == last else state
                continue
            last, doubted = state, None
            yield


async def _stirs(folder: Path) -> AsyncGenerator[bool, None]:
    """True when something happened in `folder`, False when it is time to look without an event."""
    events = awatch(
        folder,
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


def _signature(path: Path) -> Signature:
    """Equal as long as nobody wrote; empty when there is no file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)


def _state(path: Path) -> State:
    try:
        return True, digest(read(path))
    except ConfigError as error:
        return False, str(error)
