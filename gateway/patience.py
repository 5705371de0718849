"""How long those who wait may wait, when that is over, and what they are told: a Backend's clocks and the pace of its queue.

Core. Two clocks make waiting fair: one runs while a pod is available and bounds the wait for a slot (`queue.timeout`), the other runs while none is
and bounds the wait for a start (`activation.timeout`). The pace is how many waiters got a slot per second, lately, while somebody waited and a pod was
available. It says when to come again, and who comes in vain: whoever has far more in front of it than the pace can take in its time is told at
once. Nobody may be refused who would have been served, so that only a sound pace counts: somebody has waited for as long as anyone may, with
the same pods all the time, and none on its way or out, which may come back. Who waits already, with less time left than an answer takes, gives
way to those behind it: first in, first out would serve each just before its time is over, and none in time. Each `Backend` has one of these.
"""

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from gateway.errors import ACTIVATION_TIMEOUT, CONNECT_FAILED, QUEUE_TIMEOUT, GatewayError
from gateway.timers import TICK, Stopwatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.activator import Activator
    from gateway.breaker import Breaker, Endpoint, Waiter
    from gateway.limits import Limits

SOUND = 9
"""Grants from which a pace is known: the eight times between them."""
KEPT = 33
MARGIN = 1.5
"""A wait counts as too long when it is expected to take so many times what it may: of eight times that are exponential, one average in ten is off by more."""
SERVICES = 8
"""Answers over which their time is averaged, the latest with the most weight. In simulations of twice and five times the load, with answers that take
equally long, or are exponential, or one in five of them 13 times as long, 79 to 100 % of what pods do is in time with 8; none without any of this.
"""
STALE = 60.0
"""Seconds without anybody waiting after which the pace is measured anew."""
LONGEST_RETRY = 60.0
"""Seconds that a client is asked to stay away at most."""


class Pace:
    """How fast a queue moves: by a clock that stands still while there is none, or no pod to serve it."""

    __slots__ = ("_grants", "_paused", "_stood_still", "total")

    def __init__(self) -> None:
        self._stood_still = 0.0
        """Seconds so far."""
        self.total = 0
        """Grants so far, for averages over a longer time."""
        self._paused: float | None = 0.0
        """Since when it stands still."""
        self._grants: deque[float] = deque(maxlen=KEPT)
        """By that clock."""

    def run(self, *, running: bool, now: float) -> None:
        if running and self._paused is not None:
            paused, self._paused = now - self._paused, None
            self._stood_still += paused
            if paused > STALE:
                self.forget()
        elif not running and self._paused is None:
            self._paused = now

    def granted(self, now: float) -> None:
        self._grants.append(now - self._stood_still)
        self.total += 1

    def forget(self) -> None:
        self._grants.clear()

    def per_second(self, now: float) -> float | None:
        """None: not known."""
        grants = self._grants
        if len(grants) < SOUND:
            return None
        # Until now, not until the last one: a queue that stands still gets slower.
        until = now if self._paused is None else self._paused
        seconds = until - self._stood_still - grants[0]
        return (len(grants) - 1) / seconds if seconds > 0 else None

    def __repr__(self) -> str:
        return f"<Pace of {len(self._grants)} grants>"


class Patience:
    """One Backend's."""

    def __init__(
        self,
        backend: str,
        limits: "Limits",
        breaker: "Breaker",
        activator: "Activator",
        endpoints: "Mapping[str, Endpoint]",
    ) -> None:
        self.limits = limits
        self.steady_since = inf
        """Since when somebody waits with the same pods, and none that may still come; infinity: it is not so. The pace tells a newcomer what is to
        come only once that has lasted for all of the time that it may wait.
        """
        self.pace = Pace()
        self.service = 0.0
        """Seconds to leave for an answer where there is a deadline: what they take lately, from the slot to the last byte, and more for each that
        came too late. Answers that take longer than others are missing from an average of those that were in time.
        """
        self._backend = backend
        self._breaker = breaker
        self._activator = activator
        self._endpoints = endpoints
        self._served = Stopwatch()
        self._capacity = (0, limits.concurrency)
        self._before = 0
        """Grants until it became steady."""
        self._growing = False
        """A pod is on its way, or may come back: the pace will be another."""

    def begin(self, waiter: "Waiter", now: float) -> None:
        """It waits from now on; it is in the queue already."""
        waiter.served_at = self._served.read(now)
        if len(self._breaker.waiting) == 1:
            self.queue_changed(now)

    def queue_changed(self, now: float) -> None:
        """There is a queue now, or none any more."""
        breaker = self._breaker
        running = bool(breaker.waiting) and breaker.available > 0
        self.pace.run(running=running, now=now)
        if not running or self._growing:
            self.steady_since = inf
        elif self.steady_since == inf:
            self.steady_since = now
            self._before = self.pace.total

    def relimit(self, limits: "Limits") -> None:
        """Other limits hold; `pods_changed` next."""
        if limits != self.limits:
            self.limits = limits
            self.steady_since = inf

    def pods_changed(self, now: float, *, growing: bool) -> None:
        """Other pods may be available, or each takes more or fewer requests; `growing`: one is on its way, or may come back."""
        breaker = self._breaker
        available = breaker.available > 0
        self._served.set(running=available, now=now)
        self._growing = growing
        capacity = (breaker.available, breaker.limit)
        if capacity != self._capacity:
            self._capacity = capacity
            self.pace.forget()
            self.steady_since = inf
        self.queue_changed(now)

    def answered(self, seconds: float) -> None:
        """A request with a deadline has its answer, so long after it had its slot."""
        self.service += (seconds - self.service) / SERVICES if self.service else seconds

    def missed(self, seconds: float, most: float) -> None:
        """One had a slot for so long, and its time of `most` seconds was over first: a pod has worked for nothing."""
        self.service = min(most, max(self.service, seconds) * (1 + 1 / SERVICES))

    def hopeless(self, waiter: "Waiter", now: float) -> GatewayError | None:
        """Why a newcomer need not wait: its turn would come too late. Never said of the first in a queue, or of a tenant.

        Those in front may give up before their turn: as many as get a slot are let in all the same, so that no pod is ever idle for this.
        """
        seconds = min(self.limits.queue_timeout, waiter.due - self.service - now)
        if now < self.steady_since + seconds:
            return None
        breaker = self._breaker
        ahead = breaker.ahead(waiter)
        pace = self.pace.per_second(now) if ahead else None
        if pace is None:
            return None
        # Pods that stall for a moment are slow lately: what they did over all that time counts if it was more.
        if now > self.steady_since:
            pace = max(pace, (self.pace.total - self._before) / (now - self.steady_since))
        # Slots may all come free together, the next moment: so many grants are there or not, whatever the pace.
        most = MARGIN * pace * seconds + breaker.limit * breaker.available
        last = breaker.newest_ahead(waiter) if ahead > most else None
        if last is None or now - last.since >= 1 / pace:
            return None
        detail = (
            f"{ahead} requests wait in front of this one for backend {self._backend}, which takes on {pace:.3g} per second: "
            f"its turn would not come within {max(0.0, seconds):.3g} s"
        )
        return GatewayError(QUEUE_TIMEOUT, detail, self.retry_after(now))

    def too_late(self, waiter: "Waiter", now: float) -> GatewayError | None:
        """Why a slot would be lost on it: its deadline is nearer than an answer, which those behind it may still get in time."""
        left = waiter.due - now
        # Who has less than a tick to spare might be sent too late before the next look.
        if left >= self.service + TICK or not self.service or not self._breaker.available:
            return None
        detail = (
            f"waited {now - waiter.since:.3g} s for backend {self._backend}, whose answers take {self.service:.3g} s lately: "
            f"{max(0.0, left):.3g} s are left of its time, and others wait"
        )
        return GatewayError(QUEUE_TIMEOUT, detail, self.retry_after(now))

    def starved(self, waiter: "Waiter", now: float) -> float:
        """Seconds of its wait in which no pod was available."""
        return now - waiter.since - (self._served.read(now) - waiter.served_at)

    def overdue(self, waiter: "Waiter", now: float) -> GatewayError | None:
        """Why it has waited long enough; None while it has not."""
        limits, waited = self.limits, now - waiter.since
        served = self._served.read(now) - waiter.served_at
        if served >= limits.queue_timeout:
            detail = f"waited {waited:.1f} s for a free slot of backend {self._backend}"
            return GatewayError(QUEUE_TIMEOUT, detail, self.retry_after(now))
        if self.starved(waiter, now) < limits.activation_timeout:
            return None
        if waiter.avoid:
            return self._unconnected(waiter, waited)
        why = self._activator.pending or self._out() or ("its scaling is paused" if limits.paused else "")
        because = f": {why}" if why else ""
        detail = f"no pod of backend {self._backend} became ready in {waited:.1f} s{because}"
        return GatewayError(ACTIVATION_TIMEOUT, detail, LONGEST_RETRY if limits.paused else 1)

    def retry_after(self, now: float) -> float:
        """When those who wait will be gone, by the pace; while that is not known, as long as the first has waited."""
        pace, first = self.pace.per_second(now), self._breaker.first()
        if pace is None:
            seconds = 0.0 if first is None else min(now - first.since, self.limits.queue_timeout)
        else:
            seconds = self._breaker.queued / pace
        return min(max(1.0, seconds), LONGEST_RETRY)

    def _out(self) -> str:
        """What its ready pods are out for, where that is why none may be had."""
        pods = [_reason(endpoint) for endpoint in self._endpoints.values() if endpoint.ready and endpoint.out]
        return "; ".join(pods[:3]) + (f"; and {len(pods) - 3} more" if len(pods) > 3 else "")

    def _unconnected(self, waiter: "Waiter", waited: float) -> GatewayError:
        pods = ", ".join(map(_refused, dict.fromkeys(waiter.avoid)))
        detail = f"backend {self._backend}: {pods} refused or lost the connection and no other pod became ready in {waited:.1f} s"
        return GatewayError(CONNECT_FAILED, detail)

    def __repr__(self) -> str:
        return f"<Patience {self._backend} {self.pace!r}>"


def _reason(endpoint: "Endpoint") -> str:
    why = (f"{words or 'it refused or lost a connection'} ({cause})" for cause, words in endpoint.out.items())
    return f"{endpoint.address} is out: {', '.join(why)}"


def _refused(endpoint: "Endpoint") -> str:
    why = f" ({endpoint.refusal})" if endpoint.refusal else ""
    return f"{endpoint.address}{why}"
