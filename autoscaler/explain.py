"""Why there are as many pods as there are, in one sentence, and what would change it, in another.

Core: made of what a target knows at one moment, when somebody asks. `foresight` has the numbers; `admin` sends these sentences, and the
command line and the live table show them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from autoscaler.decision import Decision
from autoscaler.demand import in_unit, number
from autoscaler.foresight import Fall, Foresight, Limit, foresee
from autoscaler.hands import Change
from autoscaler.kpa import State
from autoscaler.plan import PodState, TargetState, Unknown
from autoscaler.spec import ScalingSpec


class Explanation(NamedTuple):
    why: str
    would_change: str


@dataclass(frozen=True, slots=True)
class Situation:
    """One target at one moment."""

    spec: ScalingSpec
    there: TargetState | Unknown
    decision: Decision | None
    state: State | None
    """As the decision left it."""
    now: float
    leads: bool = True
    removed: bool = False
    hand: Change | None = None
    """The last one by another hand, if that stands."""
    contester: str = ""
    """Who contests the count."""
    error: str = ""
    """What setting the count failed with last; empty: it works."""


def explain(situation: Situation) -> Explanation:
    there, decision, state = situation.there, situation.decision, situation.state
    if isinstance(there, Unknown):
        return Explanation(f"nothing is decided: {there.reason}", "what is waited for")
    if situation.removed:
        left = _pods(len(there.pods))
        why = f"it was removed from the configuration, {left} {_verb(len(there.pods), 'is', 'are')} left to drain"
        return Explanation("; ".join([why, *_draining(there.pods)]), "naming it in the configuration again")
    if decision is None or state is None:
        return Explanation("nothing was decided yet", "the first decision, within seconds")
    why = "; ".join([f"{_pods(decision.desired)}: {decision.reason}", *_progress(situation, there, decision)])
    given = _given(situation, there)
    if given:
        return Explanation(why, given)
    foresight = foresee(situation.spec, state, decision, situation.now)
    return Explanation(why, "; ".join(_changes(situation.spec, state, decision, foresight, situation.now)))


# -- why: how far it has come


def _progress(situation: Situation, there: TargetState, decision: Decision) -> Iterator[str]:
    staying = [pod for pod in there.pods if not pod.draining]
    starting = max(there.replicas - len(there.pods), 0) + sum(not pod.ready for pod in staying)
    if situation.hand is not None or situation.contester:
        yield f"{situation.hand or f'{situation.contester} contests the count, which is {there.replicas}'}"
    elif not there.fixed and there.replicas < decision.desired:
        yield f"the count is still {there.replicas}"
    if starting:
        yield f"{starting} of {there.replicas} {_verb(starting, 'is', 'are')} starting"
    yield from _draining(there.pods)
    if there.stuck:
        yield f"it cannot make its pods: {' '.join(there.stuck.split())}"
    if situation.error:
        yield f"setting the count failed: {' '.join(situation.error.split())}"
    if not situation.leads:
        yield "another autoscaler leads and sets the count"


def _draining(pods: Iterable[PodState]) -> Iterator[str]:
    draining = [pod for pod in pods if pod.draining]
    if draining:
        count, open_ = len(draining), sum(pod.in_flight for pod in draining)
        until = (
            f"until {_counted(open_, 'request')} {_verb(open_, 'ends', 'end')}" if open_ else "and may end"
        )
        yield f"{count} {_verb(count, 'drains', 'drain')} {until}"


# -- what would change it


def _given(situation: Situation, there: TargetState) -> str:
    """What must change before any load would count; empty when nothing stands in its way."""
    if there.fixed:
        return "nothing here: others run these pods"
    if situation.spec.pause:
        return "taking `pause` out of the configuration"
    if situation.contester:
        return f"{situation.contester} leaving the count alone for ten minutes; until then only a first pod for waiting requests is set from here"
    if situation.hand is not None:
        return "a demand for another number of pods, or a request that waits at zero"
    return ""


def _changes(
    spec: ScalingSpec, state: State, decision: Decision, seen: Foresight, now: float
) -> Iterator[str]:
    window = f"over {spec.stable_window:g} s"
    if seen.woken:
        yield "a request would wake it"
    if seen.more:
        limits = " or ".join(_above(limit) for limit in seen.more)
        yield f"{limits} {window} would {'wake it' if not decision.desired else 'add a pod'}"
    elif not seen.woken:
        yield _no_more(spec, decision)
    if seen.fall:
        yield f"as things are, it goes to {seen.fall.pods} {_when(seen.fall, now)}"
    elif seen.less:
        after = f" {_when(seen.less_after, now)} at the earliest" if seen.less_after else ""
        yield f"{' and '.join(_below(limit) for limit in seen.less)} {window} would let one go{after}"
    elif seen.empty:
        yield f"without any load it goes to {seen.empty.pods} {_when(seen.empty, now)}"
    elif decision.desired:
        yield _no_less(spec, state, decision)
    clock = decision.observed.scheduled
    if clock is not None and clock.until is not None:
        yield f"schedules change at {datetime.fromtimestamp(clock.until, UTC):%Y-%m-%d %H:%M} UTC"


def _no_more(spec: ScalingSpec, decision: Decision) -> str:
    clock = decision.observed.scheduled
    if clock is not None and clock.fixed is not None:
        return f"no load adds a pod, since a schedule fixes them at {clock.fixed}"
    if spec.by == "hpa":
        return "another scaler adds pods (`by: hpa`)"
    if spec.max_scale and decision.desired >= spec.max_scale:
        return f"no load adds a pod, since max is {spec.max_scale}"
    if decision.rule == "max_scale_up_rate":
        return "max_scale_up_rate allows more once those that start are ready"
    return "what would add a pod is not known without data"


def _no_less(spec: ScalingSpec, state: State, decision: Decision) -> str:
    absence = decision.observed.absence
    if absence:
        return "none goes before there are data" if absence in decision.reason else f"none goes: {absence}"
    clock = decision.observed.scheduled
    if clock is not None and clock.fixed is not None:
        return "none goes"
    if clock is not None and clock.floor is not None and decision.desired <= clock.floor:
        return f"none goes, since a schedule keeps {clock.floor}"
    if spec.by == "hpa":
        return "another scaler takes pods away (`by: hpa`)"
    if decision.desired <= spec.min_scale:
        return f"none goes, since min is {spec.min_scale}"
    if not state.initialized:
        return f"none goes before {spec.initial_scale} were ready once, since that is initial_scale"
    if decision.rule == "max_scale_down_rate":
        return "max_scale_down_rate allows fewer once those that go are gone"
    return "none goes as long as this holds"


def _above(limit: Limit) -> str:
    return _beyond(limit, "more than", "above")


def _below(limit: Limit) -> str:
    return _beyond(limit, "fewer than", "below")


def _beyond(limit: Limit, of_requests: str, of_others: str) -> str:
    what = {"concurrency": "in flight", "rps": "requests/s"}.get(limit.metric.type)
    if what is not None:
        return f"{of_requests} {number(limit.value)} {what}"
    return f"{limit.metric.name} {of_others} {in_unit(limit.metric, limit.value)}"


def _when(fall: Fall, now: float) -> str:
    seconds = max(0.0, fall.at - now)
    after = f", after {fall.after}" if fall.after else ""
    return f"in {seconds:.0f} s{after}" if seconds >= 1 else f"with the next decision{after}"


# -- words


def _pods(count: int) -> str:
    return _counted(count, "pod")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _verb(count: int, one: str, many: str) -> str:
    return one if count == 1 else many
