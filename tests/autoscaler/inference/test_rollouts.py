"""Revisions in virtual time: rollovers, canaries, what never starts, a status that is lost."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inferences import UID, Cluster, condition, isvc

OLD, NEW, NEWER = "flowers:1", "flowers:2", "flowers:3"
IN_PLACE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def rolled_out(load: int = 1, **predictor: Any) -> Cluster:
    """One that serves."""
    cluster = Cluster(isvc(image=OLD, **predictor), load=load)
    cluster.settle()
    assert cluster.weights == {OLD: 100}
    return cluster


def component(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.service["status"]["components"]["predictor"]
    return found


def ready(cluster: Cluster) -> tuple[str, str]:
    found = condition(cluster.service["status"], "Ready")
    return found["status"], found.get("reason", "")


def test_a_first_revision_takes_requests_before_it_is_ready() -> None:
    """They wait for it."""
    cluster = Cluster(isvc(image=OLD))
    cluster.turn()
    assert cluster.weights == {OLD: 100}
    assert ready(cluster) == ("Unknown", "Deploying")
    cluster.settle()
    assert ready(cluster) == ("True", "")
    assert cluster.events == ["RevisionCreated", "RolledOut", "InferenceServiceReady"]


def test_one_that_may_have_no_pods_shows_first_that_it_starts() -> None:
    """Then it goes to zero and stays ready."""
    cluster = Cluster(isvc(image=OLD, minReplicas=0), load=0)
    assert cluster.turn().document["backends"].popitem()[1]["scale"]["min"] == 1  # type: ignore[index]
    assert cluster.pods == {OLD: 1}
    cluster.settle()
    assert cluster.pods == {OLD: 0}
    assert ready(cluster) == ("True", "")
    assert cluster.service["status"]["modelStatus"]["states"]["activeModelState"] == "Standby"


def test_a_new_revision_takes_over_once_it_has_as_many_pods_as_the_old_one() -> None:
    """Nobody meets fewer pods; the old one is gone once it is drained."""
    cluster = rolled_out(load=3)
    cluster.change(image=NEW)
    seen = []
    for _ in range(12):
        cluster.turn()
        seen.append((cluster.weights, cluster.ready.get(NEW, 0)))
    before = [count for weights, count in seen if weights == {OLD: 100}]
    assert before
    assert max(before) <= 3
    assert seen[-1] == ({NEW: 100}, 3)
    cluster.settle()
    assert cluster.pods == {NEW: 3}
    assert component(cluster)["latestRolledoutRevision"] != component(cluster)["previousRolledoutRevision"]


def test_ready_waits_for_the_new_revision() -> None:
    """As with Knative: whoever waits after a change waits for that change."""
    cluster = rolled_out()
    cluster.change(image=NEW)
    cluster.turn()
    assert ready(cluster)[0] == "Unknown"
    assert cluster.service["status"]["observedGeneration"] == 2
    assert condition(cluster.service["status"], "IngressReady")["status"] == "True"
    cluster.settle()
    assert ready(cluster) == ("True", "")


def test_a_revision_that_never_starts_takes_nothing() -> None:
    """The one before it goes on, and the status says why."""
    cluster = rolled_out(load=2)
    cluster.broken = {NEW}
    cluster.change(image=NEW)
    for _ in range(30):
        cluster.turn()
        assert cluster.weights == {OLD: 100}
    assert cluster.ready[OLD] == 2
    assert ready(cluster) == ("False", "PodsCannotStart")
    assert cluster.service["status"]["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
    cluster.change(image=OLD)
    cluster.settle()
    assert cluster.pods == {OLD: 2}
    assert ready(cluster) == ("True", "")


def test_a_canary_takes_its_percentage_and_is_promoted() -> None:
    """Without one of its pods ending."""
    cluster = rolled_out(load=10)
    cluster.change(image=NEW, canaryTrafficPercent=10)
    cluster.turn()
    assert cluster.weights == {OLD: 100}
    cluster.settle()
    assert cluster.weights == {OLD: 90, NEW: 10}
    traffic = component(cluster)["traffic"]
    assert [(t["latestRevision"], t["percent"], t.get("tag")) for t in traffic] == [
        (True, 10, None),
        (False, 90, "prev"),
    ]
    assert ready(cluster) == ("True", "")
    cluster.change(canaryTrafficPercent=None)
    cluster.turn()
    assert cluster.weights == {OLD: 90, NEW: 10}
    cluster.settle()
    assert cluster.pods == {NEW: 10}


def test_a_canary_is_rolled_back() -> None:
    """It stays, dark, and may have no pods."""
    cluster = rolled_out(load=2, minReplicas=1)
    cluster.change(image=NEW, canaryTrafficPercent=50)
    cluster.settle()
    assert cluster.weights == {OLD: 50, NEW: 50}
    cluster.change(canaryTrafficPercent=0)
    cluster.settle()
    assert cluster.weights == {OLD: 100}
    assert cluster.pods == {OLD: 2, NEW: 0}
    assert ready(cluster) == ("True", "")


def test_a_canary_whose_pods_are_gone_takes_nothing_until_they_are_back() -> None:
    """Its share goes to the one that answers."""
    cluster = rolled_out(load=4)
    cluster.change(image=NEW, canaryTrafficPercent=50)
    cluster.settle()
    cluster.broken = {NEW}
    cluster.turn()
    cluster.turn()
    assert cluster.weights == {OLD: 100}
    cluster.broken = set()
    cluster.settle()
    assert cluster.weights == {OLD: 50, NEW: 50}


def test_a_spec_that_changes_again_in_the_middle_gives_up_the_one_between() -> None:
    """It never takes traffic."""
    cluster = rolled_out(load=3)
    cluster.change(image=NEW)
    cluster.turn()
    cluster.change(image=NEWER)
    for _ in range(30):
        cluster.turn()
        assert NEW not in cluster.weights
    cluster.settle()
    assert cluster.pods == {NEWER: 3}


def test_going_back_in_the_middle_of_a_rollover_starts_nothing() -> None:
    """The old one never stopped to serve."""
    cluster = rolled_out(load=3)
    cluster.change(image=NEW)
    cluster.turn()
    cluster.change(image=OLD)
    for _ in range(20):
        cluster.turn()
        assert cluster.weights == {OLD: 100}
        assert cluster.pods[OLD] == 3
    cluster.settle()
    assert cluster.pods == {OLD: 3}


def test_a_lost_status_is_found_again_from_what_is_there() -> None:
    """The revision with the pods is the one that is rolled out."""
    cluster = rolled_out(load=5)
    cluster.change(image=NEW, canaryTrafficPercent=20)
    cluster.settle()
    for _ in range(3):
        del cluster.service["status"]
        cluster.turn()
        assert cluster.weights == {OLD: 80, NEW: 20}


def test_a_lost_status_does_not_stop_a_rollover() -> None:
    """At whatever step it gets lost."""
    for lost in range(1, 10):
        cluster = rolled_out(load=3)
        cluster.change(image=NEW)
        for turn in range(10):
            if turn == lost:
                del cluster.service["status"]
            cluster.turn()
            assert any(cluster.ready.get(image) for image in cluster.weights)
        cluster.settle()
        assert cluster.pods == {NEW: 3}


def test_without_surge_the_old_pods_make_room_one_by_one() -> None:
    """Four pods in all, three of them ready, at any time; traffic by ready pods."""
    cluster = rolled_out(load=4, maxReplicas=4, deploymentStrategy=IN_PLACE)
    cluster.change(image=NEW)
    weights = []
    for _ in range(40):
        cluster.turn()
        assert sum(cluster.pods.values()) <= 4
        assert sum(cluster.bounds.values()) <= 4
        assert sum(cluster.ready.values()) >= 2  # one leaves while the one that came is not ready yet
        weights.append(cluster.weights.get(NEW, 0))
    assert weights == sorted(weights)
    assert len(set(weights)) > 3
    cluster.settle()
    assert cluster.pods == {NEW: 4}


def test_one_pod_without_surge_leaves_before_the_next_comes() -> None:
    """Requests wait for the new one meanwhile."""
    cluster = rolled_out(load=1, maxReplicas=1, deploymentStrategy=IN_PLACE)
    cluster.change(image=NEW)
    for _ in range(10):
        cluster.turn()
        assert sum(cluster.pods.values()) <= 1
        assert cluster.weights
    cluster.settle()
    assert cluster.pods == {NEW: 1}


def test_recreate_has_all_old_pods_leave_first() -> None:
    """Never both at once."""
    cluster = rolled_out(load=3, maxReplicas=3, deploymentStrategy={"type": "Recreate"})
    cluster.change(image=NEW)
    for _ in range(20):
        cluster.turn()
        assert sorted(cluster.pods.values())[:-1] in ([], [0])
    cluster.settle()
    assert cluster.pods == {NEW: 3}


@pytest.mark.parametrize("turns", range(1, 9))
def test_a_mistake_in_the_middle_of_a_step_makes_no_room(turns: int) -> None:
    """Without surge there are no more pods than there were, whether the spec is refused or not; and the step goes on after."""
    cluster = rolled_out(load=3, minReplicas=3, maxReplicas=6, deploymentStrategy=IN_PLACE)
    cluster.change(image=NEW)
    for _ in range(turns):
        cluster.turn()
    weights = cluster.weights
    cluster.change(logger={})
    for _ in range(5):
        cluster.turn()
        assert sum(cluster.pods.values()) <= 3
        assert sum(cluster.ready.values()) >= 2
        assert cluster.weights == weights
    cluster.change(logger=None)
    cluster.settle()
    assert cluster.pods == {NEW: 3}


def test_canaries_of_a_list_take_their_parts() -> None:
    """Each is a revision of its own, and the predictor has what is left."""
    cluster = rolled_out(load=10)
    entry = isvc(image=NEW, name="next")["spec"]["predictor"]
    cluster.service["spec"]["canary"] = [{"predictor": entry, "trafficPercent": 20}]
    cluster.turn()
    assert cluster.weights == {OLD: 100}
    cluster.settle()
    assert cluster.weights == {OLD: 80, NEW: 20}
    names = sorted(cluster.deployments)
    assert [name.rpartition("-")[0] for name in names] == ["flowers-next-predictor", "flowers-predictor"]
    assert cluster.service["status"]["canaryStatuses"] == [
        {"name": "next", "ready": True, "trafficPercent": 20, "modelStatus": {"transitionStatus": "UpToDate"}}
    ]
    assert condition(cluster.service["status"], "CanaryPredictorReady")["status"] == "True"


def test_a_canary_of_a_list_is_promoted_by_its_name() -> None:
    """Its pods go on."""
    cluster = rolled_out(load=10)
    entry = isvc(image=NEW, name="next")["spec"]["predictor"]
    cluster.service["spec"]["canary"] = [{"predictor": entry, "trafficPercent": 20}]
    cluster.settle()
    made = {name for name in cluster.deployments if "next" in name}
    del cluster.service["spec"]["canary"]
    cluster.service["spec"]["predictor"] = entry
    cluster.settle()
    assert set(cluster.deployments) == made
    assert cluster.pods == {NEW: 10}


def test_a_list_of_canaries_whose_revision_changes_keeps_the_one_that_answers() -> None:
    """Until the next is ready."""
    cluster = rolled_out(load=10)
    entry = isvc(image=NEW, name="next")["spec"]["predictor"]
    cluster.service["spec"]["canary"] = [{"predictor": entry, "trafficPercent": 20}]
    cluster.settle()
    cluster.broken = {NEWER}
    entry["containers"][0]["image"] = NEWER
    for _ in range(8):
        cluster.turn()
        assert cluster.weights == {OLD: 80, NEW: 20}
    cluster.broken = set()
    cluster.settle()
    assert cluster.weights == {OLD: 80, NEWER: 20}


def test_what_leaves_has_no_autoscaler_of_the_cluster() -> None:
    """It would hold a pod."""
    cluster = rolled_out(load=2, scaleMetric="cpu", maxReplicas=5)
    cluster.change(image=NEW)
    cluster.settle()
    (scaler,) = [item for (kind, _), item in cluster.objects.items() if kind == "HorizontalPodAutoscaler"]
    assert scaler["spec"]["scaleTargetRef"]["name"] in cluster.deployments
    assert cluster.pods == {NEW: 2}


# Laws.

_CHANGES = st.fixed_dictionaries(
    {"image": st.sampled_from([OLD, NEW, NEWER]), "percent": st.sampled_from([None, None, None, 0, 10, 50])}
)
_PROGRAMS = st.lists(
    st.fixed_dictionaries(
        {
            "change": st.none() | _CHANGES,
            "broken": st.sampled_from([None, None, None, (), (NEW,), (NEWER,)]),
            "lost": st.sampled_from([False, False, False, False, True]),
            "turns": st.integers(1, 6),
        }
    ),
    min_size=1,
    max_size=6,
)


def play(cluster: Cluster, step: dict[str, Any]) -> None:
    """One line of a program."""
    if step["change"]:
        spec = cluster.service["spec"]["predictor"]
        spec["containers"][0]["image"] = step["change"]["image"]
        spec.pop("canaryTrafficPercent", None)
        if step["change"]["percent"] is not None:
            spec["canaryTrafficPercent"] = step["change"]["percent"]
    if step["broken"] is not None:
        cluster.broken = set(step["broken"])
    if step["lost"]:
        cluster.service.pop("status", None)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_PROGRAMS, st.integers(1, 6), st.integers(1, 3))
def test_the_traffic_is_on_what_answers_whenever_something_does(program: Any, load: int, least: int) -> None:
    """At every step of whatever happens; but for a percentage of 0, which says where it must not go."""
    cluster = rolled_out(load, minReplicas=least)
    for step in program:
        play(cluster, step)
        for _ in range(step["turns"]):
            before = cluster.ready
            cluster.turn()
            serving = [image for image in cluster.weights if before.get(image)]
            asked = cluster.service["spec"]["predictor"]
            able = {asked["containers"][0]["image"], *cluster.weights} & {i for i, n in before.items() if n}
            if able and asked.get("canaryTrafficPercent") != 0:
                assert sorted(serving) == sorted(cluster.weights), (before, cluster.weights)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_PROGRAMS, st.integers(1, 6), st.integers(1, 6))
def test_without_surge_there_are_never_more_pods_than_there_were(
    program: Any, load: int, unavailable: int
) -> None:
    """Old and new together, whatever happens; and neither do their bounds allow more."""
    strategy = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": unavailable}}
    cluster = rolled_out(load, minReplicas=1, maxReplicas=6, deploymentStrategy=strategy)
    most = max(1, load)
    for step in program:
        play(cluster, {**step, "lost": False})
        for _ in range(step["turns"]):
            cluster.turn()
            assert sum(cluster.pods.values()) <= most, cluster.pods
            if any(
                "tidegate.dev/budget" in d["metadata"]["annotations"] for d in cluster.deployments.values()
            ):
                assert sum(cluster.bounds.values()) <= most, (cluster.bounds, cluster.pods)


def test_the_owner_is_the_inference_service() -> None:
    """Deleting it deletes all."""
    cluster = rolled_out()
    for item in cluster.objects.values():
        (owner,) = item["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("InferenceService", UID, True)
