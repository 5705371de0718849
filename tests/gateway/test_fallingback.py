"""When a Backend cannot serve: another one, or a page."""

from typing import Any

import pytest

from gateway.answers import Fixed, Placeholder
from gateway.backend import Backend, Endpoints, Limits
from gateway.retries import RetryPolicy
from gateway.routing import Route, RouteTable
from gateway.splits import Split
from gateway.steering import Steering
from gateway.terms import BackendRef, Fallback, Timeouts
from tests.fakes import Client, Pod, World, read_request, settle

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BROWSER = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html,*/*\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Two(World):
    """A World whose Route falls back to a second Backend with one pod."""

    def __init__(self, after: float = 2.0, page: Placeholder | None = None, **given: Any) -> None:
        super().__init__(**given)
        self.small = Backend("small", Limits(), self.loop.now)
        self.gateway.backends["small"] = self.small
        self.spare = Pod(self.loop, 9)
        self.set_spare(ready=True)
        ref = BackendRef(self.small, "iris", Timeouts(), expose_backend=True)
        steering = Steering(fallback=Fallback(ref, after) if after else None, placeholder=page)
        self.gateway.table = RouteTable(
            (Route("iris", Split({"iris": self.ref}, {"iris": 1}), steering=steering),)
        )

    def set_spare(self, *, ready: bool) -> None:
        self.spare.ready = ready
        self.gateway.apply(self.small, self.small.update(Endpoints((self.spare.info,)), self.loop.now))
        self.loop.run()

    @property
    def fallbacks(self) -> dict[str, int]:
        """By Route."""
        counts: dict[str, int] = {}
        for (route, _), count in self.backend.stats.fallbacks.items():
            counts[route] = counts.get(route, 0) + count
        return counts

    @property
    def reasons_to_fall_back(self) -> list[str]:
        return [why for _, why in self.backend.stats.fallbacks]

    async def assert_served_elsewhere(self, client: Client, method: bytes = b"GET") -> None:
        await settle()
        self.spare.last.say(OK)
        answer = client.answer(method)
        assert (answer.status, answer.fields[b"x-tidegate-backend"]) == (200, b"small")
        assert self.fallbacks == {"iris": 1}
        assert (self.codes, self.small.traffic_of("iris").codes) == ({}, {200: 1})
        self.assert_all_at_rest()

    def assert_all_at_rest(self) -> None:
        self.assert_at_rest()
        assert (self.small.in_flight, self.small.breaker.queued, self.gateway.buffered.held) == (0, 0, 0)


async def test_at_zero_a_request_goes_elsewhere_after_its_time() -> None:
    """And the Backend that it is for has been asked to start."""
    world = Two(pods=0)
    client = world.client().send(POST)
    world.advance(1.9)
    assert (world.nudges, world.backend.breaker.queued, world.fallbacks) == (1, 1, {})
    world.advance(0.2)
    await settle()
    request, body, _, whole = read_request(world.spare.last.received)
    assert (request.method, body, whole) == (b"POST", b"body", True)
    await world.assert_served_elsewhere(client, b"POST")
    assert world.reasons_to_fall_back == ["no_pod"]


async def test_a_pod_that_comes_in_time_is_waited_for() -> None:
    """Nothing is late then, however long its answer takes."""
    world = Two(pods=0)
    client = world.client().send(GET)
    world.advance(1.5)
    world.pods = [Pod(world.loop, 1)]
    world.publish()
    await settle()
    world.advance(5)
    world.link.say(OK)
    assert client.answer().status == 200
    assert world.fallbacks == {}
    world.assert_all_at_rest()


async def test_a_queue_in_front_of_busy_pods_is_no_reason() -> None:
    """Only the time without a pod counts: here none, then two seconds."""
    world = Two(limits=Limits(concurrency=1))
    first, second = world.client().send(GET), world.client().send(GET)
    world.advance(10)
    assert world.backend.breaker.queued == 1
    world.pod.ready = False
    world.publish()
    world.advance(1.5)
    assert world.backend.breaker.queued == 1
    world.advance(3)
    assert (world.backend.breaker.queued, world.fallbacks) == (0, {"iris": 1})
    await settle()
    world.spare.last.say(OK)
    world.link.say(OK)
    assert (first.answer().status, second.answer().fields[b"x-tidegate-backend"]) == (200, b"small")
    world.assert_all_at_rest()


async def test_what_cannot_start_is_not_waited_for() -> None:
    """Neither at first nor later."""
    world = Two(pods=0)
    waiting = world.client().send(GET)
    world.publish(cannot_start="no such image")
    await world.assert_served_elsewhere(waiting)
    world.client().send(GET)
    assert world.fallbacks == {"iris": 2}
    assert world.reasons_to_fall_back == ["cannot_start"]


async def test_a_full_queue_sends_elsewhere() -> None:
    """Whoever waits already stays."""
    world = Two(limits=Limits(concurrency=1, depth=1))
    world.client().send(GET)
    waits = world.client().send(GET)
    third = world.client().send(GET)
    await settle()
    world.spare.last.say(OK)
    assert third.answer().fields[b"x-tidegate-backend"] == b"small"
    assert (waits.received, world.backend.breaker.queued) == (b"", 1)
    assert world.codes == {}
    assert world.reasons_to_fall_back == ["queue_full"]


async def test_refused_connections_send_elsewhere() -> None:
    """After as many as would be answered 502 otherwise, or when no pod is left that accepts any for long enough."""
    world = Two(pods=3, idle=0)
    for pod in world.pods:
        pod.refuse()
    client = world.client().send(POST)
    await settle()
    assert world.backend.in_flight == 0
    await world.assert_served_elsewhere(client, b"POST")
    assert world.reasons_to_fall_back == ["connect_failed"]


async def test_a_request_that_a_pod_may_have_seen_does_not_go_elsewhere() -> None:
    """Its pod's failure is its answer."""
    world = Two(retries=RetryPolicy(on=frozenset()))
    client = world.client().send(POST)
    world.link.hang_up()
    assert client.answer(b"POST").status == 502
    assert world.fallbacks == {}


async def test_it_falls_back_once() -> None:
    """What cannot be served there either is told so."""
    world = Two(pods=0)
    world.set_spare(ready=False)
    world.small.relimit(Limits(activation_timeout=3.0), world.loop.now)
    client = world.client().send(GET)
    world.advance(2.1)
    assert (world.backend.breaker.queued, world.small.breaker.queued) == (0, 1)
    world.advance(3.1)
    assert client.answer().status == 504
    assert world.small.traffic_of("iris").reasons == {"activation_timeout": 1}
    assert world.fallbacks == {"iris": 1}
    world.assert_all_at_rest()


async def test_a_backend_that_was_removed_is_no_fallback() -> None:
    """Its pods may be gone the next moment: who waits goes on waiting, and browsers are shown their page in its time."""
    world = Two(pods=0, page=Placeholder(3.0, Fixed(503, body=b"starting")))
    programs, browser = world.client().send(GET), world.client().send(BROWSER)
    world.gateway.apply(world.small, world.small.remove(world.loop.now))
    world.advance(2.5)
    assert (world.backend.breaker.queued, world.small.in_flight, world.fallbacks) == (2, 0, {})
    world.advance(1)
    assert browser.answer().body == b"starting"
    world.publish(cannot_start="no such image")
    assert (programs.answer().status, world.small.stats.begun) == (503, 0)
    world.assert_all_at_rest()


async def test_a_body_that_is_still_coming_goes_on_there() -> None:
    """What was held, then the rest, to its route's limit."""
    world = Two(pods=0)
    client = world.client().send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nbody")
    world.advance(2.1)
    await settle()
    client.send(b"more")
    assert read_request(world.spare.last.received)[1] == b"bodymore"
    await world.assert_served_elsewhere(client, b"POST")


async def test_a_client_that_leaves_meanwhile_is_gone() -> None:
    """Nothing is asked for it."""
    world = Two(pods=0)
    world.client().send(GET).vanish()
    world.advance(3)
    assert (world.fallbacks, world.codes) == ({}, {499: 1})
    world.assert_all_at_rest()


PAGE = Placeholder(1.0, Fixed(503, (b"refresh: 5\r\n",), b"<p>Starting"))


async def test_a_browser_is_shown_a_page_instead_of_waiting() -> None:
    """The start has been asked for; programs wait on."""
    world = Two(pods=0, after=0, page=PAGE)
    browser, program = world.client().send(BROWSER), world.client().send(GET)
    world.advance(0.9)
    assert browser.received == b""
    world.advance(0.2)
    answer = browser.answer()
    assert (answer.status, answer.fields[b"refresh"], answer.body) == (503, b"5", b"<p>Starting")
    assert (world.nudges, world.backend.breaker.queued) == (2, 1)
    assert world.reasons == {"placeholder": 1}
    world.advance(5)
    assert program.received == b""


async def test_where_nothing_is_started_nobody_is_told_to_wait_for_it() -> None:
    """A paused Backend says so, to browsers as well, and not to come again at once."""
    world = Two(pods=0, after=0, page=PAGE, limits=Limits(paused=True, activation_timeout=3.0))
    browser = world.client().send(BROWSER)
    world.advance(2.9)
    assert browser.received == b""
    world.advance(0.2)
    answer = browser.answer()
    assert (answer.status, answer.fields[b"retry-after"]) == (504, b"60")
    assert b"its scaling is paused" in answer.body
    world.assert_all_at_rest()


async def test_the_page_comes_before_a_slower_fallback_and_not_before_a_faster_one() -> None:
    """Each after its own time."""
    slower = Two(pods=0, after=2.0, page=PAGE)
    browser = slower.client().send(BROWSER)
    slower.advance(1.1)
    assert browser.answer().status == 503
    slower.assert_all_at_rest()
    faster = Two(pods=0, after=0.5, page=PAGE)
    browser = faster.client().send(BROWSER)
    faster.advance(1.5)
    assert faster.fallbacks == {"iris": 1}
    await faster.assert_served_elsewhere(browser)


@pytest.mark.parametrize("after", [0.5, 2.0])
async def test_a_browser_that_fell_back_to_a_second_start_sees_the_page_in_the_end(after: float) -> None:
    """Its patience is counted anew, and goes on."""
    world = Two(pods=0, after=after, page=Placeholder(1.0 if after < 1 else 3.0, PAGE.page))
    world.set_spare(ready=False)
    browser = world.client().send(BROWSER)
    world.advance(8)
    assert browser.answer().status == 503
    world.assert_all_at_rest()


async def test_a_retried_request_that_waits_for_a_start_falls_back_too() -> None:
    """Its pod has gone without an answer."""
    world = Two(retries=RetryPolicy())
    client = world.client().send(GET)
    world.link.hang_up()
    world.pods[0].refuse()
    await settle()
    assert world.backend.breaker.queued == 1
    world.advance(2.5)
    await world.assert_served_elsewhere(client)
