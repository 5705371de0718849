"""Connections beyond the limits: told so, and gone."""

from gateway.admission import ConnectionLimits
from gateway.downstream import Downstream
from gateway.turned_away import AT_ONCE, SECONDS, TurnedAway
from tests.fakes import Client, Transport, World

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def full() -> World:
    """A world that has as many connections as it takes: one."""
    world = World()
    world.gateway.admission.limits = ConnectionLimits(total=1)
    world.client()
    return world


def refused(client: Client) -> TurnedAway:
    protocol = client.transport.protocol
    assert isinstance(protocol, TurnedAway)
    return protocol


def test_a_connection_beyond_the_limit_is_answered_at_once() -> None:
    """Before it has asked: with a reason, when to come again, an id, and that this is the end."""
    world = full()
    answer = world.client().answer()
    assert answer.status == 503
    assert answer.fields[b"retry-after"] == b"1"
    assert answer.fields[b"connection"] == b"close"
    assert b"too_many_connections" in answer.body
    assert answer.fields[b"x-request-id"] in answer.body


def test_it_is_nowhere_counted_but_among_the_refused() -> None:
    """It takes no place, and leaves none."""
    world = full()
    client = world.client()
    client.vanish()
    assert (world.gateway.admission.open, world.gateway.admission.refused["total"]) == (1, 1)
    assert (len(world.gateway.clients), world.gateway.turned_away) == (1, set())


def test_what_it_sends_is_thrown_away() -> None:
    """It has a moment to notice; then its connection ends, and nothing rides on the wheel any more."""
    world = full()
    client = world.client()
    refused(client).data_received(GET)
    assert client.transport.eof
    world.advance(SECONDS / 2)
    assert client.transport.end is None
    world.advance(SECONDS)
    assert (client.transport.end, client.transport.lost) == ("abort", True)
    assert (world.gateway.turned_away, world.codes) == (set(), {})


def test_a_client_that_closes_ends_it() -> None:
    """Before its time."""
    world = full()
    client = world.client()
    assert refused(client).eof_received() is None
    client.vanish()
    assert repr(world.gateway.wheel).startswith("<TimerWheel 1 items")


def test_of_many_only_a_few_are_given_the_time() -> None:
    """A flood must not use up what was kept back."""
    world = full()
    clients = [world.client() for _ in range(AT_ONCE + 3)]
    world.loop.run()
    assert [client.transport.end for client in clients[AT_ONCE:]] == ["close"] * 3
    assert all(client.transport.end is None for client in clients[:AT_ONCE])
    assert len(world.gateway.turned_away) == AT_ONCE
    assert clients[-1].answer().status == 503


def test_where_no_half_can_be_closed_the_client_is_given_the_time_all_the_same() -> None:
    """Over TLS nothing is closed before; of many, the others end at once, for a close would wait for each of them."""
    world = full()
    transports = [Transport(world.loop, None) for _ in range(AT_ONCE + 1)]
    for transport in transports:
        transport.can_write_eof = lambda: False  # type: ignore[method-assign]
        Downstream(world.gateway).connection_made(transport)  # type: ignore[arg-type]
    assert [transport.end for transport in transports] == [None] * AT_ONCE + ["abort"]
    assert repr(transports[0].protocol) == "<TurnedAway>"
    world.advance(2 * SECONDS)
    assert {transport.end for transport in transports} == {"abort"}
