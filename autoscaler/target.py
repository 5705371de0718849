"""One Backend under control: what was decided for it, and the worker that makes it so.

A target is acted on by one task at a time, which lives while there is something to do. It plans from the newest decision each
time, so that a wish not yet begun is replaced by a newer one, and a slow target delays no other. A pod is removed only when
every gateway's beat, made after the pod was marked, names it as draining and idle. A Scaler's errors are counted and
tried again after growing pauses. Of several autoscalers all decide, and the one that leads acts. While a Scaler knows nothing, nothing
is decided. `controller` says when to decide and to act.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from autoscaler.collector import Collector
from autoscaler.decision import Decision
from autoscaler.explain import Explanation, Situation, explain
from autoscaler.hands import Change, Hands
from autoscaler.history import History
from autoscaler.kpa import State, decide
from autoscaler.plan import Plan, PodState, Scaler, Superseded, TargetState, Unknown, plan, settled
from autoscaler.schedules import Schedules
from autoscaler.spec import ScalingSpec

logger = logging.getLogger(__name__)

FIRST_RETRY = 2.0
LAST_RETRY = 30.0
SAID_AFTER = 1.0
"""Seconds after which it is worth a line in the log that a target is not known."""
SETTLED_AFTER = 1.0
"""Seconds after which no beat is still on its way that was made before a Backend was removed."""
LONGEST_RETIREMENT = 300.0
"""Seconds after which a removed target's pods are ended even if something is still in flight."""
_NOTHING = Plan()


class Target:
    """Times are those of `clock`: seconds since the epoch that never jump."""

    def __init__(
        self,
        name: str,
        spec: ScalingSpec,
        scaler: Scaler,
        collector: Collector,
        clock: Callable[[], float],
        *,
        leads: Callable[[], bool] = lambda: True,
        wall: Callable[[], float] = time.time,
        state: State | None = None,
    ) -> None:
        """`wall` is the clock that schedules follow, which may be set at any time; `state` what decisions go on from."""
        self.name = name
        self.spec = spec
        self.scaler = scaler
        self._collector = collector
        self._clock = clock
        self._leads = leads
        self._wall = wall

        self.decision: Decision | None = None
        """The last one."""
        self.history = History()
        self.decisions = 0
        self.waiting_for = ""
        """What must be known before anything is decided; empty once it is."""
        self._waiting_since = 0.0
        self._waiting_said = False
        self.listener: Callable[[Decision], object] | None = None
        """Told of each decision as it is made, before it is acted on."""
        self.state = state
        """What decisions remember; None before the first one."""
        self.schedules: Schedules | None = None
        self.hands = Hands()

        self.errors = 0
        self.error = ""
        """What the Scaler failed with; empty once it works again."""
        self._failures = 0
        self._retry_at = 0.0

        self.removed_at: float | None = None
        """When the configuration ceased to name it."""
        self._gone: asyncio.Future[bool] | None = None
        self._marked: dict[str, float] = {}
        """When each draining pod was first seen to be."""
        self._due = False
        self._worker: asyncio.Task[None] | None = None

    @property
    def wish(self) -> int | None:
        """How many pods there shall be; None before the first decision."""
        if self.removed_at is not None:
            return 0
        return None if self.decision is None else self.decision.desired

    @property
    def waking(self) -> bool:
        """It was decided that there shall be pods for requests that wait while none is ready."""
        if self.decision is None or self.removed_at is not None:
            return False
        return self.decision.observed.starving and self.decision.desired > 0

    @property
    def ready(self) -> int:
        """Pods that a request may go to."""
        there = self.scaler.observe()
        return 0 if isinstance(there, Unknown) else _ready(there)

    def view(self) -> TargetState | Unknown:
        """What is there, with what the gateways say of it filled in."""
        now = self._clock()
        there = self.scaler.observe()
        if isinstance(there, Unknown):
            return there
        self._marked = {pod.uid: self._marked.get(pod.uid, now) for pod in there.pods if pod.draining}
        busy = self._collector.endpoints(self.name) if there.pods else {}
        pods = (
            replace(pod, in_flight=busy.get(pod.uid, 0), drained=pod.draining and self._drained(pod, now))
            for pod in there.pods
        )
        return replace(there, pods=tuple(pods))

    def _drained(self, pod: PodState, now: float) -> bool:
        if self._collector.drained(self.name, pod.uid, self._marked[pod.uid]):
            return True
        if self.removed_at is None:
            return False
        # Gateways forget the pods of a removed Backend, and name them no more.
        overdue = now - self.removed_at > LONGEST_RETIREMENT
        return overdue or self._collector.idle(self.name, self.removed_at + SETTLED_AFTER)

    # -- deciding

    def configure(self, spec: ScalingSpec) -> None:
        """Scale like this from now on."""
        if spec != self.spec:
            self.hands.forgive()
        self.spec = spec

    def decide(self) -> None:
        """Decide anew, and act when that asks for it."""
        there = self.scaler.observe()
        if isinstance(there, Unknown):
            self.hands.forget()
            self._wait_for(there.reason)
            return
        if self.waiting_for:
            self._wait_for("")
        if self.removed_at is not None:
            self.act()
            return
        self._decide(there, self._look(there))
        if settled(there, self._aim(there)):
            self._marked.clear()
        else:
            view = self.view()
            if not isinstance(view, Unknown) and plan(view, self._aim(view)) != _NOTHING:
                self.act()

    def _look(self, there: TargetState) -> Change | None:
        """Whether another hand has set the count. Only who leads can tell: the leader's writes are no other hand's."""
        if there.setter is None:
            return None
        if self.spec.by == "hpa" or not self._leads():
            self.hands.forget()
        change = self.hands.look(there.replicas, there.setter, there.known_of, self._clock())
        if change is not None:
            advice = (
                ": say `by: hpa` for an autoscaler, or have one of both let go" if change.contests else ""
            )
            level = logging.WARNING if change.contests else logging.INFO
            logger.log(level, "%s: %s%s", self.name, change, advice)
        return change

    def _aim(self, there: TargetState) -> int:
        """The count to go for from what is there now, which may be another than what was decided on."""
        decision, desired = self.decision, self.wish or 0
        if decision is None or self.removed_at is not None:
            return desired
        if self.spec.pause or (self.spec.by == "hpa" and desired and there.replicas):
            return there.replicas
        if self.spec.by == "hpa" or there.setter is None:
            return desired
        waiting = decision.observed.starving
        return self.hands.aim(there.replicas, desired, self._clock(), waiting=waiting)

    def _wait_for(self, reason: str) -> None:
        """Said when it has held for a while: at the start nothing is known for a moment."""
        if reason != self.waiting_for:
            if self._waiting_said:
                logger.info("%s: no longer %s", self.name, self.waiting_for)
            self.waiting_for, self._waiting_said, self._waiting_since = reason, False, self._clock()
        if reason and not self._waiting_said and self._clock() - self._waiting_since >= SAID_AFTER:
            logger.warning("%s: %s; until then nothing is decided", self.name, reason)
            self._waiting_said = True

    def _decide(self, there: TargetState, change: Change | None) -> None:
        now = self._clock()
        ready = _ready(there)
        observed = self._collector.observe(self.name, ready=ready, replicas=there.replicas, now=now)
        observed.changed = change
        if self.spec.schedules:
            if self.schedules is None or self.schedules.schedules != self.spec.schedules:
                self.schedules = Schedules(self.spec.schedules)
            observed.scheduled = self.schedules.bounds(self._wall(), now)
        # What nobody can take away need not be held by a panic, which would be hard to read in the reason.
        state = self.state or State.initial(self.spec, 0 if there.fixed else ready, now)
        last = self.decision
        self.state, decision = decide(self.spec, state, observed, now)
        if there.fixed:
            decision = _of_others(decision, there.replicas)
        self.decision = decision
        self.decisions += 1
        self.hands.decided(decision.demand)
        if self.listener is not None:
            self.listener(decision)
        before = there.replicas if last is None else last.desired
        self.history.note(decision, before)
        if decision.desired != before and not there.fixed:
            logger.info("%s: %d -> %d pods: %s", self.name, before, decision.desired, decision.reason)

    def explain(self) -> Explanation:
        """Why there are as many pods as there are, and what would change it."""
        now, hands = self._clock(), self.hands
        situation = Situation(
            self.spec,
            self.view(),
            self.decision,
            self.state,
            now,
            leads=self._leads(),
            removed=self.removed_at is not None,
            hand=hands.last if hands.standing else None,
            contester=hands.contested(now),
            error=self.error,
        )
        return explain(situation)

    def retire(self) -> asyncio.Future[bool]:
        """Drain and scale to zero, whatever the demand.

        The result is True once all pods are gone, and False when `revive` came before.
        """
        if self._gone is None:
            self._gone = asyncio.get_running_loop().create_future()
            self.removed_at = self._clock()
            there = self.scaler.observe()
            before = "?" if isinstance(there, Unknown) else there.replicas
            logger.info("%s: %s -> 0 pods: removed from the configuration", self.name, before)
            self.act()
        return self._gone

    def revive(self) -> None:
        """Take a removal back, at whatever point it is."""
        if self._gone is not None:
            self._gone.set_result(False)
        self.removed_at = self._gone = None

    # -- acting

    def act(self) -> None:
        """Have the worker look at what there is to do, now or once it has done what it does; unless another leads."""
        if not self._leads():
            self._forgive()
            return
        if self._clock() < self._retry_at:
            return
        self._due = True
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())

    def retry(self) -> None:
        """What failed may work now: the next tick tries it again, whatever the pause."""
        self._retry_at = 0.0

    def _forgive(self) -> None:
        self.error, self._failures, self._retry_at = "", 0, 0.0

    async def stop(self) -> None:
        """Cease to act; whoever waits for the end of a removal is let go."""
        self.revive()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def _work(self) -> None:
        try:
            while self._due:
                self._due = False
                await self._attempt()
        finally:
            self._worker = None

    async def _attempt(self) -> None:
        try:
            await self._act()
        except Superseded as news:
            logger.info("%s: a plan was given up: %s", self.name, news)
        except Exception as error:  # noqa: BLE001 (whatever a Scaler meets, a later tick tries again)
            self.errors += 1
            self._failures += 1
            self.error = str(error) or type(error).__name__
            pause = min(LAST_RETRY, FIRST_RETRY * 2 ** (self._failures - 1))
            self._retry_at = self._clock() + pause
            logger.warning("%s: scaling failed, next try in %g s: %s", self.name, pause, self.error)
        else:
            if self.error:
                logger.info("%s: scaling works again", self.name)
            self._forgive()

    async def _act(self) -> None:
        marked, scaler = True, self.scaler
        for _ in range(2):  # a pod that never was ready may end as soon as it is marked
            view = self.view()
            if not marked or self.wish is None or isinstance(view, Unknown):
                break
            steps = plan(view, self._aim(view))
            marked = bool(steps.drain)
            if steps.undrain:
                await scaler.undrain(steps.undrain)
                for uid in steps.undrain:
                    self._marked.pop(uid, None)  # the next mark needs beats of its own
            if steps.drain:
                await scaler.drain(steps.drain)
            if self.scaler is not scaler:
                raise Superseded("the configuration names another target now")
            if steps.replicas is not None:
                self.hands.writing(steps.replicas)
                await scaler.scale(steps.replicas, steps.remove)
                self.hands.wrote(steps.replicas)
        there = self.scaler.observe()
        empty = not isinstance(there, Unknown) and not there.replicas and not there.pods
        if self._gone is not None and empty:
            self._gone.set_result(True)
            self._gone = None

    def __repr__(self) -> str:
        draining = f", {len(self._marked)} draining" if self._marked else ""
        failing = f", failing: {self.error}" if self.error else ""
        failing += f", {self.waiting_for}" if self.waiting_for else ""
        removed = ", removed" if self.removed_at is not None else ""
        return f"<Target {self.name} wish={self.wish}{draining}{removed}{failing}>"


def _of_others(decision: Decision, replicas: int) -> Decision:
    """There shall be as many as there are: what would be wanted is only told."""
    pods = f"{replicas} pod{'' if replicas == 1 else 's'}"
    words = (f"others scale it: {pods}; {decision.desired} would be wanted: ", *decision.words)
    return replace(decision, desired=replicas, rule="fixed", words=words)


def _ready(there: TargetState) -> int:
    return len([pod for pod in there.pods if pod.ready and not pod.draining])
