"""How many pods a Backend should have, and why: Knative's Pod Autoscaler, then what keeps requests safe around it.

`decide` has two steps. First what the windows ask for, equal to Knative's `Scale()` to the last digit: the largest demand of all
metrics (`demand`), rates, panic, the scale-down delay. Then what Knative does around it, and Tidegate's own laws: a wake from zero
decided on current counts, holds while data are missing, bounds, and the wait before zero.

Invariants: the count stays in its bounds; it never falls in panic, nor while any metric's data are missing, nor until a stable window of
gateways' data was seen (a restart has seen none yet); zero only after a whole idle window plus grace. Pure: State goes in, State comes out.
What goes in and what comes out are in `decision`. Told by `target`, which gives the result to `plan`. Times are seconds whose zero is the epoch, as in `window`.
"""

import math
from dataclasses import dataclass, replace

from autoscaler.decision import Decision, Observed, Rule
from autoscaler.demand import Demand, asked, demands, whole
from autoscaler.schedules import Bounds
from autoscaler.spec import ScalingSpec
from autoscaler.window import MaxWindow

TICK = 2.0
"""Seconds between regular decisions; the scale-down delay counts in buckets of this length."""


@dataclass(frozen=True, slots=True)
class State:
    """What one Backend's decisions remember: the last time of each thing that holds pods."""

    panic_at: float | None
    """When the panic threshold was last crossed; None outside of panic."""
    max_panic_pods: int
    delay: MaxWindow
    blind_at: float
    """When data were last missing. Until a stable window has passed since, the averages may lack load that was there."""
    initialized: bool
    """Whether `initial_scale` was reached once; it is ignored from then on."""
    woken_at: float | None = None
    woken_pods: int = 0
    idle_since: float | None = None

    @classmethod
    def initial(cls, spec: ScalingSpec, ready: int, now: float) -> "State":
        """A new Backend or a restart. More than one ready pod: in panic, holding them until a stable window was seen."""
        return cls(
            panic_at=now if ready > 1 else None,
            max_panic_pods=ready,
            delay=MaxWindow(spec.scale_down_delay, TICK),
            blind_at=now,
            initialized=ready >= _initial_goal(spec),
        )


@dataclass(slots=True)
class _Count:
    """A number of pods on its way through the rules; each that changes it adds its words."""

    pods: int
    rule: Rule
    words: tuple[object, ...]

    def at_least(self, pods: int, rule: Rule, why: str) -> "_Count":
        return self if self.pods >= pods else _Count(pods, rule, (*self.words, f", {why} {pods}"))

    def at_most(self, pods: int, rule: Rule, why: str) -> "_Count":
        return self if self.pods <= pods else _Count(pods, rule, (*self.words, f", {why} {pods}"))


def decide(spec: ScalingSpec, state: State, observed: Observed, now: float) -> tuple[State, Decision]:
    """One decision, at a regular tick or at once for a nudge; a nudge's counts are in `observed`, never in a window."""
    wants = demands(spec, observed.readings, observed.ready, observed.replicas, quiet=observed.quiet)
    state = _notice(spec, state, observed, wants, now)
    wanted: int | None = None
    if wants is None:
        words = f"{observed.absence}: holding {observed.replicas}"
        count = _Count(observed.replicas, "no_data", (words,))
        count = _woken(spec, state, observed, count, now)
    else:
        state, count = _recommend(spec, state, observed, wants, now)
        wanted = count.pods
    count = _bounded(spec, state, observed, _held(spec, state, observed, count, now), now)
    if count.pods == 0 and wanted is not None:
        count = _to_zero(spec, state, observed, now)
    if spec.by == "hpa":
        count = _left_to_others(spec, observed, count)
    if spec.pause:
        kept = observed.replicas
        count = _Count(kept, "paused", (f"paused, staying at {kept}; else {count.pods}: ", *count.words))
    panic = state.panic_at is not None
    excess = _excess_burst_capacity(spec, observed)
    return state, Decision(
        count.pods,
        wanted,
        excess,
        panic,
        count.rule,
        count.words,
        observed,
        now,
        spec.metrics,
        None if wants is None else _demand(spec, observed, wants[0].pods),
    )


def _notice(
    spec: ScalingSpec, state: State, observed: Observed, wants: tuple[Demand, Demand] | None, now: float
) -> State:
    """Take down what the moment itself says, before any rule is asked."""
    unknown = [
        metric
        for metric, reading in zip(spec.metrics, observed.readings, strict=True)
        if reading.stable is None
    ]
    # A gap in what gateways tell reads as zeros for as long as it is inside the window; one in samples does not.
    if observed.missing or any(not metric.sampled for metric in unknown):
        state = replace(state, blind_at=now)
    if not state.initialized and observed.ready >= _initial_goal(spec):
        state = replace(state, initialized=True)
    if observed.starving:
        # Held for a stable window, as Knative's panic would: by then the averages know of the load. Without the hold a
        # tick 2 s after a wake for 10 requests would see 10 * 2 / 60 = 0.33 and send all but one pod away again.
        pods = max(_asked_at_once(spec, observed), _held_wake(spec, state, now))
        state = replace(state, woken_at=now, woken_pods=pods)
    wanted = wants is None or wants[0].pods or wants[1].pods
    idle = not (wanted or observed.in_flight or observed.waiting or unknown or _warming(spec, state, now))
    if idle == (state.idle_since is not None):
        return state
    return replace(state, idle_since=now if idle else None)


# The first step: what the windows ask for.


def _recommend(
    spec: ScalingSpec, state: State, observed: Observed, wants: tuple[Demand, Demand], now: float
) -> tuple[State, _Count]:
    calm, surge = wants
    state = _panicked(spec, state, surge.pods / max(1, observed.ready), now)
    count = _window_count(spec, calm, observed.ready)
    if state.panic_at is not None:
        urgent = _window_count(spec, surge, observed.ready)
        count = urgent if urgent.pods > count.pods else count
        count = _Count(count.pods, count.rule, ("panic: ", *count.words))
        count = count.at_least(state.max_panic_pods, "panic", "keeping the most wanted so far,")
        if count.pods > state.max_panic_pods:
            state = replace(state, max_panic_pods=count.pods)
    return _delayed(spec, state, _woken(spec, state, observed, count, now), now)


def _panicked(spec: ScalingSpec, state: State, times: float, now: float) -> State:
    """Into panic when the panic window wants `times` the ready pods; out again a stable window after it last did."""
    if times >= spec.panic_threshold:
        return replace(state, panic_at=now)
    if state.panic_at is not None and state.panic_at + spec.stable_window < now:
        return replace(state, panic_at=None, max_panic_pods=0)
    return state


def _window_count(spec: ScalingSpec, demand: Demand, ready: int) -> _Count:
    """What one window asks for, within the rates.

    Rounding the bounds outwards lets one pod be added or taken whatever the rate: at 1.1 with 2 ready pods,
    ceil(2.2) = 3.
    """
    count = _Count(demand.pods, demand.window, (demand,))
    if spec.reachable and spec.by == "tidegate":
        slowest = math.floor(max(1, ready) / spec.max_scale_down_rate)
        count = count.at_least(slowest, "max_scale_down_rate", "falling no faster than to")
    count = count.at_most(_most_at_once(spec, ready), "max_scale_up_rate", "rising no faster than to")
    if demand.pods > 0 and spec.activation_scale > 1:
        count = count.at_least(spec.activation_scale, "activation_scale", "activation_scale is")
    return count


def _delayed(spec: ScalingSpec, state: State, count: _Count, now: float) -> tuple[State, _Count]:
    if not spec.reachable or spec.scale_down_delay <= 0:
        return state, count
    delay = state.delay.resize(spec.scale_down_delay).record(now, count.pods)
    why = f"keeping the most wanted in {spec.scale_down_delay:g} s,"
    return replace(state, delay=delay), count.at_least(delay.maximum, "scale_down_delay", why)


def _excess_burst_capacity(spec: ScalingSpec, observed: Observed) -> int | None:
    """Of the first metric that counts requests; None without one, or without data of it."""
    for metric, reading in zip(spec.metrics, observed.readings, strict=True):
        if metric.type in {"concurrency", "rps"}:
            if reading.panic is None:
                return None
            if spec.target_burst_capacity <= 0:
                return 0 if spec.target_burst_capacity == 0 else -1
            return math.floor(observed.ready * metric.total - spec.target_burst_capacity - reading.panic)
    return None


# The second step: what holds pods beside the windows.


def _woken(spec: ScalingSpec, state: State, observed: Observed, count: _Count, now: float) -> _Count:
    pods = _held_wake(spec, state, now)
    if pods <= count.pods:
        return count
    if observed.starving:
        why = f"{observed.waiting} queued and no pod ready: waking with {pods}"
        if pods > _asked_at_once(spec, observed):
            why += f", wanted less than {spec.stable_window:g} s ago"
        return _Count(pods, "wake", (why,))
    return count.at_least(pods, "wake", f"woken less than {spec.stable_window:g} s ago, keeping")


def _held(spec: ScalingSpec, state: State, observed: Observed, count: _Count, now: float) -> _Count:
    """Nothing below what is there while in panic or without whole data; one pod at least while a request is open."""
    if state.panic_at is not None:
        count = count.at_least(observed.replicas, "panic", "in panic holding")
    if count.pods < observed.replicas:
        absence = observed.absence
        if absence:
            count = count.at_least(observed.replicas, "no_data", f"{absence}: holding")
        elif _warming(spec, state, now):
            seen = f"only {now - state.blind_at:.0f} s of {spec.stable_window:g} s seen yet"
            count = count.at_least(observed.replicas, "warming", f"{seen}: holding")
    if count.pods < 1 and (observed.waiting or (observed.in_flight and observed.replicas)):
        seen = f"{observed.in_flight} in flight and {observed.waiting} queued now"
        count = count.at_least(1, "busy", f"{seen}: keeping")
    return count


def _bounded(spec: ScalingSpec, state: State, observed: Observed, count: _Count, now: float) -> _Count:
    if not state.initialized and spec.reachable:
        count = count.at_least(spec.initial_scale, "initial_scale", "starting with initial_scale")
    count = count.at_least(spec.min_scale, "min_scale", "held to min")
    if observed.scheduled is not None:
        count = _scheduled(spec, observed, observed.scheduled, count, now)
    return count.at_most(spec.max_scale, "max_scale", "held to max") if spec.max_scale else count


def _scheduled(spec: ScalingSpec, observed: Observed, clock: Bounds, count: _Count, now: float) -> _Count:
    if clock.fixed is not None:
        count = count.at_least(clock.fixed, "schedule", f"{clock.words} has")
        count = count.at_most(clock.fixed, "schedule", f"{clock.words} has")
    elif clock.floor is not None:
        count = count.at_least(clock.floor, "schedule", f"{clock.words} keeps")
    if clock.set_at is None or now - clock.set_at >= spec.stable_window:
        return count
    seen = f"the clock was set by {clock.set_by:+.0f} s {now - clock.set_at:.0f} s ago"
    return count.at_least(observed.replicas, "clock_set", f"{seen}: holding")


def _demand(spec: ScalingSpec, observed: Observed, pods: int) -> int:
    """`pods` within the bounds."""
    clock = observed.scheduled
    if clock is not None and clock.fixed is not None:
        pods = clock.fixed
    else:
        pods = max(pods, spec.min_scale, (clock and clock.floor) or 0)
    return min(spec.max_scale, pods) if spec.max_scale else pods


def _left_to_others(spec: ScalingSpec, observed: Observed, count: _Count) -> _Count:
    """Another has the count from one pod on: from zero goes one, or what is woken with; to zero go all."""
    there = observed.replicas
    if count.pods == 0:
        return count
    if there == 0:
        return count.at_most(
            max(1, spec.activation_scale, spec.min_scale), count.rule, "by hpa: starting with"
        )
    return _Count(there, "by_hpa", (f"by hpa: leaving {there}; ", *count.words))


def _to_zero(spec: ScalingSpec, state: State, observed: Observed, now: float) -> _Count:
    """The last pod stays until nothing was wanted for the grace period."""
    what = "nothing to do" if any(metric.sampled for metric in spec.metrics) else "no request"
    window = f"idle: {what} in {spec.stable_window:g} s"
    if observed.replicas == 0:
        unknown = f", {observed.absence}" if observed.absence else ""  # which might have woken it
        return _Count(0, "idle", (f"{window}, staying at 0{unknown}",))
    grace = spec.grace
    idle = 0.0 if state.idle_since is None else now - state.idle_since
    if idle < grace:
        return _Count(1, "grace", (f"idle for {idle:.0f} s of {grace:g} s grace, keeping 1",))
    return _Count(0, "idle", (f"{window} and {grace:g} s grace, going to 0",))


def _asked_at_once(spec: ScalingSpec, observed: Observed) -> int:
    """Pods for the requests that are open now, to wake with. A rate cannot be told from counts: one pod, then the windows."""
    counted = next((metric for metric in spec.metrics if metric.type == "concurrency"), None)
    pods = 1
    if counted is not None:
        pods = min(asked(counted, observed.in_flight + observed.waiting, 0), _most_at_once(spec, 0))
    return max(1, pods, spec.activation_scale)


def _held_wake(spec: ScalingSpec, state: State, now: float) -> int:
    recent = state.woken_at is not None and now - state.woken_at <= spec.stable_window
    return state.woken_pods if recent else 0


def _warming(spec: ScalingSpec, state: State, now: float) -> bool:
    return now - state.blind_at < spec.stable_window


def _initial_goal(spec: ScalingSpec) -> int:
    goal = max(spec.initial_scale, spec.min_scale)
    return min(goal, spec.max_scale) if spec.max_scale else goal


def _most_at_once(spec: ScalingSpec, ready: int) -> int:
    return whole(spec.max_scale_up_rate * max(1, ready))
