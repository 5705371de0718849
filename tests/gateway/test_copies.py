"""Copies of requests: what they take, and what they never do to their requests."""

import json
import logging
from typing import Any

import pytest

from gateway.backend import Backend, Endpoints, Limits
from gateway.ejection import EjectionPolicy
from gateway.mirrors import Compare, Mirror, MirrorTraffic, Turns
from gateway.routing import Route, RouteTable
from gateway.splits import Split
from gateway.steering import Steering
from gateway.terms import BackendRef, Timeouts
from gateway.upstream import Upstream
from tests.fakes import Client, Pod, World, read_request, settle

POST = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%b"


class Mirrored(World):
    """A World whose Route is mirrored to a second Backend with one pod, and one idle connection there."""

    def __init__(
        self,
        *,
        share: float = 1.0,
        tolerance: float | None = None,
        limits: Limits | None = None,
        **given: Any,
    ) -> None:
        timeouts = given.pop("mirror_timeouts", None) or Timeouts()
        bounds = {key: given.pop(key) for key in ("in_flight", "body_limit") if key in given}
        super().__init__(**given)
        self.dark = Backend("dark", limits or Limits(), self.loop.now)
        self.gateway.backends["dark"] = self.dark
        self.twin = Pod(self.loop, 9)
        self.publish_dark(self.twin)
        ref = BackendRef(self.dark, "iris", timeouts)
        compare = None if tolerance is None else Compare(tolerance, Turns(1.0))
        mirror = Mirror(ref, Turns(share), share * 100, compare=compare, **bounds)
        route = Route("iris", Split({"iris": self.ref}, {"iris": 1}), steering=Steering(mirror=mirror))
        self.gateway.table = RouteTable((route,))
        pool = self.gateway.pool(self.dark.endpoints[self.twin.uid])
        self.copied = self.twin.accept(Upstream(pool))
        pool.put(self.copied.protocol)

    def publish_dark(self, *pods: Pod) -> None:
        news = Endpoints(tuple(pod.info for pod in pods))
        self.gateway.apply(self.dark, self.dark.update(news, self.loop.now))

    @property
    def counted(self) -> MirrorTraffic:
        return self.gateway.mirrors.traffic["iris", "dark"]

    @property
    def outcomes(self) -> dict[str, int]:
        return self.counted.outcomes

    def serve(self, client: Client | None = None) -> Client:
        """Ask, and have the first Backend's pod answer."""
        client = (client or self.client()).send(POST)
        self.link.say(OK % b"ok")
        assert client.answer(b"POST").body == b"ok"
        return client

    def assert_nothing_left(self) -> None:
        self.loop.run()
        self.assert_at_rest()
        assert (self.dark.in_flight, self.dark.breaker.queued) == (0, 0)
        assert self.dark.stats.begun == self.dark.stats.ended
        assert self.gateway.mirrors.held == 0
        assert [item.in_flight for item in self.gateway.mirrors.traffic.values()] == [0]
        assert (self.codes, self.reasons) == ({200: sum(self.codes.values())}, {})


async def test_a_copy_is_what_the_pod_got() -> None:
    """And says that it is one; the client hears nothing of its answer."""
    world = Mirrored()
    client = world.client().send(POST)
    request, body, _, whole = read_request(world.link.received)
    copy, copied, _, all_there = read_request(world.copied.received)
    assert (copy.method, copy.target, copied, all_there) == (request.method, request.target, body, whole)
    assert dict(copy.headers) == {**dict(request.headers), b"x-tidegate-mirror": b"iris"}
    world.copied.say(OK % b"no")
    assert client.received == b""
    world.link.say(OK % b"ok")
    assert client.answer(b"POST").body == b"ok"
    assert world.outcomes == {"answered": 1}
    assert world.dark.traffic == {}
    world.assert_nothing_left()


async def test_a_share_of_the_requests_is_copied() -> None:
    """Every tenth, without dice."""
    world = Mirrored(share=0.1)
    for _ in range(20):
        world.serve()
        if world.copied.take():
            world.copied.say(OK % b"ok")
    assert world.outcomes == {"answered": 2}
    world.assert_nothing_left()


async def test_a_body_that_comes_in_pieces_is_copied_when_it_is_whole() -> None:
    """Chunks as well, with what they end in; nobody is asked whether the body may come."""
    world = Mirrored()
    client = world.client().send(
        b"POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert b"expect" in world.link.received
    client.send(b"2\r\nbo\r\n")
    assert (world.copied.received, world.gateway.mirrors.held) == (b"", 2)
    client.send(b"2\r\ndy\r\n0\r\nx-sum: 1\r\n\r\n")
    copy, body, trailers, whole = read_request(world.copied.received)
    assert (body, trailers, whole) == (b"body", {b"x-sum": b"1"}, True)
    assert b"expect" not in dict(copy.headers)
    world.copied.say(OK % b"ok")
    world.link.say(OK % b"ok")
    world.assert_nothing_left()


async def test_a_pod_that_loses_a_copy_costs_its_request_nothing() -> None:
    """A kept connection may have been dead: once more on a new one, then no more."""
    world = Mirrored()
    client = world.client().send(POST)
    world.copied.hang_up()
    await settle()
    assert read_request(world.twin.last.received)[1] == b"body"
    world.twin.last.hang_up(ConnectionResetError(104, "reset"))
    assert world.outcomes == {"failed": 1}
    world.link.say(OK % b"ok")
    assert client.answer(b"POST").status == 200
    world.assert_nothing_left()


async def test_a_pod_that_is_dead_gets_no_copies() -> None:
    """It is suspect from the first one on, and probed."""
    world = Mirrored()
    world.copied.hang_up()
    world.twin.refuse()
    world.serve()
    await settle()
    assert world.outcomes == {"failed": 1}
    assert len(world.suspects) == 1
    for _ in range(5):
        world.serve()
    assert world.outcomes == {"failed": 1, "no_slot": 5}
    assert world.dark.breaker.queued == 0
    world.assert_nothing_left()


async def test_a_backend_at_zero_is_not_woken() -> None:
    """Copies never wait, so nobody is asked for a pod."""
    world = Mirrored()
    world.publish_dark()
    world.serve()
    assert (world.outcomes, world.nudges) == ({"no_slot": 1}, 0)
    world.assert_nothing_left()


async def test_a_copy_holds_a_slot_and_never_waits_for_one() -> None:
    """The limit holds over copies and requests together; whoever waits for the slot gets it when the copy is over."""
    world = Mirrored(limits=Limits(concurrency=1))
    world.serve()
    assert world.dark.in_flight == 1
    world.serve()
    assert world.outcomes == {"no_slot": 1}
    world.copied.say(OK % b"ok")
    world.serve()
    assert (world.dark.in_flight, world.outcomes) == (1, {"no_slot": 1, "answered": 1})
    world.twin.last.say(OK % b"ok")
    world.assert_nothing_left()


async def test_copies_that_hang_end_in_time_and_are_bounded() -> None:
    """Their requests are answered meanwhile."""
    world = Mirrored(in_flight=2, mirror_timeouts=Timeouts(response=3.0))
    for _ in range(5):
        world.serve()
        await settle()
    assert world.outcomes == {"too_many": 3}
    assert world.dark.in_flight == 2
    world.advance(3.1)
    assert world.outcomes == {"too_many": 3, "timeout": 2}
    world.assert_nothing_left()


async def test_an_answer_that_stops_coming_is_given_up() -> None:
    """As a request's would be."""
    world = Mirrored(mirror_timeouts=Timeouts(response=3.0, idle=1.0))
    world.serve()
    world.advance(2)
    world.copied.say(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nx")
    world.advance(0.9)
    world.copied.say(b"x")
    world.advance(0.9)
    assert world.outcomes == {}
    world.advance(0.3)
    assert world.outcomes == {"timeout": 1}
    world.assert_nothing_left()


async def test_a_large_body_is_not_copied() -> None:
    """It is let go as soon as that is known, and goes on to its own pod."""
    world = Mirrored(body_limit=1024)
    client = world.client().send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + b"x" * 1000)
    assert world.gateway.mirrors.held == 1000
    client.send(b"x" * 1000)
    assert (world.gateway.mirrors.held, world.outcomes) == (0, {"too_large": 1})
    assert len(read_request(world.link.received)[1]) == 2000
    world.link.say(OK % b"ok")
    world.assert_nothing_left()


async def test_a_request_that_breaks_off_is_not_copied() -> None:
    """Half a body is no request."""
    world = Mirrored()
    client = world.client().send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nbody")
    client.vanish()
    assert (world.outcomes, world.codes) == ({"cut": 1}, {499: 1})
    assert world.copied.received == b""
    assert world.gateway.mirrors.held == 0


async def test_a_client_that_leaves_does_not_end_its_copy() -> None:
    """Nobody waits for it anyway."""
    world = Mirrored(tolerance=0.0)
    world.client().send(POST).vanish()
    world.copied.say(OK % b"ok")
    world.loop.run()
    assert (world.outcomes, world.counted.results) == ({"answered": 1}, {"skipped": 1})
    assert world.counted.in_flight == 0


async def test_a_request_that_is_tried_again_is_copied_once() -> None:
    """Whole, although its first pod was lost in the middle of it."""
    world = Mirrored()
    client = world.client().send(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nbody")
    world.link.hang_up()
    await settle()
    client.send(b"more")
    assert read_request(world.copied.received)[1] == b"bodymore"
    world.copied.say(OK % b"ok")
    world.link.say(OK % b"ok")
    assert client.answer(b"PUT").status == 200
    assert world.outcomes == {"answered": 1}


async def test_what_finds_no_pod_is_not_copied() -> None:
    """A burst that is refused here is not sent there."""
    world = Mirrored(pods=0)
    client = world.client().send(POST)
    world.advance(1)
    assert world.copied.received == b""
    client.vanish()
    assert world.gateway.mirrors.traffic == {}


async def test_a_request_to_the_mirror_itself_is_not_copied() -> None:
    """It is there already."""
    world = Mirrored()
    route = world.gateway.table.routes["iris"]
    mirror = route.steering.mirror if route.steering is not None else None
    assert mirror is not None
    mirror.ref = BackendRef(world.backend, "iris")
    world.serve()
    assert world.gateway.mirrors.traffic == {}


async def test_a_websocket_is_not_copied() -> None:
    """There is nobody to talk to."""
    world = Mirrored()
    world.client().send(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert b"upgrade" in world.link.received
    assert world.gateway.mirrors.traffic == {}


class TestComparing:
    @pytest.mark.parametrize("first_to_answer", ["request", "copy"])
    async def test_both_answers_are_compared(
        self, first_to_answer: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whoever is sooner; a difference is one line of JSON."""
        caplog.set_level(logging.INFO, "gateway.copies")
        world = Mirrored(tolerance=0.01)
        client = world.client().send(POST)
        answers = [(world.link, b"[1, 2.00]"), (world.copied, b"[1, 2.001]")]
        if first_to_answer == "copy":
            answers.reverse()
        for link, body in answers:
            world.advance(0.1)
            link.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        world.loop.run()
        assert client.answer(b"POST").body == b"[1, 2.00]"
        assert world.counted.results == {"same": 1}
        later = 0.1 if first_to_answer == "request" else -0.1
        assert world.counted.difference.sum == pytest.approx(later)
        assert caplog.messages == []
        world.assert_nothing_left()

    async def test_a_difference_is_told_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        """What was asked, what both said, and how long they took."""
        caplog.set_level(logging.INFO, "gateway.copies")
        world = Mirrored(tolerance=0.0)
        world.client().send(POST.replace(b"Host", b"X-Request-Id: id-1\r\nHost"))
        world.link.say(OK % b"[]")
        world.copied.say(OK % b"12")
        world.loop.run()
        assert world.counted.results == {"body": 1}
        assert json.loads(caplog.messages[0]) == {
            "mirror": "dark",
            "route": "iris",
            "request_id": "id-1",
            "target": "/a",
            "status": [200, 200],
            "seconds": [0.0, 0.0],
            "difference": "$: [] and 12",
        }

    async def test_a_copy_without_an_answer_is_not_compared(self) -> None:
        """It is counted as what it was."""
        world = Mirrored(tolerance=0.0, mirror_timeouts=Timeouts(response=1.0))
        world.serve()
        world.advance(1.1)
        assert (world.outcomes, world.counted.results) == ({"timeout": 1}, {})
        world.assert_nothing_left()


async def test_a_copys_answer_counts_for_its_pod() -> None:
    """One that fails copies is put out, before it fails a request."""
    world = Mirrored(limits=Limits(ejection=EjectionPolicy(consecutive_5xx=2)))
    pods = [world.twin, Pod(world.loop, 10)]
    world.publish_dark(*pods)
    answered: list[int] = []
    for _ in range(8):
        world.serve()
        await settle()
        for pod in pods:
            for link in pod.connections:
                if link.take():
                    answered.append(pod.port)
                    link.say(
                        b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n" if pod is world.twin else OK % b"ok"
                    )
    assert answered.count(world.twin.port) == 2
    assert world.dark.endpoints[world.twin.uid].barred
    world.assert_nothing_left()


@pytest.mark.parametrize("leaves", [True, False], ids=["client leaves", "answered"])
async def test_a_copy_whose_answer_never_ends_has_its_slot_not_for_good(*, leaves: bool) -> None:
    """Nobody will ever leave it; so it may go on for some time after its request is over, or for as long as a request may."""
    for timeouts, most in ((Timeouts(response=20.0, idle=10.0), 31), (Timeouts(request=10.0), 11)):
        world = Mirrored(mirror_timeouts=timeouts)
        client = world.client().send(POST)
        world.link.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        world.copied.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        if leaves:
            client.vanish()
        else:
            world.link.say(b"0\r\n\r\n")
        for _ in range(most - 2):
            world.advance(1)
            world.copied.say(b"2\r\nok\r\n")
        assert world.dark.in_flight == 1
        world.advance(3)
        assert world.outcomes == {"timeout": 1}
        assert (world.dark.in_flight, world.counted.in_flight, world.copied.transport.end) == (0, 0, "abort")


async def test_a_pod_that_is_gone_gets_no_new_connection() -> None:
    """Nobody would close it."""
    world = Mirrored()
    client = world.client().send(POST)
    world.publish_dark()
    world.copied.hang_up()
    await settle()
    assert (world.outcomes, world.twin.connections) == ({"failed": 1}, [world.copied])
    world.link.say(OK % b"ok")
    assert client.answer(b"POST").status == 200
    world.assert_nothing_left()
