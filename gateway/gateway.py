"""What all Exchanges of one gateway share: the table, the Backends, the clock, the wheel, and the handing out of freed slots.

It decides nothing: Backends say who was granted or refused, and this tells them. `server` owns one, fills it from the
configuration, and sets the two hooks through which news leaves: a nudge to the autoscalers, a suspect Endpoint to the prober.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from typing import Protocol

from gateway.admission import Admission
from gateway.backend import Backend, Verdict
from gateway.breaker import Endpoint, Waiter
from gateway.buffered import Buffered
from gateway.chores import Chores
from gateway.errors import Fault, GatewayError
from gateway.forwarded import ForwardedPolicy
from gateway.http1 import HeadLimits
from gateway.mirrors import Mirrors
from gateway.pool import ConnectionPool
from gateway.report import Reporter
from gateway.routing import RouteTable
from gateway.sockets import Lookout
from gateway.stats import Traffic
from gateway.sticky import TOKEN_BYTES
from gateway.terms import BackendRef, Timeouts
from gateway.timers import TimerWheel

logger = logging.getLogger(__name__)


class Client(Protocol):
    """An open connection from a client."""

    def shut(self) -> None:
        """Close it if it is idle."""

    def reset(self) -> None:
        """Close it whatever it does."""


class Gateway:
    """The state of one gateway process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.now = loop.time
        self.wheel = TimerWheel(loop.time())
        self.table: RouteTable[BackendRef] = RouteTable(())
        self.backends: dict[str, Backend] = {}
        self.retiring: dict[str, Backend] = {}
        """Removed from the configuration, with requests still in flight, or waiting for another try."""
        self.timeouts = Timeouts()
        """What holds until a Route is known."""
        self.head_limits = HeadLimits()
        self.head_timeout = 10.0
        """Seconds from a connection's or a request's first moment to its head's last byte."""
        self.details = True
        """Clients are told the details of what went wrong behind us."""
        self.unrouted = Traffic("", "")
        """Requests that met no Route."""
        self.without = {"": self.unrouted}
        """Requests that met no Backend, by Route: those, and those that a Route answered by itself."""
        self.forwarding = ForwardedPolicy()
        self.admission = Admission()
        self.buffered = Buffered()
        self.mirrors = Mirrors()
        self.ranked = False
        """Some Route gives its requests a priority."""
        self.lookout = Lookout()
        self.chores = Chores(loop.call_soon)
        self.clients: set[Client] = set()
        self.turned_away: set[object] = set()
        """Connections beyond the limits that may still read why."""
        self.draining = False
        self.on_nudge: Callable[[Backend], None] = _nobody
        self.on_suspect: Callable[[Backend, Endpoint], None] = _nobody
        self._reporter = Reporter()
        self._ids = 0
        self._id_prefix = os.urandom(8).hex().encode() + b"-"

    def new_request_id(self) -> bytes:
        """Unique per gateway process, which the first half names."""
        self._ids += 1
        return b"%b%08x" % (self._id_prefix, self._ids)

    def traffic_of(self, route: str) -> Traffic:
        """The counts of a Route that answers by itself; they outlive the table."""
        traffic = self.without.get(route)
        if traffic is None:
            traffic = self.without[route] = Traffic(route, "")
        return traffic

    def draw(self) -> bytes:
        """Chance, for a cookie's value."""
        return os.urandom(TOKEN_BYTES).hex().encode()

    def opened(self, client: Client) -> None:
        self.clients.add(client)

    def closed(self, client: Client) -> None:
        self.clients.discard(client)

    def pool(self, endpoint: Endpoint) -> ConnectionPool:
        """An Endpoint's connections, from the first request that goes there."""
        if endpoint.pool is None:
            endpoint.pool = ConnectionPool(
                endpoint.host, endpoint.port, self.loop, self.lookout, endpoint.trust
            )
        pool: ConnectionPool = endpoint.pool
        return pool

    def waits(self, backend: Backend) -> None:
        """A request has begun to wait, or nothing is left to serve those who do: tell the autoscalers if it is time."""
        if backend.nudge_due:
            backend.nudge_due = False
            self.on_nudge(backend)

    def suspect(self, backend: Backend, endpoint: Endpoint, refusal: str | None = None) -> None:
        """An Endpoint refused a connection, and why, or may be dying: it gets nothing new until a probe gets through."""
        if endpoint.suspect:
            return
        now = self.now()
        granted = backend.suspect(endpoint, now, suspect=True, refusal=refusal)
        self.waits(backend)
        self.on_suspect(backend, endpoint)
        # One more that is out may begin a panic, in which those that were out are used again.
        self.hand_out(granted, now)

    def trust(self, backend: Backend, endpoint: Endpoint) -> None:
        """It accepts connections again."""
        now = self.now()
        self.hand_out(backend.suspect(endpoint, now, suspect=False), now)

    def answered(self, backend: Backend, endpoint: Endpoint, status: int, *, begun: bool = False) -> None:
        """An Endpoint answered, or failed to: that may put it out, or bring it back. `begun`: its answer broke off."""
        now, ejections = self.now(), backend.ejections
        told = ejections.cut(endpoint, now) if begun else ejections.answered(endpoint, status, now)
        if told is not None:
            self.shift(backend, [told], now)

    def checked(self, backend: Backend, endpoint: Endpoint, failure: str | None) -> None:
        """An Endpoint has passed its health checks, or failed them, and how."""
        now = self.now()
        ejections = backend.ejections
        told = (
            ejections.passed_checks(endpoint, now)
            if failure is None
            else ejections.failed_checks(endpoint, failure)
        )
        if told is not None:
            self.shift(backend, [told], now)

    def shift(self, backend: Backend, told: Iterable[str], now: float) -> None:
        """Who is out has changed."""
        for line in told:
            logger.warning("%s", line)
        self.hand_out(backend.settle(now), now)
        self.waits(backend)

    def hand_out(self, granted: Iterable[tuple[Waiter, Endpoint]], now: float) -> None:
        for waiter, endpoint in granted:
            waiter.request.granted(endpoint, now)

    def turn_away(self, refused: Iterable[tuple[Waiter, GatewayError]]) -> None:
        """Tell those who waited that they do so no more."""
        for waiter, error in refused:
            waiter.request.refused(error)

    def displace(self, size: int, priority: int) -> bool:
        """Hold so many bytes in place of those that wait with a lower priority: the lowest first, of those the newest. False when they do
        not have so much, and nobody has to go.
        """
        if not self.ranked:
            return False
        short = self.buffered.short(size)
        victims: dict[Backend, list[Waiter]] = {}
        lines = [_lower(backend, priority) for backend in self.backends.values() if backend.breaker.queued]
        for backend, waiter in merge(*lines, key=_worst_first):
            if short <= 0:
                break
            if waiter.request.held:
                short -= waiter.request.held
                victims.setdefault(backend, []).append(waiter)
        if short > 0:
            return False
        now = self.now()
        for backend, waiters in victims.items():
            self.turn_away(backend.displace(waiters, now))
        return self.buffered.hold(size)

    def report(self, error: GatewayError, backend: str, request_id: bytes) -> None:
        """Log a failure that is not the client's own."""
        if error.reason.fault is not Fault.DOWNSTREAM:
            for line in self._reporter.lines(error, backend, request_id, self.now()):
                logger.warning("%s", line)

    def apply(self, backend: Backend, verdict: Verdict) -> None:
        """Tell everyone what a change of a Backend meant for them."""
        for endpoint in (*verdict.gone, *verdict.renewed):
            if endpoint.pool is not None:
                endpoint.pool.close()
                endpoint.pool = None
        self.hand_out(verdict.granted, self.now())
        self.turn_away(verdict.refused)
        self.waits(backend)

    def tick(self) -> None:
        """Turn the wheel and end the waits that are over; many times a second."""
        now = self.now()
        self.wheel.turn(now)
        self.lookout.turn()
        for backend in (*self.backends.values(), *self.retiring.values()):
            if backend.restless and backend.due <= now:
                self.shift(backend, backend.turn(now), now)
            if backend.breaker.queued:
                self.turn_away(backend.expire(now))

    def reap(self) -> None:
        """Close pooled connections that have aged, and tell of panics; about once a second."""
        now = self.now()
        for backend in self.backends.values():
            news = backend.ejections.news()
            if news is not None:
                logger.warning("%s", news)
            for endpoint in backend.endpoints.values():
                if endpoint.pool is not None:
                    endpoint.pool.reap(now)

    def __repr__(self) -> str:
        return f"<Gateway {len(self.backends)} backends, {len(self.clients)} connections{', draining' if self.draining else ''}>"


def _lower(backend: Backend, priority: int) -> Iterator[tuple[Backend, Waiter]]:
    return ((backend, waiter) for waiter in backend.breaker.worse(priority))


def _worst_first(item: tuple[Backend, Waiter]) -> tuple[int, float]:
    _, waiter = item
    return waiter.standing.priority, -waiter.since


def _nobody(*_: object) -> None:
    """Until the server listens."""
