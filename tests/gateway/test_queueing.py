"""Exchanges that wait beside others: priorities and tenants by header, whom a full queue and a full memory push out."""

import json
from typing import Any

import pytest

from gateway.backend import Limits
from gateway.forwarded import ForwardedPolicy
from gateway.routing import Route, RouteTable
from gateway.splits import Split
from gateway.standing import Ranking, Standing
from gateway.steering import Steering
from gateway.terms import BackendRef, Timeouts
from tests.fakes import Client, World, settle

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
RANKING = Ranking(0, b"x-priority", priority_of_anyone=True, tenant_field=b"x-tenant", tenant_of_anyone=True)


def world(ranking: Ranking = RANKING, timeouts: Timeouts | None = None, **limits: Any) -> World:
    """One pod for one request, whose queue is fair."""
    made = World(
        limits=Limits(**{"concurrency": 1, "discipline": "round_robin", **limits}), timeouts=timeouts
    )
    split = Split({"iris": made.ref}, {"iris": 1})
    made.gateway.table = RouteTable((Route("iris", split, steering=Steering(ranking=ranking)),))
    made.gateway.ranked = True
    return made


def ask(made: World, *, body: bytes = b"", length: int = 0, **fields: Any) -> Client:
    lines = [
        b"%b: %b\r\n" % (name.replace("_", "-").encode(), str(value).encode())
        for name, value in fields.items()
    ]
    head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n%b\r\n" % (
        length or len(body),
        b"".join(lines),
    )
    return made.client().send(head + body)


def reason(client: Client) -> tuple[int, str]:
    answer = client.answer(b"POST")
    return answer.status, json.loads(answer.body)["reason"]


def test_a_header_decides_who_is_next() -> None:
    """The higher priority, though it came later."""
    made = world()
    first, low, high = ask(made), ask(made, x_priority=1), ask(made, x_priority=2)
    assert made.backend.breaker.fair.levels() == {2: (1, 1), 1: (1, 1)}
    for client in (first, high, low):
        made.link.say(OK)
        assert client.answer(b"POST").status == 200
    made.assert_at_rest()


def test_tenants_take_turns() -> None:
    """One request of another's is the next but one."""
    made = world()
    busy = [ask(made, x_tenant="a") for _ in range(5)]
    one = ask(made, x_tenant="b")
    for _ in range(3):
        made.link.say(OK)
    assert one.answer(b"POST").status == 200
    assert [bool(client.received) for client in busy] == [True, True, False, False, False]


def test_only_a_trusted_proxy_is_believed() -> None:
    """Others' fields mean nothing, and do not reach the pod."""
    made = world(Ranking(0, b"x-priority", tenant_field=b"x-tenant"))
    made.gateway.forwarding = ForwardedPolicy(via="")
    ask(made, x_priority=9, x_tenant="a", x_other="kept")
    assert b"x-other: kept" in made.link.received
    assert b"x-priority" not in made.link.received
    assert b"x-tenant" not in made.link.received


def test_slot_time_is_put_on_the_tenants_account() -> None:
    """Of requests that waited and of those that did not, until they end, however."""
    made = world(discipline="least_use")
    ask(made, x_tenant="a")
    left = ask(made, x_tenant="b")
    accounts = made.backend.breaker.fair._accounts
    made.advance(2.0)
    assert accounts.used(b"a", made.loop.now) == pytest.approx(2.0, rel=0.05)
    made.link.say(OK)
    made.advance(1.0)
    assert accounts.used(b"b", made.loop.now) == pytest.approx(1.0, rel=0.05)
    left.vanish()
    made.advance(60.0)
    assert accounts.used(b"b", made.loop.now) == pytest.approx(0.5, rel=0.05)
    made.assert_at_rest()


def test_a_plain_routes_requests_have_its_priority() -> None:
    """One number for all of a Route's: nothing is looked at in a head."""
    made = world(Ranking())
    ref = BackendRef(made.backend, "batch", standing=Standing(-3))
    made.gateway.table = RouteTable((Route("batch", Split({"iris": ref}, {"iris": 1})),))
    for _ in range(2):
        ask(made)
    assert made.backend.breaker.fair.levels() == {-3: (1, 1)}


def test_a_full_queue_lets_a_higher_priority_in() -> None:
    """At the cost of the newest of the lowest: 503 queue_full for that one, and for who has no more than the others."""
    made = world(depth=2)
    _, older, newer = ask(made), ask(made, x_priority=-1), ask(made, x_priority=-1)
    high = ask(made, x_priority=0)
    assert reason(newer) == (503, "queue_full")
    assert (older.received, high.received) == (b"", b"")
    assert reason(ask(made, x_priority=-1)) == (503, "queue_full")
    assert made.backend.stats.sheds == {"pushed_out": 1, "depth": 1}


def test_a_queue_is_bounded_by_bytes() -> None:
    """Heads and bodies count; who would make it too many is refused."""
    made = world(bytes=2000)
    ask(made)
    first = ask(made, body=b"x" * 1800)
    assert made.backend.breaker.bytes > 1800
    assert reason(ask(made, body=b"y" * 200)) == (503, "queue_full")
    assert first.received == b""
    made.link.say(OK)
    assert made.backend.breaker.bytes == 0
    assert made.backend.stats.sheds == {"bytes": 1}


def test_a_body_that_comes_while_it_waits_counts_as_well() -> None:
    """It may push others out, or be too much itself."""
    made = world(bytes=2000)
    ask(made)
    low = ask(made, x_priority=-1, body=b"x" * 800)
    grows = ask(made, body=b"y", length=5000)
    grows.send(b"y" * 1500)
    assert reason(low) == (503, "queue_full")
    grows.send(b"y" * 1500)
    assert reason(grows) == (503, "queue_full")
    assert made.backend.breaker.bytes == made.backend.breaker.queued == 0


def test_when_the_gateways_memory_is_full_the_lowest_priority_goes_first() -> None:
    """The newest of it, whatever Backend it waits for, and only for a higher one; 503 overloaded."""
    made = world()
    made.gateway.buffered.bound = 2000
    ask(made)
    older = ask(made, x_priority=-1, body=b"x" * 900)
    empty = ask(made, x_priority=-2)
    newer = ask(made, x_priority=-1, body=b"x" * 900)
    assert reason(ask(made, x_priority=-1, body=b"y" * 500)) == (503, "overloaded")
    high = ask(made, body=b"y" * 500)
    assert reason(newer) == (503, "overloaded")
    assert (older.received, empty.received, high.received) == (b"", b"", b"")
    assert made.gateway.buffered.held == 1400
    assert made.backend.stats.sheds == {"memory": 1}
    assert reason(ask(made, body=b"z" * 1600)) == (503, "overloaded")
    assert older.received == b""


def test_without_priorities_nobody_has_to_go() -> None:
    """Who asks for more than there is, is refused, as ever."""
    made = World(limits=Limits(1))
    made.gateway.buffered.bound = 1000
    ask(made)
    first = ask(made, body=b"x" * 900)
    assert reason(ask(made, body=b"y" * 500)) == (503, "overloaded")
    assert first.received == b""


def test_a_tenant_below_its_share_takes_the_place_of_the_greediest_ones_newest() -> None:
    """Which hears of it as of a full queue: 503, with when to come again; the older ones stay."""
    made = world(depth=3)
    ask(made, x_tenant="a")
    older = [ask(made, x_tenant="a"), ask(made, x_tenant="a")]
    newest = ask(made, x_tenant="a")
    small = ask(made, x_tenant="b")
    answer = newest.answer(b"POST")
    assert (answer.status, json.loads(answer.body)["reason"]) == (503, "queue_full")
    assert answer.fields[b"retry-after"] == b"1"
    assert [client.received for client in (*older, small)] == [b"", b"", b""]
    assert made.backend.stats.sheds == {"pushed_out": 1}


def test_without_tenants_equals_give_no_way() -> None:
    """Where only priorities are given all are one tenant, whatever a header says."""
    made = world(Ranking(priority_field=b"x-priority", priority_of_anyone=True), depth=1)
    ask(made)
    waits = ask(made, x_tenant="a")
    assert reason(ask(made, x_tenant="b")) == (503, "queue_full")
    assert waits.received == b""
    assert made.backend.stats.sheds == {"depth": 1}


def test_a_request_whose_time_would_be_over_is_refused_at_once() -> None:
    """By `timeouts.request`, which is nearer than the queue's own, and of which an answer takes one second."""
    made = world(timeouts=Timeouts(request=12.0), queue_timeout=60.0)
    clients = [ask(made) for _ in range(9)]
    for _ in range(14):
        made.advance(1.0)
        made.link.say(OK)
        clients.append(ask(made))
    late = [ask(made) for _ in range(12)]
    assert [client.received == b"" for client in late[:-3]] == [True] * 9
    assert reason(late[-1]) == (503, "queue_timeout")
    assert late[-1].answer(b"POST").fields[b"retry-after"] == b"18"


def test_who_has_too_little_time_left_gives_way_to_those_behind() -> None:
    """An answer takes two seconds: with less than that a pod would work for nothing."""
    made = world(timeouts=Timeouts(request=5.0))
    first = ask(made)
    made.advance(2.0)
    made.link.say(OK)
    assert first.answer(b"POST").status == 200
    ask(made)
    late = ask(made)
    made.advance(1.0)
    waits = ask(made)
    made.advance(2.1)
    assert reason(late) == (503, "queue_timeout")
    assert (
        "answers take 2 s lately: 2 s are left of its time, and others wait"
        in json.loads(late.answer(b"POST").body)["detail"]
    )
    assert made.backend.stats.sheds == {"late": 1}
    made.advance(1.5)
    assert waits.received == b""  # nobody would have its slot


async def test_a_pod_that_works_for_nothing_makes_the_others_leave_it_more_time() -> None:
    """Each time by an eighth, up to all of the time that there is."""
    made = world(timeouts=Timeouts(request=5.0))
    for _ in range(2):
        ask(made)
        await settle()
        made.advance(5.1)
        assert made.backend.patience.service == 5.0
    ask(made)
    await settle()
    made.advance(1.0)
    made.link.say(OK)
    assert made.backend.patience.service == pytest.approx(4.5, abs=0.01)
