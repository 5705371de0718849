"""One Backend: its Breaker, its Activator and its statistics under one roof, so that they never disagree.

Every request enters once (`enter` or `wait`) and leaves once (`leave`, `give_up`, or in what `expire` and `update` return);
between the two it is either in flight on an Endpoint or in the queue. Methods return who was granted or refused; the caller, at
the edge, tells them. `patience` says who has waited long enough, and who need not begin to.
"""

from collections.abc import Iterable, Iterator

from gateway.activator import Activator, Outcome
from gateway.breaker import Breaker, Endpoint, Waiter
from gateway.door import Door
from gateway.ejection import Ejections
from gateway.endpoint import EndpointInfo, Endpoints
from gateway.errors import BACKEND_REMOVED, CANNOT_START, GatewayError, Reason
from gateway.limits import Limits
from gateway.patience import Patience
from gateway.slowstart import Warming
from gateway.standing import Standing
from gateway.stats import BackendStats, Traffic
from gateway.waiter import Refusals, Verdict

__all__ = ["Backend", "EndpointInfo", "Endpoints", "Limits", "Verdict"]

RETRIES_LEAST = 3
"""Retries under way at once that a Backend has in any case: with few requests a share of them would be none."""


class Backend:
    """One scalable set of equal pods, whatever Routes lead to it."""

    def __init__(self, name: str, limits: Limits, now: float) -> None:
        self.name = name
        self.limits = limits
        self.breaker = Breaker(limits.concurrency, limits.depth, limits.picking)
        self.activator = Activator()
        self.endpoints: dict[str, Endpoint] = {}
        self.patience = Patience(name, limits, self.breaker, self.activator, self.endpoints)
        self.stats = BackendStats(now)
        self.door = Door(name, self.breaker, self.patience, self.stats.sheds)
        self.traffic: dict[str, Traffic] = {}
        """By the Route's name."""
        self.ejections = Ejections(name, self.breaker, self.endpoints)
        self.restless = False
        """Time alone may change something: who gets how much, or who is out."""
        self._warming = Warming(self.breaker)
        self._leaving: dict[tuple[str, str, int], Endpoint] = {}
        """Named no more, with requests still open to them."""
        self.nudge_due = False
        """Somebody should tell the autoscalers now; whoever does sets it back."""
        self.removed = False
        self._retrying = 0
        self._configure(now)

    def traffic_of(self, route: str) -> Traffic:
        traffic = self.traffic.get(route)
        if traffic is None:
            traffic = self.traffic[route] = Traffic(route, self.name)
        return traffic

    # -- a request's way

    def enter(self, now: float, key: int | None = None) -> Endpoint | None:
        """Begin a request on a free slot; None when it has to `wait`. `key`: see `Waiter`."""
        endpoint = self.breaker.acquire(key)
        if endpoint is not None:
            stats = self.stats
            stats.begun += 1
            # Integral.add(1, now), in one piece: this is every request's way.
            in_flight = stats.in_flight
            value = in_flight.value
            in_flight.sum += value * (now - in_flight.since)
            in_flight.since = now
            in_flight.value = value + 1
        return endpoint

    def wait(self, waiter: Waiter, now: float) -> Refusals:
        """Begin a request in the queue; returns those that were pushed out for it.

        Raises GatewayError: queue_full, queue_timeout when its turn would come too late, cannot_start, or backend_removed.
        """
        if self.removed or self.activator.cannot_start is not None:
            self._refuse_if_hopeless()
        victims = self.door.admit(waiter, now)
        pushed = self._push_out(victims, now) if victims else []
        self.stats.begun += 1
        self._queue(waiter, now)
        return pushed

    def grow(self, waiter: Waiter, size: int, now: float) -> Refusals:
        """The same when more of its body has come. Raises GatewayError: queue_full; then it still waits."""
        pushed = self._push_out(self.door.room(waiter, 0, size, now), now)
        self.breaker.grow(waiter, size)
        return pushed

    def displace(self, waiters: list[Waiter], now: float) -> Refusals:
        """The gateway's memory is needed for others: these wait no longer."""
        refused = self._refuse(waiters, self.door.displaced(len(waiters), now), now)
        if not self.breaker.queued:
            self._start_over("abandoned", now)
        return refused

    def again(self, waiter: Waiter, endpoint: Endpoint, now: float) -> list[tuple[Waiter, Endpoint]]:
        """Put a request whose Endpoint failed it before an answer back, in front of the queue; returns the grants.

        Raises GatewayError: cannot_start, or backend_removed; then it still holds its slot.
        """
        if not self.breaker.available:
            self._refuse_if_hopeless()
        self.stats.in_flight.add(-1, now)
        self.breaker.release(endpoint)
        self.ends(waiter.standing, now)
        self._queue(waiter, now, first=True)
        granted = self.grants(now)
        if granted:
            self.patience.pace.granted(now)
        return granted

    def leave(self, endpoint: Endpoint, now: float) -> list[tuple[Waiter, Endpoint]]:
        """End a request that held a slot; returns who got it."""
        stats = self.stats
        stats.ended += 1
        stats.in_flight.add(-1, now)
        breaker = self.breaker
        if endpoint.listed:  # Breaker.release, in one piece
            breaker.picker.give_back(endpoint)
        else:
            breaker.release(endpoint)
        if not breaker.waiting:
            return []
        granted = self.grants(now)
        if granted:
            self.patience.pace.granted(now)
        return granted

    def begins(self, standing: Standing, now: float) -> None:
        """A request that did not wait has a slot, which is put on its tenant's account if anybody keeps one."""
        if standing.metered and self.breaker.fair is not None:
            self.breaker.fair.begin(standing.tenant, now)

    def ends(self, standing: Standing, now: float) -> None:
        """It has it no more."""
        if standing.metered and self.breaker.fair is not None:
            self.breaker.fair.end(standing.tenant, now)

    def give_up(self, waiter: Waiter, now: float) -> bool:
        """End a request that waits, of its own will; False when it waits no more."""
        if not self.breaker.withdraw(waiter):
            return False
        self._unqueued(waiter, now)
        self.stats.ended += 1
        if not self.breaker.queued:
            self._start_over("abandoned", now)
            self.patience.queue_changed(now)
        return True

    def begin_retry(self, share: float) -> bool:
        """Take one retry from the budget, for a request that is in flight; `end_retry` gives it back. False when there is none.

        Retries under way are at most `share` of the requests that are none: a fifth on top is all that an outage can make of them.
        """
        retrying = self._retrying + 1
        if retrying > max(RETRIES_LEAST, share * (self.in_flight + self.breaker.queued - retrying)):
            self.stats.retries_denied += 1
            return False
        self._retrying = retrying
        return True

    def end_retry(self) -> None:
        self._retrying -= 1

    # -- what changes around it

    def update(self, news: Endpoints, now: float) -> Verdict:
        """Take over what is now known of the pods."""
        verdict = Verdict()
        first: list[Endpoint] = []
        known = {info.uid: (info.host, info.port) for info in news.pods}
        for uid in [uid for uid, e in self.endpoints.items() if known.get(uid) != (e.host, e.port)]:
            endpoint = self.endpoints.pop(uid)
            endpoint.ready = False
            self.breaker.update(endpoint)
            self.ejections.dismiss(endpoint)
            self._warming.forget(endpoint)
            verdict.gone.append(endpoint)
        # One that is named again, as a fixed URL may be, still has what was open to it: its limit holds over all of that.
        leaving = {
            (e.uid, e.host, e.port): e for e in (*self._leaving.values(), *verdict.gone) if e.in_flight
        }
        for info in news.pods:
            returned = leaving.pop((info.uid, info.host, info.port), None)
            known_as = self.endpoints.get(info.uid)
            endpoint = known_as or returned or Endpoint(info.uid, info.host, info.port)
            self.endpoints[info.uid] = endpoint
            endpoint.ready, endpoint.draining = info.ready, info.draining
            if known_as is None:
                self.ejections.admit(endpoint)
            if endpoint.trust != info.trust:
                endpoint.trust = info.trust
                verdict.renewed.append(endpoint)
            unused = endpoint.number < 0
            self.breaker.update(endpoint)
            if unused and endpoint.listed:
                first.append(endpoint)
        self.ejections.settle()
        self._warming.begin(first, now)
        self._leaving = leaving
        self.activator.cannot_start = news.cannot_start
        self.activator.pending = news.pending
        self._availability(now)
        verdict.granted = self.grants(now)
        if news.cannot_start is not None and not self.breaker.available:
            verdict.refused = self._refuse_all(now, CANNOT_START, news.cannot_start)
            self._start_over("cannot_start", now)
        return verdict

    def suspect(
        self, endpoint: Endpoint, now: float, *, suspect: bool, refusal: str | None = None
    ) -> list[tuple[Waiter, Endpoint]]:
        """An Endpoint refused a connection, and why, or accepts again; returns the grants."""
        if suspect:
            self.ejections.suspect(endpoint, refusal)
        else:
            self.ejections.trust(endpoint)
        return self.settle(now)

    def settle(self, now: float) -> list[tuple[Waiter, Endpoint]]:
        """Who is out has changed; returns the grants."""
        self._availability(now)
        return self.grants(now)

    @property
    def due(self) -> float:
        """When to `turn` next."""
        return min(self.ejections.due, self._warming.due)

    def turn(self, now: float) -> list[str]:
        """What time alone has brought about, in words; `settle` next."""
        if now >= self._warming.due:
            self._warming.turn(now)
        return self.ejections.turn(now) if now >= self.ejections.due else []

    def relimit(self, limits: Limits, now: float) -> list[tuple[Waiter, Endpoint]]:
        """Take over new limits: a lowered one stops new grants only; returns the grants of a raised one."""
        self.limits = limits
        self._configure(now)
        return self.settle(now)

    def remove(self, now: float) -> Verdict:
        """The configuration names it no more: what is in flight goes on, nobody waits any longer.

        Its Endpoints stay known until nothing is in flight, so that they can be drained; `revive` takes it back.
        """
        self.removed = True
        detail = f"backend {self.name} was removed from the configuration"
        verdict = Verdict(refused=self._refuse_all(now, BACKEND_REMOVED, detail))
        self._start_over("abandoned", now)
        return verdict

    def revive(self) -> None:
        """The configuration names it again."""
        self.removed = False

    def expire(self, now: float) -> Refusals:
        """Take out whoever has waited too long. O(1) when nobody has: the first has waited longest, but for those that were put
        back in front: their time began anew.
        """
        expired: Refusals = []
        others = self.breaker.queued - 1
        for waiter in self.breaker.waiting:
            error = self.patience.overdue(waiter, now)
            if error is None and others > len(expired):
                error = self.door.put_off(waiter, now)
            if error is not None:
                expired.append((waiter, error))
            elif not waiter.avoid:
                break
        self._take_out(expired, now)
        if expired and not self.breaker.queued:
            self._start_over("timeout", now)
        return expired

    def grants(self, now: float) -> list[tuple[Waiter, Endpoint]]:
        """Give free slots to those who wait."""
        granted = self.breaker.grants(now)
        for waiter, _ in granted:
            self._unqueued(waiter, now)
            self.stats.in_flight.add(1, now)
        if granted and not self.breaker.waiting:
            self.patience.queue_changed(now)
        return granted

    @property
    def in_flight(self) -> int:
        return self.stats.in_flight.value

    def draining(self) -> Iterator[Endpoint]:
        return (endpoint for endpoint in self.endpoints.values() if endpoint.draining)

    # -- inside

    def _configure(self, now: float) -> None:
        limits, breaker = self.limits, self.breaker
        self.patience.relimit(limits)
        breaker.limit, breaker.depth, breaker.bytes_limit = limits.concurrency, limits.depth, limits.bytes
        breaker.requeue(limits.discipline, now)
        if limits.picking != breaker.picking:
            breaker.repick(limits.picking, self.endpoints.values())
        self.ejections.configure(limits.ejection, limits.panic, now, checked=limits.checked)
        self.restless = limits.slow_start > 0 or limits.ejection is not None
        self._warming.seconds = limits.slow_start
        self._warming.turn(now)

    def _queue(self, waiter: Waiter, now: float, *, first: bool = False) -> None:
        breaker = self.breaker
        if not breaker.available:
            waiter.cold = waiter.cold or self._starting
        breaker.enqueue(waiter, now, first=first)
        self.patience.begin(waiter, now)
        self.stats.queued.add(1, now)
        if not breaker.available:
            self._ask(now)

    def _unqueued(self, waiter: Waiter, now: float) -> None:
        stats = self.stats
        waited = now - waiter.since
        stats.queued.add(-1, now)
        stats.waits += 1
        stats.wait_seconds += waited
        stats.queue_wait.observe(waited)

    def _refuse_if_hopeless(self) -> None:
        if self.removed:
            raise GatewayError(BACKEND_REMOVED, f"backend {self.name} was removed from the configuration", 1)
        if self.activator.cannot_start is not None and not self.breaker.available:
            raise GatewayError(CANNOT_START, self.activator.cannot_start)

    def _push_out(self, waiters: list[Waiter], now: float) -> Refusals:
        return self._refuse(waiters, self.door.pushed_out(len(waiters), now), now) if waiters else []

    def _refuse(self, waiters: Iterable[Waiter], error: GatewayError, now: float) -> Refusals:
        refused = [(waiter, error) for waiter in waiters]
        self._take_out(refused, now)
        return refused

    def _take_out(self, refused: Refusals, now: float) -> None:
        for waiter, _ in refused:
            self.breaker.withdraw(waiter)
            self._unqueued(waiter, now)
        self.stats.ended += len(refused)
        if refused and not self.breaker.queued:
            self.patience.queue_changed(now)

    def _refuse_all(self, now: float, reason: Reason, detail: str) -> Refusals:
        return self._refuse(self.breaker.waiting, GatewayError(reason, detail), now)

    def _availability(self, now: float) -> None:
        growing = any(not (e.available or e.draining) for e in self.endpoints.values())
        self.patience.pods_changed(now, growing=growing or self.activator.pending is not None)
        if self.breaker.available:
            self._start_over("ready", now)
        else:
            self._ask(now)

    def _ask(self, now: float) -> None:
        queued = self.breaker.queued
        if not queued or self.breaker.available:
            return
        if self.activator.wanted(queued, now, starting=self._starting):
            self.nudge_due = True

    @property
    def _starting(self) -> bool:
        """No pod is ready, not even one that drains or is suspect: whoever waits, waits for a start."""
        return not self.breaker.available and not any(e.ready for e in self.endpoints.values())

    def _start_over(self, outcome: Outcome, now: float) -> None:
        seconds = self.activator.over(now, ready=outcome == "ready")
        if seconds is None:
            return
        stats = self.stats
        stats.cold_starts[outcome] = stats.cold_starts.get(outcome, 0) + 1
        if outcome == "ready":
            stats.cold_start.observe(seconds)

    def __repr__(self) -> str:
        return f"<Backend {self.name} in_flight={self.in_flight} queued={self.breaker.queued} endpoints={len(self.endpoints)}>"
