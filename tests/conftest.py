"""No event loop before the first test makes its own.

Asked for the current loop before a test that is not async, as looptime does, asyncio up to 3.13 makes one that nobody closes, and its
ResourceWarning fails whichever test the garbage collector runs in. Once None was set it raises instead, and looptime goes on without.
"""

import asyncio

asyncio.set_event_loop(None)
