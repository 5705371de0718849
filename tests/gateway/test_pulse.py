"""A beat each second, whatever its size, without holding the loop."""

import asyncio

from gateway.admin import StatsHub
from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.beats import BeatMaker
from gateway.pulse import AT_ONCE, Pulse
from gateway.stats import Beat


def busy(count: int) -> list[Backend]:
    backends = [Backend(f"model-{number}", Limits(), 0.0) for number in range(count)]
    for backend in backends:
        backend.update(Endpoints((EndpointInfo("a", "127.0.0.1", 9000, ready=True),)), 0.0)
        backend.enter(0.0)
    return backends


def pulse_of(hub: StatsHub) -> Pulse:
    loop = asyncio.get_running_loop()
    return Pulse(BeatMaker("g", loop.time()), hub, loop)


async def test_a_small_beat_is_published_at_once() -> None:
    """In the turn in which it was asked for."""
    hub, heard = StatsHub(), []
    hub.listen(heard.append)
    pulse = pulse_of(hub)
    pulse.beat(busy(AT_ONCE - 1))
    assert [len(beat.stats) for beat in heard] == [AT_ONCE - 1]
    assert repr(pulse) == "<Pulse of <BeatMaker g seq=1>>"


async def test_a_large_beat_takes_turns_and_comes_whole() -> None:
    """To listeners and to readers of lines; others have their turns in between."""
    hub, heard = StatsHub(), []
    hub.listen(heard.append)
    lines = hub.subscribe("a reader", lambda: None)
    turns = 0
    pulse_of(hub).beat(busy(4 * AT_ONCE))
    while not heard:
        turns += 1
        await asyncio.sleep(0)
    assert turns == 4
    line = await anext(aiter(lines))
    assert Beat.decode(line) == heard[0]
    assert len(heard[0].stats) == 4 * AT_ONCE


async def test_a_reader_that_comes_while_a_beat_is_made_gets_all_of_it() -> None:
    """Though nothing was encoded before it came."""
    hub, heard = StatsHub(), []
    hub.listen(heard.append)
    pulse_of(hub).beat(busy(2 * AT_ONCE))
    lines = hub.subscribe("late", lambda: None)
    while not heard:
        await asyncio.sleep(0)
    line = await anext(aiter(lines))
    assert Beat.decode(line) == heard[0]


async def test_a_nudge_is_told_in_a_turn_of_its_own() -> None:
    """Not in the request's."""
    hub, heard = StatsHub(), []
    hub.listen(heard.append)
    (backend,) = busy(1)
    pulse_of(hub).nudge(backend)
    assert heard == []
    await asyncio.sleep(0)
    assert [(beat.nudge, list(beat.stats)) for beat in heard] == [(True, ["model-0"])]
