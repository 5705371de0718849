"""The `scale` section: ranges, and what is filled in."""

from collections.abc import Callable

import pytest

from gateway.config import Config, ScaleConfig
from gateway.config.metrics import ResolvedMetric

BACKEND = "backends: {{a: {{target: {{urls: [http://h]}}, scale: {{{scale}}}}}}}"


@pytest.mark.parametrize(
    ("scale", "problem"),
    [
        ("min: 5, max: 2", "max: must not be below min, 5, got 2 (0: unlimited)"),
        ("max: 2, initial_scale: 3", "initial_scale: must not be above max, 2, got 3"),
        ("min: 4, activation_scale: 3", "activation_scale: must not be below min, 4, got 3"),
        ("max: 2, activation_scale: 3", "activation_scale: must not be above max, 2, got 3"),
        ("activation_scale: 1", "activation_scale: must be at least 2, got 1"),
        ("min: -1", "min: must be at least 0, got -1"),
        ("metric: concurency", "metric: must be 'concurrency' or 'rps', got 'concurency'"),
        (
            "metric: cpu",
            "metric: is short for concurrency or rps only: write `metrics: [{type: cpu, …}]`",
        ),
        (
            'metric: "vllm:num_requests_waiting"',
            "metric: is short for concurrency or rps only: write `metrics: [{type: pod, metric: 'vllm:num_requests_waiting', …}]`",
        ),
        ("target: 0.001", "target: must be at least 0.01, got 0.001"),
        ("utilization: 0.5%", "utilization: must be between 1% and 100%, got 0.5%"),
        ("utilization: 101%", "utilization: must be between 1% and 100%, got 101%"),
        ("stable_window: 5s", "stable_window: must be between 6s and 1h, got 5s"),
        ("stable_window: 2h", "stable_window: must be between 6s and 1h, got 2h"),
        ("stable_window: 6500ms", "stable_window: must be whole seconds, got 6s500ms"),
        ("panic_window_percentage: 0.5", "panic_window_percentage: must be between 1% and 100%, got 0.5%"),
        (
            "panic_threshold_percentage: 100",
            "panic_threshold_percentage: must be between 110% and 1000%, got 100%",
        ),
        ("max_scale_down_rate: 1", "max_scale_down_rate: must be more than 1, got 1"),
        ("scale_down_delay: 90m", "scale_down_delay: must be between 0s and 1h, got 1h30m"),
        ("scale_to_zero_grace_period: 0s", "scale_to_zero_grace_period: must be more than 0s"),
        (
            "target_burst_capacity: -2",
            "target_burst_capacity: must be at least 0, or -1 for unlimited, got -2",
        ),
    ],
)
def test_a_value_outside_of_knatives_range_is_refused(
    refused: Callable[[str], list[str]], scale: str, problem: str
) -> None:
    """As Knative's validation of annotations and of config-autoscaler does."""
    assert refused(BACKEND.format(scale=scale)) == [f"x.yaml:1 backends.a.scale.{problem}"]


def test_bounds_at_their_edges_are_taken(loaded: Callable[[str], Config]) -> None:
    """The limits themselves are valid."""
    scale = (
        "min: 3, max: 3, initial_scale: 3, activation_scale: 3, stable_window: 6s, panic_window_percentage: 1%, "
        "panic_threshold_percentage: 110, utilization: 100%, target: 0.01, target_burst_capacity: -1, "
        "scale_down_delay: 1h, scale_to_zero_pod_retention_period: 1h"
    )
    assert loaded(BACKEND.format(scale=scale)).backends["a"].scale.max == 3


def test_the_defaults_are_knatives_but_for_two() -> None:
    """Windows and rates as in config-autoscaler; initial_scale is 0."""
    scale = ScaleConfig().resolve(0, runs_command=False)
    assert scale.metrics == (ResolvedMetric("concurrency", "concurrency", 100.0, 70.0),)
    assert (scale.stable_window, scale.panic_window, scale.panic_threshold) == (60.0, 6.0, 2.0)
    assert (scale.max_scale_up_rate, scale.max_scale_down_rate) == (1000.0, 2.0)
    assert (scale.scale_to_zero_grace_period, scale.scale_to_zero_pod_retention_period) == (30.0, 0.0)
    assert (scale.min_scale, scale.max_scale, scale.initial_scale, scale.activation_scale) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("scale", "concurrency", "total", "target"),
    [
        (ScaleConfig(), 2, 2.0, 1.4),
        (ScaleConfig(target=1.5), 2, 1.5, 1.05),
        (ScaleConfig(metric="rps"), 2, 200.0, 140.0),
        (ScaleConfig(metric="rps", target=5.0), 2, 5.0, 3.5),
        (ScaleConfig(target=0.01), 0, 0.01, 0.01),
    ],
)
def test_the_target_comes_from_the_limit_unless_given(
    scale: ScaleConfig, concurrency: int, total: float, target: float
) -> None:
    """The concurrency limit is what a pod can carry; rps has no such limit; the aim is never below 0.01."""
    (resolved,) = scale.resolve(concurrency, runs_command=False).metrics
    assert (resolved.total, resolved.target) == (pytest.approx(total), pytest.approx(target))


def test_commands_have_ten_pods_at_most_unless_told() -> None:
    """Left out, `max` depends on who runs the pods; 0 is unlimited for all."""
    assert ScaleConfig().resolve(0, runs_command=True).max_scale == 10
    assert ScaleConfig(max=0).resolve(0, runs_command=True).max_scale == 0
    assert ScaleConfig(max=20).resolve(0, runs_command=True).max_scale == 20


def test_no_hpa_scales_processes_of_this_machine() -> None:
    """One file may name a Deployment, which an HPA scales, and the command that stands for it here."""
    scale = ScaleConfig(by="hpa")
    assert [scale.resolve(0, runs_command=here).by for here in (False, True)] == ["hpa", "tidegate"]


@pytest.mark.parametrize(("window", "panic"), [("6s", 1.0), ("24s", 2.0), ("25s", 3.0), ("60s", 6.0)])
def test_the_panic_window_is_whole_seconds(window: str, panic: float) -> None:
    """Ten percent, rounded half up, and at least one, as Knative does."""
    scale = ScaleConfig.model_validate({"stable_window": window})
    assert scale.resolve(0, runs_command=False).panic_window == panic
