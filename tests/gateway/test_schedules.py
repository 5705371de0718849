"""Whatever happens in whatever order: a gateway with copies, fallbacks, retries, trials and reloads, on mock transports and a clock moved by hand.

The laws: nobody waits while a pod that may be had has a free slot; a pod never has more open than the limit allowed when they were granted;
and once everything is well again and answered, nothing is left of it.
"""

import asyncio
from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.backend import Backend, Endpoints, Limits
from gateway.ejection import EjectionPolicy
from gateway.mirrors import Compare, Mirror, Turns
from gateway.queues import Discipline
from gateway.retries import RetryPolicy
from gateway.routing import Route, RouteTable
from gateway.splits import Split
from gateway.steering import Steering
from gateway.terms import BackendRef, Fallback, Timeouts
from tests.fakes import Client, Pod, PodConnection, World, settle

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
ASKED = (GET, POST, POST[:-2])
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SAID = (OK, OK[:-1], OK.replace(b"200 OK", b"503 No"), b"HTTP/9 what\r\n\r\n")
ONCE = EjectionPolicy(consecutive_5xx=1, base_time=1.0)
TIMEOUTS = Timeouts(response=20.0, idle=10.0)
HIGHEST = 3
DISCIPLINES: tuple[Discipline, ...] = ("fifo", "round_robin", "least_use")
LIMITS = [
    Limits(concurrency, depth=8, queue_timeout=5.0, hold=hold, ejection=ejection, discipline=discipline)
    for concurrency in (1, HIGHEST)
    for hold in (False, True)
    for ejection in (None, ONCE)
    for discipline in DISCIPLINES
]


class Crowd(World):
    """A World of three pods, another Backend that it falls back to, and a third that gets copies; each step is one thing that happens."""

    def __init__(self) -> None:
        retries = RetryPolicy(on=frozenset({"connect", "reset", 503}))
        super().__init__(
            pods=3,
            limits=replace(LIMITS[0], ejection=ONCE),
            retries=retries,
            timeouts=TIMEOUTS,
        )
        self.others = {"small": Pod(self.loop, 8), "dark": Pod(self.loop, 9)}
        for name, pod in self.others.items():
            self.gateway.backends[name] = Backend(name, LIMITS[0], self.loop.now)
            self.tell(name, pod)
        self.reroute(3)
        self.clients: list[Client] = []
        self.names = 9

    def tell(self, name: str, *pods: Pod) -> None:
        backend = self.gateway.backends[name]
        self.gateway.apply(backend, backend.update(Endpoints(tuple(pod.info for pod in pods)), self.loop.now))
        self.loop.run()

    @property
    def links(self) -> list[PodConnection]:
        pods = (*self.loop.listening.values(), *self.pods)
        return [link for pod in dict.fromkeys(pods) for link in pod.connections if not link.transport.lost]

    def probe(self) -> None:
        """The prober gets through to all that listen."""
        for backend in (self.backend, *self.gateway.backends.values()):
            for endpoint in backend.endpoints.values():
                if endpoint.suspect and endpoint.port in self.loop.listening:
                    self.gateway.trust(backend, endpoint)
        self.loop.run()

    # -- what may happen

    def ask(self, number: int) -> None:
        client = self.client().send(ASKED[number % len(ASKED)])
        self.clients.append(client)

    def go_on(self, number: int) -> None:
        """A body that stood still comes to its end, or a connection is used again."""
        if self.clients:
            client = self.clients[number % len(self.clients)]
            client.send(b"lo" if not client.received else GET)

    def vanish(self, number: int) -> None:
        if self.clients:
            self.clients.pop(number % len(self.clients)).vanish()

    def answer(self, number: int) -> None:
        asked = [link for link in self.links if link.received]
        if asked:
            link = asked[number % len(asked)]
            link.take()
            link.say(SAID[number % len(SAID)])

    def hang_up(self, number: int) -> None:
        if self.links:
            self.links[number % len(self.links)].hang_up(ConnectionResetError(104, "reset"))

    def listen(self, number: int) -> None:
        """A pod refuses connections from now on, or accepts them again."""
        pod = self.pods[number % len(self.pods)]
        if self.loop.listening.pop(pod.port, None) is None:
            self.loop.listening[pod.port] = pod
            self.probe()

    def change(self, number: int) -> None:
        """A pod becomes ready, or is so no more, or begins to drain."""
        pod = self.pods[number % len(self.pods)]
        pod.ready, pod.draining = not pod.ready, number % 5 == 0
        self.publish()

    def replace(self, number: int) -> None:
        self.names += 1
        self.pods[number % len(self.pods)] = Pod(self.loop, self.names)
        self.publish()

    def wait(self, number: int) -> None:
        self.advance((0.1, 1.0, 6.0, 31.0)[number % 4])

    def relimit(self, number: int) -> None:
        limits = LIMITS[number % len(LIMITS)]
        self.gateway.hand_out(self.backend.relimit(limits, self.loop.now), self.loop.now)
        self.loop.run()

    def reroute(self, number: int) -> None:
        """Another table: with a copy of each request, a fallback, both, or none of them."""
        small, dark = self.gateway.backends["small"], self.gateway.backends["dark"]
        mirror = Mirror(
            BackendRef(dark, "iris", TIMEOUTS), Turns(1.0), 100.0, compare=Compare(0.0, Turns(1.0))
        )
        fallback = Fallback(BackendRef(small, "iris", TIMEOUTS), 0.5)
        steering = Steering(mirror=mirror if number & 1 else None, fallback=fallback if number & 2 else None)
        self.gateway.table = RouteTable(
            (Route("iris", Split({"iris": self.ref}, {"iris": 1}), steering=steering),)
        )

    def remove(self, _number: int) -> None:
        """The configuration names the Backend no more, or again."""
        gateway = self.gateway
        if gateway.backends.pop("iris", None) is not None:
            gateway.retiring["iris"] = self.backend
            gateway.apply(self.backend, self.backend.remove(self.loop.now))
        else:
            gateway.backends["iris"] = gateway.retiring.pop("iris")
            self.backend.revive()
        self.loop.run()

    def only(self, number: int) -> None:
        """The spare pod and the one that gets copies come and go."""
        name = ("small", "dark")[number % 2]
        pod = self.others[name]
        pod.ready = not pod.ready
        self.tell(name, pod)

    # -- what holds

    def assert_laws(self) -> None:
        for backend in (self.backend, *self.gateway.backends.values()):
            free = [
                endpoint
                for endpoint in backend.endpoints.values()
                if endpoint.available and endpoint.in_flight < backend.limits.concurrency
            ]
            assert not (backend.breaker.queued and free), (backend, free)
            assert all(endpoint.in_flight <= HIGHEST for endpoint in backend.endpoints.values())
            assert backend.stats.begun - backend.stats.ended == backend.in_flight + backend.breaker.queued

    async def end_well(self) -> None:
        """Every pod accepts and is ready, nobody asks any more, and all who did are answered."""
        if "iris" not in self.gateway.backends:
            self.remove(0)
        self.relimit(LIMITS.index(replace(LIMITS[0], ejection=ONCE)))
        for pod in (*self.pods, *self.others.values()):
            self.loop.listening[pod.port] = pod
            pod.ready, pod.draining = True, False
        self.publish()
        for name, pod in self.others.items():
            self.tell(name, pod)
        self.probe()
        for client in self.clients:
            if not client.received:
                client.send(b"lo")
        for _ in range(40):
            await settle()
            for link in self.links:
                if link.take():
                    link.say(OK)
            self.advance(0.5)
        for client in self.clients:
            client.vanish()
        # Connections that stood still all the time are over by then.
        self.advance(25)
        await settle()

    def assert_nothing_left(self) -> None:
        self.assert_at_rest()
        for name in self.others:
            backend = self.gateway.backends[name]
            assert (backend.in_flight, backend.breaker.queued) == (0, 0), backend
            assert backend.stats.begun == backend.stats.ended
        mirrors = self.gateway.mirrors
        assert (self.gateway.buffered.held, mirrors.held) == (0, 0)
        assert [item.in_flight for item in mirrors.traffic.values()] == [0] * len(mirrors.traffic)
        assert not self.gateway.clients

    async def assert_every_pod_serves(self) -> None:
        """With one request each, sent at once, none of the pods is left out."""
        clients = [self.client().send(GET) for _ in self.pods]
        await settle()
        assert [endpoint.in_flight for endpoint in self.backend.endpoints.values()] == [1] * len(self.pods)
        for client in clients:
            client.vanish()


HAPPENINGS: dict[str, Any] = {
    name: getattr(Crowd, name)
    for name in (
        "ask", "go_on", "vanish", "answer", "hang_up", "listen", "change", "replace", "wait", "relimit", "reroute", "remove", "only",
    )
}  # fmt: skip
HAPPENS_OFTEN = ("ask", "ask", "ask", "answer", "answer", *HAPPENINGS)
STEPS = st.lists(st.tuples(st.sampled_from(HAPPENS_OFTEN), st.integers(0, 23)), min_size=20, max_size=80)


async def play(steps: list[tuple[str, int]]) -> None:
    world = Crowd()
    for name, number in steps:
        HAPPENINGS[name](world, number)
        await settle()
        world.loop.run()
        world.assert_laws()
    await world.end_well()
    world.assert_nothing_left()
    await world.assert_every_pod_serves()


@settings(max_examples=400)
@given(STEPS)
@example([("ask", 0), ("answer", 2), ("ask", 1), ("ask", 0), ("hang_up", 0), ("hang_up", 1)])
def test_whatever_happens_nobody_waits_for_nothing_and_nothing_is_left(steps: list[tuple[str, int]]) -> None:
    """Clients that leave, pods that fail, come and go, reloads: see `Crowd`."""
    asyncio.run(play(steps))
