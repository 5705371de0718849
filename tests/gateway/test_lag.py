"""How late timers run, watched on a loop whose clock the test moves."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import gateway.lag
from gateway.lag import INTERVAL, LagWatcher


class Loop:
    """Holds the one timer and runs it as late as it is told."""

    def __init__(self) -> None:
        self.now = 50.0
        self.timers: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def call_later(self, delay: float, callback: Callable[..., None], *args: object) -> SimpleNamespace:
        self.timers.append((self.now + delay, callback, args))
        return SimpleNamespace(cancel=self.timers.clear)

    def run(self, late: float) -> None:
        due, callback, args = self.timers.pop()
        self.now = due + late
        callback(*args)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(gateway.lag, "monotonic", lambda: loop.now)
    monkeypatch.setattr(gateway.lag, "asyncio", SimpleNamespace(get_running_loop=lambda: loop))
    return loop


def test_each_look_is_counted_by_how_late_it_came(loop: Loop) -> None:
    """On time, 20 ms late, 3 s late."""
    watcher = LagWatcher()
    watcher.start()
    for late in (0.0, 0.02, 3.0):
        loop.run(late)
    counts = dict(zip([*watcher.histogram.bounds, "more"], watcher.histogram.counts, strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {0.0005: 1, 0.025: 1, "more": 1}


def test_a_late_look_does_not_make_the_next_one_late(loop: Loop) -> None:
    """The next is due an interval after the last one ran, so that one hold is counted once."""
    watcher = LagWatcher()
    watcher.start()
    loop.run(1.0)
    assert loop.timers[0][0] == pytest.approx(loop.now + INTERVAL)


def test_a_timer_that_runs_early_is_no_lag(loop: Loop) -> None:
    """Some loops count whole milliseconds."""
    watcher = LagWatcher()
    watcher.start()
    loop.run(-0.001)
    assert watcher.histogram.sum == 0.0


def test_a_stopped_watcher_looks_no_more(loop: Loop) -> None:
    """And stopping twice, or before the start, is fine."""
    watcher = LagWatcher()
    watcher.stop()
    watcher.start()
    assert repr(watcher) == "<LagWatcher watching, <Histogram 0 observed, sum 0>>"
    watcher.stop()
    watcher.stop()
    assert loop.timers == []
    assert repr(watcher) == "<LagWatcher stopped, <Histogram 0 observed, sum 0>>"


@pytest.mark.looptime
async def test_it_runs_on_a_real_loop() -> None:
    """Ten times a second."""
    watcher = LagWatcher()
    watcher.start()
    await asyncio.sleep(1.05)
    watcher.stop()
    assert sum(watcher.histogram.counts) == 10
