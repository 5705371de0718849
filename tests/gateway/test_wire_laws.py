"""Laws of both protocols: what h11's client wrote is what h11 reads at the pod, and the other way round, whatever the cuts.

Messages are drawn with mixed fields, framings, interim answers and trailers, and pipelined; each comes out once, in its order, as it
was. So any two ways to cut one input give the same.
"""

from dataclasses import dataclass, field

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backend import Limits
from tests.fakes import Answer, World, read_answers
from tests.wire import Fields, Got, Reading, cut

METHODS = [b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"]
TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VISIBLE = bytes([*range(33, 127), *range(128, 256)])


def spelled(alphabet: bytes, **sizes: int) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(list(alphabet)), **sizes).map(bytes)


names = st.sampled_from(
    [b"Accept", b"cookie", b"COOKIE", b"Content-Type", b"Authorization", b"X-A", b"x-a"]
) | spelled(TOKEN, min_size=1, max_size=10).map(lambda name: b"X-" + name)
values = st.just(b"") | st.lists(spelled(VISIBLE, min_size=1, max_size=12), min_size=1, max_size=3).map(
    b" ".join
)
fields = st.lists(st.tuples(names, values), max_size=6)
bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=4)
targets = spelled(b"abc/:?=&%.~-_", max_size=20).map(lambda rest: b"/" + rest)
cuts = st.none() | st.lists(st.integers(1, 600), max_size=8)


@dataclass
class Sent:
    """A message as it was meant."""

    method: bytes = b"GET"
    target: bytes = b"/"
    status: int = 200
    interims: list[int] = field(default_factory=list)
    fields: Fields = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    chunked: bool = False
    trailers: Fields = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def framing(self) -> Fields:
        if self.chunked:
            return [(b"Transfer-Encoding", b"chunked")]
        return [(b"Content-Length", b"%d" % len(self.body))] if self.pieces else []

    def rest(self, connection: h11.Connection) -> bytes:
        data = b"".join(connection.send(h11.Data(piece)) or b"" for piece in self.pieces)
        return data + (
            connection.send(h11.EndOfMessage(headers=self.trailers if self.chunked else [])) or b""
        )


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    chunked = draw(st.booleans())
    return Sent(
        method=draw(st.sampled_from(METHODS)),
        target=draw(targets),
        fields=draw(fields),
        pieces=draw(bodies),
        chunked=chunked,
        trailers=draw(fields) if chunked else [],
    )


@st.composite
def responses(draw: st.DrawFn) -> Sent:
    chunked = draw(st.booleans())
    return Sent(
        status=draw(st.sampled_from([200, 201, 299, 302, 404, 418, 500, 503])),
        interims=draw(st.lists(st.sampled_from([100, 102, 103]), max_size=3)),
        fields=draw(fields),
        pieces=draw(bodies),
        chunked=chunked,
        trailers=draw(fields) if chunked else [],
    )


def lower(pairs: Fields) -> Fields:
    return [(name.lower(), value) for name, value in pairs]


def write_request(sent: Sent) -> bytes:
    """By h11's client."""
    connection = h11.Connection(h11.CLIENT)
    head = h11.Request(
        method=sent.method, target=sent.target, headers=[(b"Host", b"x"), *sent.fields, *sent.framing]
    )
    return (connection.send(head) or b"") + sent.rest(connection)


def write_response(sent: Sent) -> bytes:
    """By h11's server."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.next_event()
    connection.next_event()
    data = b""
    for status in sent.interims:
        data += (
            connection.send(h11.InformationalResponse(status_code=status, headers=[(b"Link", b"a")])) or b""
        )
    framing = sent.framing or [(b"Content-Length", b"0")]
    data += connection.send(h11.Response(status_code=sent.status, headers=[*sent.fields, *framing])) or b""
    return data + sent.rest(connection)


def as_sent(sent: Sent) -> tuple[object, ...]:
    return (
        sent.method,
        sent.target,
        b"x",
        lower(sent.fields),
        lower(sent.framing),
        sent.body,
        lower(sent.trailers),
    )


def as_got(got: Got) -> tuple[object, ...]:
    names = sorted(name for name, _ in got.ours)
    assert len(set(names)) == len(names), "one of our own fields twice"
    assert b"x-request-id" in names
    return (got.method, got.target, got.value(b"host"), got.plain, got.framing, got.body, got.trailers)


def exchange(
    sent: list[Sent], replies: list[Sent], places: list[int] | None, answer_places: list[int] | None
) -> tuple[list[Got], list[Answer]]:
    """Send all requests at once, cut at `places`; answer each as it becomes whole, cut at `answer_places`."""
    world = World(limits=Limits(concurrency=3), idle=3)
    client = world.client()
    readings = [Reading(link) for link in world.pod.connections]
    got: list[Got] = []
    for piece in cut(b"".join(map(write_request, sent)), places):
        client.send(piece)
        while ready := [reading for reading in readings if reading.look()]:
            (reading,) = ready
            got.append(reading.requests[-1])
            reading.link.say(*cut(write_response(replies[len(got) - 1]), answer_places))
    world.assert_at_rest()
    assert sum(world.codes.values()) == len(got)
    return got, read_answers(client.received, [each.method for each in sent])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(requests(), responses()), min_size=1, max_size=4), cuts, cuts)
def test_what_one_side_wrote_the_other_reads(
    pairs: list[tuple[Sent, Sent]], places: list[int] | None, answer_places: list[int] | None
) -> None:
    """Requests at the pod, answers at the client: all of them, once, in order."""
    sent, replies = [list(side) for side in zip(*pairs, strict=True)]
    got, answers = exchange(sent, replies, places, answer_places)
    assert [as_got(each) for each in got] == [as_sent(each) for each in sent]
    assert [(a.status, a.interims, a.body) for a in answers] == [
        (r.status, r.interims, r.body) for r in replies
    ]
    for answer, reply in zip(answers, replies, strict=True):
        told = {
            name: value
            for name, value in answer.fields.items()
            if name not in {b"content-length", b"transfer-encoding", b"x-request-id"}
        }
        assert told == dict(lower(reply.fields))
        assert answer.trailers == dict(lower(reply.trailers))


@settings(max_examples=60, deadline=None)
@given(responses(), cuts, st.booleans())
def test_an_answer_up_to_the_close_is_read_as_it_was(
    reply: Sent, places: list[int] | None, old: bool
) -> None:
    """By clients of both versions."""
    world = World()
    version = b"1.0" if old else b"1.1"
    client = world.client().send(b"GET / HTTP/" + version + b"\r\nHost: x\r\n\r\n")
    world.link.say(*cut(b"HTTP/1.1 200 OK\r\n\r\n" + reply.body, places))
    world.link.hang_up()
    (answer,) = client.answers(b"GET")
    assert (answer.body, answer.complete) == (reply.body, True)
    world.assert_at_rest()


@settings(max_examples=60, deadline=None)
@given(responses(), cuts, st.data())
def test_a_cut_answer_never_looks_whole(reply: Sent, places: list[int] | None, how: st.DataObject) -> None:
    """Wherever the pod hangs up within it."""
    world = World()
    client = world.client().send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
    whole = write_response(reply)
    data = whole[: how.draw(st.integers(0, len(whole) - 1))]
    world.link.say(*cut(data, places) if data else [])
    world.link.hang_up()
    if client.transport.end != "reset":
        assert client.answer().status == 502
        assert world.reasons == {"upstream_reset": 1}
    world.assert_at_rest()


@settings(max_examples=60, deadline=None)
@given(requests(), cuts, st.data())
def test_a_cut_request_never_looks_whole(sent: Sent, places: list[int] | None, how: st.DataObject) -> None:
    """Wherever the client leaves within it."""
    world = World()
    whole = write_request(sent)
    data = whole[: how.draw(st.integers(0, len(whole) - 1))]
    client = world.client().send(*cut(data, places) if data else [])
    client.close()
    reading = Reading(world.link)
    reading.look()
    assert not any(got.whole for got in reading.requests)
    assert world.link.transport.is_closing() == bool(reading.requests)
    world.assert_at_rest()
