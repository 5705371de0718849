"""What local pods use of this machine: each pod's process and all that it started, by psutil.

A look at all processes takes 0.2 ms for each, so it is done in a thread, and once for all Backends that ask at about the same time. A pod's cpu time is that
of its living processes and of those children that they have waited for, so that it never falls while a worker ends. Resident memory counts
pages that processes share once for each. Neighbours: `usage` sums up over pods, `reading` calls this.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

from autoscaler.signals.asked import PodAt, Usage
from autoscaler.signals.shared import Shared
from autoscaler.signals.usage import total

_FRESH = 0.5
"""Seconds: less than any interval, or a look would be compared with itself."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one process, or a tree of them, has used so far."""

    cpu: float
    """Seconds, with those of children that have ended."""
    memory: float
    """Bytes that are resident."""


@dataclass(frozen=True, slots=True)
class Table:
    """All processes at one time."""

    at: float
    """On the loop's clock."""
    spent: Mapping[int, Spent]
    children: Mapping[int, Sequence[int]]

    def tree(self, pid: int) -> Spent | None:
        """Of a process and all that came of it; None when it is not there."""
        if pid not in self.spent:
            return None
        found, at = [pid], 0
        while at < len(found):
            found += self.children.get(found[at], ())
            at += 1
        parts = [self.spent[one] for one in found]
        return Spent(sum(part.cpu for part in parts), sum(part.memory for part in parts))


class Machine:
    """The one that we run on. `stop` it in the end."""

    def __init__(self) -> None:
        self.memory = float(psutil.virtual_memory().total)
        """Bytes."""
        self._table = Shared(self._look, _FRESH)

    async def table(self) -> Table:
        return await self._table.get()

    async def stop(self) -> None:
        await self._table.stop()

    async def _look(self) -> Table:
        at = asyncio.get_running_loop().time()
        spent, children = await asyncio.to_thread(_processes)
        return Table(at, spent, children)

    def __repr__(self) -> str:
        return f"<Machine with {self.memory / 2**30:.0f} GiB, {self._table}>"


class LocalUsage:
    """One Backend's metric, of its local pods."""

    def __init__(self, asked: Usage, machine: Machine) -> None:
        self._asked = asked
        self._machine = machine
        self._before: dict[str, tuple[float, float]] = {}
        """By pod: when its cpu time was last read, and how much it was."""

    async def value(self, pods: Sequence[PodAt]) -> float:
        """Raises NoValueError."""
        table = await self._machine.table()
        trees = {pod.uid: tree for pod in pods if pod.pid and (tree := table.tree(pod.pid)) is not None}
        if self._asked.resource == "memory":
            unit = self._machine.memory if self._asked.share else 1.0
            used = {uid: tree.memory / unit for uid, tree in trees.items()}
            return total(self._asked, pods, used, "its process is not there")
        used = {
            uid: cores
            for uid, tree in trees.items()
            if (cores := self._cores(uid, table.at, tree.cpu)) is not None
        }
        self._before = {uid: before for uid, before in self._before.items() if uid in trees}
        return total(self._asked, pods, used, "its use of cpu was looked at only once so far")

    def _cores(self, uid: str, at: float, cpu: float) -> float | None:
        """Since the last look; a process that went off on its own took its time with it, which is no negative use."""
        before = self._before.get(uid)
        if before is not None and at <= before[0]:
            return None
        self._before[uid] = at, cpu
        return None if before is None else max(0.0, cpu - before[1]) / (at - before[0])

    def __repr__(self) -> str:
        return f"<LocalUsage {self._asked.name} of {len(self._before)} pods>"


def _processes() -> tuple[dict[int, Spent], dict[int, list[int]]]:
    spent: dict[int, Spent] = {}
    children: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid", "cpu_times", "memory_info"]):
        info = process.info
        times, memory = info["cpu_times"], info["memory_info"]
        if times is None or memory is None:  # another user's, where that is not to be seen
            continue
        # Those that ended and were waited for (on Linux and macOS psutil tells of them).
        ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        spent[process.pid] = Spent(times.user + times.system + ended, float(memory.rss))
        children.setdefault(info["ppid"], []).append(process.pid)
    return spent, children
