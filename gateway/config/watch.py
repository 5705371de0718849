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

from gateway.config.load import digest

_SETTLE_MS = 50
"""A change is told once nothing more has happened for this long: an editor's several steps are one change."""
_LOOK_MS = 1000

Signature = tuple[int, int, int]


async def watch(path: Path, known: str | None = None) -> AsyncGenerator[None, None]:
    """Yield each time that the content of `path` is another than before; `known` is the digest that was loaded.

    While the file is missing or unreadable nothing is told. Without `known`, what is there at the start counts as known.
    """
    if known is None:
        known = await asyncio.to_thread(_digest, path)
    looked: Signature | None = None
    async with aclosing(_stirs(path.parent)) as stirs:
        async for stirred in stirs:
            signature = _signature(path)
            if signature is None or (not stirred and signature == looked):
                continue
            looked = signature
            found = await asyncio.to_thread(_digest, path)
            if found is not None and found != known:
                known = found
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


def _signature(path: Path) -> Signature | None:
    """Equal as long as nobody wrote; None when there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _digest(path: Path) -> str | None:
    with suppress(OSError):
        return digest(path.read_bytes())
    return None
