"""about: what an InferenceService's labels and annotations ask for in vain is told."""

import pytest

from autoscaler.inference.about import about_faults


@pytest.mark.parametrize(
    "key",
    [
        "serving.kserve.io/enable-tag-routing",
        "serving.kserve.io/autoscalerclass",
        "serving.knative.dev/rollout-duration",
    ],
)
def test_an_annotation_that_means_nothing_here_is_told(key: str) -> None:
    """A misspelt one, too."""
    (fault,) = about_faults({"name": "iris", "annotations": {key: "x"}})
    assert (fault.path, fault.refused) == (f"metadata.annotations[{key}]", False)


@pytest.mark.parametrize(
    "key",
    [
        "serving.kserve.io/autoscalerClass",
        "serving.kserve.io/deploymentMode",
        "serving.kserve.io/stop",
        "prometheus.io/scrape",
        "tidegate.dev/class",
    ],
)
def test_an_annotation_that_is_read_or_anothers_is_not_told(key: str) -> None:
    """What is not KServe's is the pods', or nobody's business here."""
    assert list(about_faults({"name": "iris", "annotations": {key: "x"}})) == []


@pytest.mark.parametrize("key", ["networking.kserve.io/visibility", "networking.knative.dev/visibility"])
def test_a_service_that_asks_to_stay_in_the_cluster_is_told_that_it_does_not(key: str) -> None:
    """Somebody counts on it."""
    (fault,) = about_faults({"name": "iris", "labels": {key: "cluster-local"}})
    assert (fault.path, fault.refused) == (f"metadata.labels[{key}]", False)
    assert list(about_faults({"name": "iris", "labels": {key: "exposed"}})) == []
