"""What InferenceServices become without a cluster."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.inference.offline import Rendered, rendered
from tests.inferences import GOLDEN, SETTINGS, SHIPPED, condition, isvc, kinds

FILES = [path for path in sorted(GOLDEN.glob("*.yaml")) if not path.name.endswith(".out.yaml")]


def played(item: dict[str, Any]) -> Rendered:
    return rendered(item, SHIPPED, SETTINGS, 1e9)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_golden_one_becomes_ready(path: Path) -> None:
    """At first it is not; and the first objects are those that a cluster gets."""
    answer = played(next(yaml.safe_load_all(path.read_text())))
    assert condition(answer.first.status, "Ready")["status"] == "Unknown"
    assert condition(answer.settled.status, "Ready")["status"] == "True"
    assert all("replicas" in item["spec"] for item in kinds(answer.first, "Deployment"))
    assert answer.later == []


def test_one_that_may_have_no_pods_has_one_until_it_was_ready() -> None:
    """Only then its Backend may go to zero."""
    answer = played(isvc(minReplicas=0))
    scales = [
        backend["scale"]["min"]
        for document in (answer.first.document, answer.settled.document)
        for backend in (document or {})["backends"].values()
    ]
    assert scales == [1, 0]


def test_canaries_get_their_share_once_they_are_ready() -> None:
    """Until then the predictor has everything."""
    item = isvc()
    canary = {"name": "new", "containers": [{"name": "kserve-container", "image": "flowers:2"}]}
    item["spec"]["canary"] = [{"trafficPercent": 20, "predictor": canary}]
    answer = played(item)
    splits = [
        sorted((document or {})["routes"][0]["split"].values())
        for document in (answer.first.document, answer.settled.document)
    ]
    assert splits[1] == [1, 4]
    assert splits[0] != splits[1]


def test_the_status_of_the_cluster_it_was_taken_from_means_nothing() -> None:
    """As `kubectl get -o yaml` writes it."""
    item = isvc()
    components = {"predictor": {"latestRolledoutRevision": "flowers-predictor-01234567"}}
    assert played({**item, "status": {"components": components}}) == played(item)


def test_one_that_is_refused_becomes_nothing() -> None:
    """And says why."""
    item = isvc()
    item["spec"]["transformer"] = {}
    answer = played(item)
    assert [fault.path for fault in answer.faults if fault.refused] == ["spec.transformer"]
    assert answer.first.objects == ()
