"""Sends a page of the admin side in pieces, so that what grows with the number of Backends never holds the loop.

Both admin sides use it, the gateway's and the autoscaler's.
"""

from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web


async def send(request: web.Request, content_type: str, chunks: AsyncIterator[bytes]) -> web.StreamResponse:
    """Stream chunks as they come and as fast as they are read; a reader that leaves just ends it."""
    response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-store"})
    with suppress(ConnectionError):
        await response.prepare(request)
        async for chunk in chunks:
            await response.write(chunk)
    return response
