"""The Feed of a Backend's pods, and the Prober that brings suspect ones back."""

import asyncio
from pathlib import Path

from gateway.backend import EndpointInfo, Endpoints
from gateway.breaker import Endpoint
from gateway.endpoints import Feed, Prober
from gateway.tls import Trust, load_trust
from tests.certificates import Authority
from tests.eventually import eventually


def pod(uid: str) -> EndpointInfo:
    return EndpointInfo(uid, "127.0.0.1", 9001, ready=True)


def test_a_subscriber_hears_what_is_known_and_what_changes() -> None:
    """In the same turn; equal news is no news."""
    feed, heard = Feed("iris"), []
    feed.publish([pod("a")])
    feed.subscribe(heard.append)
    feed.publish([pod("a")])
    feed.publish([pod("b")], cannot_start="crash")
    assert heard == [Endpoints((pod("a"),)), Endpoints((pod("b"),), "crash")]


async def accepting() -> tuple[asyncio.Server, Endpoint]:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    return server, Endpoint("a", "127.0.0.1", server.sockets[0].getsockname()[1])


async def test_an_endpoint_that_accepts_is_told_once() -> None:
    """However often it was asked to be watched meanwhile."""
    server, endpoint = await accepting()
    prober, accepted = Prober(), []
    for _ in range(3):
        prober.watch(endpoint, lambda: True, lambda: accepted.append(1))
    assert repr(prober) == "<Prober of ['a']>"
    await eventually(lambda: accepted)
    await asyncio.sleep(0)
    assert (accepted, repr(prober)) == ([1], "<Prober of []>")
    server.close()
    await server.wait_closed()


async def test_an_endpoint_that_refuses_again_at_once_is_watched_again() -> None:
    """The news that it accepts may bring a request that it refuses in the very same turn."""
    server, endpoint = await accepting()
    prober, accepted = Prober(), []

    def again() -> None:
        accepted.append(1)
        if len(accepted) < 3:
            prober.watch(endpoint, lambda: True, again)

    prober.watch(endpoint, lambda: True, again)
    await eventually(lambda: len(accepted) == 3)
    server.close()
    await server.wait_closed()


async def test_an_endpoint_that_nobody_wants_any_more_is_let_go() -> None:
    """It is gone: a probe that got through would bring it back."""
    server, endpoint = await accepting()
    prober, accepted = Prober(), []
    prober.watch(endpoint, lambda: False, lambda: accepted.append(1))
    await eventually(lambda: repr(prober) == "<Prober of []>")
    assert not accepted
    server.close()
    await server.wait_closed()


async def test_stopping_ends_all_probes() -> None:
    """None is left behind."""
    prober = Prober()
    prober.watch(Endpoint("a", "127.0.0.1", 1), lambda: True, lambda: None)
    prober.stop()
    await eventually(lambda: repr(prober) == "<Prober of []>")


async def test_an_endpoint_over_tls_is_back_once_a_handshake_succeeds(tmp_path: Path) -> None:
    """That its port accepts says nothing; what it is held to may change meanwhile."""
    authority, prober, accepted = Authority(), Prober(), []
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=authority.server()
    )
    endpoint = Endpoint("a", "127.0.0.1", server.sockets[0].getsockname()[1])
    other = Authority().write(tmp_path, "other.crt")
    endpoint.trust = Trust("other", None, load_trust(other, verify=True))
    looks = []
    prober.watch(endpoint, lambda: looks.append(1) is None, lambda: accepted.append(1))
    await eventually(lambda: len(looks) > 2)
    assert not accepted
    endpoint.trust = Trust("own", None, load_trust(authority.write(tmp_path), verify=True))
    await eventually(lambda: accepted)
    server.close()
    await server.wait_closed()
