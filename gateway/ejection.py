"""Who of a Backend's Endpoints is out for now, why, and when it may come back: the one place where that is decided.

Core. Causes, each with its own way back:
- connect: it refused a connection, or lost one with a request; back once a probe gets through (`endpoints.Prober`);
- consecutive_5xx, consecutive_gateway_errors, success_rate: what it answered, as Envoy's outlier detection has it; it is out for `base_time` times
  the number of its ejections. Then one request decides, or, where there are health checks, the next one that it passes;
- health: it failed its health checks; back once it passes them again (`health.Checker`).

Of ready pods only a share may be out for their answers, but one always may. When so many are out for answers or health that less than
`panic` of those that accept connections is left, all of these are used again: better a doubtful pod than the others overrun.
Methods return sentences for the log; the caller then has the Backend settle, since who waits may have got a slot.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, sqrt

from gateway.breaker import Breaker
from gateway.endpoint import CONNECT, NO_TRIAL, TRIAL_DUE, Endpoint

FIVES = "consecutive_5xx"
GATEWAY_ERRORS = "consecutive_gateway_errors"
SUCCESS_RATE = "success_rate"
HEALTH = "health"
_ANSWERS = frozenset((FIVES, GATEWAY_ERRORS, SUCCESS_RATE))
_GATEWAY_STATUSES = frozenset((502, 503, 504))


@dataclass(frozen=True)
class SuccessRate:
    """When an Endpoint answers so much worse than the others that it goes."""

    hosts: int = 5
    """Endpoints with enough requests that there must be to compare."""
    volume: int = 100
    """Requests in an interval that are enough."""
    factor: float = 1.9
    """Standard deviations below the mean."""


@dataclass(frozen=True)
class EjectionPolicy:
    """What puts an Endpoint out, and for how long. Envoy's defaults; times are seconds."""

    consecutive_5xx: int = 5
    """Answers in a row; 0: never for that. No answer in time, and a broken one, count as one."""
    consecutive_gateway_errors: int = 0
    """The same of 502, 503, 504 and no whole answer alone."""
    interval: float = 10.0
    """Between two looks at success rates; one without an ejection makes the next shorter."""
    base_time: float = 30.0
    max_time: float = 300.0
    max_share: float = 0.1
    success_rate: SuccessRate | None = field(default_factory=SuccessRate)


class Record:
    """How one Endpoint's answers were so far."""

    __slots__ = ("cuts", "fives", "gateway_errors", "requests", "successes", "times", "until")

    def __init__(self) -> None:
        self.fives = 0
        """In a row, until now."""
        self.gateway_errors = 0
        self.cuts = 0
        """Answers in a row that began and broke off; only a whole one ends the row, so that a pod that is back goes at the next."""
        self.requests = 0
        """Since the last look at success rates."""
        self.successes = 0
        self.times = 0
        """How often it was put out lately."""
        self.until = inf
        """When it has been out for long enough."""

    def __repr__(self) -> str:
        return f"<Record {self.successes}/{self.requests} fives={self.fives} times={self.times}>"


class Ejections:
    """The Endpoints of one Backend that are out for now."""

    def __init__(self, backend: str, breaker: Breaker, endpoints: Mapping[str, Endpoint]) -> None:
        self.policy: EjectionPolicy | None = None
        """None: answers put nobody out."""
        self.checked = False
        """Health checks decide who comes back."""
        self.panic = 0.5
        self.panicking = False
        self._told_panic = False
        self.due = inf
        """When to `turn` next."""
        self.counts: dict[str, int] = {}
        """Ejections so far, by cause."""
        self._backend = backend
        self._breaker = breaker
        self._endpoints = endpoints
        self._doubtful: dict[Endpoint, None] = {}
        """Out for another cause than `connect`."""
        self._next_look = inf

    def configure(self, policy: EjectionPolicy | None, panic: float, now: float, *, checked: bool) -> None:
        """What holds from now on. Who is out for what nobody asks about any more comes back."""
        lifted = (frozenset() if checked else {HEALTH}) | (_ANSWERS if policy is None else frozenset())
        if (policy is None) != (self.policy is None):
            self._next_look = inf if policy is None else now + policy.interval
            for endpoint in self._endpoints.values():
                endpoint.record = None if policy is None else Record()
        self.policy, self.panic, self.checked = policy, panic, checked
        for endpoint in list(self._doubtful):
            if endpoint.out.keys() & lifted:
                self._clear(endpoint, lifted)
                self._look_again(endpoint)
        self.settle()

    def admit(self, endpoint: Endpoint) -> None:
        """It is new, or named again: nothing is known against it, since nobody has looked at it meanwhile."""
        self._clear(endpoint, tuple(endpoint.out))
        endpoint.record = None if self.policy is None else Record()

    def dismiss(self, endpoint: Endpoint) -> None:
        """It is gone."""
        self._doubtful.pop(endpoint, None)

    # -- connections

    def suspect(self, endpoint: Endpoint, why: str | None) -> None:
        """It refused a connection, or may be dying."""
        if not endpoint.suspect:
            self._count(CONNECT)
        endpoint.out[CONNECT] = why or ""
        endpoint.barred = True
        self._look_again(endpoint)
        self.settle()

    def trust(self, endpoint: Endpoint) -> None:
        """It accepts connections again."""
        self._clear(endpoint, {CONNECT})
        self._look_again(endpoint)
        self.settle()

    # -- answers

    def answered(self, endpoint: Endpoint, status: int, now: float) -> str | None:
        """It answered, or failed to; 5xx is against it."""
        record: Record | None = endpoint.record
        policy = self.policy
        if record is None or policy is None or not self._knows(endpoint):
            return None
        record.requests += 1
        if status < 500:
            record.successes += 1
            record.fives = record.gateway_errors = 0
            return self._returned(endpoint, "it answered a request well") if endpoint.trial else None
        record.fives += 1
        record.gateway_errors = record.gateway_errors + 1 if status in _GATEWAY_STATUSES else 0
        if endpoint.trial:
            cause = next(iter(endpoint.out.keys() & _ANSWERS), FIVES)
            return self._eject(endpoint, cause, f"answered {status} when it was tried again", now)
        if endpoint.out.keys() & _ANSWERS:
            return None
        reached = self._reached(policy, record.fives, record.gateway_errors)
        if reached is None:
            return None
        count, what = record.gateway_errors, "a gateway error"
        if reached == FIVES:
            count, what = record.fives, "5xx"
        text = f"answered {_counted(count, 'request')} in a row with {what}, the last with {status}"
        return self._eject(endpoint, reached, text, now)

    def cut(self, endpoint: Endpoint, now: float) -> str | None:
        """What it had begun to answer broke off, or came to a stand: the head that counted as an answer was none."""
        record: Record | None = endpoint.record
        policy = self.policy
        if record is None or policy is None or not self._knows(endpoint):
            return None
        record.successes = max(0, record.successes - 1)
        record.cuts += 1
        if endpoint.out.keys() & _ANSWERS:
            return None
        reached = self._reached(policy, record.cuts, record.cuts)
        if reached is None:
            return None
        return self._eject(endpoint, reached, f"broke off {_counted(record.cuts, 'answer')} in a row", now)

    def whole(self, endpoint: Endpoint) -> None:
        """An answer of it has come to its end."""
        endpoint.record.cuts = 0

    def back_in(self, endpoint: Endpoint, now: float) -> float | None:
        """Seconds until it may come back, if it is out for its answers; 0: its next request or health check decides."""
        record: Record | None = endpoint.record
        return None if record is None or record.until == inf else max(0.0, record.until - now)

    def news(self) -> str | None:
        """Whether a panic has begun, or is over, since the last time that somebody asked."""
        if self.panicking == self._told_panic:
            return None
        self._told_panic = self.panicking
        if not self.panicking:
            return f"{self._backend}: enough pods are well again: only those get requests"
        return f"{self._backend}: {len(self._doubtful)} of {len(self._endpoints)} pods are out, and all of them get requests all the same (panic)"

    # -- health checks

    def failed_checks(self, endpoint: Endpoint, why: str) -> str | None:
        """It is not healthy any more."""
        if HEALTH in endpoint.out or not self._knows(endpoint):
            return None
        self._count(HEALTH)
        self._put_out(endpoint, HEALTH, why)
        return self._told(endpoint, why, "it gets no requests until it passes them again")

    def passed_checks(self, endpoint: Endpoint, now: float) -> str | None:
        """It is healthy; if it has been out for its answers for long enough, it comes back for that as well."""
        record: Record | None = endpoint.record
        served = record is not None and now >= record.until
        lifted = {HEALTH} | (_ANSWERS if served else frozenset())
        if not endpoint.out.keys() & lifted or not self._knows(endpoint):
            return None
        return self._returned(endpoint, "it passes its health checks", lifted)

    # -- time

    def turn(self, now: float) -> list[str]:
        """What time has brought about."""
        told = list(self._served(now))
        policy = self.policy
        if policy is not None and now >= self._next_look:
            self._next_look = now + policy.interval
            told.extend(self._look(policy, now))
        self._schedule()
        return told

    def settle(self) -> None:
        """Look again at who is needed all the same: pods have come or gone, or are out or back."""
        if self._doubtful or self.panicking:
            self._reconsider()
        self._schedule()

    # -- inside

    def _reconsider(self) -> None:
        accepting = self._accepting()
        out = sum(endpoint in self._doubtful for endpoint in accepting)
        self.panicking = len(accepting) - out < self.panic * len(accepting) and out > 0
        for endpoint in self._doubtful:
            endpoint.barred = endpoint.suspect or not self.panicking
            if not endpoint.barred:
                # It gets requests as any other: none of them is a trial, and the Breaker minds the end of none.
                endpoint.trial = NO_TRIAL
            self._look_again(endpoint)

    def _served(self, now: float) -> Iterator[str]:
        """Those who have been out for long enough."""
        for endpoint in list(self._doubtful):
            record: Record | None = endpoint.record
            if record is None or now < record.until or endpoint.trial:
                continue
            if self.panicking:
                yield self._returned(endpoint, "its time is over", _ANSWERS)
            elif not self.checked:
                endpoint.trial = TRIAL_DUE
                self._look_again(endpoint)

    def _look(self, policy: EjectionPolicy, now: float) -> Iterator[str]:
        """At success rates, and at who has been well for an interval."""
        rates: dict[Endpoint, float] = {}
        for endpoint in self._endpoints.values():
            record: Record | None = endpoint.record
            if record is None:
                continue
            if not endpoint.out and record.times:
                record.times -= 1
            if policy.success_rate is not None and record.requests >= policy.success_rate.volume:
                rates[endpoint] = record.successes / record.requests
            record.requests = record.successes = 0
        rule = policy.success_rate
        if rule is None or len(rates) < rule.hosts:
            return
        mean = sum(rates.values()) / len(rates)
        deviation = sqrt(sum((rate - mean) ** 2 for rate in rates.values()) / len(rates))
        least = mean - rule.factor * deviation
        for endpoint, rate in sorted(rates.items(), key=lambda item: item[1]):
            if rate < least and not endpoint.out and self._room():
                text = f"answered {rate:.0%} well, which is below {least:.0%}, {rule.factor:g} standard deviations under the mean"
                yield self._eject(endpoint, SUCCESS_RATE, text, now)

    def _room(self) -> bool:
        """Whether one more may be out for its answers. One always may."""
        policy = self.policy
        out = sum(bool(endpoint.out.keys() & _ANSWERS) for endpoint in self._doubtful)
        if policy is None or not out:
            return policy is not None
        pods = sum(endpoint.ready and not endpoint.draining for endpoint in self._endpoints.values())
        return out + 1 <= pods * policy.max_share

    def _reached(self, policy: EjectionPolicy, fives: int, gateway_errors: int) -> str | None:
        """For which cause so many in a row are enough, if one more may be out."""
        if 0 < policy.consecutive_5xx <= fives and self._room():
            return FIVES
        if 0 < policy.consecutive_gateway_errors <= gateway_errors and self._room():
            return GATEWAY_ERRORS
        return None

    def _eject(self, endpoint: Endpoint, cause: str, why: str, now: float) -> str:
        policy, record = self.policy, endpoint.record
        assert policy is not None  # noqa: S101  # it alone ejects
        record.times += 1
        seconds = min(policy.base_time * record.times, policy.max_time)
        record.until = now + seconds
        record.fives = record.gateway_errors = 0
        endpoint.trial = NO_TRIAL
        self._count(cause)
        self._put_out(endpoint, cause, why)
        return self._told(endpoint, why, f"it gets no requests for {seconds:g} s")

    def _put_out(self, endpoint: Endpoint, cause: str, why: str) -> None:
        endpoint.out[cause] = why
        endpoint.barred = True
        self._doubtful[endpoint] = None
        self._look_again(endpoint)
        self.settle()

    def _returned(self, endpoint: Endpoint, why: str, causes: Iterable[str] = _ANSWERS) -> str:
        self._clear(endpoint, causes)
        self._look_again(endpoint)
        self.settle()
        again = "it gets requests again" if endpoint.available else "it is out for another reason still"
        return f"{self._name(endpoint)} is back, {why}: {again}"

    def _clear(self, endpoint: Endpoint, causes: Iterable[str]) -> None:
        for cause in causes:
            endpoint.out.pop(cause, None)
        if not endpoint.out.keys() & _ANSWERS:
            endpoint.trial = NO_TRIAL
            if endpoint.record is not None:
                endpoint.record.until = inf
        if not endpoint.out.keys() - {CONNECT}:
            self._doubtful.pop(endpoint, None)
        endpoint.barred = endpoint.suspect or (endpoint in self._doubtful and not self.panicking)

    def _look_again(self, endpoint: Endpoint) -> None:
        """Have the Breaker take note, if it is one of the Backend's still."""
        if self._knows(endpoint):
            self._breaker.update(endpoint)

    def _knows(self, endpoint: Endpoint) -> bool:
        return self._endpoints.get(endpoint.uid) is endpoint

    def _accepting(self) -> list[Endpoint]:
        """Those that would take requests if their answers were all right."""
        return [e for e in self._endpoints.values() if e.ready and not e.draining and not e.suspect]

    def _schedule(self) -> None:
        waits = (
            endpoint.record.until
            for endpoint in self._doubtful
            if endpoint.record is not None
            and not endpoint.trial
            and not (self.checked and not self.panicking)
        )
        self.due = min(self._next_look, min(waits, default=inf))

    def _count(self, cause: str) -> None:
        self.counts[cause] = self.counts.get(cause, 0) + 1

    def _name(self, endpoint: Endpoint) -> str:
        return f"{self._backend}: {endpoint.address}"

    def _told(self, endpoint: Endpoint, why: str, hence: str) -> str:
        then = "so many are out that all are used" if self.panicking else hence
        return f"{self._name(endpoint)} {why}: {then}"

    def __repr__(self) -> str:
        return f"<Ejections {len(self._doubtful)} out{' panicking' if self.panicking else ''}>"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"
