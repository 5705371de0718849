"""The demo model server, except that SIGTERM ends it at once: whoever kills it while it works breaks what it works on.

The demo server itself finishes its requests when it is asked to end, and so would hide that the question came too early.
"""

import asyncio
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

SERVER = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "server.py"


def no_handler(_: object, number: int, __: Callable[..., object], *___: object) -> None:
    """Leave the signal to its default action."""


if __name__ == "__main__":
    asyncio.SelectorEventLoop.add_signal_handler = no_handler  # type: ignore[method-assign, assignment]
    sys.path.insert(0, str(SERVER.parent))
    runpy.run_path(str(SERVER), run_name="__main__")
