"""Bytes that mean harm, to both protocols: never an exception, never a slot that stays taken, never an answer that is not HTTP."""

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backend import Limits
from tests.fakes import World

SCRAPS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 C\r\n\r\n",
        b"HTTP/1.1 204 N\r\n", b"HTTP/1.0 200 OK\r\n\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n", b"\r",
        b"\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"hello", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"Expect: 100-continue\r\n", b"Host: y\r\n", b": ", b" ", b"\x00", b"CONNECT a:1 HTTP/1.1\r\n", b"HEAD * HTTP/1.1\r\n",
        b"X: y\r\n", b"Content-Length: -1\r\n", b"ffffffffffffffffff\r\n",
    ]
)  # fmt: skip
NOISE = st.lists(SCRAPS | st.binary(max_size=12), max_size=12).map(b"".join)


def cuts(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@settings(max_examples=150, deadline=None)
@given(NOISE, st.integers(1, 40))
def test_whatever_a_client_sends_it_gets_http_or_nothing(data: bytes, size: int) -> None:
    """And when it has left, nothing of it remains."""
    world = World(limits=Limits(concurrency=8), idle=8)
    client = world.client().send(*cuts(data, size))
    for _ in range(20):
        busy = [link for link in world.pod.connections if link.take()]
        for link in busy:
            link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        if not busy:
            break
    reader = h11.Connection(h11.CLIENT)
    if client.received:
        reader.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        reader.receive_data(client.received)
        while isinstance(event := reader.next_event(), h11.InformationalResponse):
            pass
        assert isinstance(event, h11.Response)
    client.vanish()
    world.assert_at_rest()


@settings(max_examples=150, deadline=None)
@given(NOISE, st.integers(1, 40), st.sampled_from([b"POST", b"OPTIONS"]), st.booleans())
def test_whatever_a_pod_says_its_client_gets_http_or_a_reset(
    data: bytes, size: int, method: bytes, clean: bool
) -> None:
    """One answer at most, and the slot is free once the pod has hung up."""
    world = World(limits=Limits(concurrency=1))
    client = world.client().send(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
    world.link.say(*cuts(data, size))
    world.link.hang_up(None if clean else ConnectionResetError())
    if client.transport.end != "reset":
        (answer,) = client.answers(method)
        assert answer.complete
    world.assert_at_rest()
