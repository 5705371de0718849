"""status: what people and KServe's own tools read."""

from tests.inferences import Cluster, asked, condition, isvc, model


def served() -> Cluster:
    cluster = Cluster(isvc())
    cluster.settle()
    return cluster


def test_conditions_have_kserves_types_in_their_order() -> None:
    """Sorted; those that do not decide on Ready are of severity Info."""
    conditions = served().service["status"]["conditions"]
    assert [(c["type"], c.get("severity")) for c in conditions] == [
        ("IngressReady", None),
        ("LatestDeploymentReady", "Info"),
        ("PredictorReady", None),
        ("Ready", None),
        ("RoutesReady", "Info"),
    ]
    assert {c["status"] for c in conditions} == {"True"}


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    """Whatever is observed in between."""
    cluster = served()
    ingress = condition(cluster.service["status"], "IngressReady")["lastTransitionTime"]
    ready = condition(cluster.service["status"], "Ready")["lastTransitionTime"]
    assert ingress < ready
    cluster.now += 1000
    cluster.settle()
    assert condition(cluster.service["status"], "Ready")["lastTransitionTime"] == ready


def test_what_kserves_sdk_waits_for_is_there() -> None:
    """Ready of the generation; its table wants `latestRevision` of each target."""
    cluster = served()
    cluster.change(image="flowers:2", canaryTrafficPercent=25)
    cluster.settle()
    status = cluster.service["status"]
    assert status["observedGeneration"] == 2
    assert condition(status, "Ready")["status"] == "True"
    traffic = status["components"]["predictor"]["traffic"]
    assert [(t["latestRevision"], t["percent"]) for t in traffic] == [(True, 25), (False, 75)]


def test_where_it_is_reached() -> None:
    """From outside, and from the cluster."""
    status = served().service["status"]
    assert status["url"] == "http://flowers-models.example.com"
    assert status["address"] == {"url": "http://flowers.models.svc.cluster.local"}


def test_percents_are_a_hundred_together() -> None:
    """Three pods to one are 75 and 25; thirds are rounded."""
    strategy = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    cluster = Cluster(isvc(deploymentStrategy=strategy, minReplicas=3), load=3)
    cluster.settle()
    cluster.change(image="flowers:2")
    for _ in range(15):
        cluster.turn()
        traffic = cluster.service["status"]["components"]["predictor"]["traffic"]
        assert sum(target["percent"] for target in traffic) == 100


def test_pods_that_are_lost_make_it_not_ready() -> None:
    """Once it has been ready, a pod that may not be missing is missed."""
    cluster = served()
    (item,) = cluster.deployments.values()
    item["status"]["readyReplicas"] = 0
    answer = cluster.turn()
    assert condition(answer.status, "Ready")["reason"] == "NoPodReady"
    assert ("Warning", "NoPodReady") in [event[:2] for event in answer.events]


def test_the_runtime_that_was_chosen_is_named() -> None:
    """As KServe names it."""
    assert asked(model()).status["clusterServingRuntimeName"] == "kserve-sklearnserver"


def test_without_a_runtime_the_model_status_says_why() -> None:
    """With KServe's reason."""
    status = asked(model(modelFormat={"name": "abacus"})).status
    assert status["modelStatus"]["lastFailureInfo"]["reason"] == "NoSupportingRuntime"
    assert condition(status, "PredictorReady")["reason"] == "NoSupportingRuntime"
    assert "abacus" in condition(status, "Ready")["message"]
