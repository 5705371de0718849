"""The rhythm of rounds, in virtual time."""

import asyncio
import logging

import pytest

from autoscaler.signals.rhythm import repeat


async def rounds(interval: float, seconds: float, takes: float = 0.0, chance: float = 0.5) -> list[float]:
    """When each round began."""
    loop = asyncio.get_running_loop()
    start, began = loop.time(), list[float]()

    async def work() -> None:
        began.append(round(loop.time() - start, 3))
        await asyncio.sleep(takes)

    running = asyncio.create_task(repeat(interval, work, "a source", lambda: chance))
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return began


@pytest.mark.looptime
async def test_the_first_round_comes_soon_and_the_others_on_a_grid_of_their_own() -> None:
    """Where the grid lies, chance says."""
    assert await rounds(10.0, 30.0, chance=0.0) == [0.0, 5.0, 15.0, 25.0]
    assert await rounds(10.0, 30.0, chance=0.5) == [0.25, 7.75, 17.75, 27.75]


@pytest.mark.looptime
async def test_a_round_that_takes_long_leaves_out_those_that_it_missed() -> None:
    """They are not made up for."""
    assert await rounds(2.0, 12.0, takes=5.0, chance=0.0) == [0.0, 5.0, 10.0]


@pytest.mark.looptime
async def test_no_exception_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, with what it was about."""
    done = 0

    async def work() -> None:
        nonlocal done
        done += 1
        raise RuntimeError("a bug")

    running = asyncio.create_task(repeat(1.0, work, "the pages of iris", lambda: 0.0))
    with caplog.at_level(logging.ERROR):
        await asyncio.sleep(3.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert done >= 3
    assert caplog.messages[0] == "the pages of iris: a round was given up"
