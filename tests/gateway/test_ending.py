"""Two signals: the first ends in good order, the second at once."""

import asyncio
import logging
import os
import signal

import pytest

from gateway.ending import AT_ONCE, Ending
from tests.eventually import eventually


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_is_waited_for(exits: list[int], number: signal.Signals) -> None:
    """Whoever waits goes on; the process does not end by itself."""
    ending = Ending()
    assert repr(ending) == "<Ending not asked for, 0 things to see to>"
    os.kill(os.getpid(), number)
    await asyncio.wait_for(ending.wait(), 5)
    assert (exits, repr(ending)) == ([], "<Ending asked for, 0 things to see to>")


async def test_the_second_signal_sees_to_what_was_handed_in_and_exits(
    exits: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """In order, and whatever fails of it."""
    ending, done = Ending(), []
    ending.at_once(lambda: done.append("pods"))
    ending.at_once(lambda: 1 / 0)
    ending.at_once(lambda: done.append("terminal"))
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(ending.wait(), 5)
    with caplog.at_level(logging.WARNING):
        os.kill(os.getpid(), signal.SIGINT)
        await eventually(lambda: exits)
    assert (done, exits) == (["pods", "terminal"], [AT_ONCE])
    assert "a second signal" in caplog.text
