"""document: what the gateways are told."""

from tests.inferences import Cluster, asked, isvc


def test_a_route_has_the_hosts_that_kserve_gives() -> None:
    """From outside by the domain, from the cluster by its Service's name."""
    found = asked(isvc()).document
    assert found is not None
    assert found["routes"][0]["hosts"] == [
        "flowers-models.example.com",
        "flowers.models",
        "flowers.models.svc",
        "flowers.models.svc.cluster.local",
    ]


def test_there_is_a_route_by_path() -> None:
    """For those who have one host for all."""
    found = asked(isvc()).document
    assert found is not None
    _, by_path = found["routes"]
    assert by_path["paths"] == ["/serving/models/flowers"]
    assert by_path["rewrite"] == {"prefix": "/"}
    assert by_path["split"] == found["routes"][0]["split"]


def test_a_stopped_one_answers_503() -> None:
    """By host and by path."""
    item = isvc()
    item["metadata"]["annotations"] = {"serving.kserve.io/stop": "true"}
    found = asked(item).document
    assert found is not None
    assert [route["respond"]["status"] for route in found["routes"]] == [503, 503]


def test_one_that_leaves_has_nothing_that_would_keep_it() -> None:
    """Neither a retention nor a delay nor another hand."""
    annotations = {"autoscaling.knative.dev/scale-to-zero-pod-retention-period": "10m"}
    cluster = Cluster(isvc(scaleMetric="cpu", maxReplicas=4, minReplicas=2, annotations=annotations))
    cluster.settle()
    cluster.change(image="flowers:2")
    for _ in range(3):
        answer = cluster.turn()
    assert answer.document is not None
    leaving = [b["scale"] for b in answer.document["backends"].values() if b["scale"]["min"] == 0]
    assert leaving == [{"min": 0, "max": 2}]
