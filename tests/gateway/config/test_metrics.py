"""The `metrics` of a `scale` section: what each kind takes, and what it becomes."""

from collections.abc import Callable

import pytest

from gateway.config import Config, ScaleConfig
from gateway.config.metrics import PodSource, PrometheusSource, ResolvedMetric

BACKEND = (
    "backends: {{a: {{concurrency: 20, target: {{urls: [http://h]}}, scale: {{metrics: [{metrics}]}}}}}}"
)
Loaded = Callable[[str], Config]
Refused = Callable[[str], list[str]]


def resolved(loaded: Loaded, metrics: str) -> tuple[ResolvedMetric, ...]:
    config = loaded(BACKEND.format(metrics=metrics))
    return config.backends["a"].resolved_scale(runs_command=False).metrics


@pytest.mark.parametrize(
    ("metric", "becomes"),
    [
        ("{type: concurrency}", ResolvedMetric("concurrency", "concurrency", 20, 14)),
        (
            "{type: concurrency, target: 10, utilization: 80%}",
            ResolvedMetric("concurrency", "concurrency", 10, 8),
        ),
        ("{type: rps, target: 50}", ResolvedMetric("rps", "rps", 50, 35)),
        (
            "{type: queue_wait, percentile: 99.9, target: 500ms}",
            ResolvedMetric("queue_wait_p99.9", "queue_wait", 0.5, 0.5, relative=True, percentile=99.9),
        ),
        (
            "{type: response_time, target: 2s}",
            ResolvedMetric("response_time_p95", "response_time", 2, 2, relative=True, percentile=95),
        ),
        (
            '{type: pod, metric: "vllm:num_requests_waiting", target: 4}',
            ResolvedMetric(
                "pod vllm:num_requests_waiting",
                "pod",
                4,
                4,
                interval=5,
                source=PodSource(
                    "vllm:num_requests_waiting",
                    (),
                    rate=False,
                    aggregation="average",
                    path="/metrics",
                    port=None,
                ),
            ),
        ),
        (
            "{type: pod, metric: x_total, target: 4, labels: {b: '1', a: ''}, rate: true, aggregation: max, path: /m, port: 9, interval: 1s}",
            ResolvedMetric(
                "pod x_total",
                "pod",
                4,
                4,
                relative=True,
                interval=1,
                source=PodSource(
                    "x_total", (("a", ""), ("b", "1")), rate=True, aggregation="max", path="/m", port=9
                ),
            ),
        ),
        (
            "{type: prometheus, name: my backlog, query: sum(x), target: 0.5, url: 'https://p:9090/prefix/'}",
            ResolvedMetric(
                "prometheus my backlog",
                "prometheus",
                0.5,
                0.5,
                interval=15,
                source=PrometheusSource("sum(x)", "https://p:9090/prefix"),
            ),
        ),
        ("{type: cpu, target: 70%}", ResolvedMetric("cpu", "cpu", 0.7, 0.7, interval=15, share=True)),
        ("{type: cpu, target: 500m, interval: 30s}", ResolvedMetric("cpu", "cpu", 0.5, 0.5, interval=30)),
        ("{type: cpu, target: 1.5}", ResolvedMetric("cpu", "cpu", 1.5, 1.5, interval=15)),
        ("{type: memory, target: 2Gi}", ResolvedMetric("memory", "memory", 2**31, 2**31, interval=15)),
        (
            "{type: memory, target: 80%}",
            ResolvedMetric("memory", "memory", 0.8, 0.8, interval=15, share=True),
        ),
    ],
)
def test_a_metric_becomes_a_record_with_nothing_left_open(
    loaded: Loaded, metric: str, becomes: ResolvedMetric
) -> None:
    """Names, units, intervals, and where it is fetched."""
    (found,) = resolved(loaded, metric)
    assert found == becomes


def test_metrics_stay_in_their_order(loaded: Loaded) -> None:
    """The first of equal demands is the one that is named."""
    found = resolved(loaded, "{type: rps}, {type: cpu, target: 1}, {type: concurrency}")
    assert [metric.name for metric in found] == ["rps", "cpu", "concurrency"]


def test_a_server_for_all_queries_may_be_named_once(loaded: Loaded) -> None:
    """A metric of its own URL goes before it."""
    config = loaded(
        "autoscaler: {prometheus: {url: 'http://p:9090/'}}\n"
        + BACKEND.format(metrics="{type: prometheus, query: x, target: 1}")
    )
    assert config.autoscaler.prometheus is not None
    assert config.autoscaler.prometheus.url == "http://p:9090"


@pytest.mark.parametrize(
    ("scale", "latencies"),
    [
        ("metric: rps", set()),
        ("metrics: [{type: queue_wait, target: 1s}, {type: cpu, target: 1}]", {"queue_wait"}),
        (
            "metrics: [{type: queue_wait, target: 1s}, {type: response_time, target: 1s}]",
            {"queue_wait", "response_time"},
        ),
    ],
)
def test_a_backend_knows_which_latencies_it_scales_on(
    loaded: Loaded, scale: str, latencies: set[str]
) -> None:
    """Gateways tell no others."""
    config = loaded(f"backends: {{a: {{target: {{urls: [http://h]}}, scale: {{{scale}}}}}}}")
    assert config.backends["a"].latencies == latencies


@pytest.mark.parametrize(
    ("metrics", "problem"),
    [
        ("", "metrics: must not be empty: leave it out for concurrency"),
        ("5", "metrics[0]: must be a mapping of keys to values, got 5"),
        ("{target: 2}", "metrics[0]: required key 'type' is missing"),
        ("{type: }", "metrics[0].type: has no value: give one, or remove the key"),
        (
            "{type: gpu}",
            "metrics[0].type: must be 'concurrency', 'rps', 'queue_wait', 'response_time', 'pod', 'prometheus', 'cpu' or 'memory', got 'gpu'",
        ),
        ("{type: cpu}", "metrics[0]: required key 'target' is missing"),
        (
            "{type: cpu, target: 70%, utilization: 70%}",
            "metrics[0]: unknown key 'utilization' (there are: interval, target, type)",
        ),
        (
            "{type: pod, metrik: x, metric: a, target: 1}",
            "metrics[0]: unknown key 'metrik' (did you mean 'metric'?)",
        ),
        ("{type: rps, target: 0.001}", "metrics[0].target: must be at least 0.01, got 0.001"),
        (
            "{type: concurrency, target: 21}",
            "metrics[0].target: must not be above the backend's concurrency, 20, got 21",
        ),
        (
            "{type: queue_wait, target: 500}",
            "metrics[0].target: 500 has no unit: write 500s or 500ms",
        ),
        (
            "{type: queue_wait, target: 1s, percentile: 100}",
            "metrics[0].percentile: must be less than 100, got 100",
        ),
        (
            "{type: queue_wait, target: 1s, percentile: 0.95}",
            "metrics[0].percentile: must be at least 1.0, got 0.95",
        ),
        (
            "{type: pod, metric: a b, target: 1}",
            "metrics[0].metric: 'a b' is not a metric's name: letters, digits, `_` and `:` make one, the first no digit",
        ),
        ("{type: pod, metric: x, target: 0}", "metrics[0].target: must be more than 0, got 0"),
        (
            "{type: pod, metric: x, target: 1, labels: {a: 1}}",
            'metrics[0].labels.a: must be text, got 1: quote it, "1"',
        ),
        (
            "{type: pod, metric: x, target: 1, aggregation: min}",
            "metrics[0].aggregation: must be 'sum', 'average' or 'max', got 'min'",
        ),
        (
            "{type: pod, metric: x, target: 1, interval: 100ms}",
            "metrics[0].interval: must be between 1s and 5m, got 100ms",
        ),
        (
            "{type: prometheus, query: x, target: 1}",
            "metrics[0]: must have a `url`, or the file an `autoscaler.prometheus.url` for all",
        ),
        (
            "{type: prometheus, query: x, target: 1, url: 'ftp://x'}",
            "metrics[0].url: 'ftp://x' is not a URL of the form http://HOST:PORT",
        ),
        (
            "{type: prometheus, query: x, target: 1, url: 'http://x:y'}",
            "metrics[0].url: 'http://x:y' is not a URL: port could not be cast to integer value as 'y'",
        ),
        (
            "{type: prometheus, query: x, target: 1, url: 'http://u:p@x'}",
            "metrics[0].url: a URL may not hold a user or a password here",
        ),
        (
            "{type: prometheus, query: x, target: 1, url: 'http://x/api/v1/query/'}",
            "metrics[0].url: 'http://x/api/v1/query/' must be without `/api/v1/query`, which is added to it",
        ),
        (
            "{type: prometheus, query: x, target: 1, url: 'http://x?q=1'}",
            "metrics[0].url: 'http://x?q=1' must be without `?` and `#`: `/api/v1/query` is added to it",
        ),
        (
            "{type: prometheus, query: x, target: 1, url: 5}",
            "metrics[0].url: must be a URL such as http://prometheus:9090, got 5",
        ),
        (
            "{type: prometheus, name: ' x', query: x, target: 1, url: 'http://x'}",
            "metrics[0].name: ' x' is not a name: up to 63 printable ASCII characters make one",
        ),
        ("{type: rps}, {type: cpu, target: 1}, {type: rps}", "metrics[2]: rps is metrics[0] already"),
        (
            "{type: prometheus, query: x, target: 1, url: 'http://x'}, {type: prometheus, query: y, target: 1, url: 'http://x'}",
            "metrics[1]: prometheus is metrics[0] already: give each a `name`",
        ),
        ("{type: cpu, target: 0%}", "metrics[0].target: must be more than 0, got '0%'"),
        (
            "{type: cpu, target: 2Gi}",
            "metrics[0].target: must be a percentage such as 70%, or cores such as 500m or 1.5, got '2Gi'",
        ),
        (
            "{type: cpu, target: 70}",
            "metrics[0].target: 70 may be a percentage or cores: write 70%, or 70000m for the cores",
        ),
        (
            "{type: memory, target: 2}",
            "metrics[0].target: must be a percentage such as 70%, or a size such as 512Mi or 2Gi, got 2",
        ),
    ],
)
def test_what_is_wrong_with_a_metric_is_named(refused: Refused, metrics: str, problem: str) -> None:
    """Which of them, which key, and what to write instead."""
    assert refused(BACKEND.format(metrics=metrics)) == [f"x.yaml:1 backends.a.scale.{problem}"]


def test_without_metrics_there_is_concurrency() -> None:
    """Left out, or said to be none by a program."""
    for scale in (ScaleConfig(), ScaleConfig(metrics=None)):
        (metric,) = scale.resolve(0, runs_command=False).metrics
        assert metric == ResolvedMetric("concurrency", "concurrency", 100, 70)


@pytest.mark.parametrize("key", ["metric: rps", "target: 5"])
def test_the_short_form_cannot_stand_beside_the_long_one(refused: Refused, key: str) -> None:
    """It would be unclear which holds."""
    text = f"backends: {{a: {{target: {{urls: [http://h]}}, scale: {{{key}, metrics: [{{type: rps}}]}}}}}}"
    name = key.split(":", maxsplit=1)[0]
    assert refused(text) == [
        f"x.yaml:1 backends.a.scale.metrics: cannot stand beside `{name}`: give that in `metrics`"
    ]
