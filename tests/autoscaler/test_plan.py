"""plan: pods leave marked, idle and named; everything else is kept."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.plan import Plan, PodState, TargetState, plan


def ready(uid: str, in_flight: int = 0) -> PodState:
    return PodState(uid, ready=True, draining=False, in_flight=in_flight)


def draining(uid: str, in_flight: int = 0, *, drained: bool = False) -> PodState:
    return PodState(uid, ready=True, draining=True, in_flight=in_flight, drained=drained)


def starting(uid: str) -> PodState:
    return PodState(uid, ready=False, draining=False)


def target(*pods: PodState, replicas: int | None = None) -> TargetState:
    return TargetState(len(pods) if replicas is None else replicas, pods)


def test_nothing_is_done_when_what_is_there_is_what_is_desired() -> None:
    """An empty plan."""
    assert plan(target(ready("a"), ready("b")), 2) == Plan()


def test_a_raised_count_is_set_at_once() -> None:
    """More pods need no preparation."""
    assert plan(target(ready("a")), 3) == Plan(replicas=3)


def test_pods_still_being_created_are_counted_as_there() -> None:
    """A count of three with one pod to be seen is not raised again."""
    assert plan(target(ready("a"), replicas=3), 3) == Plan()


def test_a_pod_too_many_is_first_only_marked() -> None:
    """The count stays until gateways have let go of it."""
    assert plan(target(ready("a"), ready("b")), 1) == Plan(drain=("b",))


@pytest.mark.parametrize(
    ("pods", "first"),
    [
        ([ready("a", 1), ready("b"), starting("c"), ready("d", 2)], "c"),
        ([ready("a", 1), ready("b"), ready("c", 1)], "b"),
        ([ready("a", 3), ready("b", 2), ready("c", 4)], "b"),
        ([ready("a", 1), ready("b", 1), ready("c", 1)], "c"),
    ],
    ids=["not ready", "idle", "fewest in flight", "newest"],
)
def test_the_pod_missed_least_goes_first(pods: list[PodState], first: str) -> None:
    """Not ready before idle before little busy, and the newest of equals."""
    assert plan(target(*pods), len(pods) - 1).drain == (first,)


def test_a_mark_stays_on_its_pod_when_another_turns_idle() -> None:
    """Marks do not wander from tick to tick."""
    assert plan(target(ready("a"), draining("b", 5)), 1) == Plan()


def test_a_drained_pod_is_removed_by_name() -> None:
    """The lowered count costs that pod."""
    assert plan(target(ready("a"), draining("b", drained=True)), 1) == Plan(replicas=1, remove=("b",))


def test_a_count_falls_by_those_that_are_drained_already() -> None:
    """The others go with a later plan."""
    there = target(ready("a"), draining("b", 1), draining("c", drained=True))
    assert plan(there, 1) == Plan(replicas=2, remove=("c",))


def test_a_marked_pod_that_never_was_ready_needs_no_word_of_the_gateways() -> None:
    """It holds no request."""
    there = target(ready("a"), replace(starting("b"), draining=True))
    assert plan(there, 1) == Plan(replicas=1, remove=("b",))


def test_of_a_pod_that_gateways_probe_their_word_is_needed() -> None:
    """They may have found it ready before anybody else."""
    pod = replace(starting("b"), draining=True, probed=True)
    assert plan(target(ready("a"), pod), 1) == Plan()
    assert plan(target(ready("a"), replace(pod, drained=True)), 1) == Plan(replicas=1, remove=("b",))


def test_a_pod_with_a_request_is_not_removed_whatever_its_beat_said() -> None:
    """A drained pod with something in flight was told of twice; the request wins."""
    assert plan(target(ready("a"), draining("b", 1, drained=True)), 1) == Plan()


def test_pods_not_yet_created_are_given_up_at_once() -> None:
    """Nothing can be in flight at a pod that does not exist."""
    assert plan(target(ready("a"), ready("b"), replicas=4), 2) == Plan(replicas=2)
    assert plan(target(ready("a"), ready("b"), replicas=4), 1) == Plan(replicas=2, drain=("b",))


def test_a_draining_pod_is_taken_back_before_a_new_one_is_asked_for() -> None:
    """It is warm."""
    assert plan(target(ready("a"), draining("b")), 2) == Plan(undrain=("b",))
    assert plan(target(ready("a"), draining("b")), 3) == Plan(undrain=("b",), replicas=3)


def test_the_busiest_draining_pod_is_taken_back_first() -> None:
    """The idle one has less to lose."""
    assert plan(target(ready("a"), draining("b", 3), draining("c")), 2) == Plan(undrain=("b",))


def test_a_draining_pod_is_taken_back_when_one_that_stays_stops_being_ready() -> None:
    """Of two pods the one that can serve stays."""
    there = target(replace(ready("a"), ready=False), draining("b"))
    assert plan(there, 1) == Plan(undrain=("b",), drain=("a",))


def test_the_last_pod_goes_as_any_other() -> None:
    """Zero is a count too."""
    assert plan(target(ready("a")), 0) == Plan(drain=("a",))
    assert plan(target(draining("a", drained=True)), 0) == Plan(replicas=0, remove=("a",))


def test_more_pods_than_the_count_are_left_to_the_cluster() -> None:
    """A rolling update's extra pod is not ours to drain."""
    assert plan(target(ready("a"), ready("b"), starting("c"), replicas=2), 2) == Plan()


# An ordered target loses the highest ordinals.


def ordered(*pods: PodState, replicas: int | None = None, missing: tuple[int, ...] = ()) -> TargetState:
    """Pods numbered from 0, leaving out those that are missing."""
    numbers = (number for number in range(len(pods) + len(missing)) if number not in missing)
    numbered = tuple(replace(pod, ordinal=number) for pod, number in zip(pods, numbers, strict=True))
    count = len(pods) + len(missing) if replicas is None else replicas
    return TargetState(count, numbered, ordered=True)


ENDS = {"drained": True}


@pytest.mark.parametrize(
    ("there", "desired", "steps"),
    [
        (ordered(ready("a"), ready("b")), 2, Plan()),
        (ordered(ready("a"), ready("b")), 4, Plan(replicas=4)),
        (ordered(ready("a"), ready("b", 5), ready("c", 9)), 1, Plan(drain=("c", "b"))),
        (ordered(ready("a"), draining("b"), draining("c", **ENDS)), 1, Plan(replicas=2, remove=("c",))),
        (ordered(ready("a"), draining("b", **ENDS), draining("c", 1)), 1, Plan()),
        (
            ordered(ready("a"), draining("b", **ENDS), draining("c", **ENDS)),
            1,
            Plan(replicas=1, remove=("c", "b")),
        ),
        (ordered(draining("a", **ENDS)), 0, Plan(replicas=0, remove=("a",))),
        (ordered(ready("a"), draining("b"), draining("c")), 2, Plan(undrain=("b",))),
        (ordered(ready("a"), draining("b"), draining("c")), 4, Plan(undrain=("b", "c"), replicas=4)),
        (ordered(ready("a"), draining("b"), replicas=1), 2, Plan(replicas=2)),
        (ordered(ready("a"), draining("b"), ready("c"), replicas=1), 1, Plan()),
        (ordered(ready("a"), ready("b"), replicas=4), 2, Plan(replicas=2)),
        (ordered(ready("a"), ready("b"), replicas=4), 1, Plan(drain=("b",), replicas=2)),
        (ordered(ready("a"), starting("c"), ready("b")), 2, Plan()),
        (ordered(ready("a"), ready("b"), starting("c")), 1, Plan(drain=("c", "b"))),
        (ordered(starting("a"), ready("b")), 1, Plan()),
        (ordered(starting("a"), draining("b")), 1, Plan(undrain=("b",))),
        (ordered(starting("a"), ready("b"), ready("c")), 1, Plan(drain=("c",))),
        (ordered(ready("b"), missing=(0,)), 1, Plan()),
        (ordered(ready("a"), ready("d"), missing=(1, 2)), 2, Plan()),
        (ordered(ready("a"), ready("d"), missing=(1, 2)), 1, Plan(drain=("d",))),
        (ordered(ready("a"), draining("d", **ENDS), missing=(1, 2)), 1, Plan(replicas=1, remove=("d",))),
        (ordered(ready("a"), missing=(1,)), 1, Plan(replicas=1)),
        (
            ordered(ready("a"), draining("c", **ENDS), missing=(1,)),
            0,
            Plan(drain=("a",), replicas=1, remove=("c",)),
        ),
    ],
    ids=[
        "as desired",
        "raised",
        "from the top, however busy",
        "the top may end",
        "only what is below it may end",
        "all may end",
        "the last one",
        "one is wanted again",
        "all are wanted again",
        "beyond the count and wanted again",
        "beyond the count",
        "unborn",
        "unborn, and one more",
        "nothing stands in for one that is not ready",
        "not ready goes in its turn",
        "the first is not ready",
        "the first is ready no more",
        "the first is not ready, two are",
        "the first is missing",
        "as many as desired, with gaps",
        "one too many, with gaps",
        "gone with the gaps below",
        "the top is missing",
        "gone with the gap, the next marked",
    ],
)
def test_ordered_pods_go_from_the_top(there: TargetState, desired: int, steps: Plan) -> None:
    """The count falls as far as the top may end; a gap, or a first pod that is not ready, keeps the one that serves."""
    assert plan(there, desired) == steps


def test_a_pod_that_is_not_counted_is_left_alone() -> None:
    """What the selector finds besides the ordered pods is not ours."""
    assert plan(TargetState(1, (ready("stray"),), ordered=True), 0) == Plan(replicas=0)


pods = st.builds(
    PodState,
    uid=st.uuids().map(str),
    ready=st.booleans(),
    draining=st.booleans(),
    in_flight=st.integers(0, 3),
    drained=st.booleans(),
    probed=st.booleans(),
)
unordered_targets = st.builds(
    TargetState,
    replicas=st.integers(0, 8),
    pods=st.lists(pods, max_size=8, unique_by=lambda pod: pod.uid).map(tuple),
)


@st.composite
def ordered_targets(draw: st.DrawFn) -> TargetState:
    """Any of the counted pods may be missing."""
    replicas = draw(st.integers(0, 8))
    there = [replace(draw(pods), ordinal=number) for number in range(replicas) if draw(st.booleans())]
    return TargetState(replicas, tuple(draw(st.permutations(there))), ordered=True)


targets = unordered_targets | ordered_targets()


def applied(there: TargetState, steps: Plan) -> TargetState:
    """What a Scaler makes of a plan, before any pod changes by itself."""
    replicas = there.replicas if steps.replicas is None else steps.replicas
    if there.ordered:
        kept = [pod for pod in there.pods if pod.ordinal is not None and pod.ordinal < replicas]
    else:
        kept = [pod for pod in there.pods if pod.uid not in steps.remove]
    for index, pod in enumerate(kept):
        if pod.uid in steps.undrain + steps.drain:
            kept[index] = replace(pod, draining=pod.uid in steps.drain, drained=False)
    return TargetState(replicas, tuple(kept), ordered=there.ordered)


def unmarked(there: TargetState) -> int:
    return sum(not pod.draining for pod in there.pods)


@given(there=targets, desired=st.integers(0, 8))
def test_no_plan_removes_a_pod_that_is_unmarked_or_busy(there: TargetState, desired: int) -> None:
    """Whatever the state, a removed pod had the mark and nothing in flight, and the count falls by the removed at least."""
    steps = plan(there, desired)
    left = {pod.uid for pod in applied(there, steps).pods}
    removed = [pod for pod in there.pods if pod.uid not in left]
    assert all(pod.draining and not pod.in_flight for pod in removed)
    assert len(removed) == len(steps.remove)
    if removed:
        assert steps.replicas is not None
        assert desired <= steps.replicas <= there.replicas - len(removed)


@given(there=targets, desired=st.integers(0, 8))
def test_enough_pods_stay_unmarked(there: TargetState, desired: int) -> None:
    """As many as desired, or all of those that exist and are counted."""
    after = applied(there, plan(there, desired))
    assert unmarked(after) >= min(desired, len(there.pods), after.replicas)
    assert after.replicas >= min(desired, there.replicas)


@given(there=targets, desired=st.integers(0, 8))
def test_a_plan_on_its_own_result_marks_nothing_more(there: TargetState, desired: int) -> None:
    """Applied and asked again, only never-ready pods just marked may follow, by being removed, and drained ones that stood below such in an order; then nothing."""
    after = applied(there, plan(there, desired))
    again = plan(after, desired)
    assert (again.undrain, again.drain) == ((), ())
    removed = [pod for pod in after.pods if pod.uid in again.remove]
    assert there.ordered or not any(pod.ready for pod in removed)
    assert all(pod.drained or not (pod.ready or pod.probed) for pod in removed)
    assert plan(applied(after, again), desired) == Plan()


@given(there=ordered_targets(), desired=st.integers(0, 8))
def test_ordered_pods_are_marked_from_the_top_only(there: TargetState, desired: int) -> None:
    """No unmarked pod above a marked one, and as many ready as desired, if there are so many."""
    after = applied(there, plan(there, desired))
    marks = [pod.draining for pod in sorted(after.pods, key=lambda pod: pod.ordinal or 0)]
    assert marks == sorted(marks)
    serving = sum(pod.ready and not pod.draining for pod in after.pods)
    assert serving >= min(desired, sum(pod.ready for pod in there.pods))


@dataclass
class Cluster:
    """A target that lives: pods get born, turn ready, finish requests and die."""

    ordered: bool = False
    replicas: int = 0
    pods: list[PodState] = field(default_factory=list)
    born: int = 0

    @property
    def state(self) -> TargetState:
        return TargetState(self.replicas, tuple(self.pods), ordered=self.ordered)

    def apply(self, steps: Plan) -> None:
        after = applied(self.state, steps)
        self.replicas, self.pods = after.replicas, list(after.pods)

    def live(self, load: int, deaths: list[int]) -> None:
        """One beat: deaths, births, readiness, the load on unmarked pods; marked ones finish one request each."""
        for victim in deaths:
            if victim < len(self.pods):
                del self.pods[victim]
        self.pods = [replace(pod, ready=True) for pod in self.pods]
        while len(self.pods) < self.replicas:
            self.born += 1
            free = set(range(self.replicas)) - {pod.ordinal for pod in self.pods}
            self.pods.append(
                replace(starting(f"pod-{self.born}"), ordinal=min(free) if self.ordered else None)
            )
        for index, pod in enumerate(self.pods):
            left = max(0, pod.in_flight - 1) if pod.draining else load * pod.ready
            self.pods[index] = replace(pod, in_flight=left, drained=pod.draining and left == 0)


beats = st.tuples(st.integers(0, 6), st.integers(0, 3), st.lists(st.integers(0, 5), max_size=1))


@settings(max_examples=200)
@given(ordered=st.booleans(), story=st.lists(beats, min_size=1, max_size=30))
def test_plans_converge_to_what_is_desired(ordered: bool, story: list[tuple[int, int, list[int]]]) -> None:
    """However loads, deaths and wishes changed before, once they rest the pods are as many as desired and unmarked."""
    cluster = Cluster(ordered)
    desired = 0
    for desired, load, deaths in story:
        cluster.apply(plan(cluster.state, desired))
        cluster.live(load, deaths)
    for _ in range(10):
        cluster.apply(plan(cluster.state, desired))
        cluster.live(1, [])
    assert cluster.replicas == len(cluster.pods) == unmarked(TargetState(0, tuple(cluster.pods))) == desired
