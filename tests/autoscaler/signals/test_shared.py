"""Getting something once for all who ask at about the same time."""

import asyncio

import pytest

from autoscaler.signals.shared import Shared
from tests.eventually import eventually


class Source:
    """Counts how often it is got; holds each until `gate` opens."""

    def __init__(self) -> None:
        self.got = 0
        self.fails = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def get(self) -> int:
        self.got += 1
        await self.gate.wait()
        if self.fails:
            raise ValueError("not today")
        return self.got


async def test_those_who_ask_at_once_get_the_same() -> None:
    """It is got once."""
    source = Source()
    shared = Shared(source.get, fresh=60.0)
    assert await asyncio.gather(shared.get(), shared.get()) == [1, 1]
    assert await shared.get() == 1
    assert repr(shared) == "<Shared known>"


@pytest.mark.looptime
async def test_what_is_not_fresh_any_more_is_got_again() -> None:
    """Counted from when it was there."""
    source = Source()
    shared = Shared(source.get, fresh=5.0)
    assert await shared.get() == 1
    await asyncio.sleep(4.9)
    assert await shared.get() == 1
    await asyncio.sleep(0.2)
    assert await shared.get() == 2


async def test_a_failure_is_told_to_those_who_wait_and_kept_for_nobody_else() -> None:
    """The next who asks tries again."""
    source = Source()
    source.fails = True
    shared = Shared(source.get, fresh=60.0)
    told = await asyncio.gather(shared.get(), shared.get(), return_exceptions=True)
    assert [str(each) for each in told] == ["not today", "not today"]
    source.fails = False
    assert await shared.get() == 2


async def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    """Until all is stopped."""
    source = Source()
    source.gate.clear()
    shared = Shared(source.get, fresh=60.0)
    impatient, patient = asyncio.create_task(shared.get()), asyncio.create_task(shared.get())
    await eventually(lambda: source.got)
    impatient.cancel()
    source.gate.set()
    assert await patient == 1
    source.gate.clear()
    shared = Shared(source.get, fresh=0.0)
    waiting = asyncio.create_task(shared.get())
    await eventually(lambda: source.got == 2)
    await shared.stop()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_stopping_what_nobody_asked_for_does_nothing() -> None:
    """There is nothing to end."""
    shared = Shared(Source().get, fresh=1.0)
    await shared.stop()
    assert repr(shared) == "<Shared unasked>"
