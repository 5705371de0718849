"""One request, at every point of its life, and everything that can end it: what its client gets, what is counted, and that nothing stays.

Afterwards all is at rest, each request is counted exactly once, no task and no deadline is left, and every connection to a pod is
either of use or closed. The same over real sockets, for the client's leaving, is in `tests/integration/test_cancellation.py`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.backend import Limits
from gateway.terms import Timeouts
from gateway.upstream import Upstream
from tests.fakes import Client, Pod, PodConnection, World, read_answers, settle
from tests.wire import Reading

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PART = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789"
STEP = 5.0
"""Seconds that any step may take."""


Dial = Callable[[Callable[[], Upstream]], None]
"""How a dial that waits comes out: the connection opens, closes as it opens, or is refused."""


@dataclass
class Scene:
    """A world in which one request has got to a certain point."""

    world: World
    client: Client
    rest: bytes = b""
    """What the client has still to send."""
    pod_rest: bytes = OK
    """What the pod has still to say."""
    link: PodConnection | None = None
    """The connection that a pod's end concerns."""
    dialled: "asyncio.Future[Dial] | None" = None
    others: list[Client] = field(default_factory=list)


def world_of(*, idle: int = 1, total: float = 0.0) -> World:
    # A place in the queue is given up before a pod's time is over, so that the two are not taken for each other.
    limits = Limits(concurrency=1, queue_timeout=STEP - 1, activation_timeout=STEP)
    timeouts = Timeouts(connect=STEP, response=STEP, idle=STEP, request=total)
    return World(limits=limits, timeouts=timeouts, idle=idle)


# -- how far it has got


async def in_the_queue(total: float) -> Scene:
    world = world_of(total=total)
    other = world.client().send(GET)
    return Scene(world, world.client().send(POST + b"0123456789"), link=world.link, others=[other])


async def dialling(total: float) -> Scene:
    world = world_of(idle=0, total=total)
    gate: asyncio.Future[Dial] = asyncio.get_running_loop().create_future()
    connect = world.loop.create_connection

    async def slow(factory: Callable[[], Upstream], host: str, port: int) -> None:
        if gate.done():
            await connect(factory, host, port)
        else:
            (await gate)(factory)

    world.loop.create_connection = slow  # type: ignore[method-assign]
    client = world.client().send(POST + b"0123456789")
    await settle()
    assert "dialling" in repr(client.protocol)
    return Scene(world, client, dialled=gate)


async def head_sent(total: float) -> Scene:
    world = world_of(total=total)
    client = world.client().send(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    return Scene(world, client, rest=b"0123456789", link=world.link)


async def uploading(total: float) -> Scene:
    world = world_of(total=total)
    return Scene(world, world.client().send(POST, b"01234"), rest=b"56789", link=world.link)


async def upload_blocked(total: float) -> Scene:
    world = world_of(total=total)
    world.link.transport.room = 1
    client = world.client().send(POST, b"01234")
    assert not client.transport.reading
    return Scene(world, client, rest=b"56789", link=world.link)


async def before_the_first_byte(total: float) -> Scene:
    world = world_of(total=total)
    return Scene(world, world.client().send(POST + b"0123456789"), link=world.link)


async def in_the_answers_head(total: float) -> Scene:
    scene = await before_the_first_byte(total)
    scene.world.link.say(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-")
    scene.pod_rest = b"Length: 2\r\n\r\nok"
    return scene


async def in_the_answer(total: float) -> Scene:
    scene = await before_the_first_byte(total)
    scene.world.link.say(PART)
    scene.pod_rest = b"0123456789"
    return scene


async def answer_paused(total: float) -> Scene:
    scene = await before_the_first_byte(total)
    scene.client.transport.room = 1
    scene.world.link.say(PART)
    assert not scene.world.link.transport.reading
    scene.pod_rest = b"0123456789"
    return scene


async def both_ways(total: float) -> Scene:
    scene = await uploading(total)
    scene.world.link.say(PART)
    scene.pod_rest = b"0123456789"
    return scene


async def between_retries(total: float) -> Scene:
    """Its pod refused, and no other is there."""
    world = world_of(idle=0, total=total)
    world.pod.refuse()
    client = world.client().send(POST + b"0123456789")
    await settle()
    assert (world.backend.breaker.queued, len(world.suspects)) == (1, 1)
    return Scene(world, client)


async def asked_again(total: float) -> Scene:
    """Its first connection was reset, a new one has it."""
    world = world_of(total=total)
    client = world.client().send(GET)
    world.link.hang_up(ConnectionResetError())
    await settle()
    return Scene(world, client, link=world.link)


# -- what happens then


async def client_fin(scene: Scene) -> None:
    scene.client.close()


async def client_rst(scene: Scene) -> None:
    scene.client.vanish()


async def pod_fin(scene: Scene) -> None:
    """On a dial: the connection closes as it opens."""
    if scene.dialled is not None:
        scene.dialled.set_result(lambda factory: scene.world.pod.accept(factory()).hang_up())
    else:
        assert scene.link is not None
        scene.link.hang_up()


async def pod_rst(scene: Scene) -> None:
    """On a dial: it is refused."""
    if scene.dialled is not None:
        scene.dialled.set_exception(ConnectionRefusedError(111, "refused"))
    else:
        assert scene.link is not None
        scene.link.hang_up(ConnectionResetError(104, "reset by peer"))


async def deadline(scene: Scene) -> None:
    scene.world.advance(STEP + 0.1)
    await asyncio.sleep(STEP + 0.1)  # a dial's deadline is the loop's own; here too time is looptime's
    scene.world.advance(STEP + 0.1)


async def total_deadline(scene: Scene) -> None:
    scene.world.advance(STEP - 1.9)


async def removed(scene: Scene) -> None:
    scene.world.gateway.apply(scene.world.backend, scene.world.backend.remove(scene.world.loop.now))


async def replaced(scene: Scene) -> None:
    world = scene.world
    world.pods[:] = [Pod(world.loop, 7)]
    world.publish()


async def draining(scene: Scene) -> None:
    scene.world.pod.draining = True
    scene.world.publish()
    scene.world.pods.append(Pod(scene.world.loop, 7))
    scene.world.publish()


async def finish(scene: Scene) -> None:
    """Whatever may still go on does so, as it should."""
    world, client = scene.world, scene.client
    if scene.dialled is not None and not scene.dialled.done():
        scene.dialled.set_result(lambda factory: world.pod.accept(factory()) and None)
    await settle()
    for endpoint in world.suspects:
        world.loop.listening[endpoint.port] = world.pod
        world.gateway.trust(world.backend, endpoint)
    await settle()
    if not client.transport.is_closing():
        client.send(*[scene.rest] if scene.rest else [])
        client.transport.drain()
    readings: dict[PodConnection, Reading] = {}
    for _ in range(4):
        for link in [link for pod in world.loop.listening.values() for link in pod.connections]:
            reading = readings.setdefault(link, Reading(link))
            link.transport.drain()
            if not link.transport.is_closing() and reading.look():
                link.say(scene.pod_rest if link is scene.link and len(reading.requests) == 1 else OK)
        await settle()


def told(scene: Scene) -> str:
    """What the client got: a status, a part and then a reset, or nothing."""
    client = scene.client
    if client.transport.end == "reset":
        return "reset"
    answers = read_answers(client.received, [b"GET"], closed=client.transport.is_closing())
    return str(answers[0].status) if answers and answers[0].complete else "nothing"


EVENTS = [client_fin, client_rst, pod_fin, pod_rst, deadline, total_deadline, removed, replaced, draining]
Stage = Callable[[float], Awaitable[Scene]]
TABLE: list[tuple[Stage, str]] = [
    # stage                client_fin client_rst pod_fin pod_rst deadline total_deadline removed replaced draining
    (in_the_queue,          "499 499 200 200 503:queue_timeout 504:request_timeout 503:backend_removed 200 200"),
    (dialling,              "499 499 200 200 502:connect_failed 504:request_timeout 200 200 200"),
    (head_sent,             "499 499 502:upstream_reset 502:upstream_reset 408:body_timeout 504:request_timeout 200 200 200"),
    (uploading,             "499 499 502:upstream_reset 502:upstream_reset 408:body_timeout 504:request_timeout 200 200 200"),
    (upload_blocked,        "499 499 502:upstream_reset 502:upstream_reset 504:response_timeout 504:request_timeout 200 200 200"),
    (before_the_first_byte, "499 499 502:upstream_reset 502:upstream_reset 504:response_timeout 504:request_timeout 200 200 200"),
    (in_the_answers_head,   "499 499 502:upstream_reset 502:upstream_reset 504:response_timeout 504:request_timeout 200 200 200"),
    (in_the_answer,         "499 499 reset:upstream_reset reset:upstream_reset reset:idle_timeout reset:request_timeout 200 200 200"),
    (answer_paused,         "499 499 reset:upstream_reset reset:upstream_reset reset:idle_timeout reset:request_timeout 200 200 200"),
    (both_ways,             "499 499 reset:upstream_reset reset:upstream_reset reset:idle_timeout reset:request_timeout 200 200 200"),
    (between_retries,       "499 499 - - 502:connect_failed 504:request_timeout 503:backend_removed 200 200"),
    (asked_again,           "499 499 200 200 504:response_timeout 504:request_timeout 200 200 200"),
]  # fmt: skip
"""The status that the client gets and that is counted, and the reason. 499: it got nothing more; reset: 200, and then a reset."""


def table() -> list[Any]:
    return [
        pytest.param(stage, event, cell, id=f"{stage.__name__}-{event.__name__}")
        for stage, cells in TABLE
        for event, cell in zip(EVENTS, cells.split(), strict=True)
        if cell != "-"
    ]


@pytest.mark.looptime
@pytest.mark.parametrize(("stage", "event", "cell"), table())
async def test_however_it_ends_it_is_told_and_counted_once_and_nothing_stays(
    stage: Stage, event: Callable[[Scene], Awaitable[None]], cell: str
) -> None:
    """Every point of a request's life, and everything that can happen there."""
    outcome, _, reason = cell.partition(":")
    scene = await stage(STEP - 2 if event is total_deadline else 0.0)
    world = scene.world
    await event(scene)
    await settle()
    await finish(scene)
    if outcome != "499":
        assert told(scene) == outcome
    counted = Counter(world.codes)
    counted.subtract(other.answer().status for other in scene.others)
    assert +counted == {200 if outcome == "reset" else int(outcome): 1}
    assert reason in world.reasons or not reason
    await assert_nothing_stays(scene)


async def assert_nothing_stays(scene: Scene) -> None:
    world = scene.world
    world.assert_at_rest()
    pools = [endpoint.pool for endpoint in world.backend.endpoints.values() if endpoint.pool is not None]
    for pod in world.loop.listening.values():
        for link in pod.connections:
            assert link.transport.is_closing() or any(link.protocol in pool.idle for pool in pools)
    for client in (scene.client, *scene.others):
        client.close()
    await settle()
    assert world.gateway.clients == set()
    assert repr(world.gateway.wheel) == "<TimerWheel 0 items, 0 slots>"
    assert asyncio.all_tasks() == {asyncio.current_task()}
