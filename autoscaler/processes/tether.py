"""Ties a child's life to the thread that starts it: PR_SET_PDEATHSIG, set by the child before it becomes the command.

The usual place for that is between fork and exec. But a fork that runs Python in the child copies our page tables with
the GIL held: from a process of 100 MB the event loop stood still for 7 ms (median; 12 ms at worst) where a vfork cost
2 ms (at worst 5 ms), whatever our size. So on Linux `setpriv` of util-linux sets it, and a shell then looks whether we
died before it was set. Only where there is no such setpriv (Alpine) the child is forked.
"""

import ctypes
import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
# Looked up before any fork; PyDLL keeps the GIL, which the forked child must not give away.
_prctl = ctypes.PyDLL(None).prctl if sys.platform == "linux" else None

IF_WE_LIVE = '[ "$PPID" = "$0" ] && exec "$@"'


def tethered(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str]
) -> tuple[Sequence[str], Callable[[], None] | None]:
    """What to start instead of `argv`, and what to call in the child before; FileNotFoundError without such a program.

    Blocks for some milliseconds the first time. Elsewhere than on Linux nothing is tied.
    """
    launcher = _launcher()
    if not launcher:
        return argv, None if _prctl is None else functools.partial(_die_with, os.getpid())
    program = argv[0] if os.sep not in argv[0] else str(cwd / argv[0])
    if shutil.which(program, path=env.get("PATH")) is None:
        raise FileNotFoundError(f"no program {argv[0]!r}; looked in {cwd if os.sep in argv[0] else 'PATH'}")
    # A shell hands on only variables whose names it could use itself.
    odd = [f"{name}={value}" for name, value in env.items() if not (name.isascii() and name.isidentifier())]
    return [*launcher, str(os.getpid()), *(["env", *odd] if odd else []), *argv], None


@functools.cache
def _launcher() -> tuple[str, ...]:
    setpriv, shell = shutil.which("setpriv"), shutil.which("sh")
    if _prctl is None or setpriv is None or shell is None:
        return ()
    launcher = (setpriv, "--pdeathsig", "KILL", "--", shell, "-c", IF_WE_LIVE)
    trial = [*launcher, str(os.getpid()), "true"]
    works = subprocess.run(trial, capture_output=True, check=False).returncode == 0  # noqa: S603 - no input in it
    return launcher if works else ()


def _die_with(parent: int) -> None:
    _prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)  # type: ignore[misc]
    if os.getppid() != parent:  # it died before the call above
        os._exit(1)
