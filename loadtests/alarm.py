"""An alarm to the microsecond, as a file descriptor that any event loop can watch: Linux's timerfd.

Event loops wait in whole milliseconds (epoll_wait takes no less), which is as long as the delays that are measured here. A
timerfd rings at the nanosecond that the kernel's clock says. Python has it as `os.timerfd_*` from 3.13 on; here it is called
through ctypes, so that 3.11 does as well.
"""

import ctypes
import os
import time
from typing import Final

_CLOCK: Final = time.CLOCK_MONOTONIC
_NONBLOCK_CLOEXEC: Final = os.O_NONBLOCK | os.O_CLOEXEC
_ABSOLUTE: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    """struct itimerspec: an interval, here always zero, and the time to ring at; all zeros: never."""

    _fields_ = (
        ("every_seconds", ctypes.c_long),
        ("every_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Alarm:
    """Its descriptor becomes readable at the time that was set last, and stays so until another is set. Nothing is to be read."""

    def __init__(self) -> None:
        self._fd: int = _libc.timerfd_create(_CLOCK, _NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = _Spec()
        self._by_reference = ctypes.byref(self._spec)

    def __repr__(self) -> str:
        return f"Alarm({self._spec.seconds + self._spec.nanoseconds / 1e9:.6f})"

    def fileno(self) -> int:
        return self._fd

    def set(self, at: float | None) -> None:
        """Ring once at this `time.monotonic()`, at once if that has passed; None: not at all."""
        if at is None:
            self._spec.seconds = self._spec.nanoseconds = 0
        else:
            seconds = int(at)
            self._spec.seconds = seconds
            self._spec.nanoseconds = int((at - seconds) * 1e9)
        if _libc.timerfd_settime(self._fd, _ABSOLUTE, self._by_reference, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")
