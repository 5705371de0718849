"""What holds for all tests: no deadline for a property's examples, and no event loop before the first test makes its own.

How long an example takes says more of the machine than of the code. Asked for the current loop before a test that is not async, as looptime does, asyncio up to 3.13 makes one that nobody closes, and its
ResourceWarning fails whichever test the garbage collector runs in. Once None was set it raises instead, and looptime goes on without.
"""

import asyncio

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
asyncio.set_event_loop(None)
