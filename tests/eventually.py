"""Wait for something that real processes and sockets bring about, with a deadline instead of a guess."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], within: float = 15.0) -> None:
    """Return once `condition()` is true; fail after `within` seconds, showing what was waited for."""
    try:
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not true within {within} s: {condition.__qualname__}") from None
