"""Dashboard, alerts and what scales on metrics: they show every metric that there is, and none that is not."""

import json
import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest
from prometheus_client import Metric

from autoscaler.metrics import AutoscalerCollector
from gateway import errors
from gateway.metrics import PROCESS_COLLECTOR, Family, GatewayCollector
from tests.deploy.kustomize import build
from tests.deploy.manifests import DEPLOY
from tests.deploy.strictyaml import documents

MONITORING = DEPLOY / "examples/monitoring"
OUTSIDE = {"job", "pod", "endpoint", "le"}
"""Labels that Prometheus puts on."""


def exposed() -> dict[str, Metric]:
    """The families of both processes by name, as if nothing had happened yet."""
    ours = [*GatewayCollector(MagicMock()).collect(), *AutoscalerCollector(MagicMock()).collect()]
    return {metric.name: metric for metric in [*ours, *PROCESS_COLLECTOR.collect()]}


def samples(metric: Metric) -> set[str]:
    """The names that queries may use."""
    if metric.type == "counter":
        return {f"{metric.name}_total"}
    if metric.type == "histogram":
        return {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}
    return {metric.name}


def named(query: str) -> set[str]:
    return set(re.findall(r"\b(?:tidegate|process)_[a-z_]+", re.sub(r'"[^"]*"', '""', query)))


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    (rule,) = build(MONITORING)
    return [alert for group in rule["spec"]["groups"] for alert in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Every query in deploy/, with where it is."""
    for panel in panels():
        yield from ((f"panel {panel['title']}", target["expr"]) for target in panel["targets"])
    for alert in alerts():
        yield f"alert {alert['alert']}", alert["expr"]
    (values,) = documents(DEPLOY / "examples/hpa/prometheus-adapter-values.yaml")
    for rule in values["rules"]["external"]:
        yield from ((f"hpa {rule['name']['as']}", rule[field]) for field in ("seriesQuery", "metricsQuery"))
    (scaled,) = documents(DEPLOY / "examples/keda/scaledobject.yaml")
    yield from (("keda", trigger["metadata"]["query"]) for trigger in scaled["spec"]["triggers"])


QUERIES = list(queries())
each_query = pytest.mark.parametrize(
    "query", [query for _, query in QUERIES], ids=[where for where, _ in QUERIES]
)


def test_every_metric_is_in_a_panel() -> None:
    """A metric that nobody sees is one that nobody needs."""
    shown = {metric for panel in panels() for target in panel["targets"] for metric in named(target["expr"])}
    assert [name for name, metric in exposed().items() if not samples(metric) & shown] == []


@each_query
def test_every_metric_that_is_named_exists(query: str) -> None:
    """A query of one that does not is silent for ever."""
    there = {sample for metric in exposed().values() for sample in samples(metric)}
    assert named(query)
    assert named(query) <= there


@each_query
def test_labels_are_those_of_the_metrics(query: str) -> None:
    """In selectors and in what is grouped by."""
    labels: set[str] = set()
    for metric in exposed().values():
        if samples(metric) & named(query):
            labels |= set(metric._labels) if isinstance(metric, Family) else set()
    selected = {
        name
        for inner in re.findall(r"\{([^}]*)\}", query)
        for name in re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", inner)
    }
    grouped = {name.strip() for inner in re.findall(r"by \(([^)]*)\)", query) for name in inner.split(",")}
    assert selected | grouped <= labels | OUTSIDE


@each_query
def test_reasons_outcomes_and_states_are_ones_that_occur(query: str) -> None:
    """A word that is misspelt matches nothing."""
    reasons = {reason.slug for reason in vars(errors).values() if isinstance(reason, errors.Reason)}
    known = {
        "reason": reasons,
        "outcome": {"ready", "timeout", "cannot_start", "abandoned"},
        "state": {"ready", "draining", "suspect", "not_ready"},
        "result": {"ok", "failed"},
        "window": {"stable", "panic"},
    }
    for label, value in re.findall(r'(\w+)="([^"]*)"', query):
        assert value in known.get(label, {value})


def test_panels_do_not_overlap() -> None:
    """Each has an id, a title, words, a unit and a place of its own."""
    places = [panel["gridPos"] for panel in panels()]
    cells = [(p["x"] + dx, p["y"] + dy) for p in places for dx in range(p["w"]) for dy in range(p["h"])]
    assert len(cells) == len(set(cells))
    assert max(place["x"] + place["w"] for place in places) <= 24
    assert len({panel["id"] for panel in panels()}) == len(panels())
    assert all(panel["title"] and panel["description"] for panel in panels())
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in panels())


def test_an_alert_tells_what_to_do() -> None:
    """How bad, what, and where to look."""
    assert len({alert["alert"] for alert in alerts()}) == len(alerts())
    for alert in alerts():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["description"]


def test_what_operators_must_hear_of_has_an_alert() -> None:
    """By what it watches."""
    watched = {metric for alert in alerts() for metric in named(alert["expr"])}
    assert {
        "tidegate_config_last_reload_successful",
        "tidegate_certificate_expiry_seconds",
        "tidegate_certificate_last_reload_successful",
        "tidegate_early_ends_total",
        "tidegate_cold_starts_total",
        "tidegate_build_info",
        "tidegate_loop_lag_seconds_bucket",
        "tidegate_autoscaler_leading",
        "tidegate_autoscaler_scaling_errors_total",
        "tidegate_autoscaler_desired_replicas",
        "tidegate_autoscaler_decisions_total",
    } <= watched
