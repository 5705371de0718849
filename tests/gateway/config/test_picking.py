"""`pick`, `slow_start`, `ejection` and `health` in a configuration: what is built of them, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.affinity import Affinity
from gateway.asked import Source
from gateway.backend import Backend, Limits
from gateway.conditions import Look
from gateway.config import ConfigError, build_table, limits_of, load
from gateway.ejection import EjectionPolicy, SuccessRate
from gateway.picking import Picking
from gateway.tally import HealthCheck


def loaded(tmp_path: Path, **keys: Any) -> Any:
    path = tmp_path / "c.yaml"
    backend = {"target": {"urls": ["http://127.0.0.1:1"]}, **keys}
    path.write_text(
        yaml.safe_dump(
            {
                "backends": {"a": backend},
                "routes": [{"name": "r", "split": {"a": 1}, "inspect_limit": "2KiB"}],
            }
        )
    )
    return load(path)


def refused(tmp_path: Path, **keys: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, **keys)
    return [str(problem).partition(" backends.a.")[2] for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("keys", "picking"),
    [
        ({}, Picking("least_requests", 0.0)),
        ({"slow_start": "30s"}, Picking("least_requests", 0.0, warm=True)),
        ({"pick": "round_robin"}, Picking("round_robin", 0.0)),
        ({"pick": "first_available", "concurrency": 1}, Picking("first_available", 0.0)),
        ({"pick": {"consistent_hash": {"query": "q"}}}, Picking("consistent_hash", 1.25)),
        ({"pick": {"consistent_hash": {"prompt": 9, "bound": "150%"}}}, Picking("consistent_hash", 1.5)),
        ({"pick": {"consistent_hash": {"prompt": 9, "bound": 2.5}}}, Picking("consistent_hash", 2.5)),
    ],
    ids=str,
)
def test_a_policy_is_built(tmp_path: Path, keys: dict[str, Any], picking: Picking) -> None:
    """Nothing said is least requests, all alike."""
    limits = limits_of(loaded(tmp_path, **keys).backends["a"], "fifo")
    assert limits.picking == picking
    assert (limits.ejection, limits.checked) == (None, False)


@pytest.mark.parametrize(
    ("key", "affinity"),
    [
        ({"header": "X-Session"}, Affinity(Source("header", b"x-session"))),
        ({"cookie": "c"}, Affinity(Source("cookie", b"c"))),
        ({"query": "q"}, Affinity(Source("query", b"q"))),
        ({"prompt": 100}, Affinity(prompt=100, look=Look(2048))),
    ],
    ids=str,
)
def test_a_hash_is_part_of_what_a_route_says_of_its_backend(
    tmp_path: Path, key: dict[str, Any], affinity: Affinity
) -> None:
    """Its requests are steered, then; those of other routes are not."""
    config = loaded(tmp_path, pick={"consistent_hash": key})
    route = build_table(config, {"a": Backend("a", Limits(), 0.0)}).routes["r"]
    assert route.choose().affinity == affinity
    assert route.steering is not None
    assert build_table(loaded(tmp_path), {"a": Backend("a", Limits(), 0.0)}).routes["r"].steering is None


def test_an_empty_ejection_has_envoys_defaults(tmp_path: Path) -> None:
    """And each key has its place."""
    limits = limits_of(loaded(tmp_path, ejection={}).backends["a"], "fifo")
    assert (limits.ejection, limits.panic) == (EjectionPolicy(), 0.5)
    keys = {
        "consecutive_5xx": 1,
        "consecutive_gateway_errors": 2,
        "interval": "3s",
        "base_time": "4s",
        "max_time": "5s",
        "max_percent": "60%",
        "success_rate": {"minimum_hosts": 7, "request_volume": 8, "stdev_factor": 9.0},
        "panic_threshold": "0%",
    }
    limits = limits_of(loaded(tmp_path, ejection=keys).backends["a"], "fifo")
    assert limits.ejection == EjectionPolicy(1, 2, 3.0, 4.0, 5.0, 0.6, SuccessRate(7, 8, 9.0))
    assert limits.panic == 0.0
    off = loaded(tmp_path, ejection={"success_rate": {"stdev_factor": 0}, "max_percent": 0})
    assert limits_of(off.backends["a"], "fifo").ejection == EjectionPolicy(success_rate=None, max_share=0.0)


def test_a_health_check_is_built(tmp_path: Path) -> None:
    """With what everybody takes."""
    backend = loaded(tmp_path, health={"path": "/health"}).backends["a"]
    assert backend.health.check == HealthCheck("/health", 10.0, 1.0, 3, 2)
    assert limits_of(backend, "fifo").checked


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"pick": "first_available"},
            "pick: first_available needs `concurrency`: without a limit the first pod would get everything",
        ),
        (
            {"pick": "random"},
            "pick: must be least_requests, round_robin, first_available, or {consistent_hash: {…}}, got 'random'",
        ),
        (
            {"pick": {}},
            "pick: must be least_requests, round_robin, first_available, or {consistent_hash: {…}}",
        ),
        (
            {"pick": "consistent_hash"},
            "pick: consistent_hash must say what is hashed: {consistent_hash: {header: x-session}}",
        ),
        (
            {"pick": {"consistent_hash": {"header": "a", "prompt": 1}}},
            "pick.consistent_hash: must have one of header, cookie, query or prompt, got header and prompt",
        ),
        (
            {"pick": {"consistent_hash": {"header": "a", "bound": "90%"}}},
            "pick.consistent_hash.bound: must be between 100% and 1000%, got 90%",
        ),
        (
            {"pick": {"consistent_hash": {"header": "a", "bound": 125}}},
            "pick.consistent_hash.bound: must be a percentage such as 125%, or a factor such as 1.25, got 125",
        ),
        (
            {"pick": {"consistent_hash": {"header": "a"}}, "slow_start": "1s"},
            "slow_start: is for `pick: least_requests` and `round_robin`; consistent_hash does not go by shares",
        ),
        (
            {"ejection": {"base_time": "10s", "max_time": "5s"}},
            "ejection.max_time: must not be below `base_time`, 10s, got 5s",
        ),
        (
            {"ejection": {"max_percent": 10}},
            "ejection.max_percent: 10 may be a percentage or a factor: write 10%, or 0.1 for the same",
        ),
        ({"health": {}}, "health: required key 'path' is missing"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_in_words(tmp_path: Path, keys: dict[str, Any], told: str) -> None:
    """Each with its place and what to write instead."""
    assert refused(tmp_path, **keys) == [told]
