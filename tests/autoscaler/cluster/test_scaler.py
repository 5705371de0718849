"""Scaling on a cluster: marks, counts, and what others do to them meanwhile."""

import asyncio
from dataclasses import replace

import pytest

from autoscaler.cluster.pulls import Pulls
from autoscaler.cluster.scaler import ClusterScaler
from autoscaler.hands import OURS
from autoscaler.plan import Milestones, PodState, Superseded, TargetState, Unknown
from gateway.kube.client import ApiError, Unreachable
from gateway.kube.objects import epoch
from tests.autoscaler.cluster.stage import PODS, Stage

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

COST = "controller.kubernetes.io/pod-deletion-cost"
DRAINING = "tidegate.dev/draining"
CONFLICT = ApiError(409, "Conflict", "the object has been modified")


class Told:
    """Takes the place of Events."""

    def __init__(self) -> None:
        self.scales: list[str] = []

    def scaled(self, workload: object, before: int, after: int, reason: str) -> None:
        self.scales.append(f"{workload}: {before}->{after}: {reason}")


def scaler(stage: Stage, told: Told | None = None) -> ClusterScaler:
    return ClusterScaler(
        stage.cluster,  # type: ignore[arg-type]
        stage.lease,  # type: ignore[arg-type]
        told or Told(),  # type: ignore[arg-type]
        Pulls(stage.cluster, stage.lease),  # type: ignore[arg-type]
        view=lambda: stage.view,
        missing=lambda: "deployment models/iris does not exist",
    )


def three(kind: str = "Deployment", first: int = 0) -> Stage:
    stage = Stage(kind, replicas=3, first_ordinal=first)
    for number in range(first, first + 3):
        stage.pod(f"iris-{number}")
    return stage


def seen(made: ClusterScaler) -> tuple[int, list[str]]:
    there = made.observe()
    assert isinstance(there, TargetState)
    return there.replicas, [pod.uid.removeprefix("uid-iris-") for pod in there.pods]


def uids(*numbers: int) -> list[str]:
    return [f"uid-iris-{number}" for number in numbers]


async def test_what_is_there_is_what_the_view_says() -> None:
    """The count, and each pod that is not being deleted; one with an address may have requests before it is Ready."""
    stage = Stage(replicas=3)
    stage.pod("iris-0", annotations={DRAINING: "2030-01-01T00:00:00Z"})
    stage.pod("iris-1", ready=False)
    stage.pod("iris-2", ready=False, host=None)
    stage.pod("iris-3")
    stage.end("iris-3")
    assert scaler(stage).observe() == TargetState(
        3,
        (
            PodState("uid-iris-0", ready=True, draining=True, probed=True),
            PodState("uid-iris-1", ready=False, draining=False, probed=True),
            PodState("uid-iris-2", ready=False, draining=False),
        ),
        setter="",
        known_of="uid-iris 1 0",
    )
    assert repr(scaler(stage)) == "<ClusterScaler deployment models/iris replicas=3>"


async def test_a_stateful_sets_pods_have_ordinals_from_zero() -> None:
    """Wherever it begins to count."""
    there = scaler(three("StatefulSet", first=5)).observe()
    assert isinstance(there, TargetState)
    assert (there.ordered, [pod.ordinal for pod in there.pods]) == (True, [0, 1, 2])


async def test_without_a_view_nothing_is_known() -> None:
    """And it is said of what."""
    stage = Stage()
    stage.view = None
    made = scaler(stage)
    assert made.observe() == Unknown("waiting: deployment models/iris does not exist")
    assert repr(made) == "<ClusterScaler waiting: deployment models/iris does not exist>"
    with pytest.raises(Superseded, match="does not exist"):
        await made.scale(1, [])


async def test_a_mark_is_both_annotations_in_one_patch() -> None:
    """The gateways' and the cluster's; taken back together as well, and nothing else with them."""
    stage = three()
    stage.cluster.objects[f"{PODS}/iris-1"]["metadata"]["annotations"] = {"mine": "x"}
    made = scaler(stage)
    await made.drain(uids(1))
    marks = stage.annotations("iris-1")
    assert marks.keys() == {"mine", DRAINING, COST}
    assert marks[COST] == "-1000"
    assert marks[DRAINING].endswith("Z")
    await made.undrain(uids(1))
    assert stage.annotations("iris-1") == {"mine": "x"}
    assert [line for line in stage.cluster.log if "PATCH" in line] == [f"PATCH {PODS}/iris-1"] * 2


async def test_many_pods_are_marked_ten_at_a_time() -> None:
    """A hundred pods neither take a hundred turns nor come down on the API server at once."""
    stage = Stage(replicas=25)
    for number in range(25):
        stage.pod(f"iris-{number}")
    stage.cluster.delay = 0.1
    begun = asyncio.get_running_loop().time()
    await scaler(stage).drain(uids(*range(25)))
    assert all(DRAINING in stage.annotations(f"iris-{number}") for number in range(25))
    assert stage.cluster.most_at_once == 10
    assert asyncio.get_running_loop().time() - begun == pytest.approx(0.4)  # one read, and three times ten


async def test_a_pod_that_is_gone_needs_no_mark() -> None:
    """Neither one that does not exist, nor one whose name another pod has now."""
    stage = three()
    del stage.cluster.objects[f"{PODS}/iris-0"]
    stage.cluster.objects[f"{PODS}/iris-1"]["metadata"]["uid"] = "another"
    await scaler(stage).drain(uids(0, 1, 2))
    assert stage.annotations("iris-1") == {}
    assert DRAINING in stage.annotations("iris-2")


@pytest.mark.parametrize(
    "why",
    [
        "Precondition failed: UID in precondition: a, UID in object meta: b",
        "uid mismatch: the provided object specified uid a, and no existing object was found",
    ],
)
async def test_another_pod_of_the_name_may_also_be_told_as_a_conflict(why: str) -> None:
    """By servers that take the uid for a precondition."""
    stage = three()
    message = f'Operation cannot be fulfilled on pods "iris-0": {why}'
    stage.cluster.answers = [None, ApiError(409, "Conflict", message)]
    await scaler(stage).drain(uids(0, 1))
    assert DRAINING in stage.annotations("iris-1")


@pytest.mark.parametrize(
    "refusal",
    [
        ApiError(403, "Forbidden", "pods is forbidden"),
        ApiError(422, "Invalid", 'Pod "iris-0" is invalid: metadata.annotations: Too long'),
        CONFLICT,
    ],
    ids=lambda refusal: str(refusal.status),
)
async def test_other_refusals_of_a_mark_are_errors(refusal: ApiError) -> None:
    """After all the others were tried."""
    stage = three()
    stage.cluster.answers = [None, refusal]
    with pytest.raises(ApiError, match=str(refusal)):
        await scaler(stage).drain(uids(0, 1))
    assert DRAINING in stage.annotations("iris-1")


async def test_a_count_is_set_at_the_version_that_was_seen() -> None:
    """One read before the first write as a leader, then one patch; the count counts before the view tells of it."""
    stage, told = Stage(), Told()
    made = scaler(stage, told)
    made.reason = "3 queued and no pod ready: waking with 3"
    await made.scale(3, [])
    assert stage.cluster.log == [f"GET {stage.path}", f"PATCH {stage.path}/scale"]
    assert stage.cluster.bodies[0]["metadata"]["resourceVersion"] == stage.view.workload.resource_version  # type: ignore[union-attr]
    assert (stage.replicas, seen(made)) == (3, (3, []))
    assert told.scales == ["deployment models/iris: 0->3: 3 queued and no pod ready: waking with 3"]
    stage.see()
    stage.set_by_hand(2)
    stage.see()
    assert seen(made) == (2, [])


async def test_the_next_count_is_set_at_the_version_of_the_last() -> None:
    """Before any watch has told of it."""
    stage = Stage()
    made = scaler(stage)
    await made.scale(3, [])
    await made.scale(5, [])
    assert stage.replicas == 5
    assert len([line for line in stage.cluster.log if "PATCH" in line]) == 2


async def test_versions_that_are_no_numbers_are_told_apart_by_their_counts() -> None:
    """What the API promises is only that they differ."""
    stage = Stage()
    made = scaler(stage)
    await made.scale(3, [])
    assert stage.view is not None
    assert stage.view.workload is not None
    stage.view = replace(stage.view, workload=replace(stage.view.workload, resource_version="x1"))
    assert seen(made) == (3, [])
    stage.view = replace(stage.view, workload=replace(stage.view.workload, replicas=3))  # type: ignore[arg-type]
    assert seen(made) == (3, [])
    stage.view = replace(stage.view, workload=replace(stage.view.workload, replicas=4))  # type: ignore[arg-type]
    assert seen(made) == (4, [])


async def test_an_object_made_anew_has_its_own_count() -> None:
    """What was set on the old one is forgotten."""
    stage = Stage()
    made = scaler(stage)
    await made.scale(3, [])
    stage.cluster.objects[stage.path]["metadata"]["uid"] = "another"
    stage.set_by_hand(1)
    stage.see()
    assert seen(made) == (1, [])


async def test_a_change_of_something_else_is_no_obstacle() -> None:
    """The count is as it was planned with, so it is set at the newer version."""
    stage = three()
    made = scaler(stage)
    await made.drain(uids(2))
    stage.touch()
    await made.scale(2, uids(2))
    assert stage.replicas == 2


async def test_another_hands_count_is_not_overwritten() -> None:
    """The plan is given up, and what they set is what the next one begins with, even before the view tells."""
    stage = three()
    made = scaler(stage)
    await made.drain(uids(2))
    stage.set_by_hand(7)
    with pytest.raises(Superseded, match="deployment models/iris was set to 7 by another hand, from 3"):
        await made.scale(2, uids(2))
    assert (stage.replicas, seen(made)[0]) == (7, 7)


async def test_a_plan_whose_beginning_changed_while_pods_were_marked_is_given_up() -> None:
    """The view told of another count in the meantime."""
    stage = three()
    made = scaler(stage)
    stage.cluster.delay = 1.0
    marking = asyncio.create_task(made.drain(uids(2)))
    await asyncio.sleep(1.5)
    stage.set_by_hand(7)
    stage.see()
    with pytest.raises(Superseded, match="7 by another hand"):
        await marking


async def test_conflicts_without_end_are_an_error() -> None:
    """After the first try and three more."""
    stage = Stage()
    made = scaler(stage)
    stage.cluster.answers = [None] + [CONFLICT, None] * 4
    with pytest.raises(ApiError, match="modified"):
        await made.scale(1, [])
    assert len([line for line in stage.cluster.log if "PATCH" in line]) == 4


async def test_pods_that_the_count_has_cost_are_left_out() -> None:
    """From the moment that it is set, until they are being deleted; what the plan named, not another marked one."""
    stage = three()
    made = scaler(stage)
    await made.drain(uids(1, 2))
    stage.see()
    await made.scale(2, uids(1))
    assert seen(made) == (2, ["0", "2"])
    stage.see()
    assert seen(made) == (2, ["0", "2"])
    stage.end("iris-1")
    assert seen(made) == (2, ["0", "2"])


async def test_a_named_pod_that_was_spared_is_there_again() -> None:
    """Another died first, so that the count was met without it."""
    stage = three()
    made = scaler(stage)
    await made.drain(uids(1))
    stage.see()
    await made.scale(2, uids(1))
    stage.end("iris-0")
    assert seen(made) == (2, ["1", "2"])


async def test_a_rolling_updates_extra_pod_costs_no_marked_one() -> None:
    """What was marked here is gone once it was named, not before."""
    stage = three()
    made = scaler(stage)
    await made.drain(uids(0))
    stage.pod("iris-3", ready=False)
    assert seen(made) == (3, ["0", "1", "2", "3"])


async def test_of_what_a_former_leader_marked_the_surplus_is_left_out() -> None:
    """As the cluster would choose: the newest."""
    stage = three()
    for number in (0, 2):
        stage.cluster.objects[f"{PODS}/iris-{number}"]["metadata"]["annotations"] = {DRAINING: "x"}
    stage.set_by_hand(2)
    stage.see()
    assert seen(scaler(stage)) == (2, ["0", "1"])


async def test_a_pod_that_a_former_leader_named_is_known_by_its_cost() -> None:
    """Though another of its marked ones is newer."""
    stage = three()
    for number, cost in ((0, "-2000"), (2, "-1000")):
        marks = {DRAINING: "x", COST: cost}
        stage.cluster.objects[f"{PODS}/iris-{number}"]["metadata"]["annotations"] = marks
    stage.set_by_hand(2)
    stage.see()
    assert seen(scaler(stage)) == (2, ["1", "2"])


async def test_the_pods_that_may_end_are_told_apart_from_those_that_may_not() -> None:
    """The cluster takes the lowest cost; busy ones that are marked as well keep theirs."""
    stage = three()
    made = scaler(stage)
    await made.drain(uids(1, 2))
    stage.see()
    await made.scale(2, uids(2))
    assert (stage.annotations("iris-1")[COST], stage.annotations("iris-2")[COST]) == ("-1000", "-2000")


async def test_all_marked_pods_together_need_no_second_patch() -> None:
    """One patch for the mark, one for the count."""
    stage = three()
    made = scaler(stage)
    await made.drain(uids(2))
    stage.see()
    await made.scale(2, uids(2))
    assert [line for line in stage.cluster.log if "PATCH" in line] == [
        f"PATCH {PODS}/iris-2",
        f"PATCH {stage.path}/scale",
    ]


async def test_a_stateful_set_is_asked_for_nobody() -> None:
    """It takes the last; those beyond the count are left out."""
    stage = three("StatefulSet")
    made = scaler(stage)
    await made.drain(uids(1, 2))
    stage.see()
    await made.scale(2, uids(2))
    assert stage.annotations("iris-2")[COST] == "-1000"
    assert seen(made) == (2, ["0", "1"])


async def test_a_lowered_count_whose_answer_was_lost_is_looked_up_before_anything_else() -> None:
    """Else a pod would be unmarked, and get requests, that is being deleted."""
    stage = three()
    made = scaler(stage)
    await made.drain(uids(2))
    stage.see()
    stage.cluster.lost_answers = 1
    with pytest.raises(Unreachable):
        await made.scale(2, uids(2))
    assert seen(made) == (3, ["0", "1", "2"])
    with pytest.raises(Superseded, match="set to 2"):
        await made.undrain(uids(2))
    assert DRAINING in stage.annotations("iris-2")
    assert seen(made) == (2, ["0", "1"])


async def test_a_new_leader_with_a_late_view_asks_first() -> None:
    """The one before may have lowered the count."""
    stage = three()
    made = scaler(stage)
    stage.set_by_hand(2)
    with pytest.raises(Superseded, match="set to 2"):
        await made.undrain(uids(2))
    assert not any("PATCH" in line for line in stage.cluster.log)
    stage.lease.term = 2
    stage.see()
    await made.undrain(uids(2))
    assert len([line for line in stage.cluster.log if "GET" in line]) == 2


async def test_what_was_marked_in_a_former_term_may_have_been_named_since() -> None:
    """By whoever led in between."""
    stage = three()
    made = scaler(stage)
    await made.drain(uids(2))
    stage.set_by_hand(2)
    stage.see()
    assert seen(made) == (2, ["0", "1", "2"])
    stage.lease.term = 2
    assert seen(made) == (2, ["0", "1"])


async def test_who_does_not_lead_writes_nothing() -> None:
    """And that is no failure."""
    stage = three()
    made = scaler(stage)
    stage.lease.left = 0.0
    with pytest.raises(Superseded, match="another autoscaler leads"):
        await made.drain(uids(2))
    with pytest.raises(Superseded, match="another autoscaler leads"):
        await made.scale(5, [])
    assert stage.cluster.log == []


async def test_a_write_ends_with_the_leaders_time() -> None:
    """However slow the API server is."""
    stage = three()
    made = scaler(stage)
    stage.lease.left = 1.5
    stage.cluster.delay = 60.0
    begun = asyncio.get_running_loop().time()
    with pytest.raises(Unreachable):
        await made.scale(5, [])
    assert asyncio.get_running_loop().time() - begun == pytest.approx(1.5)


async def test_leaving_takes_marks_back() -> None:
    """Of the pods that stay; the count stays as it is."""
    stage = three()
    made = scaler(stage)
    await made.drain(uids(0, 1, 2))
    stage.see()
    await made.scale(2, uids(2))
    leaving = made.leave()
    stage.view = None
    await leaving
    assert [DRAINING in stage.annotations(f"iris-{number}") for number in range(3)] == [False, False, True]
    assert stage.replicas == 2


async def test_how_a_pod_came_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ages by the wall clock, which the cluster's times are of."""
    stage = Stage(replicas=1)
    stage.pod("iris-1")
    item = stage.cluster.objects[f"{PODS}/iris-1"]
    item["status"]["conditions"] = [
        *item["status"].get("conditions", []),
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2030-01-01T00:00:02Z"},
    ]
    item["status"]["containerStatuses"] = [{"state": {"running": {"startedAt": "2030-01-01T00:00:05Z"}}}]
    stage.see()
    monkeypatch.setattr("time.time", lambda: epoch("2030-01-01T00:00:09Z"))
    made = scaler(stage)
    assert made.milestones("uid-iris-1") == Milestones(created=8.0, scheduled=7.0, started=4.0)
    assert made.milestones("another") is None


async def test_who_has_set_the_count_is_told() -> None:
    """By the API server's book, but for what was just written from here, and for what was just read."""
    stage = three()
    made = scaler(stage)
    stage.set_by_hand(4)
    stage.see()
    assert setter(made) == (4, "kubectl")
    await made.scale(5, [])
    assert setter(made) == (5, OURS)
    stage.set_by_hand(6, "kube-controller-manager")
    with pytest.raises(Superseded):
        await made.scale(7, [])
    assert setter(made) == (6, "kube-controller-manager")


async def test_a_new_term_knows_the_count_as_another() -> None:
    """And so does another object of the same name."""
    stage = three()
    made = scaler(stage)
    first = known_of(made)
    stage.lease.term += 1
    assert known_of(made) != first
    stage.cluster.objects[stage.path]["metadata"]["uid"] = "uid-again"
    stage.see()
    assert known_of(made) == "uid-again 2 0"


async def test_what_a_new_leader_asks_for_is_found_and_no_change() -> None:
    """The leader before it has lowered the count, which its view does not show yet."""
    stage = three()
    made = scaler(stage)
    before = known_of(made)
    stage.set_by_hand(2)
    with pytest.raises(Superseded):
        await made.drain(uids(2))
    assert setter(made)[0] == 2
    assert known_of(made) != before


async def test_a_quota_is_told_with_what_is_there() -> None:
    """The count stays what it is, so nothing is written again."""
    stage = three()
    failing = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    stage.cluster.objects[stage.path]["status"] = {"conditions": [failing]}
    stage.see()
    there = scaler(stage).observe()
    assert isinstance(there, TargetState)
    assert (there.replicas, there.stuck) == (3, "exceeded quota")


def setter(made: ClusterScaler) -> tuple[int, str | None]:
    there = made.observe()
    assert isinstance(there, TargetState)
    return there.replicas, there.setter


def known_of(made: ClusterScaler) -> str:
    there = made.observe()
    assert isinstance(there, TargetState)
    return there.known_of
