"""scaling: fields and annotations to a Backend's `scale`, or to a HorizontalPodAutoscaler."""

from typing import Any

import pytest

from autoscaler.inference.resource import read
from autoscaler.inference.scaling import Scaling, scaling_of
from tests.inferences import asked, isvc, kinds


def scaling(annotations: dict[str, str] | None = None, **predictor: Any) -> Scaling:
    item = isvc(**predictor)
    item["metadata"]["annotations"] = {
        f"autoscaling.knative.dev/{k}": v for k, v in (annotations or {}).items()
    }
    service = read(item)
    return scaling_of(service.predictor, service.annotations)


def backend(**predictor: Any) -> dict[str, Any]:
    """Its only Backend."""
    document = asked(isvc(**predictor)).document
    assert document is not None
    found: dict[str, Any] = document["backends"].popitem()[1]
    return found


def test_without_any_word_there_is_one_pod_and_no_limit() -> None:
    """KServe's defaults."""
    assert backend() == {**backend(), "scale": {"min": 1}}


def test_the_fields_of_the_documentations_example() -> None:
    """Concurrency is a limit per pod, and what is scaled on."""
    found = backend(minReplicas=2, maxReplicas=10, containerConcurrency=2)
    assert found["scale"] == {"min": 2, "max": 10}
    assert found["concurrency"] == 2


def test_a_target_is_not_above_the_limit() -> None:
    """What a pod can never have cannot be aimed at."""
    assert scaling(scaleTarget=80, containerConcurrency=2).scale == {"target": 2.0}
    assert scaling(scaleTarget=80, scaleMetric="rps", containerConcurrency=2).scale == {
        "metric": "rps",
        "target": 80.0,
    }


def test_a_timeout_is_the_requests() -> None:
    """Its answer's, too, which would end sooner by itself."""
    assert backend(timeout=600)["timeouts"] == {"response": "600s", "request": "600s"}


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({"target": "5"}, {"target": 5.0}),
        ({"metric": "rps"}, {"metric": "rps"}),
        ({"target-utilization-percentage": "60"}, {"utilization": 0.6}),
        ({"targetUtilizationPercentage": "60"}, {"utilization": 0.6}),
        ({"window": "2m"}, {"stable_window": "120s"}),
        ({"panic-window-percentage": "20"}, {"panic_window_percentage": 20.0}),
        ({"panic-threshold-percentage": "150"}, {"panic_threshold_percentage": 150.0}),
        ({"activation-scale": "3"}, {"activation_scale": 3}),
        ({"scale-down-delay": "1m30s"}, {"scale_down_delay": "90s"}),
        ({"scale-to-zero-pod-retention-period": "1h"}, {"scale_to_zero_pod_retention_period": "3600s"}),
        ({"target-burst-capacity": "-1"}, {"target_burst_capacity": -1.0}),
    ],
    ids=lambda value: next(iter(value)),
)
def test_an_annotation_of_knative(annotations: dict[str, str], expected: dict[str, Any]) -> None:
    """In either spelling."""
    found = scaling(annotations)
    assert found.scale == expected
    assert found.faults == ()


def test_bounds_by_annotation_give_way_to_fields() -> None:
    """What the object says in its own words counts."""
    assert (scaling({"min-scale": "3", "maxScale": "7"}).least, scaling({"maxScale": "7"}).most) == (3, 7)
    assert scaling({"min-scale": "3"}, minReplicas=0).least == 0


@pytest.mark.parametrize("value", ["", "x", "5s", "2h", "1.5s", "-6s"])
def test_a_value_that_an_annotation_may_not_have_is_reported(value: str) -> None:
    """And left out."""
    found = scaling({"window": value})
    assert found.scale == {}
    (fault,) = found.faults
    assert not fault.refused
    assert "autoscaling.knative.dev/window" in fault.path


def test_an_annotation_that_means_nothing_here_is_reported() -> None:
    """Never silently ignored."""
    (fault,) = scaling({"max-scale-up-rate": "3"}).faults
    assert (fault.refused, fault.path) == (
        False,
        "metadata.annotations[autoscaling.knative.dev/max-scale-up-rate]",
    )


@pytest.mark.parametrize(
    "predictor",
    [
        {"minReplicas": -1},
        {"minReplicas": 5, "maxReplicas": 3},
        {"containerConcurrency": "2"},
        {"scaleMetric": "gpu"},
        {"autoScaling": {"metrics": [{"type": "External"}]}},
    ],
    ids=lambda value: next(iter(value)),
)
def test_what_cannot_be_scaled_by_is_refused(predictor: dict[str, Any]) -> None:
    """With its path."""
    (fault,) = scaling(**predictor).faults
    assert fault.refused
    assert fault.path.startswith(f"spec.predictor.{next(iter(predictor))}")


def test_cpu_is_scaled_on_by_the_clusters_autoscaler() -> None:
    """Tidegate wakes it from zero."""
    item = isvc(scaleMetric="cpu", scaleTarget=60, minReplicas=0, maxReplicas=4)
    (scaler,) = kinds(asked(item), "HorizontalPodAutoscaler")
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (1, 4)
    (metric,) = scaler["spec"]["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
    assert backend(scaleMetric="cpu", maxReplicas=4)["scale"] == {"min": 1, "max": 4, "by": "hpa"}


def test_metrics_of_resources_and_a_behavior_are_taken_over() -> None:
    """As the object has them."""
    target = {"type": "AverageValue", "averageValue": "1Gi"}
    metrics = [{"type": "Resource", "resource": {"name": "memory", "target": target}}]
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 30}}
    item = isvc(autoScaling={"metrics": metrics, "behavior": behavior}, maxReplicas=3)
    (scaler,) = kinds(asked(item), "HorizontalPodAutoscaler")
    assert scaler["spec"]["metrics"] == metrics
    assert scaler["spec"]["behavior"] == behavior


@pytest.mark.parametrize("name", ["external", "none"])
def test_whoever_scales_it_otherwise_is_left_to_it(name: str) -> None:
    """By KServe's annotation."""
    item = isvc()
    item["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": name}
    document = asked(item).document
    assert document is not None
    assert document["backends"].popitem()[1]["scale"] == {"min": 1, "pause": True}


def test_an_average_value_is_one() -> None:
    """`scaleMetricType`."""
    (metric,) = scaling(scaleMetric="memory", scaleTarget=512, scaleMetricType="AverageValue").metrics
    assert metric["resource"]["target"] == {"type": "AverageValue", "averageValue": "512Mi"}


def test_a_resource_without_a_target_has_kserves() -> None:
    """80 percent."""
    metrics = [{"type": "Resource", "resource": {"name": "cpu"}}]
    (metric,) = scaling(autoScaling={"metrics": metrics}).metrics
    assert metric["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}


def test_keda_is_not_there_and_that_is_told() -> None:
    """Tidegate scales instead."""
    service = isvc()
    service["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": "keda"}
    answer = asked(service)
    assert [fault.refused for fault in answer.faults] == [False]
    assert answer.document is not None


def test_a_least_by_annotation_gives_way_to_the_fields_most() -> None:
    """What the object says in its own words counts."""
    found = scaling({"min-scale": "9"}, maxReplicas=3)
    assert (found.least, found.most) == (3, 3)
    assert [fault.refused for fault in found.faults] == [False]


def test_pods_to_wake_with_fit_the_bounds_or_are_left_out() -> None:
    """The configuration would not take them."""
    assert "activation_scale" not in scaling({"activation-scale": "5"}).backend_scale(1, 3)
    assert scaling({"activation-scale": "3"}).backend_scale(1, 3)["activation_scale"] == 3


def test_a_behavior_without_the_clusters_autoscaler_is_told() -> None:
    """There is nothing that would follow it."""
    (fault,) = scaling(autoScaling={"behavior": {"scaleDown": {}}}).faults
    assert (fault.path, fault.refused) == ("spec.predictor.autoScaling.behavior", False)


def test_kserves_own_annotations_of_an_hpa_count() -> None:
    """A field goes before them, as with KServe."""
    item = isvc(maxReplicas=4)
    item["metadata"]["annotations"] = {
        "serving.kserve.io/autoscalerClass": "hpa",
        "serving.kserve.io/metrics": "memory",
        "serving.kserve.io/targetUtilizationPercentage": "60",
    }
    (scaler,) = kinds(asked(item), "HorizontalPodAutoscaler")
    assert scaler["spec"]["metrics"] == [
        {
            "type": "Resource",
            "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 60}},
        }
    ]
    item["spec"]["predictor"] |= {"scaleMetric": "cpu", "scaleTarget": 70}
    (scaler,) = kinds(asked(item), "HorizontalPodAutoscaler")
    target = {"type": "Utilization", "averageUtilization": 70}
    assert scaler["spec"]["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def test_a_utilization_that_is_no_number_is_reported() -> None:
    """And KServe's own default taken."""
    key = "serving.kserve.io/targetUtilizationPercentage"
    item = isvc(maxReplicas=4)
    item["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": "hpa", key: "much"}
    answer = asked(item)
    assert [(fault.path, fault.refused) for fault in answer.faults] == [
        (f"metadata.annotations[{key}]", False)
    ]
    (scaler,) = kinds(answer, "HorizontalPodAutoscaler")
    assert scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
