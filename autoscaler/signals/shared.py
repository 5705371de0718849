"""Something that takes time to get, got once for all who ask for it at about the same time.

The list of a namespace's pods, the table of a machine's processes: each Backend wants its part of it, in a rhythm of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Whoever asks while it is being got waits for that; whoever asks soon after gets the same. A failure is not kept."""

    def __init__(self, get: Callable[[], Awaitable[T]], fresh: float) -> None:
        """`fresh`: seconds for which what was got is handed out again."""
        self._get = get
        self._fresh = fresh
        self._task: asyncio.Task[T] | None = None
        self._until = 0.0

    async def get(self) -> T:
        """Raises what getting it raised, for each who asked meanwhile."""
        loop = asyncio.get_running_loop()
        if self._task is None or (self._task.done() and loop.time() >= self._until):
            self._task = loop.create_task(self._renew())
        # One who is cancelled takes nothing from the others.
        return await asyncio.shield(self._task)

    async def _renew(self) -> T:
        self._until = 0.0
        got = await self._get()
        self._until = asyncio.get_running_loop().time() + self._fresh
        return got

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def __repr__(self) -> str:
        state = "unasked" if self._task is None else "known" if self._task.done() else "being got"
        return f"<Shared {state}>"
