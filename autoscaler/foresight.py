"""What would change a count: the load that adds a pod, the load that lets one go, and when what holds it ends.

Each number is worked out and then tried on `decide` itself, a little above and a little below; what `decide` does not confirm is not
told. So no rule that is added there can make these sentences wrong, only fewer.

Core. `explain` puts it into words.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from autoscaler.decision import Decision, Observed
from autoscaler.demand import Reading, asked, most_for
from autoscaler.kpa import TICK, State, decide
from autoscaler.spec import MetricSpec, ScalingSpec

CLOSE = 1e-6
"""How near to a limit, as a share of it, it is tried."""
_MOMENT = 1e-3
"""Seconds: some holds last up to their end, some until after it."""
_MOST_HOLDS = 12
"""So many that end one after the other are looked at; panic and a full delay have never more that matter."""


class Limit(NamedTuple):
    """A metric's value over the stable window."""

    metric: MetricSpec
    value: float


class Fall(NamedTuple):
    """A count that falls at a time, if nothing changes by then."""

    pods: int
    at: float
    after: str
    """What has ended by then, as in "the panic"; empty: nothing has held it."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """What would change a count of pods."""

    woken: bool = False
    """At zero: a request would bring one."""
    more: tuple[Limit, ...] = ()
    """Any one exceeded, while the others stay as they are, would add a pod."""
    fall: Fall | None = None
    """What comes with the load as it is."""
    less: tuple[Limit, ...] = ()
    """All of them undercut would let one go."""
    less_after: Fall | None = None
    """When that counts at the earliest, if something holds the count now."""
    empty: Fall | None = None
    """What comes if no request comes any more and all metrics read 0."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """A decision that was made, ready to be made again under other circumstances."""

    spec: ScalingSpec
    state: State
    observed: Observed
    desired: int
    now: float

    def tried(self, observed: Observed) -> int:
        return decide(self.spec, self.state, observed, self.now)[1].desired

    def reading(self, values: dict[int, float]) -> Observed:
        """The same with other values of some metrics, in both windows."""
        readings = list(self.observed.readings)
        for index, value in values.items():
            readings[index] = Reading(value, value)
        return replace(self.observed, readings=tuple(readings))

    def known(self) -> Iterator[tuple[int, MetricSpec, Reading]]:
        for index, metric in enumerate(self.spec.metrics):
            if self.observed.readings[index].stable is not None:
                yield index, metric, self.observed.readings[index]


def foresee(spec: ScalingSpec, state: State, decision: Decision, now: float) -> Foresight:
    """`state` as `decision` left it. Pods are taken to be as many as were decided on."""
    desired = decision.desired
    observed = replace(decision.observed, replicas=desired)
    moment = _Moment(spec, state, observed, desired, now)
    woken = not desired and moment.tried(replace(observed, waiting=1)) > 0
    more = tuple(_more(moment))
    if not desired or observed.absence:
        return Foresight(woken, more)
    fall = _fall(moment, observed, now)
    less, after = ((), None) if fall else _less(moment)
    empty = None if fall or less else _empty(moment)
    return Foresight(woken, more, fall, less, after, empty)


def _more(moment: _Moment) -> Iterator[Limit]:
    for index, metric, _ in moment.known():
        if not moment.desired and (not metric.sampled or metric.of_pods):
            continue  # any request at all is said of waking, and pods that are not there say nothing
        # More than nothing may be enough, where activation_scale is more than there is.
        for pods in (moment.desired, 0):
            value = most_for(metric, pods, moment.observed.ready, moment.observed.replicas)
            near = CLOSE * (value or metric.target)
            above, below = (
                moment.reading({index: value + near}),
                moment.reading({index: max(0.0, value - near)}),
            )
            if moment.tried(above) > moment.desired >= moment.tried(below):
                yield Limit(metric, value)
                break


def _less(moment: _Moment) -> tuple[tuple[Limit, ...], Fall | None]:
    """Only those metrics count that want all the pods there are; each by itself must be able to keep them."""
    pods = moment.desired - 1
    there = moment.observed.ready, moment.observed.replicas
    if not pods:
        return (), None
    found = {
        index: Limit(metric, most_for(metric, pods, *there))
        for index, metric, reading in moment.known()
        if max(asked(metric, value or 0.0, *there) for value in (reading.stable, reading.panic)) > pods
    }
    low = {index: limit.value * (1 - CLOSE) for index, limit in found.items()}
    fall = _fall(moment, moment.reading(low), moment.now) if found else None
    if fall is None:
        return (), None
    for index, limit in found.items():
        if _fall(moment, moment.reading(low | {index: limit.value * (1 + CLOSE)}), moment.now):
            return (), None
    return tuple(found.values()), fall if fall.after else None


def _empty(moment: _Moment) -> Fall | None:
    """A window's length from now, when the averages have forgotten the load of this moment."""
    nothing = moment.reading({index: 0.0 for index, _, _ in moment.known()})
    later = moment.now + moment.spec.stable_window
    return _fall(moment, replace(nothing, in_flight=0, waiting=0, quiet=True), later)


def _fall(moment: _Moment, observed: Observed, now: float) -> Fall | None:
    """What comes of this going on, from one end of a hold to the next; None: nothing ever."""
    spec, state, after = moment.spec, moment.state, ""
    for _ in range(_MOST_HOLDS):
        state, decision = decide(spec, state, observed, now)
        if decision.desired < moment.desired:
            return Fall(decision.desired, now, after)
        holds = [*_holds(spec, state, observed), *_delays(spec, state, observed, decision, now)]
        ends = [hold for hold in holds if hold[0] > now]
        if not ends:
            return None
        end, after = min(ends)
        # The last decision before it is remembered by scale_down_delay.
        state, _ = decide(spec, state, observed, max(now, end - TICK))
        now = end
    return None


def _holds(spec: ScalingSpec, state: State, observed: Observed) -> Iterator[tuple[float, str]]:
    """What keeps pods for a time, and when it ceases to."""
    window = spec.stable_window
    if state.panic_at is not None:
        yield state.panic_at + window + _MOMENT, "the panic"
    if state.woken_at is not None:
        yield state.woken_at + window + _MOMENT, "the first window since it was woken"
    yield state.blind_at + window + _MOMENT, "the first whole window of data"
    if observed.scheduled is not None and observed.scheduled.set_at is not None:
        yield observed.scheduled.set_at + window + _MOMENT, "the window since the clock was set"
    if state.idle_since is not None:
        yield state.idle_since + spec.grace + _MOMENT, "the grace period"


def _delays(
    spec: ScalingSpec, state: State, observed: Observed, decision: Decision, now: float
) -> Iterator[tuple[float, str]]:
    """When the largest count that scale_down_delay remembers is forgotten, if that is what keeps the pods."""
    delay = state.delay
    if not spec.scale_down_delay or not delay.falling or decision.wanted is None:
        return
    at_once = decide(replace(spec, scale_down_delay=0.0), state, observed, now)[1].wanted
    if at_once is not None and at_once < decision.wanted:
        yield delay.until + _MOMENT, "scale_down_delay"
