"""What is known of InferenceServices, from watches and from one's own writes."""

from typing import Any

from autoscaler.cluster.inference.kinds import DOCUMENTS, MADE, RUNTIMES, SERVICES
from autoscaler.cluster.inference.known import Known
from autoscaler.inference.shapes import SERVICE_LABEL, WANTED

Object = dict[str, Any]
KEY = ("models", "iris")
OURS = {"tidegate.dev/class": "tidegate"}


def service(version: str = "1", *, ours: bool = True, created: str = "2026-01-01T00:00:00Z") -> Object:
    about = {"namespace": "models", "name": "iris", "resourceVersion": version, "uid": "u"}
    return {"metadata": {**about, "creationTimestamp": created, "annotations": OURS if ours else {}}}


def deployment(version: str = "1", uid: str = "d", owner: str = "u", **annotations: str) -> Object:
    about = {
        "namespace": "models",
        "name": "iris-predictor-1",
        "resourceVersion": version,
        "uid": uid,
        "labels": {SERVICE_LABEL: "iris"},
        "annotations": annotations or {WANTED: "1"},
        "ownerReferences": [{"uid": owner, "controller": True}],
    }
    return {"kind": "Deployment", "metadata": about}


def test_a_watch_that_lags_takes_nothing_back() -> None:
    """What was written is known from the moment of the answer."""
    known = Known()
    known.take(MADE[0], deployment("9"))
    known.take(MADE[0], deployment("10"))
    known.take(MADE[0], deployment("9"))
    assert [item["metadata"]["resourceVersion"] for item in known.made(KEY)] == ["10"]


def test_the_answer_to_a_write_brings_back_nothing_whose_end_was_seen() -> None:
    """A watch may be faster than an answer: a service that is gone would keep its routes for good. A watch that sees it again is right."""
    known = Known()
    known.wrote(SERVICES[0], service("1"))
    assert len(known.services(KEY, everything=True)) == 1
    known.ended(SERVICES[0], service("2"))
    known.wrote(SERVICES[0], service("2"))
    assert known.services(KEY, everything=True) == []
    known.take(SERVICES[0], service("3"))
    known.wrote(SERVICES[0], service("4"))
    assert len(known.services(KEY, everything=True)) == 1


def test_one_that_is_made_anew_counts_whatever_its_version() -> None:
    """And the end of the one before it does not take it away."""
    known = Known()
    known.take(MADE[0], deployment("9", uid="first"))
    known.take(MADE[0], deployment("4", uid="second"))
    known.drop(MADE[0], deployment("9", uid="first"))
    assert [item["metadata"]["uid"] for item in known.made(KEY)] == ["second"]


def test_what_others_have_made_is_not_ours() -> None:
    """KServe's objects carry the same label; another life's another owner."""
    known = Known()
    known.take(MADE[0], deployment(team="blue"))
    assert known.made(KEY) == []
    known.take(MADE[0], deployment("2"))
    assert len(known.made(KEY, "u")) == 1
    assert known.made(KEY, "another") == []


def test_the_class_says_which_are_ours() -> None:
    """Unless all are."""
    known = Known()
    known.take(SERVICES[0], service(ours=False))
    assert known.services(KEY, everything=False) == []
    assert len(known.services(KEY, everything=True)) == 1


def test_of_two_with_one_name_the_older_comes_first() -> None:
    """Of the same second, the newer group's."""
    known = Known()
    known.take(SERVICES[0], service())
    known.take(SERVICES[1], service())
    assert [kind for kind, _ in known.services(KEY, everything=False)] == [*SERVICES]
    known.take(SERVICES[1], service("2", created="2025-01-01T00:00:00Z"))
    assert [kind for kind, _ in known.services(KEY, everything=False)] == [*reversed(SERVICES)]


def test_a_document_is_known_by_its_annotation() -> None:
    """It is in another namespace than what it is of; and when all is gone, nothing is left to look at."""
    known = Known()
    about = {
        "namespace": "tidegate",
        "name": "x",
        "annotations": {"tidegate.dev/inference-service": "models/iris"},
    }
    document = {"kind": "ConfigMap", "metadata": about}
    assert known.take(DOCUMENTS, document) == KEY
    assert known.keys() == {KEY}
    assert known.drop(DOCUMENTS, document) == KEY
    assert known.keys() == set()


def test_runtimes_are_everybodys() -> None:
    """Of the cluster, of namespaces, and those that come with Tidegate."""
    known = Known()
    shipped = len(known.runtimes.known)
    item = {"kind": "ServingRuntime", "metadata": {"namespace": "models", "name": "demo"}, "spec": {}}
    assert known.take(RUNTIMES[0], item) is None
    assert len(known.runtimes.known) == shipped + 1
    known.drop(RUNTIMES[0], item)
    assert len(known.runtimes.known) == shipped
