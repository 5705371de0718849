"""ScalingSpec: the defaults, which are Knative's but for one."""

import dataclasses

import pytest

from autoscaler.spec import ScalingSpec


def test_the_defaults_are_knatives_except_that_nothing_runs_before_a_request() -> None:
    """An empty `scale` section behaves as a Knative revision does, started from zero."""
    spec = ScalingSpec()
    assert (spec.min_scale, spec.max_scale, spec.initial_scale, spec.activation_scale) == (0, 0, 0, 0)
    assert (spec.stable_window, spec.panic_window, spec.panic_threshold) == (60, 6, 2)
    assert (spec.max_scale_up_rate, spec.max_scale_down_rate, spec.scale_down_delay) == (1000, 2, 0)
    assert (spec.scale_to_zero_grace_period, spec.scale_to_zero_pod_retention_period) == (30, 0)
    assert spec.target_burst_capacity == 211
    (metric,) = spec.metrics
    assert (metric.name, metric.type, metric.total, metric.target) == ("concurrency", "concurrency", 100, 70)
    assert spec.averaging == "linear"


def test_a_spec_cannot_be_changed_under_a_decision() -> None:
    """A reload makes a new one."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        ScalingSpec().min_scale = 1  # type: ignore[misc] # what the test is about
