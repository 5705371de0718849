"""The tick loop: every two seconds, and at once for a nudge, each target decides; the beat that drained a pod acts at once.

`collector` observes, `target` decides and acts, `server` says which targets there are. No exception ends the loop, nor comes
through to the gateway that handed in a beat.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from autoscaler.coldstarts import ColdStart, ColdStarts
from autoscaler.collector import Collector
from autoscaler.decision import Decision
from autoscaler.kpa import TICK, State
from autoscaler.plan import Milestones, Scaler
from autoscaler.snapshot import Snapshot
from autoscaler.spec import ScalingSpec
from autoscaler.target import Target
from gateway.stats import Beat

logger = logging.getLogger(__name__)

_AT_ONCE = 10
"""Targets that decide in one turn of the loop: 1 ms or so."""


class Controller:
    """Keeps every target at the count that its demand asks for."""

    def __init__(
        self,
        collector: Collector,
        clock: Callable[[], float],
        leads: Callable[[], bool] = lambda: True,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`clock` tells seconds since the epoch and never jumps: a wall clock read once, carried on by the monotonic one.

        `leads`: whether this autoscaler is the one that acts. `wall`: the clock that schedules follow, which may be set.
        """
        self.collector = collector
        self.clock = clock
        self.leads = leads
        self._wall = wall
        self.targets: dict[str, Target] = {}
        self.starts = ColdStarts()
        self._snapshot: Snapshot | None = None
        """What new targets go on from, until all that there were are put."""
        self._resumed = 0
        self._ticker: asyncio.Task[None] | None = None

    def put(
        self,
        name: str,
        spec: ScalingSpec,
        scaler: Scaler,
        listener: Callable[[Decision], object] | None = None,
    ) -> None:
        """Control this target from now on, or otherwise than so far; what is known and decided is kept.

        `listener` is told of each decision.
        """
        target = self.targets.get(name)
        state = self._put(name, spec)
        if target is None:
            target = self.targets[name] = Target(
                name, spec, scaler, self.collector, self.clock, leads=self.leads, wall=self._wall, state=state
            )
        target.revive()
        target.configure(spec)
        target.scaler, target.listener = scaler, listener
        self._decide(target)

    def _put(self, name: str, spec: ScalingSpec) -> State | None:
        """Have it measured; from a snapshot come the data so far, and the State."""
        kept = None
        if self._snapshot is not None and name not in self.targets:
            kept = self._snapshot.of(name, spec, self.clock())
            self._resumed += kept is not None
        self.collector.put(name, spec, kept and kept[0])
        return kept and kept[1]

    def resume(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot, with the targets that are put before `start`. Beats must not come before those are."""
        self._snapshot = snapshot
        self.collector.resume(snapshot.collector, self.clock())

    def snapshot(self) -> Snapshot:
        """What is known and remembered at this moment. Takes 8 us for each Backend (40 with percentiles), at once: between two beats all fits together."""
        states = {name: target.state for name, target in self.targets.items() if target.state is not None}
        return Snapshot(self.clock(), self.collector.packed(), states)

    def retire(self, name: str) -> asyncio.Future[bool]:
        """Drain a target and scale it to zero.

        The result is True once its pods are gone, then `drop` it; and False when `put` took it back before, or at `stop`.
        """
        self.collector.drop(name)
        return self.targets[name].retire()

    def drop(self, name: str) -> Target:
        """Control this target no longer; its pods stay as they are. The caller stops it."""
        self.collector.drop(name)
        self.starts.drop(name)
        return self.targets.pop(name)

    def retry(self) -> None:
        """What failed for all targets may work now; they try with the next tick."""
        for target in self.targets.values():
            target.retry()

    def found(self, name: str) -> None:
        """There is news of what a target has: one that waits for it need not wait for the next tick."""
        target = self.targets.get(name)
        if target is not None and target.waiting_for:
            self._decide(target)

    def start(self) -> None:
        """Begin to tick, on the running loop."""
        if self._snapshot is not None:
            age = self.clock() - self._snapshot.at
            logger.info(
                "%d of %d targets go on from what was known %.1f s ago", self._resumed, len(self.targets), age
            )
            self._snapshot = None
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def stop(self) -> None:
        """Cease to decide and to act; the pods stay as they are."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        await asyncio.gather(*(target.stop() for target in self.targets.values()))

    def receive(self, beat: Beat, source: str = "") -> None:
        """Take in a gateway's beat, from the gateway at `source` (empty: the one in this process)."""
        now = self.clock()
        if not beat.age:  # what is told again may be known, and would count twice
            self._note_starts(beat, now)
        for name in self.collector.receive(beat, now, source):
            target = self.targets.get(name)
            if target is not None and beat.nudge:
                self._decide(target)
            elif target is not None:
                target.act()

    def _note_starts(self, beat: Beat, now: float) -> None:
        for name, stat in beat.stats.items():
            if stat.started and name in self.targets:
                for pod, (asked, ready, answered) in stat.started.items():
                    self.starts.answered(name, ColdStart(pod, now - asked, now - ready, now - answered))

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for index, target in enumerate(list(self.targets.values()), start=1):
                self._decide(target)
                if index % _AT_ONCE == 0:
                    await asyncio.sleep(0)
            self.starts.look(self._milestones, self.clock(), counts=self.leads())
            # On a grid, unless the loop was held for longer than a tick.
            due = max(due + TICK, loop.time())
            await asyncio.sleep(due - loop.time())

    def _decide(self, target: Target) -> None:
        if self.collector.catching_up(self.clock()):
            return
        try:
            target.decide()
            if target.waking:
                self.starts.decided(target.name, self.clock())
        except Exception:
            logger.exception("%s: no decision could be made", target.name)

    def _milestones(self, backend: str, pod: str) -> Milestones | None:
        target = self.targets.get(backend)
        return None if target is None else target.scaler.milestones(pod)

    def __repr__(self) -> str:
        return f"<Controller of {len(self.targets)} targets>"
