"""What holds for any bytes at all, from a client or from a pod; for `test_http1_fuzz` and `guided`.

Never an exception, never a slot that stays taken. Whoever gets something gets HTTP, as h11 reads it. Where h11 can read the input as
well, the gateway read no more requests out of it, and the same ones: no two readers may be set against each other.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import h11

from gateway.backend import Limits
from gateway.retries import RetryPolicy
from tests.fakes import Answer, World, read_answers
from tests.wire import Reading

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
Request = tuple[bytes, bytes, bytes]
"""Method, target and body."""


# -- a client


def client_law(pieces: list[bytes]) -> None:
    """Any bytes from a client, in pieces and at once."""
    data = b"".join(pieces)
    statuses, requests = play_client(pieces)
    assert (statuses, requests) == play_client([data]), "the cuts make a difference"
    expected, sure = requests_by_h11(data)
    for ours, theirs in zip(requests, expected, strict=False):
        assert ours == theirs, "another request than h11 reads"
    if sure:
        assert len(requests) <= len(expected), "more requests than h11 reads"


def play_client(pieces: list[bytes]) -> tuple[list[int], list[Request]]:
    """The statuses that the client got, and the whole requests that pods got."""
    world = World(limits=Limits(concurrency=2), idle=2)
    client = world.client()
    readings = [Reading(link) for link in world.pod.connections]
    whole: list[Request] = []
    for piece in pieces:
        client.send(piece)
        while ready := [reading for reading in readings if reading.look()]:
            for reading in ready:
                got = reading.requests[-1]
                whole.append((got.method, got.target, got.body))
                reading.link.say(EMPTY)
    statuses = read_all(client.received)
    assert statuses is not None, "what the client got is not HTTP"
    client.vanish()
    world.assert_at_rest()
    assert sum(world.codes.values()) + sum(world.gateway.unrouted.codes.values()) >= len(whole)
    return statuses, whole


def read_all(data: bytes) -> list[int] | None:
    """The statuses of the answers in `data`, some of which may be to HEAD; None if there is no way to read it all."""
    if not data:
        return []
    for method in (b"GET", b"HEAD"):
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        with suppress(h11.RemoteProtocolError):
            head = connection.next_event()
            while isinstance(head, h11.InformationalResponse):
                head = connection.next_event()
            if isinstance(head, h11.Response) and _to_end(connection):
                rest = read_all(connection.trailing_data[0])
                if rest is not None:
                    return [head.status_code, *rest]
    return None


def _to_end(connection: h11.Connection) -> bool:
    while isinstance(event := connection.next_event(), h11.Data):
        pass
    return isinstance(event, h11.EndOfMessage)


def requests_by_h11(data: bytes) -> tuple[list[Request], bool]:
    """What h11 reads out of `data`, and whether it would have read everything that may be read."""
    found: list[Request] = []
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    with suppress(h11.RemoteProtocolError):
        for request in _by_h11(connection):
            if request is None:
                return found, True
            if request[0] == b"CONNECT":
                return found, False
            if request[1] != b"*":
                found.append(request)
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                # It was to be the last, unless it was of HTTP/1.0, for which h11 keeps no connection.
                return found, connection.their_http_version == b"1.1"
            connection.start_next_cycle()
    return found, False


def _by_h11(connection: h11.Connection) -> Iterator[Request | None]:
    while True:
        head = connection.next_event()
        if not isinstance(head, h11.Request):
            yield None
            return
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += bytes(event.data)
        if not isinstance(event, h11.EndOfMessage):
            yield None
            return
        yield head.method, _origin_form(head.target), body


def _origin_form(target: bytes) -> bytes:
    scheme, found, rest = target.partition(b"://")
    if not found or scheme.lower() not in {b"http", b"https"} or target.startswith(b"/"):
        return target
    ends = [at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0]
    path = rest[min(ends, default=len(rest)) :]
    return path if path.startswith(b"/") else b"/" + path


# -- a pod


@dataclass
class Told:
    """What a client has been told of one answer."""

    reset: bool
    answers: list[Answer] = field(default_factory=list)

    @property
    def good(self) -> tuple[int, bytes, dict[bytes, bytes]] | None:
        """The pod's own whole answer, if it got through."""
        if (
            self.reset
            or not self.answers
            or self.answers[0].fields.get(b"content-type") == b"application/problem+json"
        ):
            return None
        (answer,) = self.answers
        assert answer.complete
        return answer.status, answer.body, answer.trailers


def pod_law(pieces: list[bytes], *, method: bytes, clean: bool) -> None:
    """Any bytes from a pod that then hangs up, in pieces and at once."""
    data = b"".join(pieces)
    cut, whole = play_pod(pieces, method, clean=clean), play_pod([data] if data else [], method, clean=clean)
    if method != b"HEAD":
        assert cut.good == whole.good, "the cuts make a difference"
    expected = answer_by_h11(data, method, clean=clean)
    if cut.good is not None and expected is not None:
        assert cut.good[:2] == expected, "another answer than h11 reads"


def play_pod(pieces: list[bytes], method: bytes, *, clean: bool) -> Told:
    """What the client gets; and the next one gets its own answer, from another connection or a good one."""
    world = World(limits=Limits(concurrency=1), retries=RetryPolicy(methods=frozenset()), idle=2)
    client = world.client().send(method + b" / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
    link = world.link
    link.take()
    link.say(*pieces)
    kept = not link.transport.is_closing() and world.backend.in_flight == 0
    if not kept:
        link.hang_up(None if clean else ConnectionResetError())
    world.assert_at_rest()
    assert sum(world.codes.values()) == 1
    world.probe()
    other = world.client().send(b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
    (busy,) = [each for each in world.pod.connections if each.take()]
    busy.say(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
    assert (other.answer().status, other.answer().body, other.answer().interims) == (200, b"yes", [])
    if client.transport.end == "reset":
        return Told(reset=True)
    return Told(
        reset=False, answers=read_answers(client.received, (method,), closed=client.transport.is_closing())
    )


def answer_by_h11(data: bytes, method: bytes, *, clean: bool) -> tuple[int, bytes] | None:
    """Status and body of the answer that h11 reads out of `data`; None when it cannot."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    body = b""
    with suppress(h11.RemoteProtocolError):
        if clean:
            connection.receive_data(b"")
        head = connection.next_event()
        while isinstance(head, h11.InformationalResponse):
            head = connection.next_event()
        if not isinstance(head, h11.Response):
            return None
        while isinstance(event := connection.next_event(), h11.Data):
            body += bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            return head.status_code, body
    return None
