"""Keeps what an autoscaler knows in a file, so that one that is killed and started again goes on where it was.

Every two seconds the whole is taken at once and written in a thread, beside the file and then into its place, so that there is always a
whole one. What cannot be read or written is told in a line and costs nothing but the data. Edge of `snapshot`.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from autoscaler.snapshot import BEGIN, Snapshot

logger = logging.getLogger(__name__)

EVERY = 2.0


class StateFile:
    """One autoscaler's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._problem = ""
        """Why the last attempt to write failed."""
        self._ending = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    async def read(self, now: float) -> Snapshot | None:
        """What the last one left; None when there is nothing, or nothing of use."""
        try:
            return Snapshot.decode(await asyncio.to_thread(self._read), now)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RuntimeError) as error:  # the last: a link that leads to itself
            logger.warning("the state in %s cannot be used, beginning anew: %s", self.path, _words(error))
            return None

    def start(self, snapshot: Callable[[], Snapshot]) -> None:
        """Write from now on, until `stop`."""
        self._keeping = asyncio.get_running_loop().create_task(self._keep(snapshot))

    async def stop(self) -> None:
        """Write once more."""
        self._ending.set()
        if self._keeping is not None:
            await self._keeping

    async def _keep(self, snapshot: Callable[[], Snapshot]) -> None:
        last = False
        while not last:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), EVERY)
            last = self._ending.is_set()
            await self._write(snapshot)

    async def _write(self, snapshot: Callable[[], Snapshot]) -> None:
        try:
            await asyncio.to_thread(self._replace, snapshot())
        except Exception as error:  # noqa: BLE001 (whatever it is, scaling goes on, and the next attempt may work)
            problem = _words(error)
            if problem != self._problem:
                logger.warning(
                    "the state cannot be kept in %s (autoscaler.state, --state): %s; a restart would begin anew",
                    self.path,
                    problem,
                )
            self._problem = problem
        else:
            if self._problem:
                logger.info("the state is kept in %s again", self.path)
            self._problem = ""

    def _read(self) -> bytes:
        return self._ours().read_bytes()

    def _ours(self) -> Path:
        """Where the path leads. ValueError when something else is there than what we have written: a FIFO would be waited for without end when
        read; /dev/null, or a configuration that was named by mistake, would be lost when written.
        """
        path = self.path.resolve()
        if path.is_file():
            with path.open("rb") as file:
                begin = file.read(len(BEGIN))
            if not BEGIN.startswith(begin):
                raise ValueError(
                    "it holds something else, which is left as it is: remove it, or name another file"
                )
        elif path.exists():
            raise ValueError("it is not a regular file")
        return path

    def _replace(self, snapshot: Snapshot) -> None:
        path = self._ours()
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            new.write_bytes(snapshot.encode())
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def __repr__(self) -> str:
        return f"<StateFile {self.path}{f', failing: {self._problem}' if self._problem else ''}>"


def _words(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
