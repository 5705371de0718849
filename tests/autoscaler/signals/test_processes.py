"""What local pods use, of real processes."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import pytest

from autoscaler.signals.asked import NoValueError, PodAt, Usage
from autoscaler.signals.processes import LocalUsage, Machine, Spent, Table

CORES = Usage("cpu", "cpu", target=1.0)
BYTES = Usage("memory", "memory", target=2.0**30)
SPINNING = """
import os, sys, time
child = os.fork()
block = bytearray(64 * 2**20)
deadline = time.process_time() + 30
print("up", flush=True)
while time.process_time() < deadline and os.getppid() != 1:
    pass
"""
"""Two processes with 64 MiB each that are busy for at most half a minute."""


class FakeMachine:
    """Tables that a test makes up."""

    memory = 1000.0

    def __init__(self) -> None:
        self.next = Table(0.0, {}, {})

    async def table(self) -> Table:
        return self.next

    def see(
        self, at: float, spent: Mapping[int, Spent], children: Mapping[int, Sequence[int]] | None = None
    ) -> None:
        self.next = Table(at, spent, children or {})


def pods(*pids: int | None) -> list[PodAt]:
    return [PodAt(f"p{index}", "127.0.0.1", 1, pid=pid) for index, pid in enumerate(pids)]


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


def reader(asked: Usage, machine: FakeMachine) -> LocalUsage:
    return LocalUsage(asked, machine)  # type: ignore[arg-type]


async def test_cpu_is_what_a_pods_processes_spent_between_two_looks(machine: FakeMachine) -> None:
    """The whole tree's, in cores."""
    usage = reader(CORES, machine)
    machine.see(10.0, {1: Spent(5.0, 0.0), 2: Spent(7.0, 0.0), 3: Spent(1.0, 0.0)}, {1: [2], 2: [3]})
    with pytest.raises(NoValueError, match="pod p0: its use of cpu was looked at only once so far"):
        await usage.value(pods(1))
    machine.see(14.0, {1: Spent(5.0, 0.0), 2: Spent(9.0, 0.0), 3: Spent(2.0, 0.0)}, {1: [2], 2: [3]})
    assert await usage.value(pods(1)) == 0.75


async def test_pods_are_summed_and_a_new_one_moves_nothing(machine: FakeMachine) -> None:
    """Until it was looked at twice it is taken to use what is aimed at, or nothing."""
    usage = reader(CORES, machine)
    machine.see(0.0, {1: Spent(0.0, 0.0), 2: Spent(0.0, 0.0)})
    with pytest.raises(NoValueError):
        await usage.value(pods(1, 2))
    machine.see(2.0, {1: Spent(1.0, 0.0), 2: Spent(0.5, 0.0), 3: Spent(9.0, 0.0)})
    assert await usage.value(pods(1, 2, 3)) == 0.75 + 1.0
    machine.see(4.0, {1: Spent(2.0, 0.0), 2: Spent(1.0, 0.0), 3: Spent(9.5, 0.0)})
    assert await usage.value(pods(1, 2, 3)) == 1.0


async def test_a_process_that_left_the_tree_is_no_negative_use(machine: FakeMachine) -> None:
    """Its time goes with it."""
    usage = reader(CORES, machine)
    machine.see(0.0, {1: Spent(1.0, 0.0), 2: Spent(50.0, 0.0)}, {1: [2]})
    with pytest.raises(NoValueError):
        await usage.value(pods(1))
    machine.see(2.0, {1: Spent(3.0, 0.0), 2: Spent(51.0, 0.0)})
    assert await usage.value(pods(1)) == 0.0
    machine.see(4.0, {1: Spent(4.0, 0.0), 2: Spent(52.0, 0.0)})
    assert await usage.value(pods(1)) == 0.5


async def test_one_table_is_not_compared_with_itself(machine: FakeMachine) -> None:
    """No time has passed in it."""
    usage = reader(CORES, machine)
    machine.see(0.0, {1: Spent(1.0, 0.0)})
    for _ in range(2):
        with pytest.raises(NoValueError):
            await usage.value(pods(1))


async def test_memory_is_in_bytes_or_a_share_of_the_machines(machine: FakeMachine) -> None:
    """Of a look: there is nothing to compare."""
    machine.see(0.0, {1: Spent(0.0, 100.0), 2: Spent(0.0, 150.0)}, {1: [2]})
    assert await reader(BYTES, machine).value(pods(1)) == 250.0
    share = Usage("memory", "memory", target=0.5, share=True)
    assert await reader(share, machine).value(pods(1)) == 0.25


async def test_a_process_that_is_not_there_has_no_value(machine: FakeMachine) -> None:
    """It may have ended just now, or not have begun."""
    with pytest.raises(NoValueError, match=r"pod p0 \(and 1 more\): its process is not there"):
        await reader(BYTES, machine).value(pods(1, None))


@pytest.fixture
async def real() -> AsyncIterator[Machine]:
    made = Machine()
    yield made
    await made.stop()


@pytest.fixture
def spinning() -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-c", SPINNING], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    with process.stdout as out:
        out.readline()
        out.readline()
    yield process.pid
    os.killpg(process.pid, 9)
    process.wait()


async def test_a_real_process_is_looked_at_with_its_child(real: Machine, spinning: int) -> None:
    """Busy processes use cpu; each has its memory."""
    before = (await real.table()).tree(spinning)
    assert before is not None
    assert before.memory > 2 * 64 * 2**20

    async def spent() -> float:
        await asyncio.sleep(0.2)
        tree = (await real.table()).tree(spinning)
        return 0.0 if tree is None else tree.cpu - before.cpu

    async with asyncio.timeout(20):
        while await spent() < 0.2:
            pass
    assert real.memory > 2**28
    assert "GiB" in repr(real)
