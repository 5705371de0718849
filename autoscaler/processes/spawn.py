"""Starts processes, and notices their end: direct children, each in a session of its own, that die with us.

Each process has one thread, which starts it, waits for it, and so lives as long as it does. That is what Linux's
PR_SET_PDEATHSIG asks for: the kernel kills the child when the *thread* that forked it ends, however that came about.
The thread does not reap: as long as the loop has not been told of the death, the process id, and with it the group's,
cannot be another's, so that no signal of ours reaches a stranger. Elsewhere than on Linux the groups are killed at
the interpreter's exit only. Processes that a pod started itself end with it while Tidegate runs; a pod that
leaves its group, or whose Tidegate is killed with SIGKILL, takes care of its own.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoscaler.processes.logs import open_log
from autoscaler.processes.tether import tethered


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    log: Path
    """Takes the process's stdout and stderr; its stdin is empty."""


class Spawner:
    """Starts the processes of all backends, one after the other."""

    def __init__(self) -> None:
        # A fork holds the GIL while it copies the page tables; one at a time leaves the loop its turns in between.
        self._turn = threading.Lock()
        self._living: set[Process] = set()
        weakref.finalize(self, _kill_all, self._living)

    def __repr__(self) -> str:
        return f"<Spawner: {len(self._living)} processes>"

    def kill(self) -> None:
        """SIGKILL to all, without waiting for any."""
        _kill_all(self._living)

    def spawn(
        self, launch: Launch, on_start: Callable[[], None], on_exit: Callable[[str], None]
    ) -> "Process":
        """Start a process without waiting for it. Both callbacks are called on the running loop: `on_start` once it
        runs, if it ever does; `on_exit` with what happened, in words ("exited with status 1"), once it is gone.
        """
        process = Process(launch, asyncio.get_running_loop(), on_start, on_exit)
        in_use = frozenset(other.log for other in self._living)
        self._living.add(process)
        process.begin(self._turn, in_use, self._living.discard)
        return process


class Process:
    """One child process, from before its start until it is reaped."""

    def __init__(
        self,
        launch: Launch,
        loop: asyncio.AbstractEventLoop,
        on_start: Callable[[], None],
        on_exit: Callable[[str], None],
    ) -> None:
        self.log = launch.log
        self._launch = launch
        self._loop = loop
        self._on_start = on_start
        self._on_exit = on_exit
        self._popen: subprocess.Popen[bytes] | None = None
        self._owed: signal.Signals | None = None
        """A signal that came before the process did."""

    def __repr__(self) -> str:
        if self._popen is None:
            return "<Process: not started>"
        code = self._popen.returncode
        return f"<Process {self._popen.pid}: {'runs' if code is None else _describe(code)}>"

    @property
    def pid(self) -> int | None:
        return None if self._popen is None else self._popen.pid

    def signal(self, number: signal.Signals) -> None:
        """Send to the process and all of its group; one that is yet to start gets it then, or is not started."""
        if self._popen is None:
            self._owed = number
        elif self._popen.returncode is None:
            _signal_group(self._popen.pid, number)

    def begin(
        self, turn: threading.Lock, logs_in_use: frozenset[Path], on_gone: Callable[["Process"], None]
    ) -> None:
        """Start the thread that starts the process and waits for it."""

        def live() -> None:
            try:
                with turn:
                    popen = self._start(logs_in_use)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                self._tell(gone, f"could not be started ({error})")
                return
            if not self._tell(self._started):
                _signal_group(popen.pid, signal.SIGKILL)
            _wait(popen)
            if not self._tell(reap, popen):
                popen.wait()

        def reap(popen: subprocess.Popen[bytes]) -> None:
            # Whatever the process started goes with it, as in a container. The group is still ours: see above.
            if popen.returncode is None:
                _signal_group(popen.pid, signal.SIGKILL)
            gone(_describe(popen.wait()))

        def gone(how: str) -> None:
            on_gone(self)
            self._on_exit(how)

        try:
            threading.Thread(target=live, name=f"pod {self.log.stem}", daemon=True).start()
        except RuntimeError as error:  # no more threads
            self._loop.call_soon(gone, f"could not be started ({error})")

    def _start(self, logs_in_use: frozenset[Path]) -> subprocess.Popen[bytes]:
        if self._owed is not None:
            raise InterruptedError("it was ended before its start")
        argv, before_exec = tethered(self._launch.argv, self._launch.cwd, self._launch.env)
        log = open_log(self.log, logs_in_use)
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - running the command is the point
                argv,
                cwd=self._launch.cwd,
                env=self._launch.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=before_exec,  # noqa: PLW1509 - see tether
            )
        finally:
            os.close(log)
        return self._popen

    def _started(self) -> None:
        if self._owed is not None:
            self.signal(self._owed)
        self._on_start()

    def _tell(self, callback: Callable[..., None], *args: object) -> bool:
        """Call on the loop; False when that has been closed, and nobody is left to care."""
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            return False
        return True


def _wait(popen: subprocess.Popen[bytes]) -> None:
    """Until the process has ended, leaving it to be reaped where the system can (macOS: from Python 3.13 on)."""
    if hasattr(os, "waitid"):
        with contextlib.suppress(ChildProcessError):  # somebody else in this process reaped it
            os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
    else:
        popen.wait()


def _signal_group(pid: int, number: signal.Signals) -> None:
    # No such group: all are gone. Not permitted: macOS says so of a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _kill_all(living: set[Process]) -> None:
    for process in tuple(living):
        process.signal(signal.SIGKILL)


def _describe(code: int) -> str:
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was ended by signal {-code}"
