"""What the gateway tells of itself: readiness, `/v1/state`, and the numbers behind the live table."""

import json
from typing import Any

import pytest

from gateway.asked import Source
from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.breaker import Waiter
from gateway.conditions import Conditions
from gateway.routing import PathRule, Route
from gateway.splits import Split
from gateway.standing import Standing
from gateway.state import (
    HORIZON,
    MAX_ROWS,
    PIECE,
    Rate,
    Rates,
    Status,
    backend_view,
    snapshot,
    state_pieces,
)
from gateway.steering import Rule, Steering
from gateway.sticky import Sticky
from gateway.terms import BackendRef

Backends = dict[str, Backend]


def backend(name: str = "iris-v1", pods: int = 0, limits: Limits | None = None) -> Backend:
    made: Backend = Backend(name, limits or Limits(concurrency=2, depth=7), 0.0)
    made.update(
        Endpoints(tuple(EndpointInfo(f"{name}-{n}", "127.0.0.1", 9000 + n, ready=True) for n in range(pods))),
        0.0,
    )
    return made


def named(*backends: Backend) -> Backends:
    return {each.name: each for each in backends}


def route(
    name: str, backends: Backends, weights: dict[str, int], *paths: PathRule, hosts: tuple[bytes, ...] = ()
) -> Route[Any]:
    return Route(name, Split(backends, weights), hosts, paths or (PathRule("prefix", b"/"),))


def status() -> Status:
    return Status("gw-1", "1.2.3", 100.0, "config/demo.yaml", listen=("0.0.0.0:8080",))


def state(
    status: Status, backends: Backends, wanted: dict[str, int] | None = None, now: float = 100.0
) -> dict[str, Any]:
    read: dict[str, Any] = json.loads("".join(state_pieces(status, backends, wanted or {}, now)))
    return read


# -- readiness


def test_nobody_is_sent_to_a_gateway_without_a_configuration() -> None:
    """It has no routes yet, however well it runs."""
    told = status()
    assert told.not_ready == "configuration not loaded"
    told.took_over({}, 1_700_000_000.0)
    assert told.not_ready is None


def test_nobody_is_sent_to_a_gateway_that_drains() -> None:
    """Whatever its configuration."""
    told = status()
    told.took_over({}, 1_700_000_000.0)
    told.draining = True
    assert told.not_ready == "draining"
    assert repr(told) == "<Status gw-1 draining routes=0 reloads={'ok': 1, 'failed': 0}>"


def test_a_refused_reload_leaves_the_last_good_one_in_force() -> None:
    """The routes stay, the gateway stays ready, and the state tells both what holds and what was wrong."""
    told, backends = status(), named(backend())
    told.took_over(
        {"iris": route("iris", backends, {"iris-v1": 1})}, 1_700_000_000.0, ["weights were rounded"]
    )
    told.refused(["config/demo.yaml:3 routes[0]: no"], 1_700_000_060.5)
    assert told.not_ready is None
    assert told.reloads.counts == {"ok": 1, "failed": 1}
    read = state(told, backends)
    assert [each["name"] for each in read["routes"]] == ["iris"]
    assert read["config"] == {
        "path": "config/demo.yaml",
        "loaded_at": "2023-11-14T22:13:20.000+00:00",
        "last_reload": {
            "at": "2023-11-14T22:14:20.500+00:00",
            "ok": False,
            "problems": ["config/demo.yaml:3 routes[0]: no"],
        },
        "warnings": ["weights were rounded"],
    }


def test_a_good_reload_forgets_the_problems_of_the_last() -> None:
    """What is shown is the latest attempt."""
    told = status()
    told.refused(["no"], 1_700_000_000.0)
    assert state(told, {})["config"]["loaded_at"] is None
    told.took_over({}, 1_700_000_001.0)
    last = state(told, {})["config"]["last_reload"]
    assert (last["ok"], last["problems"]) == (True, [])


def test_the_state_tells_of_the_certificate_and_of_a_change_that_was_not_taken_over() -> None:
    """What clients are shown, until when, and what was wrong with the files that came after."""
    told = status()
    told.tls.took_over(1_700_000_000.0, "/etc/tls.crt", 1_800_000_000.0)
    told.tls.refused(["config/demo.yaml:3 tls.key: no"], 1_700_000_060.5)
    assert state(told, {})["tls"] == {
        "certificate": "/etc/tls.crt",
        "not_after": "2027-01-15T08:00:00.000+00:00",
        "last_reload": {
            "at": "2023-11-14T22:14:20.500+00:00",
            "ok": False,
            "problems": ["config/demo.yaml:3 tls.key: no"],
        },
    }
    assert told.tls.reloads.counts == {"ok": 1, "failed": 1}


# -- /v1/state


def test_the_state_says_who_and_how_long() -> None:
    """Identity, version, uptime, and whether it is ready, before anything is loaded."""
    read = state(status(), {}, now=161.5)
    del read["config"]["path"]
    assert read == {
        "gateway": "gw-1",
        "version": "1.2.3",
        "uptime": 61.5,
        "ready": False,
        "not_ready": "configuration not loaded",
        "listen": ["0.0.0.0:8080"],
        "most_connections": 0,
        "config": {"loaded_at": None, "last_reload": None, "warnings": []},
        "tls": {"certificate": None, "not_after": None, "last_reload": None},
        "routes": [],
        "backends": {},
    }


def test_routes_read_as_they_are_written() -> None:
    """A prefix is its text, other paths name their kind; weights are those given, dark ones included."""
    told, backends = status(), named(backend("a"), backend("b"))
    paths = (PathRule("prefix", b"/v1"), PathRule("exact", b"/x"), PathRule("regex", b"/y/.*"))
    told.took_over(
        {"iris": route("iris", backends, {"a": 90, "b": 0}, *paths, hosts=(b"iris.example.com",))}, 0.0
    )
    assert state(told, backends)["routes"] == [
        {
            "name": "iris",
            "hosts": ["iris.example.com"],
            "paths": ["/v1", {"exact": "/x"}, {"regex": "/y/.*"}],
            "split": {"a": 90, "b": 0},
        }
    ]


def test_what_a_route_does_beyond_its_split_is_told() -> None:
    """Conditions in words, backends by name; what it does not do is left out."""
    told, made = status(), backend("b")
    ref = BackendRef(made, "iris")
    conditions = Conditions(frozenset((b"GET",)), models=frozenset(("iris",)))
    rule = Rule(Conditions(frozenset((b"PUT",))), Split({"b": ref}, {"b": 2}))
    steering = Steering(
        (rule,), {b"canary": ref}, Sticky(Source("header", b"x-user")), None, {"gpt-4o": "iris"}
    )
    one = Route("iris", Split({"b": ref}, {"b": 1}), conditions=conditions, steering=steering)
    told.took_over({"iris": one}, 0.0)
    assert state(told, named(made))["routes"] == [
        {
            "name": "iris",
            "hosts": [],
            "paths": ["/"],
            "split": {"b": 1},
            "conditions": ["method GET", "model iris"],
            "rules": [{"conditions": ["method PUT"], "split": {"b": 2}}],
            "tags": {"canary": "b"},
            "sticky": "header x-user",
            "aliases": {"gpt-4o": "iris"},
        }
    ]


def test_a_backend_shows_its_pods_and_its_limits() -> None:
    """Each Endpoint with its own state and requests; the counts of the moment; what is wanted, where somebody knows."""
    shown = backend(pods=2)
    shown.enter(0.0)
    assert state(status(), named(shown), {"iris-v1": 5})["backends"]["iris-v1"] == {
        "endpoints": [
            {"uid": "iris-v1-0", "address": "127.0.0.1:9000", "ready": True, "draining": False, "suspect": False, "refusal": None, "out": {}, "back_in": None, "in_flight": 1},
            {"uid": "iris-v1-1", "address": "127.0.0.1:9001", "ready": True, "draining": False, "suspect": False, "refusal": None, "out": {}, "back_in": None, "in_flight": 0},
        ],
        "in_flight": 1,
        "queued": 0,
        "pick": "least_requests",
        "panicking": False,
        "limit": 2,
        "queue_depth": 7,
        "queue": {"discipline": "fifo", "bytes": 0, "bytes_limit": 0, "per_second": None, "priorities": {}},
        "replicas": {"ready": 2, "wanted": 5},
        "cannot_start": None,
        "pending": None,
        "starting_for": None,
    }  # fmt: skip


def test_a_queue_shows_who_waits() -> None:
    """By priority, the highest first, with the number of tenants; and how fast it moves, once that is known."""
    busy = backend(pods=1, limits=Limits(1, bytes=1000, discipline="least_use"))
    (endpoint,) = filter(None, [busy.enter(0.0)])
    for number in range(12):
        standing = Standing(number % 2, b"%d" % (number % 3))
        busy.wait(Waiter("w", 0.0, standing=standing, size=10), 0.0)
    for second in range(1, 10):
        busy.leave(endpoint, float(second))
    assert backend_view(busy, None, 9.0)["queue"] == {
        "discipline": "least_use",
        "bytes": 30,
        "bytes_limit": 1000,
        "per_second": 1.0,
        "priorities": {"0": {"queued": 3, "tenants": 3}},
    }


def test_a_backend_that_starts_says_for_how_long() -> None:
    """From the first request that waits; a clock that is read a little early does not make it negative."""
    cold = backend()
    cold.wait(Waiter("first", 10.0), 10.0)
    assert backend_view(cold, None, 12.25)["starting_for"] == 2.25
    assert backend_view(cold, None, 9.999)["starting_for"] == 0.0


def test_a_backend_that_cannot_start_says_why() -> None:
    """In the words that its callers get."""
    stuck = backend()
    stuck.update(Endpoints(cannot_start="exit code 1"), 0.0)
    assert backend_view(stuck, None, 0.0)["cannot_start"] == "exit code 1"


def test_a_backend_that_takes_long_says_why() -> None:
    """Before anybody has waited in vain."""
    slow = backend()
    slow.update(Endpoints(pending="pod iris-1 runs; GET /nope answers 404"), 0.0)
    assert backend_view(slow, None, 0.0)["pending"] == "pod iris-1 runs; GET /nope answers 404"


def test_a_replica_that_drains_or_is_suspect_is_not_ready() -> None:
    """Ready replicas are those that a request may go to."""
    mixed = backend()
    infos = [
        EndpointInfo("ready", "h", 1, ready=True),
        EndpointInfo("suspect", "h", 2, ready=True),
        EndpointInfo("draining", "h", 3, ready=True, draining=True),
        EndpointInfo("starting", "h", 4, ready=False),
    ]
    mixed.update(Endpoints(tuple(infos)), 0.0)
    mixed.suspect(mixed.endpoints["suspect"], 0.0, suspect=True)
    assert backend_view(mixed, None, 0.0)["replicas"]["ready"] == 1


@pytest.mark.parametrize("count", [0, 1, PIECE - 1, PIECE, PIECE + 1, 10 * PIECE])
def test_however_many_backends_the_pieces_make_one_document(count: int) -> None:
    """Wherever the text is cut, it joins."""
    backends = named(*(backend(f"b{n}", pods=1) for n in range(count)))
    told = status()
    told.took_over({name: route(name, backends, {name: 1}) for name in backends}, 0.0)
    read = state(told, backends)
    assert list(read["backends"]) == list(backends)
    assert len(read["routes"]) == count


def test_no_piece_shows_more_than_its_share() -> None:
    """A thousand Backends of four pods: each piece holds at most a hundred of either, and one Backend more."""
    backends = named(*(backend(f"b{n}", pods=4) for n in range(1000)))
    pieces = list(state_pieces(status(), backends, {}, 0.0))
    most = max(piece.count('"uid"') + piece.count('"queue_depth"') for piece in pieces)
    assert most <= PIECE + 5
    assert len(pieces) >= 50


def test_a_backend_added_while_the_state_is_sent_breaks_nothing() -> None:
    """The document is of those that were there when it began to tell of them."""
    backends = named(*(backend(f"b{n}") for n in range(2 * PIECE)))
    text = ""
    for piece in state_pieces(status(), backends, {}, 0.0):
        text += piece
        backends.setdefault("late", backend("late"))
        backends.pop("b150", None)
    assert len(json.loads(text)["backends"]) >= 2 * PIECE - 1


# -- the live table's numbers


def test_a_snapshot_has_each_backends_weights_in_all_routes() -> None:
    """A Backend that no Route names has none."""
    told, backends = status(), named(backend("a"), backend("b"), backend("c"))
    one, two = (
        route("one", backends, {"a": 90, "b": 10}),
        route("two", backends, {"b": 1}, PathRule("prefix", b"/two")),
    )
    told.took_over({"one": one, "two": two}, 0.0)
    rows = snapshot(told, backends, 0.0).rows
    assert [(row.name, row.weights) for row in rows] == [
        ("a", (("one", 90),)),
        ("b", (("one", 10), ("two", 1))),
        ("c", ()),
    ]


def test_a_snapshot_is_of_its_moment() -> None:
    """What happens later does not change it: another thread draws it."""
    busy = backend(pods=1, limits=Limits(concurrency=1))
    busy.traffic_of("iris").duration.observe(0.2)
    before = snapshot(status(), named(busy), 3.0)
    busy.enter(3.0)
    busy.wait(Waiter("second", 3.0), 3.0)
    busy.traffic_of("iris").duration.observe(0.2)
    after = snapshot(status(), named(busy), 4.0)
    assert (before.rows[0].in_flight, before.rows[0].queued, sum(before.rows[0].durations)) == (0, 0, 1)
    assert (after.rows[0].in_flight, after.rows[0].queued, sum(after.rows[0].durations)) == (1, 1, 2)


def test_a_snapshot_stays_small() -> None:
    """More Backends than fit on a terminal are counted, not shown."""
    taken = snapshot(status(), named(*(backend(f"b{n}") for n in range(MAX_ROWS + 3))), 0.0)
    assert (len(taken.rows), taken.more) == (MAX_ROWS, 3)
    assert taken.status == "configuration not loaded"


def test_rates_are_differences_over_the_horizon() -> None:
    """Twenty requests of 50 ms in ten seconds; what was before does not count."""
    busy, rates = backend(), Rates()
    for _ in range(1000):
        busy.traffic_of("old").duration.observe(100.0)
    for second in range(31):
        rates.add(snapshot(status(), named(busy), float(second)))
        for name in ("one", "two"):
            busy.traffic_of(name).duration.observe(0.05)
    rate = rates.of("iris-v1")
    assert rate.per_second == 2.0
    assert rate.p50 is not None
    assert 0.025 <= rate.p50 <= 0.05
    assert rate.p99 is not None
    assert rate.p99 <= 0.05
    assert repr(rates) == f"<Rates over {HORIZON:.1f} s>"


def test_one_snapshot_tells_no_rate() -> None:
    """Nor does one of a Backend that was never seen."""
    rates = Rates()
    assert repr(rates) == "<Rates over 0.0 s>"
    rates.add(snapshot(status(), named(backend()), 0.0))
    assert rates.of("iris-v1") == rates.of("unknown") == Rate()


def test_an_idle_backend_answers_nothing_a_second() -> None:
    """That is known; how long requests take is not."""
    rates = Rates()
    for second in range(3):
        rates.add(snapshot(status(), named(backend()), float(second)))
    assert rates.of("iris-v1") == Rate(0.0, None, None)


def test_counts_that_began_anew_tell_no_rate() -> None:
    """A Backend that was removed and came back has answered fewer than before."""
    old, rates = backend(), Rates()
    old.traffic_of("iris").duration.observe(0.05)
    rates.add(snapshot(status(), named(old), 0.0))
    rates.add(snapshot(status(), named(backend()), 1.0))
    assert rates.of("iris-v1") == Rate()
