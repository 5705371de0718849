"""What a whole request costs on its way through both protocols, with nothing but the kernel and the event loop left out.

`make bench` times it; the test suite runs it once, to see that it works.
"""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.backend import Limits
from gateway.http1 import HeadLimits
from gateway.quick import REQUEST_LINES, request, response
from gateway.reader import RequestReader
from tests.fakes import World

BODY = b'{"instances": [[6.8, 2.8, 4.8, 1.4]]}'
REQUEST = (
    b"POST /v1/models/iris:predict HTTP/1.1\r\nHost: models.example.com\r\nContent-Type: application/json\r\n"
    b"Accept: */*\r\nUser-Agent: bench/1\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
CHUNKED = (
    b"POST /v1/models/iris:predict HTTP/1.1\r\nHost: models.example.com\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n"
    b'Content-Length: 20\r\n\r\n{"predictions": [0]}'
)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"8\r\ndata: x\n\r\n"


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """The gateway freezes what is there when it starts, and then collects rarely."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def served() -> World:
    """A gateway that has warmed up."""
    return World(limits=Limits(concurrency=64))


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param((REQUEST,), id="in_one"),
        pytest.param((REQUEST[: -len(BODY)], BODY), id="head_and_body"),
        pytest.param((CHUNKED,), id="chunked"),
    ],
)
def test_a_request(benchmark: Any, pieces: tuple[bytes, ...]) -> None:
    """From the client's bytes to the pod, and from the pod's to the client."""
    world = served()
    client, pod = world.client(), world.link

    def request_and_answer() -> bytes:
        for piece in pieces:
            client.protocol.data_received(piece)
        pod.protocol.data_received(ANSWER)
        pod.transport.written = b""
        answer, client.transport.written = client.transport.written, b""
        return answer

    assert benchmark(request_and_answer).endswith(b'{"predictions": [0]}')
    world.assert_at_rest()


def test_an_event_of_a_stream(benchmark: Any) -> None:
    """One event of an answer that goes on."""
    world = served()
    client = world.client().send(REQUEST)
    world.link.say(STREAM)
    client.transport.written = b""

    def event() -> bytes:
        world.link.protocol.data_received(EVENT)
        sent, client.transport.written = client.transport.written, b""
        return sent

    assert benchmark(event) == EVENT


def test_a_head_of_the_usual_shape(benchmark: Any) -> None:
    """Read in one piece."""
    limits = HeadLimits()
    found = benchmark(request, REQUEST, limits, REQUEST_LINES)
    assert found[0].content_length == len(BODY)


def test_a_head_by_the_parser(benchmark: Any) -> None:
    """Any other."""
    reader = RequestReader(HeadLimits())

    def read() -> Any:
        reader.feed(CHUNKED)
        return reader.inbox.popleft()

    assert benchmark(read).complete


def test_an_answers_head_of_the_usual_shape(benchmark: Any) -> None:
    """Read in one piece."""
    found = benchmark(response, ANSWER)
    assert found[0].status == 200
